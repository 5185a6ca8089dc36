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

    /// The refusal after [`REFUSAL_DELAY`], without holding a thread.
    pub(super) fn delayed(now: Instant, refusal: Reply) -> Answer {
        Answer::Deferred(Deferred::until(now + REFUSAL_DELAY, move |_, _| {
            refusal.into()
        }))
    }
}
