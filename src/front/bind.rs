//! Binding the addresses of LISTEN.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::ops::failure::{Exit, Failure};

/// Clients the kernel keeps waiting while the I/O threads are busy; it is cut to net.core.somaxconn.
const BACKLOG: i32 = 1024;

/// Listens on one address.
///
/// # Errors
/// 69 if the address cannot be had, with what to do about it.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    bind(address).map_err(|error| {
        let advice = match error {
            Errno::ADDRINUSE => "another program listens there; stop it or change LISTEN",
            Errno::ADDRNOTAVAIL => "no interface of this machine has that address; change LISTEN",
            Errno::AFNOSUPPORT => "this machine has no such protocol; take the address out of LISTEN",
            Errno::ACCESS => "ports below 1024 need CAP_NET_BIND_SERVICE; change LISTEN",
            _ => "change LISTEN",
        };
        let exit = if error == Errno::ACCESS { Exit::Permission } else { Exit::Unavailable };
        Failure::new(exit, format!("cannot listen on {address}: {error}; {advice}"))
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    // Non-blocking, because a client that waits may be gone again before it is accepted.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // LISTEN names IPv4 addresses by themselves.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
