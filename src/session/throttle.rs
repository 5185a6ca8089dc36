//! Throttles password guessing: failures lock the pair of agent and address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::agent::AgentId;
use super::prefix_budget::PrefixBudgets;
use crate::ops::client_prefix::client_prefix;
use crate::ops::sync::lock;

/// Failures within [`WINDOW`] that lock a pair.
const FAILURES_MAX: usize = 5;
const WINDOW: Duration = Duration::from_secs(5 * 60);
const LOCK_MIN: Duration = Duration::from_secs(5 * 60);
const LOCK_MAX: Duration = Duration::from_secs(60 * 60);
/// How long after its last lock a pair is remembered, so that the next lock is doubled.
const RECORD_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Pairs remembered; about 2 MB when all are in use.
const PAIRS_MAX: usize = 16_384;

/// Failed sign-ins by agent and address, and by address alone.
///
/// Five failures within five minutes lock a pair for five minutes; each further lock is twice as
/// long, up to an hour. A success resets this, as does an hour without a failure after a lock. Only
/// the pair is locked, never the agent as a whole, so that nobody can lock an agent out from
/// elsewhere. All addresses of an IPv6 subscriber count as one. Failures during a lock change
/// nothing. In addition, a budget bounds the failures of one address across all agents
/// (`PrefixBudgets`).
///
/// Memory is bounded. Beyond 16 384 pairs, a new one replaces the least important: unlocked before
/// locked pairs, never locked ones before those that were, then the one that is free soonest or
/// failed longest ago. So a flood of pairs replaces others with few failures; to evict a locked
/// pair it must first lock all others, at five password checks each, of which only a few dozen run
/// per second.
///
/// A clone shares everything with the original.
#[derive(Debug, Clone, Default)]
pub(crate) struct Throttle {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pairs: HashMap<(AgentId, IpAddr), Record>,
    prefixes: PrefixBudgets,
}

/// What a failed sign-in has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// The agent for clients at that address.
    Pair,
    /// All agents for clients at that address, except those that have signed in from there.
    Prefix,
}

impl Throttle {
    /// How long the agent is still locked for clients at `address` (110-016); `None` if it is not.
    pub(crate) fn locked(&self, agent: AgentId, address: IpAddr, now: Instant) -> Option<Duration> {
        let prefix = client_prefix(address);
        let state = lock(&self.state);
        let pair = state
            .pairs
            .get(&(agent, prefix))
            .and_then(|record| record.locked(now));
        pair.max(state.prefixes.exhausted(agent, prefix, now))
    }

    /// Notes a failed sign-in; returns what it has locked, if anything. A prefix that keeps failing
    /// is reported only once.
    pub(crate) fn failed(&self, agent: AgentId, address: IpAddr, now: Instant) -> Option<Locked> {
        let prefix = client_prefix(address);
        let state = &mut *lock(&self.state);
        let uses_up = state.prefixes.failed(prefix, now);
        let pair = (agent, prefix);
        if !state.pairs.contains_key(&pair) && state.pairs.len() >= PAIRS_MAX {
            make_room(&mut state.pairs, now);
        }
        let record = state.pairs.entry(pair).or_insert_with(|| Record::new(now));
        if record.is_stale(now) {
            *record = Record::new(now);
        }
        match (record.failed(now), uses_up) {
            (_, true) => Some(Locked::Prefix),
            (true, false) => Some(Locked::Pair),
            (false, false) => None,
        }
    }

    /// Notes a successful sign-in: forgets the failures of the pair, and remembers that the agent
    /// signs in from there.
    pub(crate) fn succeeded(&self, agent: AgentId, address: IpAddr, now: Instant) {
        let prefix = client_prefix(address);
        let state = &mut *lock(&self.state);
        state.pairs.remove(&(agent, prefix));
        state.prefixes.succeeded(agent, prefix, now);
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// The latest failures since the last lock, in any order; one more sets a lock.
    failures: [Option<Instant>; FAILURES_MAX - 1],
    locks: u32,
    /// When the last lock ends, or the last failure if there was none.
    until: Instant,
}

impl Record {
    fn new(now: Instant) -> Record {
        Record {
            failures: [None; FAILURES_MAX - 1],
            locks: 0,
            until: now,
        }
    }

    fn locked(&self, now: Instant) -> Option<Duration> {
        let remaining = self.until.saturating_duration_since(now);
        (self.locks > 0 && !remaining.is_zero()).then_some(remaining)
    }

    fn is_stale(&self, now: Instant) -> bool {
        let kept = if self.locks > 0 {
            RECORD_TIMEOUT
        } else {
            WINDOW
        };
        now.saturating_duration_since(self.until) >= kept
    }

    fn failed(&mut self, now: Instant) -> bool {
        if self.locked(now).is_some() {
            return false;
        }
        let counts = |failure: &Instant| now.saturating_duration_since(*failure) < WINDOW;
        for failure in &mut self.failures {
            *failure = failure.filter(counts);
        }
        if let Some(free) = self.failures.iter_mut().find(|failure| failure.is_none()) {
            *free = Some(now);
            // After a lock, `until` is its end or the last failure since, from which the record's
            // age counts.
            self.until = self.until.max(now);
            return false;
        }
        let doubled = LOCK_MIN.saturating_mul(1 << self.locks.min(8));
        *self = Record {
            locks: self.locks.saturating_add(1),
            until: now + doubled.min(LOCK_MAX),
            ..Record::new(now)
        };
        true
    }
}

/// Drops the stale pairs, or if there are none, the least important one.
fn make_room(pairs: &mut HashMap<(AgentId, IpAddr), Record>, now: Instant) {
    pairs.retain(|_, record| !record.is_stale(now));
    if pairs.len() < PAIRS_MAX {
        return;
    }
    let least = pairs
        .iter()
        .min_by_key(|(_, record)| (record.locked(now).is_some(), record.locks > 0, record.until))
        .map(|(pair, _)| *pair);
    if let Some(pair) = least {
        pairs.remove(&pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const MINUTE: Duration = Duration::from_secs(60);

    fn agent(id: u32) -> AgentId {
        AgentId::parse(&id.to_string(), 999_999).unwrap()
    }

    fn fail_until_locked(throttle: &Throttle, agent: AgentId, now: Instant) -> Duration {
        assert_eq!(
            (1..=5)
                .filter(|_| throttle.failed(agent, HERE, now).is_some())
                .count(),
            1
        );
        throttle.locked(agent, HERE, now).unwrap()
    }

    #[test]
    fn the_fifth_failure_within_five_minutes_locks_the_pair_for_five() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for (minute, locks) in [(0, false), (1, false), (2, false), (3, false), (4, true)] {
            assert_eq!(
                throttle.locked(agent(101), HERE, start + MINUTE * minute),
                None
            );
            assert_eq!(
                throttle.failed(agent(101), HERE, start + MINUTE * minute),
                locks.then_some(Locked::Pair)
            );
        }
        assert_eq!(
            throttle.locked(agent(101), HERE, start + MINUTE * 4),
            Some(MINUTE * 5)
        );
        assert_eq!(
            throttle.locked(agent(101), HERE, start + MINUTE * 8),
            Some(MINUTE)
        );
        assert_eq!(throttle.locked(agent(101), HERE, start + MINUTE * 9), None);
    }

    #[test]
    fn failures_further_apart_never_lock() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for nth in 0..50 {
            assert_eq!(
                throttle.failed(agent(101), HERE, start + Duration::from_secs(75) * nth),
                None,
                "failure {nth}"
            );
        }
    }

    #[test]
    fn each_further_lock_is_twice_as_long_up_to_an_hour() {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        for minutes in [5, 10, 20, 40, 60, 60, 60] {
            let lock = fail_until_locked(&throttle, agent(101), now);
            assert_eq!(lock, MINUTE * minutes);
            now += lock + Duration::from_secs(1);
        }
        now += RECORD_TIMEOUT;
        assert_eq!(fail_until_locked(&throttle, agent(101), now), LOCK_MIN);
    }

    #[test]
    fn failures_during_a_lock_do_not_prolong_it() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        fail_until_locked(&throttle, agent(101), start);
        assert_eq!(throttle.failed(agent(101), HERE, start + MINUTE * 4), None);
        assert_eq!(throttle.locked(agent(101), HERE, start + MINUTE * 5), None);
        assert_eq!(throttle.failed(agent(101), HERE, start + MINUTE * 5), None);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..4 {
            throttle.failed(agent(101), HERE, start);
        }
        throttle.succeeded(agent(101), HERE, start);
        assert_eq!(fail_until_locked(&throttle, agent(101), start), LOCK_MIN);
    }

    #[test]
    fn only_the_pair_is_locked_and_the_addresses_of_a_subscriber_are_one() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        for nth in 0..5 {
            throttle.failed(agent(101), if nth % 2 == 0 { HERE } else { mapped }, start);
        }
        for (id, address, locked) in [
            (101, "192.0.2.1", true),
            (101, "::ffff:192.0.2.1", true),
            (102, "192.0.2.1", false),
            (101, "::1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(
                throttle.locked(agent(id), address, start).is_some(),
                locked,
                "{id} {address}"
            );
        }
        for host in 1..=5 {
            throttle.failed(
                agent(103),
                format!("2001:db8::{host}").parse().unwrap(),
                start,
            );
        }
        assert!(
            throttle
                .locked(agent(103), "2001:db8::6".parse().unwrap(), start)
                .is_some()
        );
        assert!(
            throttle
                .locked(agent(103), "2001:db8:0:1::6".parse().unwrap(), start)
                .is_none()
        );
    }

    #[test]
    fn a_few_guesses_at_each_of_many_agents_lock_the_address_for_all_that_do_not_work_there() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        throttle.succeeded(agent(101), HERE, start);
        let locks: Vec<_> = (200..270)
            .filter_map(|id| throttle.failed(agent(id), HERE, start))
            .collect();
        assert_eq!(locks, [Locked::Prefix]);
        let elsewhere = "192.0.2.2".parse().unwrap();
        for (id, address, locked) in [
            (101, HERE, false),
            (102, HERE, true),
            (102, elsewhere, false),
        ] {
            assert_eq!(
                throttle.locked(agent(id), address, start).is_some(),
                locked,
                "{id} {address}"
            );
        }
        fail_until_locked(&throttle, agent(101), start);
        assert!(
            throttle.locked(agent(101), HERE, start).is_some(),
            "an agent that works there can still be locked by its own failures"
        );
    }

    #[test]
    fn a_flood_of_strangers_neither_unlocks_a_pair_nor_takes_more_memory() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        fail_until_locked(&throttle, agent(101), start);
        for id in 0..16_800 {
            throttle.failed(
                agent(1_000 + id),
                HERE,
                start + Duration::from_millis(u64::from(id)),
            );
        }
        assert_eq!(lock(&throttle.state).pairs.len(), PAIRS_MAX);
        assert!(throttle.locked(agent(101), HERE, start + MINUTE).is_some());
        assert!(size_of::<Record>() <= 96, "{}", size_of::<Record>());
    }

    #[test]
    fn pairs_that_no_longer_matter_make_room_first() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for id in 0..16_384 {
            throttle.failed(agent(1_000 + id), HERE, start);
        }
        throttle.failed(agent(101), HERE, start + WINDOW);
        assert_eq!(lock(&throttle.state).pairs.len(), 1);
    }

    #[test]
    fn a_pair_that_was_never_locked_makes_room_before_one_that_was() {
        let (start, now) = (Instant::now(), Instant::now() + MINUTE * 10);
        let pair = |number: u32| {
            let address = std::net::Ipv4Addr::from_bits(number);
            (agent(101), IpAddr::V4(address))
        };
        let mut pairs: HashMap<_, _> = (1..PAIRS_MAX)
            .map(|number| (pair(u32::try_from(number).unwrap()), Record::new(now)))
            .collect();
        let once_locked = Record {
            locks: 1,
            ..Record::new(start)
        };
        pairs.insert(pair(0), once_locked);
        make_room(&mut pairs, now);
        assert_eq!(pairs.len(), PAIRS_MAX - 1);
        assert!(pairs.contains_key(&pair(0)));
    }
}
