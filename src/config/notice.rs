//! Warnings and notes about a valid configuration.

use super::problem::write_place;
use log::Level;
use std::fmt;
use std::path::PathBuf;

/// A warning or note about a configuration file, which does not stop the start.
///
/// Displayed as `FILE:LINE: KEY: TEXT`, without the parts that are unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Warn for a likely mistake, info if nothing needs to be done.
    pub(crate) level: Level,
    /// The file concerned.
    pub(crate) file: PathBuf,
    /// The natural line, counted from 1; `None` for a default or the whole file.
    pub line: Option<u32>,
    /// The key as written, escapes resolved.
    pub(crate) key: Option<String>,
    /// What is the matter, and what to do about it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::log_capture::logged;

    #[test]
    fn a_notice_is_logged_with_its_place_at_its_level() {
        let notice = |level| Notice {
            level,
            file: "/etc/a.properties".into(),
            line: Some(7),
            key: Some("KEY".to_owned()),
            text: "is odd".to_owned(),
        };
        let lines = logged(|| {
            notice(Level::Info).log();
            notice(Level::Warn).log();
        });
        assert_eq!(
            lines,
            [
                "INFO /etc/a.properties:7: KEY: is odd",
                "WARN /etc/a.properties:7: KEY: is odd"
            ]
        );
    }
}
