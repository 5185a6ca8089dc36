//! Keeping an eye on a mount, so that its state can be read without asking its file server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use log::{info, warn};

use super::mount::Mount;
use super::open_error::Lost;
use crate::ops::latch::Latch;

/// How often a mount is probed.
pub const PROBE_EVERY: Duration = Duration::from_secs(2);

/// The watching thread only waits, logs and counts: probing is done by the mount's own threads.
const STACK: usize = 128 * 1024;

/// What is known of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not answered its first probe yet, nor failed it.
    Unknown,
    /// The latest probe was answered, and there are threads left to open recordings.
    Up,
    /// The latest probe failed or found no answer in time, or every thread of the mount hangs.
    Lost,
}

/// Probes one mount over and over until it is dropped.
#[derive(Debug)]
pub struct MountWatch {
    mount: Arc<Mount>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    standing: AtomicU8,
    stop: Latch,
}

impl MountWatch {
    /// Starts watching, with a probe at once and then one every [`PROBE_EVERY`].
    ///
    /// A loss is known at the latest that interval and the mount's patience after the last good answer. One
    /// line is logged when the mount is lost and one when it is back. Fails if no thread can be spawned.
    pub fn start(mount: Arc<Mount>) -> io::Result<MountWatch> {
        MountWatch::every(PROBE_EVERY, mount)
    }

    /// The mount watched.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// What is known of the mount now; never blocks on its file server.
    pub fn standing(&self) -> Standing {
        if self.mount.is_stuck() { Standing::Lost } else { self.shared.probed() }
    }

    fn every(interval: Duration, mount: Arc<Mount>) -> io::Result<MountWatch> {
        let unknown = AtomicU8::new(Standing::Unknown as u8);
        let shared = Arc::new(Shared { standing: unknown, stop: Latch::new() });
        let watch = MountWatch { mount: Arc::clone(&mount), shared: Arc::clone(&shared) };
        let attend = move || {
            while !shared.stop.is_raised() {
                let next = Instant::now() + interval;
                let answer = mount.probe().wait();
                // Some file servers still know their directories while no file can be opened.
                let answer = answer.and_then(|()| if mount.is_stuck() { Err(Lost::Stuck) } else { Ok(()) });
                shared.note(&mount, answer);
                shared.stop.wait_until(next);
            }
        };
        std::thread::Builder::new().name("mount-watch".into()).stack_size(STACK).spawn(attend)?;
        Ok(watch)
    }
}

impl Drop for MountWatch {
    /// Ends the watch. Its thread is not joined, as a probe may keep it for as long as a mount may take.
    fn drop(&mut self) {
        self.shared.stop.raise();
    }
}

impl Shared {
    fn probed(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            standing if standing == Standing::Up as u8 => Standing::Up,
            standing if standing == Standing::Lost as u8 => Standing::Lost,
            _ => Standing::Unknown,
        }
    }

    fn note(&self, mount: &Mount, answer: Result<(), Lost>) {
        let before = self.probed();
        let now = if answer.is_ok() { Standing::Up } else { Standing::Lost };
        self.standing.store(now as u8, Ordering::Relaxed);
        let directory = mount.directory().display();
        match answer {
            Err(reason) if before != Standing::Lost => warn!("mount {directory} is lost: {reason}"),
            Ok(()) if before == Standing::Lost => info!("mount {directory} is back"),
            _ => {}
        }
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
        let watch = MountWatch::every(Duration::from_millis(5), Mount::new(here.clone(), false)).unwrap();
        eventually(|| watch.standing() == Standing::Up);
        std::fs::rename(&here, &away).unwrap();
        eventually(|| watch.standing() == Standing::Lost);
        std::fs::rename(&away, &here).unwrap();
        eventually(|| watch.standing() == Standing::Up);
    }

    #[test]
    fn a_dropped_watch_lets_go_of_its_mount() {
        let scratch = Scratch::new();
        let mount = Mount::new(scratch.path().to_owned(), false);
        let watch = MountWatch::every(Duration::from_secs(3600), Arc::clone(&mount)).unwrap();
        eventually(|| watch.standing() == Standing::Up);
        drop(watch);
        eventually(|| Arc::strong_count(&mount) == 1);
    }
}
