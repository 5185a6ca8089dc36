//! Work in progress, at most one piece of it for each key.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use super::sync::lock;

/// The keys of the work in progress. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct InProgress<K> {
    keys: Arc<Mutex<HashSet<K>>>,
}

/// One piece of work; dropping this ends it.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub(crate) struct ProgressGuard<K: Eq + Hash> {
    key: K,
    keys: Arc<Mutex<HashSet<K>>>,
}

impl<K> Default for InProgress<K> {
    fn default() -> InProgress<K> {
        InProgress {
            keys: Arc::default(),
        }
    }
}

impl<K: Copy + Eq + Hash> InProgress<K> {
    /// Begins the work for `key`; `None` while an earlier one has not ended.
    pub(crate) fn begin(&self, key: K) -> Option<ProgressGuard<K>> {
        lock(&self.keys).insert(key).then(|| ProgressGuard {
            key,
            keys: Arc::clone(&self.keys),
        })
    }
}

impl<K: Eq + Hash> Drop for ProgressGuard<K> {
    fn drop(&mut self) {
        lock(&self.keys).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_progress_once_at_a_time() {
        let searches = InProgress::default();
        let first = searches.begin(503).unwrap();
        assert!(searches.begin(503).is_none());
        assert!(searches.begin(504).is_some());
        drop(first);
        assert!(searches.begin(503).is_some());
        assert!(lock(&searches.keys).is_empty());
    }

    #[test]
    fn work_that_panics_is_over() {
        let searches = InProgress::default();
        let inner = searches.clone();
        let thread = std::thread::spawn(move || {
            let _guard = inner.begin(503);
            panic!("expected by the test");
        });
        assert!(thread.join().is_err());
        assert!(searches.begin(503).is_some());
    }
}
