//! A network between client and server that breaks where it is told to.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes connections on to a server.
pub struct Relay {
    address: SocketAddr,
    cuts: Arc<Mutex<VecDeque<u64>>>,
}

impl Relay {
    /// Listens on a port of its own, for as long as the test runs.
    pub fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(Mutex::new(VecDeque::new()));
        let planned = Arc::clone(&cuts);
        thread::spawn(move || {
            for client in listener.incoming() {
                let cut = planned.lock().unwrap().pop_front();
                // A server that is gone refuses its clients, and so does this.
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

    /// The next connection that has no cut planned yet breaks after so many bytes from the server.
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
        // Each direction ends by itself, so that what is still under way arrives.
        let _ = to.shutdown(Shutdown::Write);
    }
}
