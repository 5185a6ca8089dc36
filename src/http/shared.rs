//! What workers and clients' threads have in common.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::canonical;
use super::directory::PrivateDirectory;
use super::exchange::{Exchanges, Id, Outcome, Step};
use super::inner::Inner;
use super::line::{Line, Lines};
use crate::api::Gateway;
use crate::ops::latch::{left, lock};
use crate::ops::seldom::Seldom;

/// No worker ever waits for a file server, a password check or a client, so an outcome that takes this long
/// is lost.
const OUTCOME_WITHIN: Duration = Duration::from_secs(10);

/// How often a thread that waits for an outcome looks whether its line is still good. Nearly all outcomes come sooner.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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

    /// Connects a line to an inner server and waits until tiny_http has taken it up. To be called for one line after
    /// the other.
    ///
    /// tiny_http counts a thread as idle until it wakes: connections that come faster than its threads wake
    /// are all given to the same few, and the others are never read. So each is greeted before the next one.
    pub(super) fn join(&self, line: &mut Line, inner: &Inner) -> io::Result<()> {
        line.connect(inner.generation, &inner.path)?;
        let id = self.exchanges.lay(line.place, Step::Greet);
        canonical::write_bare(id, &mut line.request);
        self.exchange(line, id).map(drop).inspect_err(|_| drop(self.exchanges.give_up(id)))
    }

    /// Sends the line's request, which is that of the exchange `id`, and waits for the outcome. After an error the
    /// line has no connection.
    pub(super) fn exchange(&self, line: &mut Line, id: Id) -> io::Result<Outcome> {
        line.send()?;
        let deadline = Instant::now() + OUTCOME_WITHIN;
        while let Some(left) = left(deadline) {
            if let Some(outcome) = self.exchanges.take_outcome(id, Instant::now() + left.min(LOOK_EVERY)) {
                return Ok(outcome);
            }
            // Once a worker has it, the line does not matter any more.
            if self.exchanges.is_untouched(id) {
                line.look()?;
            }
        }
        line.disconnect();
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Tells of a line that broke, or brought no answer.
    pub(super) fn line_lost(&self, error: &io::Error) {
        lock(&self.lost_lines).warn(&format!("an inner connection was given up: {error}"));
    }
}
