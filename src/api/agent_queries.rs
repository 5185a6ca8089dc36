//! Queries about agents, sent by clients before they poll. Lists that would need a telephone switch
//! are empty.

use std::collections::HashSet;
use std::time::{Instant, SystemTime};

use super::access::Caller;
use super::code::ResultCode;
use super::gateway::Gateway;
use super::parameters::{list, number, value};
use super::reply::{Outcome, Reply};
use super::sign_in::{MEDIA_TYPE, epoch_ms};
use crate::session::{AgentId, AgentState, SignedInAgent};

/// The group id reported for every agent; there are no groups.
const NO_GROUP: u32 = 0;
/// The `skilllist` of every agent; only a telephone switch would know of skills.
const NO_SKILLS: &str = r#""skilllist":[],"#;
/// The highest number of a VDN that the interface documents.
const VDN_MAX: u32 = 512;

impl Gateway {
    /// `agentstatus`.
    pub(super) fn agent_status(&self, caller: Caller) -> Outcome {
        let state = self
            .sessions
            .agent_status(caller.agent, caller.now)
            .ok_or(ResultCode::NOT_SIGNED_IN)?;
        Ok(Reply::result(&format!(
            r#"{{"agentState":{},"isWorking":{}}}"#,
            state.number(),
            state == AgentState::Work
        )))
    }

    /// `agentskillsbyworkno/{workno}` and `agentskill/{workno}`.
    pub(super) fn skills_by_work_no(&self, work_no: &str) -> Outcome {
        empty_list(AgentId::parse(work_no, self.settings.agent_id_max).is_some())
    }

    /// `iscensor`: whether the agent may download other agents' recordings.
    pub(super) fn is_censor(&self, agent: AgentId) -> Reply {
        Reply::result(&self.roster().is_inspector(agent).to_string())
    }

    /// `allagentstatus`.
    pub(super) fn all_agent_status(&self, caller: Caller) -> Reply {
        self.list_agents(caller, |SignedInAgent { agent, state, .. }| {
            Some(format!(
                r#"{{"workno":"{agent}","name":"{agent}","status":{},"ctiStatus":{},"groupName":""}}"#,
                state.number(),
                state.cti_number()
            ))
        })
    }

    /// `onlineagentonvdn`.
    pub(super) fn online_agents(&self, caller: Caller) -> Reply {
        self.list_agents(caller, |SignedInAgent { agent, .. }| {
            Some(format!(
                r#"{{"workno":"{agent}","name":"{agent}","groupid":{NO_GROUP}}}"#
            ))
        })
    }

    /// `idleagent`.
    pub(super) fn idle_agents(&self, caller: Caller) -> Reply {
        self.list_agents(caller, |SignedInAgent { agent, state, .. }| {
            (*state == AgentState::Idle)
                .then(|| format!(r#"{{"workno":"{agent}","name":"{agent}"}}"#))
        })
    }

    /// `allagent` of quality control.
    pub(super) fn monitored_agents(&self, caller: Caller) -> Reply {
        self.list_agents(caller, |SignedInAgent { agent, state, .. }| {
            Some(format!(
                r#"{{"workno":"{agent}","name":"{agent}","status":{}}}"#,
                state.number()
            ))
        })
    }

    /// `groupbyagent/{workno}`.
    pub(super) fn group_of(&self, caller: Caller, work_no: &str) -> Outcome {
        self.colleague(caller, work_no)?;
        Ok(Reply::result(&format!(
            r#"{{"id":{NO_GROUP},"name":"","monitorno":0,"monitorname":""}}"#
        )))
    }

    /// `agentwasnameonvdn`. Agents have no names, so each id doubles as the name.
    pub(super) fn agent_names(&self, caller: Caller) -> Reply {
        let (_, agents) = self.colleagues(caller);
        let names: Vec<_> = agents
            .iter()
            .map(|known| format!(r#""{0}":"{0}""#, known.agent))
            .collect();
        Reply::result(&format!("{{{}}}", names.join(",")))
    }

    /// `agentbyworkno/{workno}`. Refused for an agent that is not signed in, so it does not reveal
    /// which ids exist.
    pub(super) fn agent_info(&self, caller: Caller, work_no: &str) -> Outcome {
        let (vdn, known) = self.colleague(caller, work_no)?;
        let info = info(&known, known.state.number(), vdn, caller.now, NO_SKILLS);
        Ok(Reply::result(&info))
    }

    /// `agentongroupex?groupid=`; defaults to the caller's group.
    pub(super) fn agents_of_group(&self, caller: Caller, query: &str) -> Outcome {
        let group = match value(query, "groupid")? {
            Some(text) => number(&text).ok_or(ResultCode::INVALID_PARAMETER)?,
            None => NO_GROUP,
        };
        let (vdn, mut agents) = self.colleagues(caller);
        agents.retain(|_| group == NO_GROUP);
        let infos = agents
            .iter()
            .map(|known| info(known, known.state.number(), vdn, caller.now, NO_SKILLS));
        Ok(Reply::result(&array(infos)))
    }

    /// `agentinfonoskills`. The only known client reads `status` as if it were `ctiStatus`.
    pub(super) fn agent_infos(&self, caller: Caller, body: &[u8]) -> Outcome {
        let wanted: HashSet<_> = list(body, "agentlist")
            .ok_or(ResultCode::INVALID_PARAMETER)?
            .iter()
            .filter_map(|text| AgentId::parse(text, self.settings.agent_id_max))
            .collect();
        let (vdn, agents) = self.colleagues(caller);
        let agents = agents.iter().filter(|known| wanted.contains(&known.agent));
        Ok(Reply::result(&array(agents.map(|known| {
            info(known, known.state.cti_number(), vdn, caller.now, "")
        }))))
    }

    /// The signed-in agents of the caller's VDN, one JSON value from `line` each.
    fn list_agents(
        &self,
        caller: Caller,
        line: impl Fn(&SignedInAgent) -> Option<String>,
    ) -> Reply {
        Reply::result(&array(self.colleagues(caller).1.iter().filter_map(line)))
    }

    /// The caller's VDN and its signed-in agents, in order of id.
    fn colleagues(&self, caller: Caller) -> (u32, Vec<SignedInAgent>) {
        let roster = self.roster();
        // A reload has just removed the caller and is about to end its session.
        let Some(vdn) = roster.agent(caller.agent).map(|entry| entry.vdn) else {
            return (0, Vec::new());
        };
        let mut agents = self.sessions.agents(caller.now);
        agents.retain(|known| {
            roster
                .agent(known.agent)
                .is_some_and(|entry| entry.vdn == vdn)
        });
        (vdn, agents)
    }

    /// The signed-in agent `work_no` if it belongs to the caller's VDN, with that VDN.
    fn colleague(&self, caller: Caller, work_no: &str) -> Result<(u32, SignedInAgent), ResultCode> {
        let agent = AgentId::parse(work_no, self.settings.agent_id_max)
            .ok_or(ResultCode::INVALID_PARAMETER)?;
        let (vdn, agents) = self.colleagues(caller);
        agents
            .into_iter()
            .find(|known| known.agent == agent)
            .map(|known| (vdn, known))
            .ok_or(ResultCode::INVALID_PARAMETER)
    }
}

/// An agent's details, in the field order documented for `agentbyworkno`: `currentstatetime` in
/// seconds, `logindate` in milliseconds since 1970.
fn info(known: &SignedInAgent, status: u8, vdn: u32, now: Instant, skills: &str) -> String {
    let SignedInAgent {
        agent,
        state,
        since_ms,
        signed_in,
    } = known;
    let wall = SystemTime::now();
    let in_state = epoch_ms(wall).saturating_sub(*since_ms) / 1000;
    let signed_in = epoch_ms(wall - now.saturating_duration_since(*signed_in));
    format!(
        r#"{{"workno":"{agent}","name":"{agent}","status":{status},"ctiStatus":{},"groupid":{NO_GROUP},"groupname":"",{skills}"callids":[],"mediatype":"{MEDIA_TYPE}","phonenumber":"","vdnid":{vdn},"currentstatetime":{in_state},"logindate":{signed_in}}}"#,
        state.cti_number(),
    )
}

fn array(entries: impl Iterator<Item = String>) -> String {
    format!("[{}]", entries.collect::<Vec<_>>().join(","))
}

/// `vdnskill/{vdnid}`.
pub(super) fn skill_queues_of_vdn(vdn: &str) -> Outcome {
    empty_list(number(vdn).is_some_and(|vdn| (1..=VDN_MAX).contains(&vdn)))
}

/// `queryacdstat`.
pub(super) fn queue_figures(body: &[u8]) -> Outcome {
    empty_list(list(body, "skills").is_some())
}

/// An empty list, or 000-002 if the query is invalid.
fn empty_list(is_valid: bool) -> Outcome {
    match is_valid {
        true => Ok(Reply::result("[]")),
        false => Err(ResultCode::INVALID_PARAMETER),
    }
}

/// `ivrinfo`, in its documented field order.
pub(super) fn empty_ivr_list() -> Reply {
    Reply::json(r#"{"result":[],"message":"success","retcode":"0"}"#)
}
