//! Awkward texts with what Java reads from them, and random ones.
//!
//! Each text that is read here is also printed, for the comparison with a JDK that
//! `tests/java/PropertiesOracle.java` describes.

use super::{Entry, parse};
use proptest::prelude::*;
use std::fmt::Write;

/// A text, its entries as line, key and value, and the lines that are malformed.
type Case = (
    &'static str,
    &'static [(u32, &'static str, &'static str)],
    &'static [u32],
);

/// What Java reads, checked against JDK 17.
const CASES: &[Case] = &[
    // No entries.
    ("", &[], &[]),
    ("\n", &[], &[]),
    ("\r\n\r\n", &[], &[]),
    (" \t\u{c}\n \r", &[], &[]),
    // Comments.
    ("# a = b", &[], &[]),
    ("! a = b\n", &[], &[]),
    (" \t\u{c}# a = b\na=b", &[(2, "a", "b")], &[]),
    ("# a \\\nb=c", &[(2, "b", "c")], &[]),
    ("#\\u12\r!\\\rb=c", &[(3, "b", "c")], &[]),
    ("a=b # c", &[(1, "a", "b # c")], &[]),
    ("a#b=c!d", &[(1, "a#b", "c!d")], &[]),
    ("\\#a=b\n\\!c=d", &[(1, "#a", "b"), (2, "!c", "d")], &[]),
    ("#", &[], &[]),
    ("//a=b", &[(1, "//a", "b")], &[]),
    // Separators.
    ("a=b", &[(1, "a", "b")], &[]),
    ("a:b", &[(1, "a", "b")], &[]),
    ("a b", &[(1, "a", "b")], &[]),
    ("a\tb\na\u{c}b", &[(1, "a", "b"), (2, "a", "b")], &[]),
    (" \t a \t=\u{c} b \t\u{c}", &[(1, "a", "b \t\u{c}")], &[]),
    ("a==b", &[(1, "a", "=b")], &[]),
    ("a=:b", &[(1, "a", ":b")], &[]),
    ("a:=b", &[(1, "a", "=b")], &[]),
    ("a : = b", &[(1, "a", "= b")], &[]),
    ("a  =  = b", &[(1, "a", "= b")], &[]),
    ("a b=c", &[(1, "a", "b=c")], &[]),
    ("a", &[(1, "a", "")], &[]),
    ("a=", &[(1, "a", "")], &[]),
    ("a =  \n", &[(1, "a", "")], &[]),
    ("=b", &[(1, "", "b")], &[]),
    (" : b", &[(1, "", "b")], &[]),
    ("=", &[(1, "", "")], &[]),
    ("a\u{b}b=c", &[(1, "a\u{b}b", "c")], &[]),
    (
        "a\u{a0}b=c\u{a0}\u{2028}d",
        &[(1, "a\u{a0}b", "c\u{a0}\u{2028}d")],
        &[],
    ),
    ("a\u{85}b=c", &[(1, "a\u{85}b", "c")], &[]),
    ("\0=\0", &[(1, "\0", "\0")], &[]),
    // Escapes.
    ("a\\=b=c", &[(1, "a=b", "c")], &[]),
    ("a\\:b:c", &[(1, "a:b", "c")], &[]),
    ("a\\ b c", &[(1, "a b", "c")], &[]),
    ("a\\\\=b", &[(1, "a\\", "b")], &[]),
    ("a\\\\\\=b", &[(1, "a\\=b", "")], &[]),
    ("a=\\t\\n\\r\\f", &[(1, "a", "\t\n\r\u{c}")], &[]),
    ("a=\\b\\z\\0\\\"\\'", &[(1, "a", "bz0\"'")], &[]),
    ("a=C:\\dir\\new", &[(1, "a", "C:dir\new")], &[]),
    ("a=\\ b", &[(1, "a", " b")], &[]),
    ("a = \\= b", &[(1, "a", "= b")], &[]),
    ("a \\= b", &[(1, "a", "= b")], &[]),
    ("\\ a=b\n\\\ta=b", &[(1, " a", "b"), (2, "\ta", "b")], &[]),
    ("a=\\\u{e9}\\\u{1f600}", &[(1, "a", "\u{e9}\u{1f600}")], &[]),
    // Unicode escapes.
    ("\\u0061=\\u00e9\\u20AC", &[(1, "a", "\u{e9}\u{20ac}")], &[]),
    ("a\\u003db=c", &[(1, "a=b", "c")], &[]),
    ("a=\\u0020b\\u0020", &[(1, "a", " b ")], &[]),
    ("a=\\u005cn", &[(1, "a", "\\n")], &[]),
    ("a=\\u000ab=c", &[(1, "a", "\nb=c")], &[]),
    ("\\u0023a=b", &[(1, "#a", "b")], &[]),
    ("a=\\u00411", &[(1, "a", "A1")], &[]),
    ("a=\\U0041", &[(1, "a", "U0041")], &[]),
    ("a=\\\\u0041", &[(1, "a", "\\u0041")], &[]),
    ("a=\\uu0041\nb=c", &[(2, "b", "c")], &[1]),
    ("a=\\u\nb=c", &[(2, "b", "c")], &[1]),
    ("a=\\u004", &[], &[1]),
    ("a=\\u004g", &[], &[1]),
    ("a=\\u+041\n\nb=\\u-041", &[], &[1, 3]),
    ("\\u00=41\nb=c", &[(2, "b", "c")], &[1]),
    (
        "longer=0041004100410041\na=\\u00",
        &[(1, "longer", "0041004100410041")],
        &[2],
    ),
    ("a=\\u00\\\n41", &[(1, "a", "A")], &[]),
    ("a=\\u00\\\\41", &[], &[1]),
    ("a=\\u\u{664}\u{661}\u{660}\u{660}", &[], &[1]),
    (
        "x=1\ny=2\\\n3\nz=\\uzzzz\nw=4",
        &[(1, "x", "1"), (2, "y", "23"), (5, "w", "4")],
        &[4],
    ),
    // Surrogates.
    ("a=\\ud83d\\ude00", &[(1, "a", "\u{1f600}")], &[]),
    ("a=\\ud83d\\\n  \\ude00", &[(1, "a", "\u{1f600}")], &[]),
    ("a=\\ud83d", &[(1, "a", "\u{fffd}")], &[]),
    ("a=\\ude00\\ud83d", &[(1, "a", "\u{fffd}\u{fffd}")], &[]),
    ("a=\\ud83dx\\ude00", &[(1, "a", "\u{fffd}x\u{fffd}")], &[]),
    ("\\ud83d=\\ude00", &[(1, "\u{fffd}", "\u{fffd}")], &[]),
    // Ends of lines.
    (
        "a=b\rc=d\ne=f\r\ng=h",
        &[(1, "a", "b"), (2, "c", "d"), (3, "e", "f"), (4, "g", "h")],
        &[],
    ),
    ("a=b\n\rc=d", &[(1, "a", "b"), (3, "c", "d")], &[]),
    ("a\nb\n", &[(1, "a", ""), (2, "b", "")], &[]),
    // Continuation.
    ("a=b\\\nc", &[(1, "a", "bc")], &[]),
    ("a=b\\\rc", &[(1, "a", "bc")], &[]),
    ("a=b\\\r\nc\r\nd=e", &[(1, "a", "bc"), (3, "d", "e")], &[]),
    ("a=b\\\n\rc", &[(1, "a", "b"), (3, "c", "")], &[]),
    ("a=b\\\n \t\u{c} c", &[(1, "a", "bc")], &[]),
    ("a=b \\\n  c", &[(1, "a", "b c")], &[]),
    ("a=b\\\n\\ c", &[(1, "a", "b c")], &[]),
    ("a=b\\\\\nc=d", &[(1, "a", "b\\"), (2, "c", "d")], &[]),
    ("a=b\\\\\\\nc=d", &[(1, "a", "b\\c=d")], &[]),
    ("a=b\\ \nc=d", &[(1, "a", "b "), (2, "c", "d")], &[]),
    ("a=b\\\n# c\nd=e", &[(1, "a", "b# c"), (3, "d", "e")], &[]),
    ("a=b\\\n!c\\\nd", &[(1, "a", "b!cd")], &[]),
    ("a=b\\\n\nc=d", &[(1, "a", "b"), (3, "c", "d")], &[]),
    ("a=b\\\n  \nc=d", &[(1, "a", "b"), (3, "c", "d")], &[]),
    ("a=b\\\n  \\\n  c", &[(1, "a", "bc")], &[]),
    ("a\\\n=b", &[(1, "a", "b")], &[]),
    ("a\\\nb=c", &[(1, "ab", "c")], &[]),
    ("a\\\n b c", &[(1, "ab", "c")], &[]),
    ("a \\\n = \\\n b", &[(1, "a", "b")], &[]),
    ("a\\\n\\\n=b", &[(1, "a", "b")], &[]),
    ("a=\\\nb\\\n", &[(1, "a", "b")], &[]),
    ("\\\na=b", &[(2, "a", "b")], &[]),
    ("\\\n  \\\n\n# c \\\na=b", &[(5, "a", "b")], &[]),
    ("\\\n#a=b\nc=d", &[(3, "c", "d")], &[]),
    // The end of the text.
    ("a=b\\", &[(1, "a", "b")], &[]),
    ("a=b\\\n", &[(1, "a", "b")], &[]),
    ("a=b\\\r\n", &[(1, "a", "b")], &[]),
    ("a=b\\\n  ", &[(1, "a", "b")], &[]),
    ("a=b\\\\", &[(1, "a", "b\\")], &[]),
    ("a=b\\\\\\", &[(1, "a", "b\\")], &[]),
    ("\\", &[(1, "", "")], &[]),
    ("\n  \\", &[(2, "", "")], &[]),
    ("\\\n", &[(1, "", "")], &[]),
    ("\\\r", &[(1, "", "")], &[]),
    ("\\\r\n", &[], &[]),
    ("\\\n ", &[], &[]),
    ("\\\n\n", &[], &[]),
    ("\\\n\\", &[(2, "", "")], &[]),
    ("\\\\", &[(1, "\\", "")], &[]),
    ("a=b\n\\\\\\", &[(1, "a", "b"), (2, "\\", "")], &[]),
    ("a\\", &[(1, "a", "")], &[]),
    // Order, duplicates, a byte order mark inside the text.
    (
        "b=1\na=2\nb=3",
        &[(1, "b", "1"), (2, "a", "2"), (3, "b", "3")],
        &[],
    ),
    ("\u{feff}a=b", &[(1, "\u{feff}a", "b")], &[]),
    ("\u{feff}# a=b", &[(1, "\u{feff}#", "a=b")], &[]),
    (
        "K\u{e9}y = \u{4f60}\u{597d} \u{1f600}",
        &[(1, "K\u{e9}y", "\u{4f60}\u{597d} \u{1f600}")],
        &[],
    ),
];

/// Pieces of random texts, separated by bars: every character with a meaning, some that look like
/// one of these, and sequences that would rarely occur by chance.
const PIECES: &str = "\\|\\|\\|\n|\n|\r|\r\n| | |\t|\u{c}|=|:|#|!|a|b|u|n|t|f|r|0|4|\\u|\\u0041|\\u003d|\\u000a|\\u005C|\
    \\ud83d|\\ude00|\\u12|\\\n|\\\r\n|\\\n#|A=1\n|\0|\u{b}|\u{85}|\u{a0}|\u{e9}|\u{2028}|\u{feff}|\u{1f600}";

/// Prints `text` with what was read from it, in the form the comparison with a JDK reads.
fn print(text: &str) {
    let (entries, malformed) = parse(text);
    // Java stops at the first malformed entry.
    let stop = malformed.first().map_or(u32::MAX, |first| first.line);
    let mut outcome = String::new();
    for Entry { key, value, .. } in entries.iter().filter(|entry| entry.line < stop) {
        outcome += &format!("{}:{},", hex(key), hex(value));
    }
    println!(
        "case:{} {outcome}{}",
        hex(text),
        if malformed.is_empty() { "" } else { "!" }
    );
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(PIECES.split('|').collect::<Vec<_>>())
}

#[test]
fn every_awkward_text_is_read_as_java_reads_it() {
    for (text, entries, malformed) in CASES {
        print(text);
        let (read, refused) = parse(text);
        let read: Vec<_> = read
            .iter()
            .map(|entry| (entry.line, entry.key.as_str(), entry.value.as_str()))
            .collect();
        assert_eq!(&read, entries, "{text:?}");
        assert_eq!(
            &refused
                .iter()
                .map(|refused| refused.line)
                .collect::<Vec<_>>(),
            malformed,
            "{text:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_of_awkward_pieces_is_read(pieces in prop::collection::vec(piece(), 0..24)) {
        print(&pieces.concat());
    }

    #[test]
    fn each_entry_starts_on_a_line_of_its_own_in_the_order_of_the_text(text in "(?s).{0,200}") {
        let (entries, malformed) = parse(&text);
        prop_assert!(entries.is_sorted_by(|earlier, later| earlier.line < later.line));
        let lines = text.split(['\r', '\n']).count();
        prop_assert!(malformed.iter().all(|entry| entries.iter().all(|other| other.line != entry.line)));
        prop_assert!(entries.iter().all(|entry| usize::try_from(entry.line).unwrap() <= lines));
    }
}
