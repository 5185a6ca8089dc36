//! The day folder of a recording path, `yyyymmdd`.

use std::fmt;

/// A calendar day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(u32);

impl Day {
    /// Parses exactly eight ASCII digits that form a valid Gregorian date.
    pub(super) fn parse(text: &str) -> Option<Day> {
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u32 = text.parse().ok()?;
        let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let days = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(Day(number))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_read() {
        for good in ["20201202", "20240229", "20000229", "20251231", "00010101"] {
            assert_eq!(Day::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "20230229",
            "19000229",
            "20200431",
            "20201301",
            "20200001",
            "20200100",
            "2020120",
            "202012020",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
        for bad in ["", "+2020120", "2020-1-2", "２0201202", "2020120a"] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_are_ordered_by_time() {
        assert!(Day::parse("20201231") < Day::parse("20210101"));
    }
}
