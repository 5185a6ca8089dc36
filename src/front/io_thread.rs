//! An I/O thread: an epoll loop over many connections.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use super::accept::{self, AcceptLog};
use super::connection::{Action, Connection};
use super::connections::{ConnectionPermit, LimitReached};
use super::context::Context;
use super::io_handle::{BACKEND_TOKEN, FIRST_LISTENER_TOKEN, IoHandle, Key, Message, WAKE_TOKEN};
use super::timers::Timers;
use super::tls_stream::TlsStream;
use crate::api::{SlotId, Slots as _};
use crate::http::{BackendConnection, ForwardedRequest};
use crate::ops::spawn;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Enough for a TLS handshake with room to spare.
const STACK_BYTES: usize = 512 * 1024;
/// How long accepting pauses after an error of the whole process, such as too few descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a request may wait for a worker. Workers wait for nothing outside the process, so only
/// a hopelessly overloaded machine exceeds this.
const WORKER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest sleep without a deadline.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Exit code after an unrecoverable bug (sysexits.h, EX_SOFTWARE). The service manager restarts the
/// process.
const EXIT_SOFTWARE: i32 = 70;

/// The service's handle of an I/O thread.
pub(super) struct IoThread {
    io_handle: Arc<IoHandle>,
    control: Arc<Control>,
    handle: JoinHandle<()>,
}

/// State shared between the service and the thread.
#[derive(Default)]
struct Control {
    /// Iterations of the loop. They stop when the thread is stuck.
    iterations: AtomicU64,
    /// The thread has closed idle connections and accepts no more.
    drained: AtomicBool,
    /// Request to close everything but running downloads at once.
    close_all: AtomicBool,
    stop: AtomicBool,
}

/// An entry of the connection table.
#[derive(Default)]
struct Entry {
    generation: u32,
    state: EntryState,
    /// The step at which the connection's next timer fires.
    timer: Option<u64>,
    deadline: Option<Instant>,
    /// When the connection became evictable.
    evictable_since: Option<Instant>,
}

#[derive(Default)]
enum EntryState {
    #[default]
    Vacant,
    /// The connection, waiting for its client.
    Owned(Box<Connection>),
    /// Its request waits in this slot for a worker.
    Forwarded(SlotId),
    /// Its request waits in this slot for something else.
    Deferred(SlotId),
    /// A worker or download thread owns the connection.
    Elsewhere,
}

struct IoLoop {
    context: Arc<Context>,
    io_handle: Arc<IoHandle>,
    /// The handles of all I/O threads, and the index of this one.
    io_handles: Arc<[Arc<IoHandle>]>,
    number: usize,
    control: Arc<Control>,
    listeners: Arc<Vec<TcpListener>>,
    listening: bool,
    accept_paused_until: Option<Instant>,
    accept_log: AcceptLog,
    backend: BackendConnection,
    backend_is_full: bool,
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    timers: Timers,
    /// Connections that may be evicted, longest idle first.
    evictable: BTreeSet<(Instant, Key)>,
    tick: Option<Duration>,
}

impl IoThread {
    /// Starts a thread that accepts and serves clients. `tick` is the longest time between two
    /// iterations.
    ///
    /// # Errors
    /// When a descriptor or the thread cannot be created.
    pub(super) fn start(
        (number, io_handles): (usize, Arc<[Arc<IoHandle>]>),
        context: Arc<Context>,
        listeners: Arc<Vec<TcpListener>>,
        backend: BackendConnection,
        tick: Option<Duration>,
    ) -> io::Result<IoThread> {
        let io_handle = io_handles
            .get(number)
            .map(Arc::clone)
            .ok_or(io::ErrorKind::NotFound)?;
        let control = Arc::new(Control::default());
        let mut io_loop = IoLoop {
            context,
            io_handle: Arc::clone(&io_handle),
            io_handles,
            number,
            control: Arc::clone(&control),
            listeners,
            listening: false,
            accept_paused_until: None,
            accept_log: AcceptLog::default(),
            backend,
            backend_is_full: false,
            entries: Vec::new(),
            vacant: Vec::new(),
            timers: Timers::new(Instant::now()),
            evictable: BTreeSet::new(),
            tick,
        };
        io_loop.watch_backend()?;
        io_loop.listen()?;
        let run = move || {
            // Otherwise its connections would hang for as long as the process lives. The panic hook
            // has logged the cause.
            if catch_unwind(AssertUnwindSafe(|| io_loop.run())).is_err() {
                log::logger().flush();
                std::process::exit(EXIT_SOFTWARE);
            }
        };
        Ok(IoThread {
            io_handle,
            control,
            handle: spawn(format!("io-{number}"), STACK_BYTES, run)?,
        })
    }

    /// Iterations of the loop so far.
    pub(super) fn iterations(&self) -> u64 {
        self.control.iterations.load(Ordering::Relaxed)
    }

    /// Wakes the thread, for instance to drain.
    pub(super) fn wake(&self) {
        self.io_handle.wake();
    }

    /// Whether the thread has stopped accepting and closed idle connections.
    pub(super) fn is_drained(&self) -> bool {
        self.control.drained.load(Ordering::SeqCst)
    }

    /// Closes everything but running downloads at once.
    pub(super) fn close_all(&self) {
        self.control.close_all.store(true, Ordering::SeqCst);
        self.io_handle.wake();
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        self.control.stop.store(true, Ordering::SeqCst);
        self.io_handle.wake();
        let _ = self.handle.join();
    }
}

impl IoLoop {
    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.control.stop.load(Ordering::SeqCst) {
            let next = self.next_wakeup();
            let messages = self.io_handle.take_messages(Some(next));
            let timeout = if messages.is_empty() {
                next.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            self.handle_messages(messages);
            events.clear();
            let timeout = Timespec::try_from(timeout).ok();
            match epoll::wait(
                self.io_handle.epoll(),
                spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => log::error!("waiting for clients failed: {error}"),
            }
            self.control.iterations.fetch_add(1, Ordering::Relaxed);
            // Connections may have returned meanwhile, and events may concern them.
            let messages = self.io_handle.take_messages(None);
            self.handle_messages(messages);
            for event in &events {
                self.handle_event(event.data.u64(), event.flags);
            }
            self.run_timers();
            if self.context.connections.is_draining() {
                self.drain();
            }
            self.flush_backend();
        }
    }

    /// The time of the next deadline.
    fn next_wakeup(&self) -> Instant {
        let now = Instant::now();
        let longest = now + self.tick.unwrap_or(SLEEP_MAX);
        [self.timers.next(), self.accept_paused_until]
            .into_iter()
            .flatten()
            .fold(longest, Instant::min)
    }

    fn handle_messages(&mut self, messages: Vec<Message>) {
        for message in messages {
            match message {
                // Already armed by the thread that returned it.
                Message::Returned(connection) => self.store(connection),
                Message::Parked(key, slot, until) => {
                    if let Some(entry) = self.entry(key) {
                        entry.state = EntryState::Deferred(slot);
                        self.set_deadline(key, until);
                    }
                }
                Message::Closed(key) => self.vacate(key),
                Message::Accepted(socket, peer, declined) => {
                    self.admit_or_offer(socket, peer, declined)
                }
            }
        }
    }

    fn handle_event(&mut self, token: u64, flags: EventFlags) {
        match token {
            WAKE_TOKEN => self.io_handle.acknowledge_wake(),
            BACKEND_TOKEN => self.handle_backend(flags),
            token if token > u64::MAX - 1024 => {
                let number = usize::try_from(FIRST_LISTENER_TOKEN - token).unwrap_or(usize::MAX);
                self.accept(number);
            }
            token => self.handle_connection(Key::from_token(token)),
        }
    }

    fn handle_connection(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else { return };
        match std::mem::replace(&mut entry.state, EntryState::Elsewhere) {
            EntryState::Owned(connection) => {
                self.unmark_evictable(key);
                self.apply(connection, Connection::advance);
            }
            // Only the end is watched for, so the client has left.
            EntryState::Deferred(slot) => drop(self.context.http.in_flight().cancel(slot)),
            state => entry.state = state,
        }
    }

    /// Lets a connection take a step, and executes the action that follows.
    fn apply(&mut self, mut connection: Box<Connection>, step: fn(&mut Connection) -> Action) {
        match step(&mut connection) {
            Action::Wait => self.wait_here(connection),
            Action::Forward(request) => self.forward(connection, &request),
            // Its entry is vacated by the message that the drop sends.
            Action::Close => drop(connection),
        }
    }

    fn wait_here(&mut self, connection: Box<Connection>) {
        if let Err(error) =
            self.io_handle
                .arm(&connection.tls, connection.key, connection.interest())
        {
            log::debug!("cannot wait for a client: {error}");
            return;
        }
        self.store(connection);
    }

    fn store(&mut self, connection: Box<Connection>) {
        let (key, deadline) = (connection.key, connection.deadline);
        let is_evictable = connection.is_evictable();
        let Some(entry) = self.entry(key) else { return };
        entry.state = EntryState::Owned(connection);
        if is_evictable {
            let now = Instant::now();
            entry.evictable_since = Some(now);
            self.evictable.insert((now, key));
        }
        self.set_deadline(key, deadline);
    }

    fn forward(&mut self, connection: Box<Connection>, request: &ForwardedRequest) {
        let key = connection.key;
        let slot = self.context.http.in_flight().insert(connection);
        if let Some(entry) = self.entry(key) {
            entry.state = EntryState::Forwarded(slot);
        }
        self.set_deadline(key, Instant::now() + WORKER_TIMEOUT);
        if self.backend.queue(request, slot) {
            self.flush_backend();
        }
    }

    fn flush_backend(&mut self) {
        if self.backend.has_unsent() {
            match self.backend.flush() {
                Ok(all) => self.watch_backend_for_room(!all),
                Err(error) => self.replace_backend(&error),
            }
        }
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some((step, key)) = self.timers.pop_expired(now) {
            let Some(entry) = self.entry(key).filter(|entry| entry.timer == Some(step)) else {
                continue;
            };
            entry.timer = None;
            match entry.deadline {
                Some(deadline) if deadline <= now => self.expire(key),
                Some(deadline) => self.set_deadline(key, deadline),
                None => {}
            }
        }
        if self.accept_paused_until.is_some_and(|at| at <= now) {
            self.accept_paused_until = None;
            if let Err(error) = self.listen() {
                accept::log_error(&error, &self.context.counters, &mut self.accept_log);
                self.accept_paused_until = Some(now + ACCEPT_PAUSE);
            }
        }
    }

    fn expire(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else { return };
        match std::mem::replace(&mut entry.state, EntryState::Elsewhere) {
            EntryState::Owned(connection) => {
                self.unmark_evictable(key);
                self.apply(connection, Connection::expire);
            }
            EntryState::Deferred(slot) => self.context.http.in_flight().complete(slot, None),
            EntryState::Forwarded(slot) => self.refuse_forwarded(slot),
            state => entry.state = state,
        }
    }

    /// Answers 503 to a request that no worker took.
    fn refuse_forwarded(&mut self, slot: SlotId) {
        if let Some(mut connection) = self.context.http.in_flight().take_forwarded(slot) {
            connection.refuse_overloaded();
            self.apply(connection, Connection::advance);
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        for (number, listener) in (0..).zip(self.listeners.iter()) {
            let data = epoll::EventData::new_u64(FIRST_LISTENER_TOKEN - number);
            // Wakes one thread per client, not all of them.
            epoll::add(
                self.io_handle.epoll(),
                listener,
                data,
                EventFlags::IN | EventFlags::EXCLUSIVE,
            )?;
        }
        self.listening = true;
        Ok(())
    }

    fn stop_listening(&mut self) {
        if std::mem::take(&mut self.listening) {
            for listener in self.listeners.iter() {
                let _ = epoll::delete(self.io_handle.epoll(), listener);
            }
        }
    }

    fn accept(&mut self, number: usize) {
        if self.context.connections.is_draining() {
            return;
        }
        let (context, listeners) = (Arc::clone(&self.context), Arc::clone(&self.listeners));
        let Some(listener) = listeners.get(number) else {
            return;
        };
        let accepted = accept::accept_batch(listener, &context.counters, |socket, peer| {
            self.admit_or_offer(socket, peer, 0)
        });
        if let Err(error) = accepted {
            accept::log_error(&error, &self.context.counters, &mut self.accept_log);
            // The client stays in the backlog, so the listener would wake the thread at once.
            self.stop_listening();
            self.accept_paused_until = Some(Instant::now() + ACCEPT_PAUSE);
        }
    }

    /// Admits a client if there is room or if this thread can evict another. Otherwise offers it to
    /// the next thread, unless all of them have declined.
    fn admit_or_offer(&mut self, socket: TcpStream, peer: SocketAddr, declined: usize) {
        let address = (!self.context.is_trusted_proxy(peer.ip())).then(|| peer.ip());
        let connections = Arc::clone(&self.context.connections);
        let permit = connections.acquire(address).or_else(|full| match full {
            LimitReached::Connections if self.evict_oldest() => connections.acquire(address),
            full => Err(full),
        });
        let other = self
            .io_handles
            .get((self.number + 1) % self.io_handles.len().max(1));
        match (permit, other) {
            (Ok(permit), _) => {
                self.context.counters.connections.add(1);
                self.register(socket, peer, permit);
            }
            (Err(LimitReached::Connections), Some(other))
                if declined + 1 < self.io_handles.len() =>
            {
                other.hand_over(socket, peer, declined + 1);
            }
            (Err(full), _) => {
                accept::log_refusal(full, peer, &self.context.counters, &mut self.accept_log)
            }
        }
    }

    /// Closes the evictable connection that has been idle longest.
    fn evict_oldest(&mut self) -> bool {
        let Some(&(_, key)) = self.evictable.first() else {
            return false;
        };
        self.unmark_evictable(key);
        let Some(entry) = self.entry(key) else {
            return false;
        };
        entry.state = EntryState::Elsewhere;
        self.context.counters.connections_evicted.add(1);
        true
    }

    fn register(&mut self, socket: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        let key = self.reserve();
        let data = epoll::EventData::new_u64(key.token());
        // Armed when the connection is stored.
        let added = epoll::add(self.io_handle.epoll(), &socket, data, EventFlags::ONESHOT);
        let tls = added
            .map_err(io::Error::from)
            .and_then(|()| TlsStream::new(socket, Arc::clone(&self.context.tls.config)));
        match tls {
            Ok(tls) => {
                let (context, io_handle) = (Arc::clone(&self.context), Arc::clone(&self.io_handle));
                let connection =
                    Box::new(Connection::new(tls, context, io_handle, key, peer, permit));
                self.apply(connection, Connection::advance);
            }
            Err(error) => {
                log::debug!("cannot serve a client: {error}");
                self.vacate(key);
            }
        }
    }

    fn watch_backend(&mut self) -> io::Result<()> {
        self.backend_is_full = false;
        let data = epoll::EventData::new_u64(BACKEND_TOKEN);
        Ok(epoll::add(
            self.io_handle.epoll(),
            &self.backend,
            data,
            EventFlags::IN,
        )?)
    }

    fn watch_backend_for_room(&mut self, full: bool) {
        if full != self.backend_is_full {
            self.backend_is_full = full;
            let mut interest = EventFlags::IN;
            interest.set(EventFlags::OUT, full);
            let data = epoll::EventData::new_u64(BACKEND_TOKEN);
            if let Err(error) = epoll::modify(self.io_handle.epoll(), &self.backend, data, interest)
            {
                log::error!("cannot wait for the backend: {error}");
            }
        }
    }

    fn handle_backend(&mut self, flags: EventFlags) {
        let alive = if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.backend.check_alive()
        } else {
            Ok(())
        };
        match alive.and_then(|()| self.backend.flush()) {
            Ok(all) => self.watch_backend_for_room(!all),
            Err(error) => self.replace_backend(&error),
        }
    }

    /// Replaces the connection to the backend, which only a bug can break. The requests on it are
    /// lost.
    fn replace_backend(&mut self, cause: &io::Error) {
        match self.context.http.reconnect() {
            Ok(backend) => self.backend = backend,
            Err(error) => {
                log::error!("lost the backend: {cause}; cannot start another: {error}");
                log::logger().flush();
                std::process::exit(EXIT_SOFTWARE);
            }
        }
        log::error!("lost the backend: {cause}; started another");
        if let Err(error) = self.watch_backend() {
            log::error!("cannot wait for the backend: {error}");
        }
        let forwarded: Vec<SlotId> = self
            .entries
            .iter()
            .filter_map(|entry| match entry.state {
                EntryState::Forwarded(slot) => Some(slot),
                _ => None,
            })
            .collect();
        forwarded
            .into_iter()
            .for_each(|slot| self.refuse_forwarded(slot));
    }

    /// Closes idle connections; with `close_all`, all but running downloads.
    fn drain(&mut self) {
        self.stop_listening();
        self.accept_paused_until = None;
        self.listeners = Arc::default();
        let close_all = self.control.close_all.load(Ordering::SeqCst);
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get_mut(index) else {
                return;
            };
            let key = Key {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                generation: entry.generation,
            };
            match std::mem::replace(&mut entry.state, EntryState::Elsewhere) {
                EntryState::Owned(connection) if !close_all && connection.is_idle() => {
                    self.unmark_evictable(key);
                    self.apply(connection, Connection::close_idle);
                }
                EntryState::Owned(connection) if close_all => {
                    connection.tls.reset_on_close();
                    drop(connection);
                }
                EntryState::Deferred(slot) | EntryState::Forwarded(slot) if close_all => {
                    drop(self.context.http.in_flight().cancel(slot));
                }
                state => entry.state = state,
            }
        }
        self.control.drained.store(true, Ordering::SeqCst);
    }

    fn reserve(&mut self) -> Key {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        let mut generation = 0;
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.state = EntryState::Elsewhere;
            entry.generation = entry.generation.wrapping_add(1);
            generation = entry.generation;
        }
        Key { index, generation }
    }

    fn vacate(&mut self, key: Key) {
        self.unmark_evictable(key);
        let Some(entry) = self.entry(key) else { return };
        // A timer still set will find another generation.
        *entry = Entry {
            generation: entry.generation.wrapping_add(1),
            ..Entry::default()
        };
        self.vacant.push(key.index);
    }

    /// The entry of a connection, unless it has been reused.
    fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries
            .get_mut(key.index as usize)
            .filter(|entry| entry.generation == key.generation)
    }

    fn unmark_evictable(&mut self, key: Key) {
        let since = self
            .entry(key)
            .and_then(|entry| entry.evictable_since.take());
        if let Some(since) = since {
            self.evictable.remove(&(since, key));
        }
    }

    fn set_deadline(&mut self, key: Key, deadline: Instant) {
        let step = self.timers.step(deadline);
        let Some(entry) = self.entry(key) else { return };
        entry.deadline = Some(deadline);
        if entry.timer.is_none_or(|timer| step < timer) {
            entry.timer = Some(step);
            self.timers.set(step, key);
        }
    }
}
