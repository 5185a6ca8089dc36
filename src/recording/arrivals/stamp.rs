//! Whether a folder has to be listed again, by its times alone.

use std::time::{Duration, Instant};

/// The coarsest times of a file server that are allowed for: FAT and old SMB servers count in steps
/// of 2 s.
pub(super) const GRANULARITY: Duration = Duration::from_secs(2);

/// When a folder's entries and its attributes changed last, by the file server's clock: (seconds,
/// nanoseconds).
///
/// Both are compared for being different only, never for order, so a clock that is wrong or steps
/// does no harm.
pub(super) type FolderTimes = [(i64, u32); 2];

/// What is remembered of a folder's times.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    seen: Option<(FolderTimes, Instant)>,
    settled: bool,
}

impl Stamp {
    /// Whether a folder that has these times now has to be listed.
    ///
    /// An entry made in the same step of the file server's clock as the one before leaves the times
    /// as they were. So a listing is trusted only if it began a whole [`GRANULARITY`] after the
    /// times were first seen, by our clock, which no step of theirs can mislead; until then every
    /// scan lists again.
    pub(super) fn is_stale(&mut self, times: FolderTimes, now: Instant) -> bool {
        if self.seen.is_none_or(|(known, _)| known != times) {
            self.seen = Some((times, now));
            self.settled = false;
        }
        !self.settled
    }

    /// Remembers that a listing that began at `now` was read whole.
    pub(super) fn listed(&mut self, now: Instant) {
        self.settled = self
            .seen
            .is_some_and(|(_, first)| now.saturating_duration_since(first) >= GRANULARITY);
    }

    /// Has the folder left alone until its times change.
    pub(super) fn mark_settled(&mut self) {
        self.settled = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_until_its_times_are_older_than_they_are_coarse() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut stamp = Stamp::default();
        let (old, new) = ([(100, 0), (100, 0)], [(40, 7), (40, 7)]);
        // (milliseconds, times, whether to list)
        let table = [
            (0, old, true),
            (1000, old, true),
            (2000, old, true),
            (2100, old, false),
            (9000, old, false),
            (9100, new, true),
        ];
        for (millis, times, list) in table {
            assert_eq!(stamp.is_stale(times, at(millis)), list, "at {millis} ms");
            if list {
                stamp.listed(at(millis));
            }
        }
        assert!(
            stamp.is_stale(new, at(20_000)),
            "a listing that failed is made again"
        );
        stamp.listed(at(20_000));
        assert!(!stamp.is_stale(new, at(20_000)));
        assert!(
            stamp.is_stale([new[0], (41, 0)], at(20_001)),
            "an mtime that was put back is seen by the ctime"
        );
    }
}
