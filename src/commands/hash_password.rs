//! `cc-gateway hash-password`: hashes a password for the agents file.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::thread::{self, JoinHandle};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use crate::ops::console::print;
use crate::ops::fatal_error::{Exit, FatalError};
use crate::session::PasswordHash;

/// Reads a password and prints its hash. At a terminal it asks twice, without echo; otherwise it
/// reads the first line of stdin.
pub(crate) fn run() -> Result<(), FatalError> {
    let password = if io::stdin().is_terminal() {
        ask_twice()?
    } else {
        read_line()?
    };
    let hash = PasswordHash::derive(&password)
        .map_err(|error| FatalError::new(Exit::Usage, error.to_string()))?;
    print(&format!("{hash}\n"))
}

fn ask_twice() -> Result<Zeroizing<String>, FatalError> {
    let _hidden = EchoOff::begin()?;
    let password = prompt("Password: ")?;
    if *prompt("Again: ")? != *password {
        return Err(FatalError::new(Exit::Usage, "the two passwords differ"));
    }
    Ok(password)
}

fn prompt(text: &str) -> Result<Zeroizing<String>, FatalError> {
    // stdout is for the hash alone.
    eprint!("{text}");
    let _ = io::stderr().flush();
    let line = read_line();
    eprintln!();
    line
}

fn read_line() -> Result<Zeroizing<String>, FatalError> {
    let mut line = Zeroizing::new(String::new());
    let length = io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| FatalError::new(Exit::Io, format!("cannot read the password: {error}")))?;
    if length == 0 {
        return Err(FatalError::new(Exit::Usage, "no password was given"));
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// Turns off the echo of the terminal, until dropped or until a signal ends or stops the process.
///
/// Shells restore the modes of a terminal after a foreground program, but not after one inside
/// `$(...)`.
struct EchoOff {
    before: Termios,
    signals: Handle,
    watching: Option<JoinHandle<()>>,
}

impl EchoOff {
    fn begin() -> Result<EchoOff, FatalError> {
        let failed = |error: io::Error| {
            FatalError::new(
                Exit::Io,
                format!("cannot turn off the echo of the terminal: {error}"),
            )
        };
        let before = tcgetattr(io::stdin()).map_err(|error| failed(error.into()))?;
        // From here on signals have no effect of their own, so none can interrupt the switch.
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP]).map_err(failed)?;
        let handle = signals.handle();
        let restored = before.clone();
        let watching = thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    set_modes(&restored);
                    // Ends the process, or stops it until the shell continues it.
                    let _ = emulate_default_handler(signal);
                    set_modes(&without_echo(&restored));
                }
            })
            .map_err(failed)?;
        set_modes(&without_echo(&before));
        Ok(EchoOff {
            before,
            signals: handle,
            watching: Some(watching),
        })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        self.signals.close();
        // Otherwise a signal still being handled could turn the echo off again afterwards.
        let _ = self.watching.take().map(JoinHandle::join);
        set_modes(&self.before);
    }
}

fn without_echo(before: &Termios) -> Termios {
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden
}

/// Sets the modes of the terminal, unless it is gone.
fn set_modes(modes: &Termios) {
    let _ = tcsetattr(io::stdin(), OptionalActions::Flush, modes);
}
