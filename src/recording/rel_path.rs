//! A relative path that cannot leave its mount directory.

use std::fmt;

use super::day::Day;

/// One name in a [`RelPath`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(String);

impl Segment {
    /// `None` if `text` is empty, consists of dots, or contains `/`, `\`, `:` or a control
    /// character.
    ///
    /// Names of three or more dots, backslashes and colons (drives, alternate streams) are harmless
    /// on Linux but may mean something to the file server. Everything else is taken literally,
    /// including percent signs.
    pub(crate) fn parse(text: &str) -> Option<Segment> {
        let plain = !text.bytes().all(|byte| byte == b'.')
            && !text
                .chars()
                .any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'));
        plain.then(|| Segment(text.to_owned()))
    }

    /// The name of an agent's folder.
    pub(super) fn from_number(number: u32) -> Segment {
        Segment(number.to_string())
    }

    /// The name, never empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Day> for Segment {
    fn from(day: Day) -> Segment {
        Segment(day.to_string())
    }
}

/// Folders and a file name, below a mount directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath {
    folders: Vec<Segment>,
    file: Segment,
}

impl RelPath {
    /// A path of folders, outermost first, and a file.
    pub(crate) fn new(folders: Vec<Segment>, file: Segment) -> RelPath {
        RelPath { folders, file }
    }

    /// The folders, outermost first; empty for a file in the mount directory itself.
    pub fn folders(&self) -> &[Segment] {
        &self.folders
    }

    /// The file name.
    pub fn file(&self) -> &Segment {
        &self.file
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for folder in &self.folders {
            write!(f, "{}/", folder.0)?;
        }
        f.write_str(&self.file.0)
    }
}

/// Whether `name` is a non-empty stem, a dot and one of `suffixes` (without dots, any case).
pub(super) fn has_suffix(name: &str, suffixes: &[String]) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, suffix)| {
        !stem.is_empty()
            && suffixes
                .iter()
                .any(|known| known.eq_ignore_ascii_case(suffix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_one_plain_name() {
        for good in [
            "1",
            "a b",
            "...a",
            "%2e%2e",
            "é",
            "-x",
            ".hidden",
            "1714442.mp4",
        ] {
            assert_eq!(Segment::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "", ".", "..", "...", "a/b", "a\\b", "a:b", "a\0b", "a\nb", "\u{7f}", "\u{85}",
        ] {
            assert_eq!(Segment::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_suffix_is_what_follows_the_last_dot_in_any_case() {
        let suffixes = ["mp4".to_owned(), "3gp".to_owned()];
        for good in ["a.mp4", "a.MP4", "a.b.3Gp"] {
            assert!(has_suffix(good, &suffixes), "{good}");
        }
        for bad in [
            "a", "mp4", ".mp4", "a.mp4.", "a.mp4 ", "a.mp", "a.xmp4", "a.v3",
        ] {
            assert!(!has_suffix(bad, &suffixes), "{bad}");
        }
    }
}
