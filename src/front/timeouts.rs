//! Timeouts for each stage of a connection.

use std::io;
use std::time::{Duration, Instant};

/// How long each stage of a connection may take. Each is the whole time of a stage, not the pause
/// between two bytes, so that a client sending a byte a second gains nothing.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The TLS handshake.
    pub handshake: Duration,
    /// From the handshake to the first byte of the first request.
    pub first_request: Duration,
    /// A request's head, from its first byte.
    pub head: Duration,
    /// A request's content.
    pub body: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// A response that is not a download, until the client has taken all of it; and what is left of
    /// any response when the connection closes.
    pub response: Duration,
    /// In each window of this length a client must take [`Timeouts::WINDOW_BYTES`] of its download.
    pub window: Duration,
    /// After the last response, how long what the client is still sending is read and thrown away.
    pub linger: Duration,
}

impl Timeouts {
    /// What a client must take of a download in each window, in bytes.
    pub const WINDOW_BYTES: u64 = 64 * 1024;
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            response: Duration::from_secs(10),
            window: Duration::from_secs(30),
            linger: Duration::from_secs(2),
        }
    }
}

/// Watches that a client takes its download fast enough.
#[derive(Debug)]
pub(super) struct MinRate {
    window: Duration,
    since: Instant,
    taken: u64,
}

impl MinRate {
    /// The first window begins at `now`.
    pub(super) fn new(window: Duration, now: Instant) -> MinRate {
        MinRate {
            window,
            since: now,
            taken: 0,
        }
    }

    /// Leaves a pause out of the window: the file server's, not the client's.
    pub(super) fn exclude(&mut self, pause: Duration) {
        self.since = self.since.checked_add(pause).unwrap_or(self.since);
    }

    /// Notes that the client took `bytes`.
    ///
    /// # Errors
    /// `TimedOut` when a window has passed and too little was taken in it.
    pub(super) fn taken(&mut self, bytes: usize, now: Instant) -> io::Result<()> {
        self.taken += bytes as u64;
        if self.taken >= Timeouts::WINDOW_BYTES {
            self.since = now;
            self.taken = 0;
        } else if now.saturating_duration_since(self.since) >= self.window {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    #[test]
    fn a_client_that_takes_enough_in_each_window_goes_on_for_ever() {
        let start = Instant::now();
        let mut rate = MinRate::new(WINDOW, start);
        for second in 1..1000 {
            rate.taken(3000, start + Duration::from_secs(second))
                .unwrap();
        }
    }

    #[test]
    fn a_client_that_takes_too_little_is_cut_after_a_window() {
        let start = Instant::now();
        let mut rate = MinRate::new(WINDOW, start);
        for second in 1..30 {
            rate.taken(2000, start + Duration::from_secs(second))
                .unwrap();
        }
        assert!(rate.taken(2000, start + WINDOW).is_err());
    }

    #[test]
    fn a_pause_of_ours_is_not_the_clients() {
        let start = Instant::now();
        let mut rate = MinRate::new(WINDOW, start);
        rate.taken(2000, start + Duration::from_secs(20)).unwrap();
        rate.exclude(Duration::from_secs(100));
        rate.taken(2000, start + Duration::from_secs(129)).unwrap();
        assert!(rate.taken(2000, start + Duration::from_secs(130)).is_err());
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_after_a_window() {
        let start = Instant::now();
        let mut rate = MinRate::new(WINDOW, start);
        rate.taken(0, start + Duration::from_secs(29)).unwrap();
        assert!(rate.taken(0, start + WINDOW).is_err());
    }
}
