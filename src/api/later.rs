//! Answers that are not there yet.
//!
//! A poll without events, a password check, a file server that has to be asked, a refusal that is held
//! back: none of them may hold a worker. The interface answers [`Answer::Later`], the worker is free, the
//! client's own thread waits, and the request goes to a worker again to be finished.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::gateway::{Call, Gateway};
use super::reply::Reply;
use crate::ops::latch::Latch;
use crate::recording::Download;

/// What an interface answers.
#[derive(Debug)]
pub enum Answer {
    /// The whole answer.
    Reply(Reply),
    /// The head of the answer, and the video that follows it.
    Download(Reply, Box<Download>),
    /// No answer yet.
    Later(Later),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}

type Finish = Box<dyn FnOnce(&Gateway, &Call) -> Answer + Send>;

/// The rest of a request that waits.
pub struct Later {
    until: Instant,
    wake: Option<Arc<Latch>>,
    parked: bool,
    finish: Finish,
}

impl Later {
    /// Finishes when `wake` is raised, or at `until` all the same.
    pub(super) fn when(
        wake: Arc<Latch>,
        until: Instant,
        finish: impl FnOnce(&Gateway, &Call) -> Answer + Send + 'static,
    ) -> Later {
        Later { until, wake: Some(wake), parked: false, finish: Box::new(finish) }
    }

    /// Finishes at `until`.
    pub(crate) fn at(until: Instant, finish: impl FnOnce(&Gateway, &Call) -> Answer + Send + 'static) -> Later {
        Later { until, wake: None, parked: false, finish: Box::new(finish) }
    }

    /// Counts as a parked poll while it waits.
    pub(super) fn parked(self) -> Later {
        Later { parked: true, ..self }
    }

    /// Blocks the client's thread until the answer can be finished.
    pub fn wait(&self, gateway: &Gateway) {
        let counters = gateway.counters();
        let _waiting = counters.waiting.hold();
        let _parked = self.parked.then(|| counters.parked_polls.hold());
        match &self.wake {
            Some(wake) => wake.wait_until(self.until),
            None => Latch::new().wait_until(self.until),
        };
    }

    /// Finishes the answer; it may turn out to have to wait again.
    pub(super) fn finish(self, gateway: &Gateway, call: &Call) -> Answer {
        (self.finish)(gateway, call)
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("until", &self.until).field("parked", &self.parked).finish_non_exhaustive()
    }
}
