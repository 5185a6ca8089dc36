//! A pool of read buffers for recordings.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use crate::ops::sync::lock;

/// Idle buffers of one size.
///
/// A download needs one only while it reads and encrypts. While its client receives, which is most
/// of the time for a slow one, other downloads can use it.
#[derive(Debug)]
pub(super) struct BufferPool {
    size: usize,
    max_idle: usize,
    idle: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// A pool of buffers of `size` bytes that keeps up to `max_idle` idle ones.
    pub(super) fn new(size: usize, max_idle: usize) -> BufferPool {
        BufferPool {
            size,
            max_idle,
            idle: Mutex::default(),
        }
    }

    /// Borrows a buffer.
    pub(super) fn checkout(&self) -> Pooled<'_> {
        let idle = lock(&self.idle).pop();
        Pooled {
            buffers: self,
            buffer: idle.unwrap_or_else(|| vec![0; self.size]),
        }
    }
}

/// A borrowed buffer, returned on drop.
pub(super) struct Pooled<'a> {
    buffers: &'a BufferPool,
    buffer: Vec<u8>,
}

impl Deref for Pooled<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl DerefMut for Pooled<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Drop for Pooled<'_> {
    fn drop(&mut self) {
        let mut idle = lock(&self.buffers.idle);
        if idle.len() < self.buffers.max_idle {
            idle.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_only_so_many_are_kept() {
        let buffers = BufferPool::new(100, 3);
        let mut lent = buffers.checkout();
        assert_eq!(lent.len(), 100);
        lent[99] = 7;
        drop(lent);
        assert_eq!(
            buffers.checkout()[99],
            7,
            "a returned buffer must be used again"
        );
        drop((0..7).map(|_| buffers.checkout()).collect::<Vec<_>>());
        assert_eq!(lock(&buffers.idle).len(), 3);
    }
}
