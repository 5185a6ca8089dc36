//! A recording from its file to its client, on a thread of its own: the one thing that may hold a thread while its client
//! is slow, because it is work.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::request_log;
use super::response::{Framing, render};
use super::timeouts::MinRate;
use super::tls_stream::{TlsStream, UNSENT_MAX_BYTES};
use crate::api::{Reply, RequestContext};
use crate::recording::Download;

/// Deep enough for encrypting; the buffers are on the heap.
const STACK_BYTES: usize = 256 * 1024;
/// How long a write waits for the socket before the thread looks whether it is to go on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that may wait unsent in the kernel for a client that is not known to be quick. Together with the time a client
/// has for them it bounds what 200 stalled downloads hold; and what a client has taken is known to that accuracy.
const DOWNLOAD_UNSENT_BYTES: u32 = 128 * 1024;
/// The same for a quick client, to whom the kernel can go on sending while the thread reads and encrypts.
const QUICK_UNSENT_BYTES: u32 = 2 * 1024 * 1024;

/// Sends `reply` and the recording that follows it, on a thread of its own; gives the connection back afterwards.
pub(super) fn start(
    connection: Box<Connection>,
    reply: Reply,
    download: Box<Download>,
    context: Option<Box<RequestContext>>,
) {
    let job = std::sync::Arc::new(std::sync::Mutex::new(Some((connection, reply, download, context))));
    let shared = std::sync::Arc::clone(&job);
    let work = move || {
        if let Some((connection, reply, download, context)) = crate::ops::latch::lock(&shared).take() {
            run(connection, reply, download, context);
        }
    };
    let spawned = thread::Builder::new().name("download".to_owned()).stack_size(STACK_BYTES).spawn(work);
    if let Err(error) = spawned
        && let Some((connection, _, _, context)) = crate::ops::latch::lock(&job).take()
    {
        connection.refuse_download(&error, context);
    }
}

fn run(
    mut connection: Box<Connection>,
    reply: Reply,
    mut download: Box<Download>,
    context: Option<Box<RequestContext>>,
) {
    let keep_alive = connection.keeps_alive();
    let framing = Framing { length: download.video.selected(), with_body: false, keep_alive };
    let head = render(&reply, framing);
    let shared = std::sync::Arc::clone(connection.context());
    let running = shared.connections.begin_download(connection.tls.socket());
    let mut transfer = Transfer {
        tls: &mut connection.tls,
        rate: MinRate::new(shared.timeouts.window, Instant::now()),
        is_aborted: &|| shared.connections.is_aborting(),
        sent: 0,
    };
    let result = match running {
        Some(_) => transfer.send(&head, &mut download, &shared),
        None => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let sent = transfer.sent;
    if result.is_err() {
        shared.counters.downloads_cut.add(1);
    }
    request_log::record(&connection, &reply, context.as_deref(), sent, result.as_ref().err());
    drop(download);
    match result {
        Ok(()) => connection.after_download(keep_alive && !shared.connections.is_draining()),
        Err(error) => {
            // After an error the client has less than it was promised. A close_notify would say that this was all
            // (RFC 9112 section 8), and what it has not taken would stay in the kernel.
            if error.kind() == io::ErrorKind::TimedOut {
                connection.tls.reset_on_close();
            }
        }
    }
    drop(running);
}

struct Transfer<'a> {
    tls: &'a mut TlsStream,
    rate: MinRate,
    is_aborted: &'a dyn Fn() -> bool,
    /// Bytes of the recording that were handed to the socket.
    sent: u64,
}

impl Transfer<'_> {
    fn send(&mut self, head: &[u8], download: &mut Download, shared: &super::context::Context) -> io::Result<()> {
        self.tls.set_blocking(Some(WRITE_TIMEOUT))?;
        self.tls.limit_unsent(DOWNLOAD_UNSENT_BYTES);
        self.tls.cork(true);
        self.tls.queue(head)?;
        let (mut taken, mut time, mut quick) = (0, Duration::MAX, false);
        loop {
            let grant = shared.chunk_budget.next(self.sent, taken, time);
            if grant.is_large() != quick {
                quick = grant.is_large();
                self.tls.limit_unsent(if quick { QUICK_UNSENT_BYTES } else { DOWNLOAD_UNSENT_BYTES });
            }
            let asked = Instant::now();
            let count = {
                let mut buffer = grant.buffer();
                let room = buffer.get_mut(..grant.bytes).unwrap_or_default();
                let count = download.next_chunk(room)?;
                self.tls.queue(room.get(..count).unwrap_or_default())?;
                count
            };
            if count == 0 {
                break;
            }
            let began = Instant::now();
            // The file server may have been slow.
            self.rate.exclude(began - asked);
            self.flush()?;
            (taken, time) = (count, began.elapsed());
            self.sent += count as u64;
            shared.counters.video_bytes.add(count as u64);
        }
        self.tls.cork(false);
        self.wait_sent(shared.timeouts.window)?;
        self.tls.limit_unsent(UNSENT_MAX_BYTES);
        self.tls.set_blocking(None)
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// `TimedOut` when the client takes too little in a window, `ConnectionAborted` when the download is cut, else what the
    /// socket says.
    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_records() {
                Ok(count) => self.rate.taken(count, Instant::now())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.rate.taken(0, Instant::now())?,
                Err(error) => return Err(error),
            }
            self.check_aborted()?;
        }
        Ok(())
    }

    /// Waits until the client has taken all of it: until then the download counts. At the slowest rate that is allowed, what
    /// may wait unsent takes two windows.
    fn wait_sent(&self, window: Duration) -> io::Result<()> {
        let deadline = Instant::now() + 2 * window;
        while !self.tls.wait_sent(WRITE_TIMEOUT.min(window)) {
            self.check_aborted()?;
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    fn check_aborted(&self) -> io::Result<()> {
        if (self.is_aborted)() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
