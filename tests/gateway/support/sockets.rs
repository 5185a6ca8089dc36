//! Sockets below TLS: from addresses of choice, with buffers of choice, and what the kernel knows
//! of them.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::server::PATIENCE;

/// Connects from this address of the loopback network; `receive` bounds the receive buffer, in
/// bytes.
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

/// Reads until the connection ends, by whatever means, and gives what came.
pub fn drain(mut socket: &TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the connection never ends"),
        _ => bytes,
    }
}

/// Whether the connection has ended; what came is thrown away.
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

/// Bytes that wait in the kernel to be sent from this local port, and whether any connection of it
/// is left.
pub fn unsent_from(port: u16) -> (u64, usize) {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut unsent = (0, 0);
    for line in table.lines().skip(1) {
        let columns: Vec<_> = line.split_whitespace().collect();
        let is_local = columns[1].ends_with(&format!(":{port:04X}"));
        // 0A is LISTEN, 06 TIME_WAIT.
        if is_local && !["0A", "06"].contains(&columns[3]) {
            unsent.0 += u64::from_str_radix(columns[4].split(':').next().unwrap(), 16).unwrap();
            unsent.1 += 1;
        }
    }
    unsent
}
