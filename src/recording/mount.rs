//! One mount directory, and everything that asks its file server for something.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::mount_log::MountLog;
use super::open_error::{Lost, OpenError, Unreadable};
use super::open_files::{CLOSING_THREADS, MAX_UNCLOSED, OpenFiles};
use super::range::Conditions;
use super::rel_path::RelPath;
use super::resolve::{self, WalkError};
use super::search;
use super::searches::Searches;
use super::video::Video;
use crate::ops::ThreadPool;

/// How long a file server has to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a search may wait for its turn before it is refused.
pub const SEARCH_QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that may open recordings of one mount at the same time, and so the most that can hang on it.
pub const OPENING_THREADS: usize = 8;

/// Openings that may wait for one of these threads; more are refused at once.
const OPENING_QUEUE_LEN: usize = 256;

/// Threads that search one mount for latest recordings. They take nothing from other downloads.
pub const SEARCHING_THREADS: usize = 2;

/// Searches that may wait for one of these threads.
const SEARCHING_QUEUE_LEN: usize = 64;

/// The most descriptors a mount needs beside those of running downloads: files that wait to be closed, for each
/// opening or search the root, two folders and the file, and two for the probe.
pub const DESCRIPTORS: usize = MAX_UNCLOSED + CLOSING_THREADS + 4 * (OPENING_THREADS + SEARCHING_THREADS) + 2;

/// What is known of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountStatus {
    /// It has not answered its first probe yet, nor failed it.
    Unknown,
    /// The latest probe was answered, and there are threads left to open recordings.
    Up,
    /// The latest probe failed or found no answer in time, or every thread of the mount hangs.
    Lost,
}

/// One configured directory. All it does happens on its own threads, so a file server that hangs holds
/// those and nothing else.
///
/// Callbacks are called once, on whatever thread has the result, which may be the calling one; after a panic in the
/// mount's code they are dropped uncalled.
#[derive(Debug)]
pub struct Mount {
    directory: PathBuf,
    check: bool,
    timeout: Duration,
    openers: ThreadPool,
    searchers: ThreadPool,
    probers: ThreadPool,
    files: Arc<OpenFiles>,
    searches: Searches,
    log: MountLog,
    status: AtomicU8,
    /// How often somebody other than the watch has asked for something.
    uses: AtomicU64,
    /// Whether the directory is mounted on demand, and whether that has failed just now.
    is_automount: AtomicBool,
    is_resting: AtomicBool,
}

/// What a download wants of a mount.
#[derive(Debug)]
pub struct OpenRequest {
    /// Which recording.
    pub target: Target,
    /// What the request says about the file's state and the part it wants.
    pub conditions: Conditions,
}

/// Which recording a download means.
#[derive(Debug)]
pub enum Target {
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
    /// A mount served from `directory`; with `check` that must be a mount point of its own (MOUNT_CHECK).
    /// Nothing is touched yet.
    pub fn new(directory: PathBuf, check: bool) -> Arc<Mount> {
        Mount::with_timeout(directory, check, ANSWER_TIMEOUT)
    }

    /// A mount whose file server has `timeout` to answer instead of [`ANSWER_TIMEOUT`].
    pub fn with_timeout(directory: PathBuf, check: bool, timeout: Duration) -> Arc<Mount> {
        Arc::new(Mount {
            log: MountLog::new(&directory),
            directory,
            check,
            timeout,
            openers: ThreadPool::new("mount", OPENING_THREADS, OPENING_QUEUE_LEN),
            searchers: ThreadPool::new("mount-search", SEARCHING_THREADS, SEARCHING_QUEUE_LEN),
            probers: ThreadPool::new("mount-probe", 1, OPENING_QUEUE_LEN),
            files: OpenFiles::new(timeout),
            searches: Searches::default(),
            status: AtomicU8::new(MountStatus::Unknown as u8),
            uses: AtomicU64::new(0),
            is_automount: AtomicBool::new(false),
            is_resting: AtomicBool::new(false),
        })
    }

    /// The directory as configured.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How long whoever asks for this should wait for the callback; after that the file server counts as gone.
    pub fn open_timeout(&self, target: &Target) -> Duration {
        match target {
            Target::Path(_) => self.timeout,
            Target::Latest { .. } => SEARCH_QUEUE_TIMEOUT + self.timeout,
        }
    }

    /// How long whoever probes should wait for the callback.
    pub fn probe_timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens a recording and reads its first bytes. A video that nobody wants any more is simply dropped: a thread of
    /// the mount closes it.
    ///
    /// While a probe of this mount hangs the result is `Unavailable` at once, so that a dead file server
    /// costs nobody any waiting and no further thread. A search for the latest recording is `Busy` while another one
    /// of the same agent is not finished, and when it has waited for [`SEARCH_QUEUE_TIMEOUT`].
    pub fn open(self: &Arc<Self>, request: OpenRequest, done: impl FnOnce(Result<Video, OpenError>) + Send + 'static) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(lost) = self.refuses_now() {
            return done(Err(OpenError::Unavailable(lost)));
        }
        let OpenRequest { target, conditions } = request;
        match target {
            Target::Path(path) => self.open_path(path, conditions, done),
            Target::Latest { agent, suffixes } => self.open_latest(agent, suffixes, conditions, done),
        }
    }

    fn open_path(
        self: &Arc<Self>,
        path: RelPath,
        conditions: Conditions,
        done: impl FnOnce(Result<Video, OpenError>) + Send + 'static,
    ) {
        let (mount, deadline) = (Arc::clone(self), Instant::now() + self.timeout);
        let answer = Answer::new(done, Err(OpenError::Unavailable(Lost::Silent)));
        let job = move || {
            let root = mount.enter().map_err(OpenError::Unavailable);
            answer.give(root.and_then(|root| mount.open_at(root.as_fd(), path, &conditions, deadline)));
        };
        self.openers.execute(Some(deadline), Box::new(job));
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
        let refusal = if hangs { OpenError::Unavailable(Lost::Silent) } else { OpenError::Busy };
        let answer = Answer::new(done, Err(refusal));
        let Some(guard) = self.searches.begin(agent) else { return };
        let mount = Arc::clone(self);
        let job = move || {
            let deadline = Instant::now() + mount.timeout;
            let found = mount.enter().map_err(OpenError::Unavailable).and_then(|root| {
                let path = search::latest(root.as_fd(), agent, &suffixes, search::BOUNDS, deadline, &mount.log);
                let path = path.map_err(|error| mount.judge(root.as_fd(), ".", error))?;
                mount.open_at(root.as_fd(), path, &conditions, deadline)
            });
            // The next search of this agent may begin as soon as it knows of this one's end.
            drop(guard);
            answer.give(found);
        };
        self.searchers.execute_within(Instant::now() + SEARCH_QUEUE_TIMEOUT, self.timeout, Box::new(job));
    }

    /// Finds out whether the directory is there, mounted, may be entered, and its file server answers.
    pub fn probe(self: &Arc<Self>, done: impl FnOnce(Result<(), Lost>) + Send + 'static) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        match self.rests() {
            true => done(Err(Lost::Silent)),
            false => self.probe_uncounted(done),
        }
    }

    /// [`Mount::probe`] for the watch, which keeps no automount from idling.
    pub(super) fn probe_uncounted(self: &Arc<Self>, done: impl FnOnce(Result<(), Lost>) + Send + 'static) {
        let mount = Arc::clone(self);
        let answer = Answer::new(done, Err(Lost::Silent));
        let job = move || answer.give(mount.probe_now());
        self.probers.execute(Some(Instant::now() + self.timeout), Box::new(job));
    }

    /// Threads that the file server has kept beyond their deadline.
    ///
    /// At most [`OPENING_THREADS`], [`SEARCHING_THREADS`], two that close files, and one that probes.
    pub fn hung(&self) -> usize {
        self.openers.overdue() + self.searchers.overdue() + self.probers.overdue() + self.files.overdue()
    }

    /// Why no further recording can be opened although the directory may answer: threads that hang.
    pub fn stuck(&self) -> Option<Lost> {
        if self.openers.overdue() >= OPENING_THREADS {
            return Some(Lost::Stuck);
        }
        self.files.is_stuck().then_some(Lost::Unclosed)
    }

    /// Threads that are inside a read of an opened recording at this moment.
    pub fn reading(&self) -> usize {
        self.files.reading()
    }

    /// What is known of the mount now, if it is watched; never blocks on its file server.
    pub fn status(&self) -> MountStatus {
        match self.status.load(Ordering::Relaxed) {
            _ if self.stuck().is_some() => MountStatus::Lost,
            status if status == MountStatus::Up as u8 => MountStatus::Up,
            status if status == MountStatus::Lost as u8 => MountStatus::Lost,
            _ => MountStatus::Unknown,
        }
    }

    /// Notes what the watch has found out, and says whether it had found the mount lost before.
    pub(super) fn set_status(&self, status: MountStatus) -> bool {
        self.is_resting.store(status == MountStatus::Lost, Ordering::Relaxed);
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

    /// Whether mounting on demand has failed so recently that it is not to be tried again by a client.
    pub(super) fn rests(&self) -> bool {
        self.is_automount.load(Ordering::Relaxed) && self.is_resting.load(Ordering::Relaxed)
    }

    fn refuses_now(&self) -> Option<Lost> {
        if self.probers.overdue() > 0 || self.rests() { Some(Lost::Silent) } else { self.stuck() }
    }

    /// Opens the directory anew each time: one that went away and came back is another directory.
    fn enter(&self) -> Result<OwnedFd, Lost> {
        let root = resolve::open_root(&self.directory, self.check);
        if root.is_err() {
            // A failing automount is left alone until the watch has tried it again.
            self.is_resting.store(true, Ordering::Relaxed);
        }
        root
    }

    fn probe_now(&self) -> Result<(), Lost> {
        let root = resolve::open_root(&self.directory, false)?;
        resolve::probe(root.as_fd())?;
        // Last, because whether it may be entered is of interest even where it need not be a mount point.
        if self.check { resolve::check_mounted(&self.directory, root.as_fd()) } else { Ok(()) }
    }

    fn open_at(
        &self,
        root: BorrowedFd<'_>,
        path: RelPath,
        conditions: &Conditions,
        deadline: Instant,
    ) -> Result<Video, OpenError> {
        if !self.files.wait_for_room(deadline) {
            return Err(OpenError::Unavailable(Lost::Unclosed));
        }
        let name = path.to_string();
        let file = resolve::open_file(root, &path).map_err(|WalkError { errno, is_link }| {
            if is_link {
                self.log.link(&name);
            }
            OpenError::from_walk(errno)
        });
        let video = file.and_then(|file| Video::begin(self.files.hold(file), path, conditions));
        video.map_err(|error| self.judge(root, &name, error))
    }

    /// Says what a failure below the directory means, and logs it if the operator can mend it.
    ///
    /// While the mount is lost, by the watch or because the directory itself cannot be entered any more, every failure
    /// is that of the mount, and the watch tells of it: an export that was withdrawn refuses each file as if it were
    /// the file's fault.
    fn judge(&self, root: BorrowedFd<'_>, name: &str, error: OpenError) -> OpenError {
        let lost = match error.errno() {
            Some(_) => resolve::probe(root).err(),
            None => None,
        };
        let is_lost = lost.is_some() || self.status() == MountStatus::Lost;
        match error {
            OpenError::Unavailable(_) | OpenError::NotFound | OpenError::Unreadable(_) if is_lost => {
                OpenError::Unavailable(lost.unwrap_or(Lost::Silent))
            }
            OpenError::Unreadable(Unreadable::Irregular) => {
                self.log.irregular(&name);
                error
            }
            error => {
                if error.errno().is_some() {
                    self.log.failed(&name, &error);
                }
                error
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::latch::Latch;
    use crate::recording::rel_path::Segment;
    use crate::recording::scratch::{Scratch, eventually};
    use rustix::io::Errno;
    use std::sync::mpsc::{Receiver, sync_channel};

    const LONG: Duration = Duration::from_secs(60);
    /// Long enough for a thread to begin its work on a busy machine.
    const SHORT: Duration = Duration::from_secs(1);

    fn path(folder: &str, file: &str) -> OpenRequest {
        let folders = folder.split('/').map(|name| Segment::parse(name).unwrap()).collect();
        let path = RelPath::new(folders, Segment::parse(file).unwrap());
        OpenRequest { target: Target::Path(path), conditions: Conditions::default() }
    }

    fn latest(agent: u32) -> OpenRequest {
        let target = Target::Latest { agent, suffixes: vec!["mp4".to_owned()] };
        OpenRequest { target, conditions: Conditions::default() }
    }

    fn begin(mount: &Arc<Mount>, request: OpenRequest) -> Receiver<Result<Video, OpenError>> {
        let (tell, told) = sync_channel(1);
        mount.open(request, move |result| tell.send(result).unwrap());
        told
    }

    fn open(mount: &Arc<Mount>, request: OpenRequest) -> Result<Video, OpenError> {
        begin(mount, request).recv_timeout(LONG).unwrap()
    }

    fn probe(mount: &Arc<Mount>) -> Result<(), Lost> {
        let (tell, told) = sync_channel(1);
        mount.probe(move |result| tell.send(result).unwrap());
        told.recv_timeout(LONG).unwrap()
    }

    /// Has every thread of a pool hang until the latch is raised, beyond a deadline that is short.
    fn hang(pool: &ThreadPool, threads: usize) -> Arc<Latch> {
        let release = Arc::new(Latch::new());
        for _ in 0..threads {
            let (release, begun) = (Arc::clone(&release), Arc::new(Latch::new()));
            let running = Arc::clone(&begun);
            let job = move || {
                running.raise();
                release.wait_until(Instant::now() + LONG);
            };
            pool.execute_within(Instant::now() + LONG, SHORT, Box::new(job));
            assert!(begun.wait_until(Instant::now() + LONG));
        }
        eventually(|| pool.overdue() == threads);
        release
    }

    /// A job that waits until the latch is raised, with no deadline of its own.
    fn occupy(release: Arc<Latch>) -> crate::ops::Job {
        Box::new(move || {
            release.wait_until(Instant::now() + LONG);
        })
    }

    const SILENT: OpenError = OpenError::Unavailable(Lost::Silent);

    #[test]
    fn a_recording_is_opened_by_its_path_or_as_the_agents_latest() {
        let scratch = Scratch::new();
        scratch.file("1/0/20201202/503/1714442.mp4", b"0123456789");
        let mount = Mount::new(scratch.path().to_owned(), false);
        let conditions = Conditions { range: Some("bytes=2-4".to_owned()), ..Conditions::default() };
        let mut video = open(&mount, OpenRequest { conditions, ..path("1/0/20201202/503", "1714442.mp4") }).unwrap();
        assert_eq!((video.name(), video.length(), video.selected()), ("1714442.mp4", 10, 3));
        assert_eq!(video.path().to_string(), "1/0/20201202/503/1714442.mp4");
        assert_eq!(video.selected_range(), Some((2, 4)));
        let mut buffer = [0; 8];
        assert_eq!(video.next_chunk(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"234");
        assert_eq!(open(&mount, latest(503)).unwrap().name(), "1714442.mp4");
        assert_eq!(open(&mount, latest(504)).unwrap_err(), OpenError::NotFound);
    }

    #[test]
    fn a_directory_that_disappears_and_comes_back_just_works() {
        let scratch = Scratch::new();
        scratch.file("mount/1/a.mp4", b"first");
        let mount = Mount::new(scratch.path().join("mount"), false);
        assert_eq!(probe(&mount), Ok(()));
        std::fs::rename(scratch.path().join("mount"), scratch.path().join("away")).unwrap();
        let lost = Lost::Failed(Errno::NOENT);
        assert_eq!(open(&mount, path("1", "a.mp4")).unwrap_err(), OpenError::Unavailable(lost.clone()));
        assert_eq!(probe(&mount), Err(lost));
        scratch.file("mount/1/a.mp4", b"second");
        assert_eq!(open(&mount, path("1", "a.mp4")).unwrap().length(), 6);
        let checked = Mount::new(scratch.path().join("mount"), true);
        let is_not_mounted = |lost: &Lost| matches!(lost, Lost::NotMounted(_));
        let refused = open(&checked, path("1", "a.mp4")).unwrap_err();
        assert!(matches!(refused, OpenError::Unavailable(lost) if is_not_mounted(&lost)));
        assert!(probe(&checked).is_err_and(|lost| is_not_mounted(&lost)));
    }

    #[test]
    fn a_mount_that_hangs_refuses_at_once_and_holds_up_nothing_else() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        let mount = Mount::with_timeout(scratch.path().to_owned(), false, SHORT);
        let other = Mount::new(scratch.path().to_owned(), false);
        let release = hang(&mount.openers, OPENING_THREADS);
        assert_eq!(open(&other, path("1", "a.mp4")).unwrap().length(), 5);
        assert_eq!((mount.hung(), mount.openers.threads()), (OPENING_THREADS, OPENING_THREADS));
        assert_eq!((mount.status(), other.status()), (MountStatus::Lost, MountStatus::Unknown));
        let refused = begin(&mount, path("1", "a.mp4")).try_recv().unwrap();
        assert_eq!(refused.unwrap_err(), OpenError::Unavailable(Lost::Stuck), "at once");
        release.raise();
        eventually(|| mount.hung() == 0);
        assert_eq!(open(&mount, path("1", "a.mp4")).unwrap().length(), 5);
    }

    #[test]
    fn an_opening_that_waits_beyond_its_deadline_is_refused_and_opens_nothing() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        let mount = Mount::with_timeout(scratch.path().to_owned(), false, Duration::from_millis(1));
        let release = Arc::new(Latch::new());
        for _ in 0..OPENING_THREADS {
            let release = Arc::clone(&release);
            mount.openers.execute(None, occupy(release));
        }
        let waiting = begin(&mount, path("1", "a.mp4"));
        let passed = Instant::now() + Duration::from_millis(1);
        eventually(|| Instant::now() > passed);
        release.raise();
        assert_eq!(waiting.recv_timeout(LONG).unwrap().unwrap_err(), SILENT);
    }

    #[test]
    fn while_a_probe_hangs_nothing_is_opened() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        let mount = Mount::with_timeout(scratch.path().to_owned(), false, SHORT);
        let release = hang(&mount.probers, 1);
        assert_eq!(begin(&mount, path("1", "a.mp4")).try_recv().unwrap().unwrap_err(), SILENT);
        assert_eq!(begin(&mount, latest(503)).try_recv().unwrap().unwrap_err(), SILENT);
        assert_eq!(probe(&mount), Err(Lost::Silent));
        assert_eq!(mount.openers.threads() + mount.searchers.threads(), 0);
        release.raise();
        eventually(|| mount.hung() == 0);
        assert!(open(&mount, path("1", "a.mp4")).is_ok());
    }

    #[test]
    fn searches_wait_for_each_other_and_for_nothing_else() {
        let scratch = Scratch::new();
        scratch.file("1/0/20201202/503/1.mp4", b"video");
        let mount = Mount::new(scratch.path().to_owned(), false);
        let release = Arc::new(Latch::new());
        for _ in 0..SEARCHING_THREADS {
            let release = Arc::clone(&release);
            mount.searchers.execute(None, occupy(release));
        }
        let waiting = begin(&mount, latest(503));
        assert_eq!(begin(&mount, latest(503)).try_recv().unwrap().unwrap_err(), OpenError::Busy, "its second");
        let more: Vec<_> = (1000..1200).map(|agent| begin(&mount, latest(agent))).collect();
        let refused = more.iter().filter(|told| matches!(told.try_recv(), Ok(Err(OpenError::Busy)))).count();
        assert!(refused >= 200 - SEARCHING_QUEUE_LEN, "the queue is bounded: {refused}");
        assert_eq!(open(&mount, path("1/0/20201202/503", "1.mp4")).unwrap().length(), 5);
        assert_eq!((mount.hung(), mount.stuck(), probe(&mount)), (0, None, Ok(())), "a queue is no hung server");
        release.raise();
        assert_eq!(waiting.recv_timeout(LONG).unwrap().unwrap().length(), 5);
        eventually(|| open(&mount, latest(503)).is_ok());
    }

    #[test]
    fn a_search_that_waited_too_long_is_busy_and_no_failure_of_the_server() {
        let scratch = Scratch::new();
        let mount = Mount::new(scratch.path().to_owned(), false);
        let (tell, told) = sync_channel(1);
        let answer =
            Answer::new(move |result: Result<Video, _>| tell.send(result.map(drop)).unwrap(), Err(OpenError::Busy));
        mount.searchers.execute_within(Instant::now(), LONG, Box::new(move || drop(answer)));
        assert_eq!(told.recv_timeout(LONG).unwrap(), Err(OpenError::Busy));
    }

    #[test]
    fn while_a_mount_is_lost_every_failure_is_its_failure() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        scratch.file("1/empty.mp4", b"");
        let mount = Mount::new(scratch.path().to_owned(), false);
        let found = |file: &str| open(&mount, path("1", file)).map(drop);
        assert_eq!(found("b.mp4"), Err(OpenError::NotFound));
        assert_eq!(found("empty.mp4"), Err(OpenError::Unreadable(Unreadable::Empty)));
        mount.set_status(MountStatus::Lost);
        assert_eq!((found("b.mp4"), found("empty.mp4")), (Err(SILENT), Err(SILENT)));
        assert_eq!(found("a.mp4"), Ok(()), "it may be back before the watch has seen that");
    }

    #[test]
    fn an_automount_that_failed_is_left_alone_until_the_watch_has_tried_it() {
        let scratch = Scratch::new();
        let mount = Mount::new(scratch.path().join("mount"), false);
        mount.set_automount(true);
        let found = || open(&mount, path("1", "a.mp4")).map(drop);
        assert_eq!(found(), Err(OpenError::Unavailable(Lost::Failed(Errno::NOENT))));
        scratch.file("mount/1/a.mp4", b"video");
        assert_eq!((found(), probe(&mount)), (Err(SILENT), Err(Lost::Silent)));
        mount.set_status(MountStatus::Up);
        assert_eq!((found(), probe(&mount)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_file_opened_for_nobody_is_closed() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        let mount = Mount::new(scratch.path().to_owned(), false);
        let (tell, told) = sync_channel(0);
        drop(told);
        mount.open(path("1", "a.mp4"), move |result| drop(tell.send(result)));
        // Every opened file shares the count of its mount until it is closed.
        eventually(|| Arc::strong_count(&mount.files) == 1);
        assert_eq!(mount.files.unclosed(), 0);
    }
}
