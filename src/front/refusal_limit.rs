//! Rate limit for log lines about refused requests, by client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::ops::client_prefix::client_prefix;
use crate::ops::sync::lock;

/// Lines per client in each [`WINDOW`]: enough to diagnose a well-meaning client.
const LINES_MAX: u32 = 50;
/// How long a count lasts.
const WINDOW: Duration = Duration::from_secs(10);
/// Most clients to count separately. Further ones share one count.
const CLIENTS_MAX: usize = 4096;

/// Counts the refused requests of each client, so that clients without a Guid cannot fill the log.
#[derive(Debug, Default)]
pub(super) struct RefusalLimit(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    clients: HashMap<Option<IpAddr>, Count>,
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    lines: u32,
}

/// Whether to log a refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogDecision {
    /// Log it.
    Log,
    /// Log it as the last one of this client for a while.
    LogLast,
    /// Leave it out; the request is still counted in the metrics.
    Suppress,
}

impl RefusalLimit {
    /// Counts a refused request of this client.
    pub(super) fn count(&self, client: IpAddr, now: Instant) -> LogDecision {
        let mut counts = lock(&self.0);
        if counts
            .swept
            .is_none_or(|swept| now.saturating_duration_since(swept) >= WINDOW)
        {
            counts.swept = Some(now);
            counts
                .clients
                .retain(|_, count| now.saturating_duration_since(count.since) < WINDOW);
        }
        let prefix = Some(client_prefix(client));
        let is_counted_apart =
            counts.clients.len() < CLIENTS_MAX || counts.clients.contains_key(&prefix);
        let key = prefix.filter(|_| is_counted_apart);
        let fresh = Count {
            since: now,
            lines: 0,
        };
        let count = counts.clients.entry(key).or_insert(fresh);
        if now.saturating_duration_since(count.since) >= WINDOW {
            *count = fresh;
        }
        count.lines = count.lines.saturating_add(1);
        match count.lines {
            LINES_MAX => LogDecision::LogLast,
            lines if lines < LINES_MAX => LogDecision::Log,
            _ => LogDecision::Suppress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_lines_in_each_window_and_others_have_theirs() {
        let limit = RefusalLimit::default();
        let start = Instant::now();
        let client = |text: &str| text.parse::<IpAddr>().unwrap();
        for window in 0..3 {
            let now = start + WINDOW * window;
            let verdicts: Vec<_> = (0..1000)
                .map(|_| limit.count(client("192.0.2.1"), now))
                .collect();
            assert_eq!(
                verdicts
                    .iter()
                    .filter(|verdict| **verdict == LogDecision::Log)
                    .count(),
                49
            );
            assert_eq!(verdicts[49], LogDecision::LogLast);
            assert!(
                verdicts[50..]
                    .iter()
                    .all(|verdict| *verdict == LogDecision::Suppress)
            );
            assert_eq!(limit.count(client("192.0.2.2"), now), LogDecision::Log);
        }
    }

    #[test]
    fn a_crowd_of_clients_takes_bounded_memory() {
        let limit = RefusalLimit::default();
        let start = Instant::now();
        let mut written = 0;
        for number in 0..100_000_u32 {
            let client = IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
            written += usize::from(limit.count(client, start) != LogDecision::Suppress);
        }
        assert!(lock(&limit.0).clients.len() <= CLIENTS_MAX + 1);
        assert!(written <= CLIENTS_MAX + LINES_MAX as usize, "{written}");
        limit.count(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), start + WINDOW);
        assert_eq!(lock(&limit.0).clients.len(), 1);
    }
}
