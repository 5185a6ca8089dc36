//! The lines between clients' threads and tiny_http: a fixed number, lent one request at a time.

use std::io::{self, Write as _};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::ops::latch::{left, lock};

/// How long a request may wait for room in the socket's buffer, which tiny_http empties at once.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// One line; its connection is made when it is first needed and again when it broke.
#[derive(Default)]
pub(super) struct Line {
    /// The place of its exchanges.
    pub(super) place: usize,
    connection: Option<(u64, UnixStream)>,
    /// The request to be written.
    pub(super) request: Vec<u8>,
}

impl Line {
    /// Whether the line is connected to this generation of the inner server.
    pub(super) fn reaches(&self, generation: u64) -> bool {
        matches!(self.connection, Some((of, _)) if of == generation)
    }

    /// Connects the line, replacing an earlier connection.
    pub(super) fn connect(&mut self, generation: u64, path: &Path) -> io::Result<()> {
        self.disconnect();
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(WRITE_WITHIN))?;
        self.connection = Some((generation, stream));
        Ok(())
    }

    /// Drops the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Another hold on the connection, for tests to break it with.
    #[cfg(test)]
    pub(super) fn hold(&self) -> Option<UnixStream> {
        self.connection.as_ref().and_then(|(_, stream)| stream.try_clone().ok())
    }

    /// Sends the request. After an error the connection is gone: what tiny_http has of the request must not become
    /// the beginning of another.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let (_, stream) = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(&self.request).inspect_err(|_| self.connection = None)
    }

    /// Looks whether tiny_http has ended the connection or answered by itself, which it does with what is no request;
    /// workers answer in the exchange.
    ///
    /// # Errors
    /// When it did either. Then the connection is gone.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let (_, stream) = self.connection.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let error = match recv(stream, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => error.into(),
            Ok((_, 0)) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, "tiny_http took a request for none"),
        };
        self.disconnect();
        Err(error)
    }
}

/// The lines nobody uses right now. Of those with a connection the one used last is lent first, so that its
/// buffers are warm.
pub(super) struct Lines {
    idle: Mutex<Idle>,
    returned: Condvar,
}

struct Idle {
    lines: Vec<Line>,
    /// Threads that wait for a line: to wake them costs a system call, which most returns can do without.
    waiting: usize,
}

impl Lines {
    /// `count` lines, not connected yet.
    pub(super) fn new(count: usize) -> Lines {
        let line = |place| Line { place, ..Line::default() };
        let idle = Idle { lines: (0..count).map(line).collect(), waiting: 0 };
        Lines { idle: Mutex::new(idle), returned: Condvar::new() }
    }

    /// Borrows a line, waiting for one until `deadline`.
    pub(super) fn lend(&self, deadline: Instant) -> Option<Lent<'_>> {
        let mut idle = lock(&self.idle);
        loop {
            if let Some(line) = idle.lines.pop() {
                return Some(Lent { lines: self, line });
            }
            let left = left(deadline)?;
            idle.waiting += 1;
            idle = self.returned.wait_timeout(idle, left).unwrap_or_else(PoisonError::into_inner).0;
            idle.waiting -= 1;
        }
    }
}

/// A borrowed line; it goes back when this is dropped, panic or not.
pub(super) struct Lent<'a> {
    lines: &'a Lines,
    line: Line,
}

impl Deref for Lent<'_> {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Line {
        &mut self.line
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.line);
        let mut idle = lock(&self.lines.idle);
        match line.connection {
            Some(_) => idle.lines.push(line),
            // Lent last, so that a server that is lost keeps nobody from the lines that still reach it.
            None => idle.lines.insert(0, line),
        }
        if idle.waiting > 0 {
            self.lines.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_lent_to_one_at_a_time_and_comes_back() {
        let lines = Lines::new(1);
        let lent = lines.lend(Instant::now()).unwrap();
        assert!(lines.lend(Instant::now()).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lines.lend(Instant::now() + Duration::from_secs(60)).is_some());
            drop(lent);
            assert!(waiting.join().unwrap());
        });
        assert!(lines.lend(Instant::now()).is_some());
    }

    #[test]
    fn a_line_without_connection_says_so() {
        let lines = Lines::new(1);
        let mut line = lines.lend(Instant::now()).unwrap();
        assert!(!line.reaches(0));
        assert_eq!(line.send().unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert!(line.connect(1, Path::new("/nowhere/at/all")).is_err());
    }
}
