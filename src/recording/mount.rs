//! One mount directory, and everything that asks its file server for something.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::open_error::{Lost, OpenError};
use super::pending::Pending;
use super::rel_path::RelPath;
use super::search;
use super::video::Video;
use super::walk;

/// How long a file server has to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Threads that may open recordings of one mount at the same time, and so the most that can hang on it.
pub const THREADS: usize = 8;

/// One configured directory. All it does happens on its own threads, so a file server that hangs holds
/// those and nothing else.
#[derive(Debug)]
pub struct Mount {
    directory: PathBuf,
    check: bool,
    patience: Duration,
    jobs: Crew,
    probes: Crew,
    reading: Arc<AtomicUsize>,
}

/// What a download wants of a mount.
#[derive(Debug)]
pub struct Ask {
    /// Which recording.
    pub wanted: Wanted,
    /// The Range field of the request.
    pub range: Option<String>,
    /// The If-Range field of the request.
    pub if_range: Option<String>,
}

/// Which recording a download means.
#[derive(Debug)]
pub enum Wanted {
    /// The one at this path.
    At(RelPath),
    /// The first by file name of those of the agent's latest day, in whatever VDN and media folder.
    Latest {
        /// Whose.
        agent: u32,
        /// The suffixes of videos, without dots.
        suffixes: Vec<String>,
    },
}

impl Mount {
    /// A mount served from `directory`; with `check` that must be a mount point of its own (MOUNT_CHECK).
    /// Nothing is touched yet.
    pub fn new(directory: PathBuf, check: bool) -> Arc<Mount> {
        Mount::with_patience(directory, check, ANSWER_WITHIN)
    }

    /// A mount whose file server has `patience` to answer instead of [`ANSWER_WITHIN`].
    pub fn with_patience(directory: PathBuf, check: bool, patience: Duration) -> Arc<Mount> {
        let (jobs, probes) = (Crew::new(THREADS), Crew::new(1));
        Arc::new(Mount { directory, check, patience, jobs, probes, reading: Arc::default() })
    }

    /// The directory as configured.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens a recording and reads its first bytes; nothing opened outlives an asker that has given up.
    ///
    /// While a probe of this mount hangs the answer is `Unavailable` at once, so that a dead file server
    /// costs its askers no waiting and no further thread.
    pub fn open(self: &Arc<Self>, ask: Ask) -> Pending<Result<Video, OpenError>> {
        if self.probes.hung() > 0 {
            let (_, pending) = Pending::until(Instant::now(), || Err(OpenError::Unavailable));
            return pending;
        }
        let mount = Arc::clone(self);
        let deadline = Instant::now() + self.patience;
        self.ask(&self.jobs, deadline, || Err(OpenError::Unavailable), move || mount.open_now(ask, deadline))
    }

    /// Finds out whether the directory is there, mounted, and its file server answers.
    pub fn probe(self: &Arc<Self>) -> Pending<Result<(), Lost>> {
        let mount = Arc::clone(self);
        let probe = move || walk::refresh(mount.enter()?.as_fd());
        self.ask(&self.probes, Instant::now() + self.patience, || Err(Lost::Silent), probe)
    }

    /// Threads that the file server has kept beyond their deadline, at most [`THREADS`] and one.
    pub fn hung(&self) -> usize {
        self.jobs.hung() + self.probes.hung()
    }

    /// Whether no further recording can be opened because every thread hangs.
    pub fn is_stuck(&self) -> bool {
        self.jobs.hung() >= THREADS
    }

    /// Threads that are inside a read of an opened recording at this moment.
    pub fn reading(&self) -> usize {
        self.reading.load(Ordering::Relaxed)
    }

    fn ask<T: Send + 'static>(
        &self,
        crew: &Crew,
        deadline: Instant,
        otherwise: fn() -> T,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let (promise, pending) = Pending::until(deadline, otherwise);
        crew.submit(deadline, Box::new(move || promise.keep(work())));
        pending
    }

    /// Opens the directory anew each time: one that went away and came back is another directory.
    fn enter(&self) -> Result<OwnedFd, Lost> {
        walk::mount(&self.directory, self.check)
    }

    fn open_now(&self, ask: Ask, deadline: Instant) -> Result<Video, OpenError> {
        let mount = self.enter().map_err(|_| OpenError::Unavailable)?;
        let path = match ask.wanted {
            Wanted::At(path) => path,
            Wanted::Latest { agent, suffixes } => {
                search::latest(mount.as_fd(), agent, &suffixes, search::BOUNDS, deadline)?
            }
        };
        let (file, metadata) = walk::file(mount.as_fd(), &path)?;
        let fields = (ask.range.as_deref(), ask.if_range.as_deref());
        Video::begin(file, &metadata, path.file().as_str().to_owned(), fields, Arc::clone(&self.reading))
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::latch::Latch;
    use crate::recording::rel_path::Segment;
    use crate::recording::scratch::{Scratch, eventually};
    use std::io;

    const LONG: Duration = Duration::from_secs(60);
    /// Long enough for a thread to begin its work on a busy machine.
    const SHORT: Duration = Duration::from_secs(1);

    fn at(folder: &str, file: &str) -> Ask {
        let folders = folder.split('/').map(|name| Segment::parse(name).unwrap()).collect();
        let path = RelPath::new(folders, Segment::parse(file).unwrap());
        Ask { wanted: Wanted::At(path), range: None, if_range: None }
    }

    /// Work as it is on a file server that hangs, until `release` is raised.
    fn hang(release: &Arc<Latch>) -> impl FnOnce() -> io::Result<()> + Send + use<> {
        let release = Arc::clone(release);
        move || {
            release.wait_until(Instant::now() + LONG);
            Ok(())
        }
    }

    fn silent() -> io::Result<()> {
        Err(io::ErrorKind::TimedOut.into())
    }

    #[test]
    fn a_recording_is_opened_by_its_path_or_as_the_agents_latest() {
        let scratch = Scratch::new();
        scratch.file("1/0/20201202/503/1714442.mp4", b"0123456789");
        let mount = Mount::new(scratch.path().to_owned(), false);
        let ask = Ask { range: Some("bytes=2-4".to_owned()), ..at("1/0/20201202/503", "1714442.mp4") };
        let mut video = mount.open(ask).wait().unwrap();
        assert_eq!((video.name(), video.length(), video.selected()), ("1714442.mp4", 10, 3));
        let mut buffer = [0; 8];
        assert_eq!(video.next_chunk(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"234");
        let latest = |agent| Ask {
            wanted: Wanted::Latest { agent, suffixes: vec!["mp4".to_owned()] },
            range: None,
            if_range: None,
        };
        assert_eq!(mount.open(latest(503)).wait().unwrap().name(), "1714442.mp4");
        assert_eq!(mount.open(latest(504)).wait().unwrap_err(), OpenError::NotFound);
    }

    #[test]
    fn a_directory_that_disappears_and_comes_back_just_works() {
        let scratch = Scratch::new();
        scratch.file("mount/1/a.mp4", b"first");
        let mount = Mount::new(scratch.path().join("mount"), false);
        assert_eq!(mount.probe().wait(), Ok(()));
        std::fs::rename(scratch.path().join("mount"), scratch.path().join("away")).unwrap();
        assert_eq!(mount.open(at("1", "a.mp4")).wait().unwrap_err(), OpenError::Unavailable);
        assert_eq!(mount.probe().wait(), Err(Lost::Failed(rustix::io::Errno::NOENT)));
        scratch.file("mount/1/a.mp4", b"second");
        assert_eq!(mount.open(at("1", "a.mp4")).wait().unwrap().length(), 6);
        let checked = Mount::new(scratch.path().join("mount"), true);
        assert_eq!(checked.open(at("1", "a.mp4")).wait().unwrap_err(), OpenError::Unavailable);
        assert_eq!(checked.probe().wait(), Err(Lost::NotMounted));
    }

    #[test]
    fn a_mount_that_hangs_answers_by_the_deadline_and_holds_up_nothing_else() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        let mount = Mount::with_patience(scratch.path().to_owned(), false, SHORT);
        let other = Mount::new(scratch.path().to_owned(), false);
        let release = Arc::new(Latch::new());
        let begun = Instant::now();
        let hanging: Vec<_> =
            (0..2 * THREADS).map(|_| mount.ask(&mount.jobs, Instant::now() + SHORT, silent, hang(&release))).collect();
        assert_eq!(other.open(at("1", "a.mp4")).wait().unwrap().length(), 5);
        assert!(hanging.into_iter().all(|answer| answer.wait().is_err()));
        assert!(begun.elapsed() >= SHORT && begun.elapsed() < 10 * SHORT);
        eventually(|| mount.hung() == THREADS);
        assert_eq!(mount.jobs.threads(), THREADS);
        assert!(mount.is_stuck() && !other.is_stuck());
        let refused = mount.open(at("1", "a.mp4"));
        assert!(refused.delivered().is_raised(), "at once");
        assert_eq!(refused.take().unwrap_err(), OpenError::Unavailable);
        release.raise();
        eventually(|| mount.hung() == 0);
        assert_eq!(mount.open(at("1", "a.mp4")).wait().unwrap().length(), 5);
    }

    #[test]
    fn while_a_probe_hangs_nothing_is_opened() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        let mount = Mount::with_patience(scratch.path().to_owned(), false, SHORT);
        let release = Arc::new(Latch::new());
        assert!(mount.ask(&mount.probes, Instant::now() + SHORT, silent, hang(&release)).wait().is_err());
        eventually(|| mount.hung() == 1);
        assert_eq!(mount.open(at("1", "a.mp4")).take().unwrap_err(), OpenError::Unavailable);
        assert_eq!(mount.probe().take(), Err(Lost::Silent));
        assert_eq!(mount.jobs.threads(), 0);
        release.raise();
        eventually(|| mount.hung() == 0);
        assert!(mount.open(at("1", "a.mp4")).wait().is_ok());
    }

    #[test]
    fn a_file_opened_for_nobody_is_closed() {
        let scratch = Scratch::new();
        scratch.file("1/a.mp4", b"video");
        let mount = Mount::with_patience(scratch.path().to_owned(), false, SHORT);
        let release = Arc::new(Latch::new());
        let (inner, slow) = (Arc::clone(&mount), hang(&release));
        let open = move || {
            let _ = slow();
            inner.open_now(at("1", "a.mp4"), Instant::now() + LONG)
        };
        let deadline = Instant::now() + SHORT;
        let answer = mount.ask(&mount.jobs, deadline, || Err(OpenError::Unavailable), open);
        assert_eq!(answer.wait().unwrap_err(), OpenError::Unavailable);
        eventually(|| mount.hung() == 1);
        release.raise();
        eventually(|| mount.hung() == 0);
        // The video shares this count with its mount, so it is alone again once the video is gone.
        eventually(|| Arc::strong_count(&mount.reading) == 1);
    }
}
