//! `Content-Disposition` of downloads (RFC 6266), safe for any file name.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the `attr-char` of RFC 8187 section 3.2.1.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `attachment` with the file name, in printable ASCII.
///
/// `filename` has `_` for every character that some client treats specially; if that changes the
/// name, `filename*` (RFC 8187) carries the exact one.
pub(crate) fn attachment(file_name: &str) -> String {
    let fallback: String = file_name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    if fallback == file_name {
        return format!("attachment; filename=\"{fallback}\"");
    }
    format!(
        "attachment; filename=\"{fallback}\"; filename*=UTF-8''{}",
        utf8_percent_encode(file_name, EXTENDED)
    )
}

/// Quotes and backslashes end or escape the quoted string, some browsers decode percent signs (RFC
/// 6266 appendix D), and slashes separate folders.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    #[test]
    fn names_are_given_plainly_where_they_can_be() {
        let table = [
            ("1714442.mp4", "attachment; filename=\"1714442.mp4\""),
            ("a b;c.mp4", "attachment; filename=\"a b;c.mp4\""),
            (
                "a\"b\\c.mp4",
                "attachment; filename=\"a_b_c.mp4\"; filename*=UTF-8''a%22b%5Cc.mp4",
            ),
            (
                "通话.mp4",
                "attachment; filename=\"__.mp4\"; filename*=UTF-8''%E9%80%9A%E8%AF%9D.mp4",
            ),
            (
                "a\r\nSet-Cookie: x",
                "attachment; filename=\"a__Set-Cookie: x\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x",
            ),
            (
                "50%25'*.mp4",
                "attachment; filename=\"50_25'*.mp4\"; filename*=UTF-8''50%2525%27%2A.mp4",
            ),
        ];
        for (name, value) in table {
            assert_eq!(attachment(name), value);
        }
    }

    proptest! {
        #[test]
        fn any_name_gives_printable_ascii_with_a_whole_quoted_string(name in any::<String>()) {
            let value = attachment(&name);
            prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            let rest = value.strip_prefix("attachment; filename=\"").unwrap();
            let (fallback, rest) = rest.split_once('"').unwrap();
            prop_assert!(!fallback.contains('\\'));
            prop_assert_eq!(fallback.chars().count(), name.chars().count());
            if rest.is_empty() {
                prop_assert_eq!(fallback, name);
            } else {
                let encoded = rest.strip_prefix("; filename*=UTF-8''").unwrap();
                prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~%".contains(&byte)));
                prop_assert_eq!(percent_decode_str(encoded).decode_utf8().unwrap(), name);
            }
        }
    }
}
