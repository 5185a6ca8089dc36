//! Errors that end the process: a message that says what to do, and an exit code from `sysexits.h`.

use std::fmt;
use std::io;

/// Why the process ends, as the exit code that a service manager or a script sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 64: the command line was not understood.
    Usage = 64,
    /// 69: the service cannot be provided, for example because an address is taken.
    Unavailable = 69,
    /// 74: reading or writing failed.
    Io = 74,
    /// 77: permission was refused.
    Permission = 77,
    /// 78: a configuration file is wrong.
    Config = 78,
}

/// An error that ends a command, written for the operator.
#[derive(Debug)]
pub struct FatalError {
    exit: Exit,
    text: String,
}

impl FatalError {
    /// An error with its exit code and the text for the operator.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> FatalError {
        FatalError {
            exit,
            text: text.into(),
        }
    }

    /// A failed system call: exits with 77 where permission was refused, else with 74.
    pub(crate) fn from_io(error: &io::Error, text: impl Into<String>) -> FatalError {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Io,
        };
        FatalError::new(exit, text)
    }

    /// An error already in the log, so nothing is printed.
    pub(crate) fn already_logged(exit: Exit) -> FatalError {
        FatalError {
            exit,
            text: String::new(),
        }
    }

    /// The code the process ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for FatalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
