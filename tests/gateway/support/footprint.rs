//! The resources of a server, to check that clients leave nothing behind.

use std::thread;

use super::server::{Server, eventually};

/// Tolerated growth in KiB. The allocator may keep some memory; a leak grows with each of hundreds
/// of clients.
const KEPT_KIB: u64 = 6 * 1024;

/// Threads, descriptors and memory of a server.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    pub threads: usize,
    pub descriptors: usize,
    pub memory_kib: u64,
}

impl Footprint {
    /// The current footprint.
    pub fn measure(server: &Server) -> Footprint {
        Footprint {
            threads: server.threads(),
            descriptors: server.descriptors(),
            memory_kib: server.memory_kib(),
        }
    }

    /// The footprint after a few clients have come and gone.
    pub fn at_rest(server: &Server) -> Footprint {
        thread::scope(|scope| {
            (0..16).for_each(|_| drop(scope.spawn(|| (0..4).for_each(|_| server.serves()))));
        });
        // This request's own connection.
        server.metric_becomes("connections", 1);
        Footprint::measure(server)
    }

    /// Waits until the server is back to this footprint.
    pub fn await_again(self, server: &Server) {
        self.await_threads_and_descriptors(server);
        let now = server.memory_kib();
        assert!(
            now <= self.memory_kib + KEPT_KIB,
            "{now} KiB were {} KiB",
            self.memory_kib
        );
    }

    /// The same without memory, for tests after which the allocator keeps more.
    ///
    /// There may be fewer than before: tiny_http may start more threads than it needs, and idle
    /// ones end after five seconds.
    pub fn await_threads_and_descriptors(self, server: &Server) {
        eventually("no more threads and descriptors than before", || {
            server.threads() <= self.threads && server.descriptors() <= self.descriptors
        });
    }
}
