//! The states of signed-in agents.

use std::time::Instant;

use super::super::agent::AgentId;
use super::super::agent_state::{AgentState, StateCommand, StateError, SyncInfo};
use super::{SessionId, SessionTable};

/// What other agents may see of a signed-in agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignedInAgent {
    pub(crate) agent: AgentId,
    pub(crate) state: AgentState,
    /// When the state began, in milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// When the session began.
    pub(crate) signed_in: Instant,
}

impl SessionTable {
    /// Applies a command and queues its event. `epoch_ms` is the wall clock, in milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// If the session is over, or the state does not permit the command.
    pub(crate) fn change_state(
        &self,
        agent: AgentId,
        session: SessionId,
        command: StateCommand,
        now: Instant,
        epoch_ms: u64,
    ) -> Result<(), StateError> {
        self.with_state(|state| {
            let open = state
                .session(agent, session, &self.policy, now)
                .ok_or(StateError::NotSignedIn)?;
            if let Some(event) = open.presence.apply(command, now, epoch_ms)? {
                state.push(agent, event);
            }
            Ok(())
        })
    }

    /// Sets `autoenteridle`; false if the session is over.
    pub(crate) fn set_auto_enter_idle(
        &self,
        agent: AgentId,
        session: SessionId,
        flag: bool,
        now: Instant,
    ) -> bool {
        self.with_session(agent, session, now, |session| {
            session.presence.auto_enter_idle = flag
        })
        .is_some()
    }

    /// The state of a signed-in agent.
    pub(crate) fn agent_status(&self, agent: AgentId, now: Instant) -> Option<AgentState> {
        self.with_state(|state| {
            Some(
                state
                    .open(agent, &self.policy, now)?
                    .presence
                    .sync_info()
                    .state,
            )
        })
    }

    /// All signed-in agents, by id.
    pub(crate) fn agents(&self, now: Instant) -> Vec<SignedInAgent> {
        let mut agents: Vec<_> = self.with_state(|state| {
            let open = state.open_sessions(&self.policy, now);
            open.map(|(agent, session)| {
                let SyncInfo {
                    state, since_ms, ..
                } = session.presence.sync_info();
                SignedInAgent {
                    agent: *agent,
                    state,
                    since_ms,
                    signed_in: session.signed_in,
                }
            })
            .collect()
        });
        agents.sort_unstable_by_key(|known| known.agent);
        agents
    }

    /// The result of `syncagentinfo`; empties the session's event queue, as documented. `None` if
    /// the session is over.
    pub(crate) fn sync_agent_info(
        &self,
        agent: AgentId,
        session: SessionId,
        now: Instant,
    ) -> Option<SyncInfo> {
        self.with_session(agent, session, now, |session| {
            session.events.clear();
            session.presence.sync_info()
        })
    }
}
