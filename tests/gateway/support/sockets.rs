//! Sockets with chosen addresses and buffers, and their state in the kernel.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::server::{PATIENCE, eventually};

/// Connects from a loopback address; `receive` sets the receive buffer in bytes.
pub fn connect_from(source: &str, to: SocketAddr, receive: Option<usize>) -> TcpStream {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    if let Some(bytes) = receive {
        sockopt::set_socket_recv_buffer_size(&socket, bytes).unwrap();
    }
    rustix::net::bind(
        &socket,
        &SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0),
    )
    .unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

/// Reads until the connection ends in any way, and returns the bytes.
pub fn drain(mut socket: &TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the connection never ends"),
        _ => bytes,
    }
}

/// Whether the connection has ended; discards received bytes.
pub fn has_ended(mut socket: &TcpStream) -> bool {
    socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    loop {
        match socket.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Unsent bytes in the kernel for this local port, and the number of its connections.
pub fn unsent_from(port: u16) -> (u64, usize) {
    let mut unsent = (0, 0);
    for socket in tcp_sockets() {
        if socket.local == port && ![LISTEN, TIME_WAIT].contains(&socket.state) {
            unsent.0 += socket.unsent;
            unsent.1 += 1;
        }
    }
    unsent
}

/// Resets a connection to `server`, and waits until the reset has arrived: a process being started
/// by another test may briefly hold a copy of the socket.
pub fn reset(client: TcpStream, server: SocketAddr) {
    let port = client.local_addr().unwrap().port();
    sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    eventually("a connection that was reset", || {
        !tcp_sockets()
            .iter()
            .any(|socket| socket.local == server.port() && socket.remote == port)
    });
}

/// Linux socket states.
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

struct TcpSocket {
    local: u16,
    remote: u16,
    state: u8,
    /// Bytes.
    unsent: u64,
}

/// The IPv4 sockets of this machine.
fn tcp_sockets() -> Vec<TcpSocket> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.split_once(':').unwrap().1, 16).unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            TcpSocket {
                local: port(columns[1]),
                remote: port(columns[2]),
                state: u8::from_str_radix(columns[3], 16).unwrap(),
                unsent: u64::from_str_radix(columns[4].split_once(':').unwrap().0, 16).unwrap(),
            }
        })
        .collect()
}
