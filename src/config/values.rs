//! From the text of a value to its type. A refusal says what to write instead; blanks around the value are
//! gone already.

use log::LevelFilter;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The longest value that a message repeats in full, in characters.
const SHOWN: usize = 60;

/// The highest number of entries in a list; each address, for one, has a thread of its own.
const LIST_MAX: usize = 64;

/// How long a Guid lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// As long as its session.
    Static,
    /// Until `guid_timeout` after its issue; a new one is handed out every `guid_interval`.
    #[default]
    Dynamic,
}

/// Whose recordings an agent may download.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DownloadScope {
    /// Its own; an inspector everyone's.
    #[default]
    Own,
    /// Everyone's.
    All,
}

/// `value` in quotes, on one line and shortened, to be repeated in a message.
pub(super) fn quoted(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", value.split_at(end).0),
        None => format!("{value:?}"),
    }
}

/// One of a few words, in upper or lower case.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(&str) -> Result<T, String> {
    move |value| match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(value)) {
        Some((_, meant)) => Ok(*meant),
        None => {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("{} is not understood; write one of {}", quoted(value), words.join(", ")))
        }
    }
}

/// `ON` or `OFF`, in upper or lower case.
pub(super) fn switch(value: &str) -> Result<bool, String> {
    choice(&[("ON", true), ("OFF", false)])(value)
}

/// A level of logging. There is no `off`: an operator is always told of errors.
pub(super) fn level(value: &str) -> Result<Option<LevelFilter>, String> {
    use LevelFilter::{Debug, Error, Info, Trace, Warn};
    let words = [("error", Error), ("warn", Warn), ("info", Info), ("debug", Debug), ("trace", Trace)];
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

fn bounded<T>(value: &str, what: &str, bounds: &RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let (low, high) = (bounds.start(), bounds.end());
    // The standard library would take a plus sign, too.
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{} is not {what}; write one from {low} to {high}", quoted(value)));
    }
    let number = value.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| format!("{} is out of bounds; write {what} from {low} to {high}", quoted(value)))
}

/// The name at the end of a Guid: clients cut Guids at `:` and `=`, and some drop other signs as well.
pub(super) fn server_name(value: &str) -> Result<String, String> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain && value.len() <= 32 {
        return Ok(value.to_owned());
    }
    Err(format!("{} is no server name; write at most 32 letters, digits and hyphens", quoted(value)))
}

/// The path of a file; a relative one starts at `folder`.
pub(super) fn file(value: &str, folder: &Path) -> Result<PathBuf, String> {
    path(value).map(|path| folder.join(path))
}

/// The absolute path of a directory.
pub(super) fn directory(value: &str) -> Result<PathBuf, String> {
    let path = path(value)?;
    if path.is_absolute() {
        return Ok(path);
    }
    Err(format!("{} is no absolute directory; write for example /mnt/records", quoted(value)))
}

fn path(value: &str) -> Result<PathBuf, String> {
    if value.chars().any(char::is_control) {
        // What an unescaped backslash leaves behind, as in C:\new.
        return Err(format!("{} holds a control character; write two backslashes for one", quoted(value)));
    }
    Ok(PathBuf::from(value))
}

/// Suffixes of file names, without dot and in lower case; a leading dot may be written.
pub(super) fn suffixes(value: &str) -> Result<Vec<String>, String> {
    list(value, |entry| {
        let suffix = entry.strip_prefix('.').unwrap_or(entry);
        let is_plain = !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let suffix = (is_plain && suffix.len() <= 16).then(|| suffix.to_ascii_lowercase());
        suffix.ok_or("no suffix of letters and digits; write for example mp4,webm")
    })
}

/// Addresses to listen on, each with its port. No names: the static binary has no name service.
pub(super) fn addresses(value: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = list(value, |entry| {
        entry.parse().map_err(|_| "no address with a port; write for example 0.0.0.0:8043,[::]:8043")
    })?;
    Ok(addresses)
}

/// Origins as browsers send them: `scheme://host` or `scheme://host:port`, in lower case, without the port
/// that the scheme implies. Empty for no origin.
///
/// No `*`: agents may have an empty password, and any page an agent looks at could sign in as one of them.
pub(super) fn origins(value: &str) -> Result<Vec<String>, String> {
    list(value, |entry| {
        origin(&entry.to_ascii_lowercase()).ok_or("no origin; write for example https://crm.example.com")
    })
}

fn origin(value: &str) -> Option<String> {
    let (scheme, authority) = value.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    // Only an IPv6 address has colons besides the one before the port, and it stands in brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    let port = port.map(|port| bounded(port, "a port", &(1..=u16::MAX))).transpose().ok()?;
    let port = match (scheme, port) {
        ("https", Some(443)) | ("http", Some(80)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    (is_scheme && is_host).then(|| format!("{scheme}://{host}{port}"))
}

/// A list between commas; `read` says what an entry is not that it refuses. One written twice counts once.
fn list<T: PartialEq>(value: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Result<Vec<T>, String> {
    let mut entries = Vec::new();
    for written in value.split(',').map(str::trim) {
        let entry = read(written).map_err(|reason| format!("{} is {reason}", quoted(written)))?;
        if !entries.contains(&entry) {
            entries.push(entry);
        }
        if entries.len() > LIST_MAX {
            return Err(format!("holds more than {LIST_MAX} entries; remove some"));
        }
    }
    Ok(entries)
}
