//! Dispatches requests to interfaces.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::access::Caller;
use super::agent_queries;
use super::agent_state;
use super::code::ResultCode;
use super::cors;
use super::deferred::{Answer, Finish};
use super::download;
use super::gateway::{Gateway, RequestContext};
use super::interfaces::Interface;
use super::keep_alive::heartbeat;
use super::reply::{Outcome, Reply};
use super::request::{HeaderName, Method, Request};
use super::router::{self, Route};
use crate::session::{AgentId, StateCommand};

impl Gateway {
    /// Answers a request, or defers the answer.
    pub(crate) fn handle(&self, request: &Request<'_>) -> (Box<RequestContext>, Answer) {
        let now = Instant::now();
        let origin = cors::allowed(
            &self.settings.cors_allow_origin,
            request.headers.value(HeaderName::Origin),
        );
        let (interface, route) = match router::route(request.path) {
            Some(route) => (route.interface, Some(route)),
            None if asks_for_health(request) => (Interface::Health, None),
            None => (Interface::Unknown, None),
        };
        let agent = route
            .as_ref()
            .and_then(|route| AgentId::parse(&route.agent, self.settings.agent_id_max));
        let context = Box::new(RequestContext {
            interface,
            agent,
            peer: request.peer,
            began: now,
            is_authenticated: AtomicBool::new(false),
            origin,
            trail: OnceLock::new(),
        });
        let answer = match &route {
            Some(route) => self.dispatch(&context, route, request, now),
            None if interface == Interface::Health => self.health_status().into(),
            None => Reply::http_error(404, ResultCode::INVALID_PARAMETER).into(),
        };
        let answer = cors::expose(context.origin.as_ref(), answer);
        (context, answer)
    }

    /// Completes a deferred request.
    pub(crate) fn resume(&self, context: &RequestContext, finish: Finish) -> Answer {
        cors::expose(context.origin.as_ref(), finish(self, context))
    }

    fn dispatch(
        &self,
        context: &RequestContext,
        route: &Route,
        request: &Request<'_>,
        now: Instant,
    ) -> Answer {
        let interface = context.interface;
        let is_preflight = request
            .headers
            .value(HeaderName::AccessControlRequestMethod)
            .is_some()
            && context.origin.is_some();
        if request.method == Method::Options && is_preflight {
            return cors::preflight(interface).into();
        }
        if request.method == Method::Head && interface == Interface::Health {
            return self.health().into();
        }
        // HTTP 200, like the vendor's own handlers: clients treat any other status as a failed
        // connection.
        let Some(entry) = interface.entry() else {
            return Reply::rejected(ResultCode::INVALID_PARAMETER).into();
        };
        if request.method != entry.method {
            return Reply::http_error(405, ResultCode::INVALID_PARAMETER)
                .with("Allow", interface.allow())
                .into();
        }
        match interface {
            Interface::Health => return self.health().into(),
            Interface::Metrics => return self.metrics(request).into(),
            // Delayed because they need no Guid and each is logged.
            Interface::GetAllAgentEvent => {
                return Gateway::delayed(now, Reply::rejected(ResultCode::WRONG_EVENT_METHOD));
            }
            Interface::LoginByAccount => {
                return Gateway::delayed(now, Reply::rejected(ResultCode::NO_ACCOUNTS));
            }
            _ => {}
        }
        let Some(agent) = context.agent else {
            return match interface {
                Interface::GetLocalRecordPath => {
                    download::rejected(interface, ResultCode::INVALID_PARAMETER)
                }
                _ => Reply::rejected(ResultCode::INVALID_PARAMETER),
            }
            .into();
        };
        if let Interface::Login | Interface::ForceLogin = interface {
            return self.sign_in(agent, request, interface == Interface::ForceLogin, now);
        }
        let caller = match self.authenticate(agent, request, now) {
            Ok(caller) => caller,
            Err(code) => return Gateway::delayed(now, download::rejected(interface, code)),
        };
        context.is_authenticated.store(true, Ordering::Relaxed);
        match interface {
            Interface::GetAgentEvent => self.poll(caller),
            Interface::DownloadVideoFileEx
            | Interface::DownloadRecordFile
            | Interface::RecordFileDownloadEx => self.download(context, caller, request),
            Interface::GetLocalRecordPath => self.local_record_path(context, caller, request.query),
            Interface::DownloadLocalRecordFile => self.local_record_file(context, caller, request),
            _ => self
                .answer_agent(interface, caller, route, request)
                .unwrap_or_else(Reply::rejected)
                .into(),
        }
    }

    /// Answers the interfaces that need nothing but the caller's session.
    fn answer_agent(
        &self,
        interface: Interface,
        caller: Caller,
        route: &Route,
        request: &Request<'_>,
    ) -> Outcome {
        let parameter = route.parameter(0);
        match interface {
            Interface::Logout | Interface::ForceLogout => self.sign_out(caller),
            Interface::ForceLogoutWithReason => self.sign_out_with_reason(caller, parameter),
            Interface::UpdateGuid => self.update_guid(caller),
            Interface::Handshake => self.handshake(caller, request.headers),
            Interface::Heartbeat => Ok(heartbeat(caller)),
            Interface::ResetSkill => agent_state::reset_skill(request.query),
            Interface::SayFree => self.change_state(caller, StateCommand::SayFree),
            Interface::SayBusy => self.say_busy(caller, request.query),
            Interface::CancelBusy => self.change_state(caller, StateCommand::CancelBusy),
            Interface::SayWork => self.change_state(caller, StateCommand::Work),
            Interface::CancelWork => self.change_state(caller, StateCommand::CancelWork),
            Interface::Rest => self.rest(caller, route, request.query),
            Interface::CancelRest => self.change_state(caller, StateCommand::CancelRest),
            Interface::SetAgentAutoEnterIdle => self.set_auto_enter_idle(caller, parameter),
            Interface::SetAgentAutoAnswer => agent_state::set_auto_answer(parameter),
            Interface::SyncAgentInfo => self.sync_agent_info(caller),
            Interface::GetAgentStatus => self.agent_status(caller),
            Interface::QueryAgentSkillsByWorkNo | Interface::QuerySkillQueueOnAgent => {
                self.skills_by_work_no(parameter)
            }
            Interface::IsCensor => Ok(self.is_censor(caller.agent)),
            Interface::GetAllStatusAgents => Ok(self.all_agent_status(caller)),
            Interface::QueryAllLoginedAgentInfoOnVdn => Ok(self.online_agents(caller)),
            Interface::GetIdleStatusAgents => Ok(self.idle_agents(caller)),
            Interface::QueryAllMonitoredAgents => Ok(self.monitored_agents(caller)),
            Interface::QueryGroupInfoByWorkNo => self.group_of(caller, parameter),
            Interface::QueryAllAgentWasNameOnVdn => Ok(self.agent_names(caller)),
            Interface::QueryAgentInfoByWorkNo => self.agent_info(caller, parameter),
            Interface::QueryAllAgentInfoOnMyGroupEx => self.agents_of_group(caller, request.query),
            Interface::QueryAgentInfoWithoutSkills => self.agent_infos(caller, request.body),
            Interface::QuerySkillQueueOnVdn => agent_queries::skill_queues_of_vdn(parameter),
            Interface::QueryStatInfoOfAcd => agent_queries::queue_figures(request.body),
            Interface::GetConnectToken => Err(ResultCode::INVALID_PARAMETER),
            Interface::BeginMonitor | Interface::EndMonitor => Ok(Reply::done()),
            Interface::QueryIvrInfoOnVdn => Ok(agent_queries::empty_ivr_list()),
            Interface::QueryAgentSkills
            | Interface::GetAgentRestReason
            | Interface::QueryGroupInfoOnVdn
            | Interface::QuerySkillQueueOnAgentVdn
            | Interface::QueryInNoOnVdn => Ok(Reply::result("[]")),
            // Answered before.
            _ => Err(ResultCode::INTERNAL),
        }
    }
}

/// Whether this is a load balancer's default health check.
fn asks_for_health(request: &Request<'_>) -> bool {
    matches!(
        (request.method, request.path),
        (Method::Options, "*" | "/") | (Method::Head, "/")
    )
}
