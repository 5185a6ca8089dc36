//! The opened files of one mount. They are closed by dedicated threads, because `close` can hang
//! too: it flushes, which a file server may leave unanswered.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::io::{Errno, pread, retry_on_intr};

use super::resolve::{self, FileStat};
use crate::ops::ThreadPool;
use crate::ops::sync::{lock, wait_while};

/// Threads that close files of one mount.
pub(super) const CLOSING_THREADS: usize = 2;

/// Maximum number of unclosed files; beyond it no further one is opened.
///
/// Bounds the descriptors of a mount whose files cannot be closed, besides those of recordings
/// already open or being opened.
pub(super) const MAX_UNCLOSED: usize = 20;

/// Counts reads in progress, and closes files.
pub(super) struct OpenFiles {
    timeout: Duration,
    reading: AtomicUsize,
    closing: Mutex<Closing>,
    closed: Condvar,
    threads: ThreadPool,
}

#[derive(Debug, Default)]
struct Closing {
    waiting: VecDeque<File>,
    /// When each running `close` began, by a unique number.
    running: BTreeMap<u64, Instant>,
    next: u64,
}

impl Closing {
    fn unclosed(&self) -> usize {
        self.waiting.len() + self.running.len()
    }
}

impl OpenFiles {
    /// A `close` that takes longer than `timeout` counts as overdue.
    pub(super) fn new(timeout: Duration) -> Arc<OpenFiles> {
        Arc::new(OpenFiles {
            timeout,
            reading: AtomicUsize::new(0),
            closing: Mutex::default(),
            closed: Condvar::new(),
            // One queued job suffices, as each closes all waiting files.
            threads: ThreadPool::new("mount-close", CLOSING_THREADS, 1),
        })
    }

    /// Takes ownership of an opened file.
    pub(super) fn track(self: &Arc<Self>, file: File) -> MountFile {
        MountFile {
            file: Some(file),
            files: Arc::clone(self),
        }
    }

    /// Threads currently in a read or stat of an opened recording.
    pub(super) fn reading(&self) -> usize {
        self.reading.load(Ordering::Relaxed)
    }

    /// As if one more thread were inside a read.
    #[cfg(test)]
    pub(super) fn pretend_to_read(&self) {
        self.reading.fetch_add(1, Ordering::Relaxed);
    }

    /// Threads whose `close` is overdue.
    pub(super) fn overdue(&self) -> usize {
        let now = Instant::now();
        lock(&self.closing)
            .running
            .values()
            .filter(|began| now.saturating_duration_since(**began) >= self.timeout)
            .count()
    }

    /// Files waiting to be closed or being closed.
    pub(super) fn unclosed(&self) -> usize {
        lock(&self.closing).unclosed()
    }

    /// Whether no file may be opened because none can be closed.
    pub(super) fn is_stuck(&self) -> bool {
        self.unclosed() >= MAX_UNCLOSED && self.overdue() >= CLOSING_THREADS
    }

    /// Waits until fewer than [`MAX_UNCLOSED`] files are unclosed; false at `deadline`.
    pub(super) fn wait_for_room(&self, deadline: Instant) -> bool {
        let is_full = |closing: &mut Closing| closing.unclosed() >= MAX_UNCLOSED;
        let closing = lock(&self.closing);
        !is_full(&mut wait_while(&self.closed, closing, deadline, is_full))
    }

    fn close(self: &Arc<Self>, file: File) {
        lock(&self.closing).waiting.push_back(file);
        let files = Arc::clone(self);
        // If refused, a queued job will close the file, or no thread can be spawned and it stays
        // open until the next close.
        self.threads
            .execute(None, Box::new(move || files.close_waiting()));
    }

    fn close_waiting(&self) {
        loop {
            let mut closing = lock(&self.closing);
            let Some(file) = closing.waiting.pop_front() else {
                return;
            };
            let number = closing.next;
            closing.next += 1;
            closing.running.insert(number, Instant::now());
            drop(closing);
            drop(file);
            lock(&self.closing).running.remove(&number);
            self.closed.notify_all();
        }
    }
}

/// An opened file. Dropping it never blocks: a thread of the mount closes it.
pub(super) struct MountFile {
    file: Option<File>,
    files: Arc<OpenFiles>,
}

impl MountFile {
    /// Size and times, as the file server has them now.
    pub(super) fn stat(&self) -> Result<FileStat, Errno> {
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        self.counted(|| resolve::stat_synced(file))
    }

    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end of the file.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        self.counted(|| retry_on_intr(|| pread(file, &mut *buffer, offset)))
    }

    /// The file, for fadvise.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    fn counted<T>(&self, call: impl FnOnce() -> T) -> T {
        self.files.reading.fetch_add(1, Ordering::Relaxed);
        let result = call();
        self.files.reading.fetch_sub(1, Ordering::Relaxed);
        result
    }
}

impl Drop for MountFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.files.close(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::{Scratch, eventually};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_dropped_file_is_closed_by_another_thread() {
        let scratch = Scratch::new();
        let path = scratch.file("a.mp4", b"video");
        let files = OpenFiles::new(Duration::from_secs(60));
        let held: Vec<_> = (0..3 * MAX_UNCLOSED)
            .map(|_| files.track(File::open(&path).unwrap()))
            .collect();
        let descriptor =
            |file: &MountFile| format!("/proc/self/fd/{}", file.file().unwrap().as_raw_fd());
        let descriptors: Vec<_> = held.iter().map(descriptor).collect();
        drop(held);
        eventually(|| files.unclosed() == 0);
        assert_eq!(lock(&files.closing).next, 3 * MAX_UNCLOSED as u64);
        assert!(files.wait_for_room(Instant::now()) && !files.is_stuck());
        // Other tests may have opened other files with these numbers since.
        let is_ours =
            |descriptor: &String| std::fs::read_link(descriptor).is_ok_and(|to| to == path);
        assert!(!descriptors.iter().any(is_ours));
    }

    #[test]
    fn while_too_many_files_wait_there_is_no_room_for_another() {
        let scratch = Scratch::new();
        let path = scratch.file("a.mp4", b"video");
        let files = OpenFiles::new(Duration::ZERO);
        {
            let mut closing = lock(&files.closing);
            // As if every thread were inside a `close` that never returns.
            closing
                .running
                .extend((0..CLOSING_THREADS as u64).map(|number| (number, Instant::now())));
            closing.next = CLOSING_THREADS as u64;
            closing
                .waiting
                .extend((CLOSING_THREADS..MAX_UNCLOSED).map(|_| File::open(&path).unwrap()));
        }
        assert!(files.is_stuck() && files.overdue() == CLOSING_THREADS);
        assert!(!files.wait_for_room(Instant::now()));
        lock(&files.closing).running.clear();
        drop(files.track(File::open(&path).unwrap()));
        assert!(files.wait_for_room(Instant::now() + Duration::from_secs(60)));
        eventually(|| files.unclosed() == 0);
    }
}
