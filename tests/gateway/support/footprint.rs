//! What a server holds, so that a test can see that nothing of its clients stays.

use std::thread;

use super::server::{Server, eventually};

/// What a server may keep of clients that are gone, in KiB: what an allocator keeps for itself is no leak, what
/// grows with each of hundreds of clients is.
const KEPT_KIB: u64 = 6 * 1024;

/// Threads, descriptors and memory of a server.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    pub threads: usize,
    pub descriptors: usize,
    pub memory_kib: u64,
}

impl Footprint {
    /// The footprint now.
    pub fn of(server: &Server) -> Footprint {
        Footprint { threads: server.threads(), descriptors: server.descriptors(), memory_kib: server.memory_kib() }
    }

    /// The footprint of a server that has met a few clients and has none now.
    pub fn at_rest(server: &Server) -> Footprint {
        thread::scope(|scope| {
            (0..16).for_each(|_| drop(scope.spawn(|| (0..4).for_each(|_| server.serves()))));
        });
        eventually("the end of the first clients and of the threads kept for the next", || {
            server.clients() == 0 && server.threads_named("client") == 0
        });
        Footprint::of(server)
    }

    /// Waits until the server holds no more than this again.
    pub fn await_again(self, server: &Server) {
        eventually("as many threads and descriptors as before", || {
            server.threads() == self.threads && server.descriptors() == self.descriptors
        });
        let now = server.memory_kib();
        assert!(now <= self.memory_kib + KEPT_KIB, "{now} KiB were {} KiB", self.memory_kib);
    }
}
