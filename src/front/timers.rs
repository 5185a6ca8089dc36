//! Connection timers with a coarse resolution.

use std::time::{Duration, Instant};

use super::io_handle::Key;

/// Timers fire at multiples of this, never early. Thousands of polls end every second, and waking
/// for each of them would cost more than the answer.
const STEP: Duration = Duration::from_millis(10);
/// Number of distinct steps: 82 s, longer than an idle connection may last. A later timer fires at
/// the end of that time, and is set again.
const SLOTS: usize = 8192;

/// A timer wheel with the deadlines of an I/O thread's connections.
///
/// Postponing a deadline, as each request does, changes nothing here: the old timer fires, and its
/// owner checks the current deadline and sets it again.
#[derive(Debug)]
pub(super) struct Timers {
    started: Instant,
    /// The connections of each step, by step modulo `SLOTS`.
    slots: Vec<Vec<Key>>,
    /// A bit for each slot that is not empty.
    occupied: Vec<u64>,
    /// All steps up to this one have fired.
    done: u64,
    /// The next step with a timer.
    next: Option<u64>,
    /// Connections of the current step that are not returned yet.
    expired: Vec<Key>,
}

impl Timers {
    /// Without timers; `now` is step 0.
    pub(super) fn new(now: Instant) -> Timers {
        Timers {
            started: now,
            slots: vec![Vec::new(); SLOTS],
            occupied: vec![0; SLOTS / 64],
            done: 0,
            next: None,
            expired: Vec::new(),
        }
    }

    /// The step at which a timer for `at` fires.
    pub(super) fn step(&self, at: Instant) -> u64 {
        let steps = at
            .saturating_duration_since(self.started)
            .as_nanos()
            .div_ceil(STEP.as_nanos());
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        steps.clamp(self.done + 1, self.done + SLOTS as u64 - 1)
    }

    /// Sets a timer for that step.
    pub(super) fn set(&mut self, step: u64, key: Key) {
        let index = index(step);
        if let (Some(slot), Some(bits)) =
            (self.slots.get_mut(index), self.occupied.get_mut(index / 64))
        {
            slot.push(key);
            *bits |= 1 << (index % 64);
            self.next = Some(self.next.map_or(step, |next| next.min(step)));
        }
    }

    /// When the next timer fires.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next.map(|step| self.time(step))
    }

    /// The next expired timer and its step.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(u64, Key)> {
        if let Some(key) = self.expired.pop() {
            return Some((self.done, key));
        }
        let step = self.next.filter(|step| self.time(*step) <= now)?;
        let index = index(step);
        self.expired = std::mem::take(self.slots.get_mut(index)?);
        *self.occupied.get_mut(index / 64)? &= !(1 << (index % 64));
        self.done = step;
        self.next = self.find_next();
        self.expired.pop().map(|key| (step, key))
    }

    /// The first step after `done` that has a timer.
    fn find_next(&self) -> Option<u64> {
        let first = index(self.done);
        let words = self.occupied.len();
        // The word of the first slot is visited again at the end, for the bits before that slot.
        (0..=words).find_map(|offset| {
            let word = (first / 64 + offset) % words;
            let mask = match offset {
                0 => u64::MAX << (first % 64),
                _ if offset == words => !(u64::MAX << (first % 64)),
                _ => u64::MAX,
            };
            let bits = self.occupied.get(word)? & mask;
            let found = (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)?;
            Some(self.done + ((found + SLOTS - first) % SLOTS) as u64)
        })
    }

    fn time(&self, step: u64) -> Instant {
        let nanos = u64::try_from(STEP.as_nanos()).unwrap_or(u64::MAX);
        self.started + Duration::from_nanos(nanos.saturating_mul(step))
    }
}

fn index(step: u64) -> usize {
    usize::try_from(step % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(index: u32) -> Key {
        Key {
            index,
            generation: 1,
        }
    }

    fn set(timers: &mut Timers, at: Instant, index: u32) {
        let step = timers.step(at);
        timers.set(step, key(index));
    }

    fn expired(timers: &mut Timers, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| timers.pop_expired(now))
            .map(|(_, key)| key.index)
            .collect()
    }

    #[test]
    fn timers_go_off_in_their_order_and_not_before() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        for (second, index) in [(3, 3), (1, 1), (2, 2)] {
            set(&mut timers, start + Duration::from_secs(second), index);
        }
        assert_eq!(timers.pop_expired(start), None);
        assert_eq!(expired(&mut timers, start + Duration::from_secs(2)), [1, 2]);
        assert_eq!(timers.next(), Some(start + Duration::from_secs(3)));
    }

    #[test]
    fn timers_of_one_step_go_off_together() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        for micros in [10_001, 15_000, 20_000] {
            set(&mut timers, start + Duration::from_micros(micros), 0);
        }
        assert_eq!(timers.next(), Some(start + 2 * STEP));
        assert_eq!(expired(&mut timers, start + 2 * STEP), [0, 0, 0]);
        assert_eq!(timers.next(), None);
    }

    proptest! {
        /// Each timer expires once, not early, and at most one step late if it is within the
        /// horizon.
        #[test]
        fn none_is_lost_or_early(at in proptest::collection::vec(0..200_000_u64, 1..50), looks in proptest::collection::vec(1..30_000_u64, 1..50)) {
            let start = Instant::now();
            let mut timers = Timers::new(start);
            let due: Vec<Instant> = at.iter().map(|ms| start + Duration::from_millis(*ms)).collect();
            for (index, at) in (0..).zip(&due) {
                set(&mut timers, *at, index);
            }
            let mut gone = vec![0; due.len()];
            let mut now = start;
            for ms in looks.iter().chain(&[200_000; 4]) {
                now += Duration::from_millis(*ms);
                while let Some((_, key)) = timers.pop_expired(now) {
                    let index = key.index as usize;
                    // As an I/O thread does with a timer that is not due yet.
                    if due[index] > now {
                        set(&mut timers, due[index], key.index);
                    } else {
                        gone[index] += 1;
                    }
                }
                prop_assert!(due.iter().zip(&gone).all(|(due, gone)| *due + STEP > now || *gone == 1));
            }
            prop_assert!(gone.iter().all(|gone| *gone == 1));
        }
    }
}
