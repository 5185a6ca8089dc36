//! A worker: takes a canonical request from tiny_http, has the interfaces answer it, and leaves beside
//! the reply what does not fit on the socket.

use std::io::{self, Cursor, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use tiny_http::{Header, Request, Response, StatusCode};

use super::canonical::EXCHANGE;
use super::exchange::{Id, Outcome, Step};
use super::inner::Inner;
use super::shared::Shared;
use crate::api::{self, Answer, Field, Fields, Method, Reply, ResultCode};

/// A worker calls a few shallow functions; hashing and file access happen elsewhere.
const STACK: usize = 256 * 1024;
/// Largest content of a request, in bytes; the front has refused anything longer.
const BODY_MAX: u64 = 64 * 1024;

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
    let taken = exchange_of(&request).and_then(|id| Some((id, shared.exchanges.take_step(id)?)));
    let reply = match taken {
        Some((id, step)) => {
            let outcome = catch_unwind(AssertUnwindSafe(|| carry_out(shared, &mut request, step)));
            let (reply, outcome) = outcome.unwrap_or_else(|_| after_panic(shared));
            shared.exchanges.settle(id, outcome);
            reply
        }
        // Its client has given up on it.
        None => Reply::fault(500, ResultCode::INTERNAL),
    };
    // The client's thread sees a broken line by itself; tiny_http may even panic on it.
    let _ = catch_unwind(AssertUnwindSafe(|| request.respond(response(reply))));
}

fn carry_out(shared: &Shared, request: &mut Request, step: Step) -> (Reply, Outcome) {
    let (call, answer) = match step {
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
        Answer::Reply(reply) => {
            let code = reply.code;
            (reply, Outcome::Answered { call: Some(call), code, download: None })
        }
        Answer::Download(reply, download) => {
            let code = reply.code;
            (reply, Outcome::Answered { call: Some(call), code, download: Some(download) })
        }
        // The reply to a request that waits is only the sign that the worker is free.
        Answer::Later(later) => (Reply::empty(), Outcome::Waiting(call, later)),
    }
}

/// The panic hook has told what it was.
fn after_panic(shared: &Shared) -> (Reply, Outcome) {
    shared.gateway.counters().worker_panics.add(1);
    let reply = Reply::fault(500, ResultCode::INTERNAL);
    (reply, Outcome::Answered { call: None, code: ResultCode::INTERNAL, download: None })
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
