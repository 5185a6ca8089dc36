//! An I/O thread: waits for many sockets at once and for none in particular.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use super::accept::{self, LogLimits};
use super::connection::{Connection, Next};
use super::connections::{ConnectionPermit, Full};
use super::context::Context;
use super::home::{BACKEND_TOKEN, FIRST_LISTENER_TOKEN, Home, Key, Message, WAKE_TOKEN};
use super::timers::Timers;
use super::tls_stream::TlsStream;
use crate::api::{SlotId, Slots as _};
use crate::http::{ForwardedRequest, ToBackend};

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Deep enough for a TLS handshake with room to spare.
const STACK_BYTES: usize = 512 * 1024;
/// How long no client is accepted after an error of the whole process: descriptors or memory may come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a request may wait for a worker. Workers wait for nothing outside the process, so this passes only on a machine
/// that cannot keep up at all.
const WORKER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest sleep: nothing that is due comes later than this.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// How the process ends after a defect that it cannot go on from (sysexits.h, EX_SOFTWARE); its service manager starts it
/// again.
const EXIT_SOFTWARE: i32 = 70;

/// An I/O thread as its service sees it.
pub(super) struct IoThread {
    home: Arc<Home>,
    shared: Arc<Shared>,
    handle: JoinHandle<()>,
}

/// What the service asks of the thread, and knows of it.
#[derive(Default)]
struct Shared {
    /// Turns the loop has taken: a thread that is stuck takes none.
    turns: AtomicU64,
    /// The thread has let the idle clients go and accepts no more.
    drained: AtomicBool,
    /// Everything that is not a running download is to end at once.
    abandon: AtomicBool,
    end: AtomicBool,
}

/// A place for a connection.
struct Place {
    generation: u32,
    state: State,
    /// The step at which the nearest timer of the connection goes off.
    timer: Option<u64>,
    deadline: Option<Instant>,
    /// Since when it is an idle stranger's.
    stranger_since: Option<Instant>,
}

enum State {
    Vacant,
    /// It waits here for its client.
    Here(Box<Connection>),
    /// Its request waits in this slot for a worker.
    Forwarded(SlotId),
    /// Its request waits in this slot for something else.
    Deferred(SlotId),
    /// Somebody else has it.
    Away,
}

struct IoLoop {
    context: Arc<Context>,
    home: Arc<Home>,
    /// Those of all I/O threads, and which of them this is.
    homes: Arc<[Arc<Home>]>,
    number: usize,
    shared: Arc<Shared>,
    listeners: Arc<Vec<TcpListener>>,
    listening: bool,
    accept_again: Option<Instant>,
    limits: LogLimits,
    backend: ToBackend,
    backend_is_full: bool,
    places: Vec<Place>,
    vacant: Vec<u32>,
    timers: Timers,
    /// Those who may make room for others, the longest idle first.
    strangers: BTreeSet<(Instant, Key)>,
    tick: Option<Duration>,
}

impl IoThread {
    /// Starts a thread that accepts clients and serves them; `tick` is how often it takes a turn at least.
    ///
    /// # Errors
    /// When a descriptor or the thread cannot be made.
    pub(super) fn start(
        (number, homes): (usize, Arc<[Arc<Home>]>),
        context: Arc<Context>,
        listeners: Arc<Vec<TcpListener>>,
        backend: ToBackend,
        tick: Option<Duration>,
    ) -> io::Result<IoThread> {
        let home = homes.get(number).map(Arc::clone).ok_or(io::ErrorKind::NotFound)?;
        let shared = Arc::new(Shared::default());
        let mut io_loop = IoLoop {
            context,
            home: Arc::clone(&home),
            homes,
            number,
            shared: Arc::clone(&shared),
            listeners,
            listening: false,
            accept_again: None,
            limits: LogLimits::default(),
            backend,
            backend_is_full: false,
            places: Vec::new(),
            vacant: Vec::new(),
            timers: Timers::new(Instant::now()),
            strangers: BTreeSet::new(),
            tick,
        };
        io_loop.watch_backend()?;
        io_loop.listen()?;
        let run = move || {
            // Its connections would be lost to their clients for as long as the process lives. The panic hook has said why.
            if catch_unwind(AssertUnwindSafe(|| io_loop.run())).is_err() {
                log::logger().flush();
                std::process::exit(EXIT_SOFTWARE);
            }
        };
        let handle = thread::Builder::new().name(format!("io-{number}")).stack_size(STACK_BYTES).spawn(run)?;
        Ok(IoThread { home, shared, handle })
    }

    /// Turns the loop has taken.
    pub(super) fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// Makes the thread look at what has changed: the service drains.
    pub(super) fn wake(&self) {
        self.home.wake();
    }

    /// Whether the thread accepts no more clients and has let the idle ones go.
    pub(super) fn is_drained(&self) -> bool {
        self.shared.drained.load(Ordering::SeqCst)
    }

    /// Ends everything at once that is not a running download.
    pub(super) fn abandon(&self) {
        self.shared.abandon.store(true, Ordering::SeqCst);
        self.home.wake();
    }

    /// Ends the thread.
    pub(super) fn end(self) {
        self.shared.end.store(true, Ordering::SeqCst);
        self.home.wake();
        let _ = self.handle.join();
    }
}

impl IoLoop {
    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.shared.end.load(Ordering::SeqCst) {
            let next = self.next_turn();
            let messages = self.home.take_messages(Some(next));
            let timeout =
                if messages.is_empty() { next.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            self.handle_messages(messages);
            events.clear();
            let timeout = Timespec::try_from(timeout).ok();
            match epoll::wait(self.home.epoll(), spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => log::error!("waiting for clients failed: {error}"),
            }
            self.shared.turns.fetch_add(1, Ordering::Relaxed);
            // Who has come home since: an event may be about it.
            let messages = self.home.take_messages(None);
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

    /// Until when there is nothing to do unless something happens.
    fn next_turn(&self) -> Instant {
        let now = Instant::now();
        let longest = now + self.tick.unwrap_or(SLEEP_MAX);
        [self.timers.next(), self.accept_again].into_iter().flatten().fold(longest, Instant::min)
    }

    fn handle_messages(&mut self, messages: Vec<Message>) {
        for message in messages {
            match message {
                // Whoever had it has armed it already.
                Message::Back(connection) => self.put(connection),
                Message::Parked(key, slot, until) => {
                    if let Some(place) = self.place(key) {
                        place.state = State::Deferred(slot);
                        self.set_deadline(key, until);
                    }
                }
                Message::Gone(key) => self.vacate(key),
                Message::Newcomer(socket, peer, asked) => self.let_in(socket, peer, asked),
            }
        }
    }

    fn handle_event(&mut self, token: u64, flags: EventFlags) {
        match token {
            WAKE_TOKEN => self.home.acknowledge_wake(),
            BACKEND_TOKEN => self.handle_backend(flags),
            token if token > u64::MAX - 1024 => {
                let number = usize::try_from(FIRST_LISTENER_TOKEN - token).unwrap_or(usize::MAX);
                self.accept(number);
            }
            token => self.handle_connection(Key::from_token(token)),
        }
    }

    fn handle_connection(&mut self, key: Key) {
        let Some(place) = self.place(key) else { return };
        match std::mem::replace(&mut place.state, State::Away) {
            State::Here(mut connection) => {
                self.forget_stranger(key);
                let next = connection.advance();
                self.go_on(connection, next);
            }
            // Only an end is watched for: the client has left.
            State::Deferred(slot) => drop(self.context.http.in_flight().cancel(slot)),
            state => place.state = state,
        }
    }

    /// Does what a connection wants next.
    fn go_on(&mut self, connection: Box<Connection>, next: Next) {
        match next {
            Next::Wait => self.wait_here(connection),
            Next::Forward(request) => self.forward(connection, &request),
            // Its place goes with the message of its end.
            Next::End => drop(connection),
        }
    }

    fn wait_here(&mut self, connection: Box<Connection>) {
        if let Err(error) = self.home.arm(&connection.tls, connection.key(), connection.interest()) {
            log::debug!("a client cannot be waited for: {error}");
            return;
        }
        self.put(connection);
    }

    fn put(&mut self, connection: Box<Connection>) {
        let key = connection.key();
        let deadline = connection.deadline();
        let is_stranger = connection.is_idle_stranger();
        let Some(place) = self.place(key) else { return };
        place.state = State::Here(connection);
        if is_stranger {
            let now = Instant::now();
            place.stranger_since = Some(now);
            self.strangers.insert((now, key));
        }
        self.set_deadline(key, deadline);
    }

    fn forward(&mut self, connection: Box<Connection>, request: &ForwardedRequest) {
        let key = connection.key();
        let slot = self.context.http.in_flight().insert(connection);
        if let Some(place) = self.place(key) {
            place.state = State::Forwarded(slot);
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
            let Some(place) = self.place(key).filter(|place| place.timer == Some(step)) else { continue };
            place.timer = None;
            match place.deadline {
                Some(deadline) if deadline <= now => self.expire(key),
                Some(deadline) => self.set_deadline(key, deadline),
                None => {}
            }
        }
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            if let Err(error) = self.listen() {
                accept::log_error(&error, &self.context.counters, &mut self.limits);
                self.accept_again = Some(now + ACCEPT_PAUSE);
            }
        }
    }

    fn expire(&mut self, key: Key) {
        let Some(place) = self.place(key) else { return };
        match std::mem::replace(&mut place.state, State::Away) {
            State::Here(mut connection) => {
                self.forget_stranger(key);
                let next = connection.expire();
                self.go_on(connection, next);
            }
            State::Deferred(slot) => self.context.http.in_flight().complete(slot, None),
            State::Forwarded(slot) => self.refuse_forwarded(slot),
            state => place.state = state,
        }
    }

    /// Answers in place of the worker that has not come.
    fn refuse_forwarded(&mut self, slot: SlotId) {
        if let Some(mut connection) = self.context.http.in_flight().take_forwarded(slot) {
            connection.refuse_overloaded();
            let next = connection.advance();
            self.go_on(connection, next);
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        for (number, listener) in (0..).zip(self.listeners.iter()) {
            let data = epoll::EventData::new_u64(FIRST_LISTENER_TOKEN - number);
            // One thread is woken for a client, not all of them.
            epoll::add(self.home.epoll(), listener, data, EventFlags::IN | EventFlags::EXCLUSIVE)?;
        }
        self.listening = true;
        Ok(())
    }

    fn stop_listening(&mut self) {
        if std::mem::take(&mut self.listening) {
            for listener in self.listeners.iter() {
                let _ = epoll::delete(self.home.epoll(), listener);
            }
        }
    }

    fn accept(&mut self, number: usize) {
        if self.context.connections.is_draining() {
            return;
        }
        let (context, listeners) = (Arc::clone(&self.context), Arc::clone(&self.listeners));
        let Some(listener) = listeners.get(number) else { return };
        let accepted = accept::accept_batch(listener, &context.counters, |socket, peer| self.let_in(socket, peer, 0));
        if let Err(error) = accepted {
            accept::log_error(&error, &self.context.counters, &mut self.limits);
            // The client stays in the backlog, so the listener would wake the thread at once.
            self.stop_listening();
            self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
        }
    }

    /// Lets a client in if there is room, or can be made: here, or by the other threads, of which `asked` could not.
    fn let_in(&mut self, socket: TcpStream, peer: SocketAddr, asked: usize) {
        let address = (!self.context.is_trusted_proxy(peer.ip())).then(|| peer.ip());
        let connections = Arc::clone(&self.context.connections);
        let admitted = connections.admit(address).or_else(|full| match full {
            Full::Connections if self.make_room() => connections.admit(address),
            full => Err(full),
        });
        let other = self.homes.get((self.number + 1) % self.homes.len().max(1));
        match (admitted, other) {
            (Ok(permit), _) => {
                self.context.counters.connections.add(1);
                self.admit(socket, peer, permit);
            }
            (Err(Full::Connections), Some(other)) if asked + 1 < self.homes.len() => {
                other.hand_over(socket, peer, asked + 1);
            }
            (Err(full), _) => accept::log_refusal(full, peer, &self.context.counters, &mut self.limits),
        }
    }

    /// Lets the stranger go who has been idle longest.
    fn make_room(&mut self) -> bool {
        let Some(&(_, key)) = self.strangers.first() else { return false };
        self.forget_stranger(key);
        let Some(place) = self.place(key) else { return false };
        place.state = State::Away;
        self.context.counters.connections_evicted.add(1);
        true
    }

    fn admit(&mut self, socket: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        let key = self.reserve();
        let data = epoll::EventData::new_u64(key.token());
        // Armed by whoever puts the connection down.
        let added = epoll::add(self.home.epoll(), &socket, data, EventFlags::ONESHOT);
        let tls = added.map_err(io::Error::from).and_then(|()| TlsStream::new(socket, self.context.tls.config()));
        match tls {
            Ok(tls) => {
                let (context, home) = (Arc::clone(&self.context), Arc::clone(&self.home));
                let mut connection = Box::new(Connection::new(tls, context, home, key, peer, permit));
                let next = connection.advance();
                self.go_on(connection, next);
            }
            Err(error) => {
                log::debug!("a client cannot be served: {error}");
                self.vacate(key);
            }
        }
    }

    fn watch_backend(&mut self) -> io::Result<()> {
        self.backend_is_full = false;
        let data = epoll::EventData::new_u64(BACKEND_TOKEN);
        Ok(epoll::add(self.home.epoll(), &self.backend, data, EventFlags::IN)?)
    }

    fn watch_backend_for_room(&mut self, full: bool) {
        if full != self.backend_is_full {
            self.backend_is_full = full;
            let interest = if full { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            let data = epoll::EventData::new_u64(BACKEND_TOKEN);
            if let Err(error) = epoll::modify(self.home.epoll(), &self.backend, data, interest) {
                log::error!("the backend cannot be waited for: {error}");
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

    /// Only a defect can break the connection to the backend. What was on its way over it is lost.
    fn replace_backend(&mut self, cause: &io::Error) {
        match self.context.http.reconnect() {
            Ok(backend) => self.backend = backend,
            Err(error) => {
                log::error!("the backend was lost: {cause}; no other can be started: {error}");
                log::logger().flush();
                std::process::exit(EXIT_SOFTWARE);
            }
        }
        log::error!("the backend was lost: {cause}; another has taken its place");
        if let Err(error) = self.watch_backend() {
            log::error!("the backend cannot be waited for: {error}");
        }
        let forwarded: Vec<SlotId> = self
            .places
            .iter()
            .filter_map(|place| if let State::Forwarded(slot) = place.state { Some(slot) } else { None })
            .collect();
        forwarded.into_iter().for_each(|slot| self.refuse_forwarded(slot));
    }

    /// Lets go who has nothing under way; with `abandon`, everybody who has no running download.
    fn drain(&mut self) {
        self.stop_listening();
        self.accept_again = None;
        self.listeners = Arc::default();
        let abandon = self.shared.abandon.load(Ordering::SeqCst);
        for index in 0..self.places.len() {
            let Some(place) = self.places.get_mut(index) else { return };
            let key = Key { index: u32::try_from(index).unwrap_or(u32::MAX), generation: place.generation };
            match std::mem::replace(&mut place.state, State::Away) {
                State::Here(mut connection) if !abandon && connection.is_idle() => {
                    self.forget_stranger(key);
                    let next = connection.close_idle();
                    self.go_on(connection, next);
                }
                State::Here(connection) if abandon => {
                    connection.tls.reset_on_close();
                    drop(connection);
                }
                State::Deferred(slot) | State::Forwarded(slot) if abandon => {
                    drop(self.context.http.in_flight().cancel(slot));
                }
                state => place.state = state,
            }
        }
        self.shared.drained.store(true, Ordering::SeqCst);
    }

    fn reserve(&mut self) -> Key {
        let index = self.vacant.pop().unwrap_or_else(|| {
            let state = State::Vacant;
            self.places.push(Place { generation: 0, state, timer: None, deadline: None, stranger_since: None });
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let Some(place) = self.places.get_mut(index as usize) else { return Key { index, generation: 0 } };
        place.generation = place.generation.wrapping_add(1);
        place.state = State::Away;
        Key { index, generation: place.generation }
    }

    fn vacate(&mut self, key: Key) {
        self.forget_stranger(key);
        let Some(place) = self.place(key) else { return };
        place.state = State::Vacant;
        // A timer that still goes off finds another generation, or none.
        place.timer = None;
        place.deadline = None;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(key.index);
    }

    /// The place of that very connection.
    fn place(&mut self, key: Key) -> Option<&mut Place> {
        self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)
    }

    fn forget_stranger(&mut self, key: Key) {
        if let Some(since) = self.place(key).and_then(|place| place.stranger_since.take()) {
            self.strangers.remove(&(since, key));
        }
    }

    fn set_deadline(&mut self, key: Key, deadline: Instant) {
        let step = self.timers.step(deadline);
        let Some(place) = self.place(key) else { return };
        place.deadline = Some(deadline);
        if place.timer.is_none_or(|timer| step < timer) {
            place.timer = Some(step);
            self.timers.set(step, key);
        }
    }
}
