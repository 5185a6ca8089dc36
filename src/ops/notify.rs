//! The notification protocol of the service manager, sd_notify(3): datagrams to a socket.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::sync::lock;

/// Sends notifications to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    channel: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    /// When the watchdog was last pinged.
    last_ping: Mutex<Option<Instant>>,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC` from the environment, as systemd sets them.
    pub(crate) fn from_environment() -> ServiceManager {
        let watchdog = std::env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|micros| micros.parse().ok());
        let addressed_to_us =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        ServiceManager::new(
            std::env::var_os("NOTIFY_SOCKET").as_deref(),
            watchdog
                .filter(|_| addressed_to_us)
                .map(Duration::from_micros),
        )
    }

    /// `socket` is a path, or a name beginning with `@` for an abstract address.
    fn new(socket: Option<&OsStr>, watchdog: Option<Duration>) -> ServiceManager {
        let address = socket.and_then(|name| match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            [b'/', ..] => SocketAddr::from_pathname(name).ok(),
            _ => None,
        });
        let channel = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        // A manager that is slow to read must not block the service.
        if let Some((datagrams, _)) = &channel {
            let _ = datagrams.set_nonblocking(true);
        }
        ServiceManager {
            watchdog: watchdog.filter(|_| channel.is_some()),
            channel,
            last_ping: Mutex::default(),
        }
    }

    /// Whether a service manager is notified.
    pub(crate) fn is_present(&self) -> bool {
        self.channel.is_some()
    }

    /// How often to ping the watchdog: half of what the manager allows, as sd_watchdog_enabled(3)
    /// advises.
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|allowed| allowed / 2)
    }

    /// Reports that the service is ready, after the start or a reload.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that a reload begins. `MONOTONIC_USEC` tells it apart from an earlier one.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Reports that the service ends within `time`, which extends the manager's stop timeout.
    pub(crate) fn stopping(&self, time: Duration) {
        self.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}",
            time.as_micros()
        ));
    }

    /// Pings the watchdog. May be called at any rate: sends at most four messages per watchdog
    /// timeout, since each is work for the service manager.
    pub(crate) fn ping_watchdog(&self) {
        let Some(allowed) = self.watchdog else { return };
        let now = Instant::now();
        let mut last_ping = lock(&self.last_ping);
        if last_ping.is_none_or(|last_ping| now.saturating_duration_since(last_ping) >= allowed / 4)
        {
            *last_ping = Some(now);
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) {
        if let Some((datagrams, address)) = &self.channel
            && let Err(error) = datagrams.send_to_addr(message.as_bytes(), address)
        {
            log::debug!("the service manager did not take a message: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_reach_an_abstract_address() {
        let name = format!("cc-gateway-notify-test-{}", std::process::id());
        let manager_side =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = ServiceManager::new(
            Some(OsStr::new(&format!("@{name}"))),
            Some(Duration::from_secs(30)),
        );
        assert_eq!(manager.watchdog_interval(), Some(Duration::from_secs(15)));
        manager.ready();
        manager.reloading();
        let mut buffer = [0; 128];
        let length = manager_side.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        let length = manager_side.recv(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"RELOADING=1\nMONOTONIC_USEC="));
    }

    #[test]
    fn the_watchdog_is_not_fed_more_often_than_it_needs() {
        let name = format!("cc-gateway-watchdog-test-{}", std::process::id());
        let manager_side =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = ServiceManager::new(
            Some(OsStr::new(&format!("@{name}"))),
            Some(Duration::from_secs(3600)),
        );
        (0..100).for_each(|_| manager.ping_watchdog());
        manager.stopping(Duration::from_secs(30));
        let mut buffer = [0; 128];
        for expected in ["WATCHDOG=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000"] {
            let length = manager_side.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_nothing_fails() {
        for socket in [
            None,
            Some(OsStr::new("")),
            Some(OsStr::new("relative")),
            Some(OsStr::new("/nowhere/at/all")),
        ] {
            let manager = ServiceManager::new(socket, None);
            manager.ready();
            manager.ping_watchdog();
            manager.stopping(Duration::ZERO);
            assert_eq!(manager.watchdog_interval(), None);
        }
    }
}
