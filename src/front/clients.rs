//! The clients connected right now: how many there may be, and how they are let go when the service ends.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::ops::latch::{left, lock};
use crate::ops::subscriber::subscriber;

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// `MAX_CONNECTIONS` clients are connected.
    Clients,
    /// `MAX_CONNECTIONS_PER_ADDRESS` clients of this address are.
    Address,
}

/// What a client is doing, as far as ending the service cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Doing {
    /// Nothing that was begun: it may be cut at once.
    Nothing = 0,
    /// A request is being answered.
    Request = 1,
    /// A video is being sent.
    Download = 2,
}

/// Everyone who is connected.
#[derive(Debug)]
pub(super) struct Clients {
    max: usize,
    max_per_address: usize,
    leaving: AtomicBool,
    present: Mutex<Present>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Present {
    next: u64,
    clients: HashMap<u64, Arc<Shared>>,
    per_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Shared {
    socket: Arc<TcpStream>,
    doing: AtomicU8,
}

/// One connected client; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Client {
    /// Its socket.
    pub(super) socket: Arc<TcpStream>,
    /// Its address.
    pub(super) peer: SocketAddr,
    number: u64,
    shared: Arc<Shared>,
    clients: Arc<Clients>,
}

impl Clients {
    /// Nobody yet.
    pub(super) fn new(max: usize, max_per_address: usize) -> Clients {
        Clients {
            max,
            max_per_address,
            leaving: AtomicBool::new(false),
            present: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Lets a client in, or says why not.
    pub(super) fn admit(self: &Arc<Clients>, socket: TcpStream, peer: SocketAddr) -> Result<Client, Full> {
        let mut present = lock(&self.present);
        if present.clients.len() >= self.max {
            return Err(Full::Clients);
        }
        let of_address = present.per_address.entry(subscriber(peer.ip())).or_default();
        if *of_address >= self.max_per_address {
            return Err(Full::Address);
        }
        *of_address += 1;
        let number = present.next;
        present.next += 1;
        let socket = Arc::new(socket);
        let shared = Arc::new(Shared { socket: Arc::clone(&socket), doing: AtomicU8::new(Doing::Nothing as u8) });
        present.clients.insert(number, Arc::clone(&shared));
        Ok(Client { socket, peer, number, shared, clients: Arc::clone(self) })
    }

    /// Asks everyone to leave: those who wait for nothing are cut, the others when they have their answer.
    pub(super) fn ask_to_leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        for client in lock(&self.present).clients.values() {
            // A client that begins a request right now sees `leaving` once it has been answered.
            if client.doing.load(Ordering::SeqCst) == Doing::Nothing as u8 {
                let _ = client.socket.shutdown(Shutdown::Read);
            }
        }
    }

    /// Whether everyone has been asked to leave.
    pub(super) fn are_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Waits until the last one has left or `deadline` has passed; true if nobody is there.
    pub(super) fn wait_until_gone(&self, deadline: Instant) -> bool {
        let mut present = lock(&self.present);
        while !present.clients.is_empty() {
            let Some(left) = left(deadline) else {
                return false;
            };
            present = self.left.wait_timeout(present, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Cuts everyone who is still there.
    pub(super) fn cut(&self) {
        for client in lock(&self.present).clients.values() {
            let _ = client.socket.shutdown(Shutdown::Both);
        }
    }

    /// How many are downloading.
    pub(super) fn downloading(&self) -> u64 {
        let present = lock(&self.present);
        let downloads = |client: &&Arc<Shared>| client.doing.load(Ordering::SeqCst) == Doing::Download as u8;
        present.clients.values().filter(downloads).count() as u64
    }
}

impl Client {
    /// Notes what the client is doing; false means that it has been asked to leave.
    pub(super) fn does(&self, doing: Doing) -> bool {
        self.shared.doing.store(doing as u8, Ordering::SeqCst);
        !self.clients.are_leaving()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut present = lock(&self.clients.present);
        present.clients.remove(&self.number);
        let address = subscriber(self.peer.ip());
        if let Some(count) = present.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                present.per_address.remove(&address);
            }
        }
        drop(present);
        self.clients.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    #[test]
    fn limits_count_those_who_are_there() {
        let clients = Arc::new(Clients::new(3, 2));
        let admit = |from| clients.admit(pair().0, address(from));
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").unwrap_err(), Full::Address);
        let _third = admit("192.0.2.2").unwrap();
        assert_eq!(admit("192.0.2.3").unwrap_err(), Full::Clients);
        drop(first);
        assert_eq!(lock(&clients.present).clients.len(), 2);
        assert!(admit("192.0.2.1").is_ok());
    }

    #[test]
    fn asking_to_leave_cuts_only_those_who_do_nothing() {
        use std::io::{Read as _, Write as _};
        let clients = Arc::new(Clients::new(9, 9));
        let (mut far_idle, idle) = pair();
        let (mut far_busy, busy) = pair();
        let idle = clients.admit(idle, address("192.0.2.1")).unwrap();
        let busy = clients.admit(busy, address("192.0.2.1")).unwrap();
        assert!(busy.does(Doing::Download));
        clients.ask_to_leave();
        assert_eq!((&*idle.socket).read(&mut [0]).unwrap(), 0);
        far_busy.write_all(b"x").unwrap();
        assert_eq!((&*busy.socket).read(&mut [0]).unwrap(), 1);
        assert!(!busy.does(Doing::Download));
        drop(idle);
        assert!(!clients.wait_until_gone(Instant::now()));
        assert_eq!(clients.downloading(), 1);
        clients.cut();
        assert_eq!(far_busy.read(&mut [0]).unwrap(), 0);
        drop(busy);
        assert!(clients.wait_until_gone(Instant::now() + Duration::from_secs(60)));
        let _ = far_idle.write_all(b"x");
    }
}
