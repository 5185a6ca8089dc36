//! A bounded queue that serves its owners round-robin.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A bounded queue with one line per owner; [`pop`](Self::pop) takes from each line in turn.
///
/// An owner's item waits for the owner's earlier ones, and for one of each other owner per turn.
/// When full, the owner with the longest line loses its newest item to one whose line is at least
/// two shorter (longest queue drop).
#[derive(Debug)]
pub(super) struct FairQueue<K, T> {
    /// No line is empty.
    lines: HashMap<K, VecDeque<T>>,
    /// Each owner of a line once; the first is served next.
    turns: VecDeque<K>,
    len: usize,
    max: usize,
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    /// An empty queue for at most `max` items.
    pub(super) fn new(max: usize) -> FairQueue<K, T> {
        FairQueue {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
            max,
        }
    }

    /// Queues `item`; returns the item evicted for it, if any.
    ///
    /// # Errors
    /// The item itself, if there is no room.
    pub(super) fn push(&mut self, owner: K, item: T) -> Result<Option<T>, T> {
        let mut evicted = None;
        if self.len >= self.max {
            let own = self.lines.get(&owner).map_or(0, VecDeque::len);
            // Two shorter, so that two owners do not evict each other in turns.
            match self
                .lines
                .values_mut()
                .max_by_key(|line| line.len())
                .filter(|longest| own + 1 < longest.len())
            {
                Some(longest) => evicted = longest.pop_back(),
                None => return Err(item),
            }
        }
        let line = self.lines.entry(owner).or_default();
        if line.is_empty() {
            self.turns.push_back(owner);
        }
        line.push_back(item);
        self.len += usize::from(evicted.is_none());
        Ok(evicted)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Takes the oldest item of the owner whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let line = self.lines.get_mut(&owner)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        self.len -= usize::from(item.is_some());
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_owner_with_one_item_is_served_next_but_one_however_long_the_line_of_another_is() {
        let mut queue = FairQueue::new(100);
        for item in 0..50 {
            queue.push("guesser", item).unwrap();
        }
        queue.push("agent", 1000).unwrap();
        assert_eq!(
            std::iter::from_fn(|| queue.pop())
                .take(4)
                .collect::<Vec<_>>(),
            [0, 1000, 1, 2]
        );
    }

    #[test]
    fn in_a_full_queue_the_longest_line_makes_room_for_shorter_ones_only() {
        let mut queue = FairQueue::new(4);
        for item in 0..4 {
            assert_eq!(queue.push("a", item), Ok(None));
        }
        assert_eq!(queue.push("a", 4), Err(4));
        assert_eq!(queue.push("b", 10), Ok(Some(3)));
        assert_eq!(queue.push("b", 11), Ok(Some(2)));
        assert_eq!(
            queue.push("b", 12),
            Err(12),
            "both lines have the same length"
        );
        let evicted = queue.push("c", 20).unwrap();
        assert!([Some(1), Some(11)].contains(&evicted), "{evicted:?}");
        assert_eq!(queue.push("c", 21), Err(21));
    }

    proptest! {
        #[test]
        fn everybody_is_served_within_a_turn_of_the_others(
            owners in prop::collection::vec(0_u8..5, 1..80),
            max in 1_usize..40,
        ) {
            let mut queue = FairQueue::new(max);
            for owner in &owners {
                let _ = queue.push(*owner, *owner);
                prop_assert!(queue.len <= max);
            }
            prop_assert_eq!(queue.len, queue.lines.values().map(VecDeque::len).sum::<usize>());
            let served: Vec<u8> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert!(queue.len == 0 && queue.lines.is_empty() && queue.turns.is_empty());
            for (place, owner) in served.iter().enumerate() {
                let own_before = served[..place].iter().filter(|other| *other == owner).count();
                for other in 0..5 {
                    let others_before = served[..place].iter().filter(|served| **served == other).count();
                    prop_assert!(others_before <= own_before + 1, "{served:?}");
                }
            }
        }
    }
}
