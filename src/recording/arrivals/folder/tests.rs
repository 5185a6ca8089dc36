use super::*;
use crate::recording::MountError;
use std::collections::BTreeMap;

/// A folder in memory, and the state that scans keep of it.
struct Folder {
    files: BTreeMap<String, FileInfo>,
    state: FolderState,
    hasher: RandomState,
    now: Instant,
}

/// A change in short: the file, its size, and for a complete one its begin and end.
type Short = (String, u64, Option<(i64, i64)>);

impl Folder {
    fn new(all_new: bool) -> Folder {
        let (files, hasher) = (BTreeMap::new(), RandomState::new());
        Folder {
            files,
            state: FolderState::new(all_new),
            hasher,
            now: Instant::now(),
        }
    }

    fn put(&mut self, name: &str, size: u64, modified_ns: i64) {
        self.files.insert(
            name.to_owned(),
            FileInfo {
                size,
                modified_ns,
                created_ns: None,
            },
        );
    }

    fn rename(&mut self, from: &str, to: &str) {
        let file = self.files.remove(from).unwrap();
        self.files.insert(to.to_owned(), file);
    }

    /// A scan two seconds after the one before, with a listing.
    fn scan(&mut self) -> Vec<Short> {
        self.look_after(2).0
    }

    fn look_after(&mut self, seconds: u64) -> (Vec<Short>, bool) {
        self.now += Duration::from_secs(seconds);
        let (files, mut out) = (&self.files, Vec::new());
        let mut probe = |name: &Segment| Ok(files.get(name.as_str()).copied());
        self.state
            .check_growing(&self.hasher, self.now, &mut probe, &mut out)
            .unwrap();
        let mut listing = Listing::default();
        files
            .keys()
            .for_each(|name| self.state.note(&mut listing, &self.hasher, name));
        let whole = self
            .state
            .finish_listing(listing, &self.hasher, self.now, &mut probe, &mut out)
            .unwrap();
        (out.iter().map(short).collect(), whole)
    }
}

fn short(change: &Change) -> Short {
    (
        change.name.as_str().to_owned(),
        change.size,
        change.end_ns.map(|end| (change.begin_ns, end)),
    )
}

fn started(name: &str, size: u64) -> Short {
    (name.to_owned(), size, None)
}

fn finished(name: &str, size: u64, times: (i64, i64)) -> Short {
    (name.to_owned(), size, Some(times))
}

#[test]
fn a_recording_is_announced_when_it_appears_and_when_two_looks_find_it_the_same() {
    let mut folder = Folder::new(true);
    assert_eq!(folder.scan(), []);
    folder.put("a.mp4", 10, 100);
    assert_eq!(folder.scan(), [started("a.mp4", 10)]);
    folder.put("a.mp4", 20, 200);
    assert_eq!(folder.scan(), []);
    folder.put("a.mp4", 20, 300);
    assert_eq!(
        folder.scan(),
        [],
        "a file with a new mtime is still being written"
    );
    assert_eq!(folder.scan(), [finished("a.mp4", 20, (100, 300))]);
    folder.put("a.mp4", 30, 400);
    assert_eq!(
        (0..3).flat_map(|_| folder.scan()).collect::<Vec<_>>(),
        [],
        "a complete recording that grows again is not announced"
    );
    assert!(!folder.state.is_growing());
}

#[test]
fn what_was_there_before_is_announced_only_if_it_grows_within_a_minute() {
    let mut folder = Folder::new(false);
    for number in 0..20 {
        folder.put(&format!("{number:02}.mp4"), 10, number);
    }
    assert_eq!(folder.scan(), []);
    assert_eq!(folder.scan(), []);
    folder.put("19.mp4", 11, 50);
    folder.put("18.mp4", 10, 51);
    assert_eq!(
        folder.scan(),
        [started("19.mp4", 11)],
        "a new mtime alone must not count as growth"
    );
    assert_eq!(folder.scan(), [finished("19.mp4", 11, (19, 50))]);
    folder.put("00.mp4", 11, 52);
    assert_eq!(folder.scan(), [], "the oldest are not watched");
    assert_eq!(folder.look_after(60).0, []);
    assert!(!folder.state.is_growing());
    folder.put("17.mp4", 11, 60);
    assert_eq!((0..3).flat_map(|_| folder.scan()).collect::<Vec<_>>(), []);
}

#[test]
fn an_empty_file_waits_for_its_first_bytes_but_not_for_ever() {
    let mut folder = Folder::new(true);
    folder.put("a.mp4", 0, 100);
    folder.put("b.mp4", 0, 100);
    assert_eq!((0..3).flat_map(|_| folder.scan()).collect::<Vec<_>>(), []);
    folder.put("a.mp4", 5, 200);
    assert_eq!(folder.scan(), [started("a.mp4", 5)]);
    assert_eq!(folder.scan(), [finished("a.mp4", 5, (100, 200))]);
    assert_eq!(folder.look_after(600).0, []);
    assert!(!folder.state.is_growing());
}

#[test]
fn another_name_is_no_other_recording() {
    let mut folder = Folder::new(true);
    folder.put("a.mp4", 10, 100);
    assert_eq!(folder.scan(), [started("a.mp4", 10)]);
    folder.rename("a.mp4", "b.mp4");
    assert_eq!(
        folder.scan(),
        [],
        "a renamed file must not be announced as a new one"
    );
    assert_eq!(folder.scan(), [finished("b.mp4", 10, (100, 100))]);
    folder.rename("b.mp4", "c.mp4");
    assert_eq!((0..3).flat_map(|_| folder.scan()).collect::<Vec<_>>(), []);
    // A copy is a new recording, because the first still exists.
    folder.put("d.mp4", 10, 100);
    assert_eq!(folder.scan(), [started("d.mp4", 10)]);
}

#[test]
fn what_goes_and_comes_back_is_known() {
    let mut folder = Folder::new(true);
    folder.put("a.mp4", 10, 100);
    folder.put("b.mp4", 10, 101);
    assert_eq!(folder.scan(), [started("a.mp4", 10), started("b.mp4", 10)]);
    let away = folder.files.remove("a.mp4").unwrap();
    assert_eq!(folder.scan(), [finished("b.mp4", 10, (101, 101))]);
    folder.files.clear();
    assert_eq!(folder.scan(), []);
    folder.files.insert("a.mp4".to_owned(), away);
    folder.put("b.mp4", 10, 101);
    assert_eq!(folder.scan(), [], "the start has been announced already");
    assert_eq!(folder.scan(), [finished("a.mp4", 10, (100, 100))]);
}

#[test]
fn a_clock_that_steps_back_ends_nothing_before_its_begin() {
    let mut folder = Folder::new(true);
    folder.put("a.mp4", 10, 5_000);
    folder.scan();
    folder.put("a.mp4", 20, 1_000);
    assert_eq!(folder.scan(), []);
    assert_eq!(folder.scan(), [finished("a.mp4", 20, (5_000, 5_000))]);
    // (created, first modified, begin)
    let day = 86_400_000_000_000;
    for (created, modified, begin) in [
        (Some(7), 9, 7),
        (Some(11), 9, 9),
        (None, 9, 9),
        (Some(0), day, 0),
        (Some(0), day + 1, day + 1),
    ] {
        let seen = FileInfo {
            size: 1,
            modified_ns: modified,
            created_ns: created,
        };
        let growing = Growing::new(Segment::parse("a").unwrap(), 0, seen, folder.now, None);
        assert_eq!(growing.begin_ns, begin, "{created:?} {modified}");
    }
}

#[test]
fn more_than_there_is_place_for_is_announced_in_turn_and_the_memory_stays_bounded() {
    let mut folder = Folder::new(true);
    let many = 3 * MAX_GROWING + 1;
    for number in 0..many {
        folder.put(&format!("{number}.mp4"), 10, i64::try_from(number).unwrap());
    }
    let (mut starts, mut ends) = (0, 0);
    for _ in 0..8 {
        let (changes, whole) = folder.look_after(2);
        starts += changes.iter().filter(|(.., times)| times.is_none()).count();
        ends += changes.iter().filter(|(.., times)| times.is_some()).count();
        assert!(folder.state.growing.len() <= MAX_GROWING);
        assert_eq!(whole, starts == many);
    }
    assert_eq!((starts, ends), (many, many));
    // Recordings that disappear before they are complete free their places.
    for round in 1..4 {
        for number in 0..MAX_GROWING {
            folder.put(&format!("gone-{round}-{number}.mp4"), 10 * round, 0);
        }
        assert_eq!(folder.scan().len(), MAX_GROWING, "round {round}");
        folder.files.retain(|name, _| !name.starts_with("gone"));
        folder.scan();
    }
}

#[test]
fn names_that_are_gone_are_forgotten_beyond_the_bound() {
    let mut folder = Folder::new(true);
    for round in 0..6 {
        for number in 0..MAX_GROWING * 32 {
            folder.put(&format!("{round}-{number}.mp4"), 10, i64::from(round));
        }
        (0..34).for_each(|_| drop(folder.scan()));
        folder.files.clear();
    }
    assert!(folder.state.known.len() <= MAX_NAMES + MAX_GROWING);
}

#[test]
fn a_look_that_fails_loses_nothing() {
    for all_new in [false, true] {
        let mut folder = Folder::new(all_new);
        folder.put("a.mp4", 10, 100);
        let (mut listing, mut out) = (Listing::default(), Vec::new());
        folder.state.note(&mut listing, &folder.hasher, "a.mp4");
        let mut fails = |_: &Segment| Err(OpenError::Unavailable(MountError::TimedOut));
        let ended =
            folder
                .state
                .finish_listing(listing, &folder.hasher, folder.now, &mut fails, &mut out);
        assert_eq!(
            (ended, out.len()),
            (Err(OpenError::Unavailable(MountError::TimedOut)), 0)
        );
        assert_eq!(folder.state.is_baselined(), all_new);
        assert_eq!(folder.scan().len(), usize::from(all_new));
        let ended = folder
            .state
            .check_growing(&folder.hasher, folder.now, &mut fails, &mut out);
        assert_eq!(
            (ended, out.len()),
            (Err(OpenError::Unavailable(MountError::TimedOut)), 0)
        );
        assert_eq!(folder.scan().len(), usize::from(all_new));
    }
}

#[test]
fn a_folder_grows_while_a_recording_in_it_may() {
    let mut state = FolderState::new(true);
    assert!(!state.is_growing());
    let now = Instant::now();
    let seen = FileInfo {
        size: 1,
        modified_ns: 1,
        created_ns: None,
    };
    for (gone, until, is_growing) in [
        (false, None, true),
        (false, Some(now), true),
        (true, Some(now), true),
        (true, None, false),
    ] {
        let mut growing = Growing::new(Segment::parse("a").unwrap(), 0, seen, now, until);
        growing.gone = gone;
        state.growing = vec![growing];
        assert_eq!(state.is_growing(), is_growing, "{gone} {until:?}");
    }
}

#[test]
fn a_recording_of_the_sign_in_that_is_gone_is_watched_for_as_long_as_one_that_is_there() {
    let (mut state, start) = (FolderState::new(true), Instant::now());
    let hasher = RandomState::new();
    let seen = FileInfo {
        size: 1,
        modified_ns: 1,
        created_ns: None,
    };
    let until = start + Duration::from_secs(60);
    let name = Segment::parse("a").unwrap();
    state.growing = vec![Growing::new(name, 0, seen, start, Some(until))];
    for (second, is_watched) in [(0, true), (59, true), (60, false)] {
        let now = start + Duration::from_secs(second);
        let mut changes = Vec::new();
        state
            .check_growing(&hasher, now, &mut |_| Ok(None), &mut changes)
            .unwrap();
        assert_eq!(state.growing.len(), usize::from(is_watched), "{second}");
        assert!(changes.is_empty());
    }
    assert_eq!(state.known.len(), 1, "the recording must stay known");
}

#[test]
fn however_many_names_are_gone_they_are_forgotten_beyond_the_bound() {
    let mut folder = Folder::new(true);
    let seen = FileInfo {
        size: 1,
        modified_ns: 1,
        created_ns: None,
    };
    let identity = identity(&folder.hasher, &seen);
    for (beyond, kept) in [(0, MAX_NAMES), (1, 0), (2, 0)] {
        folder.state.known = (0..MAX_NAMES as u64 + beyond)
            .map(|name| Known { name, identity })
            .collect();
        folder.scan();
        assert_eq!(folder.state.known.len(), kept, "{beyond}");
    }
}
