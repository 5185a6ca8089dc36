//! `cc-gateway`: serves until a signal ends it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::reload::Reload;
use crate::api::{EventThread, Gateway};
use crate::config::{self, Notice, Settings};
use crate::front::{KeyPairFiles, Listeners, Service, Timeouts, Tls};
use crate::ops::counters::Counters;
use crate::ops::fatal_error::{Exit, FatalError};
use crate::ops::notify::ServiceManager;
use crate::ops::{descriptors, log_lines, panics};
use crate::recording;
use crate::session::Roster;

/// How long a start under a service manager waits for an address that another program holds. With
/// the unit's RestartSec of two seconds this makes one journal line a minute; must stay below its
/// TimeoutStartSec.
const BIND_TIMEOUT: Duration = Duration::from_secs(58);
/// How often it tries the address again.
const BIND_INTERVAL: Duration = Duration::from_millis(500);

/// Serves until a signal ends it. Calls `listening` with the addresses once clients can connect.
pub(crate) fn run(config: &Path, listening: impl FnOnce(&[SocketAddr])) -> Result<(), FatalError> {
    let unavailable =
        |what: &str, error| FatalError::new(Exit::Unavailable, format!("cannot {what}: {error}"));
    let no_thread = |error| unavailable("start a thread", error);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| unavailable("receive signals", error))?;
    let manager = Arc::new(ServiceManager::from_environment());

    let (mut settings, notices) = config::read(config)?;
    log_lines::start(settings.log_level).map_err(no_thread)?;
    panics::install_panic_hook();
    notices.iter().for_each(Notice::log);
    let (roster, warnings) = Roster::read_for_start(&settings.agents_file, settings.agent_id_max)?;
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let key_pair = KeyPairFiles::from(&settings).load()?;
    key_pair.warnings().iter().for_each(Notice::log);
    let counters = Arc::new(Counters::default());
    counters
        .certificate_expiry
        .store(key_pair.expiry(), Ordering::Relaxed);
    let tls = Tls::new(key_pair)?;

    if let Some(warning) = fit_connections(&mut settings)? {
        log::warn!("{warning}");
    }
    let Some(listeners) = bind(&settings.listen, &mut signals, &manager)? else {
        return Ok(());
    };
    let addresses = listeners.addresses();
    let gateway = Gateway::new(settings.clone(), roster, Arc::clone(&counters))
        .map(Arc::new)
        .map_err(no_thread)?;
    let _event_thread = EventThread::start(&gateway).map_err(no_thread)?;
    let service = Service::start(
        listeners,
        tls.clone(),
        Arc::clone(&gateway),
        Timeouts::default(),
        counters,
        Arc::clone(&manager),
    )?;
    for address in &addresses {
        log::info!("listening on https://{address}");
    }
    manager.ready();
    listening(&addresses);

    let mut reload = Reload {
        config,
        settings,
        gateway,
        tls,
    };
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        manager.reloading();
        reload.run();
        manager.ready();
    }

    let drain = reload.settings.drain_timeout;
    manager.stopping(drain + Service::SHUTDOWN_GRACE + Duration::from_secs(5));
    match service.begin_drain() {
        0 => log::info!("shutting down"),
        downloads => log::info!(
            "shutting down; waiting up to {} ms for {downloads} downloads",
            drain.as_millis()
        ),
    }
    let cut = service.stop(drain, || signals.pending().any(|signal| signal != SIGHUP));
    match cut {
        0 => log::info!("stopped"),
        cut => log::warn!("stopped; downloads cut: {cut}"),
    }
    Ok(())
}

/// Listens on the addresses; `None` if a signal arrives while waiting for them.
///
/// A start from a shell fails at once. Under a service manager, transient errors are waited out
/// here, because a service that fails and restarts every other second fills the journal.
///
/// # Errors
/// The first address that cannot be bound.
fn bind(
    addresses: &[SocketAddr],
    signals: &mut Signals,
    manager: &ServiceManager,
) -> Result<Option<Listeners>, FatalError> {
    let deadline = Instant::now() + BIND_TIMEOUT;
    let mut is_logged = false;
    loop {
        let error = match Listeners::bind(addresses) {
            Ok(listeners) => return Ok(Some(listeners)),
            Err(error) => error,
        };
        if !error.is_transient || !manager.is_present() {
            return Err(error.cause);
        }
        if Instant::now() >= deadline {
            return Err(FatalError::already_logged(error.cause.exit()));
        }
        if !is_logged {
            log::error!("{}; retrying", error.cause);
            is_logged = true;
        }
        thread::sleep(BIND_INTERVAL);
        if signals.pending().any(|signal| signal != SIGHUP) {
            return Ok(None);
        }
    }
}

/// Raises the limit on open files to the most the settings can need. If that fails and
/// `MAX_CONNECTIONS` has its default, lowers it to what fits and returns a warning.
///
/// # Errors
/// 78 if the operator's own `MAX_CONNECTIONS` does not fit, or if hardly any client fits: clients
/// would later be refused for a reason that is hard to find.
pub(crate) fn fit_connections(settings: &mut Settings) -> Result<Option<String>, FatalError> {
    /// Room for fewer connections than this means that the limit is a mistake.
    const CONNECTIONS_MIN: u64 = 16;
    let wanted = settings.max_connections;
    let besides = descriptors_besides_clients(settings);
    let needed = besides + wanted as u64;
    let granted = descriptors::raise_nofile_limit(needed)?;
    if granted >= needed {
        return Ok(None);
    }
    let affordable = granted.saturating_sub(besides);
    let reason = format!(
        "{needed} open files are needed for MAX_CONNECTIONS = {wanted}, but the limit is {granted}, enough for {affordable}"
    );
    const ADVICE: &str = "raise the limit (LimitNOFILE= in the service, ulimit -Hn in a shell)";
    if settings.has_custom_max_connections() || affordable < CONNECTIONS_MIN {
        return Err(FatalError::new(
            Exit::Config,
            format!("{reason}; {ADVICE} or lower the setting"),
        ));
    }
    settings.lower_max_connections(usize::try_from(affordable).unwrap_or(usize::MAX));
    Ok(Some(format!(
        "{reason}: only {affordable} clients are accepted at once; {ADVICE} or set MAX_CONNECTIONS"
    )))
}

/// Upper bound on open descriptors under these settings, not counting client sockets: one per
/// running download, those of each mount, and a reserve. Recordings are opened before the download
/// limits apply; the threads of their mount bound how many.
fn descriptors_besides_clients(settings: &Settings) -> u64 {
    const OTHER_DESCRIPTORS: usize = 64;
    (settings.max_downloads + settings.mounts.len() * recording::DESCRIPTORS + OTHER_DESCRIPTORS)
        as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let text = format!("TLS_CERTIFICATE=c.pem\nTLS_PRIVATE_KEY=k.pem\n{text}");
        crate::config::from_text(&text, Path::new("/basic.properties"))
            .unwrap()
            .0
    }

    #[test]
    fn the_limit_of_the_unit_is_enough_for_the_highest_settings_and_many_mounts() {
        let unit = include_str!("../../packaging/systemd/cc-gateway.service");
        let limit: u64 = unit
            .lines()
            .find_map(|line| line.strip_prefix("LimitNOFILE="))
            .unwrap()
            .parse()
            .unwrap();
        let mounts: String = (0..100)
            .map(|node| format!("MOUNT_DIR.{node}=/mnt/{node}\n"))
            .collect();
        let highest = settings(&format!(
            "MAX_CONNECTIONS=16384\nWORKER_THREADS=256\nCTI_POOL_MODE=ON\n{mounts}"
        ));
        let needed = descriptors_besides_clients(&highest) + highest.max_connections as u64;
        assert!(needed <= limit, "{needed}");
    }
}
