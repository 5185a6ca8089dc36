//! The table of open sessions.

use std::sync::Mutex;
use std::time::Instant;

use super::agent::AgentId;
use super::agent_state::{AgentState, Presence};
use super::guid::{Fingerprint, Guid};
use super::guid_history::{GuidHistory, Policy};
use crate::ops::sync::lock;
use state::{Session, State};

mod events;
mod presence;
mod state;

pub(crate) use events::{PollOutcome, PushOutcome};
pub(crate) use presence::SignedInAgent;

/// Identifies a session; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(u64);

#[cfg(test)]
impl SessionId {
    /// An id that no table has given out.
    pub(super) fn for_test(number: u64) -> SessionId {
        SessionId(number)
    }
}

/// What an agent signs in as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitialState {
    /// Its state, from the `status` of the sign-in; idle by default.
    pub(crate) state: AgentState,
    /// `autoenteridle`; true by default.
    pub(crate) auto_enter_idle: bool,
}

impl Default for InitialState {
    fn default() -> InitialState {
        InitialState {
            state: AgentState::Idle,
            auto_enter_idle: true,
        }
    }
}

/// A new session.
#[derive(Debug)]
pub(crate) struct NewSession {
    /// The Guid for the client.
    pub(crate) guid: Guid,
    /// The session it belongs to.
    pub(crate) session: SessionId,
}

/// Why a sign-in is refused.
#[derive(Debug)]
pub(crate) enum SignInError {
    /// The agent has a session (100-002).
    AlreadySignedIn,
    /// The system random generator failed.
    Random(getrandom::Error),
}

/// A request that comes from a signed-in agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authenticated {
    /// The session of the agent.
    pub(crate) session: SessionId,
    /// When the session began.
    pub(crate) signed_in: Instant,
    guid: Fingerprint,
}

/// An open session, as listed by [`SessionTable::signed_in`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenSession {
    pub(crate) agent: AgentId,
    pub(crate) session: SessionId,
    /// When it began.
    pub(crate) signed_in: Instant,
}

/// Why authentication failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// The agent has no session (100-006).
    NotSignedIn,
    /// The Guid is missing, not of the agent's session, or expired (000-003).
    NoRight,
}

/// The open sessions, at most one per agent, with their Guids, agent states, events and parked
/// polls.
///
/// Every call takes the time as a parameter, and the single lock for a few hundred nanoseconds;
/// Guids are generated and polls woken outside it. An idle session counts as ended when it expires,
/// even before the next [`sweep`](Self::sweep). When a session ends, its parked polls are woken.
pub(crate) struct SessionTable {
    policy: Policy,
    state: Mutex<State>,
}

impl SessionTable {
    pub(crate) fn new(policy: Policy) -> SessionTable {
        SessionTable {
            policy,
            state: Mutex::default(),
        }
    }

    /// Begins a session of `agent`, whose password the caller has checked. With `force` it replaces
    /// an existing session. Its queue holds only the events of a sign-in. `epoch_ms` is the wall
    /// clock, in milliseconds since 1970.
    ///
    /// # Errors
    /// If the agent has a session and `force` is false, or if the system random generator fails.
    pub(crate) fn sign_in(
        &self,
        agent: AgentId,
        force: bool,
        initial: InitialState,
        now: Instant,
        epoch_ms: u64,
    ) -> Result<NewSession, SignInError> {
        let guid = Guid::generate(&self.policy.guid_suffix).map_err(SignInError::Random)?;
        let guids = GuidHistory::new(guid.fingerprint(), now);
        let presence = Presence::new(initial.state, initial.auto_enter_idle, epoch_ms);
        self.with_state(|state| {
            if state.open(agent, &self.policy, now).is_some() && !force {
                return Err(SignInError::AlreadySignedIn);
            }
            state.replace(agent, now);
            let session = state.begin(agent, guids, presence, now);
            Ok(NewSession { guid, session })
        })
    }

    /// Checks the Guid of a request for `agent`, `None` if missing. Success keeps the session
    /// alive.
    ///
    /// # Errors
    /// If the agent has no session or the Guid is not valid for it. A Guid of a recently replaced
    /// session counts as that of an agent that is not signed in.
    pub(crate) fn authenticate(
        &self,
        agent: AgentId,
        fingerprint: Option<&Fingerprint>,
        now: Instant,
    ) -> Result<Authenticated, AuthError> {
        self.with_state(|state| {
            let session = state
                .open(agent, &self.policy, now)
                .ok_or(AuthError::NotSignedIn)?;
            let guid = fingerprint.ok_or(AuthError::NoRight)?;
            if session.guids.accepts(guid, &self.policy, now) {
                session.last_seen = session.last_seen.max(now);
                return Ok(Authenticated {
                    session: session.id,
                    signed_in: session.signed_in,
                    guid: *guid,
                });
            }
            match state
                .replaced
                .had_guid(agent, guid, self.policy.guid_timeout, now)
            {
                true => Err(AuthError::NotSignedIn),
                false => Err(AuthError::NoRight),
            }
        })
    }

    /// Whether this session of `agent` is open.
    #[cfg(test)]
    pub(super) fn is_open(&self, agent: AgentId, session: SessionId, now: Instant) -> bool {
        self.with_session(agent, session, now, |_| ()).is_some()
    }

    /// A new Guid for the reply to a poll or handshake, if one is due.
    ///
    /// In dynamic mode it is due when the Guid of the request is `guid_interval` old. A client that
    /// keeps using a renewed Guid has lost the reply or shares the Guid, and gets another one after
    /// a while.
    pub(crate) fn renew_if_due(
        &self,
        agent: AgentId,
        authenticated: &Authenticated,
        now: Instant,
    ) -> Option<Guid> {
        let is_due =
            |guids: &GuidHistory| guids.renewal_due(&authenticated.guid, &self.policy, now);
        let renew = |guids: &mut GuidHistory, guid| {
            guids.renew(&authenticated.guid, guid, &self.policy, now)
        };
        self.issue_if(agent, authenticated.session, now, is_due, renew)
    }

    /// A new Guid in either mode (updateGuid); `None` if the session is over.
    ///
    /// Earlier Guids stay valid, in dynamic mode until they expire, otherwise until the session
    /// ends: a client may have other windows, and vendor clients often keep the Guid of the
    /// sign-in.
    pub(crate) fn update_guid(
        &self,
        agent: AgentId,
        session: SessionId,
        now: Instant,
    ) -> Option<Guid> {
        let issue = |guids: &mut GuidHistory, guid| guids.issue(guid, &self.policy, now);
        self.issue_if(agent, session, now, |_| true, issue)
    }

    /// Ends this session of `agent`; false if it is over already.
    pub(crate) fn sign_out(&self, agent: AgentId, session: SessionId) -> bool {
        self.with_state(|state| {
            state
                .sessions
                .get(&agent)
                .is_some_and(|open| open.id == session)
                && state.end(agent).is_some()
        })
    }

    /// Ends the sessions of these agents after a reload; returns how many there were.
    pub(crate) fn revoke(&self, agents: &[AgentId]) -> usize {
        self.with_state(|state| {
            agents
                .iter()
                .filter(|agent| state.end(**agent).is_some())
                .count()
        })
    }

    /// Removes expired sessions and queues due events; returns how many sessions ended.
    pub(crate) fn sweep(&self, now: Instant) -> usize {
        self.with_state(|state| state.sweep(&self.policy, now))
    }

    /// Wakes every parked poll, and from now on every poll immediately. Sessions stay open. Cannot
    /// be undone.
    pub(crate) fn begin_drain(&self) {
        self.with_state(State::begin_drain);
    }

    /// The open sessions, in no order.
    pub(crate) fn signed_in(&self, now: Instant) -> Vec<OpenSession> {
        self.with_state(|state| {
            let open = state.open_sessions(&self.policy, now);
            open.map(|(agent, session)| OpenSession {
                agent: *agent,
                session: session.id,
                signed_in: session.signed_in,
            })
            .collect()
        })
    }

    /// How many agents are signed in.
    pub(crate) fn len(&self, now: Instant) -> usize {
        self.with_state(|state| state.open_sessions(&self.policy, now).count())
    }

    fn issue_if(
        &self,
        agent: AgentId,
        session: SessionId,
        now: Instant,
        is_due: impl Fn(&GuidHistory) -> bool,
        issue: impl FnOnce(&mut GuidHistory, Fingerprint),
    ) -> Option<Guid> {
        self.with_session(agent, session, now, |session| is_due(&session.guids))
            .filter(|is_due| *is_due)?;
        let guid = Guid::generate(&self.policy.guid_suffix)
            .inspect_err(|error| log::error!("cannot renew the Guid of agent {agent}: {error}"))
            .ok()?;
        let fingerprint = guid.fingerprint();
        // Another reply may have renewed the Guid meanwhile.
        self.with_session(agent, session, now, |session| {
            is_due(&session.guids).then(|| issue(&mut session.guids, fingerprint))
        })??;
        Some(guid)
    }

    /// Runs `action` under the lock, then wakes polls outside it.
    fn with_state<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let outcome = action(&mut state);
        let woken = std::mem::take(&mut state.woken);
        drop(state);
        woken.into_iter().for_each(|waker| waker.wake());
        outcome
    }

    /// Runs `action` on this session of `agent`; `None` if it is over.
    fn with_session<T>(
        &self,
        agent: AgentId,
        session: SessionId,
        now: Instant,
        action: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        self.with_state(|state| Some(action(state.session(agent, session, &self.policy, now)?)))
    }
}

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;
