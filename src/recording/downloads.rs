//! Limits on downloads, in total and per agent, and their revocation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::open_error::ReadError;
use super::video::Video;
use crate::ops::sync::lock;

/// Counts running downloads against the two limits.
#[derive(Debug)]
pub(crate) struct Downloads {
    max: usize,
    max_per_agent: usize,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    all: usize,
    by_agent: HashMap<u32, AgentDownloads>,
}

/// The downloads of one agent. Those begun between two revocations share a flag.
#[derive(Debug, Default)]
struct AgentDownloads {
    count: usize,
    revoked: Arc<AtomicBool>,
}

impl Downloads {
    /// Allows `max` downloads in total and `max_per_agent` per agent.
    pub(crate) fn new(max: usize, max_per_agent: usize) -> Downloads {
        Downloads {
            max,
            max_per_agent,
            running: Arc::default(),
        }
    }

    /// Counts a download of `agent`; `None` if a limit is reached.
    ///
    /// The download counts until the permit is dropped. `stalled` downloads, which hang on a lost
    /// mount, do not count against the total: they cannot be ended, and must not block other
    /// mounts.
    pub(crate) fn acquire(&self, agent: u32, stalled: usize) -> Option<Permit> {
        let mut running = lock(&self.running);
        let own = running.by_agent.get(&agent).map_or(0, |own| own.count);
        if running.all.saturating_sub(stalled) >= self.max || own >= self.max_per_agent {
            return None;
        }
        running.all += 1;
        let own = running.by_agent.entry(agent).or_default();
        own.count += 1;
        Some(Permit {
            agent,
            revoked: Arc::clone(&own.revoked),
            running: Arc::clone(&self.running),
        })
    }

    /// Revokes the running downloads of `agent` and returns their number. Each ends before its next
    /// chunk; later ones are not affected.
    pub(crate) fn revoke(&self, agent: u32) -> usize {
        let mut running = lock(&self.running);
        let Some(own) = running.by_agent.get_mut(&agent) else {
            return 0;
        };
        std::mem::take(&mut own.revoked).store(true, Ordering::Relaxed);
        own.count
    }

    /// The number of running downloads.
    pub(crate) fn running(&self) -> usize {
        lock(&self.running).all
    }
}

/// The right to run one download, until dropped.
#[derive(Debug)]
#[must_use = "the download counts only while its permit is held"]
pub(crate) struct Permit {
    agent: u32,
    revoked: Arc<AtomicBool>,
    running: Arc<Mutex<Running>>,
}

impl Permit {
    /// Whether the download must end because its agent has lost the right to it.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        running.all = running.all.saturating_sub(1);
        match running.by_agent.get_mut(&self.agent) {
            Some(own) if own.count > 1 => own.count -= 1,
            // Agents without downloads have no entry, so the total limit bounds the table.
            _ => {
                running.by_agent.remove(&self.agent);
            }
        }
    }
}

/// A video being sent to a client. Counts against the limits until dropped.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) video: Video,
    permit: Permit,
}

impl Download {
    pub(crate) fn new(video: Video, permit: Permit) -> Download {
        Download { video, permit }
    }

    /// [`Video::next_chunk`], unless the permit is revoked.
    ///
    /// # Errors
    /// If the rest cannot be read, or the permit is revoked. The response must then be cut.
    pub(crate) fn next_chunk(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if self.is_revoked() {
            Err(ReadError::Revoked)
        } else {
            self.video.next_chunk(buffer)
        }
    }

    /// [`Permit::is_revoked`].
    pub(crate) fn is_revoked(&self) -> bool {
        self.permit.is_revoked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_a_dropped_permit_is_free_again() {
        let downloads = Downloads::new(3, 2);
        let first = downloads.acquire(101, 0).unwrap();
        let _second = downloads.acquire(101, 0).unwrap();
        assert!(downloads.acquire(101, 0).is_none(), "the agent's limit");
        let _third = downloads.acquire(102, 0).unwrap();
        assert!(downloads.acquire(103, 0).is_none(), "the limit of all");
        assert!(
            downloads.acquire(103, 1).is_some(),
            "a hung download must not count towards the limit of all"
        );
        assert!(
            downloads.acquire(101, 1).is_none(),
            "hung downloads must count towards the agent's limit"
        );
        assert_eq!(downloads.running(), 3);
        drop(first);
        assert_eq!(downloads.running(), 2);
        assert!(downloads.acquire(101, 0).is_some());
    }

    #[test]
    fn an_agents_downloads_are_revoked_and_later_ones_are_not() {
        let downloads = Downloads::new(10, 3);
        let [first, second, other] =
            [101, 101, 102].map(|agent| downloads.acquire(agent, 0).unwrap());
        assert_eq!(downloads.revoke(101), 2);
        assert_eq!(downloads.revoke(103), 0);
        let later = downloads.acquire(101, 0).unwrap();
        let revoked = [&first, &second, &other, &later].map(Permit::is_revoked);
        assert_eq!(revoked, [true, true, false, false]);
        drop((first, second));
        assert_eq!((downloads.revoke(101), later.is_revoked()), (1, true));
    }

    #[test]
    fn permits_dropped_on_other_threads_leave_nothing_behind() {
        let downloads = Downloads::new(100, 100);
        let threads: Vec<_> = (0..100)
            .map(|n| {
                let permit = downloads.acquire(n % 7, 0).unwrap();
                std::thread::spawn(move || drop(permit))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(downloads.running(), 0);
        assert!(lock(&downloads.running).by_agent.is_empty());
    }
}
