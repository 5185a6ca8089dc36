//! What a client's thread and a worker hand each other in process: the client's thread the step to be carried out,
//! whose number travels over the socket, and the worker what came of it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::api::{Call, Later, ResultCode};
use crate::ops::latch::{left, lock};
use crate::recording::Download;

/// Names one exchange: the line it travels on and a serial number, so that a worker that comes too late
/// cannot settle the exchange that has taken the line over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) place: usize,
    pub(super) serial: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.serial)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Id, ()> {
        let (place, serial) = text.split_once('.').ok_or(())?;
        Ok(Id { place: place.parse().map_err(drop)?, serial: serial.parse().map_err(drop)? })
    }
}

/// What a worker is to do.
pub(super) enum Step {
    /// Show that it is there.
    Greet,
    /// Answer a request that has just been read.
    Begin(IpAddr),
    /// Carry on with one that has waited.
    Resume(Box<Call>, Later),
}

/// What came of it.
pub(super) enum Outcome {
    /// A worker is there.
    Greeted,
    /// There is an answer.
    Answered {
        /// tiny_http's reply, as it would go over the socket.
        reply: Vec<u8>,
        /// What was asked for, unless the worker lost it in a panic.
        call: Option<Box<Call>>,
        /// The answer's result code.
        code: ResultCode,
        /// The opened video that follows the reply.
        download: Option<Box<Download>>,
    },
    /// There is no answer yet; the client's thread waits, and the worker is free.
    Waiting(Box<Call>, Later),
}

/// One place for each line, used by one exchange at a time.
pub(super) struct Exchanges(Vec<Place>);

#[derive(Default)]
struct Place {
    exchange: Mutex<Exchange>,
    settled: Condvar,
}

#[derive(Default)]
struct Exchange {
    serial: u64,
    step: Option<Step>,
    outcome: Option<Outcome>,
}

impl Exchanges {
    /// `lines` empty places.
    pub(super) fn new(lines: usize) -> Exchanges {
        Exchanges((0..lines).map(|_| Place::default()).collect())
    }

    /// Lays a step down for a worker; what an earlier exchange left there is forgotten.
    pub(super) fn lay(&self, place: usize, step: Step) -> Id {
        let Some(cell) = self.0.get(place) else { return Id { place, serial: 0 } };
        let mut exchange = lock(&cell.exchange);
        let serial = exchange.serial.wrapping_add(1);
        *exchange = Exchange { serial, step: Some(step), outcome: None };
        Id { place, serial }
    }

    /// Takes the step up, once.
    pub(super) fn take_step(&self, id: Id) -> Option<Step> {
        self.present(id)?.step.take()
    }

    /// Whether no worker has taken the step up yet.
    pub(super) fn is_untouched(&self, id: Id) -> bool {
        self.present(id).is_some_and(|exchange| exchange.step.is_some())
    }

    /// Ends an exchange that nobody waits for any more. Gives the step back if no worker has taken it up; what a
    /// worker leaves from now on is dropped.
    pub(super) fn give_up(&self, id: Id) -> Option<Step> {
        let mut exchange = self.present(id)?;
        let serial = exchange.serial.wrapping_add(1);
        std::mem::replace(&mut *exchange, Exchange { serial, ..Exchange::default() }).step
    }

    /// Leaves the outcome and wakes the thread that waits for it; too late for its exchange, it is dropped, and with
    /// it an opened video.
    pub(super) fn settle(&self, id: Id, outcome: Outcome) {
        let Some(mut exchange) = self.present(id) else { return };
        exchange.outcome = Some(outcome);
        // Woken with the lock held, it would only wait again.
        drop(exchange);
        if let Some(place) = self.0.get(id.place) {
            place.settled.notify_one();
        }
    }

    /// Takes the outcome, once, waiting for it until `deadline`.
    pub(super) fn take_outcome(&self, id: Id, deadline: Instant) -> Option<Outcome> {
        let place = self.0.get(id.place)?;
        let mut exchange = lock(&place.exchange);
        while exchange.serial == id.serial {
            if let Some(outcome) = exchange.outcome.take() {
                return Some(outcome);
            }
            let left = left(deadline)?;
            exchange = place.settled.wait_timeout(exchange, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    /// The exchange, unless its place has gone on to another.
    fn present(&self, id: Id) -> Option<MutexGuard<'_, Exchange>> {
        let exchange = lock(&self.0.get(id.place)?.exchange);
        (exchange.serial == id.serial).then_some(exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn answered() -> Outcome {
        Outcome::Answered { reply: Vec::new(), call: None, code: ResultCode::SUCCESS, download: None }
    }

    #[test]
    fn a_step_and_its_outcome_are_taken_once() {
        let exchanges = Exchanges::new(2);
        let id = exchanges.lay(1, Step::Begin(CLIENT));
        assert!(matches!(exchanges.take_step(id), Some(Step::Begin(CLIENT))));
        assert!(exchanges.take_step(id).is_none());
        exchanges.settle(id, answered());
        assert!(exchanges.take_outcome(id, Instant::now()).is_some());
        assert!(exchanges.take_outcome(id, Instant::now()).is_none());
    }

    #[test]
    fn a_late_worker_cannot_settle_the_next_exchange() {
        let exchanges = Exchanges::new(1);
        let late = exchanges.lay(0, Step::Begin(CLIENT));
        let next = exchanges.lay(0, Step::Begin(CLIENT));
        exchanges.settle(late, answered());
        assert!(exchanges.take_step(late).is_none());
        assert!(exchanges.take_outcome(next, Instant::now()).is_none());
        assert!(exchanges.take_step(next).is_some());
    }

    #[test]
    fn what_was_given_up_is_not_taken_up_and_not_kept() {
        let exchanges = Exchanges::new(1);
        let id = exchanges.lay(0, Step::Begin(CLIENT));
        assert!(matches!(exchanges.give_up(id), Some(Step::Begin(CLIENT))));
        assert!(exchanges.take_step(id).is_none());
        let late = exchanges.lay(0, Step::Greet);
        assert!(exchanges.is_untouched(late) && !exchanges.is_untouched(id));
        assert!(exchanges.take_step(late).is_some());
        assert!(!exchanges.is_untouched(late));
        assert!(exchanges.give_up(late).is_none(), "a worker has it");
        exchanges.settle(late, answered());
        assert!(lock(&exchanges.0[0].exchange).outcome.is_none());
        assert!(exchanges.give_up(late).is_none());
    }

    #[test]
    fn ids_survive_the_socket_and_nonsense_does_not() {
        let id = Id { place: 7, serial: 123 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for nonsense in ["", ".", "1", "1.", "a.b", "-1.2", "1.2.3"] {
            assert_eq!(nonsense.parse::<Id>(), Err(()), "{nonsense}");
        }
        assert!(Exchanges::new(1).take_step(Id { place: 5, serial: 1 }).is_none());
    }
}
