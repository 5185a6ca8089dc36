//! The state behind the lock of the table.

use std::collections::HashMap;
use std::time::Instant;

use super::super::agent::AgentId;
use super::super::agent_state::Presence;
use super::super::event::Event;
use super::super::event_queue::EventQueue;
use super::super::guid_history::{GuidHistory, Policy};
use super::super::parked_polls::{ParkedPolls, Wake};
use super::super::replaced_sessions::ReplacedSessions;
use super::SessionId;

/// The state behind the lock.
#[derive(Default)]
pub(super) struct State {
    pub(super) sessions: HashMap<AgentId, Session>,
    pub(super) replaced: ReplacedSessions<SessionId>,
    /// Polls to wake or drop once the lock is released.
    pub(super) woken: Vec<Box<dyn Wake>>,
    pub(super) is_draining: bool,
    /// Events dropped from full queues.
    pub(super) dropped: u64,
    begun: u64,
}

/// An open session.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) signed_in: Instant,
    pub(super) last_seen: Instant,
    pub(super) guids: GuidHistory,
    pub(super) presence: Presence,
    pub(super) events: EventQueue,
    pub(super) parked: ParkedPolls,
}

impl State {
    /// The open session of `agent`; ends it if it has expired.
    pub(super) fn open(
        &mut self,
        agent: AgentId,
        policy: &Policy,
        now: Instant,
    ) -> Option<&mut Session> {
        if self.sessions.get(&agent)?.is_expired(policy, now) {
            self.end(agent);
        }
        self.sessions.get_mut(&agent)
    }

    /// The open sessions with their agents, in no order.
    pub(super) fn open_sessions(
        &self,
        policy: &Policy,
        now: Instant,
    ) -> impl Iterator<Item = (&AgentId, &Session)> {
        self.sessions
            .iter()
            .filter(move |(_, session)| !session.is_expired(policy, now))
    }

    /// This session of `agent`, if it is open.
    pub(super) fn session(
        &mut self,
        agent: AgentId,
        id: SessionId,
        policy: &Policy,
        now: Instant,
    ) -> Option<&mut Session> {
        self.open(agent, policy, now)
            .filter(|session| session.id == id)
    }

    /// Begins a session for an agent that has none.
    pub(super) fn begin(
        &mut self,
        agent: AgentId,
        guids: GuidHistory,
        presence: Presence,
        now: Instant,
    ) -> SessionId {
        self.begun += 1;
        let id = SessionId(self.begun);
        let mut events = EventQueue::default();
        presence
            .sign_in_events()
            .for_each(|event| drop(events.push(event)));
        let parked = ParkedPolls::default();
        self.sessions.insert(
            agent,
            Session {
                id,
                signed_in: now,
                last_seen: now,
                guids,
                presence,
                events,
                parked,
            },
        );
        id
    }

    /// Ends the session of `agent`, if it has one.
    pub(super) fn end(&mut self, agent: AgentId) -> Option<Session> {
        let mut session = self.sessions.remove(&agent)?;
        session.parked.take_all(&mut self.woken);
        Some(session)
    }

    /// Ends the session of `agent` for a forced sign-in, and remembers it as replaced.
    pub(super) fn replace(&mut self, agent: AgentId, now: Instant) {
        if let Some(session) = self.end(agent) {
            self.replaced
                .remember(agent, session.id, session.guids.fingerprints(), now);
        }
    }

    /// Queues an event and wakes one poll of the session; returns the event dropped for it, if any.
    /// `None` if there is no session.
    pub(super) fn push(&mut self, agent: AgentId, event: Event) -> Option<Option<Event>> {
        let session = self.sessions.get_mut(&agent)?;
        let dropped = session.events.push(event);
        self.dropped += u64::from(dropped.is_some());
        session.parked.take_newest(&mut self.woken);
        Some(dropped)
    }

    /// See [`SessionTable::sweep`](super::SessionTable::sweep).
    pub(super) fn sweep(&mut self, policy: &Policy, now: Instant) -> usize {
        let State {
            sessions,
            woken,
            dropped,
            ..
        } = self;
        let before = sessions.len();
        sessions.retain(|_, session| {
            let ends = session.is_expired(policy, now);
            if ends {
                session.parked.take_all(woken);
            } else if session.queue_due_events(now, dropped) {
                session.parked.take_newest(woken);
            }
            !ends
        });
        self.replaced.sweep(policy.guid_timeout, now);
        before - self.sessions.len()
    }

    /// See [`SessionTable::begin_drain`](super::SessionTable::begin_drain).
    pub(super) fn begin_drain(&mut self) {
        self.is_draining = true;
        for session in self.sessions.values_mut() {
            session.parked.take_all(&mut self.woken);
        }
    }
}

impl Session {
    /// Whether the agent has been idle for too long.
    pub(super) fn is_expired(&self, policy: &Policy, now: Instant) -> bool {
        policy
            .idle_timeout
            .is_some_and(|timeout| now.saturating_duration_since(self.last_seen) >= timeout)
    }

    /// Queues a due event; false if there is none. Adds to `dropped` if an older one had to make
    /// room.
    pub(super) fn queue_due_events(&mut self, now: Instant, dropped: &mut u64) -> bool {
        let Some(event) = self.presence.rest_timeout(now) else {
            return false;
        };
        *dropped += u64::from(self.events.push(event).is_some());
        true
    }
}
