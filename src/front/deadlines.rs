//! How long a client may take for each thing it does.

use std::io;
use std::time::{Duration, Instant};

use crate::ops::latch;

/// The limits on a client's patience with us, and ours with it. Each is the whole time of a stage, not
/// the pause between two bytes, so that a client sending a byte a second gains nothing.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// The TLS handshake.
    pub handshake: Duration,
    /// A request's head, from its first byte.
    pub head: Duration,
    /// A request's content.
    pub body: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// In each window of this length a client must take [`Deadlines::WINDOW_BYTES`] of what it is sent.
    pub window: Duration,
    /// After the last answer, how long what the client is still sending is read and thrown away.
    pub linger: Duration,
}

impl Deadlines {
    /// What a client must take in each window, in bytes.
    pub const WINDOW_BYTES: u64 = 64 * 1024;
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            window: Duration::from_secs(30),
            linger: Duration::from_secs(2),
        }
    }
}

/// What is left until `deadline`, for the timeout of the next system call.
///
/// # Errors
/// `TimedOut` when nothing is left.
pub(super) fn left(deadline: Instant) -> io::Result<Duration> {
    latch::left(deadline).ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// Watches that a client takes what it is sent.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    since: Instant,
    taken: u64,
}

impl Pace {
    /// The first window begins now.
    pub(super) fn new(window: Duration) -> Pace {
        Pace { window, since: Instant::now(), taken: 0 }
    }

    /// A new window begins at `now`.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.taken = 0;
    }

    /// Leaves a pause out of the window.
    pub(super) fn excuse(&mut self, pause: Duration) {
        self.since = self.since.checked_add(pause).unwrap_or(self.since);
    }

    /// Notes that the client took `bytes`.
    ///
    /// # Errors
    /// `TimedOut` when a window has passed and too little was taken in it.
    pub(super) fn taken(&mut self, bytes: usize, now: Instant) -> io::Result<()> {
        self.taken += bytes as u64;
        if self.taken >= Deadlines::WINDOW_BYTES {
            self.restart(now);
        } else if now.saturating_duration_since(self.since) >= self.window {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_enough_in_each_window_goes_on_for_ever() {
        let mut pace = Pace::new(Duration::from_secs(30));
        let start = pace.since;
        for second in 1..1000 {
            pace.taken(3000, start + Duration::from_secs(second)).unwrap();
        }
    }

    #[test]
    fn a_client_that_takes_too_little_is_cut_after_a_window() {
        let mut pace = Pace::new(Duration::from_secs(30));
        let start = pace.since;
        for second in 1..30 {
            pace.taken(2000, start + Duration::from_secs(second)).unwrap();
        }
        assert!(pace.taken(2000, start + Duration::from_secs(30)).is_err());
    }

    #[test]
    fn a_pause_of_ours_is_not_the_clients() {
        let mut pace = Pace::new(Duration::from_secs(30));
        let start = pace.since;
        pace.taken(2000, start + Duration::from_secs(20)).unwrap();
        pace.excuse(Duration::from_secs(100));
        pace.taken(2000, start + Duration::from_secs(129)).unwrap();
        assert!(pace.taken(2000, start + Duration::from_secs(130)).is_err());
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_after_a_window() {
        let mut pace = Pace::new(Duration::from_secs(30));
        let start = pace.since;
        pace.taken(0, start + Duration::from_secs(29)).unwrap();
        assert!(pace.taken(0, start + Duration::from_secs(30)).is_err());
    }

    #[test]
    fn nothing_is_left_of_a_deadline_that_has_passed() {
        assert_eq!(left(Instant::now()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(left(Instant::now() + Duration::from_secs(60)).is_ok());
    }
}
