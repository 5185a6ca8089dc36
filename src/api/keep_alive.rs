//! Keeping a session alive without polling, and changing its Guid at once.

use std::time::{Instant, SystemTime};

use super::code::ResultCode;
use super::deferred::Answer;
use super::gateway::Gateway;
use super::reply::Reply;
use super::request::{HeaderName, Request};
use super::sign_in::epoch_ms;
use super::sign_in_body::is_service_token;
use crate::session::AgentId;

impl Gateway {
    /// `POST .../handshake`. Like a poll it carries a Guid once one is due.
    pub(super) fn handshake(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        let authenticated = match self.authenticate(agent, request, now) {
            Ok(authenticated) => authenticated,
            Err(answer) => return answer,
        };
        if !request
            .headers
            .value(HeaderName::ServiceToken)
            .is_none_or(is_service_token)
        {
            return Reply::rejected(ResultCode::INVALID_SIGN_IN).into();
        }
        self.with_renewed_guid(agent, &authenticated, now, Reply::success())
            .into()
    }

    /// `PUT .../heartbeat`, the older form. The vendor's demo client spins without a pause unless
    /// the answer has a `result` object.
    pub(super) fn heartbeat(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        match self.authenticate(agent, request, now) {
            Ok(authenticated) => {
                let signed_in = epoch_ms(
                    SystemTime::now() - now.saturating_duration_since(authenticated.signed_in),
                );
                Reply::json(format!(r#"{{"message":"success","retcode":"0","result":{{"loginTime":"{signed_in}"}}}}"#))
                    .into()
            }
            Err(answer) => answer,
        }
    }

    /// `PUT .../updateGuid`, for a reloaded browser page.
    pub(super) fn update_guid(
        &self,
        agent: AgentId,
        request: &Request<'_>,
        now: Instant,
    ) -> Answer {
        let session = match self.authenticate(agent, request, now) {
            Ok(authenticated) => authenticated.session,
            Err(answer) => return answer,
        };
        match self.sessions.update_guid(agent, session, now) {
            Some(guid) => {
                let body = format!(
                    r#"{{"result":{{"guid":"{}"}},"message":"success","retcode":"0"}}"#,
                    guid.expose()
                );
                Reply::json(body).with_guid(&guid).into()
            }
            None => Reply::rejected(ResultCode::NOT_SIGNED_IN).into(),
        }
    }
}
