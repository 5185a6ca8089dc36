//! Output of commands.

use std::io::Write as _;

use log::Level;

use super::fatal_error::{Exit, FatalError};
use super::log_lines;

/// Prints to stdout.
///
/// # Errors
/// 74 if the reader is gone or the disk is full, so that truncated output does not pass for
/// complete.
pub(crate) fn print(text: &str) -> Result<(), FatalError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| FatalError::new(Exit::Io, format!("cannot write the output: {error}")))
}

/// Prints to stderr why the process ends. Works without the log.
pub fn print_fatal(error: &FatalError) {
    let text = error.to_string();
    if !text.is_empty() {
        print_remark(Level::Error, &format!("cc-gateway: {text}"));
    }
}

/// Prints a remark to stderr, with its priority if stderr is the journal.
pub(crate) fn print_remark(level: Level, text: &str) {
    let prefix = log_lines::priority_prefix(level);
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        // There is nowhere left to report a failure.
        let _ = writeln!(stderr, "{prefix}{line}");
    }
}
