//! Reload of settings, agents and certificate on SIGHUP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::api::Gateway;
use crate::config::{self, Notice, Problem, Settings};
use crate::front::{KeyPairFiles, Tls};
use crate::session::Roster;

/// The state that a reload replaces, and the path of the settings file.
pub(super) struct Reload<'a> {
    pub(super) config: &'a Path,
    pub(super) settings: Settings,
    pub(super) gateway: Arc<Gateway>,
    pub(super) tls: Tls,
}

impl Reload<'_> {
    /// Reads everything again. Settings, agents and certificate are each replaced as a whole or not
    /// at all; the log says which.
    pub(super) fn run(&mut self) {
        let changed = [
            self.reload_settings(),
            self.reload_agents(),
            self.reload_certificate(),
        ];
        if !changed.contains(&true) {
            log::info!("reloaded; nothing has changed");
        }
    }

    /// Returns whether anything was logged, as do the other two.
    fn reload_settings(&mut self) -> bool {
        let Some((read, notices)) = loaded("settings", config::read(self.config)) else {
            return true;
        };
        notices.iter().for_each(Notice::log);
        let changes = self.settings.reload(&read);
        // Before the messages below, which obey the new level.
        log::set_max_level(self.settings.log_level);
        for change in &changes {
            match change.in_force {
                true => log::info!("{} is now {}", change.key, change.value),
                false => log::warn!(
                    "{} has changed; restart the service to apply it",
                    change.key
                ),
            }
        }
        !changes.is_empty()
    }

    fn reload_agents(&self) -> bool {
        let file = &self.settings.agents_file;
        let read = Roster::read(file, self.gateway.settings().agent_id_max);
        let Some((roster, warnings)) = loaded("agents", read) else {
            return true;
        };
        warnings.iter().for_each(|warning| log::warn!("{warning}"));
        let agents = roster.len();
        let Some(ended) = self.gateway.replace_roster(roster) else {
            return false;
        };
        log::info!("agents reloaded: {agents} may sign in, {ended} sessions ended");
        if agents == 0 {
            log::warn!("{}: names no agent, nobody can sign in", file.display());
        }
        true
    }

    fn reload_certificate(&self) -> bool {
        let files = KeyPairFiles::from(&self.settings);
        let Some(pair) = loaded("certificate", files.load()) else {
            return true;
        };
        pair.warnings().iter().for_each(Notice::log);
        self.gateway
            .counters()
            .certificate_expiry
            .store(pair.expiry(), Ordering::Relaxed);
        let is_other = self.tls.replace(pair);
        if is_other {
            log::info!(
                "certificate reloaded: new connections use {}",
                files.certificate.display()
            );
        }
        is_other
    }
}

/// Logs why `what` could not be read.
fn loaded<T>(what: &str, result: Result<T, Vec<Problem>>) -> Option<T> {
    let log = |problem| log::error!("{what} not reloaded: {problem}");
    result
        .map_err(|problems| problems.into_iter().for_each(log))
        .ok()
}
