//! SIGHUP: reloads settings, agents and certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::api::Gateway;
use crate::config::{self, Notice, Settings};
use crate::front::{KeyPairFiles, Tls};
use crate::ops::log_lines;
use crate::session::Roster;

/// The state that a reload replaces, and the path of the settings.
pub(crate) struct Reload {
    config: PathBuf,
    settings: Settings,
    gateway: Arc<Gateway>,
    tls: Tls,
}

impl Reload {
    /// Reloads of what was read from `config` at the start.
    pub(crate) fn new(
        config: &Path,
        settings: Settings,
        gateway: Arc<Gateway>,
        tls: Tls,
    ) -> Reload {
        Reload {
            config: config.to_owned(),
            settings,
            gateway,
            tls,
        }
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads everything again. Each of the settings, the agents and the certificate is replaced
    /// whole or not at all, and the log says which.
    pub(crate) fn run(&mut self) {
        let changed = [
            self.reload_settings(),
            self.reload_agents(),
            self.reload_certificate(),
        ];
        if !changed.contains(&true) {
            log::info!("reloaded; nothing has changed");
        }
    }

    /// Whether anything was logged, as with the other two.
    fn reload_settings(&mut self) -> bool {
        let (read, notices) = match config::read(&self.config) {
            Ok(read) => read,
            Err(problems) => {
                problems
                    .iter()
                    .for_each(|problem| log::error!("settings not reloaded: {problem}"));
                return true;
            }
        };
        notices.iter().for_each(Notice::log);
        let changes = self.settings.reload(&read);
        // First, so that the messages below obey the new level.
        log_lines::set_level(self.settings.log_level);
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
        let (roster, warnings) = match Roster::read(file, self.gateway.settings().agent_id_max) {
            Ok(read) => read,
            Err(problems) => {
                problems
                    .iter()
                    .for_each(|problem| log::error!("agents not reloaded: {problem}"));
                return true;
            }
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
        let pair = match files.load() {
            Ok(pair) => pair,
            Err(problems) => {
                problems
                    .iter()
                    .for_each(|problem| log::error!("certificate not reloaded: {problem}"));
                return true;
            }
        };
        pair.warnings().iter().for_each(Notice::log);
        let is_other = self.tls.replace(pair);
        self.gateway
            .counters()
            .certificate_expiry
            .store(self.tls.certificate_expiry(), Ordering::Relaxed);
        if is_other {
            log::info!(
                "certificate reloaded: new connections use {}",
                files.certificate.display()
            );
        }
        is_other
    }
}
