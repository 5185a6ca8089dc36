//! Open connections: limits, and draining at shutdown.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::address_limits::{AddressLimits, NetworkFull};
use crate::ops::sync::{lock, wait_while};

/// The limit for which a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitReached {
    /// `MAX_CONNECTIONS` clients are connected.
    Connections,
    /// This network has reached its limit.
    Network(NetworkFull),
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    draining: AtomicBool,
    aborting: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    connections: usize,
    per_network: AddressLimits,
    /// The sockets of running downloads, by download number: shutting them down is the only way to
    /// stop their threads.
    downloads: HashMap<u64, Arc<TcpStream>>,
    next_download: u64,
}

/// A connection's share of the limits, released on drop.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

/// A running download, counted until dropped.
#[derive(Debug)]
pub(super) struct RunningDownload {
    connections: Arc<Connections>,
    number: u64,
}

impl Connections {
    /// Without connections.
    pub(super) fn new(max: usize, max_per_address: usize) -> Connections {
        Connections {
            max,
            draining: AtomicBool::new(false),
            aborting: AtomicBool::new(false),
            state: Mutex::new(State {
                connections: 0,
                per_network: AddressLimits::new(bounded(max_per_address), bounded(max)),
                downloads: HashMap::new(),
                next_download: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Counts a client, or returns the limit for which it is refused. `address` is `None` for a
    /// trusted proxy, whose client is not known yet.
    pub(super) fn acquire(
        self: &Arc<Connections>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionPermit, LimitReached> {
        let mut state = lock(&self.state);
        if let Some(address) = address {
            state
                .per_network
                .insert(address)
                .map_err(LimitReached::Network)?;
        }
        if state.connections >= self.max {
            if let Some(address) = address {
                state.per_network.remove(address);
            }
            return Err(LimitReached::Connections);
        }
        state.connections += 1;
        Ok(ConnectionPermit {
            connections: Arc::clone(self),
            address,
        })
    }

    /// Counts a download until the result is dropped; `None` if downloads are being cut.
    pub(super) fn begin_download(
        self: &Arc<Connections>,
        socket: &Arc<TcpStream>,
    ) -> Option<RunningDownload> {
        let mut state = lock(&self.state);
        // Checked under the lock, which `abort_all` takes after setting the flag.
        if self.is_aborting() {
            return None;
        }
        let number = state.next_download;
        state.next_download += 1;
        state.downloads.insert(number, Arc::clone(socket));
        Some(RunningDownload {
            connections: Arc::clone(self),
            number,
        })
    }

    /// From now on each connection closes after its current response.
    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the service is shutting down.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Cuts the running downloads and prevents new ones.
    pub(super) fn abort_all(&self) {
        self.aborting.store(true, Ordering::SeqCst);
        for socket in lock(&self.state).downloads.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether running downloads must end at once.
    pub(super) fn is_aborting(&self) -> bool {
        self.aborting.load(Ordering::SeqCst)
    }

    /// Waits until no connection is left or `deadline` has passed; returns whether none is left.
    pub(super) fn wait_empty(&self, deadline: Instant) -> bool {
        let state = lock(&self.state);
        wait_while(&self.changed, state, deadline, |state| {
            state.connections > 0
        })
        .connections
            == 0
    }

    /// How many downloads are running.
    pub(super) fn downloads(&self) -> usize {
        lock(&self.state).downloads.len()
    }
}

impl ConnectionPermit {
    /// Counts the connection for the client named by its proxy.
    ///
    /// # Errors
    /// The network that has reached its limit.
    pub(super) fn count_for(&mut self, address: IpAddr) -> Result<(), NetworkFull> {
        if self.address.is_none() {
            lock(&self.connections.state).per_network.insert(address)?;
            self.address = Some(address);
        }
        Ok(())
    }
}

fn bounded(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = lock(&self.connections.state);
        state.connections -= 1;
        if let Some(address) = self.address {
            state.per_network.remove(address);
        }
        drop(state);
        self.connections.changed.notify_all();
    }
}

impl Drop for RunningDownload {
    fn drop(&mut self) {
        lock(&self.connections.state).downloads.remove(&self.number);
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

    #[test]
    fn limits_count_those_who_are_there() {
        let connections = Arc::new(Connections::new(3, 2));
        let admit = |from: &str| connections.acquire(Some(from.parse().unwrap()));
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("192.0.2.1").unwrap();
        assert!(matches!(admit("192.0.2.1"), Err(LimitReached::Network(_))));
        let _third = admit("192.0.2.2").unwrap();
        assert_eq!(admit("192.0.2.3").unwrap_err(), LimitReached::Connections);
        drop(first);
        assert_eq!(lock(&connections.state).connections, 2);
        assert!(admit("192.0.2.1").is_ok());
    }

    /// A connection of a balancer does not count for a network until it has named its client.
    #[test]
    fn a_connection_counts_for_the_client_it_names() {
        let connections = Arc::new(Connections::new(9, 1));
        let first = connections
            .acquire(Some("192.0.2.1".parse().unwrap()))
            .unwrap();
        let mut proxied = connections.acquire(None).unwrap();
        assert!(proxied.count_for("192.0.2.1".parse().unwrap()).is_err());
        drop(first);
        assert!(proxied.count_for("192.0.2.1".parse().unwrap()).is_ok());
        assert!(matches!(
            connections.acquire(Some("192.0.2.1".parse().unwrap())),
            Err(LimitReached::Network(_))
        ));
    }

    #[test]
    fn running_downloads_are_cut_by_their_sockets() {
        use std::io::Read as _;
        let connections = Arc::new(Connections::new(9, 9));
        let permit = connections
            .acquire(Some("192.0.2.1".parse().unwrap()))
            .unwrap();
        let (mut far, near) = pair();
        let near = Arc::new(near);
        let download = connections.begin_download(&near).unwrap();
        assert!(!connections.wait_empty(Instant::now()));
        assert_eq!(connections.downloads(), 1);
        connections.abort_all();
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
        assert!(connections.begin_download(&near).is_none());
        drop((download, permit));
        assert!(connections.wait_empty(Instant::now() + Duration::from_secs(60)));
    }
}
