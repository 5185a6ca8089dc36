//! The handle of an I/O thread: how workers and download threads return connections to it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::time::Instant;

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::connection::Connection;
use crate::api::SlotId;
use crate::ops::sync::lock;

/// Identifies a connection within its I/O thread; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Index in the thread's table.
    pub(super) index: u32,
    /// Counts the connections that have used the index.
    pub(super) generation: u32,
}

/// The epoll token of the eventfd. Tokens from here downwards are not keys; no table has that many
/// entries.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;
/// The epoll token of the connection to the backend.
pub(super) const BACKEND_TOKEN: u64 = u64::MAX - 1;
/// The epoll token of the first listener; the others count downwards from here.
pub(super) const FIRST_LISTENER_TOKEN: u64 = u64::MAX - 2;

impl Key {
    /// The epoll token of the connection.
    pub(super) fn token(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.generation)
    }

    /// The inverse of [`Key::token`].
    pub(super) fn from_token(token: u64) -> Key {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Key {
            index: half(token >> 32),
            generation: half(token),
        }
    }
}

/// A message to an I/O thread.
pub(super) enum Message {
    /// A connection returns. Its socket is armed already.
    Returned(Box<Connection>),
    /// A connection's request is deferred in this slot, until this time.
    Parked(Key, SlotId, Instant),
    /// A connection is closed.
    Closed(Key),
    /// A new client, and the number of other threads that had no room for it.
    Accepted(TcpStream, SocketAddr, usize),
}

/// The part of an I/O thread that other threads use.
pub(super) struct IoHandle {
    epoll: OwnedFd,
    wake: OwnedFd,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    messages: Vec<Message>,
    /// The time until which the thread may sleep; `None` while it works.
    sleeping_until: Option<Instant>,
}

impl IoHandle {
    /// A handle for a thread yet to be started.
    ///
    /// # Errors
    /// When out of descriptors.
    pub(super) fn new() -> io::Result<IoHandle> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &wake,
            epoll::EventData::new_u64(WAKE_TOKEN),
            epoll::EventFlags::IN,
        )?;
        Ok(IoHandle {
            epoll,
            wake,
            inbox: Mutex::default(),
        })
    }

    /// The set of descriptors the thread waits for.
    pub(super) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    /// Waits for `interest` on a connection's socket, once.
    ///
    /// # Errors
    /// When the kernel is out of memory.
    pub(super) fn arm(
        &self,
        socket: impl AsFd,
        key: Key,
        interest: epoll::EventFlags,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key.token());
        Ok(epoll::modify(
            &self.epoll,
            socket,
            data,
            interest | epoll::EventFlags::ONESHOT,
        )?)
    }

    /// Returns a connection to the thread.
    pub(super) fn return_connection(&self, connection: Box<Connection>) {
        let mut inbox = lock(&self.inbox);
        // Armed with the inbox locked, so that the thread finds the connection there when the event
        // wakes it.
        let armed = self
            .arm(
                &connection.tls,
                connection.key,
                connection.interest_on_return(),
            )
            .is_ok();
        let deadline = connection.deadline;
        inbox.messages.push(Message::Returned(connection));
        self.wake_before(inbox, if armed { deadline } else { Instant::now() });
    }

    /// Parks a connection whose request is deferred in `slot` until `until`, and watches for the
    /// client leaving.
    pub(super) fn park(&self, socket: impl AsFd, key: Key, slot: SlotId, until: Instant) {
        let mut inbox = lock(&self.inbox);
        let armed = self.arm(socket, key, epoll::EventFlags::RDHUP);
        if let Err(error) = armed {
            log::debug!("cannot watch a parked client: {error}");
        }
        inbox.messages.push(Message::Parked(key, slot, until));
        self.wake_before(inbox, until);
    }

    /// Reports that a connection is closed.
    pub(super) fn notify_closed(&self, key: Key) {
        lock(&self.inbox).messages.push(Message::Closed(key));
    }

    /// Passes on a client for which `declined` other threads had no room.
    pub(super) fn hand_over(&self, socket: TcpStream, peer: SocketAddr, declined: usize) {
        lock(&self.inbox)
            .messages
            .push(Message::Accepted(socket, peer, declined));
        self.wake();
    }

    /// Wakes the thread.
    pub(super) fn wake(&self) {
        // Fails only if the counter is full, in which case the thread wakes anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Takes the pending messages. `sleeping_until` is how long the thread will sleep if there are
    /// none.
    pub(super) fn take_messages(&self, sleeping_until: Option<Instant>) -> Vec<Message> {
        let mut inbox = lock(&self.inbox);
        inbox.sleeping_until = sleeping_until.filter(|_| inbox.messages.is_empty());
        std::mem::take(&mut inbox.messages)
    }

    /// Resets the eventfd.
    pub(super) fn acknowledge_wake(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// Wakes the thread if it would sleep beyond `deadline`.
    fn wake_before(&self, mut inbox: std::sync::MutexGuard<'_, Inbox>, deadline: Instant) {
        let wake = inbox.sleeping_until.is_some_and(|until| deadline < until);
        if wake {
            inbox.sleeping_until = None;
        }
        drop(inbox);
        if wake {
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_kernel() {
        for key in [
            Key {
                index: 0,
                generation: 0,
            },
            Key {
                index: 7,
                generation: u32::MAX,
            },
        ] {
            assert_eq!(Key::from_token(key.token()), key);
        }
    }
}
