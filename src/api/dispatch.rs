//! The way in: from a request to its interface.

use std::time::Instant;

use super::code::ResultCode;
use super::cors;
use super::gateway::{Call, Gateway};
use super::later::{Answer, Later};
use super::reply::Reply;
use super::request::{Field, Method, Request};
use super::router::{self, Interface, Route};
use crate::session::AgentId;

impl Gateway {
    /// Answers a request, or begins to.
    pub fn begin(&self, request: &Request<'_>) -> (Box<Call>, Answer) {
        let now = Instant::now();
        let origin = cors::allowed(&self.settings.cors_allow_origin, request.fields.value(Field::Origin));
        let Some(route) = router::route(request.path) else {
            let call = Call { interface: Interface::Unknown, agent: None, peer: request.peer, origin };
            return self.dressed(call, Reply::fault(404, ResultCode::INVALID_PARAMETER).into());
        };
        let agent = AgentId::parse(&route.agent, self.settings.agent_id_max);
        let call = Call { interface: route.interface, agent, peer: request.peer, origin };
        let answer = self.dispatch(&call, &route, request, now);
        self.dressed(call, answer)
    }

    /// Carries on with a request that has waited.
    pub fn resume(&self, call: &Call, later: Later) -> Answer {
        cors::expose(call.origin.as_ref(), later.finish(self, call))
    }

    fn dressed(&self, call: Call, answer: Answer) -> (Box<Call>, Answer) {
        let answer = cors::expose(call.origin.as_ref(), answer);
        (Box::new(call), answer)
    }

    fn dispatch(&self, call: &Call, route: &Route, request: &Request<'_>, now: Instant) -> Answer {
        let interface = call.interface;
        let is_preflight = request.fields.value(Field::AccessControlRequestMethod).is_some() && call.origin.is_some();
        if request.method == Method::Options && is_preflight {
            return cors::preflight(interface).into();
        }
        if request.method == Method::Head && interface == Interface::Health {
            return self.health(request).into();
        }
        if request.method != interface.method() {
            return Reply::fault(405, ResultCode::INVALID_PARAMETER).with("Allow", interface.allow()).into();
        }
        match interface {
            Interface::Health => return self.health(request).into(),
            Interface::Metrics => return self.metrics(request.peer).into(),
            _ => {}
        }
        let Some(agent) = call.agent else {
            return Reply::failure(ResultCode::INVALID_PARAMETER).into();
        };
        match interface {
            Interface::Login => self.sign_in(agent, request, false, now),
            Interface::ForceLogin => self.sign_in(agent, request, true, now),
            Interface::Logout | Interface::ForceLogout => self.sign_out(agent, request, now),
            Interface::ForceLogoutWithReason => self.sign_out_with_reason(agent, &route.rest, request, now),
            Interface::UpdateGuid => self.update_guid(agent, request, now),
            Interface::Handshake => self.handshake(agent, request, now),
            Interface::Heartbeat => self.heartbeat(agent, request, now),
            Interface::GetAgentEvent => self.poll(agent, request, now),
            Interface::DownloadVideoFileEx => self.download(agent, request, now),
            Interface::Health | Interface::Metrics | Interface::Unknown => {
                Reply::fault(404, ResultCode::INVALID_PARAMETER).into()
            }
        }
    }
}
