//! Dispatch of a request to its interface.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::agent_queries;
use super::agent_state::{self, Caller};
use super::code::ResultCode;
use super::cors;
use super::deferred::{Answer, Finish};
use super::download;
use super::gateway::{Gateway, RequestContext};
use super::interfaces::Interface;
use super::reply::Reply;
use super::request::{HeaderName, Method, Request};
use super::router::{self, Route};
use crate::session::{AgentId, SessionId, StateCommand};

impl Gateway {
    /// Answers a request, or defers the answer.
    pub(crate) fn handle(&self, request: &Request<'_>) -> (Box<RequestContext>, Answer) {
        let now = Instant::now();
        let origin = cors::allowed(
            &self.settings.cors_allow_origin,
            request.headers.value(HeaderName::Origin),
        );
        let context = |interface, agent| {
            let (is_authenticated, trail) = (AtomicBool::new(false), OnceLock::new());
            Box::new(RequestContext {
                interface,
                agent,
                peer: request.peer,
                began: now,
                is_authenticated,
                origin,
                trail,
            })
        };
        let (interface, route) = match router::route(request.path) {
            Some(route) => (route.interface, Some(route)),
            None if asks_for_health(request) => (Interface::Health, None),
            None => (Interface::Unknown, None),
        };
        let agent = route
            .as_ref()
            .and_then(|route| AgentId::parse(&route.agent, self.settings.agent_id_max));
        let context = context(interface, agent);
        let answer = match &route {
            Some(route) => self.dispatch(&context, route, request, now),
            None if interface == Interface::Health => self.health_status().into(),
            None => Reply::http_error(404, ResultCode::INVALID_PARAMETER).into(),
        };
        context
            .is_authenticated
            .store(request.authenticated.get(), Ordering::Relaxed);
        let answer = self.expose(&context, answer);
        (context, answer)
    }

    /// Completes a deferred request.
    pub(crate) fn resume(&self, context: &RequestContext, finish: Finish) -> Answer {
        self.expose(context, finish(self, context))
    }

    fn expose(&self, context: &RequestContext, answer: Answer) -> Answer {
        cors::expose(context.origin.as_ref(), answer)
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
        // As the vendor's own handlers do: clients take any other status for a failed connection.
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
            // Anybody may ask for these, and each is logged.
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
                _ => Reply::rejected(ResultCode::INVALID_PARAMETER).into(),
            };
        };
        match interface {
            Interface::Login => self.sign_in(agent, request, false, now),
            Interface::ForceLogin => self.sign_in(agent, request, true, now),
            Interface::Logout | Interface::ForceLogout => self.sign_out(agent, request, now),
            Interface::ForceLogoutWithReason => {
                self.sign_out_with_reason(agent, route.parameter(0), request, now)
            }
            Interface::UpdateGuid => self.update_guid(agent, request, now),
            Interface::Handshake => self.handshake(agent, request, now),
            Interface::Heartbeat => self.heartbeat(agent, request, now),
            Interface::GetAgentEvent => self.poll(agent, request, now),
            Interface::DownloadVideoFileEx
            | Interface::DownloadRecordFile
            | Interface::RecordFileDownloadEx => self.download(context, agent, request, now),
            Interface::GetLocalRecordPath => self.local_record_path(context, agent, request, now),
            Interface::DownloadLocalRecordFile => {
                self.local_record_file(context, agent, request, now)
            }
            _ => match self.authenticate(agent, request, now) {
                Ok(authenticated) => {
                    self.answer_agent(interface, agent, authenticated.session, route, request, now)
                }
                Err(answer) => answer,
            },
        }
    }

    /// Answers the interfaces that need nothing but the session of the agent.
    fn answer_agent(
        &self,
        interface: Interface,
        agent: AgentId,
        session: SessionId,
        route: &Route,
        request: &Request<'_>,
        now: Instant,
    ) -> Answer {
        let caller = Caller {
            agent,
            session,
            now,
        };
        match interface {
            Interface::ResetSkill => agent_state::reset_skill(request.query),
            Interface::SayFree => self.change_state(caller, StateCommand::SayFree),
            Interface::SayBusy => self.say_busy(caller, request.query),
            Interface::CancelBusy => self.change_state(caller, StateCommand::CancelBusy),
            Interface::SayWork => self.change_state(caller, StateCommand::Work),
            Interface::CancelWork => self.change_state(caller, StateCommand::CancelWork),
            Interface::Rest => self.rest(caller, route, request.query),
            Interface::CancelRest => self.change_state(caller, StateCommand::CancelRest),
            Interface::SetAgentAutoEnterIdle => {
                self.set_auto_enter_idle(caller, route.parameter(0))
            }
            Interface::SetAgentAutoAnswer => agent_state::set_auto_answer(route.parameter(0)),
            Interface::SyncAgentInfo => self.sync_agent_info(caller),
            Interface::GetAgentStatus => self.agent_status(caller),
            Interface::QueryAgentSkillsByWorkNo => self.skills_by_work_no(route.parameter(0)),
            Interface::IsCensor => self.is_censor(agent),
            Interface::GetAllStatusAgents => self.all_agent_status(caller),
            Interface::QueryAllLoginedAgentInfoOnVdn => self.online_agents(caller),
            Interface::GetIdleStatusAgents => self.idle_agents(caller),
            Interface::QueryAllMonitoredAgents => self.monitored_agents(caller),
            Interface::QueryGroupInfoByWorkNo => self.group_of(caller, route.parameter(0)),
            Interface::QueryAllAgentWasNameOnVdn => self.agent_names(caller),
            Interface::QueryAgentInfoByWorkNo => self.agent_info(caller, route.parameter(0)),
            Interface::QueryAllAgentInfoOnMyGroupEx => self.agents_of_group(caller, request.query),
            Interface::QueryAgentInfoWithoutSkills => self.agent_infos(caller, request.body),
            Interface::QuerySkillQueueOnVdn => {
                agent_queries::skill_queues_of_vdn(route.parameter(0))
            }
            Interface::QuerySkillQueueOnAgent => self.skills_by_work_no(route.parameter(0)),
            Interface::QueryStatInfoOfAcd => agent_queries::queue_figures(request.body),
            Interface::GetConnectToken => Reply::rejected(ResultCode::INVALID_PARAMETER),
            Interface::BeginMonitor | Interface::EndMonitor => Reply::done(),
            Interface::QueryIvrInfoOnVdn => agent_queries::empty_ivr_list(),
            Interface::QueryAgentSkills
            | Interface::GetAgentRestReason
            | Interface::QueryGroupInfoOnVdn
            | Interface::QuerySkillQueueOnAgentVdn
            | Interface::QueryInNoOnVdn => Reply::result("[]"),
            // Answered before.
            _ => Reply::rejected(ResultCode::INTERNAL),
        }
        .into()
    }
}

/// Whether this is the default check of a balancer, which knows nothing of interfaces.
fn asks_for_health(request: &Request<'_>) -> bool {
    matches!(
        (request.method, request.path),
        (Method::Options, "*" | "/") | (Method::Head, "/")
    )
}
