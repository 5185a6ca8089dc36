//! The README, the manual pages and the program say the same.

use std::collections::BTreeSet;

use cc_gateway::api::{METRICS, ResultCode};
use cc_gateway::cli::{COMMANDS, OPTIONS, help};
use cc_gateway::config::{DefaultValue, KEYS, RELOADABLE};
use cc_gateway::ops::failure::Exit;

use crate::support::{Server, document, readme_rows};

const MANUAL: &str = "packaging/man/cc-gateway.8";
const MANUAL_OF_SETTINGS: &str = "packaging/man/cc-gateway.properties.5";

/// Every word of `text` that `is_one` takes, without what encloses it.
fn words(text: &str, is_one: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    text.split(|letter| !part_of_word(letter)).filter(|word| is_one(word)).map(str::to_owned).collect()
}

/// What follows `macro_name` at the beginning of a line of a manual page.
fn items<'a>(page: &'a str, macro_name: &str) -> Vec<&'a str> {
    page.lines().filter_map(|line| line.strip_prefix(macro_name)).collect()
}

#[test]
fn the_readme_lists_every_setting_with_its_default() {
    let told: BTreeSet<_> = readme_rows("### Settings").into_iter().skip(2).collect();
    let known = KEYS.iter().map(|key| {
        let default = match key.default {
            DefaultValue::Unset => "none".to_owned(),
            DefaultValue::Fixed(value) => format!("`{value}`"),
            DefaultValue::Derived(rule) => rule.to_owned(),
        };
        let reload = if RELOADABLE.contains(&key.name) { "yes" } else { "" };
        vec![format!("`{}`", key.name), default, key.meaning.to_owned(), reload.to_owned()]
    });
    assert_eq!(told, known.collect());
}

#[test]
fn the_manual_lists_every_setting_with_its_default() {
    let page = document(MANUAL_OF_SETTINGS);
    let told: BTreeSet<_> = items(&page, ".It Cm ").into_iter().map(str::to_owned).collect();
    let known = KEYS.iter().map(|key| {
        let default = key.default.shown().map_or(String::new(), |default| format!(" No = {default}"));
        let reload = if RELOADABLE.contains(&key.name) { " Pq reload" } else { "" };
        format!("{}{default}{reload}", key.name)
    });
    assert_eq!(told, known.collect());
    let signals = document(MANUAL);
    assert!(RELOADABLE.iter().all(|key| signals.contains(&format!("\n.Cm {key}"))));
}

#[test]
fn every_command_and_option_is_in_readme_and_manual_and_no_other() {
    let options = |text: &str| {
        words(text, |word| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic)))
    };
    let known: BTreeSet<_> = OPTIONS.iter().map(|option| format!("--{}", option.name)).collect();
    assert_eq!(options(&help()), known);
    let install: String = readme_rows("## Install").into_iter().flatten().collect::<Vec<_>>().join(" ");
    assert_eq!(options(&install), known);
    let page = document(MANUAL);
    let flags = items(&page, ".It Fl ").join(" ");
    let described = words(&flags, |word| word.starts_with('-') && word.len() > 1);
    assert_eq!(described, known.iter().map(|option| option[1..].to_owned()).collect());

    let known: BTreeSet<_> =
        COMMANDS.iter().map(|command| command.name.to_owned()).filter(|name| !name.is_empty()).collect();
    assert_eq!(items(&page, ".It Cm ").into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), known);
    let told = install.split('`').filter_map(|code| code.strip_prefix("cc-gateway "));
    let told = told.filter_map(|code| code.split(' ').next()).filter(|word| word.starts_with(char::is_alphabetic));
    assert_eq!(told.map(str::to_owned).collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_exit_code_is_in_help_readme_and_manual_and_no_other() {
    let exits = [Exit::Usage, Exit::Unavailable, Exit::Io, Exit::Permission, Exit::Config];
    let known: BTreeSet<String> = exits.iter().map(|&exit| (exit as u8).to_string()).chain(["0".to_owned()]).collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let help = help();
    let line = help.lines().find(|line| line.starts_with("Exit codes")).unwrap();
    assert_eq!(words(line, is_number), known);
    let rows = readme_rows("## Install").into_iter().map(|row| row[0].clone()).filter(|cell| is_number(cell));
    assert_eq!(rows.collect::<BTreeSet<_>>(), known);
    let page = document(MANUAL);
    let listed = items(&page, ".It ").into_iter().filter(|item| is_number(item)).map(str::to_owned);
    assert_eq!(listed.collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_metric_is_in_the_readme_and_no_other() {
    let known: BTreeSet<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(words(&document("README.md"), |word| word.starts_with("cc_gateway_")), known);
}

#[test]
fn every_result_code_the_readme_explains_is_sent() {
    let is_code = |cell: &String| cell == "0" || cell.len() == 7 && cell.as_bytes()[3] == b'-';
    let told: BTreeSet<_> = readme_rows("### Result codes").into_iter().map(|row| row[0].clone()).collect();
    let known = ResultCode::ALL.iter().map(|code| code.wire().to_owned());
    assert_eq!(told.into_iter().filter(is_code).collect::<BTreeSet<_>>(), known.collect());
}

#[test]
fn every_field_of_a_log_line_is_in_the_readme_and_no_other() {
    let server = Server::start();
    server.sign_in(503);
    let line = server.log_line("[request] login ");
    let keys = |line: &str| -> BTreeSet<String> {
        line.split(' ').filter_map(|word| word.split_once('=')).map(|(key, _)| key.to_owned()).collect()
    };
    // `cut` is there for an answer that was not sent whole.
    let mut written = keys(&line);
    assert!(written.insert("cut".to_owned()));
    let rows = readme_rows("### Log").into_iter().skip(3).map(|row| row[0].trim_matches('`').to_owned());
    assert_eq!(rows.collect::<BTreeSet<_>>(), written);
    for example in [document("README.md"), document(MANUAL)] {
        let line = example.lines().find(|line| line.starts_with("downloadVideoFileEx agent=")).unwrap().to_owned();
        assert!(keys(&line).is_subset(&written) && keys(&line).len() == written.len() - 1, "{line}");
    }
}

#[test]
fn the_path_of_the_settings_is_the_one_of_the_packages() {
    for text in [help(), document("README.md"), document(MANUAL), document("packaging/debian/postinst")] {
        assert!(text.contains("/etc/cc-gateway"), "{text}");
    }
    assert!(document("Cargo.toml").contains(&format!("dest = \"{}\"", cc_gateway::cli::DEFAULT_CONFIG)));
}
