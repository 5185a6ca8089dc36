//! A path below a mount directory that can only lead downwards.

use std::fmt;

use super::day::Day;

/// One name in a [`RelPath`]: a single path component that names something inside its folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(String);

impl Segment {
    /// Takes `text` unless it is empty, made of dots only, or holds `/`, `\`, `:` or a control
    /// character.
    ///
    /// Dots-only names beyond `.` and `..`, the backslash and the colon (drives, alternate streams)
    /// mean nothing to Linux but may to the file server behind a mount. What is not refused is just
    /// a name: a percent sign stays a percent sign.
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

    /// The name as text, never empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Day> for Segment {
    fn from(day: Day) -> Segment {
        Segment(day.to_string())
    }
}

/// Folders, then a file name: what a recordId names below the directory of its drive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath {
    folders: Vec<Segment>,
    file: Segment,
}

impl RelPath {
    /// A path from its folders, outermost first, and the file inside the last of them.
    pub(crate) fn new(folders: Vec<Segment>, file: Segment) -> RelPath {
        RelPath { folders, file }
    }

    /// The folders on the way, outermost first; none for a file in the mount directory itself.
    pub fn folders(&self) -> &[Segment] {
        &self.folders
    }

    /// The file's own name.
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

/// Whether `name` ends in `.` and one of `suffixes` (no leading dots, any case), with something
/// before it.
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
