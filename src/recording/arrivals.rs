//! Detects new recordings in the folders of signed-in agents, and when they are complete.
//!
//! Recordings are in `<vdn>/<media>/<yyyymmdd>/<agent>/`. They are written on the file server, so
//! this machine is not notified; a [`Watcher`] scans periodically, by these rules:
//!
//! - **Clocks are not compared.** The recorder's day, the file server's times and our clock may be
//!   hours apart. File server times are only compared for equality, and durations are measured by
//!   our monotonic clock.
//! - **The day** is the recorder's: the latest two day folders in each media folder. The older one
//!   is scanned at every scan for two hours after the later one has appeared, for calls across
//!   midnight, and while anything grows in it; after that in one scan out of fifteen, so that a
//!   misdated folder delays events but does not stop them.
//! - **Newer than the sign-in** means: not in the folder at the first scan after the sign-in, or
//!   grown since. Of the recordings found by that scan, the eight written last are watched for
//!   growth for a minute. So the first scan should follow the sign-in immediately
//!   ([`Scope::NewAgents`]). Folders that appear later hold only new recordings. The exception is
//!   an empty mount directory: its file system may not be mounted yet, so whatever it holds later
//!   counts as old.
//! - **Complete** means not empty, and the same size and mtime in two consecutive scans.
//! - Each recording is announced twice per session: when it appears, and when it is complete. One
//!   that grows again, or disappears and returns under the same name, is not announced again; a
//!   renamed one is recognised by size and mtime unless it grew at the same time.
//! - **Cost.** A folder is listed when its times have changed, and until they are older than their
//!   granularity (2 s). Without changes, a scan costs one `statx` for each folder of a signed-in
//!   agent and one for each growing recording. Every `statx` queries the file server, since the
//!   kernel's cache of a network file system may be a minute old. With more than 2500 agents, each
//!   scan covers half of the folders in which nothing changes: 5000 `statx` alone may take 6 ms of
//!   CPU, and an arrival is announced within two scans all the same. A scan that hits one of its
//!   [`Limits`] or its deadline is continued by the next one.
//! - **Memory** per agent and day: 16 to 32 bytes for each of at most 4096 recordings, and about
//!   200 for each of at most 32 growing ones: 4 to 8 KB for 200 recordings, never more than 140 KB.
//!   A sign-out frees it. Each day folder takes 4 bytes for each agent with recordings in it,
//!   signed in or not, at most 256 KB.

mod folder;
mod listing;
mod serial;
mod stamp;
mod tree;
mod watcher;

use std::time::{Duration, Instant};

use super::open_error::OpenError;
use super::rel_path::{RelPath, Segment};
use crate::config::Drive;

pub use watcher::Watcher;

/// An agent whose recordings are to be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedAgent {
    /// The agent's number, which names its folders.
    pub number: u32,
    /// When its session began. A different time means a new session, which discards the agent's
    /// state.
    pub since: Instant,
}

/// Which agents a scan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All agents, every RECORD_SCAN_INTERVAL.
    All,
    /// Agents not scanned yet, right after a sign-in. Announces nothing, and does not count towards
    /// completeness.
    NewAgents,
}

/// Suffixes of recordings: without dots, matched in any case.
#[derive(Debug, Clone, Default)]
pub struct Suffixes {
    /// AUDIO_FILE_SUFFIXES.
    pub audio: Vec<String>,
    /// VIDEO_FILE_SUFFIXES; takes precedence over `audio`.
    pub video: Vec<String>,
}

/// Limits of a scan. Once it has hit one, it begins no further agent folder.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// CPU time, checked every few folders.
    pub cpu: Duration,
    /// Agent folders scanned.
    pub folders: usize,
    /// Directory entries read.
    pub entries: usize,
    /// Files whose size and times are read.
    pub files: usize,
    /// Signed-in agents up to which every scan covers every folder. With more, a folder in which
    /// nothing changes is covered by every second scan.
    pub agents_at_once: usize,
}

impl Default for Limits {
    /// 40 ms of CPU, and the counts for which that suffices on a local disk, as slow file servers
    /// cost little CPU.
    fn default() -> Limits {
        Limits {
            cpu: Duration::from_millis(40),
            folders: 20_000,
            entries: 120_000,
            files: 25_000,
            agents_at_once: 2500,
        }
    }
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaKind {
    /// `fileMediaType` `"1"`.
    Audio,
    /// `fileMediaType` 2.
    Video,
}

/// A recording in the folder of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    folders: [Segment; 4],
    file: Segment,
    kind: MediaKind,
}

impl Recording {
    #[cfg(test)]
    pub(crate) fn new(folders: [Segment; 4], file: Segment, kind: MediaKind) -> Recording {
        Recording {
            folders,
            file,
            kind,
        }
    }

    /// The recordId, `fileName` in events, such as `Y:/3/0/20261124/1203/0915307.mp4`. Never longer
    /// than a recordId may be.
    pub(crate) fn record_id(&self, drive: Drive) -> String {
        let [vdn, media, day, agent] = self.folders();
        format!(
            "{drive}:/{vdn}/{media}/{day}/{agent}/{}",
            self.file.as_str()
        )
    }

    /// The path below the mount directory.
    pub fn path(&self) -> RelPath {
        RelPath::new(self.folders.to_vec(), self.file.clone())
    }

    /// Audio or video, by its suffix.
    pub(crate) fn kind(&self) -> MediaKind {
        self.kind
    }

    /// VDN, media folder, day and agent.
    fn folders(&self) -> [&str; 4] {
        self.folders.each_ref().map(Segment::as_str)
    }
}

/// A recording that has appeared and is not empty, or that is complete. Times are the file
/// server's, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The recording, under its current name.
    pub recording: Recording,
    /// Matches the two arrivals of a recording: derived from the path at which it appeared, 1 to
    /// 2^31 - 1.
    pub task_id: u32,
    /// Its current size in bytes.
    pub size: u64,
    /// Its creation time, or if the file system has none, its mtime when first seen.
    pub begin_time_ms: i64,
    /// If complete, its mtime, never before `begin_time_ms`. Its appearance is always announced
    /// first, possibly in the same scan.
    pub end_time_ms: Option<i64>,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct Scan {
    /// What to announce to which session, in the order found, each recording's appearance before
    /// its completion. The agent may have signed out or in again during the scan.
    pub arrivals: Vec<(WatchedAgent, Arrival)>,
    /// What it cost.
    pub figures: Figures,
    /// The failure of the file server, if any. Results up to that point are kept.
    pub(crate) error: Option<OpenError>,
}

/// What a scan cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Agent folders scanned.
    pub(crate) folders: usize,
    /// Folders listed, including those above the agents' folders.
    pub(crate) listed: usize,
    /// Directory entries read.
    pub(crate) entries: usize,
    /// Files whose size and times are read.
    pub(crate) files: usize,
    /// Folders with too many entries, whose recordings are not announced.
    pub(crate) overfull: usize,
    /// Whether it hit a limit or its deadline; the next scan continues there.
    pub cut_short: bool,
    /// CPU time of the scanning thread.
    pub cpu: Duration,
}
