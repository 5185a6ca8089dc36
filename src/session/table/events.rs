//! Events of a session, and the polls that wait for them.

use std::time::Instant;

use super::super::agent::AgentId;
use super::super::event::Event;
use super::super::parked_polls::Wake;
use super::{SessionId, SessionTable};

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PollOutcome {
    /// This event, taken from the queue.
    Event(Event),
    /// The empty body.
    Empty,
    /// The empty body, because a forced sign-in has replaced the session and the client keeps
    /// polling with the new one. Best delayed, so that the client has its new Guid first.
    Replaced,
    /// 100-006: the session is over.
    Ended,
}

/// What happened to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// It was queued.
    Queued,
    /// It was queued, and the oldest one dropped for it.
    OldestDropped,
    /// It was dropped: the queue was full of newer ones.
    Dropped,
    /// There is no such session.
    NoSession,
}

impl SessionTable {
    /// Parks a poll of that session, until an event comes or the session ends.
    ///
    /// If it need not wait (an event is queued, the session is over, the service drains), `waker`
    /// is woken immediately. With too many polls in a session, the oldest is woken without an
    /// event.
    pub(crate) fn park(
        &self,
        agent: AgentId,
        session: SessionId,
        waker: Box<dyn Wake>,
        now: Instant,
    ) {
        self.with_state(|state| {
            let is_draining = state.is_draining;
            let mut woken = std::mem::take(&mut state.woken);
            let mut dropped = 0;
            match state.session(agent, session, &self.policy, now) {
                Some(session) if !is_draining => {
                    session.queue_due_events(now, &mut dropped);
                    match session.events.is_empty() {
                        true => session.parked.park(waker, &mut woken),
                        false => woken.push(waker),
                    }
                }
                _ => woken.push(waker),
            }
            state.woken.append(&mut woken);
            state.dropped += dropped;
        });
    }

    /// The current answer to a poll of that session. Keeps the session alive, as the client was
    /// connected while the poll was parked.
    pub(crate) fn poll_outcome(
        &self,
        agent: AgentId,
        session: SessionId,
        now: Instant,
    ) -> PollOutcome {
        self.with_state(|state| {
            let mut dropped = 0;
            if let Some(session) = state.session(agent, session, &self.policy, now) {
                session.last_seen = session.last_seen.max(now);
                session.queue_due_events(now, &mut dropped);
                let outcome = session
                    .events
                    .pop()
                    .map_or(PollOutcome::Empty, PollOutcome::Event);
                state.dropped += dropped;
                return outcome;
            }
            match state
                .replaced
                .contains(agent, session, self.policy.guid_timeout, now)
            {
                true => PollOutcome::Replaced,
                false => PollOutcome::Ended,
            }
        })
    }

    /// Queues an event for `session`, or with `None` for any session of `agent`, and wakes a parked
    /// poll. Beyond 64 events the oldest is dropped.
    pub(crate) fn push_event(
        &self,
        agent: AgentId,
        session: Option<SessionId>,
        event: Event,
        now: Instant,
    ) -> PushOutcome {
        self.with_state(|state| {
            let open = state.open(agent, &self.policy, now).map(|open| open.id);
            match open
                .filter(|open| session.is_none_or(|wanted| wanted == *open))
                .and_then(|_| state.push(agent, event))
            {
                Some(None) => PushOutcome::Queued,
                Some(Some(_)) => PushOutcome::OldestDropped,
                None => PushOutcome::NoSession,
            }
        })
    }

    /// Puts back an event from [`poll_outcome`](Self::poll_outcome) that could not be delivered. It
    /// is the next one again, and wakes a parked poll.
    pub(crate) fn requeue_front(
        &self,
        agent: AgentId,
        session: SessionId,
        event: Event,
        now: Instant,
    ) -> PushOutcome {
        self.with_state(|state| {
            let mut woken = std::mem::take(&mut state.woken);
            let outcome = match state.session(agent, session, &self.policy, now) {
                Some(session) => {
                    let dropped = session.events.push_front(event);
                    session.parked.take_newest(&mut woken);
                    if dropped.is_some() {
                        PushOutcome::Dropped
                    } else {
                        PushOutcome::Queued
                    }
                }
                None => PushOutcome::NoSession,
            };
            state.woken.append(&mut woken);
            state.dropped += u64::from(outcome == PushOutcome::Dropped);
            outcome
        })
    }

    /// Events dropped from full queues so far.
    pub(crate) fn dropped_events(&self) -> u64 {
        self.with_state(|state| state.dropped)
    }
}
