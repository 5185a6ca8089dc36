//! Authentication: checks the Guid of a request against the session of the agent in its path.

use std::time::{Duration, Instant};

use super::code::ResultCode;
use super::deferred::{Answer, Deferred};
use super::gateway::Gateway;
use super::reply::Reply;
use super::request::{HeaderName, Request};
use crate::session::{AgentId, AuthError, Authenticated, Fingerprint};

/// Delay before a refusal is sent. Two vendor clients retry 000-003 in a tight loop; this limits
/// each to two requests a second, and limits the log lines that a client without a session can
/// cause.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);

/// A signed-in agent who makes a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) agent: AgentId,
    pub(super) authenticated: Authenticated,
    pub(super) now: Instant,
}

impl Gateway {
    /// The caller of the request, or the code to refuse it with.
    pub(super) fn authenticate(
        &self,
        agent: AgentId,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Caller, ResultCode> {
        let guid = request
            .headers
            .value(HeaderName::Guid)
            .and_then(Fingerprint::from_header);
        match self.sessions.authenticate(agent, guid.as_ref(), now) {
            Ok(authenticated) => Ok(Caller {
                agent,
                authenticated,
                now,
            }),
            Err(AuthError::NotSignedIn) => Err(ResultCode::NOT_SIGNED_IN),
            Err(AuthError::NoRight) => Err(ResultCode::NO_RIGHT),
        }
    }

    /// Sends `refusal` after [`REFUSAL_DELAY`], without holding a thread.
    pub(super) fn delayed(now: Instant, refusal: Reply) -> Answer {
        Answer::Deferred(Deferred::until(now + REFUSAL_DELAY, move |_, _| {
            refusal.into()
        }))
    }
}
