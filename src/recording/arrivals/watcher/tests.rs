use super::*;
use crate::recording::arrivals::Figures;
use crate::recording::resolve;
use crate::recording::scratch::Scratch;
use std::path::PathBuf;

mod any_order;

/// A mount, its watcher, and the signed-in agents.
struct Site {
    scratch: Scratch,
    watcher: Watcher,
    agents: BTreeMap<u32, Instant>,
    now: Instant,
}

/// An arrival in short: the agent, the path, and whether the recording is complete.
type Short = (u32, String, bool);

/// The limits in force, but with enough CPU time for a machine of any speed.
const ANY_CPU: Limits = Limits {
    cpu: Duration::from_secs(600),
    folders: 20_000,
    entries: 120_000,
    files: 25_000,
    agents_at_once: 2500,
};

impl Site {
    fn new() -> Site {
        Site::with(ANY_CPU)
    }

    fn with(limits: Limits) -> Site {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let suffixes = Suffixes {
            audio: names(&["v3", "wav"]),
            video: names(&["mp4"]),
        };
        let (scratch, watcher) = (Scratch::new(), Watcher::new(suffixes, limits));
        Site {
            scratch,
            watcher,
            agents: BTreeMap::new(),
            now: Instant::now(),
        }
    }

    /// Signs an agent in, or in again.
    fn sign_in(&mut self, agent: u32) {
        self.now += Duration::from_nanos(1);
        self.agents.insert(agent, self.now);
    }

    fn write(&self, path: &str, size: usize) -> PathBuf {
        self.scratch.file(path, &vec![b'x'; size])
    }

    /// A scan two seconds after the one before.
    fn scan(&mut self) -> Vec<Short> {
        self.now += Duration::from_secs(2);
        short(&self.look_at(Scope::All).arrivals)
    }

    fn look_at(&mut self, scope: Scope) -> Scan {
        let agents: Vec<_> = self
            .agents
            .iter()
            .map(|(&number, &since)| WatchedAgent { number, since })
            .collect();
        let mount = resolve::open_root(self.scratch.path(), false).unwrap();
        let deadline = Instant::now() + Duration::from_secs(600);
        let scan = self
            .watcher
            .scan(mount.as_fd(), &agents, scope, self.now, deadline);
        assert_eq!(scan.error, None);
        scan
    }
}

fn short(arrivals: &[(WatchedAgent, Arrival)]) -> Vec<Short> {
    let each = |(agent, arrival): &(WatchedAgent, Arrival)| {
        let path = arrival.recording.path().to_string();
        (agent.number, path, arrival.end_time_ms.is_some())
    };
    arrivals.iter().map(each).collect()
}

fn started(agent: u32, path: &str) -> Short {
    (agent, path.to_owned(), false)
}

fn finished(agent: u32, path: &str) -> Short {
    (agent, path.to_owned(), true)
}

#[test]
fn a_signed_in_agent_is_told_of_what_appears_after_the_sign_in() {
    let mut site = Site::new();
    site.write("1/0/20261125/503/old.mp4", 3);
    site.sign_in(503);
    assert_eq!(short(&site.look_at(Scope::NewAgents).arrivals), []);
    site.write("1/0/20261125/503/new.mp4", 3);
    site.write("1/0/20261125/503/new.V3", 3);
    site.write("1/0/20261125/503/new.tmp", 3);
    site.write("1/0/20261125/503/folder.mp4/x.mp4", 3);
    site.write("1/0/20261125/504/new.mp4", 3);
    site.write("1/0/20261125/0503/new.mp4", 3);
    site.write("1/0/20261325/503/new.mp4", 3);
    site.scratch.link(
        "1/0/20261125/503/link.mp4",
        &site.scratch.path().join("1/0/20261125/504/new.mp4"),
    );
    assert_eq!(
        short(&site.look_at(Scope::NewAgents).arrivals),
        [],
        "a scan of new agents must leave out agents that were scanned before"
    );
    let sorted = |mut found: Vec<Short>| {
        found.sort();
        found
    };
    let (sound, picture) = ("1/0/20261125/503/new.V3", "1/0/20261125/503/new.mp4");
    assert_eq!(
        sorted(site.scan()),
        [started(503, sound), started(503, picture)]
    );
    assert_eq!(
        sorted(site.scan()),
        [finished(503, sound), finished(503, picture)]
    );
    assert_eq!(site.scan(), []);
}

#[test]
fn an_arrival_says_what_its_event_needs() {
    let mut site = Site::new();
    site.scratch.folder("3/0/20261124");
    site.sign_in(1203);
    site.scan();
    let path = site.write("3/0/20261124/1203/0915307.mp4", 5);
    site.now += Duration::from_secs(2);
    let session = WatchedAgent {
        number: 1203,
        since: site.agents[&1203],
    };
    let scan = site.look_at(Scope::All);
    let [
        (
            told,
            Arrival {
                recording,
                task_id: task,
                size: 5,
                begin_time_ms,
                end_time_ms: None,
            },
        ),
    ] = &scan.arrivals[..]
    else {
        panic!("no start");
    };
    assert_eq!(*told, session);
    let drive = crate::config::Drive::new('z').unwrap();
    assert_eq!(
        recording.record_id(drive),
        "Z:/3/0/20261124/1203/0915307.mp4"
    );
    assert_eq!(
        (recording.serial(drive).as_str(), recording.kind()),
        ("Zc1v3a1203d20261124t0915307", MediaKind::Video)
    );
    let modified = path.metadata().unwrap().modified().unwrap();
    let modified = modified
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    site.now += Duration::from_secs(2);
    let scan = site.look_at(Scope::All);
    let [
        (
            _,
            Arrival {
                size: 5,
                task_id,
                begin_time_ms: begin,
                end_time_ms: Some(end_time_ms),
                ..
            },
        ),
    ] = &scan.arrivals[..]
    else {
        panic!("no end");
    };
    assert_eq!(
        (begin, u128::try_from(*end_time_ms).unwrap()),
        (begin_time_ms, modified)
    );
    assert!(begin <= end_time_ms);
    assert!(task_id == task && *task > 0);
    assert!(scan.figures.cpu > Duration::ZERO);
}

#[test]
fn what_is_too_long_to_be_asked_for_is_not_announced() {
    let mut site = Site::new();
    site.scratch.folder("1/0/20261125");
    site.sign_in(503);
    site.scan();
    // "Y:/1/0/20261125/503/" has 20 characters.
    let fits = format!("1/0/20261125/503/{}.mp4", "ä".repeat(MAX_LEN - 24));
    site.write(&fits, 1);
    site.write(
        &format!("1/0/20261125/503/{}.mp4", "b".repeat(MAX_LEN - 23)),
        1,
    );
    assert_eq!(site.scan(), [started(503, &fits)]);
}

#[test]
fn the_next_day_and_new_folders_hold_nothing_but_new_recordings() {
    let mut site = Site::new();
    site.write("1/0/20261124/503/old.mp4", 3);
    site.sign_in(503);
    site.scan();
    site.write("1/0/20261124/503/over-midnight.mp4", 3);
    assert_eq!(
        site.scan(),
        [started(503, "1/0/20261124/503/over-midnight.mp4")]
    );
    site.write("1/0/20261124/503/over-midnight.mp4", 4);
    for path in [
        "1/0/20261125/503/a.mp4",
        "1/7/20261125/503/b.mp4",
        "2/0/20261125/503/c.mp4",
    ] {
        site.write(path, 3);
        assert!(site.scan().contains(&started(503, path)), "{path}");
    }
    site.write("1/0/20261124/503/late.mp4", 3);
    assert!(
        site.scan()
            .contains(&started(503, "1/0/20261124/503/late.mp4"))
    );
    // Days that existed before, but were not scanned.
    site.write("2/0/20261120/503/older.mp4", 3);
    std::fs::remove_dir_all(site.scratch.path().join("2/0/20261125")).unwrap();
    site.scan();
    assert_eq!(site.scan(), []);
}

#[test]
fn a_sign_out_ends_it_and_another_sign_in_begins_anew() {
    let mut site = Site::new();
    site.scratch.folder("1/0/20261125/503");
    site.sign_in(503);
    site.scan();
    site.write("1/0/20261125/503/a.mp4", 3);
    assert_eq!(site.scan(), [started(503, "1/0/20261125/503/a.mp4")]);
    site.agents.clear();
    site.write("1/0/20261125/503/b.mp4", 3);
    assert_eq!(site.scan(), []);
    let media = &site.watcher.vdns.values().next().unwrap().media;
    assert!(
        media
            .values()
            .flat_map(|media| media.days.values())
            .all(|day| day.agents.is_empty()),
        "no state of an agent may be kept"
    );
    site.sign_in(503);
    assert_eq!(site.scan(), []);
    site.write("1/0/20261125/503/c.mp4", 3);
    site.sign_in(503);
    site.write("1/0/20261125/503/d.mp4", 3);
    assert_eq!(site.scan(), [], "the first scan after a forced sign-in");
    site.write("1/0/20261125/503/d.mp4", 4);
    assert_eq!(site.scan(), [started(503, "1/0/20261125/503/d.mp4")]);
}

#[test]
fn a_mount_that_goes_and_comes_back_holds_nothing_new() {
    for away_at_first in [true, false] {
        let mut site = Site::new();
        site.write("1/0/20261125/503/a.mp4", 3);
        site.sign_in(503);
        if !away_at_first {
            site.scan();
            site.scan();
        }
        let tree = site.scratch.path().join("1");
        let outside = Scratch::new();
        std::fs::rename(&tree, outside.path().join("1")).unwrap();
        for _ in 0..3 {
            assert_eq!(site.scan(), []);
        }
        std::fs::rename(outside.path().join("1"), &tree).unwrap();
        for _ in 0..3 {
            assert_eq!(site.scan(), []);
        }
        site.write("1/0/20261125/503/b.mp4", 3);
        assert_eq!(site.scan(), [started(503, "1/0/20261125/503/b.mp4")]);
    }
}

#[test]
fn what_has_not_changed_is_not_listed() {
    let mut site = Site::new();
    for agent in 501..504 {
        site.write(&format!("1/0/20261125/{agent}/a.mp4"), 3);
        site.sign_in(agent);
    }
    for _ in 0..2 {
        site.scan();
    }
    // The watch for growth ends.
    site.now += Duration::from_secs(60);
    site.scan();
    let costs = |site: &mut Site| {
        site.now += Duration::from_secs(2);
        let Figures {
            folders,
            listed,
            entries,
            files,
            ..
        } = site.look_at(Scope::All).figures;
        [folders, listed, entries, files]
    };
    assert_eq!(costs(&mut site), [3, 0, 0, 0]);
    site.write("1/0/20261125/502/b.mp4", 3);
    assert_eq!(costs(&mut site), [3, 1, 2, 1]);
    assert_eq!(
        costs(&mut site),
        [3, 1, 2, 1],
        "listed again until its times are older than their resolution"
    );
    assert_eq!(costs(&mut site), [3, 0, 0, 0]);
}

#[test]
fn with_many_agents_quiet_folders_take_turns_and_arrivals_come_within_two_scans() {
    let mut site = Site::with(Limits {
        agents_at_once: 39,
        ..ANY_CPU
    });
    // Only even numbers, which must be split into halves of similar size, too.
    let agents = || (1000..1080).step_by(2);
    for agent in agents() {
        site.write(&format!("1/0/20261125/{agent}/old.mp4"), 3);
        site.sign_in(agent);
    }
    let folders = |site: &mut Site| {
        site.now += Duration::from_secs(2);
        site.look_at(Scope::All).figures.folders
    };
    assert_eq!(folders(&mut site), 40, "the first scan covers all");
    site.now += Duration::from_secs(120);
    for _ in 0..3 {
        folders(&mut site);
    }
    let [first, second] = [folders(&mut site), folders(&mut site)];
    assert_eq!(first + second, 40);
    assert!((15..=25).contains(&first), "{first}");
    for agent in agents() {
        let path = format!("1/0/20261125/{agent}/new.mp4");
        site.write(&path, 3);
        let arrivals: Vec<_> = (0..3).map(|_| site.scan()).collect();
        let has_started = |scan: &Vec<Short>| scan.contains(&started(agent, &path));
        assert!(arrivals.iter().take(2).any(has_started), "{arrivals:?}");
        assert_eq!(
            arrivals.concat(),
            [started(agent, &path), finished(agent, &path)]
        );
    }
    site.agents.remove(&1000);
    folders(&mut site);
    let all = folders(&mut site);
    assert_eq!(all, 39, "with fewer agents each scan covers all");
}

#[test]
fn a_look_that_meets_a_limit_goes_on_at_the_next_one() {
    let tight = [
        Limits {
            folders: 2,
            ..ANY_CPU
        },
        Limits {
            files: 1,
            ..ANY_CPU
        },
        Limits {
            entries: 10,
            ..ANY_CPU
        },
        Limits {
            cpu: Duration::from_nanos(1),
            ..ANY_CPU
        },
        Limits {
            folders: 2,
            agents_at_once: 1,
            ..ANY_CPU
        },
    ];
    for limits in tight {
        let mut site = Site::with(limits);
        let (agents, media) = (501..506_u32, ["1/0", "1/7", "2/0"]);
        for path in media {
            site.scratch.folder(&format!("{path}/20261125"));
        }
        agents.clone().for_each(|agent| site.sign_in(agent));
        (0..30).for_each(|_| drop(site.scan()));
        let mut expected = Vec::new();
        for (agent, path) in agents
            .clone()
            .flat_map(|agent| media.map(|path| (agent, path)))
        {
            let path = format!("{path}/20261125/{agent}/a.mp4");
            site.write(&path, 3);
            expected.extend([started(agent, &path), finished(agent, &path)]);
        }
        let mut found: Vec<Short> = Vec::new();
        let mut cut_short = 0;
        for _ in 0..100 {
            site.now += Duration::from_secs(2);
            let scan = site.look_at(Scope::All);
            cut_short += usize::from(scan.figures.cut_short);
            assert!(
                scan.figures.folders <= limits.folders && scan.figures.files <= limits.files + 2,
                "{scan:?}"
            );
            found.extend(short(&scan.arrivals));
        }
        found.sort();
        expected.sort();
        assert!(cut_short > 3, "{limits:?}");
        assert_eq!(found, expected, "{limits:?}");
    }
}

#[test]
fn a_look_that_is_late_does_nothing_and_one_folder_too_many_hinders_no_other() {
    let mut site = Site::new();
    site.write("1/0/20261125/503/a.mp4", 3);
    let mount = resolve::open_root(site.scratch.path(), false).unwrap();
    let agents = [WatchedAgent {
        number: 503,
        since: site.now,
    }];
    let scan = site
        .watcher
        .scan(mount.as_fd(), &agents, Scope::All, site.now, Instant::now());
    assert!(scan.figures.cut_short && scan.figures.folders == 0 && scan.arrivals.is_empty());
    let (mut site, many) = (Site::new(), MAX_NAMES + 1);
    site.scratch.folder("1/0/20261125");
    site.sign_in(503);
    site.sign_in(504);
    site.scan();
    for number in 0..many {
        site.write(&format!("1/0/20261125/503/{number}.mp4"), 0);
    }
    site.write("1/0/20261125/504/a.mp4", 1);
    site.now += Duration::from_secs(2);
    let scan = site.look_at(Scope::All);
    assert_eq!(
        short(&scan.arrivals),
        [started(504, "1/0/20261125/504/a.mp4")]
    );
    assert_eq!(scan.figures.overfull, 1);
    site.now += Duration::from_secs(2);
    assert_eq!(
        site.look_at(Scope::All).figures.overfull,
        0,
        "the folder must not be listed again until it changes"
    );
}

#[test]
fn the_day_before_has_its_turn_once_in_fifteen_scans_of_all() {
    let mut site = Site::new();
    for day in ["20261124", "20261125"] {
        site.write(&format!("1/0/{day}/503/a.mp4"), 1);
    }
    site.sign_in(503);
    site.scan();
    site.now += Duration::from_secs(3 * 3600);
    // Ends the watch for growth of the recordings of the first scan.
    site.scan();
    let mut turns = Vec::new();
    for round in 0..60 {
        site.now += Duration::from_secs(2);
        // A scan of new agents does not count as a scan of all.
        let folders = site.look_at(Scope::NewAgents).figures.folders;
        assert_eq!(folders, 0);
        if site.look_at(Scope::All).figures.folders == 2 {
            turns.push(round);
        }
    }
    assert_eq!(turns.len(), 4, "{turns:?}");
    assert!(turns.windows(2).all(|pair| pair[1] - pair[0] == 15));
}

#[test]
fn of_too_many_folders_those_that_are_gone_make_room() {
    let mut site = Site::new();
    let media = |number: usize| format!("1/{number}/20261125/503");
    site.sign_in(503);
    let look = |site: &mut Site| {
        site.now += Duration::from_secs(2);
        site.look_at(Scope::All)
    };
    for number in 100..100 + MAX_MEDIA {
        site.scratch.folder(&media(number));
    }
    assert_eq!(look(&mut site).figures.overfull, 0);
    site.scratch.folder(&media(999));
    assert_eq!(look(&mut site).figures.overfull, 1);
    std::fs::remove_dir_all(site.scratch.path().join("1")).unwrap();
    site.write(&format!("{}/a.mp4", media(500)), 1);
    let scan = look(&mut site);
    assert_eq!(scan.figures.overfull, 0);
    assert_eq!(scan.figures.folders, 1);
}
