//! Sessions that a forced sign-in has ended, remembered for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::agent::AgentId;
use super::guid::Fingerprint;

/// Sessions remembered for one agent.
const SESSIONS_MAX: usize = 4;
/// Guids remembered of one session, its newest; a client that follows renewals has one of the last
/// two.
pub(super) const GUIDS_MAX: usize = 8;

/// The sessions that forced sign-ins ended lately, by agent.
///
/// Clients reuse their poll loop for the new session. They would take 100-006 on the poll that the
/// old session had parked for the end of the new one, so that poll is recognised and answered with
/// the empty body. A later request with a Guid of the old session gets 100-006 instead of 000-003.
///
/// At most 1.3 KB an agent, for agents that are forced in four times within `GUIDTIMEOUT`.
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

    /// Whether that session was replaced within the last `timeout`.
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

    /// Whether the Guid of that fingerprint was one of a session that was replaced within the last
    /// `timeout`. Compares with all of them, wherever the match is.
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

    /// Forgets what was replaced longer than `timeout` ago.
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
