//! How much of a video is read, encrypted and sent at once.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::buffers::{Buffers, Lent};

/// Bytes of a video in a TLS record, the most it may have (RFC 8446 section 5.1). Whole records are the cheapest.
const RECORD: usize = 16 * 1024;
/// The largest portion, in bytes: the most that rustls gives to the socket in one call, 64 records.
///
/// The larger, the fewer wake-ups and system calls a byte costs: in server CPU per GB over TLS 1.3 from the page
/// cache, one download with 256 KiB cost 5 % less than with 96, and 20 % less with 1 MiB. With many downloads at once
/// 256 KiB are the best, as the processor's cache holds no more.
const LARGEST: usize = 64 * RECORD;
/// The smallest portion, in bytes. What is encrypted and not yet taken stays in memory with each stalled download, of
/// which 200 are to fit into 40 MB.
const SMALLEST: usize = 5 * RECORD;
/// What all portions above the smallest may have together, encrypted, in bytes; the next one gets a third of what is
/// left. So there are seven of them at most, which may have as many of the large buffers at worst.
const BUDGET: usize = 3 * LARGEST;
/// Buffers kept for the smallest portions.
const SMALL_KEPT: usize = 16;
/// Buffers kept for all others; few threads read and encrypt at the same moment.
const LARGE_KEPT: usize = 2;
/// Bytes a client takes in a microsecond to be called quick. A slow one would only keep the budget from the others.
const QUICK: u64 = 4;
/// Bytes of a video after which a client can be judged: the first ones are taken by the buffers of both kernels,
/// whether or not it reads (2.5 MB on the loopback as Linux has it).
const JUDGED_AFTER: u64 = 4 * 1024 * 1024;

/// The buffers portions are read into, and what is left of the budget.
#[derive(Debug)]
pub(super) struct Portions {
    small: Buffers,
    large: Buffers,
    left: AtomicUsize,
}

impl Portions {
    /// No portion is on its way yet.
    pub(super) fn new() -> Portions {
        // From the first large piece that comes back, the C library's allocator learns how much comes and goes, and
        // keeps twice as much for the next time (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD). Else it would
        // return what was encrypted to the system after each portion, and get it back page by page for the next one:
        // a third more CPU per GB.
        drop(black_box(vec![0_u8; LARGEST]));
        Portions {
            small: Buffers::new(SMALLEST, SMALL_KEPT),
            large: Buffers::new(LARGEST, LARGE_KEPT),
            left: AtomicUsize::new(BUDGET),
        }
    }

    /// A portion for a client that was sent `sent` bytes, the last `taken` of them in `time`.
    pub(super) fn next(&self, sent: u64, taken: usize, time: Duration) -> Portion<'_> {
        let is_quick = sent >= JUDGED_AFTER && time <= Duration::from_micros(taken as u64 / QUICK);
        let bytes = if is_quick { self.claim() } else { SMALLEST };
        Portion { portions: self, bytes }
    }

    /// Takes a share of the budget.
    fn claim(&self) -> usize {
        let share = |left: usize| left / 3 / RECORD * RECORD;
        let claimed = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (share(left) > SMALLEST).then(|| left - share(left))
        });
        claimed.map_or(SMALLEST, share)
    }
}

/// A portion; to be kept until the client has taken its bytes.
pub(super) struct Portion<'a> {
    portions: &'a Portions,
    /// How many bytes it may have.
    pub(super) bytes: usize,
}

impl Portion<'_> {
    /// A buffer to read it into, which may have more room than that; to be kept until its bytes are encrypted.
    pub(super) fn buffer(&self) -> Lent<'_> {
        if self.bytes > SMALLEST { self.portions.large.lend() } else { self.portions.small.lend() }
    }
}

impl Drop for Portion<'_> {
    fn drop(&mut self) {
        if self.bytes > SMALLEST {
            self.portions.left.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_quick_client_gets_more_than_the_smallest_portion() {
        let portions = Portions::new();
        let table = [
            ("at first", 0, 0, Duration::MAX, SMALLEST),
            ("not known yet", JUDGED_AFTER - 1, SMALLEST, Duration::ZERO, SMALLEST),
            ("at once", JUDGED_AFTER, RECORD, Duration::ZERO, LARGEST),
            ("4 MB a second", JUDGED_AFTER, 40_000, Duration::from_millis(10), LARGEST),
            ("a little less", JUDGED_AFTER, 40_000, Duration::from_micros(10_001), SMALLEST),
            ("stalled", u64::MAX, LARGEST, Duration::from_secs(29), SMALLEST),
        ];
        for (what, sent, taken, time, bytes) in table {
            assert_eq!(portions.next(sent, taken, time).bytes, bytes, "{what}");
        }
    }

    #[test]
    fn quick_clients_share_a_budget_and_give_it_back() {
        let portions = Portions::new();
        let quick = || portions.next(JUDGED_AFTER, 1, Duration::ZERO);
        let held: Vec<_> = (0..100).map(|_| quick()).collect();
        assert!(held.iter().all(|portion| portion.bytes % RECORD == 0 && portion.bytes <= portion.buffer().len()));
        assert!(held.is_sorted_by_key(|portion| std::cmp::Reverse(portion.bytes)));
        assert_eq!(held[0].bytes, LARGEST);
        assert_eq!(held[99].bytes, SMALLEST);
        let shared: usize = held.iter().map(|portion| portion.bytes).filter(|bytes| *bytes > SMALLEST).sum();
        assert!(shared <= BUDGET, "{shared}");
        drop(held);
        assert_eq!(quick().bytes, LARGEST);
    }
}
