//! HTTP errors, before a request reaches an interface.

use crate::api::{Reply, ResultCode};

/// A violation of HTTP or of our limits, each with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// 400: violates the grammar of RFC 9112, or could be framed in more than one way.
    Malformed(&'static str),
    /// 408: the head or the content took too long.
    TooSlow,
    /// 413: the content is longer than 64 KiB.
    ContentTooLarge,
    /// 414: the request line alone is longer than 16 KiB.
    TargetTooLong,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed,
    /// 431: the head is longer than 16 KiB or has more than 64 fields.
    HeadTooLarge,
    /// 501: a transfer coding other than chunked.
    UnknownCoding,
    /// 503: no worker could be reached.
    Overloaded,
    /// 505: a version of HTTP other than 1.
    VersionNotSupported,
}

impl HttpError {
    /// The answer, in the form that all failures have.
    pub fn reply(self) -> Reply {
        let code = ResultCode::INVALID_PARAMETER;
        match self {
            HttpError::Malformed(_) => Reply::http_error(400, code),
            HttpError::TooSlow => Reply::http_error(408, code),
            HttpError::ContentTooLarge => Reply::http_error(413, code),
            HttpError::TargetTooLong => Reply::http_error(414, code),
            HttpError::ExpectationFailed => Reply::http_error(417, code),
            HttpError::HeadTooLarge => Reply::http_error(431, code),
            HttpError::UnknownCoding => Reply::http_error(501, code),
            HttpError::Overloaded => Reply::busy(),
            HttpError::VersionNotSupported => Reply::http_error(505, code),
        }
    }

    /// The reason, for the debug log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            HttpError::Malformed(what) => what,
            HttpError::TooSlow => "the request did not come in time",
            HttpError::ContentTooLarge => "the content is too long",
            HttpError::TargetTooLong => "the target is too long",
            HttpError::ExpectationFailed => "an unknown expectation",
            HttpError::HeadTooLarge => "the head is too large",
            HttpError::UnknownCoding => "an unknown transfer coding",
            HttpError::Overloaded => "no worker could be reached",
            HttpError::VersionNotSupported => "an unknown version of HTTP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_status() {
        for (error, status) in [
            (HttpError::Malformed(""), 400),
            (HttpError::TooSlow, 408),
            (HttpError::ContentTooLarge, 413),
            (HttpError::TargetTooLong, 414),
            (HttpError::ExpectationFailed, 417),
            (HttpError::HeadTooLarge, 431),
            (HttpError::UnknownCoding, 501),
            (HttpError::Overloaded, 503),
            (HttpError::VersionNotSupported, 505),
        ] {
            let reply = error.reply();
            assert_eq!(reply.status, status);
            assert!(reply.body.contains("000-00"));
        }
    }
}
