//! Password checks, two at once: the only work of this gateway that takes a processor for long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use zeroize::Zeroizing;

use super::password::{Credential, DEFAULT_ITERATIONS, PasswordHash};
use crate::ops::latch::{Parcel, lock};

const THREADS: usize = 2;
/// Checks that wait; at the default cost the last of them waits about five seconds.
const QUEUE: usize = 256;

/// Two threads that check passwords, and the queue before them.
///
/// So a sign-in storm or a flood of guesses takes two threads' share of the processors and no worker. When the
/// `PasswordVerifier` is dropped, the threads finish what is queued and end.
#[derive(Debug)]
pub struct PasswordVerifier {
    queue: SyncSender<Job>,
    /// What a check that cannot succeed costs.
    iterations: AtomicU32,
}

/// Whether a password is the hashed one; a parameter, so that tests need not wait for the real one.
type Verify = fn(&PasswordHash, &str) -> bool;

impl PasswordVerifier {
    /// Starts the threads.
    pub fn start() -> io::Result<PasswordVerifier> {
        PasswordVerifier::with(PasswordHash::verify)
    }

    /// Makes the check of an unknown agent, or of one without a password, cost `iterations`: those of the agents
    /// file, so that time does not tell who is known. [`DEFAULT_ITERATIONS`] until this is called.
    pub fn set_dummy_cost(&self, iterations: u32) {
        self.iterations.store(iterations, Ordering::Relaxed);
    }

    /// Queues the check of `password` against `credential`, `None` standing for an unknown agent.
    ///
    /// The parcel receives whether the agent may sign in; a check whose parcel was dropped is skipped. `None` if
    /// the queue is full. An agent with the empty password needs no queue for it.
    pub fn submit(&self, credential: Option<Credential>, password: Zeroizing<String>) -> Option<Arc<Parcel<bool>>> {
        let outcome = Arc::new(Parcel::default());
        let hash = match credential {
            Some(Credential::Hash(hash)) => hash,
            Some(Credential::EmptyOnly) if password.is_empty() => {
                outcome.deliver(true);
                return Some(outcome);
            }
            Some(Credential::EmptyOnly) | None => PasswordHash::dummy(self.iterations.load(Ordering::Relaxed)),
        };
        let job = Job { hash, password, outcome: Arc::clone(&outcome) };
        self.queue.try_send(job).is_ok().then_some(outcome)
    }

    fn with(verify: Verify) -> io::Result<PasswordVerifier> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..THREADS {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name("password-check".to_owned()).spawn(move || work(&jobs, verify))?;
        }
        Ok(PasswordVerifier { queue, iterations: AtomicU32::new(DEFAULT_ITERATIONS) })
    }
}

#[derive(Debug)]
struct Job {
    hash: PasswordHash,
    password: Zeroizing<String>,
    outcome: Arc<Parcel<bool>>,
}

fn work(jobs: &Mutex<Receiver<Job>>, verify: Verify) {
    // The lock is held while waiting and given up before the check: one thread waits for a job, the other for
    // the lock.
    let next = || lock(jobs).recv();
    while let Ok(job) = next() {
        if Arc::strong_count(&job.outcome) > 1 {
            let checked = catch_unwind(AssertUnwindSafe(|| verify(&job.hash, &job.password)));
            job.outcome.deliver(checked.unwrap_or(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn password(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    fn hashed() -> Option<Credential> {
        Some(Credential::Hash(PasswordHash::dummy(1_000)))
    }

    fn outcome(parcel: &Parcel<bool>) -> bool {
        assert!(parcel.delivered().wait_until(Instant::now() + Duration::from_secs(60)), "no outcome");
        parcel.take().unwrap()
    }

    #[test]
    fn the_right_password_and_no_other_is_right() {
        let checker = PasswordVerifier::start().unwrap();
        checker.set_dummy_cost(1_000);
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
            let parcel = checker.submit(credential.clone(), password(text)).unwrap();
            assert_eq!(outcome(&parcel), right, "{credential:?} {text:?}");
        }
    }

    #[test]
    fn a_check_that_cannot_succeed_costs_what_was_assumed() {
        let checker = PasswordVerifier::with(|hash, _| hash.iterations() == 7_777).unwrap();
        checker.set_dummy_cost(7_777);
        for credential in [None, Some(Credential::EmptyOnly)] {
            assert!(outcome(&checker.submit(credential, password("x")).unwrap()));
        }
        assert!(!outcome(&checker.submit(hashed(), password("x")).unwrap()));
    }

    #[test]
    fn a_panic_is_a_wrong_password_and_takes_no_thread_away() {
        let checker =
            PasswordVerifier::with(|_, text| if text == "panic" { panic!("expected by the test") } else { true })
                .unwrap();
        for _ in 0..3 * THREADS {
            assert!(!outcome(&checker.submit(hashed(), password("panic")).unwrap()));
        }
        assert!(outcome(&checker.submit(hashed(), password("x")).unwrap()));
    }

    #[test]
    fn a_full_queue_refuses_and_abandoned_checks_are_skipped() {
        static CHECKED: AtomicU32 = AtomicU32::new(0);
        static GATE: Mutex<()> = Mutex::new(());
        let checker = PasswordVerifier::with(|_, _| {
            CHECKED.fetch_add(1, Ordering::SeqCst);
            drop(lock(&GATE));
            true
        })
        .unwrap();
        let closed = lock(&GATE);
        let busy: Vec<_> = (0..THREADS).map(|_| checker.submit(hashed(), password("x")).unwrap()).collect();
        while CHECKED.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        let abandoned: Vec<_> = (0..QUEUE).map(|_| checker.submit(hashed(), password("x")).unwrap()).collect();
        assert!(checker.submit(hashed(), password("x")).is_none());
        assert!(checker.submit(Some(Credential::EmptyOnly), password("")).is_some(), "needs no place in the queue");
        drop(abandoned);
        drop(closed);
        assert!(busy.iter().all(|parcel| outcome(parcel)));
        // A place may take a moment to come free.
        let last = loop {
            match checker.submit(hashed(), password("x")) {
                Some(parcel) => break parcel,
                None => thread::yield_now(),
            }
        };
        assert!(outcome(&last));
        assert_eq!(CHECKED.load(Ordering::SeqCst), 3);
    }
}
