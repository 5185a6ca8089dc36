//! Log lines about what strangers can bring about: one a second at most, with how many were left out.

use std::time::{Duration, Instant};

/// At most one line in this time.
const EVERY: Duration = Duration::from_secs(1);

/// Keeps a flood of clients from becoming a flood of log lines.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// The first line is written at once.
    pub(super) fn new() -> Seldom {
        Seldom::default()
    }

    /// Logs an error, if it is time.
    pub(super) fn error(&mut self, text: &str) {
        if let Some(left_out) = self.due(Instant::now()) {
            log::error!("{text}{left_out}");
        }
    }

    /// Logs a warning, if it is time.
    pub(super) fn warn(&mut self, text: &str) {
        if let Some(left_out) = self.due(Instant::now()) {
            log::warn!("{text}{left_out}");
        }
    }

    /// If a line may be written: what to add to it.
    fn due(&mut self, now: Instant) -> Option<String> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            more => format!(" ({more} lines like this left out)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_tells_how_many_were_left_out() {
        let mut seldom = Seldom::new();
        let start = Instant::now();
        assert_eq!(seldom.due(start).unwrap(), "");
        assert_eq!(seldom.due(start + Duration::from_millis(1)), None);
        assert_eq!(seldom.due(start + Duration::from_millis(999)), None);
        assert_eq!(seldom.due(start + Duration::from_secs(1)).unwrap(), " (2 lines like this left out)");
        assert_eq!(seldom.due(start + Duration::from_secs(9)).unwrap(), "");
    }
}
