//! A worker: takes a canonical request from tiny_http, has the interfaces answer it, and leaves what came of it in the
//! exchange.
//!
//! The reply goes there too. Over the socket it would cost two wake-ups for nothing, since Linux wakes whoever waits to
//! read from a Unix socket also when what was written to it has been taken (unix_write_space), and two system calls:
//! a fifth of the CPU of a small request.

use std::io::{self, Cursor, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use tiny_http::{HTTPVersion, Header, Request, Response, StatusCode};

use super::canonical::EXCHANGE;
use super::exchange::{Id, Outcome, Step};
use super::inner::Inner;
use super::shared::Shared;
use crate::api::{self, Answer, Call, Field, Fields, Method, Reply, ResultCode};
use crate::recording::Download;

/// A worker calls a few shallow functions; hashing and file access happen elsewhere.
const STACK: usize = 256 * 1024;
/// Largest content of a request, in bytes; the front has refused anything longer.
const BODY_MAX: u64 = 64 * 1024;
/// Room for the head of a reply that is not unusually long, in bytes.
const HEAD_USUALLY: usize = 512;

/// Starts one worker.
pub(super) fn start(shared: Arc<Shared>, inner: Arc<Inner>, number: usize) -> io::Result<()> {
    let work = move || {
        while let Some(request) = inner.next() {
            answer(&shared, request);
        }
    };
    thread::Builder::new().name(format!("worker-{number}")).stack_size(STACK).spawn(work).map(drop)
}

fn answer(shared: &Shared, mut request: Request) {
    // Else its client has given up on it.
    if let Some(id) = exchange_of(&request)
        && let Some(step) = shared.exchanges.take_step(id)
    {
        let outcome = catch_unwind(AssertUnwindSafe(|| carry_out(shared, &mut request, step)));
        shared.exchanges.settle(id, outcome.unwrap_or_else(|_| after_panic(shared)));
    }
    // Given back unused: the reply is in the exchange. tiny_http would answer for a request that is dropped.
    drop(request.into_writer());
}

fn carry_out(shared: &Shared, request: &mut Request, step: Step) -> Outcome {
    let (call, answer) = match step {
        Step::Greet => return Outcome::Greeted,
        Step::Begin(peer) => {
            let (path, query) = match request.url().split_once('?') {
                Some((path, query)) => (path.to_owned(), query.to_owned()),
                None => (request.url().to_owned(), String::new()),
            };
            let method = Method::of(request.method().as_str());
            let fields = fields_of(request);
            let mut body = Vec::new();
            if let Err(error) = request.as_reader().take(BODY_MAX).read_to_end(&mut body) {
                log::error!("the content of an inner request cannot be read: {error}");
            }
            shared.gateway.begin(&api::Request {
                method,
                path: &path,
                query: &query,
                fields: &fields,
                body: &body,
                peer,
            })
        }
        Step::Resume(call, later) => {
            let answer = shared.gateway.resume(&call, later);
            (call, answer)
        }
    };
    match answer {
        Answer::Reply(reply) => answered(reply, Some(call), None),
        Answer::Download(reply, download) => answered(reply, Some(call), Some(download)),
        Answer::Later(later) => Outcome::Waiting(call, later),
    }
}

/// The panic hook has told what it was.
fn after_panic(shared: &Shared) -> Outcome {
    shared.gateway.counters().worker_panics.add(1);
    answered(Reply::fault(500, ResultCode::INTERNAL), None, None)
}

/// The answer with the reply as tiny_http writes it.
fn answered(reply: Reply, call: Option<Box<Call>>, download: Option<Box<Download>>) -> Outcome {
    let code = reply.code;
    let mut bytes = Vec::with_capacity(HEAD_USUALLY + reply.body.len());
    // No field of the request is shown to tiny_http, which would choose an encoding by it. Writing to a Vec cannot
    // fail, and what is not whole is refused where it is read.
    let _ = response(reply).raw_print(&mut bytes, HTTPVersion(1, 1), &[], false, None);
    Outcome::Answered { reply: bytes, call, code, download }
}

fn exchange_of(request: &Request) -> Option<Id> {
    let field = request.headers().iter().find(|header| header.field.as_str().as_str() == EXCHANGE)?;
    field.value.as_str().parse().ok()
}

fn fields_of(request: &Request) -> Fields {
    let mut fields = Fields::default();
    for header in request.headers() {
        if let Some(field) = Field::of(header.field.as_str().as_str()) {
            fields.add(field, header.value.as_str());
        }
    }
    fields
}

fn response(reply: Reply) -> Response<Cursor<Vec<u8>>> {
    let fields = reply.fields.iter().filter_map(|(name, value)| Header::from_bytes(*name, value.as_str()).ok());
    let body = reply.body.into_bytes();
    let length = body.len();
    Response::new(StatusCode(reply.status), fields.collect(), Cursor::new(body), Some(length), None)
        // From 32 KiB tiny_http would drop the length and send chunks.
        .with_chunked_threshold(usize::MAX)
}
