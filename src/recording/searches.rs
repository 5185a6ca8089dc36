//! Searches for a latest recording in progress, at most one for each agent.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::ops::sync::lock;

/// The agents whose search waits or runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Searches {
    agents: Arc<Mutex<HashSet<u32>>>,
}

/// The right to one search, given back when dropped.
#[derive(Debug)]
pub(super) struct SearchGuard {
    agent: u32,
    searches: Searches,
}

impl Searches {
    /// Begins a search for `agent`; `None` while an earlier one is not finished.
    pub(super) fn begin(&self, agent: u32) -> Option<SearchGuard> {
        lock(&self.agents).insert(agent).then(|| SearchGuard {
            agent,
            searches: self.clone(),
        })
    }
}

impl Drop for SearchGuard {
    fn drop(&mut self) {
        lock(&self.searches.agents).remove(&self.agent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_one_search_at_a_time() {
        let searches = Searches::default();
        let first = searches.begin(503).unwrap();
        assert!(searches.begin(503).is_none());
        assert!(searches.begin(504).is_some());
        drop(first);
        assert!(searches.begin(503).is_some());
        assert!(lock(&searches.agents).is_empty());
    }
}
