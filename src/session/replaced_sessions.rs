//! Sessions recently ended by a forced sign-in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::agent::AgentId;
use super::guid::Fingerprint;

/// Sessions remembered per agent.
const SESSIONS_MAX: usize = 4;
/// Newest Guids remembered per session; a client that follows renewals has one of the last two.
pub(super) const GUIDS_MAX: usize = 8;

/// The sessions recently ended by forced sign-ins, by agent.
///
/// Clients reuse their poll loop for the new session, and would take 100-006 on a parked poll of
/// the old session for the end of the new one. So such a poll gets the empty body, and later
/// requests with a Guid of the old session get 100-006 instead of 000-003.
///
/// At most 1.3 KB per agent, with four forced sign-ins within `GUIDTIMEOUT`.
#[derive(Debug)]
pub(super) struct ReplacedSessions<Id> {
    agents: HashMap<AgentId, Vec<Replaced<Id>>>,
}

#[derive(Debug)]
struct Replaced<Id> {
    session: Id,
    guids: Box<[Fingerprint]>,
    replaced_at: Instant,
}

impl<Id> Default for ReplacedSessions<Id> {
    fn default() -> ReplacedSessions<Id> {
        ReplacedSessions {
            agents: HashMap::new(),
        }
    }
}

impl<Id: Copy + PartialEq> ReplacedSessions<Id> {
    /// Remembers a session with its Guids, the newest last.
    pub(super) fn remember(
        &mut self,
        agent: AgentId,
        session: Id,
        guids: impl DoubleEndedIterator<Item = Fingerprint>,
        now: Instant,
    ) {
        let sessions = self.agents.entry(agent).or_default();
        if sessions.len() >= SESSIONS_MAX {
            sessions.remove(0);
        }
        sessions.reserve_exact(1);
        sessions.push(Replaced {
            session,
            guids: guids.rev().take(GUIDS_MAX).collect(),
            replaced_at: now,
        });
    }

    /// Whether the session was replaced within the last `timeout`.
    pub(super) fn contains(
        &self,
        agent: AgentId,
        session: Id,
        timeout: Duration,
        now: Instant,
    ) -> bool {
        self.recent(agent, timeout, now)
            .any(|replaced| replaced.session == session)
    }

    /// Whether the fingerprint belongs to a session replaced within the last `timeout`. Compares
    /// all, for constant time.
    pub(super) fn had_guid(
        &self,
        agent: AgentId,
        fingerprint: &Fingerprint,
        timeout: Duration,
        now: Instant,
    ) -> bool {
        let guids = self
            .recent(agent, timeout, now)
            .flat_map(|replaced| &replaced.guids);
        guids.fold(false, |had, guid| had | (guid == fingerprint))
    }

    /// Forgets sessions replaced longer than `timeout` ago.
    pub(super) fn sweep(&mut self, timeout: Duration, now: Instant) {
        self.agents.retain(|_, sessions| {
            sessions.retain(|replaced| replaced.is_recent(timeout, now));
            !sessions.is_empty()
        });
    }

    fn recent(
        &self,
        agent: AgentId,
        timeout: Duration,
        now: Instant,
    ) -> impl Iterator<Item = &Replaced<Id>> {
        let sessions = self.agents.get(&agent).into_iter().flatten();
        sessions.filter(move |replaced| replaced.is_recent(timeout, now))
    }
}

impl<Id> Replaced<Id> {
    fn is_recent(&self, timeout: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.replaced_at) < timeout
    }
}

#[cfg(test)]
mod tests {
    use super::super::guid::Guid;
    use super::*;

    #[test]
    fn the_last_sessions_of_an_agent_are_remembered_for_a_while() {
        let agent = AgentId::parse("101", 999).unwrap();
        let (start, timeout) = (Instant::now(), Duration::from_secs(120));
        let guids: Vec<_> = (0..10)
            .map(|_| Guid::generate("a").unwrap().fingerprint())
            .collect();
        let mut replaced = ReplacedSessions::default();
        for session in 0..5 {
            replaced.remember(agent, session, guids.iter().copied(), start);
        }
        let known: Vec<_> = (0..5)
            .map(|session| replaced.contains(agent, session, timeout, start))
            .collect();
        assert_eq!(known, [false, true, true, true, true]);
        let had: Vec<_> = guids
            .iter()
            .map(|guid| replaced.had_guid(agent, guid, timeout, start))
            .collect();
        assert_eq!(had, [vec![false; 2], vec![true; GUIDS_MAX]].concat());
        let other = AgentId::parse("102", 999).unwrap();
        assert!(
            !replaced.had_guid(other, &guids[9], timeout, start)
                && !replaced.contains(other, 4, timeout, start)
        );
        let later = start + timeout;
        assert!(
            !replaced.had_guid(agent, &guids[9], timeout, later)
                && !replaced.contains(agent, 4, timeout, later)
        );
        replaced.sweep(timeout, later);
        assert!(replaced.agents.is_empty());
    }
}
