//! Buffers videos are read into, lent for a moment each.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use crate::ops::latch::lock;

/// Buffers of one size that nobody uses right now.
///
/// A download has one only while it reads and encrypts. While its client takes what was encrypted, which is
/// nearly all of the time of a slow one, another download can have it.
#[derive(Debug)]
pub(super) struct Buffers {
    size: usize,
    kept: usize,
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Buffers of `size` bytes each, of which `kept` are kept for the next ones who need one.
    pub(super) fn new(size: usize, kept: usize) -> Buffers {
        Buffers { size, kept, idle: Mutex::default() }
    }

    /// Borrows a buffer.
    pub(super) fn lend(&self) -> Lent<'_> {
        let idle = lock(&self.idle).pop();
        Lent { buffers: self, buffer: idle.unwrap_or_else(|| vec![0; self.size]) }
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
        let mut idle = lock(&self.buffers.idle);
        if idle.len() < self.buffers.kept {
            idle.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_only_so_many_are_kept() {
        let buffers = Buffers::new(100, 3);
        let mut lent = buffers.lend();
        assert_eq!(lent.len(), 100);
        lent[99] = 7;
        drop(lent);
        assert_eq!(buffers.lend()[99], 7, "the same one again");
        drop((0..7).map(|_| buffers.lend()).collect::<Vec<_>>());
        assert_eq!(lock(&buffers.idle).len(), 3);
    }
}
