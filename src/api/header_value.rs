//! Response header values.

/// A header value that cannot break out of its line: printable ASCII and blanks only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderValue(String);

impl HeaderValue {
    /// `None` if `text` holds a control character or anything beyond ASCII.
    pub(crate) fn new(text: impl Into<String>) -> Option<HeaderValue> {
        let text = text.into();
        text.bytes()
            .all(|byte| matches!(byte, b' '..=b'~'))
            .then_some(HeaderValue(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_no_line_end_and_no_control() {
        for text in ["a\rb", "a\nb", "a\0b", "caf\u{e9}", "\u{7f}", "a\tb"] {
            assert_eq!(HeaderValue::new(text), None, "{text:?}");
        }
        assert_eq!(
            HeaderValue::new("bytes 0-1/2").unwrap().as_str(),
            "bytes 0-1/2"
        );
    }
}
