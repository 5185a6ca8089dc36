//! Signing in: `PUT /onlineagent/{id}` and `.../forcelogin`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::code::ResultCode;
use super::gateway::{Call, Gateway};
use super::later::{Answer, Later};
use super::reply::Reply;
use super::request::Request;
use super::sign_in_body::SignInBody;
use crate::ops::latch::Parcel;
use crate::session::{AgentId, Credential, Guid, InitialState, Locked, SignInError, SignInGuard};

/// Longest wait for one of the two password checkers. Vendor clients give up after 12 seconds.
const CHECKED_WITHIN: Duration = Duration::from_secs(10);
/// Media the session is good for, as the vendor's sample has it.
const MEDIA_TYPE: &str = "TTF";
/// Days the password is still good for. Passwords do not expire here, and clients warn about small numbers.
const TIME_REMAINING: &str = "9999";

/// A sign-in whose password is being checked.
struct Attempt {
    agent: AgentId,
    force: bool,
    /// What the password is checked against.
    credential: Option<Credential>,
    initial_state: InitialState,
    _guard: SignInGuard,
}

impl Gateway {
    /// Checks what costs nothing, then hands the password to the checkers.
    ///
    /// The lock and a sign-in under way are looked at before the password, although the table of the
    /// design names them after it: a locked pair must not learn whether it guessed right, and neither may
    /// cost a password check.
    pub(super) fn sign_in(&self, agent: AgentId, request: &Request<'_>, force: bool, now: Instant) -> Answer {
        let Some(body) = SignInBody::parse(request.body) else {
            return Reply::failure(ResultCode::INVALID_SIGN_IN).into();
        };
        // Marked before the lock is looked at: a sign-in that ends between the two may be the one that locks.
        let guard = self.sign_ins.begin(agent, request.peer);
        if self.throttle.locked(agent, request.peer, now).is_some() {
            return Reply::failure(ResultCode::LOCKED).into();
        }
        let Some(guard) = guard else {
            return Reply::failure(ResultCode::SIGNING_IN).into();
        };
        let credential = self.roster().agent(agent).map(|entry| entry.credential.clone());
        let verdict = Arc::new(Parcel::default());
        let (receiver, sender) = (Arc::downgrade(&verdict), Arc::clone(&verdict));
        // Two hold the parcel as long as its request waits: the request and the check itself.
        let is_wanted = move || receiver.strong_count() > 1;
        let done = move |is_right| sender.deliver(is_right);
        if self.checker.submit(request.peer, credential.clone(), body.password, is_wanted, done).is_err() {
            return Reply::busy().into();
        }
        let attempt = Attempt { agent, force, credential, initial_state: body.initial_state, _guard: guard };
        Answer::Later(Later::when(Arc::clone(verdict.delivered()), now + CHECKED_WITHIN, move |gateway, call| {
            gateway.finish_sign_in(attempt, call, verdict.take()).into()
        }))
    }

    /// `is_right` is `None` where the password was not checked in time.
    fn finish_sign_in(&self, attempt: Attempt, call: &Call, is_right: Option<bool>) -> Reply {
        let Attempt { agent, force, credential, initial_state, _guard } = attempt;
        let now = Instant::now();
        match is_right {
            Some(true) => self.throttle.succeeded(agent, call.peer, now),
            Some(false) => {
                match self.throttle.failed(agent, call.peer, now) {
                    Some(Locked::Pair) => {
                        log::warn!("agent {agent} is locked for clients at {}: too many failed sign-ins", call.peer);
                    }
                    Some(Locked::Prefix) => log::warn!(
                        "all agents that have not signed in from {} are locked for clients there: \
                         too many failed sign-ins",
                        call.peer
                    ),
                    None => {}
                }
                return Reply::failure(ResultCode::WRONG_PASSWORD);
            }
            None => return Reply::busy(),
        }
        let signed_in_ms = epoch_ms(SystemTime::now());
        // The sessions of agents who fell silent are over already; here their memory goes.
        self.sessions.sweep(now);
        let opened = match self.sessions.sign_in(agent, force, initial_state, now, signed_in_ms) {
            Ok(opened) => opened,
            Err(SignInError::AlreadySignedIn) => return Reply::failure(ResultCode::ALREADY_SIGNED_IN),
            Err(SignInError::Random(error)) => {
                log::error!("no Guid can be made: {error}");
                return Reply::failure(ResultCode::INTERNAL);
            }
        };
        // A reload may have removed the agent or changed its password since the check began. It ends the sessions it
        // finds; this one it may not have found.
        let roster = self.roster();
        let entry = roster.agent(agent).filter(|entry| Some(&entry.credential) == credential.as_ref());
        let Some(vdn) = entry.map(|entry| entry.vdn) else {
            self.sessions.sign_out(agent, opened.session);
            return Reply::failure(ResultCode::WRONG_PASSWORD);
        };
        Reply::json(format!(
            r#"{{"message":"success","retcode":"0","result":{{"vdnid":{vdn},"workno":"{agent}","mediatype":"{MEDIA_TYPE}","loginTime":"{signed_in_ms}","isForceChange":"false","serverName":"{}","timeRemaining":"{TIME_REMAINING}"}}}}"#,
            self.settings.server_name,
        ))
        .with_guid(&opened.guid)
    }
}

impl Reply {
    /// Carries a Guid to the client. Vendor clients compare the field's name by exact case and cut the
    /// literal prefix off, so neither spelling may change and no attribute may follow.
    pub(super) fn with_guid(self, guid: &Guid) -> Reply {
        self.with("Set-GUID", format!("JSESSIONID={}", guid.expose()))
    }
}

/// Milliseconds since 1970, 0 for a clock that was never set.
pub(super) fn epoch_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
