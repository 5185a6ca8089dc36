//! The commands and options of the program. The parser, `--help` and the shell completions all use
//! these tables.

use std::fmt::Write as _;

use super::{DEFAULT_CONFIG, DEMO_LISTEN};

/// A command of the program.
#[derive(Debug)]
pub struct CommandSpec {
    /// The word on the command line; empty for serving.
    pub name: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Names of the options it takes, in the order `--help` shows them.
    pub(crate) options: &'static [&'static str],
}

/// An option, given as `--name VALUE` or `--name=VALUE`.
#[derive(Debug)]
pub struct OptionSpec {
    /// The name without hyphens.
    pub name: &'static str,
    /// The equivalent single letter.
    pub short: Option<char>,
    /// The value it takes, if any.
    pub value: Option<ValueSpec>,
    /// Its purpose, in a few words.
    pub summary: &'static str,
    /// Whether its command requires it.
    pub(crate) is_required: bool,
    /// Whether it may be given more than once.
    pub is_repeatable: bool,
}

/// The value of an option.
#[derive(Debug)]
pub struct ValueSpec {
    /// The placeholder shown in the help.
    pub name: &'static str,
    /// What a shell may offer for it.
    pub kind: ValueKind,
    /// The value if the option is not given.
    pub(crate) default: Option<&'static str>,
}

/// What a shell may offer for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Paths of files.
    File,
    /// Paths of directories.
    Directory,
    /// Names of hosts.
    Host,
    /// No completion.
    Text,
}

/// Every command; the first one runs if none is named.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "",
        summary: "serve",
        options: &["config"],
    },
    CommandSpec {
        name: "check",
        summary: "read everything serving would read and say what is wrong with it",
        options: &["quiet", "config"],
    },
    CommandSpec {
        name: "hash-password",
        summary: "hash a password (prompted for, or from stdin) for the agents file",
        options: &[],
    },
    CommandSpec {
        name: "certificate",
        summary: "make a self-signed certificate and its key for a first start",
        options: &["out", "name"],
    },
    CommandSpec {
        name: "demo",
        summary: "serve sample recordings and show how to download them",
        options: &["listen"],
    },
];

/// Every option.
pub const OPTIONS: &[OptionSpec] = &[
    with_value(
        "config",
        "FILE",
        ValueKind::File,
        Some(DEFAULT_CONFIG),
        "the settings",
    ),
    flag("quiet", None, "print nothing but what is wrong"),
    OptionSpec {
        is_required: true,
        ..with_value(
            "out",
            "DIR",
            ValueKind::Directory,
            None,
            "directory for certificate.pem and private-key.pem",
        )
    },
    OptionSpec {
        is_repeatable: true,
        ..with_value(
            "name",
            "HOST_OR_IP",
            ValueKind::Host,
            None,
            "a name or address clients use for this machine",
        )
    },
    with_value(
        "listen",
        "ADDR",
        ValueKind::Text,
        Some(DEMO_LISTEN),
        "address and port of the demo",
    ),
    flag("help", Some('h'), "print this"),
    flag("version", Some('V'), "print the version"),
];

const fn flag(name: &'static str, short: Option<char>, summary: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        short,
        value: None,
        summary,
        is_required: false,
        is_repeatable: false,
    }
}

const fn with_value(
    name: &'static str,
    value: &'static str,
    kind: ValueKind,
    default: Option<&'static str>,
    summary: &'static str,
) -> OptionSpec {
    OptionSpec {
        value: Some(ValueSpec {
            name: value,
            kind,
            default,
        }),
        ..flag(name, None, summary)
    }
}

impl CommandSpec {
    /// The options this command takes.
    pub fn options(&self) -> impl Iterator<Item = &'static OptionSpec> {
        self.options
            .iter()
            .filter_map(|name| OPTIONS.iter().find(|option| option.name == *name))
    }

    fn usage(&self) -> String {
        let mut usage = "cc-gateway".to_owned();
        if !self.name.is_empty() {
            usage = format!("{usage} {}", self.name);
        }
        for option in self.options() {
            let repeated = if option.is_repeatable { "..." } else { "" };
            let _ = match option.is_required {
                true => write!(usage, " {}{repeated}", option.usage()),
                false => write!(usage, " [{}]{repeated}", option.usage()),
            };
        }
        usage
    }
}

impl OptionSpec {
    fn usage(&self) -> String {
        match &self.value {
            Some(value) => format!("--{} {}", self.name, value.name),
            None => format!("--{}", self.name),
        }
    }
}

/// Whether `command` (empty for serving) takes the option `name`.
pub(super) fn accepts(command: &str, name: &str) -> bool {
    COMMANDS
        .iter()
        .any(|spec| spec.name == command && spec.options.contains(&name))
}

/// Column where the summary of a command begins.
const COMMAND_COLUMN: usize = 38;
/// Column where the summary of an option begins.
const OPTION_COLUMN: usize = 22;

/// The text of `--help`.
pub fn help() -> String {
    let mut text =
        "cc-gateway serves the video recordings of a contact centre to its agents over HTTPS.\n\nUsage:\n".to_owned();
    for command in COMMANDS {
        add_row(&mut text, &command.usage(), COMMAND_COLUMN, command.summary);
    }
    text.push_str("\nOptions:\n");
    for option in OPTIONS {
        let mut left = option
            .short
            .map_or(String::new(), |letter| format!("-{letter}, "));
        left += &option.usage();
        let mut summary = option.summary.to_owned();
        if let Some(default) = option.value.as_ref().and_then(|value| value.default) {
            let _ = write!(summary, " [default: {default}]");
        }
        add_row(&mut text, &left, OPTION_COLUMN, &summary);
    }
    text.push('\n');
    text.push_str(EXIT_CODES);
    text
}

const EXIT_CODES: &str = "Exit codes: 0 done, 64 usage, 69 cannot listen, 74 input or output, 77 permission, 78 configuration.\n";

/// Adds a row of two columns, on two lines if the left one is too long.
fn add_row(text: &mut String, left: &str, column: usize, right: &str) {
    let width = column - 2;
    // Writing to a String cannot fail.
    let _ = match left.len() < width {
        true => writeln!(text, "  {left:width$}{right}"),
        false => writeln!(text, "  {left}\n{:column$}{right}", ""),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_a_command_exists_and_every_option_has_a_command() {
        for command in COMMANDS {
            assert_eq!(
                command.options().count(),
                command.options.len(),
                "{command:?}"
            );
        }
        for option in OPTIONS.iter().filter(|option| option.short.is_none()) {
            assert!(
                COMMANDS
                    .iter()
                    .any(|command| command.options.contains(&option.name)),
                "{option:?}"
            );
        }
    }

    #[test]
    fn a_long_left_column_takes_a_line_of_its_own() {
        let mut text = String::new();
        add_row(&mut text, "ab", 6, "right");
        add_row(&mut text, "abcd", 6, "right");
        assert_eq!(text, "  ab  right\n  abcd\n      right\n");
    }
}
