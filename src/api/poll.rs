//! `GET /agentevent/{id}`: the long poll, which also keeps the session alive and renews its Guid.

use std::sync::Arc;
use std::time::Instant;

use super::code::ResultCode;
use super::gateway::Gateway;
use super::deferred::{Answer, Deferred};
use super::reply::Reply;
use super::request::Request;
use crate::session::{Admitted, AgentId};

impl Gateway {
    /// Answers at once where waiting is off or the service drains, else when the time is up or the session
    /// ends.
    pub(super) fn poll(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        let admitted = match self.authenticate(agent, request, now) {
            Ok(admitted) => admitted,
            Err(answer) => return answer,
        };
        match self.settings.poll_wait {
            Some(wait) if !wait.is_zero() && !self.is_draining() => {
                let admitted = Arc::new(admitted);
                let (answer_now, woken) = (Arc::clone(&admitted.answer_now), Arc::clone(&admitted));
                Answer::Deferred(
                    Deferred::until_event(
                        now + wait,
                        move |gateway, _| gateway.finish_poll(agent, &admitted),
                        move |ticket| {
                            answer_now.when_raised(move || {
                                ticket.complete(move |gateway, _| gateway.finish_poll(agent, &woken));
                            });
                        },
                    )
                    .counted_as_poll(),
                )
            }
            _ => self.finish_poll(agent, &admitted),
        }
    }

    fn finish_poll(&self, agent: AgentId, admitted: &Admitted) -> Answer {
        let now = Instant::now();
        // The session counts as heard while its poll was parked: the client was there all the time.
        if !self.sessions.heard(agent, admitted.session, now) {
            return Reply::rejected(ResultCode::NOT_SIGNED_IN).into();
        }
        self.with_renewed_guid(agent, admitted, now, Reply::empty()).into()
    }

    /// Adds a renewed Guid to a poll or handshake answer once one is due.
    pub(super) fn with_renewed_guid(&self, agent: AgentId, admitted: &Admitted, now: Instant, reply: Reply) -> Reply {
        match self.sessions.renew_if_due(agent, admitted, now) {
            Some(guid) => reply.with_guid(&guid),
            None => reply,
        }
    }
}
