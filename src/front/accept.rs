//! Accepts clients, and handles errors of accept(2).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, sockopt};
use socket2::SockRef;

use super::address_limits::NetworkFull;
use super::connections::LimitReached;
use super::tls_stream::{UNSENT_MAX_BYTES, USER_TIMEOUT_MS};
use crate::ops::counters::Counters;
use crate::ops::rate_limited_log::RateLimitedLog;

/// Most clients to accept from one listener before handling other events.
const ACCEPT_BATCH: usize = 64;

/// Receive buffer of a client's socket, in bytes; the kernel allocates twice as much. Holds a
/// request's head; the largest content needs a few round trips. Bounds what a client costs that
/// sends more than we read.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// Rate limits for log lines about refused clients.
#[derive(Debug, Default)]
pub(super) struct AcceptLog {
    accepting: RateLimitedLog,
    full: RateLimitedLog,
    full_network: RateLimitedLog,
}

/// Sets the options that accepted sockets inherit from their listener (tcp(7), socket(7)).
pub(super) fn set_options(listener: &TcpListener) {
    let socket = SockRef::from(listener);
    let user_timeout = sockopt::set_tcp_user_timeout(listener, USER_TIMEOUT_MS);
    for (option, result) in [
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        (
            "SO_RCVBUF",
            socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES),
        ),
        (
            "TCP_NOTSENT_LOWAT",
            socket.set_tcp_notsent_lowat(UNSENT_MAX_BYTES),
        ),
        ("TCP_USER_TIMEOUT", user_timeout.map_err(io::Error::from)),
    ] {
        if let Err(error) = result {
            log::warn!("cannot set {option} for clients: {error}");
        }
    }
}

/// Accepts up to [`ACCEPT_BATCH`] clients of a listener and hands their sockets to `take`.
///
/// # Errors
/// An error of the whole process, such as too many open files. Errors of a single client are
/// counted and skipped.
pub(super) fn accept_batch(
    listener: &TcpListener,
    counters: &Counters,
    mut take: impl FnMut(TcpStream, SocketAddr),
) -> io::Result<()> {
    for _ in 0..ACCEPT_BATCH {
        let (socket, peer) =
            match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((socket, peer)) => (TcpStream::from(socket), peer),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                // accept(2): Linux reports pending network errors of the new connection through
                // accept.
                Err(
                    Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NOPROTOOPT
                    | Errno::HOSTDOWN
                    | Errno::NONET
                    | Errno::HOSTUNREACH
                    | Errno::OPNOTSUPP
                    | Errno::NETUNREACH
                    | Errno::PERM,
                ) => {
                    counters.accept_errors.add(1);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
        if let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
            take(socket, peer);
        }
    }
    Ok(())
}

/// Counts and logs a refused client.
pub(super) fn log_refusal(
    full: LimitReached,
    peer: SocketAddr,
    counters: &Counters,
    log: &mut AcceptLog,
) {
    counters.connections_refused.add(1);
    match full {
        LimitReached::Connections => log.full.warn(&format!(
            "refusing clients: MAX_CONNECTIONS is reached; the latest came from {}",
            peer.ip()
        )),
        LimitReached::Network(full) => log.full_network.warn(&network_full(&full)),
    }
}

/// The log line for a network that has reached its limit.
pub(super) fn network_full(full: &NetworkFull) -> String {
    let NetworkFull { network, limit } = full;
    format!(
        "refusing clients: MAX_CONNECTIONS_PER_ADDRESS is reached by {network}, which has {limit}"
    )
}

/// Counts and logs an error of [`accept_batch`].
pub(super) fn log_error(error: &io::Error, counters: &Counters, log: &mut AcceptLog) {
    counters.accept_errors.add(1);
    log.accepting.error(&format!(
        "cannot accept clients: {error}; raise LimitNOFILE or lower MAX_CONNECTIONS"
    ));
}
