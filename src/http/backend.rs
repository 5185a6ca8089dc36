//! tiny_http as the backend: started on a private socket, connected once per I/O thread, and
//! unreachable from then on.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tiny_http::Server;

use super::forwarded_request::ForwardedRequest;
use super::in_flight::{InFlight, PendingClient};
use super::worker;
use crate::api::{Gateway, SlotId};
use crate::ops::fatal_error::FatalError;
use crate::ops::sync::lock;

/// Only this user may enter the directory of the socket.
const PRIVATE_MODE: u32 = 0o700;
/// Most names to try for that directory.
const NAME_ATTEMPTS_MAX: usize = 100;
/// How long tiny_http may take to read from a new connection. An idle machine needs less than a
/// millisecond; one that needs longer than this cannot run a service.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes to collect before a write: some thirty requests, while another core reads more.
const BATCH_BYTES: usize = 8 * 1024;
/// Most bytes waiting for tiny_http to read them: far more than the requests of ten thousand
/// clients at once. Beyond that the connection counts as broken.
const UNSENT_MAX_BYTES: usize = 64 << 20;

/// The interfaces behind tiny_http and its workers.
pub(crate) struct Http<C> {
    in_flight: Arc<InFlight<C>>,
    workers: usize,
    servers: Mutex<Vec<Arc<Server>>>,
}

impl<C: PendingClient> Http<C> {
    /// Starts tiny_http with `workers` workers and opens `connections` connections to it.
    ///
    /// # Errors
    /// When the socket, a connection or a thread cannot be created.
    pub(crate) fn start(
        gateway: Arc<Gateway>,
        workers: usize,
        connections: usize,
    ) -> Result<(Arc<Http<C>>, Vec<BackendConnection>), FatalError> {
        let http = Arc::new(Http {
            in_flight: InFlight::new(gateway),
            workers,
            servers: Mutex::default(),
        });
        let streams = http.add_server(connections).map_err(|error| {
            let temporary = std::env::temp_dir();
            let text = format!(
                "cannot make the private socket below {}: {error}; TMPDIR names that directory",
                temporary.display()
            );
            FatalError::from_io(&error, text)
        })?;
        Ok((http, streams))
    }

    /// The requests in flight.
    pub(crate) fn in_flight(&self) -> &Arc<InFlight<C>> {
        &self.in_flight
    }

    /// Replaces a broken connection with one to a new server: only a bug can break a connection,
    /// and the old server may be unusable.
    ///
    /// # Errors
    /// As [`Http::start`].
    pub(crate) fn reconnect(&self) -> io::Result<BackendConnection> {
        self.add_server(1)?
            .pop()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Stops the workers. Requests still queued stay unanswered.
    pub(crate) fn close(&self) {
        for server in lock(&self.servers).drain(..) {
            (0..self.workers).for_each(|_| server.unblock());
        }
    }

    fn add_server(&self, connections: usize) -> io::Result<Vec<BackendConnection>> {
        let directory = PrivateDirectory::make(&std::env::temp_dir())?;
        let path = directory.socket_path();
        let listener = UnixListener::bind(&path)?;
        let listening = listener.try_clone()?;
        // tiny_http panics if it cannot start its accept thread.
        let server = catch_unwind(AssertUnwindSafe(|| Server::from_listener(listener, None)))
            .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?
            .map_err(io::Error::other)?;
        let streams = (0..connections)
            .map(|_| BackendConnection::connect(&path, &server))
            .collect::<io::Result<Vec<_>>>();
        // Ends the accept thread. From here on nobody can connect to tiny_http, not even this
        // process.
        let _ = rustix::net::shutdown(&listening, rustix::net::Shutdown::Both);
        drop(directory);
        let streams = streams?;
        let server = Arc::new(server);
        for number in 0..self.workers {
            if let Err(error) =
                worker::start(Arc::clone(&self.in_flight), Arc::clone(&server), number)
            {
                (0..number).for_each(|_| server.unblock());
                return Err(error);
            }
        }
        lock(&self.servers).push(server);
        Ok(streams)
    }
}

/// An I/O thread's own connection to tiny_http, which pipelines its requests.
#[derive(Debug)]
pub(crate) struct BackendConnection {
    stream: UnixStream,
    unsent: Vec<u8>,
}

impl BackendConnection {
    /// Connects, and waits until tiny_http has read from the connection.
    ///
    /// tiny_http counts a thread as idle until it wakes. If connections arrive faster than its
    /// threads wake, several go to the same thread, and all but one are never read. So each
    /// connection is used before the next one is made. There is no worker yet to take the greeting.
    fn connect(path: &Path, server: &Server) -> io::Result<BackendConnection> {
        let mut stream = UnixStream::connect(path)?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let greeting = server
            .recv_timeout(GREETING_TIMEOUT)?
            .ok_or(io::ErrorKind::TimedOut)?;
        drop(greeting.into_writer());
        stream.set_nonblocking(true)?;
        Ok(BackendConnection {
            stream,
            unsent: Vec::new(),
        })
    }

    /// Queues the request of the client in `slot` until [`BackendConnection::flush`]: every write
    /// wakes a thread of tiny_http, so requests that arrive together are written together. Returns
    /// whether enough are queued for a write.
    pub(crate) fn queue(&mut self, request: &ForwardedRequest, slot: SlotId) -> bool {
        request.write(slot, &mut self.unsent);
        self.unsent.len() >= BATCH_BYTES
    }

    /// Whether a request waits for [`BackendConnection::flush`].
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Writes what is queued. Returns whether everything was written; if not, call this again once
    /// the connection is writable.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        let all = loop {
            let rest = self.unsent.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break true;
            }
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.unsent.drain(..sent);
        if self.unsent.len() > UNSENT_MAX_BYTES {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(all)
    }

    /// Checks a connection that has become readable.
    ///
    /// # Errors
    /// When it has ended, or when tiny_http has answered on it, which it only does before it gives
    /// up a connection.
    pub(crate) fn check_alive(&mut self) -> io::Result<()> {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            },
        }
    }
}

impl AsFd for BackendConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A directory that only this process's user can enter; removed on drop.
#[derive(Debug)]
struct PrivateDirectory {
    path: PathBuf,
    opened: File,
}

impl PrivateDirectory {
    const SOCKET: &'static str = "cc-gateway-backend.socket";

    fn make(parent: &Path) -> io::Result<PrivateDirectory> {
        for _ in 0..NAME_ATTEMPTS_MAX {
            let number = getrandom::u64().map_err(io::Error::other)?;
            let path = parent.join(format!("cc-gateway-{number:016x}"));
            // mkdir fails if the name exists in any form, so nobody can prepare the directory for
            // us.
            match DirBuilder::new().mode(PRIVATE_MODE).create(&path) {
                Ok(()) => {
                    let opened = File::open(&path).inspect_err(|_| drop(fs::remove_dir(&path)))?;
                    return Ok(PrivateDirectory { path, opened });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The path of the socket, relative to the open directory: it may have at most 107 bytes
    /// (unix(7)), and the path of the temporary directory alone may be longer.
    fn socket_path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{}",
            self.opened.as_raw_fd(),
            PrivateDirectory::SOCKET
        ))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.join(PrivateDirectory::SOCKET));
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_directory_is_private_and_goes_with_its_owner() {
        // Longer than the path of a Unix socket may be.
        let parent = std::env::temp_dir()
            .join("x".repeat(150))
            .join(format!("{}", std::process::id()));
        fs::create_dir_all(&parent).unwrap();
        let directory = PrivateDirectory::make(&parent).unwrap();
        let path = directory.path.clone();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            PRIVATE_MODE
        );
        drop(UnixListener::bind(directory.socket_path()).unwrap());
        assert!(path.join(PrivateDirectory::SOCKET).exists());
        drop(directory);
        assert!(!path.exists());
        fs::remove_dir_all(parent).unwrap();
    }

    #[test]
    fn nothing_can_be_made_where_there_is_no_directory() {
        assert_eq!(
            PrivateDirectory::make(Path::new("/nowhere/at/all"))
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
    }
}
