//! One tiny_http server on its socket, from its start to the end of its last worker.

use std::io;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tiny_http::{Request, Server};

/// How long the last worker of a lost server stays for requests that were under way.
const LAST_CALL: Duration = Duration::from_secs(2);

/// An inner server. When one is lost another takes its place, with the next generation's number.
pub(super) struct Inner {
    /// Its number.
    pub(super) generation: u64,
    /// Its socket.
    pub(super) path: PathBuf,
    server: Server,
    /// A second descriptor of the listening socket. tiny_http ends its accept thread by connecting to the
    /// path, which does nothing once somebody has removed that.
    socket: UnixListener,
    retired: AtomicBool,
    /// Workers that are to be here.
    workers: AtomicUsize,
}

impl Inner {
    /// Starts tiny_http on a new socket at `path`, for `workers` workers yet to come.
    pub(super) fn listen(generation: u64, path: PathBuf, workers: usize) -> io::Result<Inner> {
        let listener = UnixListener::bind(&path)?;
        let socket = listener.try_clone()?;
        // tiny_http starts its accept thread with a call that panics where no thread can be had.
        let server = catch_unwind(AssertUnwindSafe(|| Server::from_listener(listener, None)))
            .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?
            .map_err(io::Error::other)?;
        let (retired, workers) = (AtomicBool::new(false), AtomicUsize::new(workers));
        Ok(Inner { generation, path, server, socket, retired, workers })
    }

    /// The next request for a worker; `None` tells it to go.
    pub(super) fn next(&self) -> Option<Request> {
        loop {
            match self.server.recv() {
                Ok(request) => return Some(request),
                Err(_) if self.retired.load(Ordering::SeqCst) => return self.go(),
                // The accept thread has ended. Lines that are connected work on; the next one that is not
                // finds that out.
                Err(error) => log::warn!("the inner server takes no more connections: {error}"),
            }
        }
    }

    /// One wake-up is passed on from worker to worker: tiny_http's wake whoever asks first, and one that
    /// leaves slowly would take those of the others. The last one stays for what was under way.
    fn go(&self) -> Option<Request> {
        let others = |workers: usize| (workers > 1).then(|| workers - 1);
        if self.workers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, others).is_ok() {
            self.server.unblock();
            return None;
        }
        let deadline = Instant::now() + LAST_CALL;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.server.recv_timeout(left) {
                Ok(Some(request)) => {
                    // The next call is to come here again.
                    self.server.unblock();
                    return Some(request);
                }
                _ if Instant::now() < deadline => {}
                _ => return None,
            }
        }
    }

    /// Counts workers off that could not be started.
    pub(super) fn lack(&self, workers: usize) {
        self.workers.fetch_sub(workers, Ordering::SeqCst);
    }

    /// Ends the accept thread, and lets the workers go once they have answered what has reached them.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        self.server.unblock();
    }
}
