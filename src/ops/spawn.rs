//! Starts threads.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread with a stack of `stack_bytes`.
///
/// # Errors
/// When the kernel refuses another thread.
pub(crate) fn spawn(
    name: impl Into<String>,
    stack_bytes: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let builder = Builder::new().name(name.into()).stack_size(stack_bytes);
    builder.spawn(work)
}
