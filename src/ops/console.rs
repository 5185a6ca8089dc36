//! What a command prints for its user.

use std::io::Write as _;

use super::failure::{Exit, Failure};

/// Prints to stdout.
///
/// # Errors
/// 74 when the reader is gone or the disk is full: an output that is cut off must not look whole.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::Io, format!("the output cannot be written: {error}")))
}
