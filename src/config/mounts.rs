//! The `MOUNT_DIR` keys: which directory serves which drive of which node.

use super::keys::{MOUNT_DIR, is_mount_key};
use super::source::Source;
use super::values;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The drive letter of a recording path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Drive(char);

impl Drive {
    /// The drive of an ASCII letter in either case; `None` for any other character.
    pub(crate) fn new(letter: char) -> Option<Drive> {
        letter
            .is_ascii_alphabetic()
            .then(|| Drive(letter.to_ascii_uppercase()))
    }

    pub(super) fn parse(text: &str) -> Result<Drive, String> {
        let mut letters = text.chars();
        match (letters.next().and_then(Drive::new), letters.next()) {
            (Some(drive), None) => Ok(drive),
            _ => Err(format!(
                "{} is not a drive letter; write one letter, for example Y",
                values::quoted(text)
            )),
        }
    }
}

/// Drive Y, the default of existing gateways without `MAPPINGDISK`.
impl Default for Drive {
    fn default() -> Drive {
        Drive('Y')
    }
}

impl fmt::Display for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The node and drive that a mount directory serves. Displayed as its full key, as in
/// `MOUNT_DIR.256.Y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MountPoint {
    /// The node that made the recordings; only in pool mode.
    pub(crate) location: Option<u32>,
    /// The drive that their paths begin with.
    pub(crate) drive: Drive,
}

impl fmt::Display for MountPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MOUNT_DIR)?;
        if let Some(location) = self.location {
            write!(f, ".{location}")?;
        }
        write!(f, ".{}", self.drive)
    }
}

/// Parses the mount directories. A key with an empty value names none.
pub(super) fn parse(
    source: &mut Source<'_>,
    mapping_disk: Drive,
    pool_mode: bool,
) -> BTreeMap<MountPoint, PathBuf> {
    // An invalid MAPPINGDISK could make drives look equal that are not.
    let comparable = source.are_valid(&["MAPPINGDISK"]);
    let mut mounts = BTreeMap::new();
    for entry in source.entries_in_force(is_mount_key) {
        let (line, key) = (Some(entry.line), entry.key.as_str());
        let read = point(key, mapping_disk).and_then(|point| match entry.value.trim() {
            "" => Ok(None),
            value => values::directory(value).map(|directory| Some((point, directory))),
        });
        let (point, directory) = match read {
            Ok(Some(mount)) => mount,
            Ok(None) => continue,
            Err(text) => {
                source.add_problem(line, key, text);
                continue;
            }
        };
        if point.location.is_some() != pool_mode {
            source.add_warning(line, key, useless(pool_mode));
        }
        let named = mounts.entry(point).or_insert_with(|| directory.clone());
        if *named != directory && comparable {
            let text = format!(
                "stands for {point}, and so does another key that names {named:?}; remove one of them"
            );
            source.add_problem(line, key, text);
        }
    }
    if mounts.is_empty() {
        source.show(MOUNT_DIR.to_owned(), "");
    }
    for (point, directory) in &mounts {
        source.show(point.to_string(), &directory.to_string_lossy());
    }
    mounts
}

fn useless(pool_mode: bool) -> &'static str {
    match pool_mode {
        true => "names no locationId, so it has no effect while CTI_POOL_MODE is ON",
        false => "names a locationId, so it has no effect while CTI_POOL_MODE is OFF",
    }
}

/// The node and drive that a key names.
fn point(key: &str, mapping_disk: Drive) -> Result<MountPoint, String> {
    let parts: Vec<&str> = key.split('.').skip(1).collect();
    let (location, drive) = match parts.as_slice() {
        [] => (None, None),
        [drive] if !drive.starts_with(|c: char| c.is_ascii_digit()) => (None, Some(*drive)),
        [location] => (Some(*location), None),
        [location, drive] => (Some(*location), Some(*drive)),
        _ => return Err("has too many parts; write MOUNT_DIR.<locationId>.<drive>".to_owned()),
    };
    let location = location.map(values::number(0..=u32::MAX)).transpose();
    let location = location.map_err(|text| format!("the locationId {text}"))?;
    let drive = drive.map_or(Ok(mapping_disk), Drive::parse)?;
    Ok(MountPoint { location, drive })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_is_one_letter_of_either_case() {
        for (text, letter) in [
            ("y", Some('Y')),
            ("Z", Some('Z')),
            ("", None),
            ("YZ", None),
            ("1", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(
                Drive::parse(text).ok().map(|drive| drive.0),
                letter,
                "{text:?}"
            );
        }
        assert_eq!(
            Drive::new('c').map(|drive| drive.to_string()).as_deref(),
            Some("C")
        );
    }

    #[test]
    fn each_form_of_the_key_names_a_location_and_a_drive() {
        for (key, full) in [
            ("MOUNT_DIR", Ok("MOUNT_DIR.X")),
            ("MOUNT_DIR.z", Ok("MOUNT_DIR.Z")),
            ("MOUNT_DIR.256", Ok("MOUNT_DIR.256.X")),
            ("MOUNT_DIR.0256", Ok("MOUNT_DIR.256.X")),
            ("MOUNT_DIR.0.z", Ok("MOUNT_DIR.0.Z")),
            ("MOUNT_DIR.4294967295.Y", Ok("MOUNT_DIR.4294967295.Y")),
            (
                "MOUNT_DIR.4294967296.Y",
                Err("the locationId \"4294967296\" is out of bounds"),
            ),
            (
                "MOUNT_DIR.Y.256",
                Err("the locationId \"Y\" is not a whole number"),
            ),
            ("MOUNT_DIR.", Err("\"\" is not a drive letter")),
            ("MOUNT_DIR.1.", Err("\"\" is not a drive letter")),
            ("MOUNT_DIR.YZ", Err("\"YZ\" is not a drive letter")),
            (
                "MOUNT_DIR.1Y",
                Err("the locationId \"1Y\" is not a whole number"),
            ),
            ("MOUNT_DIR.1.Y.", Err("has too many parts")),
        ] {
            let read = point(key, Drive('X')).map(|point| point.to_string());
            match full {
                Ok(full) => assert_eq!(read.as_deref(), Ok(full)),
                Err(reason) => assert!(
                    read.as_ref().is_err_and(|text| text.starts_with(reason)),
                    "{key}: {read:?}"
                ),
            }
        }
    }
}
