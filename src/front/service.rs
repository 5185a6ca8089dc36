//! Start and shutdown of the front.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::accept;
use super::bind::Listeners;
use super::chunk_budget::ChunkBudget;
use super::connections::Connections;
use super::context::{Context, LogLimits};
use super::io_handle::IoHandle;
use super::io_thread::IoThread;
use super::refusal_limit::RefusalLimit;
use super::timeouts::Timeouts;
use super::tls::Tls;
use crate::api::Gateway;
use crate::http::Http;
use crate::ops::counters::Counters;
use crate::ops::fatal_error::FatalError;
use crate::ops::notify::ServiceManager;
use crate::ops::spawn;

/// Most I/O threads. With more, requests would only wait for the interfaces, and downloads for the
/// disk.
const IO_THREADS_MAX: usize = 4;

/// The running front.
pub struct Service {
    context: Arc<Context>,
    io_threads: Arc<Vec<IoThread>>,
    watchdog: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    manager: Arc<ServiceManager>,
}

impl Service {
    /// Begins to accept clients, within the limits in the settings of `gateway`.
    ///
    /// # Errors
    /// When a socket, descriptor or thread cannot be created.
    pub fn start(
        listeners: Listeners,
        tls: Tls,
        gateway: Arc<Gateway>,
        timeouts: Timeouts,
        counters: Arc<Counters>,
        manager: Arc<ServiceManager>,
    ) -> Result<Service, FatalError> {
        let failed = |error: std::io::Error| {
            FatalError::from_io(&error, format!("cannot accept clients: {error}"))
        };
        let processors = thread::available_parallelism().map_or(1, usize::from);
        // Workers never block except for the next request, so more of them than processors only
        // take turns: with eight on two processors a small request costs a fifth more than with
        // two.
        let settings = gateway.settings();
        let workers = settings.worker_threads.min(processors);
        let connections = Connections::new(
            settings.max_connections,
            settings.max_connections_per_address,
        );
        let trusted_proxies = settings.trusted_proxies.clone();
        let (http, backends) = Http::start(gateway, workers, processors.min(IO_THREADS_MAX))?;
        let context = Arc::new(Context {
            tls,
            http,
            connections: Arc::new(connections),
            chunk_budget: ChunkBudget::new(),
            timeouts,
            counters,
            trusted_proxies,
            log_limits: LogLimits::default(),
            refusals: RefusalLimit::default(),
        });
        listeners.0.iter().for_each(accept::set_options);
        let listeners = Arc::new(listeners.0);
        let tick = manager.watchdog_interval().map(|interval| interval / 2);
        let io_handles = backends
            .iter()
            .map(|_| IoHandle::new().map(Arc::new))
            .collect::<Result<Arc<[_]>, _>>()
            .map_err(failed)?;
        let start = |(number, backend)| {
            let (io_handles, context) = (Arc::clone(&io_handles), Arc::clone(&context));
            let listeners = Arc::clone(&listeners);
            IoThread::start((number, io_handles), context, listeners, backend, tick)
        };
        let io_threads = (0..)
            .zip(backends)
            .map(start)
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let io_threads = Arc::new(io_threads);
        let watchdog = tick
            .map(|tick| feed_watchdog(tick, Arc::clone(&io_threads), Arc::clone(&manager)))
            .transpose()
            .map_err(failed)?;
        Ok(Service {
            context,
            io_threads,
            watchdog,
            manager,
        })
    }

    /// Longest time that [`Service::stop`] takes beyond its `drain`: threads have to notice that
    /// their clients were cut.
    pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
    /// How long everything but running downloads may take to end. Operators are promised two
    /// seconds in all.
    const DRAIN_GRACE: Duration = Duration::from_millis(1500);

    /// Stops accepting, closes idle connections and answers waiting polls. Returns the number of
    /// running downloads once no further request is read.
    pub(crate) fn begin_drain(&self) -> usize {
        let connections = &self.context.connections;
        connections.begin_drain();
        self.context.http.in_flight().gateway().drain();
        self.io_threads.iter().for_each(IoThread::wake);
        let deadline = Instant::now() + Service::SHUTDOWN_GRACE;
        while !self.io_threads.iter().all(IoThread::is_drained) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        connections.downloads()
    }

    /// Drains and ends the service. Running downloads may finish until `drain` has passed or
    /// `force` returns true. Returns how many downloads were cut short, for any reason.
    pub fn stop(mut self, drain: Duration, mut force: impl FnMut() -> bool) -> u64 {
        /// How often to call `force` and ping the watchdog.
        const POLL_INTERVAL: Duration = Duration::from_millis(100);

        let cut = &self.context.counters.downloads_cut;
        let before = cut.value();
        self.begin_drain();
        let connections = &self.context.connections;
        let began = Instant::now();
        let (mut forced, mut closed_all, mut aborted) = (false, None, None);
        while !connections.wait_empty(Instant::now() + POLL_INTERVAL) {
            self.manager.ping_watchdog();
            forced |= force();
            let now = Instant::now();
            if aborted.is_none() && (forced || now - began >= drain) {
                connections.abort_all();
                aborted = Some(now);
            }
            if closed_all.is_none() && (forced || now - began >= Service::DRAIN_GRACE) {
                self.io_threads.iter().for_each(IoThread::close_all);
                closed_all = Some(now);
            }
            if let (Some(aborted), Some(closed_all)) = (aborted, closed_all)
                && now - aborted.max(closed_all) >= Service::SHUTDOWN_GRACE
            {
                break;
            }
        }
        // Downloads still there are waiting for a file server and not counted yet.
        let cut = cut.value() - before + connections.downloads() as u64;
        self.end_threads();
        cut
    }

    fn end_threads(&mut self) {
        if let Some((end, watchdog)) = self.watchdog.take() {
            end.store(true, Ordering::SeqCst);
            watchdog.thread().unpark();
            let _ = watchdog.join();
        }
        if let Some(io_threads) = Arc::get_mut(&mut self.io_threads) {
            std::mem::take(io_threads)
                .into_iter()
                .for_each(IoThread::stop);
        }
        self.context.http.close();
    }
}

/// Pings the watchdog while every I/O thread makes progress.
fn feed_watchdog(
    tick: Duration,
    io_threads: Arc<Vec<IoThread>>,
    manager: Arc<ServiceManager>,
) -> std::io::Result<(Arc<AtomicBool>, JoinHandle<()>)> {
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    let feed = move || {
        let mut iterations = vec![u64::MAX; io_threads.len()];
        while !ended.load(Ordering::SeqCst) {
            let now: Vec<u64> = io_threads.iter().map(IoThread::iterations).collect();
            if now
                .iter()
                .zip(&iterations)
                .all(|(now, before)| now != before)
            {
                manager.ping_watchdog();
                iterations = now;
            }
            thread::park_timeout(tick);
        }
    };
    Ok((end, spawn("watchdog", 64 * 1024, feed)?))
}
