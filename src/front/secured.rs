//! One client's TLS connection, read and written under deadlines.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::{ServerConfig, ServerConnection};

use super::deadlines::{Pace, left};

/// A TLS connection over a blocking socket whose timeouts are set anew before each wait.
pub(super) struct Secured {
    socket: Arc<TcpStream>,
    tls: ServerConnection,
    pace: Pace,
    /// The read timeout the socket has.
    armed: Duration,
}

impl Secured {
    /// Shakes hands with the client.
    ///
    /// # Errors
    /// When the client breaks the protocol, goes away, or `handshake` has passed.
    pub(super) fn accept(
        socket: Arc<TcpStream>,
        config: Arc<ServerConfig>,
        handshake: Duration,
        window: Duration,
    ) -> io::Result<Secured> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        // What is queued is bounded by those who queue: a reply, or one portion of a video.
        tls.set_buffer_limit(None);
        let mut secured = Secured { socket, tls, pace: Pace::new(window), armed: Duration::ZERO };
        secured.socket.set_nodelay(true)?;
        secured.socket.set_write_timeout(Some(handshake))?;
        let deadline = Instant::now() + handshake;
        while secured.tls.is_handshaking() {
            if secured.tls.wants_write() {
                secured.flush()?;
            } else {
                secured.receive_records(deadline)?;
            }
        }
        // The last flight and the ticket.
        secured.flush()?;
        secured.socket.set_write_timeout(Some(window))?;
        Ok(secured)
    }

    /// Appends what the client sends to `inbound`, waiting for it until `deadline`. 0 is the client's
    /// orderly end.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; `UnexpectedEof` when the connection ended without close_notify.
    pub(super) fn receive(&mut self, inbound: &mut Vec<u8>, most: usize, deadline: Instant) -> io::Result<usize> {
        loop {
            let before = inbound.len();
            inbound.resize(before + most, 0);
            let result = self.tls.reader().read(inbound.get_mut(before..).unwrap_or_default());
            inbound.truncate(before + *result.as_ref().unwrap_or(&0));
            match result {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            // Refusals to renegotiate and the like.
            self.flush()?;
            self.receive_records(deadline)?;
        }
    }

    /// Whether full segments alone are sent, or whatever there is. Our writes end somewhere within a segment:
    /// without the cork each of them makes a small one too, and the kernel's work is by the segment. The kernel
    /// itself sends what has waited for 200 ms (tcp(7)).
    pub(super) fn cork(&self, corked: bool) {
        // A client whose socket has no cork is a client that is gone, which the next write tells.
        let _ = sockopt::set_tcp_cork(&*self.socket, corked);
    }

    /// Encrypts `bytes`, which then wait for [`Secured::flush`]. Nothing of the caller's is needed any more.
    pub(super) fn queue(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)
    }

    /// Sends a whole reply.
    ///
    /// # Errors
    /// As [`Secured::flush`].
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.queue(bytes)?;
        self.flush()
    }

    /// Does not count a pause that was ours against the client.
    pub(super) fn excuse(&mut self, pause: Duration) {
        self.pace.excuse(pause);
    }

    /// A new window for the client to take what it is sent; to be called after a pause that is ours.
    pub(super) fn restart_pace(&mut self) {
        self.pace.restart(Instant::now());
    }

    /// Makes the end of the connection a reset. What a client does not take would else stay in the kernel's
    /// memory for minutes after its thread is gone, megabytes of it.
    pub(super) fn forget_unsent(&self) {
        let _ = sockopt::set_socket_linger(&*self.socket, Some(Duration::ZERO));
    }

    /// Says that nothing more will come. Without this a client cannot tell an end from a cut.
    pub(super) fn close(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads and drops what the client is still sending until it ends, `most` bytes have come or the time
    /// is up. Closing a socket with unread bytes resets the connection, and the reset can overtake the
    /// answer that says why (RFC 9112 section 9.6).
    pub(super) fn linger(&self, most: usize, time: Duration) {
        let deadline = Instant::now() + time;
        let mut scratch = [0; 4096];
        let mut dropped = 0;
        while dropped < most {
            let Ok(left) = left(deadline) else { return };
            if self.socket.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match (&*self.socket).read(&mut scratch) {
                Ok(0) | Err(_) => return,
                Ok(count) => dropped += count,
            }
        }
    }

    fn receive_records(&mut self, deadline: Instant) -> io::Result<()> {
        self.arm(left(deadline)?)?;
        match self.tls.read_tls(&mut &*self.socket) {
            // Until the handshake is done nobody reads, and only a read tells of an end.
            Ok(0) if self.tls.is_handshaking() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            // Linux reports a passed SO_RCVTIMEO as EAGAIN.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
        match self.tls.process_new_packets() {
            Ok(state) if state.peer_has_closed() && self.tls.is_handshaking() => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => {
                // The alert tells the client what was wrong with what it sent.
                let _ = self.flush();
                Err(io::Error::new(ErrorKind::InvalidData, error))
            }
        }
    }

    /// Sets the read timeout to what is left of a deadline, or up to an eighth more: a client that sends one
    /// request after the other has the same time for each, and a system call for each would be waste.
    fn arm(&mut self, left: Duration) -> io::Result<()> {
        let slack = left / 8;
        if self.armed < left || self.armed > left + slack {
            self.armed = left + slack / 2;
            self.socket.set_read_timeout(Some(self.armed))?;
        }
        Ok(())
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// `TimedOut` when the client takes too little in a window, else what the socket says.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &*self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.pace.taken(count, Instant::now())?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Linux reports a passed SO_SNDTIMEO as EAGAIN.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pace.taken(0, Instant::now())?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
