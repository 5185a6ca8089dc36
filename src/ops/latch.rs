//! Waiting without holding a worker: a latch that is raised once, and a parcel that arrives once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks `mutex` whether or not a thread panicked while holding it.
///
/// Every structure behind a lock here is changed in single steps that leave it whole, and a panic is
/// contained by the worker that met it, so poisoning carries no information worth stopping for.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left until `deadline`; `None` when nothing is.
pub fn left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

/// A condition that becomes true once and stays true; any number of threads may wait for it.
#[derive(Default)]
pub struct Latch {
    raised: Mutex<bool>,
    bell: Condvar,
    waiting: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Latch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Latch").field("raised", &self.raised).finish_non_exhaustive()
    }
}

impl Latch {
    /// A latch that is not raised yet.
    pub const fn new() -> Latch {
        Latch { raised: Mutex::new(false), bell: Condvar::new(), waiting: Mutex::new(Vec::new()) }
    }

    /// Raises the latch and wakes every waiter. Raising it again changes nothing.
    pub fn raise(&self) {
        *lock(&self.raised) = true;
        self.bell.notify_all();
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        waiting.into_iter().for_each(|then| then());
    }

    /// Calls `then` once the latch is raised, at once if it is.
    pub fn when_raised(&self, then: impl FnOnce() + Send + 'static) {
        let raised = lock(&self.raised);
        if !*raised {
            lock(&self.waiting).push(Box::new(then));
            return;
        }
        drop(raised);
        then();
    }

    /// Whether the latch has been raised.
    pub fn is_raised(&self) -> bool {
        *lock(&self.raised)
    }

    /// Waits until the latch is raised or `deadline` has passed; true if it was raised.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut raised = lock(&self.raised);
        while !*raised {
            let Some(left) = left(deadline) else {
                return false;
            };
            raised = self.bell.wait_timeout(raised, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// The result of a piece of work done on another thread, with the latch its receiver waits on.
#[derive(Debug)]
pub struct Parcel<T> {
    content: Mutex<Option<T>>,
    delivered: Arc<Latch>,
}

impl<T> Default for Parcel<T> {
    fn default() -> Parcel<T> {
        Parcel { content: Mutex::new(None), delivered: Arc::default() }
    }
}

impl<T> Parcel<T> {
    /// Puts the result in and wakes whoever waits for it.
    pub fn deliver(&self, content: T) {
        *lock(&self.content) = Some(content);
        self.delivered.raise();
    }

    /// Takes the result out; `None` if it has not arrived or was taken before.
    pub fn take(&self) -> Option<T> {
        lock(&self.content).take()
    }

    /// The latch that is raised when the result is there.
    pub fn delivered(&self) -> &Arc<Latch> {
        &self.delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_latch_lets_every_waiter_go() {
        let latch = Arc::new(Latch::new());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let latch = Arc::clone(&latch);
                std::thread::spawn(move || latch.wait_until(Instant::now() + Duration::from_secs(60)))
            })
            .collect();
        latch.raise();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
        assert!(latch.is_raised());
    }

    #[test]
    fn a_latch_that_nobody_raises_times_out() {
        assert!(!Latch::new().wait_until(Instant::now()));
    }

    #[test]
    fn a_parcel_is_taken_once() {
        let parcel = Parcel::default();
        assert_eq!(parcel.take(), None);
        parcel.deliver(7);
        assert!(parcel.delivered().is_raised());
        assert_eq!(parcel.take(), Some(7));
        assert_eq!(parcel.take(), None);
    }
}
