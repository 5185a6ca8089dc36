//! What a client's thread and a worker hand each other in process, beside the bytes on the socket.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Mutex;

use crate::api::{Call, Later, ResultCode};
use crate::ops::latch::lock;
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
    /// Answer a request that has just been read.
    Begin(IpAddr),
    /// Carry on with one that has waited.
    Resume(Box<Call>, Later),
}

/// What came of it.
pub(super) enum Outcome {
    /// The reply on the socket is the answer.
    Answered {
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

#[derive(Default)]
struct Place {
    serial: u64,
    step: Option<Step>,
    outcome: Option<Outcome>,
}

/// One place for each line, used by one exchange at a time.
pub(super) struct Exchanges(Vec<Mutex<Place>>);

impl Exchanges {
    /// `lines` empty places.
    pub(super) fn new(lines: usize) -> Exchanges {
        Exchanges((0..lines).map(|_| Mutex::default()).collect())
    }

    /// Lays a step down for a worker; what an earlier exchange left there is forgotten.
    pub(super) fn lay(&self, place: usize, step: Step) -> Id {
        let Some(cell) = self.0.get(place) else { return Id { place, serial: 0 } };
        let mut cell = lock(cell);
        let serial = cell.serial.wrapping_add(1);
        *cell = Place { serial, step: Some(step), outcome: None };
        Id { place, serial }
    }

    /// Takes the step up, once.
    pub(super) fn take_step(&self, id: Id) -> Option<Step> {
        self.with(id, |place| place.step.take())
    }

    /// Leaves the outcome; too late for its exchange, it is dropped, and with it an opened video.
    pub(super) fn settle(&self, id: Id, outcome: Outcome) {
        self.with(id, |place| {
            place.outcome = Some(outcome);
            None::<()>
        });
    }

    /// Takes the outcome, once.
    pub(super) fn take_outcome(&self, id: Id) -> Option<Outcome> {
        self.with(id, |place| place.outcome.take())
    }

    fn with<T>(&self, id: Id, act: impl FnOnce(&mut Place) -> Option<T>) -> Option<T> {
        let mut place = lock(self.0.get(id.place)?);
        if place.serial == id.serial { act(&mut place) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn answered() -> Outcome {
        Outcome::Answered { call: None, code: ResultCode::SUCCESS, download: None }
    }

    #[test]
    fn a_step_and_its_outcome_are_taken_once() {
        let exchanges = Exchanges::new(2);
        let id = exchanges.lay(1, Step::Begin(CLIENT));
        assert!(matches!(exchanges.take_step(id), Some(Step::Begin(CLIENT))));
        assert!(exchanges.take_step(id).is_none());
        exchanges.settle(id, answered());
        assert!(exchanges.take_outcome(id).is_some());
        assert!(exchanges.take_outcome(id).is_none());
    }

    #[test]
    fn a_late_worker_cannot_settle_the_next_exchange() {
        let exchanges = Exchanges::new(1);
        let late = exchanges.lay(0, Step::Begin(CLIENT));
        let next = exchanges.lay(0, Step::Begin(CLIENT));
        exchanges.settle(late, answered());
        assert!(exchanges.take_step(late).is_none());
        assert!(exchanges.take_outcome(next).is_none());
        assert!(exchanges.take_step(next).is_some());
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
