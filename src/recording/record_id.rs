//! RecordIds: which file on which drive, and whose recording it is.

use std::fmt;

use super::day::Day;
use super::rel_path::{RelPath, Segment, has_suffix};
use crate::config::Drive;

/// Maximum length of a recordId in characters, as in the vendor's portal.
pub const MAX_LEN: usize = 129;

/// Maximum number of names below the drive, including the file; documented forms have up to six.
const MAX_DEPTH: usize = 16;

/// A parsed recordId: `<drive>:/<vdn>/<media>/<yyyymmdd>/<agent>/<file>.<suffix>` and variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordId {
    drive: Drive,
    path: RelPath,
}

/// The kind of a recording, as distinguished by `filetype` of `recordfile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A call, `filetype` 1: `<vdn>/<media>/<yyyymmdd>/<agent>/<file>`.
    Call,
    /// A message left with the IVR or by a third party, `filetype` 2: `<vdn>/record/...` or
    /// `3rdfile/<vdn>/record/...`.
    Message,
    /// A path of neither form.
    Other,
}

/// Why a text is not a recordId; always 104-003, except `Suffix`, whose code depends on the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// More than [`MAX_LEN`] characters.
    TooLong,
    /// It does not start with drive letter, colon and slash.
    Drive,
    /// A name is empty, only dots, or contains a colon or control character, or there are too many
    /// names.
    Path,
    /// The file has no allowed suffix.
    Suffix,
}

impl RecordId {
    /// Parses a percent-decoded recordId. Remaining percent signs are part of a name.
    ///
    /// Both slashes separate names. Double slashes are invalid, unlike in request paths: they would
    /// allow several spellings of one file. `suffixes` have no dots and match in any case.
    pub fn parse(text: &str, suffixes: &[String]) -> Result<RecordId, Invalid> {
        if text.chars().count() > MAX_LEN {
            return Err(Invalid::TooLong);
        }
        let (drive, path) = text.split_once(':').ok_or(Invalid::Drive)?;
        let mut letters = drive.chars();
        let drive = letters
            .next()
            .and_then(Drive::new)
            .filter(|_| letters.next().is_none())
            .ok_or(Invalid::Drive)?;
        let path = path.strip_prefix(['/', '\\']).ok_or(Invalid::Drive)?;
        let names: Option<Vec<Segment>> = path.split(['/', '\\']).map(Segment::parse).collect();
        let mut folders = names
            .filter(|names| names.len() <= MAX_DEPTH)
            .ok_or(Invalid::Path)?;
        let file = folders.pop().ok_or(Invalid::Path)?;
        if !has_suffix(file.as_str(), suffixes) {
            return Err(Invalid::Suffix);
        }
        Ok(RecordId {
            drive,
            path: RelPath::new(folders, file),
        })
    }

    /// The drive, which selects the mount, together with the node.
    pub(crate) fn drive(&self) -> Drive {
        self.drive
    }

    /// The file below the mount directory.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// The kind of the recording.
    pub(crate) fn kind(&self) -> RecordKind {
        let is = |name: &Segment, word: &str| name.as_str().eq_ignore_ascii_case(word);
        match self.path.folders() {
            [_, record, ..] if is(record, "record") => RecordKind::Message,
            [third, _, record, ..] if is(third, "3rdfile") && is(record, "record") => {
                RecordKind::Message
            }
            [_, _, day, _] if Day::parse(day.as_str()).is_some() => RecordKind::Call,
            _ => RecordKind::Other,
        }
    }

    /// The agent whose recording it is: the number of the file's folder, if the folder above is a
    /// day. Other paths have no owner, and can only be downloaded with the right to every agent's
    /// recordings.
    pub fn owner(&self) -> Option<u32> {
        let [.., day, agent] = self.path.folders() else {
            return None;
        };
        Day::parse(day.as_str())?;
        agent_of(agent.as_str())
    }

    /// The path without the drive.
    pub(crate) fn into_path(self) -> RelPath {
        self.path
    }
}

/// The agent of a folder. Only the canonical spelling, as "503" and "0503" may be different
/// folders.
pub(super) fn agent_of(folder: &str) -> Option<u32> {
    let number: u32 = folder.parse().ok()?;
    (number.to_string() == folder).then_some(number)
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:/{}", self.drive, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<RecordId, Invalid> {
        RecordId::parse(text, &["mp4".to_owned(), "v3".to_owned(), "wav".to_owned()])
    }

    #[test]
    fn the_documented_forms_are_read_with_their_owner() {
        let table = [
            (
                "Y:/1/0/20201202/503/1714442.mp4",
                "Y:/1/0/20201202/503/1714442.mp4",
                Some(503),
            ),
            (
                "y:\\1\\0\\20181217\\120\\1524488.V3",
                "Y:/1/0/20181217/120/1524488.V3",
                Some(120),
            ),
            (
                "y:/1\\0/20181217\\120/1524488.MP4",
                "Y:/1/0/20181217/120/1524488.MP4",
                Some(120),
            ),
            (
                "y:/1/record/20190412/playvoice1551276018824.wav",
                "Y:/1/record/20190412/playvoice1551276018824.wav",
                None,
            ),
            (
                "y:/3rdfile/1/record/20190408/515/1633022.V3",
                "Y:/3rdfile/1/record/20190408/515/1633022.V3",
                Some(515),
            ),
            ("Z:/20201202/503/a.mp4", "Z:/20201202/503/a.mp4", Some(503)),
            ("Y:/503/a.mp4", "Y:/503/a.mp4", None),
            ("Y:/a.mp4", "Y:/a.mp4", None),
            (
                "Y:/1/0/20201302/503/a.mp4",
                "Y:/1/0/20201302/503/a.mp4",
                None,
            ),
            (
                "Y:/1/0/20201202/0503/a.mp4",
                "Y:/1/0/20201202/0503/a.mp4",
                None,
            ),
            (
                "Y:/1/0/20201202/+503/a.mp4",
                "Y:/1/0/20201202/+503/a.mp4",
                None,
            ),
            (
                "Y:/1/0/20201202/4294967296/a.mp4",
                "Y:/1/0/20201202/4294967296/a.mp4",
                None,
            ),
            (
                "Y:/1/0/20201202/503/sub/a.mp4",
                "Y:/1/0/20201202/503/sub/a.mp4",
                None,
            ),
            ("Y:/%2e%2e/a.mp4", "Y:/%2e%2e/a.mp4", None),
        ];
        for (text, printed, owner) in table {
            let id = parse(text).unwrap();
            assert_eq!(
                (id.to_string().as_str(), id.owner()),
                (printed, owner),
                "{text}"
            );
        }
    }

    #[test]
    fn calls_and_messages_are_told_apart_by_their_folders() {
        let table = [
            ("Y:/1/0/20201202/503/1714442.V3", RecordKind::Call),
            ("Y:/1/voice/20201202/ivr/1714442.wav", RecordKind::Call),
            ("Y:/1/0/20201302/503/1714442.V3", RecordKind::Other),
            ("Y:/1/0/20201202/503/sub/1714442.V3", RecordKind::Other),
            ("Y:/20201202/503/a.mp4", RecordKind::Other),
            ("Y:/a.mp4", RecordKind::Other),
            (
                "Y:/1/record/20190412/playvoice1551276018824.wav",
                RecordKind::Message,
            ),
            ("Y:/1/Record/20190412/503/1.wav", RecordKind::Message),
            ("Y:/1/record/1.wav", RecordKind::Message),
            (
                "Y:/3rdfile/1/record/20190408/515/1633022.V3",
                RecordKind::Message,
            ),
            ("Y:/3rdfile/1/20190408/515/1633022.V3", RecordKind::Call),
            (
                "Y:/other/1/record/20190408/515/1633022.V3",
                RecordKind::Other,
            ),
        ];
        for (text, kind) in table {
            assert_eq!(parse(text).unwrap().kind(), kind, "{text}");
        }
    }

    #[test]
    fn what_is_no_recording_path_is_refused() {
        use Invalid::{Drive, Path, Suffix, TooLong};
        let table = [
            ("", Drive),
            ("a.mp4", Drive),
            ("/1/0/20201202/503/a.mp4", Drive),
            (":/a.mp4", Drive),
            ("YZ:/a.mp4", Drive),
            ("7:/a.mp4", Drive),
            ("é:/a.mp4", Drive),
            ("Y:a.mp4", Drive),
            (" Y:/a.mp4", Drive),
            ("Y:/", Path),
            ("Y://a.mp4", Path),
            ("Y:/1//a.mp4", Path),
            ("Y:/1/a.mp4/", Path),
            ("Y:/../a.mp4", Path),
            ("Y:/1/./a.mp4", Path),
            ("Y:\\1\\...\\a.mp4", Path),
            ("Y:/1/a\0.mp4", Path),
            ("Y:/1/a\n.mp4", Path),
            ("Y:/1/a.txt:b.mp4", Path),
            ("Y:/1/a.txt", Suffix),
            ("Y:/1/mp4", Suffix),
            ("Y:/1/.mp4", Suffix),
            ("Y:/1/a.mp4.", Suffix),
            ("conferenceId=1;recordId0=2;", Drive),
        ];
        for (text, reason) in table {
            assert_eq!(parse(text), Err(reason), "{text:?}");
        }
        let long = |length: usize| format!("Y:/{}.mp4", "é".repeat(length - 7));
        assert!(parse(&long(129)).is_ok());
        assert_eq!(parse(&long(130)), Err(TooLong));
        let deep = |names: usize| format!("Y:/{}a.mp4", "1/".repeat(names - 1));
        assert!(parse(&deep(16)).is_ok());
        assert_eq!(parse(&deep(17)), Err(Path));
    }

    proptest! {
        #[test]
        fn print_and_parse_agree(text in "[a-zA-Z]:([/\\\\][^/\\\\:\\p{Cc}]{1,8}){0,6}[/\\\\][^/\\\\:\\p{Cc}]{1,9}\\.(mp4|V3|WAV)") {
            if let Ok(id) = parse(&text) {
                let again = parse(&id.to_string()).unwrap();
                prop_assert_eq!(again.to_string(), id.to_string());
                prop_assert_eq!(again, id);
            } else {
                prop_assert!(text.split(['/', '\\']).any(|name| name.bytes().all(|byte| byte == b'.')));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            if let Ok(id) = parse(&text) {
                prop_assert_eq!(parse(&id.to_string()), Ok(id));
            }
        }
    }
}
