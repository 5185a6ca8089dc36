//! The watch for new recordings: what appears in the folders of signed-in agents, and when it is
//! complete.
//!
//! Recordings lie in `<vdn>/<media>/<yyyymmdd>/<agent>/`. The file server writes them, so this
//! machine gets no notification; a [`Watcher`] scans again and again, and what it does rests on
//! these rules:
//!
//! - **No clock is compared.** The recorder's day, the file server's times and our clock may be
//!   hours apart. Times of the file server are only compared for being different, and what must
//!   last a while is measured by our monotonic clock.
//! - **The day** is what the recorder says: of each media folder the latest two days that exist.
//!   The older of the two is scanned like the later one for two hours after that has appeared, for
//!   calls over midnight, and as long as something grows in it; after that at one scan in fifteen,
//!   so that a misdated folder delays events but does not end them.
//! - **Newer than the sign-in** means: not in the folder at the first scan after the sign-in, or
//!   grown since then. Of what that scan finds, the eight last written recordings are watched for
//!   growth for a minute. So a first scan belongs right after the sign-in ([`Scope::NewAgents`]).
//!   Folders that were not there at the first scan hold nothing but new recordings. The exception
//!   is a mount directory with no folder in it at all: it may be one whose file system is not
//!   mounted yet, so what it holds later was there before.
//! - **Complete** is a recording which two scans in a row found with the same size and mtime, and
//!   not empty.
//! - Each is announced once in a session when it appears, and once when it is complete. What
//!   grows again, or goes and comes back under its name, is not announced again; a recording that
//!   gets another name is recognised by size and mtime unless it grew at the same time.
//! - **Cost.** A folder is listed when its times have changed, and until they are older than they
//!   are coarse (2 s). What has not changed costs one `statx` a scan for each folder of a signed-in
//!   agent, and one for each recording that still grows. Every `statx` asks the file server itself,
//!   since the kernel's memory of a network file system may be a minute old. A scan that meets one
//!   of its [`Limits`] or its deadline goes on at the next scan where it stopped.
//! - **Memory** per agent and day: 16 to 32 bytes for each recording of the day, at most 4096 of
//!   them, and some 200 for each of at most 32 that grow: 4 to 8 KB for 200 recordings, never more
//!   than 140 KB. A sign-out frees it. For each day folder 4 bytes for each agent who has
//!   recordings in it, signed in or not, at most 256 KB.

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
    /// When its session began. Another time is another session: all is forgotten that was known of
    /// the agent.
    pub since: Instant,
}

/// Which agents a scan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them: the scan made every RECORD_SCAN_INTERVAL.
    All,
    /// Those whose first scan is still to come, so that it can follow a sign-in at once. Nothing is
    /// announced, and it does not count towards a recording being complete.
    NewAgents,
}

/// Which files are recordings, by their suffixes: without dots, matched in any case.
#[derive(Debug, Clone, Default)]
pub struct Suffixes {
    /// AUDIO_FILE_SUFFIXES.
    pub audio: Vec<String>,
    /// VIDEO_FILE_SUFFIXES, which wins where a suffix stands in both.
    pub video: Vec<String>,
}

/// What a scan may cost. It begins no further folder of an agent once it has met one of them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Processor time, asked for every few folders.
    pub cpu: Duration,
    /// Folders of agents scanned.
    pub folders: usize,
    /// Directory entries read.
    pub entries: usize,
    /// Files asked for their size and times.
    pub files: usize,
}

impl Default for Limits {
    /// 40 ms of CPU, and for a file server whose answers cost much time and little CPU what that is
    /// enough for on a local disk.
    fn default() -> Limits {
        Limits {
            cpu: Duration::from_millis(40),
            folders: 20_000,
            entries: 120_000,
            files: 25_000,
        }
    }
}

/// Sound or picture.
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

    /// The recordId to download it with, `fileName` of the events, such as
    /// `Y:/3/0/20261124/1203/0915307.mp4`. Never longer than a recordId may be.
    pub(crate) fn record_id(&self, drive: Drive) -> String {
        let [vdn, media, day, agent] = self.folders();
        format!(
            "{drive}:/{vdn}/{media}/{day}/{agent}/{}",
            self.file.as_str()
        )
    }

    /// The path below the directory of its mount.
    pub fn path(&self) -> RelPath {
        RelPath::new(self.folders.to_vec(), self.file.clone())
    }

    /// Sound or picture, by its suffix.
    pub(crate) fn kind(&self) -> MediaKind {
        self.kind
    }

    /// VDN, media folder, day and agent.
    fn folders(&self) -> [&str; 4] {
        self.folders.each_ref().map(Segment::as_str)
    }
}

/// What became known of a recording: that it has appeared and has bytes, or that it is complete.
/// Times are of the file server's clock, in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Which; once complete, under another name than at the start if it has got one.
    pub recording: Recording,
    /// Joins the two to each other: a number made of the path it appeared at, 1 to 2^31 - 1.
    pub task_id: u32,
    /// Its size so far, in bytes.
    pub size: u64,
    /// When it was created where the file system keeps that, else its mtime when it was seen first.
    pub begin_time_ms: i64,
    /// Its mtime, never before the begin, where it is complete; that it has appeared was announced
    /// before, in the same scan at the latest.
    pub end_time_ms: Option<i64>,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct Scan {
    /// To which session to announce what, in the order it was found; each recording's
    /// appearance before its completion. The agent may have signed out or in again during the scan.
    pub arrivals: Vec<(WatchedAgent, Arrival)>,
    /// What it cost.
    pub figures: Figures,
    /// Why it ended before its time: the file server failed. What was found until then is kept.
    pub(crate) error: Option<OpenError>,
}

/// What a scan cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Folders of agents scanned.
    pub(crate) folders: usize,
    /// Folders listed, those above the agents' included.
    pub(crate) listed: usize,
    /// Directory entries read.
    pub(crate) entries: usize,
    /// Files asked for their size and times.
    pub(crate) files: usize,
    /// Folders with too many entries, in which nothing is announced.
    pub(crate) overfull: usize,
    /// Whether it met a limit or its deadline; the next scan goes on there.
    pub cut_short: bool,
    /// Processor time of the scanning thread.
    pub cpu: Duration,
}
