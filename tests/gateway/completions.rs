//! The shell completions in `packaging/completions` match the table of commands and options. They
//! are written by `cargo test --test gateway -- --ignored write_the_completions`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use cc_gateway::cli::{COMMANDS, CommandSpec, OPTIONS, OptionSpec, ValueKind};

const HEAD: &str = "# Made from the table of commands and options in src/cli/table.rs; see tests/gateway/completions.rs.";

/// Options that need no command.
fn general() -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(|option| option.short.is_some())
}

fn named() -> impl Iterator<Item = &'static CommandSpec> {
    COMMANDS.iter().filter(|command| !command.name.is_empty())
}

/// The options that `command` takes, including `-h` and `-V`.
fn words(command: &CommandSpec) -> String {
    let mut words = Vec::new();
    for option in command.options().chain(general()) {
        words.extend(option.short.map(|letter| format!("-{letter}")));
        words.push(format!("--{}", option.name));
    }
    words.join(" ")
}

fn bash() -> String {
    let mut text = format!("{HEAD}\n# shellcheck shell=bash\n_cc_gateway() {{\n");
    text.push_str(
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' index\n\
         \u{20}   COMPREPLY=()\n\
         \u{20}   # bash takes --option=value as three words.\n\
         \u{20}   [ \"$word\" != = ] || word=\n\
         \u{20}   [ \"$before\" != = ] || before=${COMP_WORDS[COMP_CWORD - 2]}\n\
         \u{20}   case $before in\n",
    );
    for option in OPTIONS {
        if let Some(value) = &option.value {
            let action = match value.kind {
                ValueKind::File => {
                    "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\")"
                }
                ValueKind::Directory => {
                    "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$word\")"
                }
                ValueKind::Host => "mapfile -t COMPREPLY < <(compgen -A hostname -- \"$word\")",
                ValueKind::Text => ":",
            };
            let _ = writeln!(text, "    --{}) {action}; return ;;", option.name);
        }
    }
    let commands: Vec<_> = named().map(|command| command.name).collect();
    let _ = write!(
        text,
        "    esac\n    for ((index = 1; index < COMP_CWORD; index++)); do\n        case ${{COMP_WORDS[index]}} in\n        \
         {}) command=${{COMP_WORDS[index]}} && break ;;\n        esac\n    done\n    case $command in\n",
        commands.join(" | ")
    );
    for command in COMMANDS {
        let (pattern, commands) = match command.name {
            "" => ("''", format!("{} ", commands.join(" "))),
            name => (name, String::new()),
        };
        let _ = writeln!(
            text,
            "    {pattern}) mapfile -t COMPREPLY < <(compgen -W '{commands}{}' -- \"$word\") ;;",
            words(command)
        );
    }
    text.push_str("    esac\n} &&\n    complete -F _cc_gateway cc-gateway\n");
    text
}

fn zsh() -> String {
    let argument = |option: &OptionSpec| -> String {
        let summary = option.summary.replace('\'', "'\\''");
        let value = option.value.as_ref().map_or(String::new(), |value| {
            let action = match value.kind {
                ValueKind::File => "_files",
                ValueKind::Directory => "_files -/",
                ValueKind::Host => "_hosts",
                ValueKind::Text => "",
            };
            format!(":{}:{action}", value.name)
        });
        let repeat = if option.is_repeatable { "*" } else { "" };
        let equals = if option.value.is_some() { "=" } else { "" };
        match option.short {
            Some(letter) => format!(
                "'(-{letter} --{0})'{{-{letter},--{0}}}'[{summary}]'",
                option.name
            ),
            None => format!("'{repeat}--{}{equals}[{summary}]{value}'", option.name),
        }
    };
    let arguments = |command: &CommandSpec| -> String {
        command
            .options()
            .chain(general())
            .map(|option| format!(" \\\n        {}", argument(option)))
            .collect()
    };
    let mut text = format!(
        "#compdef cc-gateway\n{HEAD}\n_cc_gateway() {{\n    local context state state_descr line\n"
    );
    text.push_str("    typeset -A opt_args\n    local -a commands=(\n");
    for command in named() {
        let _ = writeln!(text, "        '{}:{}'", command.name, command.summary);
    }
    let _ = writeln!(
        text,
        "    )\n    _arguments -C{} \\\n        '1:command:->command' \\\n        '*::argument:->arguments'\n    case $state in\n    \
         command) _describe command commands ;;\n    arguments)\n        case $line[1] in",
        arguments(&COMMANDS[0])
    );
    for command in named() {
        let arguments = arguments(command).replace("\n        ", "\n            ");
        let _ = writeln!(text, "        {}) _arguments{arguments} ;;", command.name);
    }
    text.push_str("        esac\n        ;;\n    esac\n}\n_cc_gateway \"$@\"\n");
    text
}

fn fish() -> String {
    let mut text = format!("{HEAD}\ncomplete -c cc-gateway -f\n");
    for command in named() {
        let _ = writeln!(
            text,
            "complete -c cc-gateway -n __fish_use_subcommand -a {} -d '{}'",
            command.name, command.summary
        );
    }
    let option = |text: &mut String, condition: &str, option: &OptionSpec| {
        let short = option
            .short
            .map_or(String::new(), |letter| format!(" -s {letter}"));
        let value = option.value.as_ref().map_or("", |value| match value.kind {
            ValueKind::File => " -r -F",
            ValueKind::Directory => " -x -a '(__fish_complete_directories)'",
            ValueKind::Host => " -x -a '(__fish_print_hostnames)'",
            ValueKind::Text => " -x",
        });
        let _ = writeln!(
            text,
            "complete -c cc-gateway{condition}{short} -l {}{value} -d '{}'",
            option.name, option.summary
        );
    };
    for command in COMMANDS {
        let condition = match command.name {
            "" => " -n __fish_use_subcommand".to_owned(),
            name => format!(" -n '__fish_seen_subcommand_from {name}'"),
        };
        command
            .options()
            .for_each(|spec| option(&mut text, &condition, spec));
    }
    general().for_each(|spec| option(&mut text, "", spec));
    text
}

fn files() -> [(PathBuf, String); 3] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completions");
    [
        ("cc-gateway.bash", bash()),
        ("_cc-gateway", zsh()),
        ("cc-gateway.fish", fish()),
    ]
    .map(|(name, text)| (folder.join(name), text))
}

#[test]
fn the_completions_of_the_packages_are_those_of_the_table() {
    for (path, text) in files() {
        let found = fs::read_to_string(&path).unwrap();
        assert_eq!(
            found,
            text,
            "{}: cargo test --test gateway -- --ignored write_the_completions",
            path.display()
        );
    }
}

#[test]
#[ignore = "writes packaging/completions"]
fn write_the_completions() {
    for (path, text) in files() {
        fs::write(path, text).unwrap();
    }
}
