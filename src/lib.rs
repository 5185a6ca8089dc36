//! cc-gateway: agents sign in, poll and download the video recordings of their calls over HTTPS.
//!
//! The layers, each using only those below it: [`front`] reads requests from clients and writes responses, [`http`]
//! passes requests to workers, [`api`] answers them with the help of [`session`] and [`recording`], [`config`] has
//! the settings, and [`ops`] what a service needs on a machine. CONTRIBUTING.md has the picture.

pub mod api;
mod certificate;
mod check;
pub mod cli;
pub mod config;
mod demo;
pub mod front;
mod hash_password;
pub mod http;
pub mod ops;
pub mod recording;
mod reload;
pub mod session;
mod start;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use api::{EventThread, Gateway};
use cli::Command;
use config::{Notice, Problem};
use front::{KeyPairFiles, Limits, Service, Timeouts, Tls};
use ops::console::print;
use ops::counters::Counters;
use ops::failure::{Exit, Failure};
use ops::notify::ServiceManager;
use ops::{log_lines, panics};
use reload::Reload;
use session::Roster;

/// The version, with the commit it was built from where the build knew it.
pub const VERSION: &str = match option_env!("CC_GATEWAY_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Does what the command line asks for.
///
/// # Errors
/// What ends the program, with its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    match cli::parse(arguments)? {
        Command::Serve(config) => serve(&config, |_| ()),
        Command::Check { config, quiet } => check::run(&config, quiet),
        Command::HashPassword => hash_password::run(),
        Command::Certificate { out, names } => certificate::run(&out, &names),
        Command::Demo(listen) => demo::run(listen, |config, listening| serve(config, listening)),
        Command::Help => print(&cli::help()),
        Command::Version => print(&format!("cc-gateway {VERSION}\n")),
    }
}

/// Serves until a signal ends it; `listening` is told the addresses once clients can come.
fn serve(config: &Path, listening: impl FnOnce(&[SocketAddr])) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| Failure::new(Exit::Unavailable, format!("signals cannot be received: {error}")))?;
    let manager = Arc::new(ServiceManager::from_environment());

    let (mut settings, notices) = config::read(config).map_err(|problems| Problem::all(&problems))?;
    log_lines::start(settings.log_level)
        .map_err(|error| Failure::new(Exit::Unavailable, format!("a thread cannot be started: {error}")))?;
    panics::install_panic_hook();
    notices.iter().for_each(Notice::log);
    let (roster, warnings) = Roster::read_for_start(&settings.agents_file, settings.agent_id_max)
        .map_err(|problems| Problem::all(&problems))?;
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let key_pair = KeyPairFiles::from(&settings).load().map_err(|problems| Problem::all(&problems))?;
    key_pair.warnings().iter().for_each(Notice::log);
    let tls = Tls::new(key_pair)?;

    if let Some(warning) = start::fit_connections(&mut settings)? {
        log::warn!("{warning}");
    }
    let Some(listeners) = start::bind(&settings.listen, &mut signals, &manager)? else { return Ok(()) };
    let addresses = listeners.addresses();
    let counters = Arc::new(Counters::default());
    counters.certificate_expiry.store(tls.certificate_expiry(), Ordering::Relaxed);
    let no_thread = |error| Failure::new(Exit::Unavailable, format!("a thread cannot be started: {error}"));
    let gateway = Gateway::new(settings.clone(), roster, Arc::clone(&counters)).map(Arc::new).map_err(no_thread)?;
    let _event_thread = EventThread::start(&gateway).map_err(no_thread)?;
    let limits = Limits {
        connections: settings.max_connections,
        connections_per_address: settings.max_connections_per_address,
        workers: settings.worker_threads,
        trusted_proxies: settings.trusted_proxies.clone(),
    };
    let service = Service::start(
        listeners,
        tls.clone(),
        Arc::clone(&gateway),
        limits,
        Timeouts::default(),
        counters,
        Arc::clone(&manager),
    )?;
    for address in &addresses {
        log::info!("listening on https://{address}");
    }
    manager.ready();
    listening(&addresses);

    let mut reload = Reload::new(config, settings, gateway, tls);
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        manager.reloading();
        reload.run();
        manager.ready();
    }

    let drain = reload.settings().drain_timeout;
    manager.stopping(drain + Service::SHUTDOWN_GRACE + Duration::from_secs(5));
    match service.begin_drain() {
        0 => log::info!("shutting down"),
        downloads => log::info!("shutting down; waiting up to {} ms for {downloads} downloads", drain.as_millis()),
    }
    let cut = service.stop(drain, || signals.pending().any(|signal| signal != SIGHUP));
    match cut {
        0 => log::info!("stopped"),
        cut => log::warn!("stopped; downloads cut: {cut}"),
    }
    Ok(())
}
