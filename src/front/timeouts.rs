//! Timeouts for each stage of a connection.

use std::io;
use std::time::{Duration, Instant};

/// How long each stage of a connection may take. Each is for the whole stage, not for the pause
/// between two bytes, so that sending a byte a second gains nothing.
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
    /// Between two requests on a connection.
    pub idle: Duration,
    /// A response that is not a download, until the client has taken all of it; also the rest of
    /// any response when the connection closes.
    pub response: Duration,
    /// In each window of this length a client must take [`Timeouts::WINDOW_BYTES`] of its download,
    /// unless it is ahead: [`Timeouts::WINDOWS_AHEAD_MAX`].
    pub window: Duration,
    /// How long to read and discard what the client sends after the last response.
    pub linger: Duration,
}

impl Timeouts {
    /// Bytes of a download that a client must take in each window.
    pub const WINDOW_BYTES: u64 = 64 * 1024;
    /// How many windows a client may be ahead. A buffer of some MB between us and the client, in
    /// its kernel or a relay, fills in a moment, and then takes nothing until the client has made
    /// room. A player takes nothing until it has played some.
    pub const WINDOWS_AHEAD_MAX: u32 = 4;
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

/// Checks that a client takes its download fast enough.
#[derive(Debug)]
pub(super) struct MinRate {
    window: Duration,
    since: Instant,
    taken: u64,
    /// Windows the client is ahead.
    ahead: u32,
}

impl MinRate {
    /// The first window begins at `now`.
    pub(super) fn new(window: Duration, now: Instant) -> MinRate {
        MinRate {
            window,
            since: now,
            taken: 0,
            ahead: 0,
        }
    }

    /// Excludes a pause of the file server from the window.
    pub(super) fn exclude(&mut self, pause: Duration) {
        self.since = self.since.checked_add(pause).unwrap_or(self.since);
    }

    /// Notes that the client took `bytes`.
    ///
    /// # Errors
    /// `TimedOut` if a window has passed in which the client took too little, and it was not ahead.
    pub(super) fn taken(&mut self, bytes: usize, now: Instant) -> io::Result<()> {
        self.taken += bytes as u64;
        let elapsed = now.saturating_duration_since(self.since);
        if self.taken >= Timeouts::WINDOW_BYTES {
            if elapsed < self.window / 2 {
                self.ahead = (self.ahead + 1).min(Timeouts::WINDOWS_AHEAD_MAX);
            }
            self.since = now;
            self.taken = 0;
        } else if elapsed >= self.window {
            self.ahead = self.ahead.checked_sub(1).ok_or(io::ErrorKind::TimedOut)?;
            self.since = now;
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

    #[test]
    fn a_client_that_was_quick_may_rest_for_some_windows() {
        let start = Instant::now();
        let mut rate = MinRate::new(WINDOW, start);
        for _ in 0..100 {
            rate.taken(1_000_000, start).unwrap();
        }
        let most = 1 + Timeouts::WINDOWS_AHEAD_MAX;
        for second in 1..30 * most {
            rate.taken(0, start + Duration::from_secs(second.into()))
                .unwrap();
        }
        assert!(rate.taken(0, start + most * WINDOW).is_err());
    }
}
