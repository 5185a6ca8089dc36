//! The watch for new recordings on one mount: one scan after the other on the mount's own threads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::arrivals::{Figures, Limits, Scan, Scope, Suffixes, WatchedAgent, Watcher};
use super::mount::Mount;
use crate::config::MountPoint;
use crate::ops::sync::lock;

/// What is watched of one mount, and what that has cost so far.
///
/// There is at most one scan at a time. One that hangs keeps one thread of the mount, and the scans
/// that would come after it do not happen; other mounts and downloads know nothing of it.
pub(crate) struct ArrivalWatch {
    pub(crate) mount: Arc<Mount>,
    /// The drive, and in pool mode the node, by which its recordings are downloaded. Of several
    /// that one directory serves, the first.
    pub(crate) point: MountPoint,
    suffixes: Suffixes,
    /// Locked for as long as a scan takes, which may be for ever: see `is_scanning`.
    watcher: Arc<Mutex<Watcher>>,
    /// Whether the watcher may know of any agent.
    has_agents: AtomicBool,
    is_scanning: Arc<AtomicBool>,
    /// The counters of its scans.
    pub(crate) counted: Arc<ScanCounters>,
}

/// Counters of the scans of one mount.
#[derive(Debug, Default)]
pub(crate) struct ScanCounters {
    /// Scans that ended.
    pub(crate) scans: AtomicU64,
    /// Those among them in which the file server failed.
    pub(crate) failed: AtomicU64,
    /// Those that met a limit and went on at the next one.
    pub(crate) cut_short: AtomicU64,
    /// Scans that were due and did not happen, since the one before had not ended.
    pub(crate) skipped: AtomicU64,
    cpu_ns: AtomicU64,
    /// Folders of agents in the last scan of all agents.
    pub(crate) folders: AtomicUsize,
    /// Directory entries that it read.
    pub(crate) entries: AtomicUsize,
    /// Folders with too many entries that it met, in which nothing is announced.
    pub(crate) overfull: AtomicUsize,
}

impl ScanCounters {
    /// Processor time of all scans together.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed))
    }

    fn count(&self, scope: Scope, scan: &Scan) {
        let Figures {
            folders,
            entries,
            overfull,
            cut_short,
            cpu,
            ..
        } = scan.figures;
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.failed
            .fetch_add(scan.error.is_some().into(), Ordering::Relaxed);
        self.cut_short
            .fetch_add(cut_short.into(), Ordering::Relaxed);
        self.cpu_ns.fetch_add(
            u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        if scope == Scope::All {
            self.folders.store(folders, Ordering::Relaxed);
            self.entries.store(entries, Ordering::Relaxed);
            self.overfull.store(overfull, Ordering::Relaxed);
        }
    }
}

impl ArrivalWatch {
    /// A watch over a mount, whose recordings are named as those of `point`. Nothing is touched
    /// yet.
    pub(crate) fn new(mount: Arc<Mount>, point: MountPoint, suffixes: Suffixes) -> ArrivalWatch {
        let watcher = Watcher::new(suffixes.clone(), Limits::default());
        ArrivalWatch {
            mount,
            point,
            suffixes,
            watcher: Arc::new(Mutex::new(watcher)),
            has_agents: AtomicBool::new(false),
            is_scanning: Arc::default(),
            counted: Arc::default(),
        }
    }

    /// Whether the latest scan has not ended.
    pub(crate) fn is_scanning(&self) -> bool {
        self.is_scanning.load(Ordering::Acquire)
    }

    /// Scans once, for these agents, unless the latest scan has not ended; false if it has not.
    ///
    /// `done` is called with what came of it on a thread of the mount, under no lock, and before
    /// the next scan. It is dropped uncalled where there was no scan: the mount does not answer, or
    /// is backing off after it failed to mount itself. Without agents nothing is touched and what
    /// was known is forgotten.
    pub(crate) fn scan(
        &self,
        agents: Vec<WatchedAgent>,
        scope: Scope,
        done: impl FnOnce(Scan) + Send + 'static,
    ) -> bool {
        if self.is_scanning.swap(true, Ordering::AcqRel) {
            return false;
        }
        let guard = ScanGuard(Arc::clone(&self.is_scanning));
        if agents.is_empty() {
            // Nobody has the lock, since no scan is under way.
            if self.has_agents.swap(false, Ordering::Relaxed) {
                *lock(&self.watcher) = Watcher::new(self.suffixes.clone(), Limits::default());
            }
            return true;
        }
        self.has_agents.store(true, Ordering::Relaxed);
        let counted = Arc::clone(&self.counted);
        self.mount
            .scan_for_arrivals(&self.watcher, agents, scope, move |scan| {
                counted.count(scope, &scan);
                drop(guard);
                done(scan);
            });
        true
    }

    /// As if a scan were under way, until this is dropped.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + use<> {
        self.is_scanning.store(true, Ordering::Release);
        ScanGuard(Arc::clone(&self.is_scanning))
    }

    /// Counts a scan that was due and did not happen, since the one before had not ended.
    pub(crate) fn skip(&self) {
        self.counted.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the scan when it is dropped, however it ended.
#[derive(Debug)]
struct ScanGuard(Arc<AtomicBool>);

impl Drop for ScanGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Drive;
    use crate::recording::scratch::{Scratch, eventually};
    use std::sync::mpsc::{RecvError, sync_channel};
    use std::time::Instant;

    fn watch(mount: Arc<Mount>) -> ArrivalWatch {
        let suffixes = Suffixes {
            audio: Vec::new(),
            video: vec!["mp4".to_owned()],
        };
        ArrivalWatch::new(
            mount,
            MountPoint {
                location: None,
                drive: Drive::default(),
            },
            suffixes,
        )
    }

    fn agents() -> Vec<WatchedAgent> {
        vec![WatchedAgent {
            number: 503,
            since: Instant::now(),
        }]
    }

    #[test]
    fn a_look_is_counted_and_there_is_one_at_a_time() {
        let scratch = Scratch::new();
        scratch.file("1/0/20201202/503/1.mp4", b"video");
        let watch = watch(Mount::new(scratch.path().to_owned(), false));
        let (tell, told) = sync_channel(0);
        assert!(watch.scan(agents(), Scope::All, move |scan| tell.send(scan).unwrap()));
        // The scan ends before its callback, which waits here.
        eventually(|| !watch.is_scanning());
        assert_eq!(told.recv().unwrap().figures.folders, 1);
        let counted = &watch.counted;
        let loads = [&counted.scans, &counted.failed, &counted.cut_short]
            .map(|count| count.load(Ordering::Relaxed));
        assert_eq!(
            (loads, counted.folders.load(Ordering::Relaxed)),
            ([1, 0, 0], 1)
        );
        assert!(counted.cpu() > Duration::ZERO);
        let guard = ScanGuard(Arc::clone(&watch.is_scanning));
        watch.is_scanning.store(true, Ordering::Relaxed);
        assert!(
            !watch.scan(agents(), Scope::All, |_| ())
                && !watch.scan(Vec::new(), Scope::All, |_| ())
        );
        drop(guard);
        assert!(watch.scan(Vec::new(), Scope::All, |_| ()));
        assert_eq!(
            (counted.scans.load(Ordering::Relaxed), watch.is_scanning()),
            (1, false),
            "nothing was touched"
        );
    }

    #[test]
    fn a_mount_that_is_gone_ends_its_looks_and_keeps_nothing() {
        let scratch = Scratch::new();
        let watch = watch(Mount::new(scratch.path().join("missing"), false));
        let (tell, told) = sync_channel::<()>(1);
        assert!(watch.scan(agents(), Scope::All, move |scan| {
            assert!(scan.arrivals.is_empty() && scan.error.is_some());
            drop(tell);
        }));
        assert_eq!(told.recv(), Err(RecvError));
        eventually(|| !watch.is_scanning());
        assert_eq!(watch.counted.failed.load(Ordering::Relaxed), 1);
    }
}
