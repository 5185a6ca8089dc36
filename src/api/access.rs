//! Who may go on: the Guid of a request against the session of the agent in its path.

use std::time::{Duration, Instant};

use super::code::ResultCode;
use super::gateway::Gateway;
use super::later::{Answer, Later};
use super::reply::Reply;
use super::request::{Field, Request};
use crate::session::{AgentId, AuthError, Authenticated, Fingerprint};

/// How long a 000-003 is held back. Two vendor clients ask again at once and without end when they get
/// one; this makes that two requests a second instead of thousands.
const DENIAL_DELAY: Duration = Duration::from_millis(500);

impl Gateway {
    /// The session the request belongs to, or the answer that says why there is none.
    pub(super) fn admit(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Result<Authenticated, Answer> {
        let guid = request.fields.value(Field::Guid).and_then(Fingerprint::from_header);
        self.sessions.authenticate(agent, guid.as_ref(), now).map_err(|denied| match denied {
            AuthError::NotSignedIn => Reply::failure(ResultCode::NOT_SIGNED_IN).into(),
            AuthError::NoRight => {
                Answer::Later(Later::at(now + DENIAL_DELAY, |_, _| Reply::failure(ResultCode::NO_RIGHT).into()))
            }
        })
    }
}
