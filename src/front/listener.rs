//! Listening: addresses, the accept loop and what it makes of errors.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::clients::{Client, Full};
use super::connection;
use super::shared::Front;
use super::threads::Threads;
use crate::ops::notify::ServiceManager;
use crate::ops::seldom::Seldom;

/// Most clients taken from one listener before the others have their turn.
const TURN: usize = 64;
/// How long to wait for descriptors or memory to come back.
const PAUSE: Duration = Duration::from_millis(200);

/// What the loop may have to say, each kind for itself, so that one never hides another.
#[derive(Default)]
struct Complaints {
    waiting: Seldom,
    accepting: Seldom,
    threads: Seldom,
    full: Seldom,
    full_address: Seldom,
}

/// Accepts clients until something can be read from `stop`. Feeds the watchdog, so that a service whose
/// loop is stuck is started anew.
pub(super) fn accept_clients(front: &Arc<Front>, listeners: &[TcpListener], stop: impl AsFd, manager: &ServiceManager) {
    let mut complaints = Complaints::default();
    let serving = Arc::clone(front);
    let threads = Threads::new(move |client: Client| {
        let _connected = serving.counters().connected.hold();
        connection::serve(&serving, &client);
    });
    let interval = manager.watchdog_interval();
    // A client that comes just before the interval is over must not put the feeding off by another one.
    let timeout = interval.and_then(|interval| Timespec::try_from(interval / 2).ok());
    let mut fed: Option<Instant> = None;
    loop {
        let mut ready: Vec<_> = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
        ready.push(PollFd::new(&stop, PollFlags::IN));
        match poll(&mut ready, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => complaints.waiting.error(&format!("waiting for clients failed: {error}")),
        }
        if ready.last().is_some_and(|stop| !stop.revents().is_empty()) {
            return;
        }
        // Not once for each client: the manager has other things to do.
        if interval.is_some_and(|interval| fed.is_none_or(|fed| fed.elapsed() >= interval)) {
            manager.alive();
            fed = Some(Instant::now());
        }
        for listener in listeners {
            if let Err(error) = accept_turn(front, &threads, listener, &mut complaints) {
                front.counters().accept_errors.add(1);
                complaints
                    .accepting
                    .error(&format!("clients cannot be accepted: {error}; raise LimitNOFILE or lower MAX_CONNECTIONS"));
                // The client stays in the backlog, so poll would return at once; a stop still ends the wait.
                let pause = Timespec::try_from(PAUSE).ok();
                let _ = poll(&mut [PollFd::new(&stop, PollFlags::IN)], pause.as_ref());
            }
        }
    }
}

/// Accepts who is waiting. An error is one of the whole process; errors of a single client are passed over.
fn accept_turn(
    front: &Front,
    threads: &Threads<Client>,
    listener: &TcpListener,
    complaints: &mut Complaints,
) -> io::Result<()> {
    for _ in 0..TURN {
        match listener.accept() {
            Ok((socket, peer)) => admit(front, threads, socket, peer, complaints),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::INTR) => return Ok(()),
                // accept(2): errors already pending on the new connection are reported by accept itself.
                Some(
                    Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NOPROTOOPT
                    | Errno::HOSTDOWN
                    | Errno::NONET
                    | Errno::HOSTUNREACH
                    | Errno::OPNOTSUPP
                    | Errno::NETUNREACH
                    | Errno::PERM,
                ) => front.counters().accept_errors.add(1),
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

fn admit(front: &Front, threads: &Threads<Client>, socket: TcpStream, peer: SocketAddr, complaints: &mut Complaints) {
    let client = match front.clients.admit(socket, peer) {
        Ok(client) => client,
        Err(full) => {
            front.counters().connections_refused.add(1);
            return match full {
                Full::Clients => complaints.full.warn("clients are turned away: MAX_CONNECTIONS is reached"),
                Full::Address => complaints
                    .full_address
                    .warn("clients are turned away: MAX_CONNECTIONS_PER_ADDRESS is reached by an address"),
            };
        }
    };
    front.counters().connections.add(1);
    if let Err(error) = threads.serve(client) {
        front.counters().thread_errors.add(1);
        complaints
            .threads
            .error(&format!("no thread can be started for a client: {error}; raise TasksMax or lower MAX_CONNECTIONS"));
    }
}
