//! Chunk sizes: how much of a recording is read, encrypted and sent at once.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::buffer_pool::{BufferPool, Pooled};

/// Maximum plaintext of a TLS record, in bytes (RFC 8446 section 5.1). Full records are the
/// cheapest.
const RECORD_BYTES: usize = 16 * 1024;
/// Largest chunk, in bytes: 64 records, the most that rustls passes to the socket in one call.
///
/// Larger chunks cost fewer wake-ups and system calls per byte: in server CPU per GB over TLS 1.3
/// from the page cache, a single download costs 5 % less with 256 KiB than with 96 KiB, and 20 %
/// less with 1 MiB. With many downloads at once 256 KiB is best, since the CPU cache holds no more.
const CHUNK_BYTES_MAX: usize = 64 * RECORD_BYTES;
/// Smallest chunk, in bytes. Each stalled download keeps its encrypted chunk in memory, and 200 of
/// them must fit into 40 MB.
const CHUNK_BYTES_MIN: usize = 5 * RECORD_BYTES;
/// Budget for all chunks above the smallest size together, in bytes. Each new one gets a third of
/// what is left, so there are at most seven, using at most as many large buffers.
const BUDGET_BYTES: usize = 3 * CHUNK_BYTES_MAX;
/// Idle buffers to keep for the smallest chunks.
const SMALL_IDLE_MAX: usize = 16;
/// Idle buffers to keep for larger ones; few threads read and encrypt at the same moment.
const LARGE_IDLE_MAX: usize = 2;
/// Rate, in bytes per microsecond, from which a client counts as quick. A slow one would only keep
/// the budget from others.
const QUICK_BYTES_PER_MICROSECOND: u64 = 4;
/// Bytes sent before a client is judged: the first ones fill the buffers of both kernels, whether
/// or not the client reads (2.5 MB on loopback with Linux defaults).
const JUDGED_AFTER_BYTES: u64 = 4 * 1024 * 1024;

/// The buffers for chunks, and the remaining budget.
#[derive(Debug)]
pub(super) struct ChunkBudget {
    small: BufferPool,
    large: BufferPool,
    remaining: AtomicUsize,
}

impl ChunkBudget {
    /// A full budget.
    pub(super) fn new() -> ChunkBudget {
        // Freeing a large block once makes glibc raise its dynamic thresholds, so that it keeps
        // that much memory (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD). Otherwise it would
        // return the encrypted data to the system after each chunk and fault it in again for the
        // next: a third more CPU per GB.
        drop(black_box(vec![0_u8; CHUNK_BYTES_MAX]));
        ChunkBudget {
            small: BufferPool::new(CHUNK_BYTES_MIN, SMALL_IDLE_MAX),
            large: BufferPool::new(CHUNK_BYTES_MAX, LARGE_IDLE_MAX),
            remaining: AtomicUsize::new(BUDGET_BYTES),
        }
    }

    /// The next chunk for a client that has been sent `sent` bytes, the last `taken` of them in
    /// `time`.
    pub(super) fn next(&self, sent: u64, taken: usize, time: Duration) -> ChunkGrant<'_> {
        let is_quick = sent >= JUDGED_AFTER_BYTES
            && time <= Duration::from_micros(taken as u64 / QUICK_BYTES_PER_MICROSECOND);
        let bytes = if is_quick {
            self.claim()
        } else {
            CHUNK_BYTES_MIN
        };
        ChunkGrant {
            budget: self,
            bytes,
        }
    }

    /// Claims a share of the budget, and returns the size of the chunk.
    fn claim(&self) -> usize {
        let share = |remaining: usize| remaining / 3 / RECORD_BYTES * RECORD_BYTES;
        let claimed =
            self.remaining
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |remaining| {
                    (share(remaining) > CHUNK_BYTES_MIN).then(|| remaining - share(remaining))
                });
        claimed.map_or(CHUNK_BYTES_MIN, share)
    }
}

/// A chunk. Keep it until the client has taken its bytes.
pub(super) struct ChunkGrant<'a> {
    budget: &'a ChunkBudget,
    /// Its size in bytes.
    pub(super) bytes: usize,
}

impl ChunkGrant<'_> {
    /// Whether it is larger than the smallest size.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > CHUNK_BYTES_MIN
    }

    /// A buffer to read it into, which may be larger than the chunk. Keep it until its bytes are
    /// encrypted.
    pub(super) fn buffer(&self) -> Pooled<'_> {
        if self.is_large() {
            self.budget.large.checkout()
        } else {
            self.budget.small.checkout()
        }
    }
}

impl Drop for ChunkGrant<'_> {
    fn drop(&mut self) {
        if self.is_large() {
            self.budget
                .remaining
                .fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_quick_client_gets_more_than_the_smallest_portion() {
        let budget = ChunkBudget::new();
        let table = [
            ("at first", 0, 0, Duration::MAX, CHUNK_BYTES_MIN),
            (
                "not known yet",
                JUDGED_AFTER_BYTES - 1,
                CHUNK_BYTES_MIN,
                Duration::ZERO,
                CHUNK_BYTES_MIN,
            ),
            (
                "at once",
                JUDGED_AFTER_BYTES,
                RECORD_BYTES,
                Duration::ZERO,
                CHUNK_BYTES_MAX,
            ),
            (
                "4 MB a second",
                JUDGED_AFTER_BYTES,
                40_000,
                Duration::from_millis(10),
                CHUNK_BYTES_MAX,
            ),
            (
                "a little less",
                JUDGED_AFTER_BYTES,
                40_000,
                Duration::from_micros(10_001),
                CHUNK_BYTES_MIN,
            ),
            (
                "stalled",
                u64::MAX,
                CHUNK_BYTES_MAX,
                Duration::from_secs(29),
                CHUNK_BYTES_MIN,
            ),
        ];
        for (what, sent, taken, time, bytes) in table {
            assert_eq!(budget.next(sent, taken, time).bytes, bytes, "{what}");
        }
    }

    #[test]
    fn quick_clients_share_a_budget_and_give_it_back() {
        let budget = ChunkBudget::new();
        let quick = || budget.next(JUDGED_AFTER_BYTES, 1, Duration::ZERO);
        let held: Vec<_> = (0..100).map(|_| quick()).collect();
        assert!(held.iter().all(|grant| grant.bytes % RECORD_BYTES == 0 && grant.bytes <= grant.buffer().len()));
        assert!(held.is_sorted_by_key(|grant| std::cmp::Reverse(grant.bytes)));
        assert_eq!(held[0].bytes, CHUNK_BYTES_MAX);
        assert_eq!(held[99].bytes, CHUNK_BYTES_MIN);
        let shared: usize = held
            .iter()
            .map(|grant| grant.bytes)
            .filter(|bytes| *bytes > CHUNK_BYTES_MIN)
            .sum();
        assert!(shared <= BUDGET_BYTES, "{shared}");
        drop(held);
        assert_eq!(quick().bytes, CHUNK_BYTES_MAX);
    }

    #[test]
    fn the_smallest_chunks_of_two_hundred_downloads_fit_into_forty_megabytes() {
        assert_eq!((CHUNK_BYTES_MIN, CHUNK_BYTES_MAX), (80 << 10, 1 << 20));
        assert_eq!((BUDGET_BYTES, JUDGED_AFTER_BYTES), (3 << 20, 4 << 20));
        let budget = ChunkBudget::new();
        let quick = || budget.next(JUDGED_AFTER_BYTES, 1, Duration::ZERO);
        let held: Vec<_> = (0..100).map(|_| quick()).collect();
        assert_eq!(held.iter().filter(|grant| grant.is_large()).count(), 7);
    }
}
