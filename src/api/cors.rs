//! Cross-origin browser clients (CORS, Fetch standard). Off unless `CORS_ALLOW_ORIGIN` is set.

use super::code::ResultCode;
use super::deferred::Answer;
use super::header_value::HeaderValue;
use super::interfaces::Interface;
use super::reply::Reply;

/// How long a browser may cache a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";
/// Request headers allowed in addition to the CORS-safelisted ones.
const REQUEST_FIELDS: &str = "Guid, Content-Type, Range, If-Range, If-Match, If-Unmodified-Since, If-None-Match, \
                              If-Modified-Since, X-Requested-With, service_token";
/// Response headers exposed in addition to the CORS-safelisted ones.
const REPLY_FIELDS: &str =
    "Set-GUID, JSON-Type, Accept-Ranges, Content-Disposition, Content-Range, ETag, Retry-After";

/// The request's origin, if the setting allows it. Serialised origins are compared byte for byte
/// (RFC 6454 section 6.2).
pub(super) fn allowed(setting: &[String], origin: Option<&str>) -> Option<HeaderValue> {
    let origin = origin.filter(|origin| setting.iter().any(|allowed| allowed == origin))?;
    HeaderValue::new(origin)
}

/// The answer to a preflight for an interface.
pub(super) fn preflight(interface: Interface) -> Reply {
    Reply::new(204, ResultCode::SUCCESS, "text/plain", String::new())
        .with("Access-Control-Allow-Methods", interface.allow())
        .with("Access-Control-Allow-Headers", REQUEST_FIELDS)
        .with("Access-Control-Max-Age", PREFLIGHT_MAX_AGE)
}

/// Adds the CORS headers for an allowed origin.
pub(super) fn expose(origin: Option<&HeaderValue>, answer: Answer) -> Answer {
    let Some(origin) = origin else { return answer };
    let add_headers = |reply: Reply| {
        reply
            .with("Access-Control-Allow-Origin", origin.as_str())
            .with("Access-Control-Expose-Headers", REPLY_FIELDS)
            .with("Vary", "Origin")
    };
    match answer {
        Answer::Reply(reply) => Answer::Reply(add_headers(reply)),
        Answer::Download(reply, download) => Answer::Download(add_headers(reply), download),
        Answer::Deferred(deferred) => Answer::Deferred(deferred),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_allowed() {
        let setting = ["https://crm.example".to_owned()];
        for (origin, expected) in [
            (Some("https://crm.example"), true),
            (Some("https://crm.example:444"), false),
            (Some("http://crm.example"), false),
            (Some("https://crm.example.evil"), false),
            (Some("null"), false),
            (None, false),
        ] {
            assert_eq!(allowed(&setting, origin).is_some(), expected, "{origin:?}");
            assert!(allowed(&[], origin).is_none());
        }
    }
}
