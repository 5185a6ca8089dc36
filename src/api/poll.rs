//! `GET /agentevent/{id}`: the long poll, which also keeps the session alive and renews its Guid.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::code::ResultCode;
use super::gateway::Gateway;
use super::later::{Answer, Later};
use super::reply::Reply;
use super::request::Request;
use crate::ops::latch::Latch;
use crate::session::{AgentId, Authenticated, PollOutcome, Wake};

/// How long the poll of a replaced session is held back: its client is to have its new Guid before it polls again.
const REPLACED_DELAY: Duration = Duration::from_millis(500);

impl Gateway {
    /// Answers at once where waiting is off or the service drains, else when there is an event, when the time is up or
    /// when the session ends.
    pub(super) fn poll(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        let admitted = match self.admit(agent, request, now) {
            Ok(admitted) => admitted,
            Err(answer) => return answer,
        };
        match self.settings.poll_wait {
            Some(wait) if !wait.is_zero() && !self.is_draining() => {
                let latch = Arc::new(Latch::new());
                let session = admitted.session;
                let later = Later::when(Arc::clone(&latch), now + wait, move |gateway, _| {
                    gateway.finish_poll(agent, &admitted)
                });
                self.sessions.park(agent, session, Box::new(LatchWaker(latch)), now);
                Answer::Later(later.parked())
            }
            _ => self.finish_poll(agent, &admitted),
        }
    }

    fn finish_poll(&self, agent: AgentId, admitted: &Authenticated) -> Answer {
        let now = Instant::now();
        let reply = match self.sessions.poll_outcome(agent, admitted.session, now) {
            PollOutcome::Event(event) => Reply::json(event.poll_body(agent)),
            PollOutcome::Empty => Reply::empty(),
            PollOutcome::Replaced => {
                return Answer::Later(Later::at(now + REPLACED_DELAY, |_, _| Reply::empty().into()));
            }
            PollOutcome::Ended => return Reply::failure(ResultCode::NOT_SIGNED_IN).into(),
        };
        self.with_renewed_guid(agent, admitted, now, reply).into()
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

/// Wakes the thread of a parked poll.
struct LatchWaker(Arc<Latch>);

impl Wake for LatchWaker {
    fn wake(self: Box<Self>) {
        self.0.raise();
    }

    fn is_live(&self) -> bool {
        // The poll holds the other one.
        Arc::strong_count(&self.0) > 1
    }
}
