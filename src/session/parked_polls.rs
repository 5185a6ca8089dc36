//! The polls of a session that are waiting for an event.

/// Wakes a parked poll.
///
/// The table calls [`wake`](Self::wake) and drops wakers outside its lock, on the thread that
/// brings the event.
pub(crate) trait Wake: Send {
    /// Answers the poll with the current [`poll_outcome`](super::SessionTable::poll_outcome). Does
    /// nothing if it has been answered.
    fn wake(self: Box<Self>);

    /// Whether the poll is still waiting: false once its client has left or it has timed out.
    /// Called under the table's lock, so it must neither block nor call the table.
    fn is_live(&self) -> bool;
}

/// Parked polls per session. A browser has one per window, and clients that vanish silently are
/// noticed late.
const PARKED_MAX: usize = 8;

/// The parked polls of one session, the oldest first.
#[derive(Default)]
pub(super) struct ParkedPolls {
    wakers: Vec<Box<dyn Wake>>,
}

impl ParkedPolls {
    /// Parks a poll. Polls that no longer wait are moved to `woken`, as is the oldest beyond
    /// [`PARKED_MAX`].
    pub(super) fn park(&mut self, waker: Box<dyn Wake>, woken: &mut Vec<Box<dyn Wake>>) {
        woken.extend(self.wakers.extract_if(.., |waker| !waker.is_live()));
        if self.wakers.len() >= PARKED_MAX {
            woken.push(self.wakers.remove(0));
        }
        // Exactly one more: ten thousand sessions keep what is reserved here, and most have one
        // poll.
        self.wakers.reserve_exact(1);
        self.wakers.push(waker);
    }

    /// Takes the newest poll that still waits; clients of older ones may have lost their
    /// connection.
    pub(super) fn take_newest(&mut self, woken: &mut Vec<Box<dyn Wake>>) {
        while let Some(waker) = self.wakers.pop() {
            let is_live = waker.is_live();
            woken.push(waker);
            if is_live {
                return;
            }
        }
    }

    pub(super) fn take_all(&mut self, woken: &mut Vec<Box<dyn Wake>>) {
        woken.append(&mut self.wakers);
    }
}
