//! Signing in: `PUT /onlineagent/{id}` and `.../forcelogin`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::code::ResultCode;
use super::deferred::{Answer, Deferred};
use super::gateway::{Gateway, RequestContext};
use super::reply::Reply;
use super::request::Request;
use super::sign_in_body::SignInBody;
use crate::ops::client_prefix::client_prefix;
use crate::session::{AgentId, Credential, Guid, InitialState, Locked, SignInError};

/// Timeout of a password check, queueing included. Vendor clients give up after 12 s.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// `mediatype`, as in the vendor's sample.
pub(super) const MEDIA_TYPE: &str = "TTF";
/// `timeRemaining`: days until the password expires. Passwords never expire here, and clients warn
/// about small numbers.
const TIME_REMAINING: &str = "9999";

/// A sign-in whose password is being checked.
struct Attempt {
    agent: AgentId,
    force: bool,
    /// Checked against the roster again when the check is done.
    credential: Option<Credential>,
    initial_state: InitialState,
}

impl Gateway {
    /// Makes the cheap checks, then queues the password check.
    ///
    /// Lock and running sign-in are checked before the password: a locked client must not learn
    /// whether it guessed right, and neither case may cost a password check.
    pub(super) fn sign_in(
        &self,
        agent: AgentId,
        request: &Request<'_>,
        force: bool,
        now: Instant,
    ) -> Answer {
        let Some(body) = SignInBody::parse(request.body) else {
            return Reply::rejected(ResultCode::INVALID_SIGN_IN).into();
        };
        // Begun before the lock is checked, since a sign-in that ends in between may set the lock.
        let guard = self.sign_ins.begin((agent, client_prefix(request.peer)));
        if self.throttle.locked(agent, request.peer, now).is_some() {
            // Delayed because each one is logged.
            return Gateway::delayed(now, Reply::rejected(ResultCode::LOCKED));
        }
        let Some(guard) = guard else {
            return Reply::rejected(ResultCode::SIGNING_IN).into();
        };
        let credential = self
            .roster()
            .agent(agent)
            .map(|entry| entry.credential.clone());
        let checked = credential.clone();
        let (prefix, password) = (request.peer, body.password);
        let attempt = Attempt {
            agent,
            force,
            credential,
            initial_state: body.initial_state,
        };
        let throttle = self.throttle.clone();
        Answer::Deferred(Deferred::until_event(
            now + CHECK_TIMEOUT,
            // The check was skipped if the address was locked meanwhile.
            move |gateway, context| match gateway.throttle.locked(
                agent,
                context.peer,
                Instant::now(),
            ) {
                Some(_) => Reply::rejected(ResultCode::LOCKED).into(),
                None => Reply::busy().into(),
            },
            move |gateway, ticket| {
                let is_waiting = ticket.liveness();
                // Skips guesses that were queued before their address was locked.
                let is_wanted = move || {
                    is_waiting() && throttle.locked(agent, prefix, Instant::now()).is_none()
                };
                let done = move |is_right| {
                    ticket.complete(move |gateway, context| {
                        let reply = gateway.finish_sign_in(&attempt, context, is_right);
                        drop(guard);
                        reply.into()
                    });
                };
                // If the queue is full, dropping the ticket answers 503.
                let _ = gateway
                    .verifier
                    .submit(prefix, checked, password, is_wanted, done);
            },
        ))
    }

    fn finish_sign_in(&self, attempt: &Attempt, context: &RequestContext, is_right: bool) -> Reply {
        let (agent, now) = (attempt.agent, Instant::now());
        if !is_right {
            self.note_failed_sign_in(agent, context, now);
            return Reply::rejected(ResultCode::WRONG_PASSWORD);
        }
        self.throttle.succeeded(agent, context.peer, now);
        let signed_in_ms = epoch_ms(SystemTime::now());
        let opened = match self.sessions.sign_in(
            agent,
            attempt.force,
            attempt.initial_state,
            now,
            signed_in_ms,
        ) {
            Ok(opened) => opened,
            Err(SignInError::AlreadySignedIn) => {
                return Reply::rejected(ResultCode::ALREADY_SIGNED_IN);
            }
            Err(SignInError::Random(error)) => {
                log::error!("cannot generate a Guid: {error}");
                return Reply::rejected(ResultCode::INTERNAL);
            }
        };
        self.recording_events.agent_signed_in();
        context.is_authenticated.store(true, Ordering::Relaxed);
        // A reload may have removed the agent or changed its password during the check, and ended
        // its sessions before this one began.
        let roster = self.roster();
        let entry = roster
            .agent(agent)
            .filter(|entry| Some(&entry.credential) == attempt.credential.as_ref());
        let Some(vdn) = entry.map(|entry| entry.vdn) else {
            self.sessions.sign_out(agent, opened.session);
            return Reply::rejected(ResultCode::WRONG_PASSWORD);
        };
        Reply::json(format!(
            r#"{{"message":"success","retcode":"0","result":{{"vdnid":{vdn},"workno":"{agent}","mediatype":"{MEDIA_TYPE}","loginTime":"{signed_in_ms}","isForceChange":"false","serverName":"{}","timeRemaining":"{TIME_REMAINING}"}}}}"#,
            self.settings.server_name,
        ))
        .with_guid(&opened.guid)
    }

    fn note_failed_sign_in(&self, agent: AgentId, context: &RequestContext, now: Instant) {
        let peer = context.peer;
        match self.throttle.failed(agent, peer, now) {
            Some(Locked::Pair) => log::warn!(
                "agent {agent} is locked for clients at {peer}: too many failed sign-ins"
            ),
            Some(Locked::Prefix) => log::warn!(
                "all agents that have not signed in from {peer} are locked for clients there: too many failed sign-ins"
            ),
            None => {}
        }
    }
}

impl Reply {
    /// Adds the Guid. Vendor clients match the header name by exact case and strip the literal
    /// prefix, so neither may change and no attribute may follow.
    pub(super) fn with_guid(self, guid: &Guid) -> Reply {
        self.with("Set-GUID", format!("JSESSIONID={}", guid.expose()))
    }
}

/// Milliseconds since 1970; 0 for a clock set before that.
pub(super) fn epoch_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
