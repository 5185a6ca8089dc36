//! The way in: from a request to its interface.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::code::ResultCode;
use super::cors;
use super::deferred::{Answer, Finish};
use super::gateway::{Gateway, RequestContext};
use super::reply::Reply;
use super::request::{HeaderName, Method, Request};
use super::router::{self, Interface, Route};
use crate::session::AgentId;

impl Gateway {
    /// Answers a request, or begins to.
    pub fn handle(&self, request: &Request<'_>) -> (Box<RequestContext>, Answer) {
        let now = Instant::now();
        let origin = cors::allowed(&self.settings.cors_allow_origin, request.headers.value(HeaderName::Origin));
        let context = |interface, agent| {
            let is_agents = AtomicBool::new(false);
            Box::new(RequestContext { interface, agent, peer: request.peer, began: now, is_agents, origin })
        };
        let Some(route) = router::route(request.path) else {
            let context = context(Interface::Unknown, None);
            let answer = self.expose(&context, Reply::http_error(404, ResultCode::INVALID_PARAMETER).into());
            return (context, answer);
        };
        let agent = AgentId::parse(&route.agent, self.settings.agent_id_max);
        let context = context(route.interface, agent);
        let answer = self.dispatch(&context, &route, request, now);
        context.is_agents.store(request.authenticated.get(), Ordering::Relaxed);
        let answer = self.expose(&context, answer);
        (context, answer)
    }

    /// Finishes a request that has waited.
    pub fn resume(&self, context: &RequestContext, finish: Finish) -> Answer {
        self.expose(context, finish(self, context))
    }

    fn expose(&self, context: &RequestContext, answer: Answer) -> Answer {
        cors::expose(context.origin.as_ref(), answer)
    }

    fn dispatch(&self, context: &RequestContext, route: &Route, request: &Request<'_>, now: Instant) -> Answer {
        let interface = context.interface;
        let is_preflight =
            request.headers.value(HeaderName::AccessControlRequestMethod).is_some() && context.origin.is_some();
        if request.method == Method::Options && is_preflight {
            return cors::preflight(interface).into();
        }
        if request.method == Method::Head && interface == Interface::Health {
            return self.health(request).into();
        }
        if request.method != interface.method() {
            return Reply::http_error(405, ResultCode::INVALID_PARAMETER).with("Allow", interface.allow()).into();
        }
        match interface {
            Interface::Health => return self.health(request).into(),
            Interface::Metrics => return self.metrics(request.peer).into(),
            _ => {}
        }
        let Some(agent) = context.agent else {
            return Reply::rejected(ResultCode::INVALID_PARAMETER).into();
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
                Reply::http_error(404, ResultCode::INVALID_PARAMETER).into()
            }
        }
    }
}
