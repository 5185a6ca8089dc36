//! What clients ask about agents before they poll. Lists that only a switch could fill are empty.

use super::agent_state::Asker;
use super::code::ResultCode;
use super::gateway::Gateway;
use super::reply::Reply;
use crate::session::{AgentId, AgentState, Role};

impl Gateway {
    /// `agentstatus`.
    pub(super) fn agent_status(&self, asker: Asker) -> Reply {
        match self.sessions.agent_status(asker.agent, asker.now) {
            Some(state) => Reply::result(&format!(
                r#"{{"agentState":{},"isWorking":{}}}"#,
                state.number(),
                state == AgentState::Work
            )),
            None => Reply::rejected(ResultCode::NOT_SIGNED_IN),
        }
    }

    /// `agentskillsbyworkno/{workno}`.
    pub(super) fn agent_skills_of(&self, work_no: &str) -> Reply {
        match AgentId::parse(work_no, self.settings.agent_id_max) {
            Some(_) => Reply::result("[]"),
            None => Reply::rejected(ResultCode::INVALID_PARAMETER),
        }
    }

    /// `iscensor`: whether the agent may have the recordings of others.
    pub(super) fn is_censor(&self, agent: AgentId) -> Reply {
        let is_inspector = self.roster().agent(agent).is_some_and(|entry| entry.role == Role::Inspector);
        Reply::result(if is_inspector { "true" } else { "false" })
    }

    /// `allagentstatus`.
    pub(super) fn all_agent_status(&self, asker: Asker) -> Reply {
        self.list_agents(asker, |agent, state| {
            Some(format!(
                r#"{{"workno":"{agent}","name":"{agent}","status":{},"ctiStatus":{},"groupName":""}}"#,
                state.number(),
                state.cti_number()
            ))
        })
    }

    /// `onlineagentonvdn`. There are no groups, so all are in group 0.
    pub(super) fn online_agents(&self, asker: Asker) -> Reply {
        self.list_agents(asker, |agent, _| Some(format!(r#"{{"workno":"{agent}","name":"{agent}","groupid":0}}"#)))
    }

    /// `idleagent`.
    pub(super) fn idle_agents(&self, asker: Asker) -> Reply {
        self.list_agents(asker, |agent, state| {
            (state == AgentState::Idle).then(|| format!(r#"{{"workno":"{agent}","name":"{agent}"}}"#))
        })
    }

    /// `allagent` of quality control.
    pub(super) fn monitored_agents(&self, asker: Asker) -> Reply {
        self.list_agents(asker, |agent, state| {
            Some(format!(r#"{{"workno":"{agent}","name":"{agent}","status":{}}}"#, state.number()))
        })
    }

    /// The signed-in agents of the asker's VDN, as `line` has them.
    fn list_agents(&self, asker: Asker, line: impl Fn(AgentId, AgentState) -> Option<String>) -> Reply {
        let roster = self.roster();
        let vdn = roster.agent(asker.agent).map(|entry| entry.vdn);
        let agents = self.sessions.all_statuses(asker.now).into_iter();
        let agents = agents.filter(|(agent, _)| roster.agent(*agent).map(|entry| entry.vdn) == vdn);
        let lines: Vec<_> = agents.filter_map(|(agent, state)| line(agent, state)).collect();
        Reply::result(&format!("[{}]", lines.join(",")))
    }
}

/// `ivrinfo`, in the order of its page.
pub(super) fn no_ivrs() -> Reply {
    Reply::json(r#"{"result":[],"message":"success","retcode":"0"}"#)
}
