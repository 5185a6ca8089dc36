//! One client's connection, from the handshake through its requests to the close.
//!
//! A connection belongs to one thread at a time. Its I/O thread owns it while it waits for the
//! client. Once a request is complete, the connection goes into a slot; whoever answers takes it
//! out, writes the response and returns it. A download thread owns it while sending a recording.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use super::accept;
use super::address_limits::NetworkFull;
use super::client_address::{ClientAddress, client_address};
use super::connections::ConnectionPermit;
use super::content::ChunkedDecoder;
use super::context::Context;
use super::head::{self, Framing, Head};
use super::http_error::HttpError;
use super::io_handle::{IoHandle, Key};
use super::proxy_protocol::{self, Parsed};
use super::request_log;
use super::response::{self, render};
use super::server_name::{self, Examined};
use super::tls_stream::{Received, TlsStream};
use super::transfer;
use crate::api::{Gateway, Method, Reply, RequestContext, SlotId, Undelivered};
use crate::http::{ForwardedRequest, PendingClient, Response};
use crate::ops::log_lines::Quoted;
use crate::ops::sync::lock;

/// Most requests on one connection; after that it closes.
const REQUESTS_MAX: u32 = 1000;
/// Most bytes to read and drop after the last response.
const LINGER_MAX_BYTES: usize = 1024 * 1024;
/// Rate at which a client must take a response that is not a download and does not fit the socket.
const RESPONSE_MIN_BYTES_PER_SECOND: u64 = 8 * 1024;

/// What a connection is waiting for.
enum Stage {
    /// The first bytes: the PROXY header of a trusted proxy, and the ClientHello.
    Opening { proxied: bool },
    /// The end of the TLS handshake.
    Handshake,
    /// A request's head; whether its first byte has arrived.
    Head { begun: bool },
    /// A request's content.
    Body(Box<Head>, ChunkedDecoder),
    /// An answer.
    InFlight,
    /// The client to take the rest of a response.
    Sending { keep_alive: bool },
    /// The client to take everything left unsent, including the close_notify.
    Closing,
    /// The client to close its side, so that a reset cannot overtake the last response (RFC 9112
    /// section 9.6).
    Lingering { dropped: usize },
    /// Nothing: the connection is dead.
    Gone,
}

/// What an I/O thread does with a connection next.
pub(super) enum Action {
    /// Waits for [`Connection::interest`] until [`Connection::deadline`].
    Wait,
    /// Sends this request to the backend.
    Forward(Box<ForwardedRequest>),
    /// The connection is over.
    Close,
}

/// A client's connection.
pub(super) struct Connection {
    pub(super) tls: TlsStream,
    pub(super) context: Arc<Context>,
    io_handle: Arc<IoHandle>,
    /// Its key in the I/O thread's table.
    pub(super) key: Key,
    peer: SocketAddr,
    /// The client that a trusted proxy has named for the whole connection.
    source: Option<SocketAddr>,
    /// The client of the request in flight.
    client: ClientAddress,
    /// The server name was hidden from rustls, and must be in a second ClientHello, too.
    hides_name: bool,
    /// Received bytes that are not parsed yet.
    inbound: Vec<u8>,
    stage: Stage,
    /// When [`Connection::expire`] is to be called.
    pub(super) deadline: Instant,
    requests: u32,
    /// Whether the request in flight is a HEAD.
    is_head: bool,
    /// Whether another request may follow the one in flight.
    pub(super) keep_alive: bool,
    is_authenticated: bool,
    /// Undoes the response being sent, if it does not reach the client.
    undelivered: Option<Undelivered>,
    permit: ConnectionPermit,
}

impl Connection {
    /// A newly accepted client.
    pub(super) fn new(
        tls: TlsStream,
        context: Arc<Context>,
        io_handle: Arc<IoHandle>,
        key: Key,
        peer: SocketAddr,
        permit: ConnectionPermit,
    ) -> Connection {
        let deadline = Instant::now() + context.timeouts.handshake;
        let proxied = context.is_trusted_proxy(peer.ip());
        context.counters.connected.increment();
        Connection {
            tls,
            context,
            io_handle,
            key,
            peer,
            source: None,
            client: ClientAddress {
                client: peer.ip(),
                via: None,
            },
            hides_name: false,
            inbound: Vec::new(),
            stage: Stage::Opening { proxied },
            deadline,
            requests: 0,
            is_head: false,
            keep_alive: false,
            is_authenticated: false,
            undelivered: None,
            permit,
        }
    }

    /// The client of the request in flight.
    pub(super) fn client_ip(&self) -> IpAddr {
        self.client.client
    }

    /// The client of the request in flight, for the log; with its port if the connection is the
    /// client's own or a PROXY header named it.
    pub(super) fn peer_text(&self) -> String {
        let ClientAddress { client, via } = self.client;
        let known = [self.source, Some(self.peer)].into_iter().flatten();
        let peer = known
            .into_iter()
            .find(|known| known.ip().to_canonical() == client.to_canonical());
        let peer = peer.map_or_else(|| client.to_string(), |peer| peer.to_string());
        via.map_or_else(|| peer.clone(), |via| format!("{peer} via={via}"))
    }

    /// The events to wait for after [`Action::Wait`].
    pub(super) fn interest(&self) -> EventFlags {
        match self.stage {
            Stage::Sending { .. } | Stage::Closing => EventFlags::OUT,
            _ if self.tls.wants_write() => EventFlags::IN | EventFlags::OUT,
            _ => EventFlags::IN,
        }
    }

    /// The events to wait for when the connection returns to its I/O thread. If the next request is
    /// already buffered, waits for a writable socket as well, which fires at once.
    pub(super) fn interest_on_return(&self) -> EventFlags {
        match self.stage {
            Stage::Head { .. } if !self.inbound.is_empty() => EventFlags::IN | EventFlags::OUT,
            _ => self.interest(),
        }
    }

    /// Whether the connection may be closed to make room for a new one: it is not authenticated and
    /// has no request in flight.
    pub(super) fn is_evictable(&self) -> bool {
        !self.is_authenticated && (self.is_idle() || matches!(self.stage, Stage::Body(..)))
    }

    /// Whether no request is in progress.
    pub(super) fn is_idle(&self) -> bool {
        matches!(
            self.stage,
            Stage::Opening { .. } | Stage::Handshake | Stage::Head { .. }
        )
    }

    /// Advances until the socket blocks or the I/O thread has to act.
    pub(super) fn advance(&mut self) -> Action {
        loop {
            let step = match self.stage {
                Stage::Opening { proxied } => self.open(proxied),
                Stage::Handshake => self.handshake(),
                Stage::Head { .. } => self.read_head(),
                Stage::Body(..) => self.read_body(),
                Stage::InFlight | Stage::Gone => return Action::Close,
                Stage::Sending { keep_alive } => self.send_rest(keep_alive),
                Stage::Closing => self.close_rest(),
                Stage::Lingering { dropped } => self.linger(dropped),
            };
            if let Some(next) = step {
                return next;
            }
        }
    }

    /// The deadline of the stage has passed.
    pub(super) fn expire(&mut self) -> Action {
        match self.stage {
            Stage::Opening { .. } | Stage::Handshake => self.fail_handshake("it took too long"),
            Stage::Head { begun: true } | Stage::Body(..) => {
                self.refuse(HttpError::TooSlow);
                self.advance()
            }
            Stage::Head { begun: false } => {
                self.begin_close();
                self.advance()
            }
            Stage::Sending { .. } | Stage::Closing => {
                self.tls.reset_on_close();
                Action::Close
            }
            Stage::InFlight | Stage::Lingering { .. } | Stage::Gone => Action::Close,
        }
    }

    /// Closes the connection in an orderly way, unless a request is in progress.
    pub(super) fn close_idle(&mut self) -> Action {
        match self.stage {
            Stage::Opening { .. } | Stage::Handshake => Action::Close,
            Stage::Head { .. } => {
                self.begin_close();
                self.advance()
            }
            _ => Action::Wait,
        }
    }

    /// Answers 503 because no worker took the request in time.
    pub(super) fn refuse_overloaded(&mut self) {
        self.refuse(HttpError::Overloaded);
    }

    /// Handles the PROXY header and the server name before rustls sees the bytes.
    fn open(&mut self, proxied: bool) -> Option<Action> {
        if proxied {
            match proxy_protocol::parse(&self.inbound) {
                Ok(Parsed::Incomplete) => return self.receive_opening(),
                Ok(Parsed::NotProxy) => {}
                Ok(Parsed::Header(header)) => {
                    self.inbound.drain(..header.len);
                    self.source = header.source;
                    if let Err(full) = self.count_client() {
                        self.context.counters.connections_refused.add(1);
                        lock(&self.context.log_limits.full_networks)
                            .warn(&accept::network_full(&full));
                        return Some(Action::Close);
                    }
                }
                Err(malformed) => {
                    let text = format!(
                        "{} sent an invalid PROXY protocol header: {malformed}",
                        self.peer
                    );
                    lock(&self.context.log_limits.proxy_headers).warn(&text);
                    return Some(Action::Close);
                }
            }
            self.stage = Stage::Opening { proxied: false };
        }
        match server_name::examine(&self.inbound) {
            Examined::Incomplete => return self.receive_opening(),
            Examined::Unchanged => {}
            Examined::BadName(name) => {
                request_log::remark(
                    self,
                    format_args!(
                        "{} asks for the server name {}",
                        self.peer,
                        Quoted(&name.name)
                    ),
                );
                name.hide(&mut self.inbound);
                let first = !std::mem::replace(&mut self.hides_name, true);
                let config = Arc::clone(&self.context.tls.tolerant_config);
                if first && self.tls.restart(config).is_err() {
                    return Some(Action::Close);
                }
            }
        }
        let opening = std::mem::take(&mut self.inbound);
        if let Err(error) = self.tls.feed(&opening) {
            return Some(self.fail_handshake(&error.to_string()));
        }
        // After a HelloRetryRequest the client sends its server name again.
        self.stage = match self.hides_name && self.tls.awaits_second_hello() {
            true => Stage::Opening { proxied: false },
            false => Stage::Handshake,
        };
        self.hides_name = false;
        None
    }

    fn receive_opening(&mut self) -> Option<Action> {
        match self.tls.receive_raw(&mut self.inbound) {
            Ok(Received::Bytes) => None,
            Ok(_) => Some(Action::Wait),
            Err(error) => Some(self.fail_handshake(&error.to_string())),
        }
    }

    /// Counts the connection for the client named by the proxy, unless that is a trusted proxy
    /// itself.
    fn count_client(&mut self) -> Result<(), NetworkFull> {
        match self.source {
            Some(source) if !self.context.is_trusted_proxy(source.ip()) => {
                self.permit.count_for(source.ip())
            }
            _ => Ok(()),
        }
    }

    fn handshake(&mut self) -> Option<Action> {
        match self.tls.handshake() {
            Ok(true) => {
                self.wait_for_request(self.context.timeouts.first_request);
                None
            }
            Ok(false) => Some(Action::Wait),
            Err(error) => Some(self.fail_handshake(&error.to_string())),
        }
    }

    fn fail_handshake(&self, why: &str) -> Action {
        self.context.counters.handshakes_failed.add(1);
        request_log::remark(
            self,
            format_args!("handshake with {} failed: {}", self.peer, Quoted(why)),
        );
        Action::Close
    }

    fn wait_for_request(&mut self, timeout: Duration) {
        self.stage = Stage::Head { begun: false };
        self.deadline = Instant::now() + timeout;
        if self.inbound.is_empty() {
            // An idle connection may last long; frees its buffer.
            self.inbound = Vec::new();
        }
    }

    fn read_head(&mut self) -> Option<Action> {
        if self.context.connections.is_draining() {
            self.begin_close();
            return None;
        }
        if !self.inbound.is_empty() {
            if matches!(self.stage, Stage::Head { begun: false }) && head::is_begun(&self.inbound) {
                self.stage = Stage::Head { begun: true };
                self.deadline = Instant::now() + self.context.timeouts.head;
            }
            match Head::parse(&self.inbound) {
                Ok(Some((head, length))) => {
                    self.inbound.drain(..length);
                    self.begin_body(head);
                    return None;
                }
                Ok(None) => {}
                Err(error) => {
                    self.refuse(error);
                    return None;
                }
            }
        }
        self.receive()
    }

    fn begin_body(&mut self, head: Head) {
        self.deadline = Instant::now() + self.context.timeouts.body;
        if head.expects_continue && self.inbound.is_empty() && head.framing != Framing::Length(0) {
            // An error will show again when the content is read.
            let _ = self
                .tls
                .queue(b"HTTP/1.1 100 Continue\r\n\r\n")
                .and_then(|()| self.tls.flush().map(drop));
        }
        self.stage = Stage::Body(Box::new(head), ChunkedDecoder::default());
    }

    fn read_body(&mut self) -> Option<Action> {
        let Stage::Body(head, decoder) = &mut self.stage else {
            return Some(Action::Close);
        };
        let body = match head.framing {
            Framing::Length(length) if self.inbound.len() >= length => {
                let rest = self.inbound.split_off(length);
                Some(std::mem::replace(&mut self.inbound, rest))
            }
            Framing::Length(_) => None,
            Framing::Chunked => match decoder.feed(&self.inbound) {
                Ok(used) => {
                    self.inbound.drain(..used);
                    decoder.finished()
                }
                Err(error) => {
                    self.refuse(error);
                    return None;
                }
            },
        };
        match body {
            Some(body) => Some(self.forward(body)),
            None => self.receive(),
        }
    }

    /// Reads more of a request.
    fn receive(&mut self) -> Option<Action> {
        match self.tls.receive(&mut self.inbound) {
            Ok(Received::Bytes) => None,
            Ok(Received::Nothing) => Some(Action::Wait),
            Ok(Received::End) => {
                self.begin_close();
                None
            }
            Err(_) => Some(Action::Close),
        }
    }

    /// Forwards the completed request.
    fn forward(&mut self, body: Vec<u8>) -> Action {
        let stage = std::mem::replace(&mut self.stage, Stage::InFlight);
        let Stage::Body(head, _) = stage else {
            return Action::Close;
        };
        self.requests += 1;
        self.client = client_address(
            self.peer.ip(),
            self.source.map(|source| source.ip()),
            head.forwarded_for.as_deref(),
            |address| self.context.is_trusted_proxy(address),
        );
        self.keep_alive = head.keep_alive && self.requests < REQUESTS_MAX;
        self.is_head = head.method == Method::Head;
        if self.inbound.is_empty() {
            // A poll may be parked for long; frees the buffer.
            self.inbound = Vec::new();
        }
        Action::Forward(Box::new(ForwardedRequest {
            method: head.method,
            target: head.target,
            headers: head.headers,
            body,
        }))
    }

    /// Answers a malformed request and closes the connection, since the start of the next request
    /// is unknown.
    fn refuse(&mut self, error: HttpError) {
        self.context.counters.requests_malformed.add(1);
        request_log::remark(
            self,
            format_args!("{} is refused: {}", self.peer, error.reason()),
        );
        self.keep_alive = false;
        self.is_head = false;
        // An error shows in the stage.
        let _ = self.send_reply(&error.reply());
    }

    /// Writes a response, except for a download, as far as the socket accepts it, and enters the
    /// next stage.
    ///
    /// # Errors
    /// The socket's error. The connection is dead then.
    fn send_reply(&mut self, reply: &Reply) -> io::Result<()> {
        let framing = response::Framing {
            length: reply.body.len() as u64,
            with_body: !self.is_head,
            keep_alive: self.keep_alive,
        };
        let sent = self
            .tls
            .queue(&render(reply, framing))
            .and_then(|()| self.tls.flush());
        match sent {
            Ok(true) => self.after_response(self.keep_alive),
            Ok(false) => {
                self.stage = Stage::Sending {
                    keep_alive: self.keep_alive,
                };
                let long = Duration::from_secs(framing.length / RESPONSE_MIN_BYTES_PER_SECOND);
                self.deadline = Instant::now() + self.context.timeouts.response + long;
            }
            Err(_) => self.stage = Stage::Gone,
        }
        sent.map(drop)
    }

    fn after_response(&mut self, keep_alive: bool) {
        self.undelivered = None;
        if keep_alive {
            self.wait_for_request(self.context.timeouts.idle);
        } else {
            self.begin_close();
        }
    }

    fn send_rest(&mut self, keep_alive: bool) -> Option<Action> {
        match self.tls.flush() {
            Ok(false) => Some(Action::Wait),
            Ok(true) => {
                self.after_response(keep_alive);
                None
            }
            Err(_) => Some(Action::Close),
        }
    }

    /// Starts an orderly close.
    pub(super) fn begin_close(&mut self) {
        self.tls.queue_close();
        self.stage = Stage::Closing;
        self.deadline = Instant::now() + self.context.timeouts.response;
    }

    fn close_rest(&mut self) -> Option<Action> {
        match self.tls.flush() {
            Ok(false) => Some(Action::Wait),
            // If the client does not take the rest in time, it is reset. Until then it counts as
            // connected, so that nobody can fill the kernel's memory by reconnecting.
            Ok(true) if !self.tls.is_all_sent() => Some(Action::Wait),
            Ok(true) => {
                self.tls.shut_down_writing();
                self.inbound = Vec::new();
                self.stage = Stage::Lingering { dropped: 0 };
                self.deadline = Instant::now() + self.context.timeouts.linger;
                None
            }
            Err(_) => Some(Action::Close),
        }
    }

    fn linger(&mut self, dropped: usize) -> Option<Action> {
        if self.context.connections.is_draining() {
            return Some(Action::Close);
        }
        match self.tls.discard() {
            None => Some(Action::Close),
            Some(0) => Some(Action::Wait),
            Some(count) if dropped + count > LINGER_MAX_BYTES => Some(Action::Close),
            Some(count) => {
                self.stage = Stage::Lingering {
                    dropped: dropped + count,
                };
                None
            }
        }
    }

    /// Answers 503 because no thread could be started for the download.
    pub(super) fn refuse_download(
        self: Box<Self>,
        error: &io::Error,
        context: Option<&RequestContext>,
    ) {
        self.context.counters.thread_errors.add(1);
        let text = format!(
            "cannot start a thread for a download: {error}; raise TasksMax or lower MAX_DOWNLOADS"
        );
        lock(&self.context.log_limits.threads).error(&text);
        self.send(Reply::busy(), context);
    }

    /// Sends an answer, logs the request and returns the connection.
    fn send(mut self: Box<Self>, mut reply: Reply, context: Option<&RequestContext>) {
        self.undelivered = reply.undelivered.take();
        let result = self.send_reply(&reply);
        request_log::record(
            &self,
            &reply,
            context,
            reply.body.len() as u64,
            result.as_ref().err(),
        );
        self.return_to_io_thread();
    }

    /// Continues after a download, which has left nothing unsent.
    pub(super) fn after_download(mut self: Box<Self>, keep_alive: bool) {
        self.after_response(keep_alive);
        self.return_to_io_thread();
    }

    /// Returns the connection to its I/O thread.
    fn return_to_io_thread(mut self: Box<Self>) {
        // Most clients have taken the response already, so the close can finish here.
        if matches!(self.stage, Stage::Closing | Stage::Gone)
            && let Action::Close = self.advance()
        {
            return;
        }
        let (io_handle, context) = (Arc::clone(&self.io_handle), Arc::clone(&self.context));
        io_handle.return_connection(self);
        // Its I/O thread may have closed idle connections just before.
        if context.connections.is_draining() {
            io_handle.wake();
        }
    }
}

impl PendingClient for Box<Connection> {
    fn client(&self) -> (IpAddr, Option<IpAddr>) {
        (self.client.client, self.client.via)
    }

    fn park(&mut self, slot: SlotId, until: Instant) {
        self.io_handle.park(&self.tls, self.key, slot, until);
    }

    fn respond(mut self, _gateway: &Gateway, response: Response) {
        let Response {
            reply,
            download,
            context,
        } = response;
        self.keep_alive = self.keep_alive && !self.context.connections.is_draining();
        self.is_authenticated |= context
            .as_ref()
            .is_some_and(|context| context.is_authenticated());
        if let Some(download) = download {
            return transfer::start(self, reply, download, context);
        }
        self.send(reply, context.as_deref());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(take_back) = self.undelivered.take() {
            take_back(self.context.http.in_flight().gateway());
        }
        self.tls.limit_orphan();
        self.context.counters.connected.decrement();
        self.io_handle.notify_closed(self.key);
    }
}
