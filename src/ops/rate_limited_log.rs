//! Rate limiting for repeated log lines: the first at once, then at growing intervals.

use std::time::{Duration, Instant};

/// Interval between the first two lines; each further one is twice as long.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Longest interval, so that the log shows a lasting problem as lasting.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Rate limit for one kind of log line.
#[derive(Debug)]
pub(crate) struct RateLimitedLog {
    /// When the last line was written.
    last_logged: Option<Instant>,
    /// When the last event occurred, logged or not.
    last_event: Option<Instant>,
    interval: Duration,
    suppressed: u64,
}

impl Default for RateLimitedLog {
    /// Allows the first line at once.
    fn default() -> RateLimitedLog {
        RateLimitedLog {
            last_logged: None,
            last_event: None,
            interval: INTERVAL_MIN,
            suppressed: 0,
        }
    }
}

impl RateLimitedLog {
    /// Logs an error unless it is suppressed.
    pub(crate) fn error(&mut self, text: &str) {
        if let Some(suppressed) = self.permit(Instant::now()) {
            log::error!(target: "cc_gateway", "{text}{suppressed}");
        }
    }

    /// Logs a warning unless it is suppressed.
    pub(crate) fn warn(&mut self, text: &str) {
        if let Some(suppressed) = self.permit(Instant::now()) {
            log::warn!(target: "cc_gateway", "{text}{suppressed}");
        }
    }

    /// If a line may be logged now, the text to append: the number of suppressed lines, if any.
    pub(crate) fn permit(&mut self, now: Instant) -> Option<String> {
        let since =
            |event: Option<Instant>| event.map(|event| now.saturating_duration_since(event));
        if since(self.last_event.replace(now)).is_none_or(|quiet| quiet >= INTERVAL_MAX) {
            // The interval starts over after a quiet time.
            self.interval = INTERVAL_MIN;
        } else if since(self.last_logged).is_some_and(|since| since < self.interval) {
            self.suppressed += 1;
            return None;
        } else {
            self.interval = INTERVAL_MAX.min(2 * self.interval);
        }
        self.last_logged = Some(now);
        Some(match std::mem::take(&mut self.suppressed) {
            0 => String::new(),
            more => format!(" ({more} similar lines suppressed)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_written_and_the_next_tells_how_many_were_left_out() {
        let mut log = RateLimitedLog::default();
        let start = Instant::now();
        assert_eq!(log.permit(start).unwrap(), "");
        assert_eq!(log.permit(start + Duration::from_millis(1)), None);
        assert_eq!(log.permit(start + Duration::from_millis(999)), None);
        assert_eq!(
            log.permit(start + Duration::from_secs(1)).unwrap(),
            " (2 similar lines suppressed)"
        );
        assert_eq!(log.permit(start + Duration::from_secs(9)).unwrap(), "");
    }

    #[test]
    fn a_trouble_that_lasts_is_told_ever_more_seldom_and_never_forgotten() {
        let mut log = RateLimitedLog::default();
        let start = Instant::now();
        // An event that occurs ten times a second, for a day.
        let times = (0..864_000).map(|tenth| start + Duration::from_millis(100) * tenth);
        let written: Vec<Instant> = times.filter(|&now| log.permit(now).is_some()).collect();
        assert!((1440..1460).contains(&written.len()), "{}", written.len());
        assert!(
            written
                .windows(2)
                .all(|pair| pair[1] - pair[0] <= INTERVAL_MAX + Duration::from_millis(100))
        );
    }

    #[test]
    fn after_a_quiet_time_a_trouble_is_told_as_at_first() {
        let mut log = RateLimitedLog::default();
        let start = Instant::now();
        let mut tells_at = |seconds| log.permit(start + Duration::from_secs(seconds)).is_some();
        assert!((0..600).filter(|&seconds| tells_at(seconds)).count() < 20);
        assert!(tells_at(700) && tells_at(701) && !tells_at(702) && tells_at(703));
    }
}
