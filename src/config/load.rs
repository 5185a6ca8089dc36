//! Parses basic.properties into settings: each key with its type and bounds.

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

/// Largest file to read, in bytes. Anything larger is some other file, named by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A day in milliseconds: the upper bound for a silent session or the life of a Guid.
const DAY_MS: u64 = 86_400_000;

/// Upper bound for the limits on clients and downloads. The unit's LimitNOFILE has room for twice
/// as many descriptors; more agents than that need another node.
const CLIENTS_MAX: usize = 16_384;

/// Reads the settings from a file, with any warnings and notes.
///
/// # Errors
///
/// Everything wrong with the file, in line order; never empty.
pub fn read(path: &Path) -> Result<(Settings, Vec<Notice>), Vec<Problem>> {
    match read_text(path, FILE_BYTES_MAX, "name another file with --config FILE") {
        Ok(text) => from_text(&text, path),
        Err(problem) => Err(vec![problem]),
    }
}

/// Reads the settings from the text of `file`. Relative paths in it are relative to the folder of
/// `file`.
///
/// # Errors
///
/// Everything wrong with the text, in line order; never empty.
pub fn from_text(text: &str, file: &Path) -> Result<(Settings, Vec<Notice>), Vec<Problem>> {
    let (entries, malformed) = properties::parse(text);
    let mut source = Source::new(file, &entries);
    for entry in malformed {
        source.add_line_problem(entry.line, entry.reason);
    }
    let mut settings = parse_settings(&mut source);
    rules::check(&settings, &mut source);
    let (problems, notices, lines) = source.finish();
    if !problems.is_empty() {
        return Err(problems);
    }
    settings.lines = lines;
    Ok((settings, notices))
}

/// Parses every key.
fn parse_settings(source: &mut Source<'_>) -> Settings {
    const PAIR: &str =
        "name a PEM file; `cc-gateway certificate --out DIR` makes a pair for a first start";
    let clients = || number(1..=CLIENTS_MAX);
    let max_connections = source.parse("MAX_CONNECTIONS", clients());
    let mapping_disk = source.parse("MAPPINGDISK", Drive::parse);
    let pool_mode = source.parse("CTI_POOL_MODE", switch);
    Settings {
        video_download: source.parse("VIDEO_DOWNLOAD_FLAG", switch),
        support_video: source.parse("IF_SUPPORT_VIDEO", switch),
        auth_mode: source.parse(
            "AUTHMODE",
            choice(&[("1", AuthMode::Static), ("2", AuthMode::Dynamic)]),
        ),
        guid_interval: source.parse("GUIDINTERVAL", millis(1..=DAY_MS)),
        guid_timeout: source.parse("GUIDTIMEOUT", millis(1..=DAY_MS)),
        poll_wait: parse_poll_wait(source),
        idle_timeout: parse_idle_timeout(source),
        mapping_disk,
        pool_mode,
        mounts: mounts::parse(source, mapping_disk, pool_mode),
        mount_check: source.parse("MOUNT_CHECK", switch),
        record_download: source.parse("RECORD_DOWNLOAD_FLAG", switch),
        video_suffixes: source.parse("VIDEO_FILE_SUFFIXES", lists::suffixes),
        audio_suffixes: source.parse("AUDIO_FILE_SUFFIXES", lists::suffixes),
        record_scan_interval: source.parse("RECORD_SCAN_INTERVAL", values::scan_interval),
        download_scope: source.parse(
            "DOWNLOAD_SCOPE",
            choice(&[("OWN", DownloadScope::Own), ("ALL", DownloadScope::All)]),
        ),
        agent_id_max: source.parse("AGENT_ID_MAX", number(101..=999_999)),
        agents_file: source.parse_path("AGENTS_FILE"),
        server_name: source.parse("SERVER_NAME", values::server_name),
        node_index: source.parse("NODE_INDEX", number(0..=65_535)),
        listen: source.parse("LISTEN", lists::addresses),
        tls_certificate: source.parse_required_path("TLS_CERTIFICATE", PAIR),
        tls_private_key: source.parse_required_path("TLS_PRIVATE_KEY", PAIR),
        worker_threads: source.parse("WORKER_THREADS", number(1..=256)),
        max_connections,
        max_connections_per_address: source.parse_or(
            "MAX_CONNECTIONS_PER_ADDRESS",
            half_rounded_up(max_connections),
            clients(),
        ),
        trusted_proxies: source.parse("TRUSTED_PROXIES", lists::prefixes),
        max_downloads: source.parse("MAX_DOWNLOADS", clients()),
        max_downloads_per_agent: source.parse("MAX_DOWNLOADS_PER_AGENT", clients()),
        cors_allow_origin: source.parse("CORS_ALLOW_ORIGIN", lists::origins),
        drain_timeout: source.parse("DRAIN_TIMEOUT", millis(0..=3_600_000)),
        log_level: source
            .parse("LOG_LEVEL", values::level)
            .unwrap_or(LevelFilter::Info),
        lines: Vec::new(),
    }
}

fn parse_poll_wait(source: &mut Source<'_>) -> Option<Duration> {
    let waits = source.parse("AGENT_POLL_WAIT_FLAG", switch);
    let times = source.parse("AGENT_POLL_WAIT_TIMES", number(0..=600_000));
    let interval = source.parse("AGENT_POLL_WAIT_INTERVAL", millis(1..=60_000));
    waits.then(|| interval.saturating_mul(times))
}

fn parse_idle_timeout(source: &mut Source<'_>) -> Option<Duration> {
    let limited = source.parse("TIMEOUT_FLAG", switch);
    let limit = source.parse("MAXTIME", millis(1..=DAY_MS));
    limited.then_some(limit)
}
