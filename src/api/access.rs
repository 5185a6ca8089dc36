//! Authentication: the Guid of a request against the session of the agent in its path.

use std::time::{Duration, Instant};

use super::code::ResultCode;
use super::deferred::{Answer, Deferred};
use super::gateway::Gateway;
use super::reply::Reply;
use super::request::{HeaderName, Request};
use crate::session::{AgentId, AuthError, Authenticated, Fingerprint};

/// How long a refusal is held back. Two vendor clients ask again at once and without end when they
/// get a 000-003; this makes that two requests a second instead of thousands, and as few log lines
/// of a stranger who asks without a session.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);

impl Gateway {
    /// The session of the request, or the refusal to answer with.
    pub(super) fn authenticate(
        &self,
        agent: AgentId,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Authenticated, Answer> {
        self.authenticate_or(agent, request, now, Reply::rejected)
    }

    /// [`Gateway::authenticate`] for an interface whose refusals look otherwise.
    pub(super) fn authenticate_or(
        &self,
        agent: AgentId,
        request: &Request<'_>,
        now: Instant,
        refusal: impl FnOnce(ResultCode) -> Reply,
    ) -> Result<Authenticated, Answer> {
        let guid = request
            .headers
            .value(HeaderName::Guid)
            .and_then(Fingerprint::from_header);
        let authenticated = self.sessions.authenticate(agent, guid.as_ref(), now);
        request.authenticated.set(authenticated.is_ok());
        authenticated.map_err(|error| {
            let code = match error {
                AuthError::NotSignedIn => ResultCode::NOT_SIGNED_IN,
                AuthError::NoRight => ResultCode::NO_RIGHT,
            };
            Gateway::delayed(now, refusal(code))
        })
    }

    /// The refusal after [`REFUSAL_DELAY`], without holding a thread.
    pub(super) fn delayed(now: Instant, refusal: Reply) -> Answer {
        Answer::Deferred(Deferred::until(now + REFUSAL_DELAY, move |_, _| {
            refusal.into()
        }))
    }
}
