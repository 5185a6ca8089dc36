//! What a server holds, so that a test can see that nothing of its clients stays.

use std::thread;

use super::server::{Server, eventually};

/// What a server may keep of clients that are gone, in KiB: what an allocator keeps for itself is
/// no leak, what grows with each of hundreds of clients is.
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
    pub fn measure(server: &Server) -> Footprint {
        Footprint {
            threads: server.threads(),
            descriptors: server.descriptors(),
            memory_kib: server.memory_kib(),
        }
    }

    /// The footprint of a server that has met a few clients and has none now.
    pub fn at_rest(server: &Server) -> Footprint {
        thread::scope(|scope| {
            (0..16).for_each(|_| drop(scope.spawn(|| (0..4).for_each(|_| server.serves()))));
        });
        // Whoever asks is connected too.
        server.metric_becomes("connections", 1);
        Footprint::measure(server)
    }

    /// Waits until the server holds no more than this again.
    pub fn await_again(self, server: &Server) {
        self.await_threads_and_descriptors(server);
        let now = server.memory_kib();
        assert!(
            now <= self.memory_kib + KEPT_KIB,
            "{now} KiB were {} KiB",
            self.memory_kib
        );
    }

    /// The same for a test that leaves more to the allocator.
    ///
    /// There may be fewer than before: where tiny_http's first threads come late they are more than
    /// its connections need, and the idle ones end after five seconds.
    pub fn await_threads_and_descriptors(self, server: &Server) {
        eventually("no more threads and descriptors than before", || {
            server.threads() <= self.threads && server.descriptors() <= self.descriptors
        });
    }
}
