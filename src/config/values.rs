//! Parsers for single values, already trimmed. Errors say what to write instead.

use log::LevelFilter;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Longest value that a message quotes in full, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// How long a Guid lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum AuthMode {
    /// As long as its session.
    Static,
    /// Until `guid_timeout` after its issue; renewed every `guid_interval`.
    #[default]
    Dynamic,
}

/// Whose recordings an agent may download.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DownloadScope {
    /// Its own; inspectors may download everyone's.
    #[default]
    Own,
    /// Everyone's.
    All,
}

/// `value` for a message: quoted, on one line, shortened.
pub(super) fn quoted(value: &str) -> String {
    match value.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", value.split_at(end).0),
        None => format!("{value:?}"),
    }
}

/// One of a few words, ignoring case.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(&str) -> Result<T, String> {
    move |value| {
        let mut choices = words.iter();
        let chosen = choices.find(|(word, _)| word.eq_ignore_ascii_case(value));
        chosen.map(|(_, meant)| *meant).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let words = words.join(", ");
            format!("{} is not understood; write one of {words}", quoted(value))
        })
    }
}

/// `ON` or `OFF`, ignoring case.
pub(super) fn switch(value: &str) -> Result<bool, String> {
    choice(&[("ON", true), ("OFF", false)])(value)
}

/// A log level. There is no `off`: errors are always logged.
pub(super) fn level(value: &str) -> Result<Option<LevelFilter>, String> {
    use LevelFilter::{Debug, Error, Info, Trace, Warn};
    let words = [
        ("error", Error),
        ("warn", Warn),
        ("info", Info),
        ("debug", Debug),
        ("trace", Trace),
    ];
    choice(&words)(value).map(Some)
}

/// A whole number within bounds, in decimal digits only.
pub(super) fn number<T>(bounds: RangeInclusive<T>) -> impl FnOnce(&str) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    move |value| bounded(value, "a whole number", &bounds)
}

/// A time in whole milliseconds within bounds.
pub(super) fn millis(bounds: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<Duration, String> {
    move |value| bounded(value, "a number of milliseconds", &bounds).map(Duration::from_millis)
}

/// The interval between scans for new recordings; 0 means never. Below 100 ms, scans would keep a
/// file server busy.
pub(super) fn scan_interval(value: &str) -> Result<Option<Duration>, String> {
    const INTERVAL_MIN: Duration = Duration::from_millis(100);
    let interval = millis(0..=3_600_000)(value)?;
    if interval.is_zero() {
        return Ok(None);
    }
    if interval < INTERVAL_MIN {
        return Err(format!(
            "{} is out of bounds; write 0 for no events, or 100 to 3600000",
            quoted(value)
        ));
    }
    Ok(Some(interval))
}

/// A whole number within bounds, called `what` in errors.
pub(super) fn bounded<T>(value: &str, what: &str, bounds: &RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let (low, high) = (bounds.start(), bounds.end());
    // The standard library would accept a plus sign.
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "{} is not {what}; write one from {low} to {high}",
            quoted(value)
        ));
    }
    let number = value.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| {
        format!(
            "{} is out of bounds; write {what} from {low} to {high}",
            quoted(value)
        )
    })
}

/// The name at the end of a Guid. Clients cut Guids at `:` and `=`, and some drop other
/// punctuation.
pub(super) fn server_name(value: &str) -> Result<String, String> {
    let is_plain = value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain && value.len() <= 32 {
        return Ok(value.to_owned());
    }
    Err(format!(
        "{} is not a server name; write at most 32 letters, digits and hyphens",
        quoted(value)
    ))
}

/// The path of a file, relative to `folder`.
pub(super) fn file(value: &str, folder: &Path) -> Result<PathBuf, String> {
    path(value).map(|path| folder.join(path))
}

/// The absolute path of a directory.
pub(super) fn directory(value: &str) -> Result<PathBuf, String> {
    let path = path(value)?;
    if path.is_absolute() {
        return Ok(path);
    }
    Err(format!(
        "{} is not an absolute directory; write for example /mnt/records",
        quoted(value)
    ))
}

fn path(value: &str) -> Result<PathBuf, String> {
    if value.chars().any(char::is_control) {
        // The result of an unescaped backslash, as in C:\new.
        return Err(format!(
            "{} holds a control character; write two backslashes for one",
            quoted(value)
        ));
    }
    Ok(PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_digits_within_bounds() {
        for (value, read) in [
            ("1", Some(1)),
            ("256", Some(256)),
            ("007", Some(7)),
            ("0", None),
            ("257", None),
            ("+1", None),
            ("-1", None),
            ("1.5", None),
            ("0x10", None),
            ("1 000", None),
            ("", None),
            ("99999999999999999999999", None),
            ("\u{661}", None),
        ] {
            assert_eq!(number(1_usize..=256)(value).ok(), read, "{value:?}");
        }
    }

    #[test]
    fn new_recordings_are_looked_for_at_bearable_intervals_or_never() {
        for (value, read) in [
            ("0", Some(None)),
            ("000", Some(None)),
            ("1", None),
            ("99", None),
            ("100", Some(Some(Duration::from_millis(100)))),
            ("3600000", Some(Some(Duration::from_secs(3600)))),
            ("3600001", None),
            ("-1", None),
        ] {
            assert_eq!(scan_interval(value).ok(), read, "{value}");
        }
    }

    #[test]
    fn words_are_taken_in_either_case_and_named_when_none_fits() {
        assert_eq!(
            ["ON", "on", "oFf"].map(switch),
            [Ok(true), Ok(true), Ok(false)]
        );
        assert_eq!(
            switch("yes"),
            Err("\"yes\" is not understood; write one of ON, OFF".to_owned())
        );
        assert_eq!(level("WARN"), Ok(Some(LevelFilter::Warn)));
        assert!(level("off").is_err());
    }

    #[test]
    fn a_server_name_survives_in_every_client() {
        for (value, good) in [
            ("AgentGateway", true),
            ("a-1", true),
            ("a.b", false),
            ("a:b", false),
            ("\u{e9}", false),
        ] {
            assert_eq!(server_name(value).is_ok(), good, "{value}");
        }
        assert!(server_name(&"a".repeat(32)).is_ok() && server_name(&"a".repeat(33)).is_err());
    }

    #[test]
    fn a_directory_is_absolute_and_what_a_backslash_leaves_behind_is_found() {
        for (value, good) in [
            ("/mnt/records", true),
            ("/", true),
            ("records", false),
            ("Y:/", false),
            ("/a\nb", false),
            ("/a\0", false),
        ] {
            assert_eq!(directory(value).is_ok(), good, "{value:?}");
        }
        assert_eq!(file("k.pem", Path::new("")), Ok(PathBuf::from("k.pem")));
    }

    #[test]
    fn a_message_repeats_a_value_on_one_line_and_in_short() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(
            quoted(&"\u{e9}".repeat(1000)).chars().count(),
            QUOTED_CHARS_MAX + 5
        );
    }
}
