//! What basic.properties says, as types: every default, every bound, and the rules between keys.

use super::mounts::{self, Drive, MountPoint};
use super::notice::Notice;
use super::problem::Problem;
use super::properties;
use super::rules;
use super::source::Source;
use super::values::{self, AuthMode, DownloadScope, choice, millis, number, switch};
use log::LevelFilter;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest file that is read, in bytes; those found on gateways have some ten thousand.
const FILE_MAX: u64 = 1 << 20;

/// A day, in milliseconds: no session is meant to be silent, and no Guid to last, for longer.
const DAY: u64 = 86_400_000;

/// The highest limit on clients: each has a thread, and a process may have 32768 of them by default.
const CLIENTS_MAX: usize = 16_384;

/// The settings of the gateway; [`KEYS`](super::KEYS) says which key each comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether videos may be downloaded; both this and `support_video` must be set.
    pub video_download: bool,
    /// Whether calls have video.
    pub support_video: bool,
    /// How long a Guid lasts.
    pub auth_mode: AuthMode,
    /// The age at which a Guid is renewed; 1 ms to a day, less than `guid_timeout`.
    pub guid_interval: Duration,
    /// The age at which a Guid expires; 1 ms to a day.
    pub guid_timeout: Duration,
    /// How long a poll waits for an event, at most 10 minutes; `None` if polls are answered at once.
    pub poll_wait: Option<Duration>,
    /// How long an agent may be silent, 1 ms to a day; `None` if it may be for ever.
    pub silence_limit: Option<Duration>,
    /// The drive that mount directories without a drive of their own stand for.
    pub mapping_disk: Drive,
    /// Whether a download names its node, which then selects the mount.
    pub pool_mode: bool,
    /// The absolute directory for each drive, or in pool mode for each node and drive.
    pub mounts: BTreeMap<MountPoint, PathBuf>,
    /// Whether a mount directory must be a mount point of its own.
    pub mount_check: bool,
    /// What a recording's name may end with, in lower case and without dot; never empty.
    pub video_suffixes: Vec<String>,
    /// Whose recordings an agent may download.
    pub download_scope: DownloadScope,
    /// The highest agent id, 101 to 999999.
    pub agent_id_max: u32,
    /// The file that names the agents.
    pub agents_file: PathBuf,
    /// The name at the end of each Guid: up to 32 letters, digits and hyphens.
    pub server_name: String,
    /// The number after that name, up to 65535.
    pub node_index: u32,
    /// Where to listen, each address once; never empty.
    pub listen: Vec<SocketAddr>,
    /// The PEM file of the certificate and its chain.
    pub tls_certificate: PathBuf,
    /// The PEM file of the certificate's private key.
    pub tls_private_key: PathBuf,
    /// Threads that answer requests, 1 to 256.
    pub worker_threads: usize,
    /// Client connections at once, 1 to 16384.
    pub max_connections: usize,
    /// Client connections at once from one address, 1 to 16384; may exceed `max_connections`.
    pub max_connections_per_address: usize,
    /// Downloads at once, 1 to 16384.
    pub max_downloads: usize,
    /// Downloads at once of one agent, 1 to 16384; may exceed `max_downloads`.
    pub max_downloads_per_agent: usize,
    /// The origins whose pages may call from a browser, spelt as browsers do; empty for none.
    pub cors_allow_origin: Vec<String>,
    /// How long running downloads may take to finish on shutdown, up to an hour.
    pub drain_timeout: Duration,
    /// The least important messages that are logged.
    pub log_level: LevelFilter,
    lines: Vec<(String, String)>,
}

impl Settings {
    /// Every key with the value the file or its default gives it, in the order of [`KEYS`](super::KEYS).
    ///
    /// Paths are resolved, mount directories have their full key, and an empty value says that a key without
    /// default is not set. Written as `KEY = VALUE` lines, these make a file with the same meaning.
    pub fn lines(&self) -> &[(String, String)] {
        &self.lines
    }
}

/// Reads the settings from a file, with the remarks there are on it.
///
/// # Errors
///
/// Everything that is wrong with the file, in the order of its lines; never empty.
pub fn read(path: &Path) -> Result<(Settings, Vec<Notice>), Vec<Problem>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= FILE_MAX) => {
            from_text(&properties::decode(bytes), path)
        }
        Ok(_) => Err(vec![Problem::of_config(path, None, None, "is larger than 1 MiB; name a properties file")]),
        Err(error) => Err(vec![Problem::of_io(path, &error, "name another file with --config FILE")]),
    }
}

/// Reads the settings from the text of a file; `file` is where it came from, and where the relative paths in it
/// start.
///
/// # Errors
///
/// Everything that is wrong with the text, in the order of its lines; never empty.
pub fn from_text(text: &str, file: &Path) -> Result<(Settings, Vec<Notice>), Vec<Problem>> {
    let (entries, malformed) = properties::parse(text);
    let mut source = Source::new(file, &entries);
    for entry in malformed {
        source.refuse_line(entry.line, entry.reason);
    }
    let mut settings = take(&mut source);
    rules::check(&settings, &mut source);
    let (problems, notices, lines) = source.finish();
    if !problems.is_empty() {
        return Err(problems);
    }
    settings.lines = lines;
    Ok((settings, notices))
}

/// Takes every key.
fn take(source: &mut Source<'_>) -> Settings {
    const PAIR: &str = "name a PEM file; `cc-gateway certificate --out DIR` makes a pair for a first start";
    let clients = || number(1..=CLIENTS_MAX);
    let mapping_disk = source.take("MAPPINGDISK", Drive::parse);
    let pool_mode = source.take("CTI_POOL_MODE", switch);
    Settings {
        video_download: source.take("VIDEO_DOWNLOAD_FLAG", switch),
        support_video: source.take("IF_SUPPORT_VIDEO", switch),
        auth_mode: source.take("AUTHMODE", choice(&[("1", AuthMode::Static), ("2", AuthMode::Dynamic)])),
        guid_interval: source.take("GUIDINTERVAL", millis(1..=DAY)),
        guid_timeout: source.take("GUIDTIMEOUT", millis(1..=DAY)),
        poll_wait: take_poll_wait(source),
        silence_limit: take_silence_limit(source),
        mapping_disk,
        pool_mode,
        mounts: mounts::take(source, mapping_disk, pool_mode),
        mount_check: source.take("MOUNT_CHECK", switch),
        video_suffixes: source.take("VIDEO_FILE_SUFFIXES", values::suffixes),
        download_scope: source
            .take("DOWNLOAD_SCOPE", choice(&[("OWN", DownloadScope::Own), ("ALL", DownloadScope::All)])),
        agent_id_max: source.take("AGENT_ID_MAX", number(101..=999_999)),
        agents_file: source.take_file("AGENTS_FILE"),
        server_name: source.take("SERVER_NAME", values::server_name),
        node_index: source.take("NODE_INDEX", number(0..=65_535)),
        listen: source.take("LISTEN", values::addresses),
        tls_certificate: source.take_needed_file("TLS_CERTIFICATE", PAIR),
        tls_private_key: source.take_needed_file("TLS_PRIVATE_KEY", PAIR),
        worker_threads: source.take("WORKER_THREADS", number(1..=256)),
        max_connections: source.take("MAX_CONNECTIONS", clients()),
        max_connections_per_address: source.take("MAX_CONNECTIONS_PER_ADDRESS", clients()),
        max_downloads: source.take("MAX_DOWNLOADS", clients()),
        max_downloads_per_agent: source.take("MAX_DOWNLOADS_PER_AGENT", clients()),
        cors_allow_origin: source.take("CORS_ALLOW_ORIGIN", values::origins),
        drain_timeout: source.take("DRAIN_TIMEOUT", millis(0..=3_600_000)),
        log_level: source.take("LOG_LEVEL", values::level).unwrap_or(LevelFilter::Info),
        lines: Vec::new(),
    }
}

fn take_poll_wait(source: &mut Source<'_>) -> Option<Duration> {
    let waits = source.take("AGENT_POLL_WAIT_FLAG", switch);
    let times = source.take("AGENT_POLL_WAIT_TIMES", number(0..=600_000));
    let interval = source.take("AGENT_POLL_WAIT_INTERVAL", millis(1..=60_000));
    waits.then(|| interval.saturating_mul(times))
}

fn take_silence_limit(source: &mut Source<'_>) -> Option<Duration> {
    let limited = source.take("TIMEOUT_FLAG", switch);
    let limit = source.take("MAXTIME", millis(1..=DAY));
    limited.then_some(limit)
}
