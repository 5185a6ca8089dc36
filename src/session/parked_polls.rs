//! The polls of a session that wait for an event.

/// Wakes a parked poll.
///
/// The table calls [`wake`](Self::wake) and drops a waker outside its lock, on whichever thread
/// brings the event.
pub(crate) trait Wake: Send {
    /// Has the poll answered, by what [`poll_outcome`](super::SessionTable::poll_outcome) then
    /// says. Does nothing where the poll is answered already.
    fn wake(self: Box<Self>);

    /// Whether the poll still waits: false once its client has left or its time is up. Called under
    /// the lock of the table, so it must neither wait nor call the table.
    fn is_live(&self) -> bool;
}

/// Polls of one session that may be parked at once. A browser has one for each window; a client
/// that leaves without a word is noticed late.
const PARKED_MAX: usize = 8;

/// The parked polls of one session, the oldest first.
#[derive(Default)]
pub(super) struct ParkedPolls {
    wakers: Vec<Box<dyn Wake>>,
}

impl ParkedPolls {
    /// Parks a poll. Those that no longer wait go to `woken`, as does the oldest beyond
    /// [`PARKED_MAX`].
    pub(super) fn park(&mut self, waker: Box<dyn Wake>, woken: &mut Vec<Box<dyn Wake>>) {
        woken.extend(self.wakers.extract_if(.., |waker| !waker.is_live()));
        if self.wakers.len() >= PARKED_MAX {
            woken.push(self.wakers.remove(0));
        }
        // Ten thousand sessions keep what is reserved here, and most have one poll.
        self.wakers.reserve_exact(1);
        self.wakers.push(waker);
    }

    /// Takes the newest poll that still waits: the client of an older one may have lost its
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

    /// Takes all of them.
    pub(super) fn take_all(&mut self, woken: &mut Vec<Box<dyn Wake>>) {
        woken.append(&mut self.wakers);
    }
}
