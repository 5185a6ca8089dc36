//! A mount directory, and all access to its file server.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::arrivals::{Scan, Scope, WatchedAgent, Watcher};
use super::callback::Callback;
use super::mount_log::MountLog;
use super::open_error::{MountError, OpenError, Unreadable};
use super::open_files::{CLOSING_THREADS, MAX_UNCLOSED, OpenFiles};
use super::range::Conditions;
use super::rel_path::RelPath;
use super::resolve::{self, WalkError};
use super::search;
use super::video::Video;
use crate::ops::ThreadPool;
use crate::ops::in_progress::InProgress;

/// Timeout for a file server.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a search may be queued before it is refused.
pub(crate) const SEARCH_QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that open recordings of one mount, and so the most that can hang there.
pub(crate) const OPENING_THREADS: usize = 8;

/// Queued openings; more are refused immediately.
const OPENING_QUEUE_LEN: usize = 256;

/// Threads that search one mount for latest recordings, separate so that other downloads do not
/// wait.
pub(crate) const SEARCHING_THREADS: usize = 2;

/// Queued searches; more are refused immediately.
const SEARCHING_QUEUE_LEN: usize = 64;

/// Descriptors of a scan for new recordings: one per folder down to the agent's, and one to list
/// it.
const SCAN_DESCRIPTORS: usize = 8;

/// Maximum number of descriptors of a mount, besides running downloads: unclosed files, root, two
/// folders and file for each opening or search, those of a scan, and two for the probe.
pub(crate) const DESCRIPTORS: usize = MAX_UNCLOSED
    + CLOSING_THREADS
    + 4 * (OPENING_THREADS + SEARCHING_THREADS)
    + SCAN_DESCRIPTORS
    + 2;

/// The health of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountStatus {
    /// The first probe has not ended.
    Unknown,
    /// The latest probe succeeded, and there are threads left to open recordings.
    Up,
    /// The latest probe failed or timed out, or every opening thread hangs.
    Lost,
}

/// One configured directory. It works on threads of its own, so a hung file server blocks nothing
/// else.
///
/// Callbacks are called once, on the thread that has the result, possibly the caller's. After a
/// panic in the mount's code they are dropped uncalled.
pub(crate) struct Mount {
    directory: PathBuf,
    check: bool,
    timeout: Duration,
    openers: ThreadPool,
    searchers: ThreadPool,
    probers: ThreadPool,
    scanners: ThreadPool,
    files: Arc<OpenFiles>,
    /// The agents whose search for a latest recording waits or runs.
    searches: InProgress<u32>,
    log: MountLog,
    status: AtomicU8,
    /// Number of requests, not counting those of the watch.
    uses: AtomicU64,
    /// Whether the directory is an automount, and whether mounting it has just failed.
    is_automount: AtomicBool,
    backing_off: AtomicBool,
}

/// A request to open a recording.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    /// Which recording.
    pub(crate) target: Target,
    /// Preconditions and range.
    pub(crate) conditions: Conditions,
}

/// Which recording a download means.
#[derive(Debug)]
pub(crate) enum Target {
    /// The recording at this path.
    Path(RelPath),
    /// The first by file name of the agent's latest day, in any VDN and media folder.
    Latest {
        /// Whose.
        agent: u32,
        /// The suffixes of recordings, without dots.
        suffixes: Vec<String>,
    },
}

impl Mount {
    /// A mount at `directory`, which must be a mount point with `check` (MOUNT_CHECK). Does not
    /// access it yet.
    pub(crate) fn new(directory: PathBuf, check: bool) -> Arc<Mount> {
        Mount::with_timeout(directory, check, ANSWER_TIMEOUT)
    }

    /// Like [`Mount::new`], with a timeout other than [`ANSWER_TIMEOUT`].
    pub(crate) fn with_timeout(directory: PathBuf, check: bool, timeout: Duration) -> Arc<Mount> {
        Arc::new(Mount {
            log: MountLog::new(&directory),
            directory,
            check,
            timeout,
            openers: ThreadPool::new("mount", OPENING_THREADS, OPENING_QUEUE_LEN),
            searchers: ThreadPool::new("mount-search", SEARCHING_THREADS, SEARCHING_QUEUE_LEN),
            probers: ThreadPool::new("mount-probe", 1, OPENING_QUEUE_LEN),
            scanners: ThreadPool::new("mount-look", 1, 1),
            files: OpenFiles::new(timeout),
            searches: InProgress::default(),
            status: AtomicU8::new(MountStatus::Unknown as u8),
            uses: AtomicU64::new(0),
            is_automount: AtomicBool::new(false),
            backing_off: AtomicBool::new(false),
        })
    }

    /// The directory as configured.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// How long to wait for the callback of [`Mount::open`] before the file server counts as gone.
    pub(crate) fn open_timeout(&self, target: &Target) -> Duration {
        match target {
            Target::Path(_) => self.timeout,
            Target::Latest { .. } => SEARCH_QUEUE_TIMEOUT + self.timeout,
        }
    }

    /// How long to wait for the callback of [`Mount::probe`].
    pub(crate) fn probe_timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens a recording and reads its first bytes. An unwanted video can simply be dropped: a
    /// thread of the mount closes it.
    ///
    /// While a probe hangs, the result is `Unavailable` immediately, so that a dead file server
    /// costs no waiting and no further threads. A search for the latest recording is `Busy` while
    /// another one of the same agent is unfinished, and after waiting for [`SEARCH_QUEUE_TIMEOUT`].
    pub(crate) fn open(
        self: &Arc<Self>,
        request: OpenRequest,
        done: impl FnOnce(Result<Video, OpenError>) + Send + 'static,
    ) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(lost) = self.unavailable_reason() {
            return done(Err(OpenError::Unavailable(lost)));
        }
        let OpenRequest { target, conditions } = request;
        match target {
            Target::Path(path) => self.open_path(path, conditions, done),
            Target::Latest { agent, suffixes } => {
                self.open_latest(agent, suffixes, conditions, done)
            }
        }
    }

    fn open_path(
        self: &Arc<Self>,
        path: RelPath,
        conditions: Conditions,
        done: impl FnOnce(Result<Video, OpenError>) + Send + 'static,
    ) {
        let (mount, deadline) = (Arc::clone(self), Instant::now() + self.timeout);
        let callback = Callback::new(done, Err(OpenError::Unavailable(MountError::TimedOut)));
        let job = move || {
            let root = mount.open_root().map_err(OpenError::Unavailable);
            callback.call(
                root.and_then(|root| mount.open_at(root.as_fd(), path, &conditions, deadline)),
            );
        };
        // Time in the queue does not count as hung.
        self.openers
            .execute_within(deadline, self.timeout, Box::new(job));
    }

    fn open_latest(
        self: &Arc<Self>,
        agent: u32,
        suffixes: Vec<String>,
        conditions: Conditions,
        done: impl FnOnce(Result<Video, OpenError>) + Send + 'static,
    ) {
        // If all running searches hang, the mount is at fault rather than the load.
        let hangs = self.searchers.overdue() >= SEARCHING_THREADS;
        let refusal = if hangs {
            OpenError::Unavailable(MountError::TimedOut)
        } else {
            OpenError::Busy
        };
        let callback = Callback::new(done, Err(refusal));
        let Some(guard) = self.searches.begin(agent) else {
            return;
        };
        let mount = Arc::clone(self);
        let job = move || {
            let deadline = Instant::now() + mount.timeout;
            let found = mount
                .open_root()
                .map_err(OpenError::Unavailable)
                .and_then(|root| {
                    let path = search::latest(
                        root.as_fd(),
                        agent,
                        &suffixes,
                        search::SEARCH_LIMITS,
                        deadline,
                        &mount.log,
                    );
                    let path = path.map_err(|error| mount.classify(root.as_fd(), ".", error))?;
                    mount.open_at(root.as_fd(), path, &conditions, deadline)
                });
            // Before the callback, so that the agent can search again once it has the result.
            drop(guard);
            callback.call(found);
        };
        self.searchers.execute_within(
            Instant::now() + SEARCH_QUEUE_TIMEOUT,
            self.timeout,
            Box::new(job),
        );
    }

    /// Scans for new recordings of these agents on the mount's scan thread; see [`Watcher`].
    ///
    /// The scan starts nothing more after half of the mount's timeout, so that the thread only
    /// counts as hung if the file server is stuck. `done` is dropped uncalled if the mount does not
    /// answer or another scan is running. A scan mounts an automount and keeps it mounted.
    pub(crate) fn scan_for_arrivals(
        self: &Arc<Self>,
        watcher: &Arc<Mutex<Watcher>>,
        agents: Vec<WatchedAgent>,
        scope: Scope,
        done: impl FnOnce(Scan) + Send + 'static,
    ) {
        if self.unavailable_reason().is_some() {
            return;
        }
        let (mount, watcher) = (Arc::clone(self), Arc::clone(watcher));
        let job = move || {
            if let Some(scan) = mount.scan_now(&watcher, &agents, scope) {
                done(scan);
            }
        };
        self.scanners
            .execute_within(Instant::now() + self.timeout, self.timeout, Box::new(job));
    }

    fn scan_now(
        &self,
        watcher: &Mutex<Watcher>,
        agents: &[WatchedAgent],
        scope: Scope,
    ) -> Option<Scan> {
        let mut watcher = match watcher.try_lock() {
            Ok(watcher) => watcher,
            Err(TryLockError::Poisoned(error)) => PoisonError::into_inner(error),
            Err(TryLockError::WouldBlock) => return None,
        };
        let now = Instant::now();
        let root = match self.open_root() {
            Ok(root) => root,
            // Logged by the mount watch.
            Err(lost) => {
                return Some(Scan {
                    error: Some(OpenError::Unavailable(lost)),
                    ..Scan::default()
                });
            }
        };
        let scan = watcher.scan(root.as_fd(), agents, scope, now, now + self.timeout / 2);
        // The mount watch logs the loss of the whole mount.
        if let Some(failure) = &scan.error
            && self.status() != MountStatus::Lost
            && resolve::probe(root.as_fd()).is_ok()
        {
            self.log.scan_failed(failure);
        }
        Some(scan)
    }

    /// Checks that the directory exists, is mounted and can be entered, and that its file server
    /// answers.
    pub(crate) fn probe(
        self: &Arc<Self>,
        done: impl FnOnce(Result<(), MountError>) + Send + 'static,
    ) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        match self.is_backing_off() {
            true => done(Err(MountError::TimedOut)),
            false => self.probe_uncounted(done),
        }
    }

    /// [`Mount::probe`] for the watch. Not counted as a use, so that automounts can expire.
    pub(super) fn probe_uncounted(
        self: &Arc<Self>,
        done: impl FnOnce(Result<(), MountError>) + Send + 'static,
    ) {
        let mount = Arc::clone(self);
        let callback = Callback::new(done, Err(MountError::TimedOut));
        let job = move || callback.call(mount.probe_now());
        self.probers
            .execute_within(Instant::now() + self.timeout, self.timeout, Box::new(job));
    }

    /// Threads that have been in the file server beyond their deadline.
    ///
    /// At most [`OPENING_THREADS`], [`SEARCHING_THREADS`], two closing threads, one probing and one
    /// scanning.
    pub(crate) fn hung(&self) -> usize {
        self.openers.overdue()
            + self.searchers.overdue()
            + self.probers.overdue()
            + self.scanners.overdue()
            + self.files.overdue()
    }

    /// Why no recording can be opened even if the directory answers: hung threads.
    pub(crate) fn stuck_reason(&self) -> Option<MountError> {
        if self.openers.overdue() >= OPENING_THREADS {
            return Some(MountError::Stuck);
        }
        self.files.is_stuck().then_some(MountError::CloseHung)
    }

    /// Threads currently reading an opened recording.
    pub(crate) fn reading(&self) -> usize {
        self.files.reading()
    }

    /// As if one more thread were inside a read.
    #[cfg(test)]
    pub(super) fn pretend_to_read(&self) {
        self.files.pretend_to_read();
    }

    /// The current status, if the mount is watched. Never blocks.
    pub(crate) fn status(&self) -> MountStatus {
        match self.status.load(Ordering::Relaxed) {
            _ if self.stuck_reason().is_some() => MountStatus::Lost,
            status if status == MountStatus::Up as u8 => MountStatus::Up,
            status if status == MountStatus::Lost as u8 => MountStatus::Lost,
            _ => MountStatus::Unknown,
        }
    }

    /// Sets the status found by the watch; returns whether it was `Lost` before.
    pub(super) fn set_status(&self, status: MountStatus) -> bool {
        self.backing_off
            .store(status == MountStatus::Lost, Ordering::Relaxed);
        self.status.swap(status as u8, Ordering::Relaxed) == MountStatus::Lost as u8
    }

    /// Notes whether the directory is an automount.
    pub(super) fn set_automount(&self, is_automount: bool) {
        self.is_automount.store(is_automount, Ordering::Relaxed);
    }

    /// Changes with each request other than the watch's.
    pub(super) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Whether an automount has failed so recently that clients must not trigger it again.
    pub(super) fn is_backing_off(&self) -> bool {
        self.is_automount.load(Ordering::Relaxed) && self.backing_off.load(Ordering::Relaxed)
    }

    fn unavailable_reason(&self) -> Option<MountError> {
        if self.probers.overdue() > 0 || self.is_backing_off() {
            Some(MountError::TimedOut)
        } else {
            self.stuck_reason()
        }
    }

    /// Opens the directory anew each time: after a remount it is a different one.
    fn open_root(&self) -> Result<OwnedFd, MountError> {
        let root = resolve::open_root(&self.directory, self.check);
        if root.is_err() {
            // A failed automount is left alone until the watch retries it.
            self.backing_off.store(true, Ordering::Relaxed);
        }
        root
    }

    fn probe_now(&self) -> Result<(), MountError> {
        let root = resolve::open_root(&self.directory, false)?;
        resolve::probe(root.as_fd())?;
        // Last, because access is checked even if it need not be a mount point.
        if self.check {
            resolve::check_mounted(&self.directory, root.as_fd())
        } else {
            Ok(())
        }
    }

    fn open_at(
        &self,
        root: BorrowedFd<'_>,
        path: RelPath,
        conditions: &Conditions,
        deadline: Instant,
    ) -> Result<Video, OpenError> {
        if !self.files.wait_for_room(deadline) {
            return Err(OpenError::Unavailable(MountError::CloseHung));
        }
        let name = path.to_string();
        let file = resolve::open_file(root, &path).map_err(|WalkError { errno, is_link }| {
            if is_link {
                self.log.link(&name);
            }
            OpenError::from_walk(errno)
        });
        let video = file.and_then(|file| Video::begin(self.files.track(file), path, conditions));
        video.map_err(|error| self.classify(root, &name, error))
    }

    /// Classifies a failure below the directory, and logs it if the operator can fix it.
    ///
    /// While the mount is lost, according to the watch or because the directory can no longer be
    /// entered, every failure is the mount's, and the watch logs it: a withdrawn export refuses
    /// each file as if that were at fault.
    fn classify(&self, root: BorrowedFd<'_>, name: &str, error: OpenError) -> OpenError {
        let lost = error.errno().and_then(|_| resolve::probe(root).err());
        let is_lost = lost.is_some() || self.status() == MountStatus::Lost;
        if is_lost && error != OpenError::Busy {
            return OpenError::Unavailable(lost.unwrap_or(MountError::TimedOut));
        }
        if error == OpenError::Unreadable(Unreadable::Irregular) {
            self.log.irregular(&name);
        } else if error.errno().is_some() {
            self.log.failed(&name, &error);
        }
        error
    }
}

#[cfg(test)]
mod tests;
