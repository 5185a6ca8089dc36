//! The table of open sessions: the one place that knows who is signed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::agent::AgentId;
use super::guid::{Fingerprint, Guid};
use super::guid_history::{GuidHistory, Policy};
use crate::ops::latch::{Latch, lock};

/// Tells a session from earlier and later ones of the same agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

/// A session that has begun.
#[derive(Debug)]
pub struct NewSession {
    /// The Guid for the client.
    pub guid: Guid,
    /// The session it belongs to.
    pub session: SessionId,
    /// Whether an earlier session of the agent ended for it.
    pub replaced: bool,
}

/// Why no session begins.
#[derive(Debug)]
pub enum SignInError {
    /// The agent has one (100-002).
    AlreadySignedIn,
    /// The system generator gave no Guid.
    Random(getrandom::Error),
}

/// A request that comes from a signed-in agent.
#[derive(Debug)]
pub struct Authenticated {
    /// The session of the agent.
    pub session: SessionId,
    /// When the session began.
    pub signed_in: Instant,
    /// Raised when the session ends and by [`SessionTable::wake_all`]: a parked poll is to answer now, by what
    /// [`SessionTable::still_open`] then says.
    pub answer_now: Arc<Latch>,
    guid: Fingerprint,
}

/// Why a request is not one of a signed-in agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// The agent has no session (100-006).
    NotSignedIn,
    /// It has one, but the Guid is missing, not of this session, or expired (000-003).
    NoRight,
}

/// The open sessions, at most one an agent, and the Guids that open them.
///
/// Every call takes the time as a parameter, takes the one lock for some hundred nanoseconds and makes Guids
/// outside it. A session that has been silent for too long counts as ended at that moment, whether or not
/// [`sweep`](Self::sweep) has come by.
#[derive(Debug)]
pub struct SessionTable {
    policy: Policy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<AgentId, Session>,
    begun: u64,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    signed_in: Instant,
    last_seen: Instant,
    guids: GuidHistory,
    answer_now: Arc<Latch>,
}

impl SessionTable {
    /// A table in which nobody is signed in.
    pub fn new(policy: Policy) -> SessionTable {
        SessionTable { policy, state: Mutex::default() }
    }

    /// Begins a session of `agent`, whose password the caller has checked. With `force` it takes the place of one
    /// the agent has.
    pub fn sign_in(&self, agent: AgentId, force: bool, now: Instant) -> Result<NewSession, SignInError> {
        let guid = Guid::generate(&self.policy.guid_suffix).map_err(SignInError::Random)?;
        let guids = GuidHistory::new(guid.fingerprint(), now);
        let mut state = lock(&self.state);
        let replaced = state.open(agent, &self.policy, now).is_some();
        if replaced && !force {
            return Err(SignInError::AlreadySignedIn);
        }
        state.begun += 1;
        let session = SessionId(state.begun);
        let answer_now = Arc::new(Latch::new());
        state.sessions.insert(agent, Session { id: session, signed_in: now, last_seen: now, guids, answer_now });
        Ok(NewSession { guid, session, replaced })
    }

    /// Whether a request for `agent` with the Guid of that fingerprint is one of its session; if so, the session
    /// has been heard. `None` is a missing Guid. A refused request does not keep a session alive.
    pub fn authenticate(
        &self,
        agent: AgentId,
        fingerprint: Option<&Fingerprint>,
        now: Instant,
    ) -> Result<Authenticated, AuthError> {
        let mut state = lock(&self.state);
        let session = state.open(agent, &self.policy, now).ok_or(AuthError::NotSignedIn)?;
        let guid =
            fingerprint.filter(|guid| session.guids.accepts(guid, &self.policy, now)).ok_or(AuthError::NoRight)?;
        session.last_seen = session.last_seen.max(now);
        Ok(Authenticated {
            session: session.id,
            signed_in: session.signed_in,
            answer_now: Arc::clone(&session.answer_now),
            guid: *guid,
        })
    }

    /// Whether that very session of `agent` goes on.
    pub fn still_open(&self, agent: AgentId, session: SessionId, now: Instant) -> bool {
        lock(&self.state).session(agent, session, &self.policy, now).is_some()
    }

    /// Notes that the agent is in touch, for instance at the end of a parked poll; false if the session is over.
    pub fn touch(&self, agent: AgentId, session: SessionId, now: Instant) -> bool {
        match lock(&self.state).session(agent, session, &self.policy, now) {
            Some(session) => {
                session.last_seen = session.last_seen.max(now);
                true
            }
            None => false,
        }
    }

    /// The Guid that the answer to a poll or handshake, admitted as `admitted`, is to carry, if one is due.
    ///
    /// In dynamic mode one is due when the Guid of the request is `guid_interval` old. A client that comes back
    /// with a Guid that was renewed has lost an answer or shares it; it gets another one after a while.
    pub fn renew_if_due(&self, agent: AgentId, admitted: &Authenticated, now: Instant) -> Option<Guid> {
        let due = |guids: &GuidHistory| guids.renewal_due(&admitted.guid, &self.policy, now);
        let renew = |guids: &mut GuidHistory, guid| guids.renew(&admitted.guid, guid, &self.policy, now);
        self.issue_if(agent, admitted.session, now, due, renew)
    }

    /// A new Guid for the session, in either mode (updateGuid); `None` if the session is over.
    ///
    /// The earlier ones go on as they would: in dynamic mode until their own expiry, otherwise until the session ends,
    /// because a client may have other windows, and vendor clients often keep the Guid of sign-in.
    pub fn update_guid(&self, agent: AgentId, session: SessionId, now: Instant) -> Option<Guid> {
        let issue = |guids: &mut GuidHistory, guid| guids.issue(guid, &self.policy, now);
        self.issue_if(agent, session, now, |_| true, issue)
    }

    /// Ends that very session of `agent`; false if it is over already.
    pub fn sign_out(&self, agent: AgentId, session: SessionId) -> bool {
        let mut state = lock(&self.state);
        state.sessions.get(&agent).is_some_and(|open| open.id == session) && state.sessions.remove(&agent).is_some()
    }

    /// Ends the sessions of all agents for which `keep` is false, as when the agents file was read again; their
    /// number. `keep` runs under the lock of the table.
    pub fn retain(&self, mut keep: impl FnMut(AgentId) -> bool) -> usize {
        lock(&self.state).remove_unless(|agent, _| keep(agent))
    }

    /// Ends the sessions that have been silent for too long, so that their polls and their memory go; their number.
    pub fn sweep(&self, now: Instant) -> usize {
        lock(&self.state).remove_unless(|_, session| !session.is_expired(&self.policy, now))
    }

    /// Lets every parked poll of the sessions there are answer now, and every later one of theirs; no session ends.
    /// For the end of the process: there is no way back.
    pub fn wake_all(&self) {
        let latches: Vec<_> =
            lock(&self.state).sessions.values().map(|session| Arc::clone(&session.answer_now)).collect();
        latches.iter().for_each(|latch| latch.raise());
    }

    /// How many agents are signed in.
    pub fn len(&self, now: Instant) -> usize {
        lock(&self.state).sessions.values().filter(|session| !session.is_expired(&self.policy, now)).count()
    }

    fn issue_if(
        &self,
        agent: AgentId,
        session: SessionId,
        now: Instant,
        due: impl Fn(&GuidHistory) -> bool,
        issue: impl FnOnce(&mut GuidHistory, Fingerprint),
    ) -> Option<Guid> {
        if !lock(&self.state).session(agent, session, &self.policy, now).is_some_and(|session| due(&session.guids)) {
            return None;
        }
        let guid = Guid::generate(&self.policy.guid_suffix)
            .inspect_err(|error| log::error!("agent {agent} gets no new Guid: the system generator failed: {error}"))
            .ok()?;
        let fingerprint = guid.fingerprint();
        let mut state = lock(&self.state);
        let session = state.session(agent, session, &self.policy, now)?;
        // Asked again: another answer may have renewed the Guid meanwhile.
        due(&session.guids).then(|| issue(&mut session.guids, fingerprint))?;
        Some(guid)
    }
}

impl State {
    /// The open session of `agent`; one that is silent ends here.
    fn open(&mut self, agent: AgentId, policy: &Policy, now: Instant) -> Option<&mut Session> {
        if self.sessions.get(&agent)?.is_expired(policy, now) {
            self.sessions.remove(&agent);
        }
        self.sessions.get_mut(&agent)
    }

    fn session(&mut self, agent: AgentId, id: SessionId, policy: &Policy, now: Instant) -> Option<&mut Session> {
        self.open(agent, policy, now).filter(|session| session.id == id)
    }

    fn remove_unless(&mut self, mut keep: impl FnMut(AgentId, &Session) -> bool) -> usize {
        let before = self.sessions.len();
        self.sessions.retain(|agent, session| keep(*agent, session));
        before - self.sessions.len()
    }
}

impl Session {
    fn is_expired(&self, policy: &Policy, now: Instant) -> bool {
        policy.idle_timeout.is_some_and(|limit| now.saturating_duration_since(self.last_seen) >= limit)
    }
}

/// However a session ends, its parked polls learn it at that moment.
impl Drop for Session {
    fn drop(&mut self) {
        self.answer_now.raise();
    }
}

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;
