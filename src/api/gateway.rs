//! The gateway as the interfaces see it: everything they share.

use super::reply::FieldValue;
use super::router::Interface;
use crate::config::{AuthMode, Settings};
use crate::ops::counters::Counters;
use crate::recording::{Downloads, Mounts};
use crate::session::{AgentId, Checker, Policy, Roster, SessionTable, SignIns, Throttle};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
    pub(super) origin: Option<FieldValue>,
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
            sessions: SessionTable::new(policy(&settings)),
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
    /// none. Returns how many ended, or `None` if the roster is the one in force already.
    pub fn replace_roster(&self, roster: Roster) -> Option<usize> {
        if *self.roster() == roster {
            return None;
        }
        self.checker.assume(roster.usual_iterations());
        let roster = Arc::new(roster);
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&roster);
        Some(self.sessions.retain(|agent| roster.agent(agent).is_some()))
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

/// How sessions live, as the settings say.
fn policy(settings: &Settings) -> Policy {
    Policy {
        dynamic: settings.auth_mode == AuthMode::Dynamic,
        guid_interval: settings.guid_interval,
        guid_timeout: settings.guid_timeout,
        silence_limit: settings.idle_timeout,
        guid_suffix: format!("{}{}", settings.server_name, settings.node_index),
    }
}
