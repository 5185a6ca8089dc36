//! The inner server from the client's side: carry a request to a worker, wait where it has to wait, and
//! bring the answer back.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::canonical::{self, Canonical};
use super::directory::PrivateDirectory;
use super::exchange::{Id, Outcome, Step};
use super::inner::Inner;
use super::inner_reply::{self, InnerReply};
use super::line::Line;
use super::shared::{Current, Shared};
use super::worker;
use crate::api::{Call, Gateway, Method, ResultCode};
use crate::ops::failure::{Exit, Failure};
use crate::ops::latch::lock;
use crate::recording::Download;

/// How long a request may wait for a free line. Workers never wait for anything outside the process, so
/// this passes only on a machine that cannot keep up at all.
const LINE_WITHIN: Duration = Duration::from_secs(10);
/// How many lines are tried for a request that no worker takes up.
const ATTEMPTS: usize = 3;
/// How long after a failure no line is connected.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// The request could not be carried out: no line was free, the inner server could not be reached, or what a worker
/// made of it was lost.
#[derive(Debug)]
pub struct Lost;

impl Http {
    /// Starts tiny_http and `workers` workers for it.
    ///
    /// # Errors
    /// When the private directory, its socket or a thread cannot be made.
    pub fn start(gateway: Arc<Gateway>, workers: usize) -> Result<Http, Failure> {
        let http = Http { shared: Arc::new(Shared::new(gateway, PrivateDirectory::open()?, workers)) };
        http.connect_all().map_err(|error| {
            Failure::new(Exit::of_io(&error, Exit::Io), format!("the inner server cannot be started: {error}"))
        })?;
        Ok(http)
    }

    /// Connects every line now, so that later not even a machine out of descriptors keeps one from working.
    fn connect_all(&self) -> io::Result<()> {
        let mut current = lock(&self.shared.current);
        let next = self.next_inner(&mut current)?;
        let lend = |_| self.shared.lines.lend(Instant::now());
        let mut lines: Vec<_> = (0..self.shared.workers).map_while(lend).collect();
        lines.iter_mut().try_for_each(|line| self.shared.join(line, &next))
    }

    /// Carries out one request of the client at `peer`. Blocks for as long as the request has to wait.
    ///
    /// # Errors
    /// [`Lost`] when there is no answer to be had.
    pub fn perform(&self, request: &Canonical, peer: IpAddr) -> Result<Performed, Lost> {
        let mut outcome = self.carry(Step::Begin(peer), |id, out| request.write(id, out))?;
        loop {
            match outcome {
                Outcome::Answered { reply, call, code, download } => {
                    let InnerReply { status, head, mut body } = inner_reply::read(&reply).map_err(|error| {
                        log::error!("the inner server's reply cannot be used: {error}");
                        Lost
                    })?;
                    let length = body.len();
                    if request.method == Method::Head {
                        body = Vec::new();
                    }
                    return Ok(Performed { status, head, length, body, code, call, download });
                }
                Outcome::Waiting(call, later) => {
                    later.wait(&self.shared.gateway);
                    outcome = self.carry(Step::Resume(call, later), canonical::write_bare)?;
                }
                Outcome::Greeted => return Err(Lost),
            }
        }
    }

    /// The interfaces behind the workers.
    pub fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    /// Ends the inner server and removes its directory.
    pub fn close(&self) {
        if let Some(inner) = lock(&self.shared.current).inner.take() {
            inner.retire();
        }
        self.shared.directory.remove();
    }

    fn carry(&self, mut step: Step, write: impl Fn(Id, &mut Vec<u8>)) -> Result<Outcome, Lost> {
        let lend = || self.shared.lines.lend(Instant::now() + LINE_WITHIN).ok_or(Lost);
        let mut line = lend()?;
        for _ in 0..ATTEMPTS {
            if self.connect(&mut line).is_err() {
                // It goes to the end of the lines; others may still have their connections.
                drop(line);
                line = lend()?;
                continue;
            }
            let id = self.shared.exchanges.lay(line.place, step);
            write(id, &mut line.request);
            let error = match self.shared.exchange(&mut line, id) {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            self.shared.line_lost(&error);
            // Taken up already, the request may have had its effect, and must not have it twice.
            step = self.shared.exchanges.give_up(id).ok_or(Lost)?;
        }
        Err(Lost)
    }

    /// Makes sure the line reaches the inner server of now, replacing a server that cannot be reached.
    ///
    /// One line at a time, and after a failure not at once again: a machine without threads or descriptors
    /// is not helped by hundreds of attempts.
    fn connect(&self, line: &mut Line) -> Result<(), Lost> {
        let mut current = lock(&self.shared.current);
        if current.inner.as_ref().is_some_and(|inner| line.reaches(inner.generation)) {
            return Ok(());
        }
        if current.failed.is_some_and(|failed| failed.elapsed() < RETRY_AFTER) {
            return Err(Lost);
        }
        let connected = self.reconnect(&mut current, line);
        current.failed = connected.is_err().then(Instant::now);
        connected
    }

    fn reconnect(&self, current: &mut Current, line: &mut Line) -> Result<(), Lost> {
        let Some(inner) = &current.inner else { return Err(Lost) };
        let cause = match self.shared.join(line, inner) {
            Ok(()) => return Ok(()),
            // Another server would need even more of what there is too little of.
            Err(error) if is_shortage(&error) => {
                current.complaint.error(&format!("no inner connection can be made: {error}; raise LimitNOFILE"));
                return Err(Lost);
            }
            Err(error) => error,
        };
        match self.next_inner(current).and_then(|next| self.shared.join(line, &next)) {
            Ok(()) => {
                current.complaint.error(&format!("the inner server was lost: {cause}; another has taken its place"));
                Ok(())
            }
            Err(error) => {
                current
                    .complaint
                    .error(&format!("the inner server was lost: {cause}; no other can be started: {error}"));
                Err(Lost)
            }
        }
    }

    /// Starts an inner server with its workers, in place of the one there may be.
    fn next_inner(&self, current: &mut Current) -> io::Result<Arc<Inner>> {
        let shared = &self.shared;
        current.generation += 1;
        let path = shared.directory.socket(current.generation)?;
        let inner = Arc::new(Inner::listen(current.generation, path, shared.workers)?);
        for number in 0..shared.workers {
            if let Err(error) = worker::start(Arc::clone(shared), Arc::clone(&inner), number) {
                inner.lack(shared.workers - number);
                inner.retire();
                return Err(error);
            }
        }
        if let Some(lost) = current.inner.replace(Arc::clone(&inner)) {
            lost.retire();
        }
        Ok(inner)
    }
}

/// Whether a call failed for want of descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}

#[cfg(test)]
mod tests;
