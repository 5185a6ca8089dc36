//! Who may go on: the Guid of a request against the session of the agent in its path.

use std::time::{Duration, Instant};

use super::code::ResultCode;
use super::gateway::Gateway;
use super::deferred::{Answer, Deferred};
use super::reply::Reply;
use super::request::{HeaderName, Request};
use crate::session::{Admitted, AgentId, Denied, Fingerprint};

/// How long a 000-003 is held back. Two vendor clients ask again at once and without end when they get
/// one; this makes that two requests a second instead of thousands.
const DENIAL_DELAY: Duration = Duration::from_millis(500);

impl Gateway {
    /// The session the request belongs to, or the answer that says why there is none.
    pub(super) fn authenticate(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Result<Admitted, Answer> {
        let guid = request.headers.value(HeaderName::Guid).and_then(Fingerprint::of_header);
        let authenticated = self.sessions.authenticate(agent, guid.as_ref(), now);
        request.authenticated.set(authenticated.is_ok());
        authenticated.map_err(|denied| match denied {
            Denied::NotSignedIn => Reply::rejected(ResultCode::NOT_SIGNED_IN).into(),
            Denied::NoRight => {
                Answer::Deferred(Deferred::until(now + DENIAL_DELAY, |_, _| Reply::rejected(ResultCode::NO_RIGHT).into()))
            }
        })
    }
}
