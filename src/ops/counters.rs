//! The counters shown by `/metrics`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::sync::lock;

/// A number that only grows. Relaxed, since nothing is ordered by it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The current number of something.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The value now.
    pub(crate) fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters of the service.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connected clients.
    pub(crate) connected: Gauge,
    /// Clients accepted so far.
    pub connections: Counter,
    /// Clients refused at a connection limit.
    pub connections_refused: Counter,
    /// Idle clients without a Guid, closed to make room for others.
    pub(crate) connections_evicted: Counter,
    /// Failed accept(2) calls.
    pub(crate) accept_errors: Counter,
    /// Downloads refused because no thread could be started.
    pub(crate) thread_errors: Counter,
    /// TLS handshakes that failed or timed out.
    pub handshakes_failed: Counter,
    /// Requests that the front refused before they reached an interface.
    pub requests_malformed: Counter,
    /// Bytes of recordings sent to clients.
    pub(crate) video_bytes: Counter,
    /// Downloads cut short.
    pub downloads_cut: Counter,
    /// Requests waiting for something without holding a worker.
    pub(crate) waiting: Gauge,
    /// Polls parked until something happens.
    pub(crate) parked_polls: Gauge,
    /// Panics contained by a worker.
    pub(crate) worker_panics: Counter,
    /// When the first of the served certificates that clients check expires, in seconds since 1970.
    pub(crate) certificate_expiry: AtomicI64,
    /// Requests answered, by log name of the interface and result code.
    requests: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Counters {
    /// Counts one request answered with `code` by `interface`. Both come from static tables, so
    /// strangers cannot grow the map.
    pub(crate) fn count_request(&self, interface: &'static str, code: &'static str) {
        *lock(&self.requests).entry((interface, code)).or_default() += 1;
    }

    /// Requests answered so far, by interface and code, in a stable order.
    pub(crate) fn requests(&self) -> Vec<((&'static str, &'static str), u64)> {
        lock(&self.requests)
            .iter()
            .map(|(&key, &count)| (key, count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_goes_up_and_down() {
        let gauge = Gauge::default();
        gauge.increment();
        gauge.increment();
        assert_eq!(gauge.value(), 2);
        gauge.decrement();
        assert_eq!(gauge.value(), 1);
    }

    #[test]
    fn requests_are_counted_by_interface_and_code() {
        let counters = Counters::default();
        counters.count_request("login", "0");
        counters.count_request("login", "100-004");
        counters.count_request("login", "0");
        assert_eq!(
            counters.requests(),
            [(("login", "0"), 2), (("login", "100-004"), 1)]
        );
    }
}
