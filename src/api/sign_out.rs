//! The three ways to sign out. All do the same, since there are no calls that a sign-out could
//! interrupt; what the page of each says of calls belongs to another component of a contact centre.

use std::time::Instant;

use super::code::ResultCode;
use super::deferred::Answer;
use super::gateway::Gateway;
use super::reply::Reply;
use super::request::Request;
use crate::session::AgentId;

impl Gateway {
    /// `DELETE .../logout` and `.../forcelogout`. A parked poll of the session is answered at once.
    pub(super) fn sign_out(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        match self.authenticate(agent, request, now) {
            Ok(authenticated) if self.sessions.sign_out(agent, authenticated.session) => {
                Reply::empty().into()
            }
            // Another request of the agent was faster.
            Ok(_) => Reply::rejected(ResultCode::NOT_SIGNED_IN).into(),
            Err(answer) => answer,
        }
    }

    /// `DELETE .../forcelogoutwithreason/{reason}`.
    pub(super) fn sign_out_with_reason(
        &self,
        agent: AgentId,
        reason: &str,
        request: &Request<'_>,
        now: Instant,
    ) -> Answer {
        if is_reason(reason) {
            return self.sign_out(agent, request, now);
        }
        match self.authenticate(agent, request, now) {
            Ok(_) => Reply::rejected(ResultCode::INVALID_SIGN_OUT).into(),
            Err(answer) => answer,
        }
    }
}

/// A reason is a plain decimal of 1 to 255.
fn is_reason(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
        && text.parse::<u8>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_plain_number_of_1_to_255() {
        for (text, fine) in [
            ("1", true),
            ("255", true),
            ("0", false),
            ("256", false),
            ("01", false),
            ("+1", false),
            ("", false),
            ("x", false),
        ] {
            assert_eq!(is_reason(text), fine, "{text}");
        }
    }
}
