//! Errors in configuration files: where they are, and what to write instead.

use crate::ops::fatal_error::{Exit, FatalError};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error in a configuration file.
///
/// Displayed as `FILE:LINE: KEY: TEXT`, without the parts that are unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The exit code of a process that ends because of it: 78, or 77 or 74 if the file cannot be
    /// read.
    pub(crate) exit: Exit,
    /// The file concerned.
    pub(crate) file: PathBuf,
    /// The natural line, counted from 1; `None` for the whole file, as with a missing key.
    pub line: Option<u32>,
    /// The key as written, escapes resolved.
    pub(crate) key: Option<String>,
    /// What is wrong and what to do about it.
    pub(crate) text: String,
}

impl Problem {
    /// A problem with the content of a file.
    pub(crate) fn in_config(
        file: &Path,
        line: Option<u32>,
        key: Option<&str>,
        text: impl Into<String>,
    ) -> Problem {
        Problem {
            exit: Exit::Config,
            file: file.to_owned(),
            line,
            key: key.map(str::to_owned),
            text: text.into(),
        }
    }

    /// A file that cannot be read. `advice` says what to do unless permission was refused.
    ///
    /// A missing file counts as a configuration problem: some setting has the wrong name.
    pub(crate) fn from_io(file: &Path, error: &io::Error, advice: &str) -> Problem {
        let (exit, text) = match error.kind() {
            io::ErrorKind::PermissionDenied => (
                Exit::Permission,
                format!("is not readable ({error}); let the user of the service read it"),
            ),
            // Not a regular file, or far too large: some other file was meant.
            io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => {
                (Exit::Config, format!("cannot be read: {error}; {advice}"))
            }
            io::ErrorKind::NotFound => (Exit::Config, format!("no such file; {advice}")),
            _ => (Exit::Io, format!("cannot be read ({error}); {advice}")),
        };
        Problem {
            exit,
            ..Problem::in_config(file, None, None, text)
        }
    }
}

/// Reports all problems at once, so that the operator can fix them together. The first one decides
/// the exit code.
impl From<Vec<Problem>> for FatalError {
    fn from(problems: Vec<Problem>) -> FatalError {
        let exit = problems
            .first()
            .map_or(Exit::Config, |problem| problem.exit);
        let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        FatalError::new(exit, lines.join("\n"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, self.key.as_deref())?;
        write!(f, " {}", self.text)
    }
}

/// Writes `FILE:LINE: KEY:`, without the parts that are unknown.
pub(super) fn write_place(
    f: &mut fmt::Formatter<'_>,
    file: &Path,
    line: Option<u32>,
    key: Option<&str>,
) -> fmt::Result {
    write!(f, "{}:", file.display())?;
    if let Some(line) = line {
        write!(f, "{line}:")?;
    }
    if let Some(key) = key {
        // A key can contain any character, but must not start a new line in the log.
        write!(f, " {}:", key.escape_debug())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_and_key_as_far_as_they_are_known() {
        let file = Path::new("/etc/cc-gateway/basic.properties");
        let text = "\"abc\" is not a number of milliseconds; write for example 60000";
        for (line, key, shown) in [
            (Some(12), Some("GUIDINTERVAL"), ":12: GUIDINTERVAL: "),
            (Some(12), None, ":12: "),
            (None, Some("TLS_CERTIFICATE"), ": TLS_CERTIFICATE: "),
            (None, None, ": "),
            (Some(1), Some("A\nB"), ":1: A\\nB: "),
        ] {
            let problem = Problem::in_config(file, line, key, text);
            assert_eq!(
                problem.to_string(),
                format!("/etc/cc-gateway/basic.properties{shown}{text}")
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why_and_ends_with_its_own_code() {
        for (error, exit, says) in [
            (
                io::ErrorKind::PermissionDenied,
                Exit::Permission,
                "let the user of the service read it",
            ),
            (
                io::ErrorKind::NotFound,
                Exit::Config,
                "no such file; name another",
            ),
            (io::ErrorKind::InvalidInput, Exit::Config, "name another"),
            (io::ErrorKind::FileTooLarge, Exit::Config, "name another"),
            (io::ErrorKind::StorageFull, Exit::Io, "name another"),
        ] {
            let problem = Problem::from_io(
                Path::new("agents.properties"),
                &error.into(),
                "name another",
            );
            assert_eq!(problem.exit, exit);
            assert!(problem.to_string().contains(says), "{problem}");
        }
    }
}
