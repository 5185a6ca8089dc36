//! `GET /agentevent/{id}`: the long poll, which also keeps the session alive and renews its Guid.

use std::sync::Arc;
use std::time::Instant;

use super::code::ResultCode;
use super::gateway::Gateway;
use super::later::{Answer, Later};
use super::reply::Reply;
use super::request::Request;
use crate::session::{AgentId, Authenticated};

impl Gateway {
    /// Answers at once where waiting is off or the service drains, else when the time is up or the session
    /// ends.
    pub(super) fn poll(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        let admitted = match self.admit(agent, request, now) {
            Ok(admitted) => admitted,
            Err(answer) => return answer,
        };
        match self.settings.poll_wait {
            Some(wait) if !wait.is_zero() && !self.is_draining() => Answer::Later(
                Later::when(Arc::clone(&admitted.answer_now), now + wait, move |gateway, _| {
                    gateway.finish_poll(agent, &admitted)
                })
                .parked(),
            ),
            _ => self.finish_poll(agent, &admitted),
        }
    }

    fn finish_poll(&self, agent: AgentId, admitted: &Authenticated) -> Answer {
        let now = Instant::now();
        // The session counts as heard while its poll was parked: the client was there all the time.
        if !self.sessions.touch(agent, admitted.session, now) {
            return Reply::failure(ResultCode::NOT_SIGNED_IN).into();
        }
        self.with_renewed_guid(agent, admitted, now, Reply::empty()).into()
    }

    /// Adds a renewed Guid to a poll or handshake answer once one is due.
    pub(super) fn with_renewed_guid(
        &self,
        agent: AgentId,
        admitted: &Authenticated,
        now: Instant,
        reply: Reply,
    ) -> Reply {
        match self.sessions.renew_if_due(agent, admitted, now) {
            Some(guid) => reply.with_guid(&guid),
            None => reply,
        }
    }
}
