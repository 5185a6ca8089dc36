//! The state of an agent: busy, idle, in wrap-up, resting. It is kept in the session, queried by
//! other agents, and each change queues an event. There are no calls, so it has no other effect.

use std::time::{Duration, Instant, SystemTime};

use super::code::ResultCode;
use super::gateway::Gateway;
use super::parameters::{OutOfBounds, flag, number, switch, value};
use super::reply::Reply;
use super::router::Route;
use super::sign_in::epoch_ms;
use crate::session::{AgentId, SessionId, StateCommand, StateError};

/// Longest list of skills in characters.
const SKILLS_MAX: usize = 4000;
/// Longest flag of `autoenteridle` in characters.
const FLAG_MAX: usize = 5;
/// Longest rest in seconds.
const REST_MAX_S: u32 = 86_399;
/// What `lastState` is while there was no state before.
const NO_STATE: u8 = 255;

/// Who asks, with the session that the Guid has opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) agent: AgentId,
    pub(super) session: SessionId,
    pub(super) now: Instant,
}

impl Gateway {
    /// Changes the state of the agent, if the current one permits it.
    pub(super) fn change_state(&self, caller: Caller, command: StateCommand) -> Reply {
        let Caller {
            agent,
            session,
            now,
        } = caller;
        match self
            .sessions
            .change_state(agent, session, command, now, epoch_ms(SystemTime::now()))
        {
            Ok(()) => Reply::done(),
            Err(StateError::NotSignedIn) => Reply::rejected(ResultCode::NOT_SIGNED_IN),
            Err(StateError::WrongState) => Reply::rejected(ResultCode::WRONG_STATE),
        }
    }

    /// `saybusy?reason=&prolong=`.
    pub(super) fn say_busy(&self, caller: Caller, query: &str) -> Reply {
        let (Ok(reason), Ok(prolong)) = (busy_reason(query), switch(query, "prolong")) else {
            return Reply::rejected(ResultCode::INVALID_PARAMETER);
        };
        self.change_state(caller, StateCommand::SayBusy { reason, prolong })
    }

    /// `rest/{time}/{restcause}?prolong=`.
    pub(super) fn rest(&self, caller: Caller, route: &Route, query: &str) -> Reply {
        let time = number(route.parameter(0)).filter(|time| (1..=REST_MAX_S).contains(time));
        let cause = number(route.parameter(1)).and_then(|cause| u8::try_from(cause).ok());
        let (Some(time), Some(cause), Ok(prolong)) = (time, cause, switch(query, "prolong")) else {
            return Reply::rejected(ResultCode::INVALID_PARAMETER);
        };
        let time = Duration::from_secs(time.into());
        self.change_state(
            caller,
            StateCommand::Rest {
                time,
                cause,
                prolong,
            },
        )
    }

    /// `autoenteridle/{flag}`; one client writes `True`.
    pub(super) fn set_auto_enter_idle(&self, caller: Caller, text: &str) -> Reply {
        if text.chars().count() > FLAG_MAX {
            return Reply::rejected(ResultCode::INVALID_PARAMETER);
        }
        // Anything else is false, says its page.
        let is_set = flag(text).unwrap_or(false);
        match self
            .sessions
            .set_auto_enter_idle(caller.agent, caller.session, is_set, caller.now)
        {
            true => Reply::done(),
            false => Reply::rejected(ResultCode::NOT_SIGNED_IN),
        }
    }

    /// `syncagentinfo`, for a reloaded page: reports the state and empties the event queue.
    pub(super) fn sync_agent_info(&self, caller: Caller) -> Reply {
        let Some(info) = self
            .sessions
            .sync_agent_info(caller.agent, caller.session, caller.now)
        else {
            return Reply::rejected(ResultCode::NOT_SIGNED_IN);
        };
        let last_state = info
            .last_state
            .map_or(NO_STATE, |state| state.sync_number());
        let (agent, now) = (caller.agent, epoch_ms(SystemTime::now()));
        // In the order of the documented sample; what only calls could fill is as for an agent
        // without one.
        Reply::json(format!(
            r#"{{"result":{{"callinfo":null,"agentStateInfo":{{"callFeature":0,"callData":"","lastState":{last_state},"preBusy":false,"firsttalkingFlag":false,"workNo":"{agent}","qcWorkNo":"","callerNo":"","beginHoldTime":null,"state":{},"talkingCallfeature":0,"releaseFlag":0,"calledNo":"","mainCallId":"","secondTalkingTime":null,"preRest":false,"recordID":"","currentTime":"{now}","beginTalkingTime":null,"partner":"","holdCallId":"","agentStateBeginTime":{},"curCommand":0,"curCallId":"","cmdBeginTime":""}}}},"message":"success","retcode":"0"}}"#,
            info.state.sync_number(),
            info.since_ms,
        ))
    }
}

/// `resetskill/{autoflag}?skillid=&phonelinkage=`. There are no skills, so any valid request
/// succeeds.
pub(super) fn reset_skill(query: &str) -> Reply {
    let is_list = |text: &str| {
        text.len() <= SKILLS_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b';')
    };
    match (value(query, "skillid"), switch(query, "phonelinkage")) {
        (Ok(skills), Ok(_)) if skills.as_deref().is_none_or(is_list) => Reply::done(),
        _ => Reply::rejected(ResultCode::INVALID_PARAMETER),
    }
}

/// `autoanswer/{isautoanswer}`.
pub(super) fn set_auto_answer(text: &str) -> Reply {
    match flag(text) {
        Some(_) => Reply::done(),
        None => Reply::rejected(ResultCode::INVALID_PARAMETER),
    }
}

/// 0 is the reason of none, 200 to 250 are those of a contact centre.
fn busy_reason(query: &str) -> Result<Option<u8>, OutOfBounds> {
    let Some(text) = value(query, "reason")? else {
        return Ok(None);
    };
    let reason = number(&text)
        .and_then(|reason| u8::try_from(reason).ok())
        .filter(|reason| matches!(reason, 0 | 200..=250));
    reason.map(Some).ok_or(OutOfBounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_none_or_one_of_a_contact_centre() {
        for (query, reason) in [
            ("", Ok(None)),
            ("reason=", Ok(None)),
            ("reason=null&prolong=null", Ok(None)),
            ("reason=0", Ok(Some(0))),
            ("reason=200", Ok(Some(200))),
            ("reason=+210+", Ok(Some(210))),
            ("reason=250", Ok(Some(250))),
            ("reason=251", Err(OutOfBounds)),
            ("reason=199", Err(OutOfBounds)),
            ("reason=-1", Err(OutOfBounds)),
            ("reason=%2B200", Err(OutOfBounds)),
            ("reason=%ff", Err(OutOfBounds)),
        ] {
            assert_eq!(busy_reason(query), reason, "{query}");
        }
    }

    #[test]
    fn what_clients_reset_their_skills_with_is_taken() {
        for (query, code) in [
            ("", "0"),
            ("skillid=&phonelinkage=0", "0"),
            ("phonelinkage=1", "0"),
            ("skillid=null&phonelinkage=null", "0"),
            ("phonelinkage=true", "0"),
            ("phonelinkage=False", "0"),
            ("skillid=&phonelinkage=+1", "0"),
            ("skillid=1;2;3", "0"),
            ("skillid=a", "000-002"),
            ("phonelinkage=2", "000-002"),
        ] {
            assert_eq!(reset_skill(query).code.wire(), code, "{query}");
        }
        assert_eq!(
            reset_skill(&format!("skillid={}", "1".repeat(4001)))
                .code
                .wire(),
            "000-002"
        );
    }
}
