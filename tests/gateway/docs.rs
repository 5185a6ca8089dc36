//! Checks the documents: the parts generated from code are current, and every relative link has a
//! target.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use cc_gateway::api::{INTERFACES, METRICS, ResultCode};
use cc_gateway::cli::{COMMANDS, OPTIONS, help};
use cc_gateway::config::{DefaultValue, KEYS, Key, RELOADABLE, SECTIONS, Section};
use cc_gateway::ops::fatal_error::Exit;

use crate::support::{Server, document, is_current, part_is_current, table_rows};

const MANUAL: &str = "packaging/man/cc-gateway.8";
const MANUAL_OF_SETTINGS: &str = "packaging/man/cc-gateway.properties.5";

/// The documents whose links are checked; must include every page in `docs`.
const DOCUMENTS: [&str; 11] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/api.md",
    "docs/configuration.md",
    "docs/load-balancers.md",
    "docs/migration.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/recordings.md",
    "docs/security.md",
];

/// The settings of a section.
fn keys(section: &Section) -> impl Iterator<Item = &'static Key> {
    let is_first = |key: &&Key| SECTIONS.iter().any(|section| section.first == key.name);
    let mut keys = KEYS.iter().skip_while(|key| key.name != section.first);
    let first = keys.next();
    first
        .into_iter()
        .chain(keys.take_while(move |key| !is_first(key)))
}

/// `text` with the names of settings marked as code.
fn with_code(text: &str) -> String {
    let word = |word: &str| {
        let name = word.trim_end_matches(['.', ',', ';', ':']);
        match KEYS.iter().any(|key| key.name == name) {
            true => format!("`{name}`{}", &word[name.len()..]),
            false => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// `text` wrapped at `width` characters, with `start` before each line.
fn wrapped(text: &str, start: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = start.to_owned();
    for word in text.split(' ') {
        if line.len() + word.len() >= width {
            lines += line.trim_end();
            lines.push('\n');
            line = start.to_owned();
        }
        let _ = write!(line, "{word} ");
    }
    lines + line.trim_end() + "\n"
}

#[test]
fn the_table_of_settings_is_current() {
    let mut text = String::new();
    for section in SECTIONS {
        let _ = write!(
            text,
            "\n### {}\n\n| key | default | meaning | reload |\n| --- | --- | --- | --- |\n",
            section.title
        );
        for key in keys(section) {
            let default = match key.default {
                DefaultValue::Unset => "none".to_owned(),
                DefaultValue::Fixed(value) => format!("`{value}`"),
                DefaultValue::Derived(rule) => with_code(rule),
            };
            let reload = if RELOADABLE.contains(&key.name) {
                "yes"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "| `{}` | {default} | {} | {reload} |",
                key.name,
                with_code(key.meaning)
            );
        }
    }
    part_is_current("docs/configuration.md", "settings", &(text + "\n"));
}

#[test]
fn the_settings_of_the_manual_are_current() {
    let mut text = String::new();
    for section in SECTIONS {
        let _ = writeln!(text, ".Ss {}\n.Bl -tag -width Ds", section.title);
        for key in keys(section) {
            let default = key
                .default
                .shown()
                .map_or(String::new(), |default| format!(" No = {default}"));
            let reload = if RELOADABLE.contains(&key.name) {
                " Pq reload"
            } else {
                ""
            };
            // Each sentence begins a line, so that the formatter can space it.
            let meaning = key.meaning.replace(". ", ".\n");
            let _ = writeln!(text, ".It Cm {}{default}{reload}\n{meaning}", key.name);
        }
        text += ".El\n";
    }
    part_is_current(MANUAL_OF_SETTINGS, "settings", &text);
    let manual = document(MANUAL);
    assert!(
        RELOADABLE
            .iter()
            .all(|key| manual.contains(&format!("\n.Cm {key}")))
    );
}

#[test]
fn the_installed_settings_are_current() {
    let mut text = String::from(
        "\
# Settings of cc-gateway, in the syntax of Java .properties files. Every key stands here, with its default where it
# has one; a key that is commented out has none. Keys of other components may stand in the same file; they are ignored.
# `cc-gateway check` prints what is wrong here, and what is in force. cc-gateway.properties(5) says more.
#
# Write KEY = VALUE. A backslash is written twice. Switches are ON or OFF, times are in milliseconds, and files may be
# named relative to the folder of this file.
",
    );
    for section in SECTIONS {
        let _ = writeln!(
            text,
            "\n# --- {} {}",
            section.title,
            "-".repeat(100 - section.title.len())
        );
        for key in keys(section) {
            let default = || format!("{} = {}", key.name, key.default.fixed().unwrap());
            let line = key.sample.map_or_else(default, str::to_owned);
            let _ = write!(text, "\n{}{line}\n", wrapped(key.meaning, "# ", 110));
        }
    }
    is_current("etc/basic.properties", &text);
}

#[test]
fn the_table_of_interfaces_is_current() {
    let mut text =
        "\n| method and path | log name | does | codes |\n| --- | --- | --- | --- |\n".to_owned();
    for entry in INTERFACES {
        let codes: Vec<_> = entry.codes.iter().map(|code| code.wire()).collect();
        let (method, codes) = (entry.method.name(), codes.join(", "));
        let _ = writeln!(
            text,
            "| `{method} /{}` | {} | {} | {codes} |",
            entry.path, entry.log_name, entry.summary
        );
    }
    part_is_current("docs/api.md", "interfaces", &(text + "\n"));
}

#[test]
fn the_table_of_result_codes_is_current() {
    let mut text = "\n| code | meaning |\n| --- | --- |\n".to_owned();
    for (code, meaning) in ResultCode::ALL.iter().zip(ResultCode::MEANINGS) {
        let _ = writeln!(text, "| {} | {} |", code.wire(), meaning.trim());
    }
    part_is_current("docs/api.md", "result codes", &(text + "\n"));
}

#[test]
fn the_table_of_metrics_is_current() {
    let mut text = "\n| metric | kind | meaning |\n| --- | --- | --- |\n".to_owned();
    for metric in METRICS {
        let labels = if metric.labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", metric.labels.join(","))
        };
        let _ = writeln!(
            text,
            "| `{}{labels}` | {} | {} |",
            metric.name, metric.kind, metric.help
        );
    }
    part_is_current("docs/operations.md", "metrics", &(text + "\n"));
}

/// The words of `text` that `is_one` accepts, without surrounding punctuation.
fn words(text: &str, is_one: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    text.split(|letter| !part_of_word(letter))
        .filter(|word| is_one(word))
        .map(str::to_owned)
        .collect()
}

/// What follows `macro_name` at the beginning of a line of a manual page.
fn items<'a>(page: &'a str, macro_name: &str) -> Vec<&'a str> {
    page.lines()
        .filter_map(|line| line.strip_prefix(macro_name))
        .collect()
}

#[test]
fn every_command_and_option_is_in_the_manual_and_no_other() {
    let options = |text: &str| {
        words(text, |word| {
            word.strip_prefix("--")
                .is_some_and(|name| name.starts_with(char::is_alphabetic))
        })
    };
    let known: BTreeSet<_> = OPTIONS
        .iter()
        .map(|option| format!("--{}", option.name))
        .collect();
    assert_eq!(options(&help()), known);
    let page = document(MANUAL);
    let flags = items(&page, ".It Fl ").join(" ");
    let described = words(&flags, |word| word.starts_with('-') && word.len() > 1);
    assert_eq!(
        described,
        known.iter().map(|option| option[1..].to_owned()).collect()
    );

    let known: BTreeSet<_> = COMMANDS
        .iter()
        .map(|command| command.name.to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        items(&page, ".It Cm ")
            .into_iter()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>(),
        known
    );
}

#[test]
fn every_exit_code_is_in_help_and_manual_and_no_other() {
    let exits = [
        Exit::Usage,
        Exit::Unavailable,
        Exit::Io,
        Exit::Permission,
        Exit::Config,
    ];
    let known: BTreeSet<String> = exits
        .iter()
        .map(|&exit| (exit as u8).to_string())
        .chain(["0".to_owned()])
        .collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let help = help();
    let line = help
        .lines()
        .find(|line| line.starts_with("Exit codes"))
        .unwrap();
    assert_eq!(words(line, is_number), known);
    let page = document(MANUAL);
    let listed = items(&page, ".It ")
        .into_iter()
        .filter(|item| is_number(item))
        .map(str::to_owned);
    assert_eq!(listed.collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_field_of_a_log_line_is_documented() {
    let server = Server::start();
    server.sign_in(503);
    let keys = |line: &str| -> BTreeSet<String> {
        line.split(' ')
            .filter_map(|word| word.split_once('='))
            .map(|(key, _)| key.to_owned())
            .collect()
    };
    let written = keys(&server.log_line("[request] login "));
    assert!(written.len() > 4, "{written:?}");
    let rows = table_rows("docs/operations.md", "### Requests").into_iter();
    let told: BTreeSet<_> = rows
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    assert!(written.is_subset(&told), "{written:?} in {told:?}");
    for example in [document("docs/operations.md"), document(MANUAL)] {
        let line = example
            .lines()
            .find(|line| line.starts_with("downloadVideoFileEx agent="))
            .unwrap()
            .to_owned();
        assert!(
            keys(&line).is_subset(&told) && keys(&line).is_superset(&written),
            "{line}"
        );
    }
}

/// The anchors that a Markdown page has for its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        line.starts_with('#')
            .then(|| line.trim_start_matches('#').trim().to_lowercase())
    };
    let letter = |letter: char| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        letter => letter.is_alphanumeric().then_some(letter),
    };
    page.lines()
        .filter_map(heading)
        .map(|heading| heading.chars().filter_map(letter).collect())
        .collect()
}

#[test]
fn every_link_leads_somewhere_and_each_page_is_installed_by_both_packages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for name in DOCUMENTS {
        let text = document(name);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = root.join(name).parent().unwrap().to_owned();
            let target = if file.is_empty() {
                root.join(name)
            } else {
                folder.join(file)
            };
            assert!(target.exists(), "{name}: {link}");
            if !anchor.is_empty() {
                let page = std::fs::read_to_string(&target).unwrap();
                assert!(
                    anchors(&page).contains(anchor),
                    "{name}: {link} has no such heading"
                );
            }
            links += 1;
        }
    }
    assert!(links > 15, "the test finds too few links: {links}");
    let pages = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let pages = pages.map(|name| format!("docs/{}", name.into_string().unwrap()));
    let pages: Vec<_> = pages.filter(|name| name.ends_with(".md")).collect();
    assert!(
        pages.iter().all(|page| DOCUMENTS.contains(&page.as_str())),
        "{pages:?}"
    );
    let packages = document("Cargo.toml");
    for list in [
        r#"["docs/*.md", "usr/share/doc/cc-gateway/docs/""#,
        r#"source = "docs/*.md", dest = "/usr/share/doc/cc-gateway/docs/""#,
    ] {
        assert!(packages.contains(list), "{list}");
    }
}

#[test]
fn the_readme_is_short() {
    let lines = document("README.md").lines().count();
    assert!((120..=180).contains(&lines), "{lines} lines");
}

#[test]
fn the_path_of_the_settings_is_the_one_of_the_packages() {
    for text in [
        help(),
        document("README.md"),
        document(MANUAL),
        document("packaging/debian/postinst"),
    ] {
        assert!(text.contains("/etc/cc-gateway"), "{text}");
    }
    assert!(
        document("Cargo.toml").contains(&format!("dest = \"{}\"", cc_gateway::cli::DEFAULT_CONFIG))
    );
}
