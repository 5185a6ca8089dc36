//! One client's connection: request after request, each read whole, carried out and answered.

use std::io::{self, ErrorKind, Write as _};
use std::time::Instant;

use super::clients::{Client, Doing};
use super::content::Chunks;
use super::fault::{Fault, reason_phrase};
use super::head::{Framing, HEAD_MAX, Head};
use super::secured::Secured;
use super::shared::Front;
use crate::api::{Interface, Reply};
use crate::http::{Canonical, Performed};
use crate::ops::log_lines::Quoted;

/// Most requests of one connection; after it the client connects anew.
const REQUESTS_MAX: usize = 1000;
/// How much is read from a client at once, in bytes.
const READ_AT_ONCE: usize = 4 * 1024;
/// How much of what a client sends after its last answer is read and dropped, in bytes.
const LINGER_BYTES: usize = 1024 * 1024;

/// How a connection goes on after a request.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// With another request.
    Stay,
    /// It ends in order.
    Close,
    /// It is cut: the client must see that it has not got all of its answer.
    Cut,
}

/// A client's connection.
pub(super) struct Connection<'a> {
    front: &'a Front,
    client: &'a Client,
    secured: Secured,
    /// What the client has sent and nobody has looked at yet.
    inbound: Vec<u8>,
}

/// Serves a client until it or the service ends the connection.
pub(super) fn serve(front: &Front, client: &Client) {
    let deadlines = front.deadlines;
    let config = front.tls.config();
    match Secured::accept(client.socket.clone(), config, deadlines.handshake, deadlines.window) {
        Ok(secured) => Connection { front, client, secured, inbound: Vec::new() }.converse(),
        Err(error) => {
            front.counters().handshakes_failed.add(1);
            log::debug!("handshake with {} failed: {}", client.peer, Quoted(&error.to_string()));
        }
    }
}

impl Connection<'_> {
    fn converse(mut self) {
        for number in 1..=REQUESTS_MAX {
            let next = match self.read_request() {
                Ok(Some((request, keep_alive))) => {
                    let began = Instant::now();
                    self.answer(&request, keep_alive && number < REQUESTS_MAX, began)
                }
                Ok(None) => Next::Close,
                Err(fault) => self.refuse(fault),
            };
            match next {
                Next::Stay => {}
                Next::Close => {
                    self.secured.close();
                    if self.client.does(Doing::Nothing) {
                        self.secured.linger(LINGER_BYTES, self.front.deadlines.linger);
                    }
                    return;
                }
                Next::Cut => return,
            }
        }
    }

    /// The next request and whether the connection may go on after it; `None` is the end.
    fn read_request(&mut self) -> Result<Option<(Canonical, bool)>, Fault> {
        let Some(head) = self.read_head()? else { return Ok(None) };
        let deadline = Instant::now() + self.front.deadlines.body;
        if head.expects_continue && self.inbound.is_empty() && head.framing != Framing::Length(0) {
            // A client that is gone shows when its content is read.
            let _ = self.secured.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = match head.framing {
            Framing::Length(length) => self.read_length(length, deadline)?,
            Framing::Chunked => self.read_chunks(deadline)?,
        };
        let Some(body) = body else { return Ok(None) };
        let Head { method, target, fields, keep_alive, .. } = head;
        Ok(Some((Canonical { method, target, fields, body }, keep_alive)))
    }

    fn read_head(&mut self) -> Result<Option<Head>, Fault> {
        // A client that sent the next request with the last one is not idle.
        if !self.client.does(Doing::Nothing) {
            return Ok(None);
        }
        let mut deadline = Instant::now() + self.front.deadlines.idle;
        let mut begun = false;
        loop {
            if !self.inbound.is_empty() {
                if !begun {
                    begun = true;
                    deadline = Instant::now() + self.front.deadlines.head;
                }
                if let Some((head, length)) = Head::parse(&self.inbound)? {
                    self.inbound.drain(..length);
                    self.client.does(Doing::Request);
                    return Ok(Some(head));
                }
            }
            match self.secured.receive(&mut self.inbound, READ_AT_ONCE, deadline) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut && begun => return Err(Fault::TooSlow),
                Err(_) => return Ok(None),
            }
        }
    }

    fn read_length(&mut self, length: usize, deadline: Instant) -> Result<Option<Vec<u8>>, Fault> {
        while self.inbound.len() < length {
            if !self.read_on(deadline)? {
                return Ok(None);
            }
        }
        let rest = self.inbound.split_off(length);
        Ok(Some(std::mem::replace(&mut self.inbound, rest)))
    }

    fn read_chunks(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>, Fault> {
        let mut chunks = Chunks::default();
        loop {
            let used = chunks.take(&self.inbound)?;
            self.inbound.drain(..used);
            if let Some(content) = chunks.finished() {
                return Ok(Some(content));
            }
            if !self.read_on(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Reads more of the content; false means that the client is gone.
    fn read_on(&mut self, deadline: Instant) -> Result<bool, Fault> {
        match self.secured.receive(&mut self.inbound, HEAD_MAX, deadline) {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(Fault::TooSlow),
            Err(_) => Ok(false),
        }
    }

    fn answer(&mut self, request: &Canonical, keep_alive: bool, began: Instant) -> Next {
        if self.inbound.is_empty() {
            // A poll may be parked for long: its buffer is worth more to others.
            self.inbound = Vec::new();
        }
        let Ok(mut performed) = self.front.http.perform(request, self.client.peer.ip()) else {
            return self.refuse(Fault::Overloaded);
        };
        let download = performed.download.take();
        let stay = keep_alive && !self.front.clients.are_leaving();
        let length = download.as_ref().map_or(performed.length as u64, |download| download.video.selected());
        let mut bytes = std::mem::take(&mut performed.head);
        // Writing to a Vec cannot fail.
        if performed.status != 204 {
            let _ = write!(bytes, "Content-Length: {length}\r\n");
        }
        bytes.extend_from_slice(if stay { b"Connection: keep-alive\r\n\r\n" } else { b"Connection: close\r\n\r\n" });
        bytes.extend_from_slice(&performed.body);
        self.secured.restart_pace();
        let (sent, result) = match download {
            Some(download) => {
                self.client.does(Doing::Download);
                self.front.transfer(&mut self.secured, bytes, download)
            }
            None => (performed.body.len() as u64, self.secured.send(&bytes)),
        };
        self.record(&performed, sent, began, result.as_ref().err());
        match result {
            Ok(()) if stay => Next::Stay,
            Ok(()) => Next::Close,
            Err(error) => {
                if error.kind() == ErrorKind::TimedOut {
                    self.secured.forget_unsent();
                }
                Next::Cut
            }
        }
    }

    /// The one log line of a request. No Guid and no password is near it; the path is not in it at all.
    fn record(&self, performed: &Performed, bytes: u64, began: Instant, cut: Option<&io::Error>) {
        let (interface, agent) = match &performed.call {
            Some(call) => (call.interface, call.agent),
            None => (Interface::Unknown, None),
        };
        let code = performed.code.wire();
        self.front.counters().answered(interface.log_name(), code);
        let level = match interface {
            // Monitoring asks every few seconds, and strangers may ask for anything.
            Interface::Health | Interface::Metrics | Interface::Unknown => log::Level::Debug,
            _ => log::Level::Info,
        };
        log::log!(
            target: "request",
            level,
            "{} agent={} peer={} status={} code={code} bytes={bytes} ms={}{}",
            interface.log_name(),
            agent.map_or_else(|| "-".to_owned(), |agent| agent.to_string()),
            self.client.peer,
            performed.status,
            began.elapsed().as_millis(),
            cut.map_or_else(String::new, |error| format!(" cut={}", Quoted(&error.to_string()))),
        );
    }

    fn refuse(&mut self, fault: Fault) -> Next {
        self.front.counters().requests_malformed.add(1);
        log::debug!("{} is refused: {}", self.client.peer, fault.reason());
        let Reply { status, fields, body, .. } = fault.reply();
        let mut bytes = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)).into_bytes();
        for (name, value) in &fields {
            let _ = write!(bytes, "{name}: {}\r\n", value.as_str());
        }
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let _ = write!(bytes, "Date: {date}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        self.secured.restart_pace();
        match self.secured.send(&bytes) {
            Ok(()) => Next::Close,
            Err(_) => Next::Cut,
        }
    }
}
