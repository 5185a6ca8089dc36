//! Deferred answers.
//!
//! A poll without events, a password check, a file server request or a delayed refusal must not
//! hold a thread. The interface answers [`Answer::Deferred`], and the request waits in its slot
//! until it is completed: by the event or job through its [`Ticket`], or by the timer at the
//! deadline. Whoever comes later finds the slot empty.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::gateway::{Gateway, RequestContext};
use super::reply::Reply;
use crate::recording::Download;

/// What an interface answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The whole answer.
    Reply(Reply),
    /// The head of the answer, and the recording that follows it.
    Download(Reply, Box<Download>),
    /// No answer yet.
    Deferred(Deferred),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}

/// Completes a deferred request.
pub(crate) type Finish = Box<dyn FnOnce(&Gateway, &RequestContext) -> Answer + Send>;

/// Starts the work that a deferred request waits for.
pub(crate) type Start = Box<dyn FnOnce(&Gateway, Ticket) + Send>;

/// A request whose answer is deferred.
pub(crate) struct Deferred {
    /// Deadline, at which `on_timeout` completes it.
    pub(crate) until: Instant,
    /// Whether it counts as a parked poll while it waits.
    pub(crate) is_poll: bool,
    /// Completes the request at the deadline, or when its [`Ticket`] is dropped unused.
    pub(crate) on_timeout: Finish,
    /// Starts the work. Called once the request is in its slot, since the work may finish
    /// immediately.
    pub(crate) start: Start,
}

impl Deferred {
    /// Waits for the work that `start` begins, until `until` at most.
    pub(super) fn until_event(
        until: Instant,
        on_timeout: impl FnOnce(&Gateway, &RequestContext) -> Answer + Send + 'static,
        start: impl FnOnce(&Gateway, Ticket) + Send + 'static,
    ) -> Deferred {
        Deferred {
            until,
            is_poll: false,
            on_timeout: Box::new(on_timeout),
            start: Box::new(start),
        }
    }

    /// Waits until `until`.
    pub(super) fn until(
        until: Instant,
        on_timeout: impl FnOnce(&Gateway, &RequestContext) -> Answer + Send + 'static,
    ) -> Deferred {
        Deferred::until_event(until, on_timeout, |_, ticket| ticket.detach())
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("until", &self.until)
            .field("is_poll", &self.is_poll)
            .finish_non_exhaustive()
    }
}

/// Identifies one waiting request. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotId {
    /// Index in the slot table.
    pub(crate) index: u32,
    /// Distinguishes the requests that have used this index.
    pub(crate) generation: u32,
}

/// The slots that requests wait in, owned by the layer above.
pub(crate) trait Slots: Send + Sync {
    /// Takes the request out of its slot and completes it with `finish`, or as at its deadline.
    /// Does nothing if the slot is empty.
    fn complete(&self, slot: SlotId, finish: Option<Finish>);
    /// Whether the request still waits.
    fn is_waiting(&self, slot: SlotId) -> bool;
}

/// The right to complete a waiting request. Dropped unused, it completes the request as its
/// deadline would.
pub(crate) struct Ticket {
    slots: Option<Arc<dyn Slots>>,
    slot: SlotId,
}

impl Ticket {
    pub(crate) fn new(slots: Arc<dyn Slots>, slot: SlotId) -> Ticket {
        Ticket {
            slots: Some(slots),
            slot,
        }
    }

    /// Completes the request, unless it is completed already.
    pub(crate) fn complete(
        mut self,
        finish: impl FnOnce(&Gateway, &RequestContext) -> Answer + Send + 'static,
    ) {
        if let Some(slots) = self.slots.take() {
            slots.complete(self.slot, Some(Box::new(finish)));
        }
    }

    /// Whether the request still waits; its client may have left, or its deadline passed.
    pub(crate) fn is_live(&self) -> bool {
        self.slots
            .as_ref()
            .is_some_and(|slots| slots.is_waiting(self.slot))
    }

    /// Like [`is_live`](Ticket::is_live), usable after the ticket is.
    pub(crate) fn liveness(&self) -> impl Fn() -> bool + Send + 'static {
        let (slots, slot) = (self.slots.clone(), self.slot);
        move || slots.as_ref().is_some_and(|slots| slots.is_waiting(slot))
    }

    /// Leaves the request to its deadline.
    fn detach(mut self) {
        self.slots = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(slots) = self.slots.take() {
            slots.complete(self.slot, None);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots without waiting requests.
    struct Empty;

    impl Slots for Empty {
        fn complete(&self, _slot: SlotId, _finish: Option<Finish>) {}

        fn is_waiting(&self, _slot: SlotId) -> bool {
            false
        }
    }

    #[test]
    fn what_waits_is_logged_with_its_deadline_and_its_slot() {
        let deferred = Deferred::until(Instant::now(), |_, _| Reply::empty().into());
        let shown = format!("{deferred:?}");
        assert!(shown.starts_with("Deferred { until: Instant"), "{shown}");
        assert!(shown.ends_with("is_poll: false, .. }"), "{shown}");
        let slot = SlotId {
            index: 7,
            generation: 3,
        };
        assert_eq!(
            format!("{:?}", Ticket::new(Arc::new(Empty), slot)),
            "Ticket { slot: SlotId { index: 7, generation: 3 }, .. }"
        );
    }
}
