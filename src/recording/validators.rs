//! What tells one state of a recording from another: ETag and Last-Modified (RFC 9110 section 8.8).

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second that has no four-digit year, and therefore no HTTP date.
const YEAR_10000: u64 = 253_402_300_800;

/// A strong entity tag, with its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of an opened file: inode, size and modification time to the nanosecond.
    ///
    /// It is strong because a weak one never satisfies If-Range, and then no download could be resumed.
    pub fn of(file: &Metadata) -> ETag {
        ETag(format!("\"{:x}-{:x}-{:x}.{:x}\"", file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    }

    /// The tag as it stands in a header field, quotes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Strong comparison (RFC 9110 section 8.8.3.2): the same tag, and not marked weak.
    pub fn is_exactly(&self, field: &str) -> bool {
        self.0 == field
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Last-Modified field for a file changed at `modified`, in an answer of the time `now`.
///
/// A file server may report any time: one in the future is given as `now` (RFC 9110 section 8.8.2.1), one
/// that no HTTP date can express as the nearest that can be.
pub fn last_modified(modified: SystemTime, now: SystemTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(stamp(modified, now)))
}

/// Whether an HTTP date of If-Range names this state of the file (RFC 9110 section 13.1.5).
///
/// The date must be exactly the Last-Modified, and strong: at least a second before `now`, as a file may
/// change twice within one second and show the same date (section 8.8.2.2).
pub(super) fn is_exactly_modified(field: &str, modified: SystemTime, now: SystemTime) -> bool {
    let stamp = stamp(modified, now);
    let matches = httpdate::parse_http_date(field).is_ok_and(|date| seconds(date) == stamp);
    matches && stamp < seconds(now)
}

fn stamp(modified: SystemTime, now: SystemTime) -> u64 {
    seconds(modified).min(seconds(now))
}

/// Whole seconds since 1970, kept to what an HTTP date can express: httpdate panics on anything else.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().min(YEAR_10000 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn last_modified_is_never_after_the_answer_nor_outside_http_dates() {
        let now = at(1_606_867_200);
        let before_1970 = UNIX_EPOCH - Duration::from_secs(5);
        let far = at(YEAR_10000 * 2);
        assert_eq!(last_modified(at(0), now), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(last_modified(before_1970, now), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(last_modified(far, now), "Wed, 02 Dec 2020 00:00:00 GMT");
        assert_eq!(last_modified(far, far), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(last_modified(now, before_1970), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_date_counts_only_when_exact_and_a_second_old() {
        let modified = at(1_606_867_200) + Duration::from_millis(700);
        let field = "Wed, 02 Dec 2020 00:00:00 GMT";
        assert!(is_exactly_modified(field, modified, at(1_606_867_201)));
        assert!(!is_exactly_modified(field, modified, at(1_606_867_200) + Duration::from_millis(900)));
        assert!(!is_exactly_modified("Wed, 02 Dec 2020 00:00:01 GMT", modified, at(1_606_867_300)));
        assert!(!is_exactly_modified("yesterday", modified, at(1_606_867_300)));
    }

    #[test]
    fn only_the_very_tag_compares_equal() {
        let tag = ETag("\"1-2-3.4\"".to_owned());
        assert!(tag.is_exactly("\"1-2-3.4\""));
        for other in ["W/\"1-2-3.4\"", "1-2-3.4", "\"1-2-3.5\"", "*", "\"1-2-3.4\", \"x\"", ""] {
            assert!(!tag.is_exactly(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_date_we_gave_for_an_old_file_is_recognised(modified in 0..YEAR_10000 - 1, later in 1..1_000_000_u64) {
            let now = at((modified + later).min(YEAR_10000 - 1));
            prop_assert!(is_exactly_modified(&last_modified(at(modified), now), at(modified), now));
        }
    }
}
