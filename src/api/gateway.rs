//! The gateway as the interfaces see it: everything they share, and the way in.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::code::ResultCode;
use super::cors;
use super::later::{Answer, Later};
use super::reply::{FieldValue, Reply};
use super::request::{Field, Method, Request};
use super::router::{self, Interface, Route};
use crate::config::Settings;
use crate::ops::counters::Counters;
use crate::recording::{Downloads, Mounts};
use crate::session::{AgentId, Checker, Roster, SessionTable, SignIns, Throttle};

/// Everything the interfaces share.
#[derive(Debug)]
pub struct Gateway {
    pub(super) settings: Settings,
    pub(super) sessions: SessionTable,
    pub(super) checker: Checker,
    pub(super) throttle: Throttle,
    pub(super) sign_ins: SignIns,
    pub(super) mounts: Mounts,
    pub(super) downloads: Downloads,
    counters: Arc<Counters>,
    roster: RwLock<Arc<Roster>>,
    draining: AtomicBool,
}

/// What is known of a request from its head, kept while it waits and for its log line.
#[derive(Debug)]
pub struct Call {
    /// The interface.
    pub interface: Interface,
    /// The agent in the path, where it is one.
    pub agent: Option<AgentId>,
    /// The client's address.
    pub peer: IpAddr,
    /// The origin of a browser client that may read the answer.
    origin: Option<FieldValue>,
}

impl Gateway {
    /// A gateway with nobody signed in.
    ///
    /// # Errors
    /// When a thread of the password checker or of the mount watch cannot be started.
    pub fn new(settings: Settings, roster: Roster, counters: Arc<Counters>) -> std::io::Result<Gateway> {
        let checker = Checker::start()?;
        checker.assume(roster.usual_iterations());
        let mut mounts = Mounts::new(&settings.mounts, settings.pool_mode, settings.mount_check);
        mounts.watch()?;
        Ok(Gateway {
            sessions: SessionTable::new(super::sign_in::policy(&settings)),
            checker,
            throttle: Throttle::default(),
            sign_ins: SignIns::new(),
            mounts,
            downloads: Downloads::new(settings.max_downloads, settings.max_downloads_per_agent),
            settings,
            counters,
            roster: RwLock::new(Arc::new(roster)),
            draining: AtomicBool::new(false),
        })
    }

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
        if request.method == Method::Options && call.origin.is_some() {
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

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who may sign in, as of the last reload.
    pub(super) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a new roster in force. Sessions of agents who are no longer in it end; a changed password ends
    /// none. Returns how many ended.
    pub fn replace_roster(&self, roster: Roster) -> usize {
        self.checker.assume(roster.usual_iterations());
        let roster = Arc::new(roster);
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&roster);
        self.sessions.retain(|agent| roster.agent(agent).is_some())
    }

    /// From now on no poll waits, and those that do are answered.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.sessions.wake_all();
    }

    /// Whether the service is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}
