//! A mount directory: all access to its file server.

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

/// How long a file server has to answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a search may wait for its turn before it is refused.
pub(crate) const SEARCH_QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that may open recordings of one mount at the same time, and so the most that can hang on
/// it.
pub(crate) const OPENING_THREADS: usize = 8;

/// Openings that may wait for one of these threads; more are refused at once.
const OPENING_QUEUE_LEN: usize = 256;

/// Threads that search one mount for latest recordings. They take nothing from other downloads.
pub(crate) const SEARCHING_THREADS: usize = 2;

/// Searches that may wait for one of these threads.
const SEARCHING_QUEUE_LEN: usize = 64;

/// Descriptors of a scan for new recordings: one for each folder down to the agent's, and one to
/// list it.
const SCAN_DESCRIPTORS: usize = 8;

/// The most descriptors a mount needs beside those of running downloads: files that wait to be
/// closed, for each opening or search the root, two folders and the file, those of a scan, and two
/// for the probe.
pub(crate) const DESCRIPTORS: usize = MAX_UNCLOSED
    + CLOSING_THREADS
    + 4 * (OPENING_THREADS + SEARCHING_THREADS)
    + SCAN_DESCRIPTORS
    + 2;

/// The health of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountStatus {
    /// It has not answered its first probe yet, nor failed it.
    Unknown,
    /// The latest probe was answered, and there are threads left to open recordings.
    Up,
    /// The latest probe failed or found no answer in time, or every thread of the mount hangs.
    Lost,
}

/// One configured directory. All it does happens on its own threads, so a file server that hangs
/// holds those and nothing else.
///
/// Callbacks are called once, on whatever thread has the result, which may be the calling one;
/// after a panic in the mount's code they are dropped uncalled.
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
    /// How often somebody other than the watch has asked for something.
    uses: AtomicU64,
    /// Whether the directory is mounted on demand, and whether that has failed just now.
    is_automount: AtomicBool,
    backing_off: AtomicBool,
}

/// What a download wants of a mount.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    /// Which recording.
    pub(crate) target: Target,
    /// What the request says about the file's state and the part it wants.
    pub(crate) conditions: Conditions,
}

/// Which recording a download means.
#[derive(Debug)]
pub(crate) enum Target {
    /// The one at this path.
    Path(RelPath),
    /// The first by file name of those of the agent's latest day, in whatever VDN and media folder.
    Latest {
        /// Whose.
        agent: u32,
        /// The suffixes of recordings, without dots.
        suffixes: Vec<String>,
    },
}

impl Mount {
    /// A mount served from `directory`; with `check` that must be a mount point of its own
    /// (MOUNT_CHECK). Nothing is touched yet.
    pub(crate) fn new(directory: PathBuf, check: bool) -> Arc<Mount> {
        Mount::with_timeout(directory, check, ANSWER_TIMEOUT)
    }

    /// A mount whose file server has `timeout` to answer instead of [`ANSWER_TIMEOUT`].
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

    /// How long to wait for the callback of [`Mount::open`]; after that the file server counts as
    /// gone.
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

    /// Opens a recording and reads its first bytes. A video that nobody wants any more is simply
    /// dropped: a thread of the mount closes it.
    ///
    /// While a probe of this mount hangs the result is `Unavailable` at once, so that a dead file
    /// server costs nobody any waiting and no further thread. A search for the latest recording is
    /// `Busy` while another one of the same agent is not finished, and when it has waited for
    /// [`SEARCH_QUEUE_TIMEOUT`].
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
        // Only the time since a job's start counts as hung, not its time in the queue.
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
        // When not even a search under way gets on, this one is not refused for the sake of others.
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
            // The next search of this agent may begin as soon as it knows of this one's end.
            drop(guard);
            callback.call(found);
        };
        self.searchers.execute_within(
            Instant::now() + SEARCH_QUEUE_TIMEOUT,
            self.timeout,
            Box::new(job),
        );
    }

    /// Scans for new recordings of these agents, on the one thread of the mount for that; see
    /// [`Watcher`].
    ///
    /// The scan begins nothing more after half of the time the file server has to answer, so that
    /// only a file server that is stuck makes the thread count as hung. `done` is dropped uncalled
    /// while the mount does not answer and while another scan has not ended. A scan keeps an
    /// automount mounted, and mounts it.
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
            // Logged by the watch over the mount.
            Err(lost) => {
                return Some(Scan {
                    error: Some(OpenError::Unavailable(lost)),
                    ..Scan::default()
                });
            }
        };
        let scan = watcher.scan(root.as_fd(), agents, scope, now, now + self.timeout / 2);
        // If the whole mount is lost, the watch over it logs that.
        if let Some(failure) = &scan.error
            && self.status() != MountStatus::Lost
            && resolve::probe(root.as_fd()).is_ok()
        {
            self.log.scan_failed(failure);
        }
        Some(scan)
    }

    /// Finds out whether the directory is there, mounted, may be entered, and its file server
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

    /// [`Mount::probe`] for the watch, which keeps no automount from idling.
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

    /// Threads that hang in the file server beyond their deadline.
    ///
    /// At most [`OPENING_THREADS`], [`SEARCHING_THREADS`], two that close files, one that probes
    /// and one that scans for new recordings.
    pub(crate) fn hung(&self) -> usize {
        self.openers.overdue()
            + self.searchers.overdue()
            + self.probers.overdue()
            + self.scanners.overdue()
            + self.files.overdue()
    }

    /// Why no further recording can be opened although the directory may answer: threads that hang.
    pub(crate) fn stuck_reason(&self) -> Option<MountError> {
        if self.openers.overdue() >= OPENING_THREADS {
            return Some(MountError::Stuck);
        }
        self.files.is_stuck().then_some(MountError::CloseHung)
    }

    /// Threads that are inside a read of an opened recording at this moment.
    pub(crate) fn reading(&self) -> usize {
        self.files.reading()
    }

    /// As if one more thread were inside a read.
    #[cfg(test)]
    pub(super) fn pretend_to_read(&self) {
        self.files.pretend_to_read();
    }

    /// What is known of the mount now, if it is watched; never blocks on its file server.
    pub(crate) fn status(&self) -> MountStatus {
        match self.status.load(Ordering::Relaxed) {
            _ if self.stuck_reason().is_some() => MountStatus::Lost,
            status if status == MountStatus::Up as u8 => MountStatus::Up,
            status if status == MountStatus::Lost as u8 => MountStatus::Lost,
            _ => MountStatus::Unknown,
        }
    }

    /// Notes what the watch has found out, and says whether it had found the mount lost before.
    pub(super) fn set_status(&self, status: MountStatus) -> bool {
        self.backing_off
            .store(status == MountStatus::Lost, Ordering::Relaxed);
        self.status.swap(status as u8, Ordering::Relaxed) == MountStatus::Lost as u8
    }

    /// Notes whether the directory is mounted on demand.
    pub(super) fn set_automount(&self, is_automount: bool) {
        self.is_automount.store(is_automount, Ordering::Relaxed);
    }

    /// A number that is another one when somebody other than the watch has asked for something.
    pub(super) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Whether mounting on demand has failed so recently that it is not to be tried again by a
    /// client.
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

    /// Opens the directory each time: one that went away and came back is another directory.
    fn open_root(&self) -> Result<OwnedFd, MountError> {
        let root = resolve::open_root(&self.directory, self.check);
        if root.is_err() {
            // A failing automount is left alone until the watch has tried it again.
            self.backing_off.store(true, Ordering::Relaxed);
        }
        root
    }

    fn probe_now(&self) -> Result<(), MountError> {
        let root = resolve::open_root(&self.directory, false)?;
        resolve::probe(root.as_fd())?;
        // Last, because whether it may be entered is of interest even where it need not be a mount
        // point.
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
    /// While the mount is lost, by the watch or because the directory itself cannot be entered any
    /// more, every failure is that of the mount, and the watch logs it: an export that was
    /// withdrawn refuses each file as if it were the file's fault.
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
