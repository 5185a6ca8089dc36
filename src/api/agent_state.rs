//! The agent's state: busy, idle, wrap-up or rest. It lives in the session, other agents can query
//! it, and each change queues an event. There are no calls, so it has no other effect.

use std::time::{Duration, SystemTime};

use super::access::Caller;
use super::code::ResultCode;
use super::gateway::Gateway;
use super::parameters::{flag, number, switch, value};
use super::reply::{Outcome, Reply};
use super::router::Route;
use super::sign_in::epoch_ms;
use crate::session::{StateCommand, StateError};

/// Longest list of skills in characters.
const SKILLS_MAX: usize = 4000;
/// Longest flag of `autoenteridle` in characters.
const FLAG_MAX: usize = 5;
/// Longest rest in seconds.
const REST_MAX_S: u32 = 86_399;
/// `lastState` when there was no earlier state.
const NO_STATE: u8 = 255;

impl Gateway {
    /// Changes the agent's state, if the current state permits it.
    pub(super) fn change_state(&self, caller: Caller, command: StateCommand) -> Outcome {
        let (session, epoch_ms) = (caller.authenticated.session, epoch_ms(SystemTime::now()));
        match self
            .sessions
            .change_state(caller.agent, session, command, caller.now, epoch_ms)
        {
            Ok(()) => Ok(Reply::done()),
            Err(StateError::NotSignedIn) => Err(ResultCode::NOT_SIGNED_IN),
            Err(StateError::WrongState) => Err(ResultCode::WRONG_STATE),
        }
    }

    /// `saybusy?reason=&prolong=`.
    pub(super) fn say_busy(&self, caller: Caller, query: &str) -> Outcome {
        let (reason, prolong) = (busy_reason(query)?, switch(query, "prolong")?);
        self.change_state(caller, StateCommand::SayBusy { reason, prolong })
    }

    /// `rest/{time}/{restcause}?prolong=`.
    pub(super) fn rest(&self, caller: Caller, route: &Route, query: &str) -> Outcome {
        let time = number(route.parameter(0)).filter(|time| (1..=REST_MAX_S).contains(time));
        let cause = number(route.parameter(1)).and_then(|cause| u8::try_from(cause).ok());
        let command = StateCommand::Rest {
            time: Duration::from_secs(time.ok_or(ResultCode::INVALID_PARAMETER)?.into()),
            cause: cause.ok_or(ResultCode::INVALID_PARAMETER)?,
            prolong: switch(query, "prolong")?,
        };
        self.change_state(caller, command)
    }

    /// `autoenteridle/{flag}`; one client writes `True`.
    pub(super) fn set_auto_enter_idle(&self, caller: Caller, text: &str) -> Outcome {
        if text.chars().count() > FLAG_MAX {
            return Err(ResultCode::INVALID_PARAMETER);
        }
        // Documented: anything else means false.
        let is_set = flag(text).unwrap_or(false);
        let session = caller.authenticated.session;
        match self
            .sessions
            .set_auto_enter_idle(caller.agent, session, is_set, caller.now)
        {
            true => Ok(Reply::done()),
            false => Err(ResultCode::NOT_SIGNED_IN),
        }
    }

    /// `syncagentinfo`, for a reloaded page: reports the state and empties the event queue.
    pub(super) fn sync_agent_info(&self, caller: Caller) -> Outcome {
        let info = self
            .sessions
            .sync_agent_info(caller.agent, caller.authenticated.session, caller.now)
            .ok_or(ResultCode::NOT_SIGNED_IN)?;
        let last_state = info
            .last_state
            .map_or(NO_STATE, |state| state.sync_number());
        let (agent, now) = (caller.agent, epoch_ms(SystemTime::now()));
        // In the field order of the documented sample; fields about calls are those of an agent
        // without one.
        Ok(Reply::json(format!(
            r#"{{"result":{{"callinfo":null,"agentStateInfo":{{"callFeature":0,"callData":"","lastState":{last_state},"preBusy":false,"firsttalkingFlag":false,"workNo":"{agent}","qcWorkNo":"","callerNo":"","beginHoldTime":null,"state":{},"talkingCallfeature":0,"releaseFlag":0,"calledNo":"","mainCallId":"","secondTalkingTime":null,"preRest":false,"recordID":"","currentTime":"{now}","beginTalkingTime":null,"partner":"","holdCallId":"","agentStateBeginTime":{},"curCommand":0,"curCallId":"","cmdBeginTime":""}}}},"message":"success","retcode":"0"}}"#,
            info.state.sync_number(),
            info.since_ms,
        )))
    }
}

/// `resetskill/{autoflag}?skillid=&phonelinkage=`. There are no skills, so any valid request
/// succeeds.
pub(super) fn reset_skill(query: &str) -> Outcome {
    let is_list = |text: &str| {
        text.len() <= SKILLS_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b';')
    };
    switch(query, "phonelinkage")?;
    match value(query, "skillid")? {
        Some(skills) if !is_list(&skills) => Err(ResultCode::INVALID_PARAMETER),
        _ => Ok(Reply::done()),
    }
}

/// `autoanswer/{isautoanswer}`.
pub(super) fn set_auto_answer(text: &str) -> Outcome {
    flag(text).ok_or(ResultCode::INVALID_PARAMETER)?;
    Ok(Reply::done())
}

/// 0 means no reason; 200 to 250 are defined by the contact centre.
fn busy_reason(query: &str) -> Result<Option<u8>, ResultCode> {
    let Some(text) = value(query, "reason")? else {
        return Ok(None);
    };
    let reason = number(&text)
        .and_then(|reason| u8::try_from(reason).ok())
        .filter(|reason| matches!(reason, 0 | 200..=250));
    reason.map(Some).ok_or(ResultCode::INVALID_PARAMETER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(outcome: Outcome) -> &'static str {
        outcome.map_or_else(ResultCode::wire, |reply| reply.code.wire())
    }

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
            ("reason=251", Err(ResultCode::INVALID_PARAMETER)),
            ("reason=199", Err(ResultCode::INVALID_PARAMETER)),
            ("reason=-1", Err(ResultCode::INVALID_PARAMETER)),
            ("reason=%2B200", Err(ResultCode::INVALID_PARAMETER)),
            ("reason=%ff", Err(ResultCode::INVALID_PARAMETER)),
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
            assert_eq!(wire(reset_skill(query)), code, "{query}");
        }
        let too_long = format!("skillid={}", "1".repeat(4001));
        assert_eq!(wire(reset_skill(&too_long)), "000-002");
    }
}
