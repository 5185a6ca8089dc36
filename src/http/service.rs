//! The inner server from the client's side: carry a request to a worker, wait where it has to wait, and
//! bring the answer back.

use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::canonical::{self, Canonical};
use super::directory::PrivateDirectory;
use super::exchange::{Exchanges, Id, Outcome, Step};
use super::inner_reply::InnerReply;
use super::line::{Line, Lines};
use super::shared::{Current, Shared};
use super::worker;
use crate::api::{Call, Gateway, Method, ResultCode};
use crate::ops::failure::{Exit, Failure};
use crate::ops::latch::lock;
use crate::recording::Download;

/// How long a request may wait for a free line. Workers never wait for anything outside the process, so
/// this passes only on a machine that cannot keep up at all.
const LINE_WITHIN: Duration = Duration::from_secs(10);
/// How often a request whose line broke before a worker took it up is sent again.
const ATTEMPTS: usize = 3;

/// The inner server; cloning it is cheap.
#[derive(Clone)]
pub struct Http {
    shared: Arc<Shared>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Performed {
    /// HTTP status.
    pub status: u16,
    /// Status line and fields; see the front for what it adds.
    pub head: Vec<u8>,
    /// Length of the content, in bytes.
    pub length: usize,
    /// The content, empty for HEAD.
    pub body: Vec<u8>,
    /// Result code, for the log.
    pub code: ResultCode,
    /// What was asked for, unless a panic lost it.
    pub call: Option<Box<Call>>,
    /// The opened video that makes up the content instead.
    pub download: Option<Box<Download>>,
}

/// The request could not be carried out: no line was free or the inner server could not be reached.
#[derive(Debug)]
pub struct Lost;

impl Http {
    /// Starts tiny_http and `workers` workers for it.
    ///
    /// # Errors
    /// When the private directory, its socket or a thread cannot be made.
    pub fn start(gateway: Arc<Gateway>, workers: usize) -> Result<Http, Failure> {
        let shared = Arc::new(Shared {
            gateway,
            exchanges: Exchanges::new(workers),
            lines: Lines::new(workers),
            directory: PrivateDirectory::open()?,
            workers,
            current: Mutex::new(Current { generation: 0, path: PathBuf::new(), server: None }),
        });
        let failed = |error: io::Error| {
            Failure::new(Exit::of_io(&error, Exit::Io), format!("the inner server cannot be started: {error}"))
        };
        next_generation(&shared, &mut lock(&shared.current)).map_err(failed)?;
        let http = Http { shared };
        http.connect_all().map_err(|Lost| failed(io::ErrorKind::NotConnected.into()))?;
        Ok(http)
    }

    /// Connects every line now, so that later not even a machine out of descriptors keeps one from working.
    fn connect_all(&self) -> Result<(), Lost> {
        let lend = |_| self.shared.lines.lend(Instant::now());
        let mut lines: Vec<_> = (0..self.shared.workers).map_while(lend).collect();
        lines.iter_mut().try_for_each(|line| self.connect(line))
    }

    /// Carries out one request of the client at `peer`. Blocks for as long as the request has to wait.
    ///
    /// # Errors
    /// [`Lost`] when no worker could be reached.
    pub fn perform(&self, request: &Canonical, peer: IpAddr) -> Result<Performed, Lost> {
        let bodyless = request.method == Method::Head;
        let mut carried = self.carry(Step::Begin(peer), bodyless, |id, out| request.write(id, out))?;
        loop {
            match carried {
                (reply, Outcome::Answered { call, code, download }) => {
                    let InnerReply { status, head, length, body } = reply;
                    return Ok(Performed { status, head, length, body, code, call, download });
                }
                (_, Outcome::Waiting(call, later)) => {
                    later.wait(&self.shared.gateway);
                    carried = self.carry(Step::Resume(call, later), bodyless, canonical::write_resumption)?;
                }
            }
        }
    }

    /// The interfaces behind the workers.
    pub fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    /// Ends the inner server and removes its directory.
    pub fn close(&self) {
        let mut current = lock(&self.shared.current);
        current.generation += 1;
        self.shared.retire(current.server.take());
        self.shared.directory.remove();
    }

    fn carry(
        &self,
        mut step: Step,
        bodyless: bool,
        write: impl Fn(Id, &mut Vec<u8>),
    ) -> Result<(InnerReply, Outcome), Lost> {
        for _ in 0..ATTEMPTS {
            let mut line = self.shared.lines.lend(Instant::now() + LINE_WITHIN).ok_or(Lost)?;
            self.connect(&mut line)?;
            let id = self.shared.exchanges.lay(line.place, step);
            write(id, &mut line.request);
            let error = match line.exchange(bodyless) {
                Ok(reply) => {
                    return match self.shared.exchanges.take_outcome(id) {
                        Some(outcome) => Ok((reply, outcome)),
                        // tiny_http answered by itself: a worker never saw the request.
                        None => Err(Lost),
                    };
                }
                Err(error) => error,
            };
            log::warn!("an inner connection was lost: {error}");
            // Taken up already, the request may have had its effect, and must not have it twice.
            step = self.shared.exchanges.take_step(id).ok_or(Lost)?;
        }
        Err(Lost)
    }

    /// Makes sure the line reaches the inner server of now, replacing a server that cannot be reached.
    fn connect(&self, line: &mut Line) -> Result<(), Lost> {
        let mut current = lock(&self.shared.current);
        if line.reaches(current.generation) {
            return Ok(());
        }
        if current.server.is_none() || line.connect(current.generation, &current.path).is_err() {
            log::error!("the inner server cannot be reached any more; starting another");
            next_generation(&self.shared, &mut current)
                .and_then(|()| line.connect(current.generation, &current.path))
                .map_err(|error| {
                    log::error!("the inner server cannot be started: {error}");
                    Lost
                })?;
        }
        Ok(())
    }
}

fn next_generation(shared: &Arc<Shared>, current: &mut MutexGuard<'_, Current>) -> io::Result<()> {
    let generation = current.generation + 1;
    let path = shared.directory.socket(generation)?;
    let listener = UnixListener::bind(&path)?;
    // tiny_http starts its accept thread with a call that panics where no thread can be had.
    let server = catch_unwind(AssertUnwindSafe(|| tiny_http::Server::from_listener(listener, None)))
        .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?
        .map_err(io::Error::other)?;
    let server = Arc::new(server);
    for number in 0..shared.workers {
        worker::start(Arc::clone(shared), Arc::clone(&server), generation, number)?;
    }
    current.generation = generation;
    current.path = path;
    let retired = current.server.replace(server);
    shared.retire(retired);
    Ok(())
}
