//! The front at work: bound, accepting, and ended in order.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::bind::Listeners;
use super::clients::Clients;
use super::deadlines::Deadlines;
use super::listener;
use super::portions::Portions;
use super::shared::Front;
use super::tls::Tls;
use crate::http::Http;
use crate::ops::counters::Counters;
use crate::ops::failure::{Exit, Failure};
use crate::ops::notify::ServiceManager;

/// How many clients there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// Of one address.
    pub connections_per_address: usize,
}

/// The front at work.
pub struct Service {
    front: Arc<Front>,
    /// Closing it wakes the accept loop.
    stop: OwnedFd,
    accepting: JoinHandle<()>,
    manager: Arc<ServiceManager>,
}

impl Service {
    /// Begins to accept clients.
    ///
    /// # Errors
    /// When the pipe or the thread of the accept loop cannot be made.
    pub fn start(
        listeners: Listeners,
        tls: Tls,
        http: Http,
        limits: Limits,
        deadlines: Deadlines,
        counters: Arc<Counters>,
        manager: Arc<ServiceManager>,
    ) -> Result<Service, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::of_io(&error, Exit::Io), format!("clients cannot be accepted: {error}"))
        };
        let clients = Arc::new(Clients::new(limits.connections, limits.connections_per_address));
        let front = Arc::new(Front { portions: Portions::new(), clients, tls, http, deadlines, counters });
        let (stopped, stop) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let (serving, watched) = (Arc::clone(&front), Arc::clone(&manager));
        let accepting = thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || listener::accept_clients(&serving, &listeners.0, &stopped, &watched))
            .map_err(failed)?;
        Ok(Service { front, stop, accepting, manager })
    }

    /// Longest time [`Service::stop`] takes beyond its `drain`: threads notice that their clients were cut.
    pub const FAREWELL: Duration = Duration::from_secs(1);

    /// Ends the service: no new clients, an answer for those who wait for one, time until `drain` has
    /// passed or `hurry` says so for what is under way. Returns how many downloads were cut meanwhile, by
    /// whatever.
    pub fn stop(self, drain: Duration, mut hurry: impl FnMut() -> bool) -> u64 {
        /// How often `hurry` is asked and the watchdog fed, which the accept loop no longer does.
        const GLANCE: Duration = Duration::from_millis(100);

        let cut = &self.front.counters.downloads_cut;
        let before = cut.value();
        drop(self.stop);
        // The listeners are closed when the loop ends, so that new clients are refused from now on.
        let _ = self.accepting.join();
        let clients = &self.front.clients;
        clients.ask_to_leave();
        self.front.http.gateway().drain();
        let deadline = Instant::now() + drain;
        while !clients.wait_until_gone(deadline.min(Instant::now() + GLANCE)) {
            self.manager.alive();
            if Instant::now() >= deadline || hurry() {
                clients.cut();
                clients.wait_until_gone(Instant::now() + Service::FAREWELL);
                // Those who are left wait for a file server, and their downloads are not counted yet.
                return cut.value() - before + clients.downloading();
            }
        }
        cut.value() - before
    }
}
