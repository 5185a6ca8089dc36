//! The threads clients are served by, each of them one client at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::ops::latch::{left, lock};

/// A client's thread: deep enough for a TLS handshake with room to spare, and small enough for a thousand.
const STACK: usize = 256 * 1024;
/// Threads kept for the next client. To start and to end one costs a quarter of a handshake, and clients who
/// come for one request come one after the other.
const KEPT: usize = 16;
/// How long one is kept without a client.
const IDLE: Duration = Duration::from_secs(2);

/// As many threads as there are clients, and a few who wait for the next.
pub(super) struct Threads<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    serve: Box<dyn Fn(T) + Send + Sync>,
    state: Mutex<State<T>>,
    bell: Condvar,
}

struct State<T> {
    /// Clients for whom an idle thread has been woken.
    waiting: VecDeque<T>,
    idle: usize,
    closed: bool,
}

impl<T: Send + 'static> Threads<T> {
    /// No thread yet; each will have `serve` called for its clients.
    pub(super) fn new(serve: impl Fn(T) + Send + Sync + 'static) -> Threads<T> {
        let state = State { waiting: VecDeque::new(), idle: 0, closed: false };
        Threads { shared: Arc::new(Shared { serve: Box::new(serve), state: Mutex::new(state), bell: Condvar::new() }) }
    }

    /// Has a client served by a thread of its own, for as long as that takes.
    ///
    /// # Errors
    /// When there is no idle thread and none can be started; the client is dropped.
    pub(super) fn serve(&self, client: T) -> io::Result<()> {
        let mut state = lock(&self.shared.state);
        if state.idle > state.waiting.len() {
            state.waiting.push_back(client);
            drop(state);
            self.shared.bell.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut client = Some(client);
            while let Some(served) = client {
                (shared.serve)(served);
                client = shared.next();
            }
        };
        thread::Builder::new().name("client".to_owned()).stack_size(STACK).spawn(work).map(drop)
    }
}

impl<T> Shared<T> {
    /// The next client for a thread that has none, or `None` if it is to end.
    fn next(&self) -> Option<T> {
        let deadline = Instant::now() + IDLE;
        let mut state = lock(&self.state);
        if state.closed || state.idle >= KEPT {
            return None;
        }
        state.idle += 1;
        loop {
            // A client who waits was promised an idle thread, and has it even at the end of its time.
            let Some(left) = left(deadline).filter(|_| state.waiting.is_empty() && !state.closed) else {
                state.idle -= 1;
                return state.waiting.pop_front();
            };
            state = self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Drop for Threads<T> {
    /// Lets the idle threads go; the others end with their clients.
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::ThreadId;

    /// A client that is served until its sender is dropped, and tells by whom.
    type Client = (Receiver<()>, Sender<ThreadId>);

    fn threads() -> Threads<Client> {
        Threads::new(|(until, who): Client| {
            who.send(thread::current().id()).unwrap();
            let _ = until.recv();
        })
    }

    fn client() -> (Client, Sender<()>, Receiver<ThreadId>) {
        let (end, until) = channel();
        let (tell, told) = channel();
        ((until, tell), end, told)
    }

    fn wait_for_idle(threads: &Threads<Client>, count: usize) {
        while lock(&threads.shared.state).idle != count {
            thread::yield_now();
        }
    }

    #[test]
    fn clients_at_the_same_time_have_threads_of_their_own() {
        let threads = threads();
        let (clients, rest): (Vec<_>, Vec<_>) =
            (0..40).map(|_| client()).map(|(client, end, told)| (client, (end, told))).unzip();
        clients.into_iter().for_each(|client| threads.serve(client).unwrap());
        let serving: HashSet<_> = rest.iter().map(|(_, told)| told.recv().unwrap()).collect();
        assert_eq!(serving.len(), 40);
        drop(rest);
        wait_for_idle(&threads, KEPT);
    }

    #[test]
    fn the_next_client_has_the_thread_of_the_last_one() {
        let threads = threads();
        let mut serving = HashSet::new();
        for _ in 0..10 {
            let (client, end, told) = client();
            threads.serve(client).unwrap();
            serving.insert(told.recv().unwrap());
            drop(end);
            wait_for_idle(&threads, 1);
        }
        assert_eq!(serving.len(), 1);
    }

    #[test]
    fn idle_threads_go_when_nobody_needs_them_any_more() {
        let threads = threads();
        let (client, end, told) = client();
        threads.serve(client).unwrap();
        told.recv().unwrap();
        drop(end);
        wait_for_idle(&threads, 1);
        let shared = Arc::clone(&threads.shared);
        drop(threads);
        while Arc::strong_count(&shared) > 1 {
            thread::yield_now();
        }
        assert_eq!(lock(&shared.state).idle, 0);
    }
}
