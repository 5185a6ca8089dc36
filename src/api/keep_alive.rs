//! Keeping a session alive without polling, and replacing its Guid.

use std::time::SystemTime;

use super::access::Caller;
use super::code::ResultCode;
use super::gateway::Gateway;
use super::reply::{Outcome, Reply};
use super::request::{HeaderName, Headers};
use super::sign_in::epoch_ms;
use super::sign_in_body::is_service_token;

impl Gateway {
    /// `POST .../handshake`. Like a poll, it renews the Guid when due.
    pub(super) fn handshake(&self, caller: Caller, headers: &Headers) -> Outcome {
        match headers.value(HeaderName::ServiceToken) {
            Some(token) if !is_service_token(token) => Err(ResultCode::INVALID_SIGN_IN),
            _ => Ok(self.with_renewed_guid(caller, Reply::success())),
        }
    }

    /// `PUT .../updateGuid`, used by reloaded browser pages.
    pub(super) fn update_guid(&self, caller: Caller) -> Outcome {
        let guid = self
            .sessions
            .update_guid(caller.agent, caller.authenticated.session, caller.now)
            .ok_or(ResultCode::NOT_SIGNED_IN)?;
        let body = format!(
            r#"{{"result":{{"guid":"{}"}},"message":"success","retcode":"0"}}"#,
            guid.expose()
        );
        Ok(Reply::json(body).with_guid(&guid))
    }
}

/// `PUT .../heartbeat`, the older form. Without a `result` object in the reply the vendor's demo
/// client retries in a tight loop.
pub(super) fn heartbeat(caller: Caller) -> Reply {
    let since = caller
        .now
        .saturating_duration_since(caller.authenticated.signed_in);
    let signed_in = epoch_ms(SystemTime::now() - since);
    Reply::json(format!(
        r#"{{"message":"success","retcode":"0","result":{{"loginTime":"{signed_in}"}}}}"#
    ))
}
