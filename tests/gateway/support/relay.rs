//! A relay between client and server that breaks connections on demand.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards connections to a server.
pub struct Relay {
    address: SocketAddr,
    cuts: Arc<Mutex<VecDeque<u64>>>,
}

impl Relay {
    /// Listens on its own port until the test process ends.
    pub fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(Mutex::new(VecDeque::new()));
        let planned = Arc::clone(&cuts);
        thread::spawn(move || {
            for client in listener.incoming() {
                let cut = planned.lock().unwrap().pop_front();
                // If the server is gone, close the client's connection.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                    continue;
                };
                let (from_client, to_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(&from_client, &to_server, u64::MAX));
                thread::spawn(move || pass(&server, &client, cut.unwrap_or(u64::MAX)));
            }
        });
        Relay { address, cuts }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Queues a cut: a connection breaks after so many bytes from the server. Cuts apply to new
    /// connections in order.
    pub fn cut_after(&self, bytes: u64) {
        self.cuts.lock().unwrap().push_back(bytes);
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, most: u64) {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = most;
    while left > 0 {
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        match from.read(&mut buffer[..room]) {
            Ok(count) if count > 0 && to.write_all(&buffer[..count]).is_ok() => {
                left -= count as u64
            }
            _ => break,
        }
    }
    if left == 0 {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    } else {
        // Directions end separately, so that data in flight arrives.
        let _ = to.shutdown(Shutdown::Write);
    }
}
