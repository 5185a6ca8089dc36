//! The three ways to sign out. They differ only in how they treat calls, and there are no calls
//! here.

use super::access::Caller;
use super::code::ResultCode;
use super::gateway::Gateway;
use super::reply::{Outcome, Reply};

impl Gateway {
    /// `DELETE .../logout` and `.../forcelogout`. A parked poll of the session is answered
    /// immediately.
    pub(super) fn sign_out(&self, caller: Caller) -> Outcome {
        match self
            .sessions
            .sign_out(caller.agent, caller.authenticated.session)
        {
            true => Ok(Reply::empty()),
            // Another request ended the session first.
            false => Err(ResultCode::NOT_SIGNED_IN),
        }
    }

    /// `DELETE .../forcelogoutwithreason/{reason}`.
    pub(super) fn sign_out_with_reason(&self, caller: Caller, reason: &str) -> Outcome {
        match is_reason(reason) {
            true => self.sign_out(caller),
            false => Err(ResultCode::INVALID_SIGN_OUT),
        }
    }
}

/// A reason is a plain decimal from 1 to 255.
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
