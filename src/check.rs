//! `cc-gateway check`: everything serving would read, and what is wrong with it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use crate::config::{self, Problem, Settings};
use crate::front::KeyPairFiles;
use crate::ops::console::print;
use crate::ops::failure::Failure;
use crate::recording::{ANSWER_TIMEOUT, Lost, Mounts};
use crate::session::Roster;

/// Prints the settings in force, the agents and the mounts; warnings go to stderr.
///
/// A mount that is not there now is told and no failure: a file server that comes up after the gateway must
/// not keep the gateway from starting.
///
/// # Errors
/// All problems of the settings and the agents, or that of the certificate.
pub(crate) fn run(config: &Path) -> Result<(), Failure> {
    let (settings, notices) = config::read(config).map_err(|problems| Problem::all(&problems))?;
    for notice in &notices {
        eprintln!("{notice}");
    }
    let roster = Roster::read_for_start(&settings.agents_file, settings.agent_id_max)
        .map_err(|problems| Problem::all(&problems));
    let key_pair = KeyPairFiles::of(&settings);
    let pair = key_pair.load();
    let (roster, warnings) = match (roster, pair) {
        (Ok(read), Ok(_)) => read,
        (Err(agents), Err(pair)) => return Err(Failure::new(agents.exit(), format!("{agents}\n{pair}"))),
        (Err(failure), _) | (_, Err(failure)) => return Err(failure),
    };
    for warning in &warnings {
        eprintln!("{warning}");
    }
    if let Some(warning) = key_pair.exposed_key() {
        eprintln!("{warning}");
    }
    let empty = roster.with_empty_password();
    if !empty.is_empty() {
        let agents: Vec<_> = empty.iter().take(10).map(ToString::to_string).collect();
        let more = if empty.len() > 10 { ", ..." } else { "" };
        eprintln!(
            "{}: agents with the empty password: {} ({}{more}); anyone may sign in as them, \
             give them a value of cc-gateway hash-password",
            settings.agents_file.display(),
            empty.len(),
            agents.join(", "),
        );
    }
    print(&report(&settings, &roster))
}

fn report(settings: &Settings, roster: &Roster) -> String {
    let mut text = String::new();
    for (key, value) in settings.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    }
    let _ = writeln!(text, "\nagents: {} may sign in", roster.len());
    // Whether something is mounted there is told even where serving does not insist on it.
    let mounts = Mounts::new(&settings.mounts, settings.pool_mode, true);
    // All are asked at once, so that several dead file servers cost the time of one.
    let asked: Vec<_> = mounts
        .iter()
        .map(|(point, mount)| {
            let (tell, told) = sync_channel(1);
            mount.probe(move |result| drop(tell.send(result)));
            (point, mount, told)
        })
        .collect();
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    for (point, mount, told) in asked {
        let directory = mount.directory().display();
        let within = deadline.saturating_duration_since(Instant::now());
        let _ = match told.recv_timeout(within).unwrap_or(Err(Lost::Silent)) {
            Ok(()) => writeln!(text, "mount {point}: {directory} is mounted"),
            Err(Lost::NotMounted(_)) if !settings.mount_check => {
                writeln!(text, "mount {point}: {directory} is there, nothing is mounted on it (MOUNT_CHECK is OFF)")
            }
            Err(lost) => writeln!(text, "mount {point}: {directory} is NOT there: {lost}"),
        };
    }
    text
}
