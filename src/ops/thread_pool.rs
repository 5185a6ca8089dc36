//! A bounded pool of threads for work that may block or hang.
//!
//! A system call on a file server can hang and cannot be interrupted. So jobs have deadlines: a
//! thread whose job is past its deadline counts as overdue, and a pool in which every thread is
//! overdue refuses new jobs at once.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::spawn;
use super::sync::lock;

/// How long a thread waits for its next job before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most threads that wait for a job; a further one ends at once. The condition variable wakes the
/// thread that has waited longest, so without this bound steady jobs would keep every thread alive
/// that a burst once needed.
const MAX_IDLE: usize = 2;

/// Stack of each thread, in bytes. No job recurses, and large buffers live on the heap.
const STACK_SIZE: usize = 256 * 1024;

/// A piece of work. A refused job is dropped without running, so anything it owns must handle its
/// own drop.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads that are spawned on demand. They end after [`IDLE_TIMEOUT`] without work, or when
/// [`MAX_IDLE`] others are idle.
pub(crate) struct ThreadPool {
    pool: Arc<Pool>,
}

struct Pool {
    name: &'static str,
    max_threads: usize,
    queue_len: usize,
    state: Mutex<PoolState>,
    condvar: Condvar,
}

#[derive(Default)]
struct PoolState {
    queue: VecDeque<Queued>,
    /// Deadlines of the running jobs that have one, by job number.
    deadlines: BTreeMap<u64, Instant>,
    next_job: u64,
    threads: usize,
    idle: usize,
    closed: bool,
}

struct Queued {
    /// The job is dropped without running once this has passed.
    start_by: Option<Instant>,
    /// How long the job may run before its thread is overdue; `None`: until `start_by`.
    time_limit: Option<Duration>,
    job: Job,
}

impl ThreadPool {
    /// A pool of at most `max_threads` threads called `name`, none of which run yet.
    ///
    /// `queue_len` bounds the jobs waiting for a thread; further ones are refused.
    pub(crate) fn new(name: &'static str, max_threads: usize, queue_len: usize) -> ThreadPool {
        ThreadPool {
            pool: Arc::new(Pool {
                name,
                max_threads,
                queue_len,
                state: Mutex::default(),
                condvar: Condvar::new(),
            }),
        }
    }

    /// Runs `job` on a thread of the pool if it can start before `deadline`; false if it is
    /// refused.
    ///
    /// A job is refused, and dropped on the calling thread, if the queue is full, if every thread
    /// is overdue, or if there is no thread and none can be spawned. A job whose deadline passes in
    /// the queue is dropped without running, on whichever thread notices. A job still running at
    /// its deadline makes its thread overdue. Panics in jobs are contained. No job runs or is
    /// dropped under a lock of the pool.
    pub(crate) fn execute(&self, deadline: Option<Instant>, job: Job) -> bool {
        self.submit(Queued {
            start_by: deadline,
            time_limit: None,
            job,
        })
    }

    /// Like [`ThreadPool::execute`], for a job that may wait until `start_by` and then run for
    /// `time_limit`. Only its running time makes its thread overdue, not its time in the queue.
    pub(crate) fn execute_within(&self, start_by: Instant, time_limit: Duration, job: Job) -> bool {
        self.submit(Queued {
            start_by: Some(start_by),
            time_limit: Some(time_limit),
            job,
        })
    }

    /// Threads whose job is past its deadline.
    pub(crate) fn overdue(&self) -> usize {
        lock(&self.pool.state).overdue(Instant::now())
    }

    /// Threads alive, busy or idle.
    #[cfg(test)]
    pub(crate) fn threads(&self) -> usize {
        lock(&self.pool.state).threads
    }

    fn submit(&self, queued: Queued) -> bool {
        let now = Instant::now();
        let mut state = lock(&self.pool.state);
        let expired = state.take_expired(now);
        let overdue = state.overdue(now);
        let refused =
            if state.queue.len() >= self.pool.queue_len || overdue >= self.pool.max_threads {
                Some(queued)
            } else {
                state.queue.push_back(queued);
                self.ensure_thread(&mut state, overdue)
            };
        drop(state);
        let accepted = refused.is_none();
        // Without the lock: dropping a job may run code that uses this pool again.
        drop((expired, refused));
        accepted
    }

    /// Makes sure that a thread will take the job just queued; returns the job if none would.
    fn ensure_thread(&self, state: &mut PoolState, overdue: usize) -> Option<Queued> {
        if state.idle >= state.queue.len() {
            self.pool.condvar.notify_one();
        } else if state.threads < self.pool.max_threads {
            let pool = Arc::clone(&self.pool);
            match spawn(pool.name, STACK_SIZE, move || worker_loop(&pool)) {
                Ok(_) => state.threads += 1,
                // EAGAIN: the limit on threads. A busy thread that is not overdue will get to the
                // job.
                Err(_) if state.threads > overdue => {}
                Err(_) => return state.queue.pop_back(),
            }
        }
        None
    }
}

impl Drop for ThreadPool {
    /// Drops the queued jobs and ends the idle threads. Joins no thread, since a hung one would
    /// block the caller.
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        state.closed = true;
        let unstarted = std::mem::take(&mut state.queue);
        drop(state);
        self.pool.condvar.notify_all();
        drop(unstarted);
    }
}

impl PoolState {
    fn overdue(&self, now: Instant) -> usize {
        self.deadlines
            .values()
            .filter(|deadline| **deadline <= now)
            .count()
    }

    fn take_expired(&mut self, now: Instant) -> Vec<Queued> {
        let (expired, fresh) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|queued| queued.is_expired(now));
        self.queue = fresh;
        Vec::from(expired)
    }
}

impl Queued {
    fn is_expired(&self, now: Instant) -> bool {
        self.start_by.is_some_and(|start_by| start_by <= now)
    }
}

/// Runs jobs until the thread is not needed any more.
fn worker_loop(pool: &Pool) {
    let mut state = lock(&pool.state);
    loop {
        if let Some(queued) = state.queue.pop_front() {
            state = run(pool, state, queued);
        } else if state.closed || state.idle >= MAX_IDLE {
            break;
        } else {
            state.idle += 1;
            let (woken, timeout) = pool
                .condvar
                .wait_timeout(state, IDLE_TIMEOUT)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                break;
            }
        }
    }
    state.threads -= 1;
}

/// Runs the job with the lock released, or drops it if its time to start has passed.
fn run<'a>(
    pool: &'a Pool,
    mut state: MutexGuard<'a, PoolState>,
    queued: Queued,
) -> MutexGuard<'a, PoolState> {
    let now = Instant::now();
    if queued.is_expired(now) {
        drop(state);
        contain(move || drop(queued));
        return lock(&pool.state);
    }
    let number = state.next_job;
    state.next_job += 1;
    let deadline = match queued.time_limit {
        Some(limit) => now.checked_add(limit),
        None => queued.start_by,
    };
    if let Some(deadline) = deadline {
        state.deadlines.insert(number, deadline);
    }
    drop(state);
    contain(queued.job);
    let mut state = lock(&pool.state);
    state.deadlines.remove(&number);
    state
}

/// Contains a panic, which the panic hook has logged.
fn contain(job: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

#[cfg(test)]
mod tests {
    use super::super::sync::Latch;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    fn soon() -> Option<Instant> {
        Some(Instant::now() + LONG)
    }

    fn eventually(condition: impl Fn() -> bool) {
        let limit = Instant::now() + LONG;
        while !condition() {
            assert!(Instant::now() < limit);
            thread::yield_now();
        }
    }

    /// Raises its latch when dropped, run or not.
    struct OnDrop(Arc<Latch>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.set();
        }
    }

    /// A job that waits for `release`, and a latch that is raised when it runs.
    fn blocking(release: &Arc<Latch>) -> (Job, Arc<Latch>) {
        let (release, begun) = (Arc::clone(release), Arc::new(Latch::default()));
        let running = Arc::clone(&begun);
        let job = move || {
            running.set();
            release.wait_until(Instant::now() + LONG);
        };
        (Box::new(job), begun)
    }

    #[test]
    fn every_job_is_run_by_at_most_so_many_threads() {
        let pool = ThreadPool::new("pool", 3, 100);
        let (now, most, done) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        for _ in 0..100 {
            let (now, most, done) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&done));
            let job = move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
            };
            assert!(pool.execute(soon(), Box::new(job)));
        }
        eventually(|| done.load(Ordering::SeqCst) == 100);
        assert!(most.load(Ordering::SeqCst) <= 3 && pool.threads() <= 3);
    }

    #[test]
    fn the_threads_of_a_burst_end_while_single_jobs_go_on() {
        let (pool, release) = (ThreadPool::new("pool", 5, 8), Arc::new(Latch::default()));
        for _ in 0..5 {
            let (job, begun) = blocking(&release);
            pool.execute(None, job);
            assert!(begun.wait_until(Instant::now() + LONG));
        }
        assert_eq!(pool.threads(), 5);
        release.set();
        eventually(|| pool.execute(None, Box::new(|| ())) && pool.threads() <= MAX_IDLE);
    }

    #[test]
    fn threads_bear_the_name_of_their_pool() {
        let pool = ThreadPool::new("pool", 1, 1);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        pool.execute(
            None,
            Box::new(move || {
                tell.send(thread::current().name().map(str::to_owned))
                    .unwrap()
            }),
        );
        assert_eq!(told.recv_timeout(LONG).unwrap().as_deref(), Some("pool"));
    }

    #[test]
    fn a_pool_whose_threads_are_all_overdue_refuses_at_once_and_recovers() {
        let (pool, release) = (ThreadPool::new("pool", 2, 8), Arc::new(Latch::default()));
        for _ in 0..2 {
            let (job, begun) = blocking(&release);
            pool.execute(Some(Instant::now() + Duration::from_millis(500)), job);
            assert!(begun.wait_until(Instant::now() + LONG));
        }
        eventually(|| pool.overdue() == 2);
        let refused = Arc::new(Latch::default());
        let on_drop = OnDrop(Arc::clone(&refused));
        assert!(!pool.execute(soon(), Box::new(move || drop(on_drop))));
        assert!(refused.is_set());
        assert_eq!(pool.threads(), 2);
        release.set();
        eventually(|| pool.overdue() == 0);
        let (job, begun) = blocking(&release);
        assert!(pool.execute(soon(), job));
        assert!(begun.wait_until(Instant::now() + LONG));
    }

    #[test]
    fn a_full_queue_refuses_and_time_in_the_queue_makes_nothing_overdue() {
        let (pool, release) = (ThreadPool::new("pool", 1, 1), Arc::new(Latch::default()));
        let (job, begun) = blocking(&release);
        assert!(pool.execute(None, job));
        assert!(begun.wait_until(Instant::now() + LONG));
        let (job, waiting) = blocking(&release);
        // Its time limit counts from its start, and is over at once then.
        assert!(pool.execute_within(Instant::now() + LONG, Duration::ZERO, job));
        assert!(
            !pool.execute(soon(), Box::new(|| ())),
            "one runs, one waits"
        );
        assert_eq!(pool.overdue(), 0);
        release.set();
        assert!(waiting.wait_until(Instant::now() + LONG));
        eventually(|| pool.execute(soon(), Box::new(|| ())));
    }

    #[test]
    fn a_job_is_overdue_by_the_time_since_its_start() {
        let (pool, release) = (ThreadPool::new("pool", 1, 1), Arc::new(Latch::default()));
        let (job, begun) = blocking(&release);
        pool.execute_within(Instant::now() + LONG, Duration::ZERO, job);
        assert!(begun.wait_until(Instant::now() + LONG));
        eventually(|| pool.overdue() == 1);
        release.set();
        eventually(|| pool.overdue() == 0);
    }

    #[test]
    fn a_job_too_late_to_start_is_dropped_unrun() {
        let (pool, release) = (ThreadPool::new("pool", 1, 8), Arc::new(Latch::default()));
        let (job, begun) = blocking(&release);
        pool.execute(soon(), job);
        assert!(begun.wait_until(Instant::now() + LONG));
        let dropped = Arc::new(Latch::default());
        let on_drop = OnDrop(Arc::clone(&dropped));
        pool.execute(
            Some(Instant::now()),
            Box::new(move || panic!("the late job ran, {}", on_drop.0.is_set())),
        );
        assert!(!dropped.is_set());
        release.set();
        assert!(dropped.wait_until(Instant::now() + LONG));
    }

    #[test]
    fn a_job_dropped_unrun_may_use_its_pool() {
        /// Queues a job when dropped, which would deadlock under the pool's lock.
        struct Resubmits(Arc<ThreadPool>, Arc<Latch>);
        impl Drop for Resubmits {
            fn drop(&mut self) {
                let on_drop = OnDrop(Arc::clone(&self.1));
                self.0.execute(soon(), Box::new(move || drop(on_drop)));
            }
        }
        let (pool, release) = (
            Arc::new(ThreadPool::new("pool", 1, 1)),
            Arc::new(Latch::default()),
        );
        let (job, begun) = blocking(&release);
        pool.execute(None, job);
        assert!(begun.wait_until(Instant::now() + LONG));
        let (expired, refused) = (Arc::new(Latch::default()), Arc::new(Latch::default()));
        let resubmits = Resubmits(Arc::clone(&pool), Arc::clone(&expired));
        pool.execute(Some(Instant::now()), Box::new(move || drop(resubmits)));
        let resubmits = Resubmits(Arc::clone(&pool), Arc::clone(&refused));
        pool.execute(soon(), Box::new(move || drop(resubmits)));
        release.set();
        assert!(
            expired.wait_until(Instant::now() + LONG) && refused.wait_until(Instant::now() + LONG)
        );
    }

    #[test]
    fn a_panicking_job_costs_no_thread_and_a_dropped_pool_ends_its_threads() {
        let pool = ThreadPool::new("pool", 1, 8);
        for _ in 0..3 {
            let dropped = Arc::new(Latch::default());
            let on_drop = OnDrop(Arc::clone(&dropped));
            pool.execute(
                soon(),
                Box::new(move || std::panic::resume_unwind(Box::new(on_drop))),
            );
            assert!(dropped.wait_until(Instant::now() + LONG));
        }
        assert_eq!(pool.threads(), 1);
        let inner = Arc::clone(&pool.pool);
        drop(pool);
        eventually(|| lock(&inner.state).threads == 0);
    }
}
