//! The undelivered events of a session.

use std::collections::VecDeque;

use super::event::Event;

/// Events kept per session: an hour of recordings of a busy agent that does not poll. About 20 KB
/// when full.
const EVENTS_MAX: usize = 64;

/// At most [`EVENTS_MAX`] events in delivery order. Allocates nothing while empty.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    events: VecDeque<Event>,
}

impl EventQueue {
    /// Queues an event; returns the oldest if that had to make room.
    pub(super) fn push(&mut self, event: Event) -> Option<Event> {
        let dropped = if self.events.len() >= EVENTS_MAX {
            self.events.pop_front()
        } else {
            None
        };
        self.events.push_back(event);
        dropped
    }

    /// Puts back an undelivered event; returns it if there is no room, since it is the oldest.
    pub(super) fn push_front(&mut self, event: Event) -> Option<Event> {
        if self.events.len() >= EVENTS_MAX {
            return Some(event);
        }
        self.events.push_front(event);
        None
    }

    /// Takes the oldest event.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.clear();
        }
        event
    }

    /// Drops all events.
    pub(super) fn clear(&mut self) {
        self.events = VecDeque::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::EventKind;
    use super::*;

    fn event(number: u64) -> Event {
        Event::new(EventKind::Ready, number)
    }

    #[test]
    fn events_come_out_in_their_order_and_the_oldest_of_too_many_is_dropped() {
        let mut queue = EventQueue::default();
        let dropped: Vec<_> = (0..66)
            .filter_map(|number| queue.push(event(number)))
            .collect();
        assert_eq!(dropped, [event(0), event(1)]);
        assert_eq!(queue.push_front(event(1)), Some(event(1)));
        assert_eq!(queue.pop(), Some(event(2)));
        assert_eq!(queue.push_front(event(2)), None);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, (2..66).map(event).collect::<Vec<_>>());
        assert_eq!(queue.events.capacity(), 0);
    }
}
