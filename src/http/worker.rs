//! A worker: takes a request from tiny_http and its client out of the slot, lets the interfaces
//! answer, and sends the answer.
//!
//! The answer does not go through tiny_http, whose connection leads to the front, not to the
//! client.

use std::io::{self, Read as _};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tiny_http::{Request, Server};

use super::forwarded_request::{SLOT_HEADER, parse_slot};
use super::in_flight::{InFlight, PendingClient};
use crate::api::{self, Answer, HeaderName, Headers, Method, RequestContext, SlotId};
use crate::ops::spawn;

/// A worker has shallow call stacks; encrypting an answer is the deepest. Hashing and file access
/// happen on other threads.
const STACK_BYTES: usize = 256 * 1024;
/// Largest content of a request, in bytes. The front refuses anything longer.
const BODY_MAX_BYTES: u64 = 64 * 1024;

/// Starts one worker. It ends when the server is unblocked.
pub(super) fn start<C: PendingClient>(
    in_flight: Arc<InFlight<C>>,
    server: Arc<Server>,
    number: usize,
) -> io::Result<()> {
    let work = move || {
        loop {
            match server.recv() {
                // After a panic while writing the answer there is no client left to answer, but the
                // worker must survive.
                Ok(request) => drop(catch_unwind(AssertUnwindSafe(|| {
                    handle(&in_flight, request)
                }))),
                // tiny_http's accept thread has ended, as intended; the existing connections still
                // work.
                Err(error) if error.kind() != io::ErrorKind::Other => {}
                Err(_) => return,
            }
        }
    };
    spawn(format!("worker-{number}"), STACK_BYTES, work).map(drop)
}

fn handle<C: PendingClient>(in_flight: &Arc<InFlight<C>>, mut request: Request) {
    // Otherwise the client has left, or was answered 503 because no worker came in time.
    if let Some(client) = find_slot(&request).and_then(|slot| in_flight.take_forwarded(slot)) {
        match catch_unwind(AssertUnwindSafe(|| {
            call_gateway(in_flight, &mut request, client.client())
        })) {
            Ok((context, answer)) => in_flight.answer(client, context, answer),
            Err(_) => in_flight.answer_panic(client),
        }
    }
    // Dropping the request would make tiny_http write an answer, which nobody reads.
    drop(request.into_writer());
}

fn call_gateway<C: PendingClient>(
    in_flight: &InFlight<C>,
    request: &mut Request,
    (peer, via): (IpAddr, Option<IpAddr>),
) -> (Box<RequestContext>, Answer) {
    let mut body = Vec::new();
    if let Err(error) = request
        .as_reader()
        .take(BODY_MAX_BYTES)
        .read_to_end(&mut body)
    {
        log::error!("the content of a forwarded request cannot be read: {error}");
    }
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    in_flight.gateway().handle(&api::Request {
        method: Method::from_name(request.method().as_str()),
        path,
        query,
        headers: &parse_headers(request),
        body: &body,
        peer,
        via,
    })
}

fn find_slot(request: &Request) -> Option<SlotId> {
    let header = request
        .headers()
        .iter()
        .find(|header| header.field.as_str().as_str() == SLOT_HEADER)?;
    parse_slot(header.value.as_str())
}

fn parse_headers(request: &Request) -> Headers {
    let mut headers = Headers::default();
    for header in request.headers() {
        if let Some(name) = HeaderName::from_name(header.field.as_str().as_str()) {
            headers.add(name, header.value.as_str());
        }
    }
    headers
}
