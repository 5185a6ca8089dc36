//! The settings, as the other layers use them.

use super::ip_prefix::IpPrefix;
use super::mounts::{Drive, MountPoint};
use super::values::{AuthMode, DownloadScope};
use log::LevelFilter;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of the gateway. [`KEYS`](super::KEYS) lists the keys they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether videos may be downloaded; both this and `support_video` must be set.
    pub(crate) video_download: bool,
    /// Whether calls have video.
    pub(crate) support_video: bool,
    /// How long a Guid lasts.
    pub(crate) auth_mode: AuthMode,
    /// The age at which a Guid is renewed; 1 ms to a day, less than `guid_timeout`.
    pub(crate) guid_interval: Duration,
    /// The age at which a Guid expires; 1 ms to a day.
    pub(crate) guid_timeout: Duration,
    /// How long a poll waits for an event, at most 10 minutes; `None`: polls are answered at once.
    pub(crate) poll_wait: Option<Duration>,
    /// How long an agent may be silent, 1 ms to a day; `None`: forever.
    pub(crate) idle_timeout: Option<Duration>,
    /// The drive of mount directories whose key names none.
    pub(crate) mapping_disk: Drive,
    /// Whether downloads name their node, which selects the mount.
    pub(crate) pool_mode: bool,
    /// The absolute directory for each drive, or in pool mode for each node and drive.
    pub(crate) mounts: BTreeMap<MountPoint, PathBuf>,
    /// Whether a mount directory must be a mount point of its own.
    pub(crate) mount_check: bool,
    /// Whether voice recordings may be downloaded.
    pub(crate) record_download: bool,
    /// Suffixes of videos, in lower case and without dot; never empty.
    pub(crate) video_suffixes: Vec<String>,
    /// Suffixes of voice recordings, in lower case and without dot; never empty.
    pub(crate) audio_suffixes: Vec<String>,
    /// The interval between scans for new recordings, 100 ms to an hour; `None`: no recording
    /// events.
    pub(crate) record_scan_interval: Option<Duration>,
    /// Whose recordings an agent may download.
    pub(crate) download_scope: DownloadScope,
    /// The highest agent id, 101 to 999999.
    pub agent_id_max: u32,
    /// The agents file.
    pub agents_file: PathBuf,
    /// The name at the end of each Guid: up to 32 letters, digits and hyphens.
    pub(crate) server_name: String,
    /// The number after that name, up to 65535.
    pub(crate) node_index: u32,
    /// Addresses to listen on, without duplicates; never empty.
    pub listen: Vec<SocketAddr>,
    /// The PEM file of the certificate and its chain.
    pub tls_certificate: PathBuf,
    /// The PEM file of the certificate's private key.
    pub tls_private_key: PathBuf,
    /// Threads that answer requests, 1 to 256.
    pub worker_threads: usize,
    /// Client connections at once, 1 to 16384. The start lowers the default if there are too few
    /// descriptors.
    pub max_connections: usize,
    /// Client connections at once from one address, 1 to 16384; may exceed `max_connections`.
    /// Defaults to half of `max_connections`, rounded up.
    pub max_connections_per_address: usize,
    /// Proxies that are trusted to name the client's address.
    pub trusted_proxies: Vec<IpPrefix>,
    /// Downloads at once, 1 to 16384.
    pub(crate) max_downloads: usize,
    /// Downloads at once of one agent, 1 to 16384; may exceed `max_downloads`.
    pub(crate) max_downloads_per_agent: usize,
    /// Origins whose pages may call from a browser, spelt as browsers do.
    pub(crate) cors_allow_origin: Vec<String>,
    /// How long running downloads may take to finish on shutdown, up to an hour.
    pub(crate) drain_timeout: Duration,
    /// The most verbose level that is logged.
    pub(crate) log_level: LevelFilter,
    /// Every key with its value from the file or its default, in the order of
    /// [`KEYS`](super::KEYS).
    ///
    /// Paths are resolved, mount directories have their full key, and an unset key without default
    /// has an empty value. Written as `KEY = VALUE` lines, they form a file with the same meaning.
    pub(crate) lines: Vec<(String, String)>,
}

impl Settings {
    /// Whether `MAX_CONNECTIONS` differs from its default. A file that repeats the default, as the
    /// installed one does, does not count as choosing it.
    pub(crate) fn has_custom_max_connections(&self) -> bool {
        self.max_connections != MAX_CONNECTIONS_DEFAULT
    }

    /// Lowers `max_connections` to `fitting`, and the limit per address with it if that is half of
    /// it. [`lines`](Settings::lines) keeps the values of the file, so that a reload compares like
    /// with like.
    pub(crate) fn lower_max_connections(&mut self, fitting: usize) {
        let is_half = self.max_connections_per_address == half_rounded_up(self.max_connections);
        self.max_connections = self.max_connections.min(fitting);
        if is_half {
            self.max_connections_per_address = half_rounded_up(self.max_connections);
        }
    }

    /// Applies those of the newly read settings that a running service can change. Returns every
    /// difference, and whether it is now in force; the others need a restart.
    pub(crate) fn reload(&mut self, read: &Settings) -> Vec<Change> {
        let change = |key: &String, value: &str| Change {
            key: key.clone(),
            value: value.to_owned(),
            in_force: RELOADABLE.contains(&key.as_str()),
        };
        let changed = read.lines.iter().filter(|line| !self.lines.contains(line));
        let mut changes: Vec<_> = changed.map(|(key, value)| change(key, value)).collect();
        // Only mount directories can be missing from one of the two.
        let is_gone = |key: &String| !read.lines.iter().any(|(other, _)| other == key);
        let gone = self.lines.iter().filter(|(key, _)| is_gone(key));
        changes.extend(gone.map(|(key, _)| change(key, "")));
        self.agents_file.clone_from(&read.agents_file);
        self.tls_certificate.clone_from(&read.tls_certificate);
        self.tls_private_key.clone_from(&read.tls_private_key);
        self.drain_timeout = read.drain_timeout;
        self.log_level = read.log_level;
        for change in changes.iter().filter(|change| change.in_force) {
            if let Some((_, value)) = self.lines.iter_mut().find(|(key, _)| *key == change.key) {
                value.clone_from(&change.value);
            }
        }
        changes
    }
}

/// The default of `MAX_CONNECTIONS`; [`KEYS`](super::KEYS) has the same value as text.
const MAX_CONNECTIONS_DEFAULT: usize = 10_000;

/// The default of `MAX_CONNECTIONS_PER_ADDRESS`: one address may be the middle tier of a whole CRM,
/// but must leave room for others.
pub(super) fn half_rounded_up(connections: usize) -> usize {
    connections.div_ceil(2)
}

/// The keys that `Settings::reload` applies; all others need a restart.
pub const RELOADABLE: &[&str] = &[
    "AGENTS_FILE",
    "TLS_CERTIFICATE",
    "TLS_PRIVATE_KEY",
    "DRAIN_TIMEOUT",
    "LOG_LEVEL",
];

/// A setting that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its key, as in [`Settings::lines`].
    pub(crate) key: String,
    /// The new value; empty if the key is gone.
    pub(crate) value: String,
    /// Whether a reload applies it.
    pub(crate) in_force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KEYS, from_text};
    use std::path::Path;

    fn settings(text: &str) -> Settings {
        let text = format!("TLS_CERTIFICATE=c.pem\nTLS_PRIVATE_KEY=k.pem\n{text}");
        from_text(&text, Path::new("/basic.properties")).unwrap().0
    }

    #[test]
    fn the_default_of_max_connections_is_the_one_of_the_table() {
        let key = KEYS
            .iter()
            .find(|key| key.name == "MAX_CONNECTIONS")
            .unwrap();
        assert_eq!(
            key.default.fixed().unwrap().parse(),
            Ok(MAX_CONNECTIONS_DEFAULT)
        );
    }

    #[test]
    fn lowering_the_clients_lowers_their_derived_share_and_no_chosen_one() {
        for (text, chosen, fitting, lowered) in [
            ("", false, 401, (401, 201)),
            ("MAX_CONNECTIONS=10000", false, 1, (1, 1)),
            ("MAX_CONNECTIONS=9999", true, 20_000, (9999, 5000)),
            ("MAX_CONNECTIONS_PER_ADDRESS=7", false, 400, (400, 7)),
            (
                "MAX_CONNECTIONS=10000\nMAX_CONNECTIONS_PER_ADDRESS=9000",
                false,
                400,
                (400, 9000),
            ),
        ] {
            let mut settings = settings(text);
            assert_eq!(settings.has_custom_max_connections(), chosen, "{text}");
            let lines = settings.lines.clone();
            settings.lower_max_connections(fitting);
            assert_eq!(
                (
                    settings.max_connections,
                    settings.max_connections_per_address
                ),
                lowered,
                "{text}"
            );
            assert_eq!(settings.lines, lines);
        }
    }

    #[test]
    fn a_reload_applies_what_it_can_and_tells_every_difference() {
        let before = settings("LOG_LEVEL=info\nMAX_DOWNLOADS=7\nMOUNT_DIR=/a");
        let read = settings(
            "AGENTS_FILE=/agents\nTLS_CERTIFICATE=/c\nTLS_PRIVATE_KEY=/k\nDRAIN_TIMEOUT=1000\n\
             LOG_LEVEL=debug\nMAX_DOWNLOADS=8",
        );
        let mut settings = before.clone();
        let changes = settings.reload(&read);
        let changes: Vec<_> = changes
            .iter()
            .map(|change| (change.key.as_str(), change.value.as_str(), change.in_force))
            .collect();
        assert_eq!(
            changes,
            [
                ("MOUNT_DIR", "", false),
                ("TLS_CERTIFICATE", "/c", true),
                ("TLS_PRIVATE_KEY", "/k", true),
                ("AGENTS_FILE", "/agents", true),
                ("MAX_DOWNLOADS", "8", false),
                ("DRAIN_TIMEOUT", "1000", true),
                ("LOG_LEVEL", "debug", true),
                ("MOUNT_DIR.Y", "", false),
            ]
        );
        let expected = Settings {
            agents_file: "/agents".into(),
            tls_certificate: "/c".into(),
            tls_private_key: "/k".into(),
            drain_timeout: Duration::from_secs(1),
            log_level: LevelFilter::Debug,
            lines: settings.lines.clone(),
            ..before
        };
        assert_eq!(settings, expected);
        // Only the settings that could not be applied differ again.
        let again = settings.reload(&read);
        assert!(again.len() == 3 && again.iter().all(|change| !change.in_force));
    }
}
