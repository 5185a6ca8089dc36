//! Watches the health of a mount, so that its status is known without contacting the file server.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::mount::{Mount, MountStatus};
use super::mount_table;
use super::open_error::MountError;
use crate::ops::spawn;
use crate::ops::sync::Latch;

/// How often a mount is probed.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum pause between probes of a failing automount; autofs itself caches a failure for a
/// minute.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Small, because probes run on the mount's own threads.
const STACK_SIZE: usize = 128 * 1024;

/// Probes a mount periodically, until dropped.
///
/// An automount is only probed at the start, after each use, and in growing intervals while it
/// fails: more probes would mount it needlessly, keep it from expiring, or hammer a failing server.
pub(crate) struct MountWatch {
    /// The mount watched.
    pub(super) mount: Arc<Mount>,
    stop: Arc<Latch>,
}

impl MountWatch {
    /// Starts watching, with an immediate probe and one every [`PROBE_INTERVAL`].
    ///
    /// A loss is detected at most that interval plus the mount's timeout after the last good
    /// answer. Loss and recovery are logged once each. Fails if no thread can be spawned.
    pub(crate) fn start(mount: Arc<Mount>) -> io::Result<MountWatch> {
        MountWatch::every(PROBE_INTERVAL, mount)
    }

    fn every(interval: Duration, mount: Arc<Mount>) -> io::Result<MountWatch> {
        let stop = Arc::new(Latch::default());
        let watch = MountWatch {
            mount: Arc::clone(&mount),
            stop: Arc::clone(&stop),
        };
        let probe_loop = move || {
            let mut schedule = Schedule::new(interval);
            while !stop.is_set() {
                let next = Instant::now() + interval;
                let is_automount = mount_table::is_automount(mount.directory());
                mount.set_automount(is_automount);
                let uses = mount.uses();
                if schedule.is_due(is_automount, uses, mount.is_backing_off(), Instant::now()) {
                    let result = probe(&mount);
                    schedule.note(uses, result.is_ok(), Instant::now());
                    note(&mount, result);
                }
                stop.wait_until(next);
            }
        };
        spawn("mount-watch", STACK_SIZE, probe_loop)?;
        Ok(watch)
    }
}

impl Drop for MountWatch {
    /// Stops the watch without joining its thread, which may be waiting for a probe.
    fn drop(&mut self) {
        self.stop.set();
    }
}

/// When the next probe is due.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    /// The mount's use count at the last probe; `None` before the first.
    uses: Option<u64>,
    /// After a failure of an automount: the pause before the next probe, and its end.
    retry: Option<(Duration, Instant)>,
}

impl Schedule {
    fn new(interval: Duration) -> Schedule {
        Schedule {
            interval,
            uses: None,
            retry: None,
        }
    }

    fn is_due(&self, is_automount: bool, uses: u64, rests: bool, now: Instant) -> bool {
        if !is_automount {
            return true;
        }
        match self.retry {
            Some((_, at)) => now >= at,
            // A failed use makes the mount back off until it is probed.
            None => rests || self.uses != Some(uses),
        }
    }

    fn note(&mut self, uses: u64, is_up: bool, now: Instant) {
        self.uses = Some(uses);
        self.retry = (!is_up).then(|| {
            let pause = self.retry.map_or(self.interval, |(pause, _)| {
                MAX_RETRY_INTERVAL.min(2 * pause)
            });
            (pause, now + pause)
        });
    }
}

fn probe(mount: &Arc<Mount>) -> Result<(), MountError> {
    let (tell, told) = sync_channel(1);
    // The receiver may have timed out.
    mount.probe_uncounted(move |result| drop(tell.try_send(result)));
    told.recv_timeout(mount.probe_timeout())
        .unwrap_or(Err(MountError::TimedOut))?;
    // Some file servers still answer for directories when no file can be opened.
    mount.stuck_reason().map_or(Ok(()), Err)
}

fn note(mount: &Mount, result: Result<(), MountError>) {
    let was_lost = mount.set_status(if result.is_ok() {
        MountStatus::Up
    } else {
        MountStatus::Lost
    });
    let directory = mount.directory().display();
    match result {
        Err(reason) if !was_lost => warn!("mount {directory} is lost: {reason}"),
        Ok(()) if was_lost => info!("mount {directory} is back"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::{Scratch, eventually};

    #[test]
    fn a_mount_is_seen_to_go_and_to_come_back() {
        let scratch = Scratch::new();
        let (here, away) = (scratch.folder("mount"), scratch.path().join("away"));
        let watch =
            MountWatch::every(Duration::from_millis(5), Mount::new(here.clone(), false)).unwrap();
        eventually(|| watch.mount.status() == MountStatus::Up);
        std::fs::rename(&here, &away).unwrap();
        eventually(|| watch.mount.status() == MountStatus::Lost);
        std::fs::rename(&away, &here).unwrap();
        eventually(|| watch.mount.status() == MountStatus::Up);
    }

    #[test]
    fn an_automount_is_probed_when_it_was_used_and_while_it_fails_ever_less_often() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(PROBE_INTERVAL);
        assert!(schedule.is_due(true, 0, false, at(0)), "the first time");
        schedule.note(0, true, at(0));
        assert!(
            (2..10_000).all(|second| !schedule.is_due(true, 0, false, at(second))),
            "an unused automount must not be probed, so that it can expire"
        );
        assert!(
            schedule.is_due(false, 0, false, at(2)),
            "any other mount is probed each time"
        );
        assert!(schedule.is_due(true, 1, false, at(2)) && schedule.is_due(true, 0, true, at(2)));
        let mut probed = Vec::new();
        for second in (10_000..10_400).step_by(2) {
            // Requests keep using the mount.
            if schedule.is_due(true, second, true, at(second)) {
                schedule.note(second, false, at(second));
                probed.push(second - 10_000);
            }
        }
        assert_eq!(probed, [0, 2, 6, 14, 30, 62, 122, 182, 242, 302, 362]);
        assert!(schedule.is_due(true, 20_000, true, at(20_000)));
        schedule.note(20_000, true, at(20_000));
        assert!(
            !schedule.is_due(true, 20_000, false, at(20_002)),
            "it works again, so it must not be probed while it is unused"
        );
    }

    #[test]
    fn a_dropped_watch_lets_go_of_its_mount() {
        let scratch = Scratch::new();
        let mount = Mount::new(scratch.path().to_owned(), false);
        let watch = MountWatch::every(Duration::from_secs(3600), Arc::clone(&mount)).unwrap();
        eventually(|| watch.mount.status() == MountStatus::Up);
        drop(watch);
        eventually(|| Arc::strong_count(&mount) == 1);
    }

    #[test]
    fn only_a_change_is_told() {
        use crate::ops::log_capture::logged;
        let mount = Mount::new("/mnt/a".into(), false);
        let lost = || Err(MountError::TimedOut);
        for (results, lines) in [
            (vec![Ok(()), Ok(())], vec![]),
            (
                vec![lost(), lost()],
                vec!["WARN mount /mnt/a is lost: no answer in time"],
            ),
            (vec![Ok(()), Ok(())], vec!["INFO mount /mnt/a is back"]),
        ] {
            let told = logged(|| results.into_iter().for_each(|result| note(&mount, result)));
            assert_eq!(told, lines);
        }
    }
}
