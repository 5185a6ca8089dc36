//! `cc-gateway check`: reads everything that serving would read, and reports what is wrong.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use log::Level;

use super::serve;
use crate::config::{self, Notice, Problem, Settings};
use crate::front::{KeyPairFiles, try_addresses};
use crate::ops::console::{print, print_remark};
use crate::ops::fatal_error::FatalError;
use crate::ops::service_user::ServiceUser;
use crate::recording::{ANSWER_TIMEOUT, MountError, Mounts};
use crate::session::Roster;

/// Prints the effective settings, the agents and the mounts to stdout, and warnings to stderr. With
/// `quiet`, prints neither.
///
/// A missing mount is reported but is not an error: a file server that starts after the gateway
/// must not keep the gateway from starting. The same goes for an address.
///
/// # Errors
/// All problems with the settings; if there are none, those with the agents, the certificate and
/// the addresses.
pub(crate) fn run(config: &Path, quiet: bool) -> Result<(), FatalError> {
    let (mut settings, notices) = config::read(config)?;
    let remark = |notice: &Notice| (notice.level, notice.to_string());
    let warning = |text: String| (Level::Warn, text);
    let mut remarks: Vec<_> = notices.iter().map(remark).collect();
    let mut failures = Vec::new();

    let roster = match Roster::read_for_start(&settings.agents_file, settings.agent_id_max) {
        Ok((roster, warnings)) => {
            remarks.extend(warnings.iter().map(Problem::to_string).map(warning));
            roster
        }
        Err(problems) => {
            failures.push(problems.into());
            Roster::default()
        }
    };
    match KeyPairFiles::from(&settings).load() {
        Ok(pair) => remarks.extend(pair.warnings().iter().map(remark)),
        Err(problems) => failures.push(problems.into()),
    }
    match try_addresses(&settings.listen) {
        Ok(skipped) => remarks.extend(skipped.into_iter().map(warning)),
        Err(error) if error.is_transient => remarks.push(warning(error.cause.to_string())),
        Err(error) => failures.push(error.cause),
    }
    if let Some(first) = failures.first() {
        let texts: Vec<_> = failures.iter().map(FatalError::to_string).collect();
        return Err(FatalError::new(first.exit(), texts.join("\n")));
    }
    if quiet {
        return Ok(());
    }
    // Uses the limit of the user running the check; the service may have a different one.
    match serve::fit_connections(&mut settings) {
        Ok(text) => remarks.extend(text.map(warning)),
        Err(failure) => remarks.push(warning(format!(
            "with the limits of this command a start would fail: {failure}"
        ))),
    }

    let (mounts, unreadable) = check_as_service_user(config, &settings);
    remarks.extend(unreadable.into_iter().map(warning));
    let mut printed = BTreeSet::new();
    for (level, text) in &remarks {
        if printed.insert(text) {
            print_remark(*level, text);
        }
    }
    let mut text: String = settings
        .lines
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    // Writing to a String cannot fail.
    let _ = write!(text, "\nagents: {} may sign in\n{mounts}", roster.len());
    print(&text)
}

/// A report on the mounts, and warnings about unreadable files. If root runs the check, it switches
/// to the service's user, since root may read everything.
fn check_as_service_user(config: &Path, settings: &Settings) -> (String, Vec<String>) {
    if !rustix::process::geteuid().is_root() {
        return (probe_mounts(settings), Vec::new());
    }
    let untried = |reason: &str| {
        let text = format!(
            "run by root: did not check what the user of the service may read ({reason})\n"
        );
        (probe_mounts(settings) + &text, Vec::new())
    };
    let Some(user) = ServiceUser::lookup_as_root() else {
        return untried("this machine has no user cc-gateway");
    };
    let tried = user.run_as(|| {
        let files = [config, &settings.agents_file, &settings.tls_certificate, &settings.tls_private_key];
        let unreadable = files.into_iter().filter_map(|path| {
            let error = File::open(path).err()?;
            let (user, path) = (user.name(), path.display());
            Some(format!(
                "{path}: is not readable for the user {user}, so the service cannot start ({error}); run: \
                 chgrp {user} {path} && chmod g+r {path}"
            ))
        });
        (probe_mounts(settings), unreadable.collect())
    });
    match tried {
        Ok((mounts, unreadable)) => (
            format!(
                "{mounts}files and mounts were checked as the user {}\n",
                user.name()
            ),
            unreadable,
        ),
        Err(error) => untried(&error.to_string()),
    }
}

fn probe_mounts(settings: &Settings) -> String {
    let mut text = String::new();
    // Reported even with MOUNT_CHECK OFF.
    let mounts = Mounts::new(&settings.mounts, settings.pool_mode, true);
    // Probed in parallel, so that several dead file servers take no longer than one.
    let probes: Vec<_> = mounts
        .iter()
        .map(|(point, mount)| {
            let (tell, told) = sync_channel(1);
            mount.probe(move |result| drop(tell.send(result)));
            (point, mount, told)
        })
        .collect();
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    for (point, mount, told) in probes {
        let directory = mount.directory().display();
        let within = deadline.saturating_duration_since(Instant::now());
        // Writing to a String cannot fail.
        let _ = match told
            .recv_timeout(within)
            .unwrap_or(Err(MountError::TimedOut))
        {
            Ok(()) => writeln!(text, "mount {point}: {directory} is mounted"),
            Err(MountError::NotMounted(_)) if !settings.mount_check => {
                writeln!(
                    text,
                    "mount {point}: {directory} is there, nothing is mounted on it (MOUNT_CHECK is OFF)"
                )
            }
            Err(lost) => writeln!(text, "mount {point}: {directory} is NOT there: {lost}"),
        };
    }
    text
}
