//! Parameters in queries, paths and bodies, parsed as leniently as clients write them.

use serde_json::Value;

use super::code::ResultCode;
use super::router::parameter;

/// The trimmed value of a query parameter; `None` if absent, empty or `null`, which one client
/// sends for unset values.
pub(super) fn value(query: &str, name: &str) -> Result<Option<String>, ResultCode> {
    let value = parameter(query, name).map_err(|_| ResultCode::INVALID_PARAMETER)?;
    Ok(value
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty() && text != "null"))
}

/// A switch in the query, as [`flag`] reads it.
pub(super) fn switch(query: &str, name: &str) -> Result<Option<bool>, ResultCode> {
    value(query, name)?
        .map(|text| flag(&text).ok_or(ResultCode::INVALID_PARAMETER))
        .transpose()
}

/// `true` or `false` in any case, 1 or 0; surrounding blanks are ignored.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.trim() {
        "1" => Some(true),
        "0" => Some(false),
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A plain decimal.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// The strings and numbers, as strings, in the array `name` of a JSON object; `None` for any other
/// content.
pub(super) fn list(content: &[u8], name: &str) -> Option<Vec<String>> {
    let Ok(Value::Object(mut content)) = serde_json::from_slice(content) else {
        return None;
    };
    let Some(Value::Array(entries)) = content.remove(name) else {
        return None;
    };
    let text = |entry| match entry {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    entries.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_trimmed_and_nothing_where_a_client_has_not_set_it() {
        for (query, expected) in [
            ("", Ok(None)),
            ("a=", Ok(None)),
            ("a=null", Ok(None)),
            ("a=+", Ok(None)),
            ("a=+200%20", Ok(Some("200"))),
            ("a=%ff", Err(ResultCode::INVALID_PARAMETER)),
        ] {
            assert_eq!(
                value(query, "a"),
                expected.map(|value: Option<&str>| value.map(str::to_owned)),
                "{query}"
            );
        }
    }

    #[test]
    fn a_switch_is_a_word_in_any_case_or_a_digit() {
        for (query, flag) in [
            ("", Ok(None)),
            ("prolong=null", Ok(None)),
            ("prolong=True", Ok(Some(true))),
            ("prolong=FALSE", Ok(Some(false))),
            ("prolong=+true+", Ok(Some(true))),
            ("prolong=1", Ok(Some(true))),
            ("prolong=0", Ok(Some(false))),
            ("prolong=2", Err(ResultCode::INVALID_PARAMETER)),
            ("prolong=yes", Err(ResultCode::INVALID_PARAMETER)),
        ] {
            assert_eq!(switch(query, "prolong"), flag, "{query}");
        }
    }

    #[test]
    fn a_list_holds_texts_and_numbers_and_nothing_else() {
        for (content, expected) in [
            (r#"{"skills":["1"]}"#, Some(vec!["1"])),
            (r#"{"skills":[]}"#, Some(vec![])),
            (r#" {"skills":[1," 2 "],"more":{}} "#, Some(vec!["1", "2"])),
            ("", None),
            ("null", None),
            ("[]", None),
            ("{}", None),
            (r#"{"skills":null}"#, None),
            (r#"{"skills":"1"}"#, None),
            (r#"{"skills":[null]}"#, None),
            (r#"{"skills":[["1"]]}"#, None),
            (r#"{"skills":["1"]"#, None),
        ] {
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(list(content.as_bytes(), "skills"), expected, "{content}");
        }
    }
}
