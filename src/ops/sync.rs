//! Helpers for locks and waiting, and a latch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Locks `mutex` even if a thread panicked while holding it.
///
/// Every structure behind a lock is changed in single steps that leave it consistent, and workers
/// contain panics, so there is no reason to stop for a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condvar` while `condition` holds, at most until `deadline`.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Instant,
    condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    let timeout = deadline.saturating_duration_since(Instant::now());
    condvar
        .wait_timeout_while(guard, timeout, condition)
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

/// A condition that becomes true once and stays so. Any number of threads may wait for it.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    is_set: Mutex<bool>,
    condvar: Condvar,
}

impl Latch {
    /// Sets the latch and wakes every waiter.
    pub(crate) fn set(&self) {
        *lock(&self.is_set) = true;
        self.condvar.notify_all();
    }

    /// Whether the latch is set.
    pub(crate) fn is_set(&self) -> bool {
        *lock(&self.is_set)
    }

    /// Waits until the latch is set or `deadline` has passed; returns whether it is set.
    pub(crate) fn wait_until(&self, deadline: Instant) -> bool {
        let is_set = lock(&self.is_set);
        *wait_while(&self.condvar, is_set, deadline, |is_set| !*is_set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_raised_latch_lets_every_waiter_go() {
        let latch = Arc::new(Latch::default());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let latch = Arc::clone(&latch);
                std::thread::spawn(move || {
                    latch.wait_until(Instant::now() + Duration::from_secs(60))
                })
            })
            .collect();
        latch.set();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
        assert!(latch.is_set());
    }

    #[test]
    fn a_latch_that_nobody_raises_times_out() {
        assert!(!Latch::default().wait_until(Instant::now()));
    }
}
