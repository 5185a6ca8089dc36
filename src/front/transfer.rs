//! Sends a recording on a thread of its own: the only work that may hold a thread while its client
//! is slow.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::context::Context;
use super::request_log;
use super::response::{Framing, render};
use super::timeouts::MinRate;
use super::tls_stream::{TlsStream, UNSENT_MAX_BYTES, USER_TIMEOUT_MS};
use crate::api::{Reply, RequestContext};
use crate::ops::spawn;
use crate::ops::sync::lock;
use crate::recording::{Download, ReadError};

/// Enough for encryption; buffers are on the heap.
const STACK_BYTES: usize = 256 * 1024;
/// How long a write blocks before the thread checks whether to continue.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes unsent in the kernel for a client not known to be quick. This bounds what 200 stalled
/// downloads hold, and is the accuracy to which we know what a client has taken.
const DOWNLOAD_UNSENT_BYTES: u32 = 128 * 1024;
/// The same for a quick client, so that the kernel can keep sending while the thread reads and
/// encrypts.
const QUICK_UNSENT_BYTES: u32 = 2 * 1024 * 1024;
/// How long the kernel lets a client take nothing of a download, in ms: longer than [`MinRate`]
/// does, which credits windows that the client was ahead.
const STANDSTILL_MS: u32 = 180_000;

/// What a download thread needs.
struct DownloadJob {
    connection: Box<Connection>,
    reply: Reply,
    download: Box<Download>,
    context: Option<Box<RequestContext>>,
}

/// Sends `reply` and the recording on a thread of its own, and then returns the connection.
pub(super) fn start(
    connection: Box<Connection>,
    reply: Reply,
    download: Box<Download>,
    context: Option<Box<RequestContext>>,
) {
    // Shared with the thread, since a failed spawn drops its closure, and the connection with it.
    let job_cell = Arc::new(Mutex::new(Some(DownloadJob {
        connection,
        reply,
        download,
        context,
    })));
    let taken = Arc::clone(&job_cell);
    let work = move || {
        let job = lock(&taken).take();
        if let Some(job) = job {
            job.run();
        }
    };
    if let Err(error) = spawn("download", STACK_BYTES, work)
        && let Some(DownloadJob {
            connection,
            context,
            ..
        }) = lock(&job_cell).take()
    {
        connection.refuse_download(&error, context.as_deref());
    }
}

impl DownloadJob {
    fn run(self) {
        let DownloadJob {
            mut connection,
            reply,
            mut download,
            context,
        } = self;
        let server = Arc::clone(&connection.context);
        let keep_alive = connection.keep_alive;
        let framing = Framing {
            length: download.video.selected(),
            with_body: false,
            keep_alive,
        };
        let head = render(&reply, framing);
        let running = server.connections.begin_download(connection.tls.socket());
        let rate = MinRate::new(server.timeouts.window, Instant::now());
        let mut transfer = Transfer {
            tls: &mut connection.tls,
            download: &mut download,
            context: &server,
            rate,
            unsent_max: 0,
            sent: 0,
        };
        let result = transfer.send(&head);
        let sent = transfer.sent;
        if result.is_err() {
            server.counters.downloads_cut.add(1);
        }
        request_log::record(
            &connection,
            &reply,
            context.as_deref(),
            sent,
            result.as_ref().err(),
        );
        drop((download, running));
        match result {
            Ok(()) => connection.after_download(keep_alive && !server.connections.is_draining()),
            // The client got less than it was promised. A close_notify would claim that this was
            // all (RFC 9112 section 8), and without a reset what it has not taken would stay in the
            // kernel.
            Err(_) => connection.tls.reset_on_close(),
        }
    }
}

struct Transfer<'a> {
    tls: &'a mut TlsStream,
    download: &'a mut Download,
    context: &'a Context,
    rate: MinRate,
    /// Current limit on unsent bytes.
    unsent_max: u32,
    /// Bytes of the recording written to the socket.
    sent: u64,
}

impl Transfer<'_> {
    fn send(&mut self, head: &[u8]) -> io::Result<()> {
        let context = self.context;
        self.tls.set_blocking(Some(WRITE_TIMEOUT))?;
        self.tls.limit_standstill(STANDSTILL_MS);
        self.limit_unsent(DOWNLOAD_UNSENT_BYTES)?;
        self.tls.cork(true);
        self.tls.queue(head)?;
        let (mut taken, mut time, mut quick) = (0, Duration::MAX, false);
        loop {
            self.check_aborted()?;
            let grant = context.chunk_budget.next(self.sent, taken, time);
            if grant.is_large() != quick {
                quick = grant.is_large();
                self.limit_unsent(if quick {
                    QUICK_UNSENT_BYTES
                } else {
                    DOWNLOAD_UNSENT_BYTES
                })?;
            }
            let asked = Instant::now();
            let count = {
                let mut buffer = grant.buffer();
                let room = buffer.get_mut(..grant.bytes).unwrap_or_default();
                let count = self.download.next_chunk(room)?;
                self.tls.queue(room.get(..count).unwrap_or_default())?;
                count
            };
            if count == 0 {
                break;
            }
            let began = Instant::now();
            // A slow file server must not count against the client.
            self.rate.exclude(began - asked);
            self.flush()?;
            (taken, time) = (count, began.elapsed());
            self.sent += count as u64;
            context.counters.video_bytes.add(count as u64);
        }
        self.tls.cork(false);
        // The download counts until the client has taken all of it.
        self.limit_unsent(0)?;
        self.tls.limit_unsent(UNSENT_MAX_BYTES);
        self.tls.limit_standstill(USER_TIMEOUT_MS);
        self.tls.set_blocking(None)
    }

    /// Limits the unsent bytes, and waits until no more are unsent. Proceeds in steps to see what
    /// the client takes meanwhile: a slow one needs many windows for what a quick one may have
    /// unsent.
    ///
    /// # Errors
    /// As with [`Transfer::flush`].
    fn limit_unsent(&mut self, bytes: u32) -> io::Result<()> {
        /// As much as a client must take in a window.
        const STEP_BYTES: u32 = 64 * 1024;

        while self.unsent_max > bytes {
            self.unsent_max = self.unsent_max.saturating_sub(STEP_BYTES).max(bytes);
            self.tls.limit_unsent(self.unsent_max);
            while !self
                .tls
                .wait_writable(WRITE_TIMEOUT.min(self.context.timeouts.window))
            {
                self.rate.taken(0, Instant::now())?;
                self.check_aborted()?;
            }
            self.rate.taken(STEP_BYTES as usize, Instant::now())?;
        }
        self.unsent_max = bytes;
        self.tls.limit_unsent(bytes);
        Ok(())
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// `TimedOut` if the client takes too little in a window; else as with
    /// [`Transfer::check_aborted`], or the socket's error.
    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_records() {
                Ok(count) => self.rate.taken(count, Instant::now())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.rate.taken(0, Instant::now())?;
                    self.check_aborted()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks whether the download may continue.
    ///
    /// # Errors
    /// `ConnectionAborted` if the service ends, or if the agent has lost the right to the
    /// recording.
    fn check_aborted(&self) -> io::Result<()> {
        if self.context.connections.is_aborting() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the service ends",
            ));
        }
        if self.download.is_revoked() {
            return Err(ReadError::Revoked.into());
        }
        Ok(())
    }
}
