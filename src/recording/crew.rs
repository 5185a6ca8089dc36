//! Threads for work that may hang: any system call on a file server can, and cannot be interrupted.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ops::latch::lock;

/// Jobs that may wait for a thread; more are refused at once.
pub(super) const QUEUE: usize = 256;

/// How long a thread without a job lives on.
const IDLE: Duration = Duration::from_secs(10);

/// Enough for a walk or a search, which recurse nowhere and keep their buffers on the heap.
const STACK: usize = 256 * 1024;

/// A piece of work. Dropping it unrun is how it is refused, so what it owns must tell its asker.
pub(super) type Work = Box<dyn FnOnce() + Send>;

/// A bounded set of threads, spawned when there is work for them.
#[derive(Debug)]
pub(super) struct Crew {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// The deadline of each job that a thread is at, by a number of its own.
    running: BTreeMap<u64, Instant>,
    started: u64,
    threads: usize,
    idle: usize,
    closed: bool,
}

struct Job {
    deadline: Instant,
    work: Work,
}

impl Crew {
    /// A crew of at most `most` threads, none of them running yet.
    pub(super) fn new(most: usize) -> Crew {
        Crew { shared: Arc::new(Shared { most, state: Mutex::default(), bell: Condvar::new() }) }
    }

    /// Has `work` done by a thread that starts it before `deadline`, or drops it unrun.
    ///
    /// It is dropped when its deadline passes in the queue, and at once when the queue is full, when every
    /// thread hangs, or when there is no thread and none can be spawned. A panic in it is contained.
    pub(super) fn submit(&self, deadline: Instant, work: Work) {
        let now = Instant::now();
        let mut state = lock(&self.shared.state);
        let stale = state.take_stale(now);
        let hung = state.hung(now);
        let refused = if state.queue.len() >= QUEUE || hung >= self.shared.most {
            Some(Job { deadline, work })
        } else {
            state.queue.push_back(Job { deadline, work });
            self.staff(&mut state, hung)
        };
        drop(state);
        // Dropping a job delivers its refusal, which is no business of whoever waits for the lock.
        drop((stale, refused));
    }

    /// Threads whose job is past its deadline.
    pub(super) fn hung(&self) -> usize {
        lock(&self.shared.state).hung(Instant::now())
    }

    /// Threads alive, whatever they do.
    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        lock(&self.shared.state).threads
    }

    /// Sees that a thread takes the job just queued, and hands the job back if none ever would.
    fn staff(&self, state: &mut State, hung: usize) -> Option<Job> {
        if state.idle >= state.queue.len() {
            self.shared.bell.notify_one();
        } else if state.threads < self.shared.most {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name("mount".into()).stack_size(STACK).spawn(move || attend(&shared)) {
                Ok(_) => state.threads += 1,
                // EAGAIN: the limit of threads. Those at work will come to the job, if there are any.
                Err(_) if state.threads > hung => {}
                Err(_) => return state.queue.pop_back(),
            }
        }
        None
    }
}

impl Drop for Crew {
    /// Lets the idle threads go. None is joined, as one that hangs would hold up the caller.
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        let unstarted = std::mem::take(&mut state.queue);
        drop(state);
        self.shared.bell.notify_all();
        drop(unstarted);
    }
}

impl State {
    fn hung(&self, now: Instant) -> usize {
        self.running.values().filter(|deadline| **deadline <= now).count()
    }

    fn take_stale(&mut self, now: Instant) -> Vec<Job> {
        let (fresh, stale) = std::mem::take(&mut self.queue).into_iter().partition(|job| job.deadline > now);
        self.queue = fresh;
        Vec::from(stale)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("threads", &self.threads).field("running", &self.running).finish_non_exhaustive()
    }
}

/// One thread's life: job after job until it has been idle for long enough.
fn attend(shared: &Shared) {
    let mut state = lock(&shared.state);
    loop {
        if let Some(job) = state.queue.pop_front() {
            state = run(shared, state, job);
        } else if state.closed {
            break;
        } else {
            state.idle += 1;
            let (woken, timeout) = shared.bell.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                break;
            }
        }
    }
    state.threads -= 1;
}

/// Runs `job` without the lock, noted as running meanwhile, or drops it if it is too late for that.
fn run<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>, job: Job) -> MutexGuard<'a, State> {
    let number = state.started;
    state.started += 1;
    let in_time = job.deadline > Instant::now();
    if in_time {
        state.running.insert(number, job.deadline);
    }
    drop(state);
    if in_time {
        // The panic hook has reported it, and dropping what the job owned has told its asker.
        let _ = catch_unwind(AssertUnwindSafe(job.work));
    } else {
        drop(job);
    }
    let mut state = lock(&shared.state);
    state.running.remove(&number);
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::latch::Latch;
    use crate::recording::scratch::eventually;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(60);

    /// Raises its latch when dropped, run or not.
    struct Told(Arc<Latch>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.raise();
        }
    }

    #[test]
    fn every_job_is_run_by_at_most_so_many_threads() {
        let crew = Crew::new(3);
        let (now, most, done) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..100 {
            let (now, most, done) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&done));
            let work = move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
            };
            crew.submit(Instant::now() + LONG, Box::new(work));
        }
        eventually(|| done.load(Ordering::SeqCst) == 100);
        assert!(most.load(Ordering::SeqCst) <= 3 && crew.threads() <= 3);
    }

    #[test]
    fn a_crew_that_hangs_refuses_at_once_and_recovers() {
        let (crew, release) = (Crew::new(2), Arc::new(Latch::new()));
        for _ in 0..2 {
            let (release, begun) = (Arc::clone(&release), Arc::new(Latch::new()));
            let told = Arc::clone(&begun);
            let work = move || {
                told.raise();
                release.wait_until(Instant::now() + LONG);
            };
            crew.submit(Instant::now() + Duration::from_millis(500), Box::new(work));
            assert!(begun.wait_until(Instant::now() + LONG));
        }
        eventually(|| crew.hung() == 2);
        let refused = Arc::new(Latch::new());
        let told = Told(Arc::clone(&refused));
        crew.submit(Instant::now() + LONG, Box::new(move || drop(told)));
        assert!(refused.is_raised());
        assert_eq!(crew.threads(), 2);
        release.raise();
        eventually(|| crew.hung() == 0);
        let run = Arc::new(Latch::new());
        let told = Arc::clone(&run);
        crew.submit(Instant::now() + LONG, Box::new(move || told.raise()));
        assert!(run.wait_until(Instant::now() + LONG));
    }

    #[test]
    fn a_job_too_late_to_start_is_dropped_unrun() {
        let (crew, release, begun) = (Crew::new(1), Arc::new(Latch::new()), Arc::new(Latch::new()));
        let (hold, told) = (Arc::clone(&release), Arc::clone(&begun));
        let work = move || {
            told.raise();
            hold.wait_until(Instant::now() + LONG);
        };
        crew.submit(Instant::now() + LONG, Box::new(work));
        assert!(begun.wait_until(Instant::now() + LONG));
        let dropped = Arc::new(Latch::new());
        let told = Told(Arc::clone(&dropped));
        crew.submit(Instant::now(), Box::new(move || panic!("run though late, {}", told.0.is_raised())));
        assert!(!dropped.is_raised());
        release.raise();
        assert!(dropped.wait_until(Instant::now() + LONG));
    }

    #[test]
    fn a_panicking_job_costs_no_thread_and_a_dropped_crew_lets_its_threads_go() {
        let crew = Crew::new(1);
        for _ in 0..3 {
            let dropped = Arc::new(Latch::new());
            let told = Told(Arc::clone(&dropped));
            crew.submit(Instant::now() + LONG, Box::new(move || std::panic::resume_unwind(Box::new(told))));
            assert!(dropped.wait_until(Instant::now() + LONG));
        }
        assert_eq!(crew.threads(), 1);
        let shared = Arc::clone(&crew.shared);
        drop(crew);
        eventually(|| lock(&shared.state).threads == 0);
    }
}
