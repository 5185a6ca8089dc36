//! Ranges and preconditions (RFC 9110 sections 13 and 14).

use std::time::SystemTime;

use super::validators::{ETag, is_exactly_modified, is_unmodified_since};

/// A non-empty byte range within a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    last: u64,
}

impl ByteRange {
    /// The first byte, counted from 0.
    pub fn start(self) -> u64 {
        self.start
    }

    /// The last byte, inclusive.
    pub fn last(self) -> u64 {
        self.last
    }

    /// Length in bytes, at least 1.
    pub fn length(self) -> u64 {
        self.last - self.start + 1
    }

    /// Content-Range of a 206 for a file of `length` bytes.
    pub fn content_range(self, length: u64) -> String {
        format!("bytes {}-{}/{length}", self.start, self.last)
    }
}

/// The part of a file that a request selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it: 200.
    Whole,
    /// One range: 206.
    Part(ByteRange),
    /// A range beyond its end: 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
    /// Nothing, as If-Match or If-Unmodified-Since does not hold: 412.
    PreconditionFailed,
}

/// The request headers that select the part of a file; `None` if absent.
///
/// If-None-Match and If-Modified-Since are ignored: a vendor client sends one with every download
/// but cannot handle a 304.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// If-Match (RFC 9110 section 13.1.1).
    pub if_match: Option<String>,
    /// If-Unmodified-Since (section 13.1.4).
    pub if_unmodified_since: Option<String>,
    /// Range (section 14.2).
    pub range: Option<String>,
    /// If-Range (section 13.1.5).
    pub if_range: Option<String>,
}

/// The state of a file, for evaluating conditions.
#[derive(Debug, Clone, Copy)]
pub struct FileState<'a> {
    /// Its entity tag.
    pub etag: &'a ETag,
    /// Its modification time.
    pub modified: SystemTime,
    /// Its size in bytes.
    pub length: u64,
    /// The time of the response.
    pub now: SystemTime,
}

/// Applies the conditions of a request, in the order of RFC 9110 section 13.2.2.
///
/// If-Unmodified-Since is ignored if there is an If-Match. Range is ignored, and the whole file
/// selected, if If-Range does not match, or if Range is malformed, has another unit or several
/// ranges (section 14.2 allows this; no client of this interface needs multipart responses).
pub fn select(conditions: &Conditions, state: FileState<'_>) -> Selection {
    let may_proceed = match (&conditions.if_match, &conditions.if_unmodified_since) {
        (Some(list), _) => state.etag.is_matched_by(list),
        (None, Some(date)) => is_unmodified_since(date, state.modified, state.now),
        (None, None) => true,
    };
    if !may_proceed {
        return Selection::PreconditionFailed;
    }
    let Some(range) = conditions.range.as_deref().and_then(parse) else {
        return Selection::Whole;
    };
    if conditions
        .if_range
        .as_ref()
        .is_some_and(|field| !is_current(field.trim(), state))
    {
        return Selection::Whole;
    }
    range.within(state.length)
}

fn is_current(if_range: &str, state: FileState<'_>) -> bool {
    state.etag.is_exactly(if_range) || is_exactly_modified(if_range, state.modified, state.now)
}

/// A requested range, before it is applied to a length.
#[derive(Debug, Clone, Copy)]
enum RangeSpec {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

impl RangeSpec {
    fn within(self, length: u64) -> Selection {
        let (start, last) = match self {
            RangeSpec::From(first) => (first, u64::MAX),
            RangeSpec::Between(first, last) => (first, last),
            RangeSpec::Suffix(0) => return Selection::Unsatisfiable,
            RangeSpec::Suffix(suffix) => (length.saturating_sub(suffix), u64::MAX),
        };
        if start >= length {
            return Selection::Unsatisfiable;
        }
        Selection::Part(ByteRange {
            start,
            last: last.min(length - 1),
        })
    }
}

/// Parses `bytes=` and exactly one range; `None` if the header must be ignored.
fn parse(field: &str) -> Option<RangeSpec> {
    let (unit, set) = field.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty list elements are skipped (RFC 9110 section 5.6.1.2).
    let mut specs = set
        .split(',')
        .map(|spec| spec.trim_matches([' ', '\t']))
        .filter(|spec| !spec.is_empty());
    let (spec, None) = (specs.next()?, specs.next()) else {
        return None;
    };
    match spec.split_once('-')? {
        ("", suffix) => Some(RangeSpec::Suffix(number(suffix)?)),
        (first, "") => Some(RangeSpec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeSpec::Between(first, last))
        }
    }
}

/// Digits only. Saturates beyond 64 bits, which is beyond the end of any file.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Selection::{PreconditionFailed, Unsatisfiable, Whole};
    use super::*;
    use crate::recording::resolve::FileStat;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn part(start: u64, last: u64) -> Selection {
        Selection::Part(ByteRange { start, last })
    }

    fn tag() -> ETag {
        ETag::from_stat(&FileStat {
            length: 10,
            modified: (1_606_867_200, 0),
            changed: (0, 0),
            created: None,
            kind: rustix::fs::FileType::RegularFile,
        })
    }

    fn ranged(range: Option<&str>, if_range: Option<&str>, state: FileState<'_>) -> Selection {
        let (range, if_range) = (range.map(str::to_owned), if_range.map(str::to_owned));
        select(
            &Conditions {
                range,
                if_range,
                ..Conditions::default()
            },
            state,
        )
    }

    fn selection(range: &str, length: u64) -> Selection {
        let now = UNIX_EPOCH + Duration::from_secs(1_606_867_200);
        ranged(
            Some(range),
            None,
            FileState {
                etag: &tag(),
                modified: now,
                length,
                now,
            },
        )
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        const GIB: u64 = 1 << 30;
        let table = [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=0-", 10, part(0, 9)),
            ("bytes=9-", 10, part(9, 9)),
            ("bytes=3-99", 10, part(3, 9)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=10-10", 10, Unsatisfiable),
            ("bytes=-1", 10, part(9, 9)),
            ("bytes=-10", 10, part(0, 9)),
            ("bytes=-11", 10, part(0, 9)),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-99999999999999999999999", 10, part(0, 9)),
            ("bytes=-99999999999999999999999", 10, part(0, 9)),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=18446744073709551615-", 10, Unsatisfiable),
            ("bytes=5368709120-", 6 * GIB, part(5 * GIB, 6 * GIB - 1)),
            ("bytes=-1", 6 * GIB, part(6 * GIB - 1, 6 * GIB - 1)),
            ("bytes=0-", u64::MAX, part(0, u64::MAX - 1)),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-5", 0, Unsatisfiable),
            ("Bytes=1-2", 10, part(1, 2)),
            (" bytes=\t1-2 , ", 10, part(1, 2)),
            ("bytes=,,007-8", 10, part(7, 8)),
        ];
        for (field, length, expected) in table {
            assert_eq!(selection(field, length), expected, "{field} of {length}");
        }
    }

    #[test]
    fn what_is_malformed_or_several_gives_the_whole() {
        let fields = [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "bytes=1",
            "bytes=2-1",
            "bytes=a-",
            "bytes=-a",
        ];
        let more = [
            "bytes=0-1,3-4",
            "bytes=0-1,99-",
            "items=0-1",
            "bytes =0-1",
            "bytes=0 - 1",
            "bytes=+1-2",
        ];
        let odd = [
            "bytes=0-1-2",
            "bytes=--1",
            "bytes=0x1-2",
            "bytes=١-٢",
            "0-1",
            "bytes=0-1;q",
            "bytes=1.0-2",
        ];
        for field in fields.iter().chain(&more).chain(&odd) {
            assert_eq!(selection(field, 10), Whole, "{field}");
        }
    }

    #[test]
    fn if_range_lets_a_range_through_only_for_this_very_file() {
        let (etag, modified) = (tag(), UNIX_EPOCH + Duration::from_secs(1_606_867_200));
        let state = FileState {
            etag: &etag,
            modified,
            length: 10,
            now: modified + Duration::from_secs(60),
        };
        let date = "Wed, 02 Dec 2020 00:00:00 GMT";
        let weak = format!("W/{etag}");
        let table = [
            (etag.as_str(), part(1, 2)),
            (date, part(1, 2)),
            (&weak, Whole),
            ("\"other\"", Whole),
            ("Wed, 02 Dec 2020 00:00:01 GMT", Whole),
            ("", Whole),
        ];
        for (field, expected) in table {
            assert_eq!(
                ranged(Some("bytes=1-2"), Some(field), state),
                expected,
                "{field}"
            );
        }
        assert_eq!(ranged(Some("bytes=99-"), Some("\"other\""), state), Whole);
        assert_eq!(ranged(None, Some(etag.as_str()), state), Whole);
        let fresh = FileState {
            now: modified,
            ..state
        };
        assert_eq!(
            ranged(Some("bytes=1-2"), Some(date), fresh),
            Whole,
            "a date this recent is a weak validator"
        );
    }

    #[test]
    fn preconditions_come_before_ranges_and_if_match_before_the_date() {
        let (etag, modified) = (tag(), UNIX_EPOCH + Duration::from_secs(1_606_867_200));
        let state = FileState {
            etag: &etag,
            modified,
            length: 10,
            now: modified + Duration::from_secs(60),
        };
        let (date, earlier) = (
            "Wed, 02 Dec 2020 00:00:00 GMT",
            "Tue, 01 Dec 2020 00:00:00 GMT",
        );
        let table = [
            (
                Some(etag.as_str()),
                None,
                Some("bytes=1-2"),
                None,
                part(1, 2),
            ),
            (
                Some("*"),
                Some(earlier),
                Some("bytes=1-2"),
                None,
                part(1, 2),
            ),
            (
                Some("\"other\""),
                Some(date),
                None,
                None,
                PreconditionFailed,
            ),
            (
                Some("\"other\""),
                None,
                Some("bytes=99-"),
                None,
                PreconditionFailed,
            ),
            (Some(""), None, None, None, PreconditionFailed),
            (
                None,
                Some(earlier),
                Some("bytes=1-2"),
                Some(etag.as_str()),
                PreconditionFailed,
            ),
            (None, Some(date), Some("bytes=99-"), None, Unsatisfiable),
            (None, Some("yesterday"), None, None, Whole),
        ];
        for (if_match, since, range, if_range, expected) in table {
            let [if_match, if_unmodified_since, range, if_range] =
                [if_match, since, range, if_range].map(|field| field.map(str::to_owned));
            let conditions = Conditions {
                if_match,
                if_unmodified_since,
                range,
                if_range,
            };
            assert_eq!(select(&conditions, state), expected, "{conditions:?}");
        }
    }

    /// The bytes that a range selects, found by checking each of them.
    fn model(first: Option<u64>, last: Option<u64>, length: u64) -> Vec<u64> {
        let all = 0..length;
        match (first, last) {
            (Some(first), Some(last)) => all.filter(|at| first <= *at && *at <= last).collect(),
            (Some(first), None) => all.filter(|at| first <= *at).collect(),
            (None, Some(suffix)) => all.filter(|at| length - at <= suffix).collect(),
            (None, None) => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn ranges_agree_with_looking_at_every_byte(
            first in proptest::option::of(0..40_u64),
            last in proptest::option::of(0..40_u64),
            length in 0..30_u64,
        ) {
            let print = |bound: Option<u64>| bound.map(|n| n.to_string()).unwrap_or_default();
            let got = selection(&format!("bytes={}-{}", print(first), print(last)), length);
            let malformed = matches!((first, last), (None, None)) || matches!((first, last), (Some(a), Some(b)) if a > b);
            let bytes = model(first, last, length);
            match got {
                Whole => prop_assert!(malformed),
                Unsatisfiable => prop_assert!(!malformed && bytes.is_empty()),
                PreconditionFailed => prop_assert!(false),
                Selection::Part(range) => {
                    prop_assert!(!malformed);
                    prop_assert_eq!(range.length(), bytes.len() as u64);
                    prop_assert_eq!((range.start()..=range.last()).collect::<Vec<_>>(), bytes);
                }
            }
        }

        #[test]
        fn no_field_makes_a_range_leave_the_file(field in "(bytes=)?[0-9,\\- =]{0,24}", length in 0..100_u64) {
            if let Selection::Part(range) = selection(&field, length) {
                prop_assert!(range.start() <= range.last() && range.last() < length);
            }
        }
    }
}
