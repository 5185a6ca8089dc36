//! Holds `etc/basic.properties` and `etc/agents.properties`, which are installed with the gateway, to the code.

use super::keys::MOUNT_DIR;
use super::{KEYS, from_text, properties};
use std::collections::BTreeMap;
use std::path::Path;

const SAMPLE: &str = include_str!("../../etc/basic.properties");
const AGENTS: &str = include_str!("../../etc/agents.properties");

/// Where the sample is installed.
const FILE: &str = "/etc/cc-gateway/basic.properties";

/// The keys of the sample: with their values, or without where the line is commented out. Such a line has no
/// blank after its `#`, which tells it from text.
fn keys(sample: &str) -> BTreeMap<String, Option<String>> {
    let mut keys = BTreeMap::new();
    for line in sample.lines() {
        let hidden = line.strip_prefix('#').filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()));
        for entry in properties::parse(hidden.unwrap_or(line)).0 {
            let value = hidden.is_none().then_some(entry.value);
            assert_eq!(keys.insert(form(&entry.key), value), None, "{} stands there twice", entry.key);
        }
    }
    keys
}

/// The name a key of the sample has in the table.
fn form(key: &str) -> String {
    let part = |part: &str| if part.starts_with(|c: char| c.is_ascii_digit()) { ".<locationId>" } else { ".<drive>" };
    match key.strip_prefix(MOUNT_DIR) {
        Some(parts) => MOUNT_DIR.to_owned() + &parts.split('.').skip(1).map(part).collect::<String>(),
        None => key.to_owned(),
    }
}

/// What the sample sets for a fresh machine: downloads, and the pair the package makes. The operator adds a mount
/// and an agent.
const FRESH: [(&str, &str); 4] = [
    ("TLS_CERTIFICATE", "certificate.pem"),
    ("TLS_PRIVATE_KEY", "private-key.pem"),
    ("VIDEO_DOWNLOAD_FLAG", "ON"),
    ("IF_SUPPORT_VIDEO", "ON"),
];

#[test]
fn the_sample_holds_every_key_with_its_default_or_what_a_fresh_machine_needs_and_no_other() {
    let mut table: BTreeMap<_, _> =
        KEYS.iter().map(|key| (key.name.to_owned(), key.default.fixed().map(str::to_owned))).collect();
    for (key, value) in FRESH {
        assert!(table.insert(key.to_owned(), Some(value.to_owned())).is_some(), "{key}");
    }
    assert_eq!(keys(SAMPLE), table);
}

#[test]
fn the_sample_as_it_stands_lacks_a_mount_and_nothing_else() {
    let problems: Vec<_> = from_text(SAMPLE, Path::new(FILE)).unwrap_err().into_iter().map(|one| one.key).collect();
    assert_eq!(problems, [Some(MOUNT_DIR.to_owned())]);
}

#[test]
fn one_line_makes_the_sample_work_and_it_changes_no_default_but_those() {
    let mount = "MOUNT_DIR = /mnt/records\n";
    let (settings, notices) = from_text(&SAMPLE.replace(&format!("#{mount}"), mount), Path::new(FILE)).unwrap();
    let fresh: String = FRESH.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    assert_eq!((settings, notices), from_text(&format!("{fresh}{mount}"), Path::new(FILE)).unwrap());
}

#[test]
fn the_sample_with_every_line_in_use_is_in_order() {
    let used: String = SAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let (settings, _) = from_text(&used, Path::new(FILE)).unwrap();
    assert_eq!(settings.mounts.len(), 4);
    assert_eq!(settings.cors_allow_origin, ["https://crm.example.com", "https://desk.example.com:8443"]);
    assert_eq!(settings.tls_private_key, Path::new("/etc/cc-gateway/private-key.pem"));
}

#[test]
fn the_sample_of_agents_names_none_until_a_line_is_put_in_use() {
    assert_eq!(properties::parse(AGENTS), (Vec::new(), Vec::new()));
    assert_eq!(keys(AGENTS).into_keys().collect::<Vec<_>>(), ["1001", "1002", "1003", "1003.role", "1003.vdn"]);
}
