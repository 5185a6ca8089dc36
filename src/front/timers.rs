//! When to look at which connection again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::home::Key;

/// The deadlines of an I/O thread's connections.
///
/// A deadline that moves away, as that of a connection does with each request, moves nothing here: the timer that is
/// there goes off, its owner looks at the deadline of now and sets it anew. So the heap grows by deadlines that come
/// closer alone, and a connection has few timers at a time.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, Key)>>);

impl Timers {
    /// Goes off at `at`.
    pub(super) fn set(&mut self, at: Instant, key: Key) {
        self.0.push(Reverse((at, key)));
    }

    /// When the next timer goes off.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// The next timer that has gone off.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(Instant, Key)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timers_go_off_in_their_order_and_not_before() {
        let mut timers = Timers::default();
        let start = Instant::now();
        let key = |index| Key { index, generation: 1 };
        for (second, index) in [(3, 3), (1, 1), (2, 2)] {
            timers.set(start + Duration::from_secs(second), key(index));
        }
        assert_eq!(timers.pop_expired(start), None);
        let expired: Vec<_> = std::iter::from_fn(|| timers.pop_expired(start + Duration::from_secs(2)))
            .map(|(_, key)| key.index)
            .collect();
        assert_eq!(expired, [1, 2]);
        assert_eq!(timers.next(), Some(start + Duration::from_secs(3)));
    }
}
