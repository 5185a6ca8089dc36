//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use crate::ops::fatal_error::{Exit, FatalError};

mod table;

use table::accepts;
pub use table::{COMMANDS, CommandSpec, OPTIONS, OptionSpec, ValueKind, help};

/// Where the settings are, unless `--config` says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/cc-gateway/basic.properties";

/// Where the demo listens, unless `--listen` says otherwise.
const DEMO_LISTEN: &str = "127.0.0.1:8043";

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve with the settings of this file.
    Serve(PathBuf),
    /// Check everything that serving would read.
    Check {
        /// The settings file.
        config: PathBuf,
        /// Print only what is wrong.
        quiet: bool,
    },
    /// Print the agents-file value of a password.
    HashPassword,
    /// Write a self-signed certificate for these names into this directory.
    Certificate {
        /// The directory.
        out: PathBuf,
        /// Names and addresses; if empty, those of this machine.
        names: Vec<String>,
    },
    /// Serve samples on this address.
    Demo(SocketAddr),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// Parses the arguments, the first of which is the program's name.
///
/// # Errors
/// 64, with the argument that was not understood.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, FatalError> {
    read(arguments)
        .map_err(|error| FatalError::new(Exit::Usage, format!("{error}; see cc-gateway --help")))
}

fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut name: Option<String> = None;
    let mut config = None;
    let mut out = None;
    let mut names = Vec::new();
    let mut listen = None;
    let mut quiet = false;
    while let Some(argument) = parser.next()? {
        let command = name.as_deref().unwrap_or("");
        match argument {
            Long(option) if !matches!(option, "help" | "version") && !accepts(command, option) => {
                return Err(argument.unexpected());
            }
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("config") => config = Some(PathBuf::from(parser.value()?)),
            Long("quiet") => quiet = true,
            Long("out") => out = Some(PathBuf::from(parser.value()?)),
            Long("name") => names.push(parser.value()?.string()?),
            Long("listen") => listen = Some(parser.value()?.parse()?),
            Value(value) if name.is_none() && config.is_none() => name = Some(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let config = config.unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
    Ok(match name.as_deref() {
        None => Command::Serve(config),
        Some("check") => Command::Check { config, quiet },
        Some("hash-password") => Command::HashPassword,
        Some("certificate") => Command::Certificate {
            out: out.ok_or("certificate needs --out DIR")?,
            names,
        },
        Some("demo") => Command::Demo(match listen {
            Some(address) => address,
            None => DEMO_LISTEN.parse().map_err(|_| "the demo has no address")?,
        }),
        Some(other) => return Err(format!("unknown command {other:?}").into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words = std::iter::once("cc-gateway")
            .chain(line.split_whitespace())
            .map(OsString::from);
        parse(words).map_err(|failure| {
            assert_eq!(failure.exit(), Exit::Usage);
            failure.to_string()
        })
    }

    #[test]
    fn every_command_is_understood() {
        for (line, command) in [
            ("", Command::Serve(DEFAULT_CONFIG.into())),
            (
                "--config a.properties",
                Command::Serve("a.properties".into()),
            ),
            (
                "--config=a.properties",
                Command::Serve("a.properties".into()),
            ),
            (
                "check",
                Command::Check {
                    config: DEFAULT_CONFIG.into(),
                    quiet: false,
                },
            ),
            (
                "check --config b",
                Command::Check {
                    config: "b".into(),
                    quiet: false,
                },
            ),
            (
                "check --config b --quiet",
                Command::Check {
                    config: "b".into(),
                    quiet: true,
                },
            ),
            ("hash-password", Command::HashPassword),
            (
                "certificate --out d",
                Command::Certificate {
                    out: "d".into(),
                    names: vec![],
                },
            ),
            (
                "certificate --name a --out d --name 192.0.2.1",
                Command::Certificate {
                    out: "d".into(),
                    names: vec!["a".into(), "192.0.2.1".into()],
                },
            ),
            ("demo", Command::Demo("127.0.0.1:8043".parse().unwrap())),
            (
                "demo --listen [::1]:0",
                Command::Demo("[::1]:0".parse().unwrap()),
            ),
            ("--help", Command::Help),
            ("check -h", Command::Help),
            ("-V", Command::Version),
        ] {
            assert_eq!(parsed(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (line, part) in [
            ("serve", "unknown command \"serve\""),
            ("check extra", "extra"),
            ("--confg x", "--confg"),
            ("--config", "--config"),
            ("certificate", "--out DIR"),
            ("demo --listen here", "here"),
            ("demo --config x", "--config"),
            ("hash-password --out x", "--out"),
            ("--config x check", "check"),
            ("--quiet", "--quiet"),
        ] {
            let text = parsed(line).unwrap_err();
            assert!(
                text.contains(part) && text.contains("--help"),
                "{line}: {text}"
            );
        }
    }
}
