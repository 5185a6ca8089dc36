//! The state that all interfaces share.

use super::header_value::HeaderValue;
use super::interfaces::Interface;
use super::recording_events::RecordingEvents;
use super::trail::Trail;
use crate::config::{AuthMode, Settings};
use crate::ops::counters::Counters;
use crate::ops::in_progress::InProgress;
use crate::recording::{Downloads, Mounts};
use crate::session::{
    AgentId, DownloadTokens, PasswordVerifier, Policy, Roster, SessionTable, Throttle,
};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

/// State shared by all interfaces.
pub struct Gateway {
    pub(super) settings: Settings,
    pub(super) sessions: SessionTable,
    pub(super) verifier: PasswordVerifier,
    pub(super) throttle: Throttle,
    /// Sign-ins in progress; the interface allows one per agent at a time. Keyed by agent and
    /// client prefix, so that repeated sign-ins from elsewhere cannot lock an agent out.
    pub(super) sign_ins: InProgress<(AgentId, IpAddr)>,
    pub(super) mounts: Mounts,
    pub(super) downloads: Downloads,
    pub(super) tokens: DownloadTokens,
    pub(super) recording_events: RecordingEvents,
    counters: Arc<Counters>,
    roster: RwLock<Arc<Roster>>,
    draining: AtomicBool,
    /// When the service started.
    pub(super) started: Instant,
}

/// What is kept of a request while it waits and for its log line.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) interface: Interface,
    /// The agent in the path, if valid.
    pub(crate) agent: Option<AgentId>,
    /// The client's address.
    pub(crate) peer: IpAddr,
    /// When the whole request had arrived.
    pub(crate) began: Instant,
    /// Whether the request carried a valid Guid, or obtained one.
    pub(super) is_authenticated: AtomicBool,
    /// The origin of a browser client that may read the answer.
    pub(super) origin: Option<HeaderValue>,
    /// Boxed because most requests have none, and thousands may be waiting.
    pub(super) trail: OnceLock<Box<Trail>>,
}

impl RequestContext {
    /// Whether the request is known to come from a signed-in agent.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.is_authenticated.load(Ordering::Relaxed)
    }

    /// The trail of a download, for its log line.
    pub(super) fn trail(&self) -> &Trail {
        self.trail.get_or_init(Box::default)
    }

    /// The log fields about the recording, each with a leading blank; empty except for downloads.
    pub(crate) fn recording_fields(&self) -> String {
        self.trail
            .get()
            .map_or_else(String::new, |trail| trail.to_string())
    }
}

impl Gateway {
    /// A gateway without sessions.
    ///
    /// # Errors
    /// If a thread of the password verifier or of the mount watch cannot be started.
    pub fn new(
        settings: Settings,
        roster: Roster,
        counters: Arc<Counters>,
    ) -> std::io::Result<Gateway> {
        let verifier = PasswordVerifier::start()?;
        verifier.set_dummy_cost(roster.usual_iterations());
        let mut mounts = Mounts::new(&settings.mounts, settings.pool_mode, settings.mount_check);
        mounts.watch()?;
        Ok(Gateway {
            sessions: SessionTable::new(policy(&settings)),
            verifier,
            throttle: Throttle::default(),
            sign_ins: InProgress::default(),
            recording_events: RecordingEvents::new(&settings, &mounts),
            mounts,
            downloads: Downloads::new(settings.max_downloads, settings.max_downloads_per_agent),
            tokens: DownloadTokens::default(),
            settings,
            counters,
            roster: RwLock::new(Arc::new(roster)),
            draining: AtomicBool::new(false),
            started: Instant::now(),
        })
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who may sign in, as of the last reload.
    pub(super) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the roster. Ends the sessions of agents that were removed or whose password or role
    /// has changed, and cuts their downloads. Returns how many sessions ended, or `None` if nothing
    /// changed.
    pub(crate) fn replace_roster(&self, roster: Roster) -> Option<usize> {
        let before = self.roster();
        if *before == roster {
            return None;
        }
        let revoked = before.revoked_by(&roster);
        self.verifier.set_dummy_cost(roster.usual_iterations());
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(roster);
        // After the roster is replaced: a concurrent sign-in or download either sees the new roster
        // or is found here.
        let ended = self.sessions.revoke(&revoked);
        for agent in revoked {
            self.downloads.revoke(agent.number());
        }
        Some(ended)
    }

    /// Answers all parked polls; from now on none is parked.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.sessions.begin_drain();
    }

    /// Whether the service is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        dynamic: settings.auth_mode == AuthMode::Dynamic,
        guid_interval: settings.guid_interval,
        guid_timeout: settings.guid_timeout,
        idle_timeout: settings.idle_timeout,
        guid_suffix: format!("{}{}", settings.server_name, settings.node_index),
    }
}
