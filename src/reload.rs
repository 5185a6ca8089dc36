//! SIGHUP: what can change while clients are served.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::Gateway;
use crate::config::{self, Notice, Problem, Settings};
use crate::front::{KeyPairFiles, Tls};
use crate::ops::log_lines;
use crate::session::Roster;

/// What a reload replaces, and where it reads the new from.
pub(crate) struct Reload {
    config: PathBuf,
    settings: Settings,
    gateway: Arc<Gateway>,
    tls: Tls,
}

/// Settings a reload puts in force; every other one needs a start.
const RELOADABLE: [&str; 5] = ["AGENTS_FILE", "TLS_CERTIFICATE", "TLS_PRIVATE_KEY", "DRAIN_TIMEOUT", "LOG_LEVEL"];

impl Reload {
    /// Reloads of what was read from `config` at the start.
    pub(crate) fn new(config: &Path, settings: Settings, gateway: Arc<Gateway>, tls: Tls) -> Reload {
        Reload { config: config.to_owned(), settings, gateway, tls }
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads everything again. Each of the settings, the agents and the certificate is replaced whole or
    /// not at all, and the log says which.
    pub(crate) fn run(&mut self) {
        match config::read(&self.config) {
            Ok((settings, notices)) => {
                notices.iter().for_each(Notice::log);
                self.replace_settings(settings);
            }
            Err(problems) => log::error!("the settings stay as they were: {}", Problem::all(&problems)),
        }
        match Roster::read(&self.settings.agents_file, self.gateway.settings().agent_id_max) {
            Ok((roster, warnings)) => {
                warnings.iter().for_each(|warning| log::warn!("{warning}"));
                let agents = roster.len();
                let ended = self.gateway.replace_roster(roster);
                log::info!("agents reloaded: {agents} may sign in, {ended} sessions ended");
            }
            Err(problems) => log::error!("the agents stay as they were: {}", Problem::all(&problems)),
        }
        let files = KeyPairFiles::of(&self.settings);
        match files.load() {
            Ok(pair) => {
                self.tls.replace(pair);
                files.exposed_key().iter().for_each(|warning| log::warn!("{warning}"));
                log::info!("certificate reloaded");
            }
            Err(failure) => log::error!("the certificate stays as it was: {failure}"),
        }
    }

    fn replace_settings(&mut self, settings: Settings) {
        let before = self.settings.lines().iter();
        let changed = before.zip(settings.lines()).filter(|(before, after)| before != after).map(|(_, after)| after);
        for (key, value) in changed {
            match RELOADABLE.contains(&key.as_str()) {
                true => log::info!("{key} is now {value}"),
                false => log::warn!("{key} has changed, which needs a restart"),
            }
        }
        log_lines::set_level(settings.log_level);
        self.settings = settings;
    }
}
