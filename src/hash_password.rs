//! `cc-gateway hash-password`: from a password to its value in the agents file.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::ops::console::print;
use crate::ops::failure::{Exit, Failure};
use crate::session::PasswordHash;

/// Reads a password, twice and unseen from a terminal or else the first line of stdin, and prints its value.
pub(crate) fn run() -> Result<(), Failure> {
    let password = if io::stdin().is_terminal() { ask()? } else { line()? };
    let hash = PasswordHash::derive(&password).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    print(&format!("{hash}\n"))
}

fn ask() -> Result<Zeroizing<String>, Failure> {
    let _unseen = Unseen::begin()?;
    let password = prompt("Password: ")?;
    if *prompt("Again: ")? != *password {
        return Err(Failure::new(Exit::Usage, "the two passwords differ; nothing was made"));
    }
    Ok(password)
}

fn prompt(text: &str) -> Result<Zeroizing<String>, Failure> {
    // The value alone goes to stdout.
    eprint!("{text}");
    let _ = io::stderr().flush();
    let line = line();
    eprintln!();
    line
}

fn line() -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::new(Exit::Io, format!("the password cannot be read: {error}")))?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> Result<Unseen, Failure> {
        let failed = |error| Failure::new(Exit::Io, format!("the terminal cannot be made to hide typing: {error}"));
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).map_err(failed)?;
        Ok(Unseen(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
