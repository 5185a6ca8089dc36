//! Checks passwords, two at a time, on low-priority threads.

use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::{io, thread};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use zeroize::Zeroizing;

use super::fair_queue::FairQueue;
use super::password::{Credential, DEFAULT_ITERATIONS, PasswordHash};
use crate::ops::client_prefix::client_prefix;
use crate::ops::sync::lock;

const THREADS: usize = 2;
/// Nice value of the threads: under load, polls and downloads get about nine times their CPU share.
const NICE: i32 = 10;
/// Queued checks; at the default cost the last one waits about 5 s. About 100 KB when full.
const QUEUE_MAX: usize = 256;

/// Two threads that check passwords, and their queue.
///
/// A sign-in storm or a flood of guesses takes at most two low-priority threads' share of the CPU,
/// and no worker. The queue is served round-robin by client prefix, so a client waits for its own
/// checks and for one of each other prefix, however many those have queued. A middle tier that
/// signs in all its agents at once may fill the queue while nobody else needs it; when it is full,
/// the prefix with the most checks loses its newest one to a prefix with at least two fewer.
///
/// Once the `PasswordVerifier` is dropped, the threads finish the queue and end.
#[derive(Debug)]
pub(crate) struct PasswordVerifier {
    state: Arc<VerifierState>,
}

/// The queue is full: answer 503 and ask the client to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// Verifies a password at the cost of at least so many iterations. Replaced in tests, which need
/// not wait for the real one.
type Verify = fn(&PasswordHash, &str, u32) -> bool;

#[derive(Debug)]
struct VerifierState {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Minimum cost of a check.
    iterations: AtomicU32,
}

#[derive(Debug)]
struct Queue {
    jobs: FairQueue<IpAddr, Job>,
    is_closed: bool,
}

struct Job {
    hash: PasswordHash,
    password: Zeroizing<String>,
    is_wanted: Box<dyn Fn() -> bool + Send>,
    done: Box<dyn FnOnce(bool) + Send>,
}

impl PasswordVerifier {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start() -> io::Result<PasswordVerifier> {
        PasswordVerifier::with(PasswordHash::verify_padded)
    }

    /// Makes every check cost at least `iterations`, the usual count in the agents file. This
    /// includes checks of unknown agents, of agents without a password and of passwords with fewer
    /// iterations, so that timing does not tell them apart. Initially [`DEFAULT_ITERATIONS`].
    ///
    /// A password with more iterations than usual takes longer and can be told apart. Padding to
    /// the maximum would let one line of the agents file slow down every sign-in.
    pub(crate) fn set_dummy_cost(&self, iterations: u32) {
        self.state.iterations.store(iterations, Ordering::Relaxed);
    }

    /// Queues a check of `password` against `credential`, or `None` for an unknown agent, for a
    /// client with that address or prefix.
    ///
    /// `done` is called once, on a verifier thread, with whether the agent may sign in. It is
    /// dropped uncalled if `is_wanted` returns false when the check's turn comes, or if the check
    /// is evicted. For an agent with the empty password `done(true)` is called immediately on this
    /// thread.
    ///
    /// # Errors
    /// If the queue is full and no other prefix has a longer line; `done` is dropped.
    pub(crate) fn submit(
        &self,
        prefix: IpAddr,
        credential: Option<Credential>,
        password: Zeroizing<String>,
        is_wanted: impl Fn() -> bool + Send + 'static,
        done: impl FnOnce(bool) + Send + 'static,
    ) -> Result<(), QueueFull> {
        let hash = match credential {
            Some(Credential::Hash(hash)) => hash,
            Some(Credential::EmptyOnly) if password.is_empty() => {
                done(true);
                return Ok(());
            }
            Some(Credential::EmptyOnly) | None => {
                PasswordHash::dummy(self.state.iterations.load(Ordering::Relaxed))
            }
        };
        let job = Job {
            hash,
            password,
            is_wanted: Box::new(is_wanted),
            done: Box::new(done),
        };
        // Evicted and refused jobs are dropped outside the lock, since their callbacks are foreign
        // code.
        let outcome = lock(&self.state.queue)
            .jobs
            .push(client_prefix(prefix), job);
        match outcome {
            Ok(_evicted) => {
                self.state.changed.notify_one();
                Ok(())
            }
            Err(_refused) => Err(QueueFull),
        }
    }

    fn with(verify: Verify) -> io::Result<PasswordVerifier> {
        let queue = Queue {
            jobs: FairQueue::new(QUEUE_MAX),
            is_closed: false,
        };
        let state = Arc::new(VerifierState {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            iterations: AtomicU32::new(DEFAULT_ITERATIONS),
        });
        let verifier = PasswordVerifier { state };
        for _ in 0..THREADS {
            let state = Arc::clone(&verifier.state);
            thread::Builder::new()
                .name("password-check".to_owned())
                .spawn(move || worker_loop(&state, verify))?;
        }
        Ok(verifier)
    }
}

impl Drop for PasswordVerifier {
    fn drop(&mut self) {
        lock(&self.state.queue).is_closed = true;
        self.state.changed.notify_all();
    }
}

impl VerifierState {
    /// The next check; `None` once the verifier is dropped and the queue empty.
    fn next(&self) -> Option<Job> {
        self.changed
            .wait_while(lock(&self.queue), |queue| {
                queue.jobs.is_empty() && !queue.is_closed
            })
            .unwrap_or_else(PoisonError::into_inner)
            .jobs
            .pop()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job(secret)")
    }
}

fn worker_loop(state: &VerifierState, verify: Verify) {
    // On Linux the nice value is per thread (sched(7)). If a sandbox forbids changing it, checks
    // just run at normal priority.
    let _ = setpriority_process(Some(gettid()), NICE);
    while let Some(Job {
        hash,
        password,
        is_wanted,
        done,
    }) = state.next()
    {
        // A panic in a callback must not end the thread, which is never restarted.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if !is_wanted() {
                return;
            }
            let iterations = state.iterations.load(Ordering::Relaxed);
            let checked = catch_unwind(AssertUnwindSafe(|| verify(&hash, &password, iterations)));
            done(checked.unwrap_or(false));
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::time::Duration;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn password(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    fn hashed() -> Option<Credential> {
        Some(Credential::Hash(PasswordHash::dummy(1_000)))
    }

    fn submit(
        verifier: &PasswordVerifier,
        from: IpAddr,
        credential: Option<Credential>,
        text: &str,
    ) -> Result<Receiver<bool>, QueueFull> {
        let (tell, told) = channel();
        verifier.submit(
            from,
            credential,
            password(text),
            || true,
            move |right| tell.send(right).unwrap_or(()),
        )?;
        Ok(told)
    }

    /// The result of a check; `None` if its callback was dropped.
    fn outcome(told: &Receiver<bool>) -> Option<bool> {
        match told.recv_timeout(Duration::from_secs(60)) {
            Ok(right) => Some(right),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no outcome"),
        }
    }

    #[test]
    fn the_right_password_and_no_other_is_right() {
        let verifier = PasswordVerifier::start().unwrap();
        verifier.set_dummy_cost(1_000);
        // From Python's hashlib.pbkdf2_hmac.
        let hash = "pbkdf2-sha256$1000$00112233445566778899aabbccddeeff$\
                    dbf4dafdb4218fa3b899443e28ee77785e670aa8291422bb0d4edb0f624628ba";
        let hash = Some(Credential::Hash(PasswordHash::parse(hash).unwrap()));
        for (credential, text, right) in [
            (hash.clone(), "swordfish", true),
            (hash.clone(), "sword", false),
            (hash, "", false),
            (Some(Credential::EmptyOnly), "", true),
            (Some(Credential::EmptyOnly), "swordfish", false),
            (None, "", false),
            (None, "swordfish", false),
        ] {
            let told = submit(&verifier, HERE, credential.clone(), text).unwrap();
            assert_eq!(outcome(&told), Some(right), "{credential:?} {text:?}");
        }
    }

    #[test]
    fn every_check_costs_at_least_what_most_cost() {
        let verifier =
            PasswordVerifier::with(|hash, _, least| hash.iterations().max(least) == 7_777).unwrap();
        verifier.set_dummy_cost(7_777);
        let dearer = Some(Credential::Hash(PasswordHash::dummy(7_778)));
        for (credential, same) in [
            (None, true),
            (Some(Credential::EmptyOnly), true),
            (hashed(), true),
            (dearer, false),
        ] {
            let told = submit(&verifier, HERE, credential.clone(), "x").unwrap();
            assert_eq!(outcome(&told), Some(same), "{credential:?}");
        }
    }

    #[test]
    fn a_panic_is_a_wrong_password_and_takes_no_thread_away() {
        let verifier = PasswordVerifier::with(|_, text, _| {
            if text == "panic" {
                panic!("expected by the test")
            } else {
                true
            }
        })
        .unwrap();
        for _ in 0..3 * THREADS {
            assert_eq!(
                outcome(&submit(&verifier, HERE, hashed(), "panic").unwrap()),
                Some(false)
            );
            let panics = |_| panic!("expected by the test");
            verifier
                .submit(HERE, hashed(), password("x"), || true, panics)
                .unwrap();
        }
        assert_eq!(
            outcome(&submit(&verifier, HERE, hashed(), "x").unwrap()),
            Some(true)
        );
    }

    static GATE: Mutex<()> = Mutex::new(());
    static CHECKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    #[test]
    fn clients_of_a_full_queue_are_served_in_turn_and_what_nobody_waits_for_is_skipped() {
        let verifier = PasswordVerifier::with(|_, text, _| {
            lock(&CHECKED).push(text.to_owned());
            drop(lock(&GATE));
            true
        })
        .unwrap();
        let closed = lock(&GATE);
        let busy: Vec<_> = (0..THREADS)
            .map(|_| submit(&verifier, HERE, hashed(), "busy").unwrap())
            .collect();
        while lock(&CHECKED).len() < THREADS {
            thread::yield_now();
        }
        let given_up = Arc::new(AtomicBool::new(false));
        let mut guesses = Vec::new();
        for guess in 0..QUEUE_MAX {
            let (tell, told) = channel();
            let given_up = Arc::clone(&given_up);
            let is_wanted = move || guess == 0 || !given_up.load(Ordering::SeqCst);
            let done = move |right| tell.send(right).unwrap_or(());
            verifier
                .submit(
                    HERE,
                    hashed(),
                    password(&format!("guess {guess}")),
                    is_wanted,
                    done,
                )
                .unwrap();
            guesses.push(told);
        }
        assert_eq!(
            submit(&verifier, HERE, hashed(), "one more").unwrap_err(),
            QueueFull
        );
        let empty = submit(&verifier, HERE, Some(Credential::EmptyOnly), "").unwrap();
        assert_eq!(
            outcome(&empty),
            Some(true),
            "a check without a hash needs no place in the queue"
        );
        let other = submit(&verifier, ELSEWHERE, hashed(), "other").unwrap();
        assert_eq!(
            outcome(&guesses[QUEUE_MAX - 1]),
            None,
            "the newest guess must be dropped to make room"
        );
        given_up.store(true, Ordering::SeqCst);
        drop(closed);
        assert!(busy.iter().all(|told| outcome(told) == Some(true)));
        assert_eq!(outcome(&other), Some(true));
        assert!(guesses[1..].iter().all(|told| outcome(told).is_none()));
        // Two threads check "guess 0" and "other" at the same time, in either order.
        let mut checked = lock(&CHECKED).split_off(THREADS);
        checked.sort_unstable();
        assert_eq!(checked, ["guess 0", "other"]);
    }

    #[test]
    fn what_is_queued_is_finished_when_the_verifier_goes() {
        let verifier = PasswordVerifier::with(|_, _, _| true).unwrap();
        let told: Vec<_> = (0..20)
            .map(|_| submit(&verifier, HERE, hashed(), "x").unwrap())
            .collect();
        drop(verifier);
        assert!(told.iter().all(|told| outcome(told) == Some(true)));
    }

    #[test]
    fn a_check_shows_no_password_in_logs() {
        let job = Job {
            hash: PasswordHash::dummy(1000),
            password: Zeroizing::new("swordfish".to_owned()),
            is_wanted: Box::new(|| true),
            done: Box::new(|_| ()),
        };
        assert_eq!(format!("{job:?}"), "Job(secret)");
    }
}
