//! What is wrong with a request before any interface has seen it.

use crate::api::{Reply, ResultCode};

/// A breach of the rules of HTTP or of our limits, each with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 400: the grammar of RFC 9112 is broken, or the message could be framed in more than one way.
    Malformed(&'static str),
    /// 408: the head or the content did not come in time.
    TooSlow,
    /// 413: the content is longer than 64 KiB.
    ContentTooLarge,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed,
    /// 431: the head is longer than 16 KiB or has more than 64 fields.
    HeadTooLarge,
    /// 503: no worker could be reached.
    Overloaded,
    /// 505: a version of HTTP other than 1.0 and 1.1.
    VersionNotSupported,
}

impl Fault {
    /// The answer, in the shape every failure has.
    pub fn reply(self) -> Reply {
        let code = ResultCode::INVALID_PARAMETER;
        match self {
            Fault::Malformed(_) => Reply::fault(400, code),
            Fault::TooSlow => Reply::fault(408, code),
            Fault::ContentTooLarge => Reply::fault(413, code),
            Fault::ExpectationFailed => Reply::fault(417, code),
            Fault::HeadTooLarge => Reply::fault(431, code),
            Fault::Overloaded => Reply::busy(),
            Fault::VersionNotSupported => Reply::fault(505, code),
        }
    }

    /// What to tell the operator who looks for it at debug level.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Fault::Malformed(what) => what,
            Fault::TooSlow => "the request did not come in time",
            Fault::ContentTooLarge => "the content is too long",
            Fault::ExpectationFailed => "an unknown expectation",
            Fault::HeadTooLarge => "the head is too large",
            Fault::Overloaded => "no worker could be reached",
            Fault::VersionNotSupported => "an unknown version of HTTP",
        }
    }
}

/// Reason phrases of the statuses the front answers with by itself (RFC 9110 section 15).
pub(super) fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_status_and_a_phrase() {
        for (fault, status) in [
            (Fault::Malformed(""), 400),
            (Fault::TooSlow, 408),
            (Fault::ContentTooLarge, 413),
            (Fault::ExpectationFailed, 417),
            (Fault::HeadTooLarge, 431),
            (Fault::Overloaded, 503),
            (Fault::VersionNotSupported, 505),
        ] {
            let reply = fault.reply();
            assert_eq!(reply.status, status);
            assert!(!reason_phrase(status).is_empty());
            assert!(reply.body.contains("000-00"));
        }
    }
}
