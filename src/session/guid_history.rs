//! The Guids of one session: how long each is accepted, and when it is renewed.

use std::time::{Duration, Instant};

use super::guid::Fingerprint;

/// Guids kept per session.
///
/// A client that follows renewals needs three; a browser page that is constantly reloaded adds one
/// per reload. 10 000 sessions at this bound take 31 MB.
pub(super) const GUIDS_MAX: usize = 48;

/// The settings for the lifetimes of sessions and Guids.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// `AUTHMODE` 2: Guids are renewed and expire. Otherwise (1) the Guid of the sign-in lasts as
    /// long as the session.
    pub(crate) dynamic: bool,
    /// `GUIDINTERVAL`: the age from which a Guid is renewed. Less than `guid_timeout`.
    pub(crate) guid_interval: Duration,
    /// `GUIDTIMEOUT`: the age at which a Guid expires, unless it is the newest of its session.
    pub(crate) guid_timeout: Duration,
    /// `MAXTIME`: a session idle for this long ends; `None` if `TIMEOUT_FLAG` is OFF.
    pub(crate) idle_timeout: Option<Duration>,
    /// `<SERVER_NAME><NODE_INDEX>`, the part of each Guid behind the dot.
    pub(crate) guid_suffix: String,
}

impl Policy {
    /// Minimum time between two renewals of the same Guid.
    ///
    /// A client that keeps using a renewed Guid has lost the reply with the renewal, shares the
    /// Guid with a client that received it, or ignores renewals. The first two must get another one
    /// before the Guid expires, hence four times between `guid_interval` and `guid_timeout`. The
    /// third must not fill the table, hence at most [`GUIDS_MAX`] / 2 times in `guid_timeout`.
    fn min_renewal_interval(&self) -> Duration {
        let window = self
            .guid_timeout
            .saturating_sub(self.guid_interval)
            .min(self.guid_interval);
        (window / 4).max(self.guid_timeout / 24)
    }
}

#[derive(Debug)]
pub(super) struct IssuedGuid {
    fingerprint: Fingerprint,
    issued_at: Instant,
    /// When a successor was last issued.
    renewed_at: Option<Instant>,
}

/// The Guids of one session, the newest last; never empty.
#[derive(Debug)]
pub(super) struct GuidHistory {
    issues: Vec<IssuedGuid>,
}

impl GuidHistory {
    /// The Guids of a new session.
    pub(super) fn new(fingerprint: Fingerprint, now: Instant) -> GuidHistory {
        GuidHistory {
            issues: vec![IssuedGuid {
                fingerprint,
                issued_at: now,
                renewed_at: None,
            }],
        }
    }

    /// Whether the fingerprint is that of a Guid of this session that has not expired.
    ///
    /// A Guid expires `guid_timeout` after it was issued, not when it is renewed, so that requests
    /// in flight and clients that miss a renewal still work. The newest never expires, so that a
    /// client that follows renewals can always return. Compares all, for constant time.
    pub(super) fn accepts(&self, fingerprint: &Fingerprint, policy: &Policy, now: Instant) -> bool {
        let newest = self.issues.len().saturating_sub(1);
        let mut accepts = false;
        for (place, issue) in self.issues.iter().enumerate() {
            accepts |= issue.fingerprint == *fingerprint
                && (place == newest || issue.is_live(policy, now));
        }
        accepts
    }

    /// All fingerprints, the newest last.
    pub(super) fn fingerprints(&self) -> impl DoubleEndedIterator<Item = Fingerprint> {
        self.issues.iter().map(|issue| issue.fingerprint)
    }

    /// Whether the reply to a request with the Guid `used` should carry a new one.
    ///
    /// Each Guid is renewed on its own, whatever other windows of the session do. One that was
    /// dropped while its poll was parked is always due, as its client has no other.
    pub(super) fn renewal_due(&self, used: &Fingerprint, policy: &Policy, now: Instant) -> bool {
        let age = |of: Instant| now.saturating_duration_since(of);
        policy.dynamic
            && self
                .issues
                .iter()
                .find(|issue| issue.fingerprint == *used)
                .is_none_or(|issue| {
                    age(issue.issued_at) >= policy.guid_interval
                        && issue
                            .renewed_at
                            .is_none_or(|renewed| age(renewed) >= policy.min_renewal_interval())
                })
    }

    /// Adds the newest Guid as the successor of `used`.
    pub(super) fn renew(
        &mut self,
        used: &Fingerprint,
        fingerprint: Fingerprint,
        policy: &Policy,
        now: Instant,
    ) {
        if let Some(issue) = self
            .issues
            .iter_mut()
            .find(|issue| issue.fingerprint == *used)
        {
            issue.renewed_at = Some(now);
        }
        self.issue(fingerprint, policy, now);
    }

    /// Adds the newest Guid and forgets the expired ones.
    ///
    /// Beyond [`GUIDS_MAX`] the oldest is dropped early; without expiry the second oldest, since
    /// the Guid of the sign-in must last.
    pub(super) fn issue(&mut self, fingerprint: Fingerprint, policy: &Policy, now: Instant) {
        self.issues.retain(|issue| issue.is_live(policy, now));
        if self.issues.len() >= GUIDS_MAX {
            self.issues.remove(if policy.dynamic { 0 } else { 1 });
        }
        // Exactly one more: ten thousand sessions keep what is reserved here.
        self.issues.reserve_exact(1);
        self.issues.push(IssuedGuid {
            fingerprint,
            issued_at: now,
            renewed_at: None,
        });
    }
}

impl IssuedGuid {
    fn is_live(&self, policy: &Policy, now: Instant) -> bool {
        !policy.dynamic || now.saturating_duration_since(self.issued_at) < policy.guid_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::super::guid::Guid;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(dynamic: bool, interval: u64, timeout: u64) -> Policy {
        Policy {
            dynamic,
            guid_interval: SECOND * u32::try_from(interval).unwrap(),
            guid_timeout: SECOND * u32::try_from(timeout).unwrap(),
            idle_timeout: None,
            guid_suffix: "AgentGateway0".to_owned(),
        }
    }

    fn fingerprint() -> Fingerprint {
        Guid::generate("a").unwrap().fingerprint()
    }

    #[test]
    fn a_guid_expires_after_its_own_issue_but_the_newest_never() {
        let (policy, start) = (policy(true, 60, 120), Instant::now());
        let (first, second) = (fingerprint(), fingerprint());
        let mut guids = GuidHistory::new(first, start);
        assert!(guids.accepts(&first, &policy, start + SECOND * 999));
        guids.issue(second, &policy, start + SECOND * 60);
        assert!(guids.accepts(&first, &policy, start + SECOND * 119));
        assert!(!guids.accepts(&first, &policy, start + SECOND * 120));
        assert!(guids.accepts(&second, &policy, start + SECOND * 999));
        assert!(!guids.accepts(&fingerprint(), &policy, start));
    }

    #[test]
    fn a_guid_is_renewed_from_its_interval_on_and_a_missed_renewal_repeated_later() {
        let (policy, start) = (policy(true, 60, 120), Instant::now());
        let (first, second) = (fingerprint(), fingerprint());
        let mut guids = GuidHistory::new(first, start);
        // The polls, by second, of a client that never uses a renewed Guid.
        for (second, due) in [
            (0, false),
            (59, false),
            (60, true),
            (61, false),
            (74, false),
            (75, true),
            (76, false),
            (90, true),
            (104, false),
            (105, true),
            (119, false),
        ] {
            let now = start + SECOND * second;
            assert_eq!(
                guids.renewal_due(&first, &policy, now),
                due,
                "second {second}"
            );
            if due {
                guids.renew(&first, fingerprint(), &policy, now);
            }
        }
        // For a client that uses a renewed Guid, only the age of that Guid counts.
        guids.renew(&first, second, &policy, start + SECOND * 105);
        assert!(!guids.renewal_due(&second, &policy, start + SECOND * 164));
        assert!(guids.renewal_due(&second, &policy, start + SECOND * 165));
    }

    #[test]
    fn a_guid_that_went_while_its_poll_was_parked_has_a_successor_all_the_same() {
        let (policy, start) = (policy(true, 60, 120), Instant::now());
        let mut guids = GuidHistory::new(fingerprint(), start);
        guids.issue(fingerprint(), &policy, start + SECOND * 200);
        assert_eq!(guids.issues.len(), 1);
        assert!(guids.renewal_due(&fingerprint(), &policy, start + SECOND * 200));
    }

    #[test]
    fn a_client_that_never_follows_keeps_its_guid_until_the_timeout_whatever_the_settings() {
        for (interval, timeout) in [
            (1, 2),
            (60, 61),
            (60, 120),
            (60, 3_600),
            (1, 86_400),
            (119, 120),
        ] {
            let (policy, start) = (policy(true, interval, timeout), Instant::now());
            let own = fingerprint();
            let mut guids = GuidHistory::new(own, start);
            let step = policy.guid_timeout / 1000;
            for poll in 0..1000 {
                let now = start + step * poll;
                assert!(
                    guids.accepts(&own, &policy, now),
                    "{interval} {timeout} poll {poll}"
                );
                if guids.renewal_due(&own, &policy, now) {
                    guids.renew(&own, fingerprint(), &policy, now);
                }
            }
            assert!(!guids.accepts(&own, &policy, start + policy.guid_timeout));
        }
    }

    #[test]
    fn without_expiry_nothing_is_renewed_and_the_guid_of_sign_in_lasts() {
        let (policy, start) = (policy(false, 60, 120), Instant::now());
        let own = fingerprint();
        let mut guids = GuidHistory::new(own, start);
        assert!(!guids.renewal_due(&own, &policy, start + SECOND * 999));
        for _ in 0..200 {
            guids.issue(fingerprint(), &policy, start);
        }
        assert!(guids.accepts(&own, &policy, start + SECOND * 999));
        assert_eq!(
            (guids.issues.len(), guids.issues.capacity()),
            (GUIDS_MAX, GUIDS_MAX)
        );
    }

    #[test]
    fn the_oldest_of_too_many_guids_goes_first() {
        let (policy, start) = (policy(true, 60, 120), Instant::now());
        let all: Vec<_> = (0..70).map(|_| fingerprint()).collect();
        let mut guids = GuidHistory::new(all[0], start);
        all[1..]
            .iter()
            .for_each(|guid| guids.issue(*guid, &policy, start));
        let authenticated: Vec<_> = all
            .iter()
            .map(|guid| guids.accepts(guid, &policy, start))
            .collect();
        assert_eq!(
            authenticated,
            [vec![false; 70 - GUIDS_MAX], vec![true; GUIDS_MAX]].concat()
        );
    }
}
