//! Rules across keys: contradictions are problems, likely mistakes are warnings.

use super::ip_prefix::IpPrefix;
use super::keys::{MOUNT_DIR, is_mount_key};
use super::settings::Settings;
use super::source::Source;
use std::time::Duration;

/// The longest poll allowed. No known client waits nearly as long, so a longer one is a typo.
const POLL_WAIT_MAX: Duration = Duration::from_secs(600);

/// The shortest time after which a known client gives up a poll.
const CLIENT_POLL_TIMEOUT: Duration = Duration::from_secs(12);

/// Checks the settings against each other. Values that were already refused must not cause a second
/// problem; warnings do not matter then.
pub(super) fn check(settings: &Settings, source: &mut Source<'_>) {
    guid_lifetimes(settings, source);
    poll_wait(settings, source);
    switches(settings, source);
    mounts(settings, source);
    proxies(settings, source);
}

fn guid_lifetimes(settings: &Settings, source: &mut Source<'_>) {
    const INTERVAL: &str = "GUIDINTERVAL";
    const TIMEOUT: &str = "GUIDTIMEOUT";
    if !source.are_valid(&[INTERVAL, TIMEOUT]) || settings.guid_interval < settings.guid_timeout {
        return;
    }
    let (interval, timeout) = (
        settings.guid_interval.as_millis(),
        settings.guid_timeout.as_millis(),
    );
    // One of the two may be a default, which has no line to correct.
    let key = if source.line(INTERVAL).is_some() {
        INTERVAL
    } else {
        TIMEOUT
    };
    let text = format!(
        "a Guid must be renewed before it expires; make {INTERVAL} ({interval}) less than {TIMEOUT} ({timeout})"
    );
    source.add_problem(source.line(key), key, text);
}

fn poll_wait(settings: &Settings, source: &mut Source<'_>) {
    const TIMES: &str = "AGENT_POLL_WAIT_TIMES";
    let Some(wait) = settings.poll_wait else {
        return;
    };
    let line = source
        .line(TIMES)
        .or(source.line("AGENT_POLL_WAIT_INTERVAL"));
    let lasts = format!(
        "a poll waits {} ms (times AGENT_POLL_WAIT_INTERVAL)",
        wait.as_millis()
    );
    if wait > POLL_WAIT_MAX {
        let text = format!("{lasts}; make it {} ms at most", POLL_WAIT_MAX.as_millis());
        source.add_problem(line, TIMES, text);
        return;
    }
    if wait >= CLIENT_POLL_TIMEOUT {
        source.add_warning(
            line,
            TIMES,
            format!("{lasts}, but some clients give up after 12000 ms; make it 10000 or less"),
        );
    }
    if settings.idle_timeout.is_some_and(|limit| wait >= limit) {
        source.add_warning(
            line,
            TIMES,
            format!("{lasts}, not less than MAXTIME; a waiting agent may be signed out"),
        );
    }
}

fn switches(settings: &Settings, source: &mut Source<'_>) {
    let (on, off) = match (settings.video_download, settings.support_video) {
        (true, false) => ("VIDEO_DOWNLOAD_FLAG", "IF_SUPPORT_VIDEO"),
        (false, true) => ("IF_SUPPORT_VIDEO", "VIDEO_DOWNLOAD_FLAG"),
        _ => return,
    };
    source.add_warning(
        source.line(on),
        on,
        format!("is ON, but no video can be downloaded until {off} is ON, too"),
    );
}

/// Without a mount every video download would fail, and only the agents would notice.
fn mounts(settings: &Settings, source: &mut Source<'_>) {
    let downloads = settings.video_download && settings.support_video;
    if !downloads
        || settings
            .mounts
            .keys()
            .any(|point| point.location.is_some() == settings.pool_mode)
    {
        return;
    }
    let mut written = source.entries_in_force(is_mount_key);
    written.retain(|entry| !entry.value.trim().is_empty());
    let mut involved: Vec<_> = written.iter().map(|entry| entry.key.as_str()).collect();
    involved.extend(["MAPPINGDISK", "CTI_POOL_MODE"]);
    if !source.are_valid(&involved) {
        return;
    }
    let text = if settings.pool_mode {
        "CTI_POOL_MODE is ON, but no node has a directory; add MOUNT_DIR.<locationId> = DIRECTORY"
    } else if written.is_empty() {
        "is not set; name the directory where the recordings are mounted, or set VIDEO_DOWNLOAD_FLAG to OFF"
    } else {
        "names no directory without a locationId; add MOUNT_DIR = DIRECTORY, or set CTI_POOL_MODE to ON"
    };
    source.add_missing(MOUNT_DIR, text);
}

/// A trusted proxy may claim any client address, including this machine's own.
fn proxies(settings: &Settings, source: &mut Source<'_>) {
    const KEY: &str = "TRUSTED_PROXIES";
    if settings.trusted_proxies.iter().any(IpPrefix::is_everyone) {
        source.add_warning(
            source.line(KEY),
            KEY,
            "trusts every client to name any address as its own; name the proxies only",
        );
    }
}
