//! Decides by its times whether a folder must be listed again.

use std::time::{Duration, Instant};

/// Coarsest supported granularity of file server times: FAT and old SMB servers have 2 s.
pub(super) const GRANULARITY: Duration = Duration::from_secs(2);

/// A folder's mtime and ctime by the file server's clock: (seconds, nanoseconds).
///
/// They are only compared for equality, so a wrong or stepping clock does no harm.
pub(super) type FolderTimes = [(i64, u32); 2];

/// The times of a folder, and whether its listing is trusted.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    seen: Option<(FolderTimes, Instant)>,
    settled: bool,
}

impl Stamp {
    /// Whether a folder with these times must be listed.
    ///
    /// An entry created in the same tick of the file server's clock as the previous one does not
    /// change the times. So a listing is trusted only if it began at least [`GRANULARITY`] after
    /// the times were first seen, by our own clock; until then every scan lists again.
    pub(super) fn is_stale(&mut self, times: FolderTimes, now: Instant) -> bool {
        if self.seen.is_none_or(|(known, _)| known != times) {
            self.seen = Some((times, now));
            self.settled = false;
        }
        !self.settled
    }

    /// Whether the folder is listed again only once its times change.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Notes a complete listing that began at `now`.
    pub(super) fn listed(&mut self, now: Instant) {
        self.settled = self
            .seen
            .is_some_and(|(_, first)| now.saturating_duration_since(first) >= GRANULARITY);
    }

    /// Trusts the listing until the folder's times change.
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
            "a failed listing must be repeated"
        );
        stamp.listed(at(20_000));
        assert!(!stamp.is_stale(new, at(20_000)));
        assert!(
            stamp.is_stale([new[0], (41, 0)], at(20_001)),
            "the ctime must reveal an mtime that was set back"
        );
    }
}
