//! Watches one mount for new recordings, one scan at a time on the mount's own threads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::arrivals::{Figures, Limits, Scan, Scope, Suffixes, WatchedAgent, Watcher};
use super::mount::Mount;
use crate::config::MountPoint;
use crate::ops::sync::lock;

/// The watch over one mount.
///
/// At most one scan runs at a time. A hung scan holds one thread of the mount and prevents further
/// scans, without affecting other mounts or downloads.
pub(crate) struct ArrivalWatch {
    pub(crate) mount: Arc<Mount>,
    /// The drive, and in pool mode the node, of its recordings; the first if the directory serves
    /// several.
    pub(crate) point: MountPoint,
    suffixes: Suffixes,
    /// Locked during a scan, which may hang forever: see `is_scanning`.
    watcher: Arc<Mutex<Watcher>>,
    /// Whether the watcher may hold state about agents.
    has_agents: AtomicBool,
    is_scanning: Arc<AtomicBool>,
    /// The counters of its scans.
    pub(crate) counted: Arc<ScanCounters>,
}

/// Counters of the scans of one mount.
#[derive(Debug, Default)]
pub(crate) struct ScanCounters {
    /// Completed scans.
    pub(crate) scans: AtomicU64,
    /// Scans in which the file server failed.
    pub(crate) failed: AtomicU64,
    /// Scans that hit a limit and were continued by the next one.
    pub(crate) cut_short: AtomicU64,
    /// Scans skipped because the previous one had not ended.
    pub(crate) skipped: AtomicU64,
    cpu_ns: AtomicU64,
    /// Agent folders in the last full scan.
    pub(crate) folders: AtomicUsize,
    /// Directory entries it read.
    pub(crate) entries: AtomicUsize,
    /// Folders with too many entries, whose recordings are not announced.
    pub(crate) overfull: AtomicUsize,
}

impl ScanCounters {
    /// CPU time of all scans.
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
    /// A watch over a mount, whose recordings are named as on `point`. Does not access the mount.
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

    /// Starts a scan for these agents; false if the previous one has not ended.
    ///
    /// `done` is called with the result on a thread of the mount, without a lock, before the next
    /// scan. It is dropped uncalled if the mount does not answer or is backing off after a failed
    /// automount. Without agents the mount is not accessed and all state is forgotten.
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
            // The lock is free, since no scan is running.
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

    /// Counts a scan skipped because the previous one had not ended.
    pub(crate) fn skip(&self) {
        self.counted.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Marks the scan as ended when dropped.
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
        // The scan ends before its callback, which blocks until the test receives.
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
            "without agents there is no scan"
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
