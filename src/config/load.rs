//! From basic.properties to settings: every key with its type and bounds.

use super::lists;
use super::mounts::{self, Drive};
use super::notice::Notice;
use super::problem::Problem;
use super::properties;
use super::rules;
use super::settings::{Settings, half_rounded_up};
use super::source::Source;
use super::text_file::read_text;
use super::values::{self, AuthMode, DownloadScope, choice, millis, number, switch};
use log::LevelFilter;
use std::path::Path;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The largest file that is read, in bytes; whatever is larger is some other file, named by mistake.
const FILE_MAX: u64 = 1 << 20;

/// A day, in milliseconds: no session is meant to be silent, and no Guid to last, for longer.
const DAY: u64 = 86_400_000;

/// The highest limit on clients and downloads: twice as many descriptors are within the unit's LimitNOFILE, and an
/// agent desktop beyond that number belongs to another node.
const CLIENTS_MAX: usize = 16_384;

/// Reads the settings from a file, with the remarks there are on it.
///
/// # Errors
///
/// Everything that is wrong with the file, in the order of its lines; never empty.
pub fn read(path: &Path) -> Result<(Settings, Vec<Notice>), Vec<Problem>> {
    match read_text(path, FILE_MAX, "name another file with --config FILE") {
        Ok(text) => from_text(&text, path),
        Err(problem) => Err(vec![problem]),
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
    let max_connections = source.take("MAX_CONNECTIONS", clients());
    let mapping_disk = source.take("MAPPINGDISK", Drive::parse);
    let pool_mode = source.take("CTI_POOL_MODE", switch);
    Settings {
        video_download: source.take("VIDEO_DOWNLOAD_FLAG", switch),
        support_video: source.take("IF_SUPPORT_VIDEO", switch),
        auth_mode: source.take("AUTHMODE", choice(&[("1", AuthMode::Static), ("2", AuthMode::Dynamic)])),
        guid_interval: source.take("GUIDINTERVAL", millis(1..=DAY)),
        guid_timeout: source.take("GUIDTIMEOUT", millis(1..=DAY)),
        poll_wait: take_poll_wait(source),
        idle_timeout: take_idle_timeout(source),
        mapping_disk,
        pool_mode,
        mounts: mounts::take(source, mapping_disk, pool_mode),
        mount_check: source.take("MOUNT_CHECK", switch),
        record_download: source.take("RECORD_DOWNLOAD_FLAG", switch),
        video_suffixes: source.take("VIDEO_FILE_SUFFIXES", lists::suffixes),
        audio_suffixes: source.take("AUDIO_FILE_SUFFIXES", lists::suffixes),
        record_scan_interval: source.take("RECORD_SCAN_INTERVAL", values::scan_interval),
        download_scope: source
            .take("DOWNLOAD_SCOPE", choice(&[("OWN", DownloadScope::Own), ("ALL", DownloadScope::All)])),
        agent_id_max: source.take("AGENT_ID_MAX", number(101..=999_999)),
        agents_file: source.take_file("AGENTS_FILE"),
        server_name: source.take("SERVER_NAME", values::server_name),
        node_index: source.take("NODE_INDEX", number(0..=65_535)),
        listen: source.take("LISTEN", lists::addresses),
        tls_certificate: source.take_needed_file("TLS_CERTIFICATE", PAIR),
        tls_private_key: source.take_needed_file("TLS_PRIVATE_KEY", PAIR),
        worker_threads: source.take("WORKER_THREADS", number(1..=256)),
        max_connections,
        max_connections_per_address: source.take_or(
            "MAX_CONNECTIONS_PER_ADDRESS",
            half_rounded_up(max_connections),
            clients(),
        ),
        trusted_proxies: source.take("TRUSTED_PROXIES", lists::prefixes),
        max_downloads: source.take("MAX_DOWNLOADS", clients()),
        max_downloads_per_agent: source.take("MAX_DOWNLOADS_PER_AGENT", clients()),
        cors_allow_origin: source.take("CORS_ALLOW_ORIGIN", lists::origins),
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

fn take_idle_timeout(source: &mut Source<'_>) -> Option<Duration> {
    let limited = source.take("TIMEOUT_FLAG", switch);
    let limit = source.take("MAXTIME", millis(1..=DAY));
    limited.then_some(limit)
}
