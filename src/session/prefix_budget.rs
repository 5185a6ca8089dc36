//! A budget of failed sign-ins per client prefix, across all agents.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::agent::AgentId;

/// Failures a prefix may have at once, before any of its agents has signed in.
const BUDGET: u32 = 60;
/// Time to forgive one failure; five minutes for the whole budget.
const REFILL_INTERVAL: Duration = Duration::from_secs(5);
/// How long a sign-in from a prefix is remembered; longer than a weekend plus a holiday.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Prefixes remembered; about 2.5 MB when all are in use.
const PREFIXES_MAX: usize = 16_384;
/// Agents remembered over all prefixes; about 1 MB when all are in use.
const KNOWN_MAX: usize = 16_384;

/// Failed sign-ins by client prefix: a burst of 60, plus one for each agent that has signed in from
/// there during the last week, refilled by one every five seconds.
///
/// It stops a client that tries a few passwords on every agent, which the per-pair locks do not.
/// Once the budget is used up, sign-ins from the prefix are refused, except those of agents that
/// have signed in from there: an address may be the middle tier of a whole contact centre, and one
/// guesser behind it must not lock out its agents. These agents are still protected by the locks of
/// their pairs. Since the budget grows with the number of agents, the typing mistakes of a thousand
/// agents at a shift change do not exhaust it, and a guesser with an account gains only one guess.
///
/// The budget must be checked again before each queued check is run, so that it can only be
/// exceeded by the checks running when it is used up.
///
/// Memory is bounded. Beyond 16 384 prefixes, a new one replaces the one forgiven soonest; beyond
/// 16 384 agents, further ones are not remembered, so their prefix has only the basic budget.
#[derive(Debug, Default)]
pub(super) struct PrefixBudgets {
    prefixes: HashMap<IpAddr, PrefixBudget>,
    known: usize,
}

#[derive(Debug)]
struct PrefixBudget {
    /// When all failures are forgiven (GCRA's theoretical arrival time).
    forgiven_at: Instant,
    /// Agents that have signed in from there, with the time of their latest sign-in.
    known: HashMap<AgentId, Instant>,
    /// Whether exhaustion was reported; reset once half of the budget is free again.
    is_reported: bool,
}

impl PrefixBudgets {
    /// How long until `agent` may be tried again from the prefix; `None` if it may be now.
    pub(super) fn exhausted(
        &self,
        agent: AgentId,
        prefix: IpAddr,
        now: Instant,
    ) -> Option<Duration> {
        let budget = self.prefixes.get(&prefix)?;
        let is_known = budget
            .known
            .get(&agent)
            .is_some_and(|at| now.saturating_duration_since(*at) < KNOWN_TIMEOUT);
        if is_known { None } else { budget.wait(now) }
    }

    /// Notes a failure; true if it exhausts the budget and that was not reported recently.
    pub(super) fn failed(&mut self, prefix: IpAddr, now: Instant) -> bool {
        let budget = self.budget(prefix, now);
        let limit = budget.limit();
        if budget.debt(now) * 2 < limit {
            budget.is_reported = false;
        }
        // Capped at the budget, so that a flood of failures does not prolong the wait.
        budget.forgiven_at = (budget.forgiven_at.max(now) + REFILL_INTERVAL).min(now + limit);
        let reports = budget.wait(now).is_some() && !budget.is_reported;
        budget.is_reported |= reports;
        reports
    }

    /// Remembers that `agent` has signed in from the prefix.
    pub(super) fn succeeded(&mut self, agent: AgentId, prefix: IpAddr, now: Instant) {
        let has_room = self.known < KNOWN_MAX || {
            self.forget(now);
            self.known < KNOWN_MAX
        };
        let known = &mut self.budget(prefix, now).known;
        if known.contains_key(&agent) || has_room {
            let is_new = known.insert(agent, now).is_none();
            self.known += usize::from(is_new);
        }
    }

    fn budget(&mut self, prefix: IpAddr, now: Instant) -> &mut PrefixBudget {
        if !self.prefixes.contains_key(&prefix) && self.prefixes.len() >= PREFIXES_MAX {
            self.make_room(now);
        }
        let new = || PrefixBudget {
            forgiven_at: now,
            known: HashMap::new(),
            is_reported: false,
        };
        self.prefixes.entry(prefix).or_insert_with(new)
    }

    /// Drops expired entries.
    fn forget(&mut self, now: Instant) {
        self.prefixes.retain(|_, budget| {
            budget
                .known
                .retain(|_, at| now.saturating_duration_since(*at) < KNOWN_TIMEOUT);
            budget.forgiven_at > now || !budget.known.is_empty()
        });
        self.known = self
            .prefixes
            .values()
            .map(|budget| budget.known.len())
            .sum();
    }

    fn make_room(&mut self, now: Instant) {
        self.forget(now);
        if self.prefixes.len() < PREFIXES_MAX {
            return;
        }
        // Prefixes without agents go first.
        let soonest = self
            .prefixes
            .iter()
            .min_by_key(|(_, budget)| (!budget.known.is_empty(), budget.forgiven_at));
        if let Some(prefix) = soonest.map(|(prefix, _)| *prefix) {
            let removed = self.prefixes.remove(&prefix);
            self.known -= removed.map_or(0, |budget| budget.known.len());
        }
    }
}

impl PrefixBudget {
    /// Time to forgive a whole budget.
    fn limit(&self) -> Duration {
        REFILL_INTERVAL.saturating_mul(
            BUDGET.saturating_add(u32::try_from(self.known.len()).unwrap_or(u32::MAX)),
        )
    }

    /// Time until all failures so far are forgiven.
    fn debt(&self, now: Instant) -> Duration {
        self.forgiven_at.saturating_duration_since(now)
    }

    /// Time until there is room for one more failure; `None` if there is now.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = (self.debt(now) + REFILL_INTERVAL).saturating_sub(self.limit());
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    fn agent(id: u32) -> AgentId {
        AgentId::parse(&id.to_string(), 999_999).unwrap()
    }

    fn fail(budgets: &mut PrefixBudgets, times: usize, prefix: IpAddr, now: Instant) {
        for _ in 0..times {
            budgets.failed(prefix, now);
        }
    }

    #[test]
    fn sixty_failures_use_the_budget_up_and_one_is_forgiven_every_five_seconds() {
        let (mut budgets, start) = (PrefixBudgets::default(), Instant::now());
        for nth in 1..=60 {
            assert_eq!(
                budgets.exhausted(agent(101), prefix(1), start),
                None,
                "before failure {nth}"
            );
            assert_eq!(budgets.failed(prefix(1), start), nth == 60);
        }
        assert_eq!(
            budgets.exhausted(agent(101), prefix(1), start),
            Some(REFILL_INTERVAL)
        );
        assert_eq!(
            budgets.exhausted(agent(101), prefix(2), start),
            None,
            "another prefix"
        );
        let later = start + REFILL_INTERVAL;
        assert_eq!(budgets.exhausted(agent(101), prefix(1), later), None);
        assert!(!budgets.failed(prefix(1), later), "reported already");
        assert!(budgets.exhausted(agent(102), prefix(1), later).is_some());
        let much_later = later + REFILL_INTERVAL * 60;
        assert_eq!(
            (1..=60)
                .filter(|_| budgets.failed(prefix(1), much_later))
                .count(),
            1,
            "reported anew"
        );
    }

    #[test]
    fn what_fails_during_the_wait_does_not_prolong_it() {
        let (mut budgets, start) = (PrefixBudgets::default(), Instant::now());
        fail(&mut budgets, 1_000, prefix(1), start);
        assert_eq!(
            budgets.exhausted(agent(101), prefix(1), start),
            Some(REFILL_INTERVAL)
        );
    }

    #[test]
    fn agents_that_work_there_go_on_and_add_to_the_budget() {
        let (mut budgets, start) = (PrefixBudgets::default(), Instant::now());
        for id in 101..111 {
            budgets.succeeded(agent(id), prefix(1), start);
            budgets.succeeded(agent(id), prefix(1), start);
        }
        assert_eq!(budgets.known, 10);
        assert_eq!(
            (1..=70).position(|_| budgets.failed(prefix(1), start)),
            Some(69)
        );
        assert_eq!(budgets.exhausted(agent(101), prefix(1), start), None);
        assert!(budgets.exhausted(agent(111), prefix(1), start).is_some());
        let after = start + KNOWN_TIMEOUT;
        fail(&mut budgets, 70, prefix(1), after);
        assert!(
            budgets.exhausted(agent(101), prefix(1), after).is_some(),
            "not seen for a week"
        );
    }

    #[test]
    fn a_flood_of_prefixes_takes_no_more_memory_and_pushes_no_agents_out() {
        let (mut budgets, start) = (PrefixBudgets::default(), Instant::now());
        budgets.succeeded(agent(101), prefix(0), start);
        fail(&mut budgets, 60, prefix(1), start);
        for number in 2..17_000 {
            budgets.failed(prefix(number), start);
        }
        assert_eq!((budgets.prefixes.len(), budgets.known), (PREFIXES_MAX, 1));
        assert_eq!(budgets.exhausted(agent(101), prefix(0), start), None);
        assert!(
            budgets.exhausted(agent(101), prefix(1), start).is_some(),
            "the prefix with the most failures must be kept"
        );
        budgets.failed(prefix(1), start + KNOWN_TIMEOUT);
        budgets.failed(prefix(20_000), start + KNOWN_TIMEOUT);
        assert_eq!(
            (budgets.prefixes.len(), budgets.known),
            (2, 0),
            "expired entries must be removed first"
        );
        assert!(size_of::<(IpAddr, PrefixBudget)>() <= 112);
    }

    #[test]
    fn agents_beyond_the_bound_are_not_remembered() {
        let (mut budgets, start) = (PrefixBudgets::default(), Instant::now());
        for id in 0..17_000 {
            budgets.succeeded(agent(101 + id), prefix(1), start);
        }
        assert_eq!(budgets.known, KNOWN_MAX);
        budgets.succeeded(agent(101), prefix(2), start + KNOWN_TIMEOUT);
        assert_eq!(budgets.known, 1);
    }

    #[test]
    fn whoever_signed_in_from_a_prefix_is_remembered_for_a_week() {
        let (start, day) = (Instant::now(), Duration::from_secs(86_400));
        assert_eq!(KNOWN_TIMEOUT, day * 7);
        let mut budgets = PrefixBudgets::default();
        budgets.succeeded(agent(101), prefix(1), start);
        for (days, is_known) in [(6, true), (8, false)] {
            let now = start + day * days;
            fail(&mut budgets, 1000, prefix(1), now);
            assert!(budgets.exhausted(agent(102), prefix(1), now).is_some());
            assert_eq!(
                budgets.exhausted(agent(101), prefix(1), now).is_none(),
                is_known,
                "{days}"
            );
        }
    }

    #[test]
    fn an_exhaustion_is_told_anew_once_half_of_the_budget_is_free() {
        for (seconds, tells) in [(150, false), (151, true)] {
            let (mut budgets, start) = (PrefixBudgets::default(), Instant::now());
            fail(&mut budgets, 60, prefix(1), start);
            let later = start + Duration::from_secs(seconds);
            let told = (0..60).filter(|_| budgets.failed(prefix(1), later)).count();
            assert_eq!(told, usize::from(tells), "{seconds}");
        }
    }

    #[test]
    fn a_prefix_that_is_known_pushes_out_no_other() {
        let (mut budgets, start) = (PrefixBudgets::default(), Instant::now());
        for number in 1..=u32::try_from(PREFIXES_MAX).unwrap() {
            budgets.failed(prefix(number), start);
        }
        budgets.failed(prefix(7), start);
        assert_eq!(budgets.prefixes.len(), PREFIXES_MAX);
        budgets.failed(prefix(0), start);
        assert_eq!(budgets.prefixes.len(), PREFIXES_MAX);
    }
}
