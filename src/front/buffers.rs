//! The fixed buffers videos are read into.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use crate::ops::latch::lock;

/// The most bytes of a video that are read, encrypted and sent at once.
///
/// The larger, the fewer system calls and wake-ups a byte costs: measured in server CPU per GB over TLS 1.3 from
/// the page cache, 128 KiB cost 8 % less than 64, and 256 KiB 14 % less. But what is encrypted and not yet taken
/// stays in memory with each stalled download, of which 200 are to fit into 40 MB. A multiple of the 16 KiB of a
/// TLS record.
const SIZE: usize = 96 * 1024;
/// Buffers kept for the next one who needs one.
const KEPT: usize = 16;

/// Buffers that nobody uses right now.
///
/// A download has one only while it reads and encrypts. While its client takes what was encrypted, which is
/// nearly all of the time of a slow one, another download can have it.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Borrows a buffer.
    pub(super) fn lend(&self) -> Lent<'_> {
        let kept = lock(&self.0).pop();
        Lent { buffers: self, buffer: kept.unwrap_or_else(|| vec![0; SIZE]) }
    }
}

/// A borrowed buffer; it goes back when this is dropped.
pub(super) struct Lent<'a> {
    buffers: &'a Buffers,
    buffer: Vec<u8>,
}

impl Deref for Lent<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut kept = lock(&self.buffers.0);
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_only_so_many_are_kept() {
        let buffers = Buffers::default();
        let mut lent = buffers.lend();
        lent[SIZE - 1] = 7;
        drop(lent);
        assert_eq!(buffers.lend()[SIZE - 1], 7, "the same one again");
        drop((0..2 * KEPT).map(|_| buffers.lend()).collect::<Vec<_>>());
        assert_eq!(lock(&buffers.0).len(), KEPT);
    }
}
