//! Which bytes of a recording an answer carries (RFC 9110 section 14).

use std::time::SystemTime;

use super::validators::{ETag, is_exactly_modified};

/// A run of bytes that lies inside its file; never empty.
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

    /// The last byte, which belongs to the range.
    pub fn last(self) -> u64 {
        self.last
    }

    /// How many bytes, at least 1.
    pub fn length(self) -> u64 {
        self.last - self.start + 1
    }

    /// The Content-Range field of a 206 for a file of `length` bytes.
    pub fn content_range(self, length: u64) -> String {
        format!("bytes {}-{}/{length}", self.start, self.last)
    }
}

/// What a request asks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it: 200.
    Whole,
    /// One run of its bytes: 206.
    Part(ByteRange),
    /// Bytes it does not have: 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// The state of the file that a Range and an If-Range are held against.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// Its entity tag.
    pub etag: &'a ETag,
    /// Its time of change.
    pub modified: SystemTime,
    /// Its size in bytes.
    pub length: u64,
    /// The time of the answer.
    pub now: SystemTime,
}

/// Applies the Range and If-Range fields of a request, each `None` where the request has none.
///
/// A Range is ignored, and the whole file selected, when If-Range names another state of the file, when the
/// field is malformed or of another unit, and when it asks for several ranges (RFC 9110 section 14.2 allows
/// all of these; multipart answers serve no client of this interface).
pub fn select(range: Option<&str>, if_range: Option<&str>, held: Held<'_>) -> Selection {
    let Some(asked) = range.and_then(parse) else { return Selection::Whole };
    if if_range.is_some_and(|field| !is_current(field.trim(), held)) {
        return Selection::Whole;
    }
    asked.within(held.length)
}

fn is_current(if_range: &str, held: Held<'_>) -> bool {
    held.etag.is_exactly(if_range) || is_exactly_modified(if_range, held.modified, held.now)
}

/// One range as asked for, before it meets a length.
#[derive(Debug, Clone, Copy)]
enum Asked {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

impl Asked {
    fn within(self, length: u64) -> Selection {
        let (start, last) = match self {
            Asked::From(first) => (first, u64::MAX),
            Asked::Between(first, last) => (first, last),
            Asked::Suffix(0) => return Selection::Unsatisfiable,
            Asked::Suffix(suffix) => (length.saturating_sub(suffix), u64::MAX),
        };
        if start >= length {
            return Selection::Unsatisfiable;
        }
        Selection::Part(ByteRange { start, last: last.min(length - 1) })
    }
}

/// Reads `bytes=` and exactly one range; `None` for everything that is to be ignored.
fn parse(field: &str) -> Option<Asked> {
    let (unit, set) = field.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty list elements are to be skipped (RFC 9110 section 5.6.1.2).
    let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    let (spec, None) = (specs.next()?, specs.next()) else { return None };
    match spec.split_once('-')? {
        ("", suffix) => Some(Asked::Suffix(number(suffix)?)),
        (first, "") => Some(Asked::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}

/// Digits only; a number beyond 64 bits is beyond every file, and the greatest one is as well.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Selection::{Unsatisfiable, Whole};
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn part(start: u64, last: u64) -> Selection {
        Selection::Part(ByteRange { start, last })
    }

    fn tag() -> ETag {
        ETag::of(&std::fs::metadata("/").unwrap())
    }

    fn of(range: &str, length: u64) -> Selection {
        let now = UNIX_EPOCH + Duration::from_secs(1_606_867_200);
        select(Some(range), None, Held { etag: &tag(), modified: now, length, now })
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
            assert_eq!(of(field, length), expected, "{field} of {length}");
        }
    }

    #[test]
    fn what_is_malformed_or_several_gives_the_whole() {
        let fields = ["", "bytes", "bytes=", "bytes=-", "bytes=,", "bytes=1", "bytes=2-1", "bytes=a-", "bytes=-a"];
        let more = ["bytes=0-1,3-4", "bytes=0-1,99-", "items=0-1", "bytes =0-1", "bytes=0 - 1", "bytes=+1-2"];
        let odd = ["bytes=0-1-2", "bytes=--1", "bytes=0x1-2", "bytes=١-٢", "0-1", "bytes=0-1;q", "bytes=1.0-2"];
        for field in fields.iter().chain(&more).chain(&odd) {
            assert_eq!(of(field, 10), Whole, "{field}");
        }
    }

    #[test]
    fn if_range_lets_a_range_through_only_for_this_very_file() {
        let (etag, modified) = (tag(), UNIX_EPOCH + Duration::from_secs(1_606_867_200));
        let held = Held { etag: &etag, modified, length: 10, now: modified + Duration::from_secs(60) };
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
            assert_eq!(select(Some("bytes=1-2"), Some(field), held), expected, "{field}");
        }
        assert_eq!(select(Some("bytes=99-"), Some("\"other\""), held), Whole);
        assert_eq!(select(None, Some(etag.as_str()), held), Whole);
        let fresh = Held { now: modified, ..held };
        assert_eq!(select(Some("bytes=1-2"), Some(date), fresh), Whole, "a date as young as this is weak");
    }

    /// The bytes a range names, by looking at every one of them.
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
            let got = of(&format!("bytes={}-{}", print(first), print(last)), length);
            let malformed = matches!((first, last), (None, None)) || matches!((first, last), (Some(a), Some(b)) if a > b);
            let bytes = model(first, last, length);
            match got {
                Whole => prop_assert!(malformed),
                Unsatisfiable => prop_assert!(!malformed && bytes.is_empty()),
                Selection::Part(range) => {
                    prop_assert!(!malformed);
                    prop_assert_eq!(range.length(), bytes.len() as u64);
                    prop_assert_eq!((range.start()..=range.last()).collect::<Vec<_>>(), bytes);
                }
            }
        }

        #[test]
        fn no_field_makes_a_range_leave_the_file(field in "(bytes=)?[0-9,\\- =]{0,24}", length in 0..100_u64) {
            if let Selection::Part(range) = of(&field, length) {
                prop_assert!(range.start() <= range.last() && range.last() < length);
            }
        }
    }
}
