//! One client's TLS connection over its socket.

use std::io::{self, BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use socket2::SockRef;

/// Most bytes unsent in the kernel before writing stops, for all responses but downloads. A client
/// that does not read costs no more than that and one response.
pub(super) const UNSENT_MAX_BYTES: u32 = 4 * 1024;
/// How long the kernel waits for a client to acknowledge data or open its window, in ms. Longer
/// than any response but a download may take.
pub(super) const USER_TIMEOUT_MS: u32 = 60_000;
/// How long the kernel tries to deliver the rest of a closed socket, in ms.
const ORPHAN_TIMEOUT_MS: u32 = 5_000;

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Some bytes were received.
    Bytes,
    /// The client has closed its side.
    End,
    /// No bytes are available.
    Nothing,
}

/// A TLS connection. Its socket is nonblocking, except while a download thread owns it.
pub(super) struct TlsStream {
    socket: Arc<TcpStream>,
    tls: ServerConnection,
}

impl TlsStream {
    /// A connection before its handshake.
    ///
    /// # Errors
    /// When the configuration is unusable, which tests rule out.
    pub(super) fn new(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
        Ok(TlsStream {
            socket: Arc::new(socket),
            tls: server_connection(config)?,
        })
    }

    /// Restarts the handshake with another configuration. Only before the first call of
    /// [`TlsStream::feed`].
    ///
    /// # Errors
    /// As with [`TlsStream::new`].
    pub(super) fn restart(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        self.tls = server_connection(config)?;
        Ok(())
    }

    /// Reads raw bytes from the socket: those before TLS, and those to examine before rustls gets
    /// them.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end of the connection; else the socket's error.
    pub(super) fn receive_raw(&mut self, bytes: &mut Vec<u8>) -> io::Result<Received> {
        // The client may be waiting for unsent data.
        self.flush()?;
        let mut chunk = [0; 4096];
        match (&*self.socket).read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                Ok(Received::Bytes)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Received::Nothing),
                _ => Err(error),
            },
        }
    }

    /// Processes bytes read by [`TlsStream::receive_raw`].
    ///
    /// # Errors
    /// `InvalidData` when the client violates the protocol.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes)?;
            self.process_records()?;
        }
        Ok(())
    }

    /// Whether a HelloRetryRequest was sent and the second ClientHello is awaited.
    pub(super) fn awaits_second_hello(&self) -> bool {
        self.tls.is_handshaking()
            && self.tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
    }

    /// The socket, to shut it down from another thread.
    pub(super) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Continues the handshake until the socket blocks; true once it is complete and flushed.
    ///
    /// # Errors
    /// `UnexpectedEof` when the client leaves, `InvalidData` when it violates the protocol.
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        while self.tls.is_handshaking() {
            if !self.flush()? || !self.read_records()? {
                return Ok(false);
            }
        }
        self.flush()
    }

    /// Whether encrypted bytes wait to be sent.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Appends received data to `inbound`: everything that one read of the socket yields, since no
    /// socket event would report leftovers.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ended without close_notify; else the socket's error.
    pub(super) fn receive(&mut self, inbound: &mut Vec<u8>) -> io::Result<Received> {
        let before = inbound.len();
        loop {
            let mut reader = self.tls.reader();
            match reader.fill_buf() {
                Ok([]) if inbound.len() == before => return Ok(Received::End),
                Ok([]) => return Ok(Received::Bytes),
                Ok(bytes) => {
                    let count = bytes.len();
                    inbound.extend_from_slice(bytes);
                    reader.consume(count);
                    continue;
                }
                Err(_) if inbound.len() > before => return Ok(Received::Bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            // Sends refusals to renegotiate, answers to key updates and the like.
            self.flush()?;
            if !self.read_records()? {
                return Ok(Received::Nothing);
            }
        }
    }

    /// Encrypts `bytes` into a buffer for [`TlsStream::flush`].
    pub(super) fn queue(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)
    }

    /// Sends what was queued, as far as the socket accepts it; true if everything was sent.
    ///
    /// # Errors
    /// The socket's error.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.write_records() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes encrypted records to the socket once; returns how many bytes it took.
    ///
    /// # Errors
    /// `WouldBlock` if it takes none now; else the socket's error.
    pub(super) fn write_records(&mut self) -> io::Result<usize> {
        loop {
            match self.tls.write_tls(&mut &*self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Queues the close_notify, which marks the end as intentional.
    pub(super) fn queue_close(&mut self) {
        self.tls.send_close_notify();
    }

    /// Shuts down the sending side. Only once nothing is left unsent.
    pub(super) fn shut_down_writing(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads and drops what the client is still sending; `None` once the connection has ended in
    /// any way.
    pub(super) fn discard(&self) -> Option<usize> {
        let mut scratch = [0; 4096];
        match (&*self.socket).read(&mut scratch) {
            Ok(0) => None,
            Ok(count) => Some(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Some(0),
                _ => None,
            },
        }
    }

    /// Limits how many bytes may be unsent before the socket takes no more.
    pub(super) fn limit_unsent(&self, bytes: u32) {
        // Zero would mean the system default (tcp(7), TCP_NOTSENT_LOWAT); with 1, the socket is
        // writable once nothing is unsent. Fails only on a dead socket, which the next write
        // reports.
        let _ = SockRef::from(&*self.socket).set_tcp_notsent_lowat(bytes.max(1));
    }

    /// Waits up to `timeout` until fewer bytes are unsent than the limit; returns whether that is
    /// so.
    pub(super) fn wait_writable(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).ok();
        let mut descriptors = [PollFd::new(&*self.socket, PollFlags::OUT)];
        matches!(poll(&mut descriptors, timeout.as_ref()), Ok(1..))
    }

    /// Whether nothing is unsent. From now on the socket is writable only in that case.
    pub(super) fn is_all_sent(&self) -> bool {
        self.limit_unsent(0);
        self.wait_writable(Duration::ZERO)
    }

    /// Limits how long the kernel waits for the client to take anything, in ms.
    pub(super) fn limit_standstill(&self, ms: u32) {
        let _ = sockopt::set_tcp_user_timeout(&*self.socket, ms);
    }

    /// Makes writes block up to `timeout` each, for a download thread; `None` makes them
    /// nonblocking.
    pub(super) fn set_blocking(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_nonblocking(timeout.is_none())?;
        self.socket.set_write_timeout(timeout)
    }

    /// Whether to send full segments only. Our writes end in the middle of a segment, so without
    /// the cork each would add a small segment, and the kernel's cost is per segment. The kernel
    /// sends anything corked for 200 ms (tcp(7)).
    pub(super) fn cork(&self, corked: bool) {
        let _ = sockopt::set_tcp_cork(&*self.socket, corked);
    }

    /// Makes closing reset the connection. Otherwise what the client does not take would stay in
    /// the kernel.
    pub(super) fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&*self.socket, Some(Duration::ZERO));
    }

    /// Limits how long the kernel keeps unacknowledged data after the socket is closed.
    pub(super) fn limit_orphan(&self) {
        let _ = sockopt::set_tcp_user_timeout(&*self.socket, ORPHAN_TIMEOUT_MS);
    }

    /// Reads and decrypts once; false if the socket has nothing.
    fn read_records(&mut self) -> io::Result<bool> {
        match self.tls.read_tls(&mut &*self.socket) {
            // During the handshake only this read reports the end.
            Ok(0) if self.tls.is_handshaking() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        self.process_records()?;
        Ok(true)
    }

    fn process_records(&mut self) -> io::Result<()> {
        match self.tls.process_new_packets() {
            Ok(state) if state.peer_has_closed() && self.tls.is_handshaking() => {
                Err(ErrorKind::UnexpectedEof.into())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                // Sends the alert that tells the client what was wrong.
                let _ = self.flush();
                Err(io::Error::new(ErrorKind::InvalidData, error))
            }
        }
    }
}

fn server_connection(config: Arc<ServerConfig>) -> io::Result<ServerConnection> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    // Callers bound what they queue: a response, or one chunk of a recording.
    tls.set_buffer_limit(None);
    Ok(tls)
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
