//! Tests of the interfaces without a network: requests to a gateway in this process.

mod agents;
mod browsers;
mod downloads;
mod events;
mod figures;
mod paths;
mod polls;
mod sign_ins;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::*;
use crate::config;
use crate::ops::counters::Counters;
use crate::recording::Download;
use crate::recording::scratch::Scratch;
use crate::session::{AgentId, InitialState, Roster};

/// The success reply to a request that changes something.
const DONE: &str = r#"{"result":{},"message":"success","retcode":"0"}"#;
/// The reply to a query that finds nothing.
const NOTHING: &str = r#"{"message":"","retcode":"0","result":[]}"#;
const EMPTY: &str = r#"{"message":"","retcode":"0"}"#;

/// 101 and 102 are agents of VDN 1 and 105 its inspector; 201 is an agent of VDN 2.
const AGENTS: &str = "101 = no-password\n102 = no-password\n105 = no-password\n105.role = inspector\n\
                      201 = no-password\n201.vdn = 2\n";

/// Timeout of each wait of a test.
const LONG: Duration = Duration::from_secs(60);

/// A gateway with a mount directory.
pub(super) struct Desk {
    pub(super) gateway: Arc<Gateway>,
    pub(super) mount: Scratch,
}

impl Desk {
    fn new() -> Desk {
        Desk::with("")
    }

    /// With these settings, which override those of every desk; `@` stands for the mount directory.
    pub(super) fn with(lines: &str) -> Desk {
        let mount = Scratch::new();
        let text = format!(
            "TLS_CERTIFICATE=c\nTLS_PRIVATE_KEY=k\nVIDEO_DOWNLOAD_FLAG=ON\nIF_SUPPORT_VIDEO=ON\n\
             RECORD_DOWNLOAD_FLAG=ON\nMOUNT_CHECK=OFF\nRECORD_SCAN_INTERVAL=0\n{}",
            lines.replace('@', &mount.path().display().to_string())
        );
        let lines = match lines.contains("MOUNT_DIR") {
            true => text,
            false => format!("{text}\nMOUNT_DIR={}", mount.path().display()),
        };
        let file = Path::new("/etc/cc-gateway/basic.properties");
        let (settings, _) = config::from_text(&lines, file).unwrap();
        let gateway = Gateway::new(settings, roster(AGENTS), Arc::new(Counters::default()));
        Desk {
            gateway: Arc::new(gateway.unwrap()),
            mount,
        }
    }

    /// Signs in without checking a password; returns the Guid.
    fn sign_in(&self, number: u32) -> String {
        let opened = self.gateway.sessions.sign_in(
            agent(number),
            true,
            InitialState::default(),
            Instant::now(),
            0,
        );
        opened.unwrap().guid.expose().to_owned()
    }

    /// Signs in and consumes the sign-in events.
    fn sign_in_quietly(&self, number: u32) -> String {
        let guid = self.sign_in(number);
        for _ in 0..2 {
            self.ask(&get(&format!("agentevent/{number}")).guid(&guid));
        }
        guid
    }

    /// Sends a request.
    fn begin(&self, call: &RequestSpec) -> Handled {
        let request = Request {
            method: call.method,
            path: &call.path,
            query: &call.query,
            headers: &call.headers,
            body: call.body.as_bytes(),
            peer: call.peer,
            via: call.via,
        };
        let (context, answer) = self.gateway.handle(&request);
        self.asked(context, answer)
    }

    fn asked(&self, context: Box<RequestContext>, answer: Answer) -> Handled {
        let outcome = match answer {
            Answer::Reply(reply) => Outcome::Reply(reply),
            Answer::Download(head, download) => Outcome::Download(head, download),
            Answer::Deferred(deferred) => {
                let (finished, finish) = channel();
                let is_waiting = Arc::new(AtomicBool::new(true));
                let slot = Arc::new(Slot {
                    finished,
                    is_waiting: Arc::downgrade(&is_waiting),
                });
                let number = SlotId {
                    index: 0,
                    generation: 0,
                };
                (deferred.start)(&self.gateway, Ticket::new(slot, number));
                Outcome::Waits(Waiting {
                    until: deferred.until,
                    is_poll: deferred.is_poll,
                    on_timeout: deferred.on_timeout,
                    finish,
                    is_waiting,
                })
            }
        };
        Handled { context, outcome }
    }

    /// The final outcome of a request. Waits until a waiting request is completed; if its ticket is
    /// dropped instead, ends it as at its deadline.
    fn end(&self, asked: Handled) -> Handled {
        let Outcome::Waits(waiting) = asked.outcome else {
            return asked;
        };
        let finish = match waiting.finish.recv_timeout(LONG) {
            Ok(Some(finish)) => finish,
            _ => waiting.on_timeout,
        };
        let answer = self.gateway.resume(&asked.context, finish);
        let asked = self.asked(asked.context, answer);
        self.end(asked)
    }

    /// The outcome of a waiting request at its deadline.
    fn expire(&self, asked: Handled) -> Handled {
        let Outcome::Waits(waiting) = asked.outcome else {
            panic!("the request does not wait");
        };
        drop(waiting.is_waiting);
        let answer = self.gateway.resume(&asked.context, waiting.on_timeout);
        self.asked(asked.context, answer)
    }

    /// The reply to a request, however long it waits.
    fn ask(&self, call: &RequestSpec) -> Reply {
        self.end(self.begin(call)).reply()
    }

    /// The code of the reply.
    fn code(&self, call: &RequestSpec) -> &'static str {
        self.ask(call).code.wire()
    }

    /// Sends a request with this Guid; returns the body of the reply.
    fn body(&self, call: RequestSpec, guid: &str) -> String {
        self.ask(&call.guid(guid)).body
    }
}

/// A request and its outcome so far.
struct Handled {
    context: Box<RequestContext>,
    outcome: Outcome,
}

enum Outcome {
    Reply(Reply),
    Download(Reply, Box<Download>),
    Waits(Waiting),
}

/// A waiting request.
struct Waiting {
    until: Instant,
    is_poll: bool,
    on_timeout: Finish,
    finish: Receiver<Option<Finish>>,
    /// The ticket checks that this still exists; dropping it means that the client has left.
    is_waiting: Arc<AtomicBool>,
}

impl Handled {
    fn reply(self) -> Reply {
        match self.outcome {
            Outcome::Reply(reply) | Outcome::Download(reply, _) => reply,
            Outcome::Waits(_) => panic!("the request still waits"),
        }
    }

    fn waiting(&self) -> &Waiting {
        match &self.outcome {
            Outcome::Waits(waiting) => waiting,
            _ => panic!("the request does not wait"),
        }
    }

    /// The longest time that the request may wait.
    fn wait(&self) -> Duration {
        self.waiting().until - self.context.began
    }

    /// Whether the request has been completed.
    fn is_finished(&self) -> bool {
        let waiting = self.waiting();
        let is_finished = waiting.finish.try_recv().is_ok();
        assert!(waiting.is_waiting.load(Ordering::Relaxed));
        is_finished
    }

    /// The head of a download and all its bytes.
    fn download(self) -> (Reply, Vec<u8>) {
        let Outcome::Download(head, mut download) = self.outcome else {
            panic!("no download: {}", self.reply().body);
        };
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            match download.next_chunk(&mut buffer).unwrap() {
                0 => return (head, bytes),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// The slot of one waiting request.
struct Slot {
    finished: Sender<Option<Finish>>,
    is_waiting: Weak<AtomicBool>,
}

impl Slots for Slot {
    fn complete(&self, _slot: SlotId, finish: Option<Finish>) {
        let _ = self.finished.send(finish);
    }

    fn is_waiting(&self, _slot: SlotId) -> bool {
        self.is_waiting.upgrade().is_some()
    }
}

/// A request.
#[derive(Clone)]
struct RequestSpec {
    method: Method,
    path: String,
    query: String,
    headers: Headers,
    body: String,
    peer: IpAddr,
    via: Option<IpAddr>,
}

/// A request to an interface, by its path below the base path, with an optional query after `?`.
fn call(method: Method, path: &str) -> RequestSpec {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    RequestSpec {
        method,
        path: format!("/agentgateway/resource/{path}"),
        query: query.to_owned(),
        headers: Headers::default(),
        body: String::new(),
        peer: Ipv4Addr::LOCALHOST.into(),
        via: None,
    }
}

fn get(path: &str) -> RequestSpec {
    call(Method::Get, path)
}

fn post(path: &str) -> RequestSpec {
    call(Method::Post, path)
}

fn put(path: &str) -> RequestSpec {
    call(Method::Put, path)
}

fn delete(path: &str) -> RequestSpec {
    call(Method::Delete, path)
}

impl RequestSpec {
    fn header(mut self, name: HeaderName, value: &str) -> RequestSpec {
        self.headers.add(name, value);
        self
    }

    fn guid(self, guid: &str) -> RequestSpec {
        self.header(HeaderName::Guid, guid)
    }

    fn with_body(mut self, body: &str) -> RequestSpec {
        body.clone_into(&mut self.body);
        self
    }

    fn from(mut self, peer: &str) -> RequestSpec {
        self.peer = peer.parse().unwrap();
        self
    }
}

pub(super) fn agent(number: u32) -> AgentId {
    AgentId::parse(&number.to_string(), 999_999).unwrap()
}

fn roster(text: &str) -> Roster {
    let file = Path::new("/etc/cc-gateway/agents.properties");
    Roster::from_text(text, file, 59_999).unwrap().0
}

/// A failure as the interface writes it, without a result.
fn failure(code: ResultCode) -> String {
    format!(
        r#"{{"retcode":"{}","message":"{}"}}"#,
        code.wire(),
        code.message()
    )
}
