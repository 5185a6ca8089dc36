//! Tests of `etc/basic.properties` and `etc/agents.properties`, the samples that are installed with
//! the gateway.

use super::keys::MOUNT_DIR;
use super::{from_text, properties};
use std::path::Path;

const SAMPLE: &str = include_str!("../../etc/basic.properties");
const AGENTS: &str = include_str!("../../etc/agents.properties");

/// Where the sample is installed.
const FILE: &str = "/etc/cc-gateway/basic.properties";

/// What the sample sets for a new machine: downloads, and the key pair that the package makes. The
/// operator adds a mount and an agent.
const FRESH: [(&str, &str); 4] = [
    ("TLS_CERTIFICATE", "certificate.pem"),
    ("TLS_PRIVATE_KEY", "private-key.pem"),
    ("VIDEO_DOWNLOAD_FLAG", "ON"),
    ("IF_SUPPORT_VIDEO", "ON"),
];

#[test]
fn the_sample_as_it_stands_lacks_a_mount_and_nothing_else() {
    let problems: Vec<_> = from_text(SAMPLE, Path::new(FILE))
        .unwrap_err()
        .into_iter()
        .map(|one| one.key)
        .collect();
    assert_eq!(problems, [Some(MOUNT_DIR.to_owned())]);
}

#[test]
fn one_line_makes_the_sample_work_and_it_changes_no_default_but_those() {
    let mount = "MOUNT_DIR = /mnt/records\n";
    let (settings, notices) = from_text(
        &SAMPLE.replace(&format!("#{mount}"), mount),
        Path::new(FILE),
    )
    .unwrap();
    let fresh: String = FRESH
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    assert_eq!(
        (settings, notices),
        from_text(&format!("{fresh}{mount}"), Path::new(FILE)).unwrap()
    );
}

#[test]
fn the_sample_with_every_line_in_use_is_in_order() {
    let used: String = SAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|line| !line.starts_with(' '))
                .unwrap_or(line)
                .to_owned()
                + "\n"
        })
        .collect();
    let (settings, _) = from_text(&used, Path::new(FILE)).unwrap();
    assert_eq!(settings.mounts.len(), 4);
    assert_eq!(
        settings.cors_allow_origin,
        ["https://crm.example.com", "https://desk.example.com:8443"]
    );
    assert_eq!(
        settings.tls_private_key,
        Path::new("/etc/cc-gateway/private-key.pem")
    );
}

#[test]
fn the_sample_of_agents_names_none_until_a_line_is_put_in_use() {
    assert_eq!(properties::parse(AGENTS), (Vec::new(), Vec::new()));
    let used = AGENTS
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with('1'));
    let keys: Vec<_> = properties::parse(&used.collect::<Vec<_>>().join("\n"))
        .0
        .into_iter()
        .map(|one| one.key)
        .collect();
    assert_eq!(keys, ["1001", "1002", "1003", "1003.role", "1003.vdn"]);
}
