//! What workers and clients' threads have in common.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::directory::PrivateDirectory;
use super::exchange::Exchanges;
use super::line::Lines;
use crate::api::Gateway;
use crate::ops::latch::lock;

/// One inner server with everything around it.
pub(super) struct Shared {
    pub(super) gateway: Arc<Gateway>,
    pub(super) exchanges: Exchanges,
    pub(super) lines: Lines,
    pub(super) directory: PrivateDirectory,
    pub(super) workers: usize,
    pub(super) current: Mutex<Current>,
}

/// The inner server of now. A new generation replaces one whose socket was lost.
pub(super) struct Current {
    pub(super) generation: u64,
    pub(super) path: PathBuf,
    pub(super) server: Option<Arc<tiny_http::Server>>,
}

impl Shared {
    /// Whether `generation` is the one of now. Not to be called while the current one is locked.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        lock(&self.current).generation == generation
    }

    /// Lets the workers of an earlier server go, once they have answered what has reached them.
    pub(super) fn retire(&self, server: Option<Arc<tiny_http::Server>>) {
        if let Some(server) = server {
            // Each call wakes one worker.
            (0..self.workers).for_each(|_| server.unblock());
        }
    }
}
