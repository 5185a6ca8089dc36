//! The folders above the agents' folders: VDNs, media, and the days that are scanned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::day::Day;
use super::super::rel_path::Segment;
use super::folder::FolderState;
use super::stamp::Stamp;

/// How long the previous day is still scanned every time after a new one has appeared.
const OVERLAP: Duration = Duration::from_secs(2 * 3600);

/// After that, the previous day is scanned once in so many scans.
const OLD_DAY_INTERVAL: u64 = 15;

/// Maximum number of days scanned per media folder: the latest two, and older ones while anything
/// grows in them.
const MAX_DAYS: usize = 4;

/// What a scan knows about the names in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Just listed.
    Listed,
    /// Unchanged since the previous scan.
    Same,
    /// Unknown: the folder has disappeared or has too many.
    Unknown,
}

/// A folder that is listed.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(crate) stamp: Stamp,
    /// The latest scan that knew all names in it, or knew that it did not exist.
    pub(crate) verified: Option<u64>,
    /// Whether it has too many names.
    pub(crate) overfull: bool,
}

impl Node {
    /// A new folder, known not to have existed at scan `absent`.
    pub(super) fn new(absent: Option<u64>) -> Node {
        Node {
            verified: absent,
            ..Node::default()
        }
    }

    /// Notes that this scan knew all names, unless they are unknown.
    pub(super) fn verify(&mut self, names: Names, scan: u64) {
        if names != Names::Unknown {
            self.verified = Some(scan);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Vdn {
    pub(crate) node: Node,
    pub(crate) media: BTreeMap<Segment, Media>,
}

#[derive(Debug, Default)]
pub(super) struct Media {
    pub(crate) node: Node,
    pub(crate) days: BTreeMap<Day, DayFolder>,
    /// The latest day ever seen.
    pub(crate) latest: Option<Day>,
}

#[derive(Debug, Default)]
pub(super) struct DayFolder {
    pub(crate) node: Node,
    /// The agents with a folder in it, sorted.
    pub(crate) present: Vec<u32>,
    /// The signed-in ones among them.
    pub(crate) agents: BTreeMap<u32, AgentFolder>,
    /// The generation of sessions for which `agents` was filled.
    pub(crate) sessions: u64,
    pub(crate) grows: bool,
    /// When a later day appeared.
    superseded: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct AgentFolder {
    pub(crate) stamp: Stamp,
    pub(crate) state: FolderState,
}

impl AgentFolder {
    /// Whether the folder has been listed since it changed, and nothing in it grows.
    pub(super) fn is_quiet(&self) -> bool {
        self.stamp.is_settled() && !self.state.is_growing()
    }
}

impl Media {
    /// Applies the current day folders; `before` is the latest scan that knew all names in this
    /// folder.
    ///
    /// No days at all means that the mount is away, and changes nothing.
    pub(super) fn set_days(&mut self, found: &BTreeSet<Day>, before: Option<u64>, now: Instant) {
        let Some(&last) = found.last() else { return };
        let wanted: Vec<Day> = found.iter().rev().take(2).copied().collect();
        for &day in &wanted {
            // A day that existed but was not scanned may hold old recordings.
            let absent = before.filter(|_| self.latest.is_none_or(|latest| day > latest));
            self.days.entry(day).or_insert_with(|| DayFolder {
                node: Node::new(absent),
                ..DayFolder::default()
            });
        }
        self.latest = self.latest.max(Some(last));
        self.days
            .retain(|day, folder| wanted.contains(day) || (*day < last && folder.grows));
        while self.days.len() > MAX_DAYS {
            self.days.pop_first();
        }
        for (&day, folder) in &mut self.days {
            folder.superseded = if day == last {
                None
            } else {
                folder.superseded.or(Some(now))
            };
        }
    }
}

impl DayFolder {
    /// Whether the folder is due in this full scan.
    pub(super) fn is_due(&self, round: u64, now: Instant) -> bool {
        let is_old = self
            .superseded
            .is_some_and(|since| now.saturating_duration_since(since) >= OVERLAP);
        !is_old || self.grows || round.is_multiple_of(OLD_DAY_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(names: &[&str]) -> BTreeSet<Day> {
        names.iter().map(|name| Day::parse(name).unwrap()).collect()
    }

    fn kept(media: &Media) -> Vec<String> {
        media.days.keys().map(Day::to_string).collect()
    }

    #[test]
    fn the_latest_two_days_count_and_those_in_which_something_grows() {
        let (mut media, now) = (Media::default(), Instant::now());
        media.set_days(&days(&["20261101", "20261122", "20261124"]), None, now);
        assert_eq!(kept(&media), ["20261122", "20261124"]);
        media.set_days(&days(&[]), Some(1), now);
        assert_eq!(
            kept(&media),
            ["20261122", "20261124"],
            "a listing without days must not remove any"
        );
        media
            .days
            .get_mut(&Day::parse("20261122").unwrap())
            .unwrap()
            .grows = true;
        media.set_days(
            &days(&["20261101", "20261122", "20261124", "20261125"]),
            Some(2),
            now,
        );
        assert_eq!(kept(&media), ["20261122", "20261124", "20261125"]);
        media
            .days
            .get_mut(&Day::parse("20261122").unwrap())
            .unwrap()
            .grows = false;
        media.set_days(&days(&["20261122", "20261124", "20261125"]), Some(3), now);
        assert_eq!(kept(&media), ["20261124", "20261125"]);
    }

    #[test]
    fn only_a_day_later_than_any_before_is_known_to_be_new() {
        let (mut media, now) = (Media::default(), Instant::now());
        let absent = |media: &Media, day| media.days[&Day::parse(day).unwrap()].node.verified;
        media.set_days(&days(&["20261101", "20261122", "20991231"]), None, now);
        media.set_days(&days(&["20261101", "20261122"]), Some(7), now);
        assert_eq!(
            absent(&media, "20261101"),
            None,
            "it existed before, but was not scanned"
        );
        media.set_days(&days(&["20261122", "20261123"]), Some(8), now);
        assert_eq!(
            absent(&media, "20261123"),
            None,
            "it is earlier than the day that was removed"
        );
        media.set_days(&days(&["20261123", "21000101"]), Some(9), now);
        assert_eq!(absent(&media, "21000101"), Some(9));
    }

    #[test]
    fn the_day_before_is_looked_at_often_for_two_hours_and_seldom_after() {
        let (mut media, start) = (Media::default(), Instant::now());
        let due = |media: &Media, day, number, after| {
            media.days[&Day::parse(day).unwrap()].is_due(number, start + Duration::from_secs(after))
        };
        media.set_days(&days(&["20261123", "20261124"]), None, start);
        // (day, scan, seconds, whether it is due)
        let table = [
            ("20261124", 1, 90_000, true),
            ("20261123", 1, 7199, true),
            ("20261123", 1, 7200, false),
            ("20261123", 15, 7200, true),
        ];
        for (day, number, after, turn) in table {
            assert_eq!(
                due(&media, day, number, after),
                turn,
                "{day} {number} {after}"
            );
        }
        media.set_days(&days(&["20261123"]), None, start);
        assert!(
            due(&media, "20261123", 1, 7200),
            "the later day was removed"
        );
    }

    #[test]
    fn of_days_in_which_something_grows_the_latest_four_are_kept() {
        let (mut media, now) = (Media::default(), Instant::now());
        let all = [
            "20261120", "20261121", "20261122", "20261123", "20261124", "20261125",
        ];
        for last in 1..=all.len() {
            media.set_days(&days(&all[..last]), None, now);
            media.days.values_mut().for_each(|day| day.grows = true);
            assert_eq!(kept(&media), all[last.saturating_sub(4)..last]);
        }
    }
}
