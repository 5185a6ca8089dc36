//! Accepting clients: what comes of errors, and who is let in.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, sockopt};
use socket2::SockRef;

use super::address_limits::NetworkFull;
use super::connections::{ConnectionPermit, Full};
use super::context::Context;
use super::tls_stream::UNSENT_MAX_BYTES;
use crate::ops::counters::Counters;
use crate::ops::seldom::Seldom;

/// Most clients taken from one listener before others have their turn.
const ACCEPT_BATCH: usize = 64;

/// Receive buffer of a client's socket, in bytes, of which the kernel takes twice as much: room for a request's head, or a
/// few round trips for the largest content. Whoever sends more than we read costs no more than that.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// How long the kernel waits for a client to acknowledge anything of what was sent, in ms. Twice the window of a slow
/// download, whose own timeout comes first.
const USER_TIMEOUT_MS: u32 = 60_000;

/// A client that is let in.
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: ConnectionPermit,
}

/// Log lines about what keeps clients out, each of which could come a thousand times a second.
#[derive(Debug, Default)]
pub(super) struct LogLimits {
    accepting: Seldom,
    full: Seldom,
    full_network: Seldom,
}

/// Sets what accepted sockets take over from their listener (tcp(7), socket(7)).
pub(super) fn set_options(listener: &TcpListener) {
    let set = |what: &str, result: Result<(), io::Error>| {
        if let Err(error) = result {
            log::warn!("{what} cannot be set for clients: {error}");
        }
    };
    set("TCP_NODELAY", sockopt::set_tcp_nodelay(listener, true).map_err(Into::into));
    set("SO_RCVBUF", sockopt::set_socket_recv_buffer_size(listener, RECEIVE_BUFFER_BYTES).map_err(Into::into));
    set("TCP_NOTSENT_LOWAT", SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_MAX_BYTES));
    set("TCP_USER_TIMEOUT", sockopt::set_tcp_user_timeout(listener, USER_TIMEOUT_MS).map_err(Into::into));
}

/// Accepts who is waiting at a listener and hands them to `take`. When nobody more may be connected, `make_room` is asked
/// to let somebody go.
///
/// # Errors
/// One of the whole process, such as too many open files. Errors of a single client are passed over.
pub(super) fn accept_batch(
    listener: &TcpListener,
    context: &Context,
    limits: &mut LogLimits,
    mut make_room: impl FnMut() -> bool,
    mut take: impl FnMut(Accepted),
) -> io::Result<()> {
    for _ in 0..ACCEPT_BATCH {
        let (socket, peer) = match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, peer)) => (TcpStream::from(socket), peer),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // accept(2): errors already pending on the new connection are reported by accept itself.
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
                context.counters.accept_errors.add(1);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) else { continue };
        let address = (!context.is_trusted_proxy(peer.ip())).then(|| peer.ip());
        let connections = &context.connections;
        let admitted = connections.admit(address).or_else(|full| match full {
            Full::Connections if make_room() => connections.admit(address),
            full => Err(full),
        });
        match admitted {
            Ok(permit) => {
                context.counters.connections.add(1);
                take(Accepted { socket, peer, permit });
            }
            Err(full) => {
                context.counters.connections_refused.add(1);
                match full {
                    Full::Connections => limits.full.warn(&format!(
                        "clients are turned away: MAX_CONNECTIONS is reached; the latest came from {}",
                        peer.ip()
                    )),
                    Full::Network(full) => limits.full_network.warn(&network_full(&full)),
                }
            }
        }
    }
    Ok(())
}

/// What to tell of a network that has its share of connections.
pub(super) fn network_full(full: &NetworkFull) -> String {
    let NetworkFull { network, limit } = full;
    format!("clients are turned away: MAX_CONNECTIONS_PER_ADDRESS is reached by {network}, which has {limit}")
}

/// Counts and logs an error of [`accept_batch`].
pub(super) fn log_error(error: &io::Error, counters: &Counters, limits: &mut LogLimits) {
    counters.accept_errors.add(1);
    limits.accepting.error(&format!("clients cannot be accepted: {error}; raise LimitNOFILE or lower MAX_CONNECTIONS"));
}
