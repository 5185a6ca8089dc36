//! The body of a sign-in: the documented fields with types and bounds, parsed as leniently as
//! vendor clients write them.

use serde_json::Value;
use zeroize::Zeroizing;

use super::parameters::flag;
use crate::session::{AgentState, InitialState, PASSWORD_CHARS_MAX};

/// What the gateway uses from the body of a sign-in.
#[derive(Debug)]
pub struct SignInBody {
    /// The password, at most 32 characters; may be empty.
    pub password: Zeroizing<String>,
    /// `status` and `autoenteridle`.
    pub(crate) initial_state: InitialState,
}

/// The type of a documented field. `null` counts as absent.
#[derive(Clone, Copy)]
enum Kind {
    /// Text of at most so many characters. A number or boolean counts as its spelling.
    Text(usize),
    /// A boolean, 0 or 1, possibly as a string.
    Switch,
    /// A whole number in a range, possibly as a string.
    Number(i64, i64),
    /// An IPv4 address.
    Address,
    /// Text of at most 50 letters, digits, `-`, `_` or `.`.
    Token,
}

const STATUS: &str = "status";
const AUTO_ENTER_IDLE: &str = "autoenteridle";

/// The documented fields (protocol facts, section 3.1) except the password; all others are ignored.
const FIELDS: [(&str, Kind); 15] = [
    ("phonenum", Kind::Text(24)),
    ("autoanswer", Kind::Switch),
    (AUTO_ENTER_IDLE, Kind::Switch),
    ("releasephone", Kind::Switch),
    ("agenttype", Kind::Number(1, 255)),
    (STATUS, Kind::Number(3, 5)),
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
    /// Parses the body; `None` if it is not a JSON object or a field is out of bounds.
    ///
    /// As lenient as Java's JSON readers: UTF-8, UTF-16 or UTF-32 with or without a byte order
    /// mark; numbers and booleans may be strings and vice versa, in any case and with surrounding
    /// blanks. The last of several fields of the same name counts, but different passwords are
    /// refused. Only the password is mandatory.
    pub fn parse(content: &[u8]) -> Option<SignInBody> {
        let text = decode(content)?;
        let members = members(&text)?;
        let mut initial_state = InitialState::default();
        for (name, kind) in FIELDS {
            let Some((_, raw)) = members.iter().rfind(|(key, _)| key == name) else {
                continue;
            };
            let value = kind.read(raw)?;
            match (name, value) {
                (STATUS, Some(status)) => {
                    initial_state.state = AgentState::from_sign_in_status(status)?;
                }
                (AUTO_ENTER_IDLE, Some(flag)) => initial_state.auto_enter_idle = flag == 1,
                _ => {}
            }
        }
        let mut passwords = members
            .iter()
            .filter(|(key, _)| key == "password")
            .map(|(_, raw)| password(raw));
        let password = passwords.next()??;
        passwords
            .all(|other| other.as_ref() == Some(&password))
            .then_some(SignInBody {
                password,
                initial_state,
            })
    }
}

impl Kind {
    /// The value of a switch (0 or 1) or number, if it has one; the outer `None` means out of
    /// bounds.
    fn read(self, raw: &str) -> Option<Option<i64>> {
        let value: Value = serde_json::from_str(raw).ok()?;
        let text = match &value {
            Value::Null => return Some(None),
            value => text_of(raw, value)?,
        };
        let trimmed = text.trim();
        let number = match self {
            Kind::Text(longest) => return (text.chars().count() <= longest).then_some(None),
            Kind::Token => return is_service_token(trimmed).then_some(None),
            _ if trimmed.is_empty() => return Some(None),
            Kind::Address => {
                return trimmed
                    .parse::<std::net::Ipv4Addr>()
                    .is_ok()
                    .then_some(None);
            }
            Kind::Switch => whole(trimmed)
                .or_else(|| flag(trimmed).map(i64::from))
                .filter(|number| matches!(number, 0 | 1)),
            Kind::Number(least, most) => {
                whole(trimmed).filter(|number| (least..=most).contains(number))
            }
        };
        number.map(Some)
    }
}

/// A whole number, also if written as `4.0`.
fn whole(text: &str) -> Option<i64> {
    /// 2^53: beyond it, not every whole number is a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    text.parse().ok().or_else(|| {
        let number: f64 = serde_json::from_str(text).ok()?;
        // Exact in this range, and avoids a lossy cast.
        (number.fract() == 0.0 && number.abs() < EXACT)
            .then(|| format!("{number:.0}").parse().ok())
            .flatten()
    })
}

/// The text of a string, or the spelling of a number or boolean.
fn text_of<'a>(raw: &'a str, value: &'a Value) -> Option<&'a str> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(raw),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn password(raw: &str) -> Option<Zeroizing<String>> {
    let password = match raw.starts_with('"') {
        true => Zeroizing::new(serde_json::from_str(raw).ok()?),
        false if raw != "null" && !raw.starts_with(['{', '[']) => Zeroizing::new(raw.to_owned()),
        false => return None,
    };
    (password.chars().count() <= PASSWORD_CHARS_MAX).then_some(password)
}

/// Decodes the body. The encoding follows from its byte order mark, or else from the zero bytes
/// among the first characters, which are ASCII in JSON (RFC 4627 section 3).
fn decode(content: &[u8]) -> Option<Zeroizing<String>> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Zeroizing<Vec<u16>> =
            Zeroizing::new(pairs.iter().map(|pair| unit(*pair)).collect());
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    let utf32 = |bytes: &[u8], unit: fn([u8; 4]) -> u32| {
        let (letters, rest) = bytes.as_chunks::<4>();
        letters
            .iter()
            .map(|letter| char::from_u32(unit(*letter)))
            .collect::<Option<String>>()
            .filter(|_| rest.is_empty())
    };
    let text = match content {
        [0xff, 0xfe, 0, 0, rest @ ..] => utf32(rest, u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, rest @ ..] => utf32(rest, u32::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => str::from_utf8(rest).ok().map(str::to_owned),
        [0, 0, 0, _, ..] => utf32(content, u32::from_be_bytes),
        [_, 0, 0, 0, ..] => utf32(content, u32::from_le_bytes),
        [0, _, ..] => utf16(content, u16::from_be_bytes),
        [_, 0, ..] => utf16(content, u16::from_le_bytes),
        _ => str::from_utf8(content).ok().map(str::to_owned),
    };
    text.map(Zeroizing::new)
}

/// The members of a JSON object, each with its value as written; `None` if `text` is not one.
///
/// `serde_json` keeps only the last member of a name, and not the spelling of numbers. Here it
/// validates the text, so that the scanner below need not.
fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let Ok(Value::Object(mut checked)) = serde_json::from_str(text) else {
        return None;
    };
    if let Some(Value::String(password)) = checked.remove("password") {
        drop(Zeroizing::new(password));
    }
    let blank = [' ', '\t', '\n', '\r'];
    let mut members = Vec::new();
    let mut key = None;
    let (mut depth, mut start) = (0_usize, 0);
    let (mut is_in_string, mut is_escaped) = (false, false);
    for (place, byte) in text.bytes().enumerate() {
        if is_in_string {
            is_in_string = byte != b'"' || is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            continue;
        }
        match byte {
            b'"' => is_in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth == 1 {
                    start = place + 1;
                }
            }
            b':' if depth == 1 => {
                key = Some(serde_json::from_str(text.get(start..place)?).ok()?);
                start = place + 1;
            }
            b',' | b'}' | b']' => {
                if depth == 1
                    && let Some(key) = key.take()
                {
                    members.push((key, text.get(start..place)?.trim_matches(blank)));
                    start = place + 1;
                }
                if byte != b',' {
                    depth -= 1;
                }
            }
            _ => {}
        }
    }
    Some(members)
}

/// Longest service token, in characters (sign-in and handshake pages of the interface).
const SERVICE_TOKEN_MAX: usize = 50;

/// Whether `text` is a valid service token, in a sign-in or a handshake: letters, digits, `-`, `_`
/// and `.`, or empty.
pub(super) fn is_service_token(text: &str) -> bool {
    text.len() <= SERVICE_TOKEN_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            "\u{feff}{\"password\":\"\",\"phonenum\":\"1\"}",
            r#"{"password":"","phonenum":40038}"#,
            r#"{"password":"","releasephone":"True","autoanswer":"False"}"#,
            r#"{"password":"","releasephone":" TRUE ","autoanswer":1,"phonelinkage":0,"checkInWebm":1.0}"#,
            r#"{"password":"","agenttype":4.0}"#,
            r#"{"password":"","agenttype":" 4 "}"#,
            r#"{"password":"","password":"","status":"x","status":4}"#,
            r#"{"password":"","ip":" 127.0.0.1 ","serviceToken":" a ","status":" ","autoanswer":" "}"#,
            r#"{ "unknown" : { "password" : "x" , "a" : [ "]}," , ":" ] } , "password" : "" }"#,
        ] {
            assert!(accepts(content), "{content}");
        }
    }

    /// Every documented field in every form that the usual Java parser accepts for its type, and in
    /// some that it refuses.
    #[test]
    fn every_field_is_read_in_every_form_of_its_type() {
        let switches = [
            "true",
            "false",
            "1",
            "0",
            "1.0",
            "0.0",
            r#""true""#,
            r#""False""#,
            r#""TRUE""#,
            r#""1""#,
            r#""0""#,
            r#""1.0""#,
            r#"" true ""#,
            r#"" 0 ""#,
            r#""""#,
            r#"" ""#,
            "null",
        ];
        let no_switches = [
            "2",
            "-1",
            "0.5",
            r#""2""#,
            r#""yes""#,
            r#""on""#,
            r#""truefalse""#,
            "[]",
            "[1]",
            "{}",
        ];
        let numbers = [
            "4", "4.0", "4e0", r#""4""#, r#""4.0""#, r#"" 4 ""#, r#""+4""#, r#""""#, r#"" ""#,
            "null",
        ];
        let no_numbers = [
            "4.5",
            r#""4.5""#,
            "true",
            r#""true""#,
            "-4",
            "1000",
            r#""1000""#,
            "1e300",
            r#""four""#,
            "[4]",
            "{}",
        ];
        let texts = [
            r#""1""#, "1", "1.50", "true", "false", r#""""#, r#"" a ""#, "null",
        ];
        let no_texts = ["[]", "{}", r#"["a"]"#];
        let addresses = [
            r#""127.0.0.1""#,
            r#"" 10.0.0.1 ""#,
            r#""""#,
            r#"" ""#,
            "null",
        ];
        let no_addresses = [
            "1",
            "true",
            r#""localhost""#,
            r#""::1""#,
            r#""1.2.3""#,
            r#""1.2.3.4.5""#,
            "[]",
            "{}",
        ];
        let tokens = [r#""a1-b_c.d""#, "12", "true", r#""""#, r#"" a ""#, "null"];
        let no_tokens = [r#""a b""#, r#""a;b""#, "[]", "{}"];
        for (name, kind) in FIELDS {
            let (taken, refused): (&[&str], &[&str]) = match kind {
                Kind::Switch => (&switches, &no_switches),
                Kind::Number(..) => (&numbers, &no_numbers),
                Kind::Text(_) => (&texts, &no_texts),
                Kind::Address => (&addresses, &no_addresses),
                Kind::Token => (&tokens, &no_tokens),
            };
            for (forms, is_taken) in [(taken, true), (refused, false)] {
                for form in forms {
                    let content = format!(r#"{{"password":"","{name}":{form}}}"#);
                    assert_eq!(accepts(&content), is_taken, "{content}");
                    let marked = format!("\u{feff} {content}\r\n");
                    assert_eq!(accepts(&marked), is_taken, "{marked}");
                    // Field names are case-sensitive: in capitals it is an unknown field, and
                    // ignored.
                    assert!(accepts(&format!(
                        r#"{{"password":"","{}":{form}}}"#,
                        name.to_uppercase()
                    )));
                }
            }
        }
        for (form, password) in [
            (r#""""#, ""),
            (r#"" a ""#, " a "),
            ("1", "1"),
            ("1.50", "1.50"),
            ("true", "true"),
            ("false", "false"),
        ] {
            let body = SignInBody::parse(format!(r#"{{"password":{form}}}"#).as_bytes()).unwrap();
            assert_eq!(*body.password, password);
        }
        for form in ["null", "[]", "{}", r#"[""]"#] {
            assert!(!accepts(&format!(r#"{{"password":{form}}}"#)), "{form}");
        }
    }

    #[test]
    fn contents_that_break_a_rule_are_refused() {
        let long = |name: &str, length: usize| {
            format!(r#"{{"password":"","{name}":"{}"}}"#, "x".repeat(length))
        };
        for content in [
            String::new(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            "\"text\"".into(),
            "{\"password\":".into(),
            "{\"password\":\"\"} more".into(),
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
            r#"{"password":"","autoanswer":2}"#.into(),
            r#"{"password":"","autoanswer":0.5}"#.into(),
            r#"{"password":"","agenttype":4.5}"#.into(),
            r#"{"password":"","agenttype":"4.5"}"#.into(),
            r#"{"password":"","agenttype":"four"}"#.into(),
            r#"{"password":"","phonelinkage":"2"}"#.into(),
            r#"{"password":"","phonelinkage":"0x1"}"#.into(),
            r#"{"password":"","ip":1}"#.into(),
            r#"{"password":"","agenttype":1e300}"#.into(),
            r#"[{"password":""}]"#.into(),
            r#"{"password":"a","password":"b"}"#.into(),
            r#"{"password":"a","p\u0061ssword":"b"}"#.into(),
            r#"{"password":"a","password":null}"#.into(),
            r#"{"password":["a"]}"#.into(),
            r#"{"password":{}}"#.into(),
            r#"{"password":"","ip":"::1"}"#.into(),
            r#"{"password":"","ip":"300.1.1.1"}"#.into(),
            r#"{"password":"","phonenum":[5]}"#.into(),
            r#"{"password":"","phonenum":1234567890123456789012345}"#.into(),
        ] {
            assert!(
                !accepts(&content),
                "{}",
                content.chars().take(60).collect::<String>()
            );
        }
    }

    #[test]
    fn every_unicode_encoding_is_read_with_and_without_its_mark() {
        let marked = "\u{feff}{\"password\":\"\u{e9}\u{1f600}\"}";
        for text in [marked, marked.trim_start_matches('\u{feff}')] {
            let units: Vec<u16> = text.encode_utf16().collect();
            let letters: Vec<u32> = text.chars().map(u32::from).collect();
            let encodings: [Vec<u8>; 5] = [
                text.into(),
                units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
                units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
                letters
                    .iter()
                    .flat_map(|letter| letter.to_le_bytes())
                    .collect(),
                letters
                    .iter()
                    .flat_map(|letter| letter.to_be_bytes())
                    .collect(),
            ];
            for content in encodings {
                assert_eq!(
                    *SignInBody::parse(&content).unwrap().password,
                    "\u{e9}\u{1f600}",
                    "{content:x?}"
                );
                assert!(
                    SignInBody::parse(&content[..content.len() - 1]).is_none(),
                    "{content:x?}"
                );
            }
        }
        for content in [
            &b"\0"[..],
            b"\0\0",
            b"{\0",
            b"\0\0\0{",
            b"{\0\0\0",
            b"\xff\xfe",
            b"\xff\xfe\0\0",
            b"{\0\x00\xd8}\0",
        ] {
            assert!(SignInBody::parse(content).is_none(), "{content:x?}");
        }
    }

    #[test]
    fn password_status_and_autoenteridle_are_taken() {
        use AgentState::{Busy, Idle, Work};
        for (content, password, state, auto_enter_idle) in [
            (r#"{"password":"a\"b"}"#, "a\"b", Idle, true),
            (r#"{"password":12,"status":3}"#, "12", Busy, true),
            (
                r#"{"password":1.50,"status":"5","autoenteridle":"FALSE"}"#,
                "1.50",
                Work,
                false,
            ),
            (
                r#"{"password":true,"status":null,"autoenteridle":0}"#,
                "true",
                Idle,
                false,
            ),
            (
                r#"{"password":" a ","status":"","status":3,"status":4.0,"autoenteridle":null}"#,
                " a ",
                Idle,
                true,
            ),
            (r#"{"p\u0061ssword":"x","status":" 5 "}"#, "x", Work, true),
            (r#"{"password":"","autoenteridle":"0"}"#, "", Idle, false),
            (
                r#"{"password":"","autoenteridle":" 1.0 ","status":"3.0"}"#,
                "",
                Busy,
                true,
            ),
        ] {
            let body = SignInBody::parse(content.as_bytes()).unwrap();
            assert_eq!(*body.password, password, "{content}");
            assert_eq!(
                body.initial_state,
                InitialState {
                    state,
                    auto_enter_idle
                },
                "{content}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_content_is_survived(content in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = SignInBody::parse(&content);
        }

        #[test]
        fn any_text_like_a_sign_in_is_survived(text in r#"(\{"password":)?["\{\}\[\],:a-e0-9. \\]{0,30}"#) {
            let _ = SignInBody::parse(text.as_bytes());
        }

        #[test]
        fn members_are_those_that_serde_json_reads(
            keys in prop::collection::hash_map(any::<String>(), any::<String>(), 0..5),
        ) {
            let object = Value::Object(keys.iter().map(|(key, value)| {
                (key.clone(), Value::Array(vec![value.as_str().into(), Value::Object(Default::default())]))
            }).collect());
            let text = object.to_string();
            let members = members(&text).unwrap();
            prop_assert_eq!(members.len(), keys.len());
            for (key, raw) in members {
                prop_assert_eq!(serde_json::from_str::<Value>(raw).unwrap(), object[&key].clone());
            }
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
        for (token, fine) in [
            ("", true),
            ("a1-b_c.d", true),
            (&*"x".repeat(50), true),
            (&*"x".repeat(51), false),
        ] {
            assert_eq!(is_service_token(token), fine, "{token}");
        }
        for token in ["a b", "a;b", "<a>", "a'b", "a\"b"] {
            assert!(!is_service_token(token), "{token}");
        }
    }
}
