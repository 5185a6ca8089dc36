//! Java `.properties` syntax, parsed like `java.util.Properties.load(Reader)` of JDK 17.
//!
//! Follows the documentation of that method, and its behaviour where the documentation is silent:
//! `properties/corpus.rs` pins each corner case, and `tests/java/PropertiesOracle.java` runs the
//! same texts through a real JDK. It differs from Java in three points: a malformed escape spoils
//! only its own entry (Java throws an exception), lone surrogates become U+FFFD, and [`decode`]
//! chooses the character set.

use std::borrow::Cow;

#[cfg(test)]
mod corpus;

/// Why an entry is malformed. This is the only error that Java knows, too.
const MALFORMED_ESCAPE: &str = "\\u is not followed by four hexadecimal digits; write for example \\u00e9, \
     or two backslashes where one is meant";

/// One key with its value, escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The natural line, counted from 1, that holds the first character of the key.
    pub line: u32,
    /// The key; may be empty, as in `= value`.
    pub key: String,
    /// The value; empty if only a key is written. Includes trailing blanks, as in Java.
    pub value: String,
}

/// An entry that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The natural line, counted from 1, that holds the first character of the entry.
    pub line: u32,
    /// What is wrong with it, and what to write instead.
    pub(crate) reason: &'static str,
}

/// Parses every entry of `text`, in file order and with duplicates, and lists the malformed ones.
///
/// Takes linear time and fails on no input. A `\u` escape for a lone surrogate becomes U+FFFD,
/// since a `String` cannot hold it.
pub fn parse(text: &str) -> (Vec<Entry>, Vec<Malformed>) {
    let mut entries = Vec::new();
    let mut malformed = Vec::new();
    for (line, text) in logical_lines(text) {
        let (key, value) = split(&text);
        match (unescape(key), unescape(value)) {
            (Some(key), Some(value)) => entries.push(Entry { line, key, value }),
            _ => malformed.push(Malformed {
                line,
                reason: MALFORMED_ESCAPE,
            }),
        }
    }
    (entries, malformed)
}

/// The text of a file: UTF-8, or ISO-8859-1 if the bytes are not valid UTF-8.
///
/// Java reads such a file either way, depending on how it is opened (`load(Reader)` over UTF-8,
/// `load(InputStream)` always as ISO-8859-1), and gateways have files of both kinds. A byte order
/// mark before UTF-8 is dropped: Java would make it part of the first key, so an editor that adds
/// one would break that key invisibly.
pub fn decode(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.remove(0);
            }
            text
        }
        Err(not_utf8) => not_utf8.into_bytes().into_iter().map(char::from).collect(),
    }
}

/// Joins natural lines into logical ones, dropping leading blanks, comments and blank lines. Each
/// comes with the number of its first natural line.
fn logical_lines(text: &str) -> impl Iterator<Item = (u32, Cow<'_, str>)> {
    let mut natural = NaturalLines {
        rest: Some(text),
        line: 0,
    };
    std::iter::from_fn(move || {
        let mut joined = Cow::Borrowed("");
        let mut start = 0;
        for NaturalLine {
            line,
            text,
            is_last,
        } in natural.by_ref()
        {
            let text = text.trim_start_matches(is_blank);
            // After an empty continuation the next line counts as a first one.
            if joined.is_empty() {
                if text.is_empty() || text.starts_with(['#', '!']) {
                    continue;
                }
                start = line;
            }
            let backslashes = text.len() - text.trim_end_matches('\\').len();
            let continued = backslashes % 2 == 1;
            joined += text
                .strip_suffix('\\')
                .filter(|_| continued)
                .unwrap_or(text);
            if !continued || is_last {
                return Some((start, joined));
            }
        }
        (!joined.is_empty()).then_some((start, joined))
    })
}

struct NaturalLine<'a> {
    line: u32,
    text: &'a str,
    /// Whether at most one CR or LF follows. There Java turns a lone backslash into an empty entry,
    /// but not before CR LF, because it looks for the end of the text between the two.
    is_last: bool,
}

/// The lines between CR, LF and CR LF, counted from 1.
struct NaturalLines<'a> {
    rest: Option<&'a str>,
    line: u32,
}

impl<'a> Iterator for NaturalLines<'a> {
    type Item = NaturalLine<'a>;

    fn next(&mut self) -> Option<NaturalLine<'a>> {
        let rest = self.rest.take()?;
        self.line = self.line.saturating_add(1);
        let Some((text, after)) = rest.split_once(['\r', '\n']) else {
            return Some(NaturalLine {
                line: self.line,
                text: rest,
                is_last: true,
            });
        };
        let is_pair = after.starts_with('\n') && rest.as_bytes().get(text.len()) == Some(&b'\r');
        self.rest = Some(
            after
                .strip_prefix('\n')
                .filter(|_| is_pair)
                .unwrap_or(after),
        );
        Some(NaturalLine {
            line: self.line,
            text,
            is_last: after.is_empty(),
        })
    }
}

/// Splits a logical line into key and value, both still escaped.
///
/// The key ends before the first unescaped `=`, `:` or blank. Blanks and at most one `=` or `:`
/// separate it from the value.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (is_separator(c) || is_blank(c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(is_separator).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

/// Resolves the escapes in a key or value; `None` if a `\u` lacks its four digits.
///
/// Drops a backslash before any other character.
fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    // UTF-16, as in Java: two escapes in a row can make up one character.
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let meant = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    units.push(code_unit(&mut chars)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => c,
            },
            _ => c,
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

/// Parses the four hexadecimal digits after `\u`.
fn code_unit(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    (0..4).try_fold(0, |unit, _| {
        let digit = u16::try_from(chars.next()?.to_digit(16)?).ok()?;
        Some(unit << 4 | digit)
    })
}

/// White space within a line: these three in Java, not Unicode's.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn is_separator(c: char) -> bool {
    matches!(c, '=' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_utf_8_without_its_mark_or_else_iso_8859_1() {
        for (bytes, text) in [
            (&b"a=b"[..], "a=b"),
            (b"caf\xc3\xa9", "caf\u{e9}"),
            (b"caf\xe9", "caf\u{e9}"),
            (b"\xef\xbb\xbfa=b", "a=b"),
            (b"\xef\xbb\xbf\xef\xbb\xbfa", "\u{feff}a"),
            (b"\xc3\xa9\xff\x80", "\u{c3}\u{a9}\u{ff}\u{80}"),
            (b"", ""),
        ] {
            assert_eq!(decode(bytes.to_vec()), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_megabyte_of_continuations_is_read_in_one_go() {
        let (entries, malformed) = parse(&"\\\n".repeat(500_000));
        assert_eq!((entries.len(), malformed.len()), (1, 0));
        let (entries, _) = parse(&"a\\\n".repeat(300_000));
        assert_eq!(entries.first().map(|entry| entry.key.len()), Some(300_000));
    }
}
