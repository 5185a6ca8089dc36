//! The content of a sign-in: the documented headers with their types and bounds, typed as loosely as
//! vendor clients write them.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// What the gateway takes from the content of a sign-in.
#[derive(Debug)]
pub struct SignInBody {
    /// The password, at most 32 characters; some clients always send an empty one.
    pub password: Zeroizing<String>,
}

/// What a documented field may hold.
enum Kind {
    /// Text of at most so many characters.
    Text(usize),
    /// A boolean, or the text of one.
    Switch,
    /// A number of a range, or the text of one.
    Number(i64, i64),
    /// An IPv4 address as text.
    Address,
    /// Text of at most 50 letters, digits, `-`, `_` or `.`.
    Token,
}

/// The documented headers (protocol facts, section 3.1); every other one is ignored.
const FIELDS: [(&str, Kind); 16] = [
    ("password", Kind::Text(32)),
    ("phonenum", Kind::Text(24)),
    ("autoanswer", Kind::Switch),
    ("autoenteridle", Kind::Switch),
    ("releasephone", Kind::Switch),
    ("agenttype", Kind::Number(1, 255)),
    ("status", Kind::Number(3, 5)),
    ("ip", Kind::Address),
    ("entryIp", Kind::Text(64)),
    ("phonelinkage", Kind::Switch),
    ("checkInWebm", Kind::Switch),
    ("checkInMailm", Kind::Switch),
    ("vcPhoneNumber", Kind::Text(24)),
    ("listenStatus", Kind::Switch),
    ("callBackUri", Kind::Text(200)),
    ("serviceToken", Kind::Token),
];

impl SignInBody {
    /// Reads the content; `None` is a content that is no JSON object or has a field out of its bounds.
    ///
    /// A field that is `null` counts as absent. Only the password is mandatory.
    pub fn parse(content: &[u8]) -> Option<SignInBody> {
        let Ok(Value::Object(mut headers)) = serde_json::from_slice(content) else { return None };
        if !FIELDS.iter().all(|(name, kind)| is_fit(&headers, name, kind)) {
            return None;
        }
        match headers.remove("password")? {
            Value::String(password) => Some(SignInBody { password: Zeroizing::new(password) }),
            _ => None,
        }
    }
}

fn is_fit(headers: &Map<String, Value>, name: &str, kind: &Kind) -> bool {
    match (kind, headers.get(name)) {
        (_, None | Some(Value::Null)) | (Kind::Switch, Some(Value::Bool(_))) => true,
        (Kind::Text(longest), Some(Value::String(text))) => text.chars().count() <= *longest,
        (Kind::Switch, Some(Value::String(text))) => ["", "true", "false"].contains(&text.as_str()),
        (Kind::Number(least, most), Some(Value::Number(number))) => {
            number.as_i64().is_some_and(|number| (*least..=*most).contains(&number))
        }
        (Kind::Number(least, most), Some(Value::String(text))) => {
            text.is_empty() || text.parse().is_ok_and(|number| (*least..=*most).contains(&number))
        }
        (Kind::Address, Some(Value::String(text))) => text.is_empty() || text.parse::<std::net::Ipv4Addr>().is_ok(),
        (Kind::Token, Some(Value::String(text))) => is_service_token(text),
        _ => false,
    }
}

/// Longest service token, in characters (sign-in and handshake pages of the interface).
const SERVICE_TOKEN_MAX: usize = 50;

/// Whether this can be a service token, here or in the field of a handshake: letters, digits, `-`, `_` and `.`,
/// or nothing.
pub(super) fn is_service_token(text: &str) -> bool {
    text.len() <= SERVICE_TOKEN_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(content: &str) -> bool {
        SignInBody::parse(content.as_bytes()).is_some()
    }

    #[test]
    fn contents_that_vendor_clients_send_are_accepted() {
        for content in [
            r#"{"password":""}"#,
            r#"{"password":"","phonenum":"40038"}"#,
            r#"{"password":"secret","phonenum":"40038","autoanswer":true,"autoenteridle":false,"releasephone":"true","agenttype":"4","status":"4","ip":"127.0.0.1"}"#,
            r#"{"password":"x","agenttype":4,"status":5,"phonelinkage":"false","pushUrl":"http://anything","unknown":{"deep":[1]}}"#,
            r#"{"password":"x","phonenum":null,"callBackUri":"","serviceToken":"","ip":""}"#,
            "  {\"password\":\"\\u00e9\"}\r\n",
        ] {
            assert!(accepts(content), "{content}");
        }
    }

    #[test]
    fn contents_that_break_a_rule_are_refused() {
        let long = |name: &str, length: usize| format!(r#"{{"password":"","{name}":"{}"}}"#, "x".repeat(length));
        for content in [
            String::new(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            "\"text\"".into(),
            "{\"password\":".into(),
            "{\"password\":\"\"} more".into(),
            r#"{"password":1}"#.into(),
            r#"{"password":null}"#.into(),
            format!(r#"{{"password":"{}"}}"#, "x".repeat(33)),
            format!(r#"{{"password":"{}"}}"#, "x".repeat(65_000)),
            "[".repeat(10_000),
            format!("{}{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)),
            long("phonenum", 25),
            long("vcPhoneNumber", 25),
            long("callBackUri", 201),
            long("serviceToken", 51),
            r#"{"password":"","serviceToken":"a;b"}"#.into(),
            r#"{"password":"","status":2}"#.into(),
            r#"{"password":"","status":"6"}"#.into(),
            r#"{"password":"","status":4.5}"#.into(),
            r#"{"password":"","status":true}"#.into(),
            r#"{"password":"","agenttype":"phone"}"#.into(),
            r#"{"password":"","autoanswer":"yes"}"#.into(),
            r#"{"password":"","autoanswer":1}"#.into(),
            r#"{"password":"","ip":"::1"}"#.into(),
            r#"{"password":"","ip":"300.1.1.1"}"#.into(),
            r#"{"password":"","phonenum":5}"#.into(),
        ] {
            assert!(!accepts(&content), "{}", content.chars().take(60).collect::<String>());
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(accepts(&format!(r#"{{"password":"{}"}}"#, "é".repeat(32))));
        assert!(!accepts(&format!(r#"{{"password":"{}"}}"#, "é".repeat(33))));
    }

    #[test]
    fn content_that_is_not_text_is_refused() {
        assert!(SignInBody::parse(b"{\"password\":\"\xff\"}").is_none());
    }

    #[test]
    fn service_tokens_are_short_and_plain() {
        for (token, fine) in [("", true), ("a1-b_c.d", true), (&*"x".repeat(50), true), (&*"x".repeat(51), false)] {
            assert_eq!(is_service_token(token), fine, "{token}");
        }
        for token in ["a b", "a;b", "<a>", "a'b", "a\"b"] {
            assert!(!is_service_token(token), "{token}");
        }
    }
}
