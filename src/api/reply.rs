//! The reply of an interface: status, result code, headers and JSON, independent of transport.

use std::fmt;

use super::code::ResultCode;
use super::gateway::Gateway;
use super::header_value::HeaderValue;

/// The content type of JSON replies, spelled as the vendor documents it.
pub(super) const JSON: &str = "application/json;charset=UTF-8";

/// A reply, without the headers that the connection adds.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Result code, for the log and the counters; also in the body.
    pub(crate) code: ResultCode,
    /// Headers, in the order sent.
    pub(crate) headers: Vec<(&'static str, HeaderValue)>,
    /// Content.
    pub(crate) body: String,
    /// Runs if the client disconnects before it has received the reply.
    pub(crate) undelivered: Option<Undelivered>,
}

/// A reply, or the code of a failure sent as [`Reply::rejected`].
pub(super) type Outcome = Result<Reply, ResultCode>;

/// The `result` of a failure in the documented samples of the Guid check and the video download.
pub(super) const EMPTY_TEXT: Option<&str> = Some("\"\"");

/// Undoes a reply that was not delivered.
pub(crate) type Undelivered = Box<dyn FnOnce(&Gateway) + Send>;

impl Reply {
    /// A reply with a body of `content_type` that must not be cached.
    pub(crate) fn new(status: u16, code: ResultCode, content_type: &str, body: String) -> Reply {
        let reply = Reply {
            status,
            code,
            headers: Vec::with_capacity(7),
            body,
            undelivered: None,
        }
        .with("Content-Type", content_type)
        .with("Cache-Control", "no-store");
        // A public client only parses replies of exactly this type, and reads it from this header
        // if Content-Type has a charset.
        if content_type == JSON {
            reply.with("JSON-Type", "application/json")
        } else {
            reply
        }
    }

    /// Success with this JSON body.
    pub(crate) fn json(body: impl Into<String>) -> Reply {
        Reply::new(200, ResultCode::SUCCESS, JSON, body.into())
    }

    /// Success without a result. Vendor clients recognise an empty poll by exactly these bytes.
    pub(crate) fn empty() -> Reply {
        Reply::json(r#"{"message":"","retcode":"0"}"#)
    }

    /// Success with the message that handshake returns.
    pub(crate) fn success() -> Reply {
        Reply::json(r#"{"message":"success","retcode":"0"}"#)
    }

    /// Success of a command. Some clients cast `result` to an object.
    pub(crate) fn done() -> Reply {
        Reply::json(r#"{"result":{},"message":"success","retcode":"0"}"#)
    }

    /// Success of a query with this JSON `result`.
    pub(crate) fn result(result: &str) -> Reply {
        Reply::json(format!(
            r#"{{"message":"","retcode":"0","result":{result}}}"#
        ))
    }

    /// An application failure, sent as HTTP 200: vendor clients treat any other status as a failed
    /// connection and ignore the code.
    ///
    /// It has a `result` only where that is documented, for the two codes of the Guid check: a
    /// public client casts any `result` to an object.
    pub(crate) fn rejected(code: ResultCode) -> Reply {
        match code {
            ResultCode::NO_RIGHT | ResultCode::NOT_SIGNED_IN => Reply::error(200, code, EMPTY_TEXT),
            _ => Reply::error(200, code, None),
        }
    }

    /// A failure with an HTTP status of its own, for violations of HTTP itself.
    pub(crate) fn http_error(status: u16, code: ResultCode) -> Reply {
        Reply::error(status, code, None)
    }

    /// A failure, in the documented field order; `result` is JSON.
    pub(super) fn error(status: u16, code: ResultCode, result: Option<&str>) -> Reply {
        let result = result.map_or(String::new(), |json| format!(r#","result":{json}"#));
        let body = format!(
            r#"{{"retcode":"{}","message":"{}"{result}}}"#,
            code.wire(),
            code.message()
        );
        Reply::new(status, code, JSON, body)
    }

    /// 503 with Retry-After.
    pub(crate) fn busy() -> Reply {
        Reply::http_error(503, ResultCode::BUSY).with("Retry-After", "5")
    }

    /// Adds a header, unless its value is invalid.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        if let Some(value) = HeaderValue::new(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Runs `take_back` if the client disconnects before it has received the reply.
    #[must_use]
    pub(super) fn or_undelivered(self, take_back: impl FnOnce(&Gateway) + Send + 'static) -> Reply {
        Reply {
            undelivered: Some(Box::new(take_back)),
            ..self
        }
    }

    /// The value of a header.
    #[cfg(test)]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_a_result_only_where_one_is_documented() {
        for &code in ResultCode::ALL {
            let reply = Reply::rejected(code);
            let end = if ["000-003", "100-006"].contains(&code.wire()) {
                r#","result":"""#
            } else {
                ""
            };
            let body = format!(
                r#"{{"retcode":"{}","message":"{}"{end}}}"#,
                code.wire(),
                code.message()
            );
            assert_eq!((reply.status, reply.body), (200, body));
        }
        assert_eq!(
            Reply::http_error(404, ResultCode::NO_RIGHT)
                .body
                .matches("result")
                .count(),
            0
        );
    }

    #[test]
    fn json_says_so_twice_and_nothing_else_does() {
        for reply in [
            Reply::empty(),
            Reply::busy(),
            Reply::rejected(ResultCode::NO_RIGHT),
            Reply::result("[]"),
        ] {
            assert_eq!(reply.field("Content-Type"), Some(JSON));
            assert_eq!(reply.field("JSON-Type"), Some("application/json"));
            assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        }
        let other = Reply::new(200, ResultCode::SUCCESS, "text/plain", String::new());
        assert_eq!(
            (other.field("JSON-Type"), other.field("Cache-Control")),
            (None, Some("no-store"))
        );
        assert_eq!(
            Reply::empty().with("X", "a\r\nSet-Cookie: b").field("X"),
            None
        );
    }
    #[test]
    fn a_reply_that_is_logged_shows_its_code_and_nothing_secret() {
        let reply = Reply::result("secret").with("Set-GUID", "secret");
        let shown = format!("{reply:?}");
        assert!(shown.starts_with("Reply { status: 200, code: ResultCode { wire: \"0\""));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
