//! Validators of a recording's state: ETag and Last-Modified (RFC 9110 section 8.8).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::resolve::FileStat;

/// The first second without a four-digit year, and so without an HTTP date.
const YEAR_10000: u64 = 253_402_300_800;

/// A strong entity tag, with its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of a file: size in bytes and mtime to the nanosecond.
    ///
    /// It excludes the inode, which changes with each mount on FUSE and CIFS and differs between
    /// nodes, because downloads must be resumable after a remount and on another node. It is strong
    /// because weak tags never satisfy If-Range.
    pub fn new(length: u64, seconds: i64, nanoseconds: u32) -> ETag {
        ETag(format!("\"{length:x}-{seconds:x}.{nanoseconds:x}\""))
    }

    /// The tag of an opened file.
    pub(super) fn from_stat(file: &FileStat) -> ETag {
        let (seconds, nanoseconds) = file.modified;
        ETag::new(file.length, seconds, nanoseconds)
    }

    /// The tag with its quotes.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Strong comparison (RFC 9110 section 8.8.3.2).
    pub(crate) fn is_exactly(&self, field: &str) -> bool {
        self.0 == field
    }

    /// Whether If-Match holds: it is `*`, or its list contains this tag (strong comparison, RFC
    /// 9110 section 13.1.1). Our tags contain no commas, so the list can be split at every comma.
    pub(super) fn is_matched_by(&self, if_match: &str) -> bool {
        let if_match = if_match.trim();
        if_match == "*"
            || if_match
                .split(',')
                .any(|tag| self.is_exactly(tag.trim_matches([' ', '\t'])))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Last-Modified of a file with this mtime, in a response sent at `now`.
///
/// Clamped: future times become `now` (RFC 9110 section 8.8.2.1), and times outside the range of
/// HTTP dates the nearest one in it.
pub(crate) fn last_modified(modified: SystemTime, now: SystemTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(stamp(modified, now)))
}

/// Whether a date in If-Range matches (RFC 9110 section 13.1.5).
///
/// It must equal Last-Modified and be strong: at least a second before `now`, as a file may change
/// twice within a second (section 8.8.2.2).
pub(super) fn is_exactly_modified(field: &str, modified: SystemTime, now: SystemTime) -> bool {
    let stamp = stamp(modified, now);
    let matches = httpdate::parse_http_date(field).is_ok_and(|date| seconds(date) == stamp);
    matches && stamp < seconds(now)
}

/// Whether If-Unmodified-Since holds: Last-Modified is not later. Invalid dates are ignored (RFC
/// 9110 section 13.1.4).
pub(super) fn is_unmodified_since(field: &str, modified: SystemTime, now: SystemTime) -> bool {
    httpdate::parse_http_date(field.trim())
        .map_or(true, |date| stamp(modified, now) <= seconds(date))
}

fn stamp(modified: SystemTime, now: SystemTime) -> u64 {
    seconds(modified).min(seconds(now))
}

/// Whole seconds since 1970, clamped to the range of HTTP dates: httpdate panics on anything else.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().min(YEAR_10000 - 1))
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
        assert_eq!(
            last_modified(before_1970, now),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
        assert_eq!(last_modified(far, now), "Wed, 02 Dec 2020 00:00:00 GMT");
        assert_eq!(last_modified(far, far), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(
            last_modified(now, before_1970),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    #[test]
    fn a_date_counts_only_when_exact_and_a_second_old() {
        let modified = at(1_606_867_200) + Duration::from_millis(700);
        let field = "Wed, 02 Dec 2020 00:00:00 GMT";
        assert!(is_exactly_modified(field, modified, at(1_606_867_201)));
        assert!(!is_exactly_modified(
            field,
            modified,
            at(1_606_867_200) + Duration::from_millis(900)
        ));
        assert!(!is_exactly_modified(
            "Wed, 02 Dec 2020 00:00:01 GMT",
            modified,
            at(1_606_867_300)
        ));
        assert!(!is_exactly_modified(
            "yesterday",
            modified,
            at(1_606_867_300)
        ));
    }

    #[test]
    fn only_the_very_tag_compares_equal() {
        let tag = ETag("\"2-3.4\"".to_owned());
        assert!(tag.is_exactly("\"2-3.4\""));
        for other in [
            "W/\"2-3.4\"",
            "2-3.4",
            "\"2-3.5\"",
            "*",
            "\"2-3.4\", \"x\"",
            "",
        ] {
            assert!(!tag.is_exactly(other), "{other}");
        }
    }

    #[test]
    fn a_list_matches_when_the_very_tag_is_in_it() {
        let tag = ETag("\"2-3.4\"".to_owned());
        for list in [
            "*",
            " * ",
            "\"2-3.4\"",
            "\"a\", \"2-3.4\"",
            "\"a,b\",\t\"2-3.4\" ,",
            ",\"2-3.4\",W/\"x\"",
        ] {
            assert!(tag.is_matched_by(list), "{list}");
        }
        for list in [
            "",
            ",",
            "\"a\"",
            "W/\"2-3.4\"",
            "2-3.4",
            "\"a\" \"2-3.4\"",
            "*, \"a\"",
            "\"2-3.4",
            "**",
        ] {
            assert!(!tag.is_matched_by(list), "{list}");
        }
    }

    #[test]
    fn a_file_is_unmodified_since_its_own_date_and_later_ones() {
        let (modified, now) = (
            at(1_606_867_200) + Duration::from_millis(700),
            at(1_700_000_000),
        );
        for (field, holds) in [
            ("Wed, 02 Dec 2020 00:00:00 GMT", true),
            ("Wednesday, 02-Dec-20 00:00:00 GMT", true),
            ("Fri, 31 Dec 9999 23:59:59 GMT", true),
            ("Tue, 01 Dec 2020 23:59:59 GMT", false),
            ("Thu, 01 Jan 1970 00:00:00 GMT", false),
            ("yesterday", true),
            ("", true),
        ] {
            assert_eq!(is_unmodified_since(field, modified, now), holds, "{field}");
        }
    }

    #[test]
    fn a_tag_is_made_of_size_and_time_alone() {
        let stat = |length, seconds, nanoseconds| FileStat {
            length,
            modified: (seconds, nanoseconds),
            changed: (0, 0),
            created: None,
            kind: rustix::fs::FileType::RegularFile,
        };
        assert_eq!(ETag::from_stat(&stat(255, 16, 1)).as_str(), "\"ff-10.1\"");
        let tags = [
            stat(255, 16, 1),
            stat(254, 16, 1),
            stat(255, 17, 1),
            stat(255, 16, 2),
            stat(255, -16, 1),
        ];
        let different: std::collections::HashSet<_> =
            tags.iter().map(|stat| ETag::from_stat(stat).0).collect();
        assert_eq!(different.len(), tags.len());
    }

    proptest! {
        #[test]
        fn a_date_we_gave_for_an_old_file_is_recognised(modified in 0..YEAR_10000 - 1, later in 1..1_000_000_u64) {
            let now = at((modified + later).min(YEAR_10000 - 1));
            prop_assert!(is_exactly_modified(&last_modified(at(modified), now), at(modified), now));
        }
    }
}
