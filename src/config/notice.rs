//! Warnings and notes about a valid configuration.

use super::problem::write_place;
use log::Level;
use std::fmt;
use std::path::PathBuf;

/// One remark on a configuration file; it stops nothing.
///
/// Shown as `FILE:LINE: KEY: TEXT`, without the parts that are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Warn for a likely mistake, info where nothing needs to be done.
    pub(crate) level: Level,
    /// The file it is about.
    pub(crate) file: PathBuf,
    /// The natural line, counted from 1; `None` where a default or the file as a whole is meant.
    pub line: Option<u32>,
    /// The key as written, escapes resolved.
    pub(crate) key: Option<String>,
    /// What there is to know, and what to do about it.
    pub(crate) text: String,
}

impl Notice {
    /// Writes the notice to the log.
    pub(crate) fn log(&self) {
        log::log!(self.level, "{self}");
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, self.key.as_deref())?;
        write!(f, " {}", self.text)
    }
}
