//! `GET /agentevent/{id}`: the long poll, which also keeps the session alive and renews the Guid.

use std::time::{Duration, Instant};

use super::access::Caller;
use super::code::ResultCode;
use super::deferred::{Answer, Deferred, Ticket};
use super::gateway::Gateway;
use super::reply::Reply;
use crate::session::{PollOutcome, Wake};

/// Delay of the answer to a poll whose session was replaced, so that the client has its new Guid
/// before it polls again.
const REPLACED_DELAY: Duration = Duration::from_millis(500);

impl Gateway {
    /// Answers immediately if waiting is off or the service drains, otherwise on an event, at the
    /// timeout, or when the session ends.
    pub(super) fn poll(&self, caller: Caller) -> Answer {
        match self.settings.poll_wait {
            Some(wait) if !wait.is_zero() && !self.is_draining() => {
                let deferred = Deferred::until_event(
                    caller.now + empty_after(wait),
                    move |gateway, _| gateway.finish_poll(caller),
                    move |gateway, ticket| {
                        let (agent, session) = (caller.agent, caller.authenticated.session);
                        let waker = Box::new(PollWaker { ticket, caller });
                        gateway.sessions.park(agent, session, waker, Instant::now());
                    },
                );
                Answer::Deferred(Deferred {
                    is_poll: true,
                    ..deferred
                })
            }
            _ => self.finish_poll(caller),
        }
    }

    fn finish_poll(&self, caller: Caller) -> Answer {
        let now = Instant::now();
        let (agent, session) = (caller.agent, caller.authenticated.session);
        let reply = match self.sessions.poll_outcome(agent, session, now) {
            PollOutcome::Event(event) => {
                let body = event.poll_body(agent);
                Reply::json(body).or_undelivered(move |gateway| {
                    gateway
                        .sessions
                        .requeue_front(agent, session, event, Instant::now());
                })
            }
            PollOutcome::Empty => Reply::empty(),
            PollOutcome::Replaced => {
                return Answer::Deferred(Deferred::until(now + REPLACED_DELAY, |_, _| {
                    Reply::empty().into()
                }));
            }
            PollOutcome::Ended => return Reply::rejected(ResultCode::NOT_SIGNED_IN).into(),
        };
        self.with_renewed_guid(Caller { now, ..caller }, reply)
            .into()
    }

    /// Adds a renewed Guid to a poll or handshake reply if one is due.
    pub(super) fn with_renewed_guid(&self, caller: Caller, reply: Reply) -> Reply {
        match self
            .sessions
            .renew_if_due(caller.agent, &caller.authenticated, caller.now)
        {
            Some(guid) => reply.with_guid(&guid),
            None => reply,
        }
    }
}

/// The time after which an empty reply is sent: 97 % of the configured wait, because a common
/// client library times out after exactly 10 s, the default wait.
fn empty_after(wait: Duration) -> Duration {
    wait / 100 * 97
}

/// Answers a parked poll.
struct PollWaker {
    ticket: Ticket,
    caller: Caller,
}

impl Wake for PollWaker {
    fn wake(self: Box<Self>) {
        let PollWaker { ticket, caller } = *self;
        ticket.complete(move |gateway, _| gateway.finish_poll(caller));
    }

    fn is_live(&self) -> bool {
        self.ticket.is_live()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_comes_before_a_client_gives_up() {
        for (wait_ms, empty_ms) in [(10_000, 9_700), (1_000, 970), (100, 97), (600_000, 582_000)] {
            assert_eq!(
                empty_after(Duration::from_millis(wait_ms)),
                Duration::from_millis(empty_ms)
            );
        }
    }
}
