//! The lines between clients' threads and tiny_http: a fixed number, lent one request at a time.

use std::io::{self, Write as _};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::canonical;
use super::inner_reply::{self, InnerReply};
use crate::ops::latch::{left, lock};

/// No worker ever waits for a file server, a password check or a client, so a reply that takes this long
/// is lost.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// One line; its connection is made when it is first needed and again when it broke.
#[derive(Default)]
pub(super) struct Line {
    /// The place of its exchanges.
    pub(super) place: usize,
    connection: Option<(u64, UnixStream)>,
    /// The request to be written.
    pub(super) request: Vec<u8>,
    scratch: Vec<u8>,
}

impl Line {
    /// Whether the line is connected to this generation of the inner server.
    pub(super) fn reaches(&self, generation: u64) -> bool {
        matches!(self.connection, Some((of, _)) if of == generation)
    }

    /// Connects the line, replacing an earlier connection, and waits until tiny_http has taken it up. To be
    /// called for one line after the other.
    ///
    /// tiny_http counts a thread as idle until it wakes: connections that come faster than its threads wake
    /// are all given to the same few, and the others are never read. So each is greeted before the next one.
    pub(super) fn connect(&mut self, generation: u64, path: &Path) -> io::Result<()> {
        self.connection = None;
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(REPLY_WITHIN))?;
        stream.set_write_timeout(Some(REPLY_WITHIN))?;
        self.connection = Some((generation, stream));
        canonical::write_greeting(&mut self.request);
        self.exchange(false).map(drop)
    }

    /// Another hold on the connection, for tests to break it with.
    #[cfg(test)]
    pub(super) fn hold(&self) -> Option<UnixStream> {
        self.connection.as_ref().and_then(|(_, stream)| stream.try_clone().ok())
    }

    /// Sends the request and reads the reply. After an error the connection is gone: bytes that come
    /// later must not be taken for the answer to something else.
    pub(super) fn exchange(&mut self, bodyless: bool) -> io::Result<InnerReply> {
        let (_, stream) = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let reply =
            stream.write_all(&self.request).and_then(|()| inner_reply::read(&mut *stream, bodyless, &mut self.scratch));
        if reply.is_err() {
            self.connection = None;
        }
        reply
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
        assert_eq!(line.exchange(false).unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert!(line.connect(1, Path::new("/nowhere/at/all")).is_err());
    }
}
