//! Warnings and notes about a valid configuration.

use super::problem::write_place;
use std::fmt;
use std::path::PathBuf;

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Probably a mistake.
    Warn,
    /// Nothing needs to be done.
    Info,
}

/// One remark on a configuration file; it stops nothing.
///
/// Shown as `FILE:LINE: KEY: TEXT`, without the parts that are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub(crate) severity: Severity,
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
        log::log!(self.level(), "{self}");
    }

    /// The level it has in a log.
    pub(crate) fn level(&self) -> log::Level {
        match self.severity {
            Severity::Warn => log::Level::Warn,
            Severity::Info => log::Level::Info,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, self.key.as_deref())?;
        write!(f, " {}", self.text)
    }
}
