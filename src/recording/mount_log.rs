//! Rate-limited log lines about recordings of a mount.

use std::fmt::Display;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use log::warn;

use crate::ops::log_lines::Quoted;
use crate::ops::rate_limited_log::RateLimitedLog;
use crate::ops::sync::lock;

/// The log lines of one mount: refusals by policy once each, failures rate-limited.
#[derive(Debug, Default)]
pub(super) struct MountLog {
    mount: String,
    link: AtomicBool,
    irregular: AtomicBool,
    failures: Mutex<RateLimitedLog>,
    searches: Mutex<RateLimitedLog>,
    looks: Mutex<RateLimitedLog>,
}

impl MountLog {
    pub(super) fn new(directory: &Path) -> MountLog {
        MountLog {
            mount: directory.display().to_string(),
            ..MountLog::default()
        }
    }

    /// A folder or file is a symbolic link. `path` is relative to the mount.
    pub(super) fn link(&self, path: &impl Display) {
        if !self.link.swap(true, Ordering::Relaxed) {
            self.line(path, "is a symbolic link; links are not followed, recordings behind them count as missing");
        }
    }

    /// A recording is not a regular file.
    pub(super) fn irregular(&self, path: &impl Display) {
        if !self.irregular.swap(true, Ordering::Relaxed) {
            self.line(path, "is not a regular file and cannot be downloaded");
        }
    }

    /// A recording or folder could not be opened or read.
    pub(super) fn failed(&self, path: &impl Display, reason: &impl Display) {
        // Logged without the lock.
        let permitted = lock(&self.failures).permit(Instant::now());
        if let Some(suppressed) = permitted {
            self.line(path, &format!("cannot be opened: {reason}{suppressed}"));
        }
    }

    /// A search for an agent's latest recording hit a limit.
    pub(super) fn gave_up(&self, what: &impl Display) {
        let permitted = lock(&self.searches).permit(Instant::now());
        if let Some(suppressed) = permitted {
            warn!(
                "mount {}: gave up searching for an agent's latest recording after {what}{suppressed}",
                self.mount
            );
        }
    }

    /// A scan for new recordings failed.
    pub(super) fn scan_failed(&self, reason: &impl Display) {
        let permitted = lock(&self.looks).permit(Instant::now());
        if let Some(suppressed) = permitted {
            warn!(
                "mount {}: a scan for new recordings failed: {reason}{suppressed}",
                self.mount
            );
        }
    }

    fn line(&self, path: &impl Display, text: &str) {
        warn!("mount {}: {} {text}", self.mount, Quoted(&path.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::log_capture::logged;

    #[test]
    fn what_is_refused_by_policy_is_told_once_and_a_failure_with_its_reason() {
        let log = MountLog::new(Path::new("/mnt/a"));
        let lines = logged(|| {
            for _ in 0..2 {
                log.link(&"1/l\"ink");
                log.irregular(&"1/pipe.mp4");
                log.failed(&"1/a.mp4", &"no such device");
                log.gave_up(&"5 s");
                log.scan_failed(&"no answer in time");
            }
        });
        assert_eq!(
            lines,
            [
                r#"WARN mount /mnt/a: "1/l\"ink" is a symbolic link; links are not followed, recordings behind them count as missing"#,
                r#"WARN mount /mnt/a: "1/pipe.mp4" is not a regular file and cannot be downloaded"#,
                r#"WARN mount /mnt/a: "1/a.mp4" cannot be opened: no such device"#,
                "WARN mount /mnt/a: gave up searching for an agent's latest recording after 5 s",
                "WARN mount /mnt/a: a scan for new recordings failed: no answer in time",
            ]
        );
    }
}
