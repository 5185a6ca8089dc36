//! What workers and clients' threads have in common.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::directory::PrivateDirectory;
use super::exchange::Exchanges;
use super::inner::Inner;
use super::line::Lines;
use crate::api::Gateway;
use crate::ops::latch::lock;
use crate::ops::seldom::Seldom;

/// The inner server with everything around it.
pub(super) struct Shared {
    pub(super) gateway: Arc<Gateway>,
    pub(super) exchanges: Exchanges,
    pub(super) lines: Lines,
    pub(super) directory: PrivateDirectory,
    pub(super) workers: usize,
    pub(super) current: Mutex<Current>,
    lost_lines: Mutex<Seldom>,
}

/// The inner server of now. A new generation replaces one whose socket was lost.
#[derive(Default)]
pub(super) struct Current {
    /// The number of the latest one, whether or not it could be started.
    pub(super) generation: u64,
    pub(super) inner: Option<Arc<Inner>>,
    /// When the last attempt to connect a line failed, until one succeeds.
    pub(super) failed: Option<Instant>,
    pub(super) complaint: Seldom,
}

impl Shared {
    /// Nothing started yet.
    pub(super) fn new(gateway: Arc<Gateway>, directory: PrivateDirectory, workers: usize) -> Shared {
        Shared {
            gateway,
            exchanges: Exchanges::new(workers),
            lines: Lines::new(workers),
            directory,
            workers,
            current: Mutex::default(),
            lost_lines: Mutex::default(),
        }
    }

    /// Tells of a line that broke.
    pub(super) fn line_lost(&self, error: &io::Error) {
        lock(&self.lost_lines).warn(&format!("an inner connection was lost: {error}"));
    }
}
