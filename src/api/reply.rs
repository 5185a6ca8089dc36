//! What an interface answers: status, result code, headers and JSON, still without a wire format.

use std::fmt;

use super::code::ResultCode;
use super::gateway::Gateway;

/// The type of every JSON answer, spelled as the vendor's page does.
pub(super) const JSON: &str = "application/json;charset=UTF-8";

/// A field value that cannot break out of its line: printable ASCII and blanks only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderValue(String);

impl HeaderValue {
    /// The value, or `None` if it holds a control character or anything beyond ASCII.
    pub fn new(text: impl Into<String>) -> Option<HeaderValue> {
        let text = text.into();
        text.bytes().all(|byte| matches!(byte, b' '..=b'~')).then_some(HeaderValue(text))
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One answer, complete but for what the connection adds.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Result code, for the log and the counters; it stands in the body too.
    pub code: ResultCode,
    /// Headers in the order they are sent.
    pub headers: Vec<(&'static str, HeaderValue)>,
    /// Content.
    pub body: String,
    /// What to do if the client turns out to be gone before it has taken the answer.
    pub undelivered: Option<Undelivered>,
}

/// Takes back what an answer carried.
pub type Undelivered = Box<dyn FnOnce(&Gateway) + Send>;

impl Reply {
    /// A reply with a body of `content_type`, never to be stored by a cache.
    pub fn new(status: u16, code: ResultCode, content_type: &str, body: String) -> Reply {
        Reply { status, code, headers: Vec::with_capacity(6), body, undelivered: None }
            .with("Content-Type", content_type)
            .with("Cache-Control", "no-store")
    }

    /// Success, with this JSON.
    pub fn json(body: impl Into<String>) -> Reply {
        Reply::new(200, ResultCode::SUCCESS, JSON, body.into())
    }

    /// Success without content of its own. Vendor clients compare these very bytes to know an empty poll.
    pub fn empty() -> Reply {
        Reply::json(r#"{"message":"","retcode":"0"}"#)
    }

    /// Success that says so, as handshake does.
    pub fn success() -> Reply {
        Reply::json(r#"{"message":"success","retcode":"0"}"#)
    }

    /// A failure of the application. It travels in HTTP 200: every vendor client takes any other status
    /// for a failed connection and never looks at the code.
    pub fn rejected(code: ResultCode) -> Reply {
        Reply::http_error(200, code)
    }

    /// A failure with a status of its own, for what breaks the rules of HTTP itself. The body is the one
    /// of the vendor's page, in its order.
    pub fn http_error(status: u16, code: ResultCode) -> Reply {
        let body = format!(r#"{{"retcode":"{}","message":"{}","result":""}}"#, code.wire(), code.message());
        Reply::new(status, code, JSON, body)
    }

    /// Too much at once: 503, and the client is told when to come again.
    pub fn busy() -> Reply {
        Reply::http_error(503, ResultCode::BUSY).with("Retry-After", "5")
    }

    /// Adds a field; a value that is not fit to be one is left out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        if let Some(value) = HeaderValue::new(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Does this if the client turns out to be gone before it has taken the answer.
    #[must_use]
    pub(super) fn or_undelivered(self, take_back: impl FnOnce(&Gateway) + Send + 'static) -> Reply {
        Reply { undelivered: Some(Box::new(take_back)), ..self }
    }

    /// The value of a field of this reply.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("code", &self.code).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_value_holds_no_line_end_and_no_control() {
        for text in ["a\rb", "a\nb", "a\0b", "caf\u{e9}", "\u{7f}", "a\tb"] {
            assert_eq!(HeaderValue::new(text), None, "{text:?}");
        }
        assert_eq!(HeaderValue::new("bytes 0-1/2").unwrap().as_str(), "bytes 0-1/2");
        assert_eq!(Reply::empty().with("X", "a\r\nSet-Cookie: b").field("X"), None);
    }

    #[test]
    fn every_failure_is_json_of_the_documented_shape() {
        for &code in ResultCode::ALL {
            let reply = Reply::rejected(code);
            let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!(json["retcode"], code.wire());
            assert_eq!(json["message"], code.message());
            assert_eq!(json["result"], "");
            assert_eq!(reply.status, 200);
            assert_eq!(reply.field("Content-Type"), Some(JSON));
            assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        }
    }
}
