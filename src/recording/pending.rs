//! An answer that another thread owes until a deadline.

use std::sync::Arc;
use std::time::Instant;

use crate::ops::latch::{Latch, Parcel};

/// The asker's end: an answer that comes in time, or the one that stands for its absence.
#[derive(Debug)]
pub struct Pending<T> {
    parcel: Arc<Parcel<T>>,
    deadline: Instant,
    otherwise: fn() -> T,
}

impl<T> Pending<T> {
    /// Both ends of an answer that is owed until `deadline` and is `otherwise` if it does not come.
    pub(super) fn until(deadline: Instant, otherwise: fn() -> T) -> (Promise<T>, Pending<T>) {
        let parcel = Arc::new(Parcel::default());
        (Promise { parcel: Some(Arc::clone(&parcel)), otherwise }, Pending { parcel, deadline, otherwise })
    }

    /// The latch that is raised once the answer is there; it may never be.
    pub fn delivered(&self) -> &Arc<Latch> {
        self.parcel.delivered()
    }

    /// When to stop waiting.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for the answer, at most until the deadline.
    pub fn wait(self) -> T {
        self.parcel.delivered().wait_until(self.deadline);
        self.take()
    }

    /// The answer if it is there, else the one that stands for its absence.
    ///
    /// A later answer is dropped by the thread that owed it.
    pub fn take(self) -> T {
        self.parcel.take().unwrap_or_else(self.otherwise)
    }
}

/// The answering end. Dropped without an answer, by a refusal or a panic, it delivers the absent one.
#[derive(Debug)]
pub(super) struct Promise<T> {
    parcel: Option<Arc<Parcel<T>>>,
    otherwise: fn() -> T,
}

impl<T> Promise<T> {
    /// Delivers the answer.
    pub(super) fn keep(mut self, answer: T) {
        if let Some(parcel) = self.parcel.take() {
            parcel.deliver(answer);
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel.take() {
            parcel.deliver((self.otherwise)());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn an_answer_in_time_is_given_and_a_dropped_promise_is_its_absence() {
        let (promise, pending) = Pending::until(soon(), || 0);
        promise.keep(7);
        assert_eq!(pending.wait(), 7);
        let (promise, pending) = Pending::until(soon(), || 0);
        drop(promise);
        assert_eq!(pending.wait(), 0);
    }

    #[test]
    fn nobody_waits_beyond_the_deadline_and_a_late_answer_is_dropped_where_it_was_made() {
        let (promise, pending) = Pending::until(Instant::now(), || None);
        assert_eq!(pending.wait(), None);
        let answer = Arc::new(());
        promise.keep(Some(Arc::clone(&answer)));
        assert_eq!(Arc::strong_count(&answer), 1);
    }
}
