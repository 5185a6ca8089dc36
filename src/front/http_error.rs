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
        match self.status_and_reason() {
            (503, _) => Reply::busy(),
            (status, _) => Reply::http_error(status, ResultCode::INVALID_PARAMETER),
        }
    }

    /// The reason, for the debug log.
    pub(super) fn reason(self) -> &'static str {
        self.status_and_reason().1
    }

    fn status_and_reason(self) -> (u16, &'static str) {
        match self {
            HttpError::Malformed(what) => (400, what),
            HttpError::TooSlow => (408, "the request did not come in time"),
            HttpError::ContentTooLarge => (413, "the content is too long"),
            HttpError::TargetTooLong => (414, "the target is too long"),
            HttpError::ExpectationFailed => (417, "an unknown expectation"),
            HttpError::HeadTooLarge => (431, "the head is too large"),
            HttpError::UnknownCoding => (501, "an unknown transfer coding"),
            HttpError::Overloaded => (503, "no worker could be reached"),
            HttpError::VersionNotSupported => (505, "an unknown version of HTTP"),
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
