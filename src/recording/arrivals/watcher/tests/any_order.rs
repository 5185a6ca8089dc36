//! Random steps in random order: each scan announces what a simple model predicts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::{Scope, Short, Site, short};

const AGENTS: [u32; 3] = [101, 102, 1010];
const DAYS: [&str; 2] = ["20261124", "20261125"];
/// As many as are watched for growth after a sign-in, so that the model need not select them.
const MOST_FILES: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Create {
        agent: usize,
        day: usize,
        size: usize,
    },
    Grow(usize),
    Touch(usize),
    Rename(usize),
    Delete(usize),
    SignIn(usize),
    SignOut(usize),
    /// The file server's clock is set to this offset, in seconds.
    Clock(i64),
    FirstLook,
    Scan,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..AGENTS.len(), 0..DAYS.len(), 0..3_usize).prop_map(|(agent, day, size)| Step::Create { agent, day, size }),
        4 => any::<usize>().prop_map(Step::Grow),
        1 => any::<usize>().prop_map(Step::Touch),
        3 => any::<usize>().prop_map(Step::Rename),
        2 => any::<usize>().prop_map(Step::Delete),
        3 => (0..AGENTS.len()).prop_map(Step::SignIn),
        1 => (0..AGENTS.len()).prop_map(Step::SignOut),
        1 => (-90_000..90_000_i64).prop_map(Step::Clock),
        2 => Just(Step::FirstLook),
        10 => Just(Step::Scan),
    ]
}

struct Recording {
    agent: u32,
    day: &'static str,
    name: String,
    size: usize,
    modified: SystemTime,
    /// Written since the latest scan.
    written: bool,
    renamed: bool,
    /// Written after it was complete, so that under a new name it would be a new recording.
    rewritten: bool,
}

impl Recording {
    fn path(&self) -> String {
        format!("1/0/{}/{}/{}", self.day, self.agent, self.name)
    }
}

/// The expected state of a recording in an agent's session.
struct Track {
    seen: (usize, SystemTime),
    same: u32,
    was_there_before: bool,
    started: bool,
    complete: bool,
}

#[derive(Default)]
struct Model {
    recordings: BTreeMap<usize, Recording>,
    made: usize,
    /// The recordings known for each signed-in agent; `None` before its first scan.
    sessions: BTreeMap<u32, Option<BTreeMap<usize, Track>>>,
    clock: i64,
}

impl Model {
    fn scan(&mut self, scope: Scope) -> Vec<Short> {
        let mut told = Vec::new();
        for (&agent, session) in &mut self.sessions {
            let first = session.is_none();
            if scope == Scope::NewAgents && !first {
                continue;
            }
            let tracks = session.get_or_insert_default();
            for (&id, recording) in self
                .recordings
                .iter_mut()
                .filter(|(_, recording)| recording.agent == agent)
            {
                let seen = (recording.size, recording.modified);
                let known = tracks.contains_key(&id);
                let track = tracks.entry(id).or_insert(Track {
                    seen,
                    same: 0,
                    was_there_before: first,
                    started: false,
                    complete: false,
                });
                let renamed = std::mem::take(&mut recording.renamed) && known;
                recording.written = false;
                if track.complete || renamed {
                    continue;
                }
                track.was_there_before &= seen.0 <= track.seen.0;
                track.same = if seen == track.seen {
                    track.same + 1
                } else {
                    1
                };
                track.seen = seen;
                if track.was_there_before || seen.0 == 0 {
                    continue;
                }
                if !track.started {
                    told.push((agent, recording.path(), false));
                }
                track.started = true;
                if track.same >= 2 {
                    told.push((agent, recording.path(), true));
                    track.complete = true;
                }
            }
        }
        told
    }

    /// One of the existing recordings, if any.
    fn pick(&self, number: usize) -> Option<usize> {
        let ids: Vec<usize> = self.recordings.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[number % ids.len()])
    }

    fn is_complete(&self, id: usize) -> bool {
        let tracks = self.sessions.values().flatten();
        tracks
            .filter_map(|tracks| tracks.get(&id))
            .any(|track| track.complete)
    }
}

/// Writes the file of a recording, with mtimes by the file server's clock.
fn write(site: &Site, model: &mut Model, id: usize) {
    let complete = model.is_complete(id);
    let recording = model.recordings.get_mut(&id).unwrap();
    let path = site.write(&recording.path(), recording.size);
    let now = SystemTime::now();
    let step = Duration::from_secs(model.clock.unsigned_abs());
    let times = if model.clock < 0 {
        now - step
    } else {
        now + step
    };
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_times(FileTimes::new().set_modified(times))
        .unwrap();
    File::open(path.parent().unwrap())
        .unwrap()
        .set_times(FileTimes::new().set_modified(times))
        .unwrap();
    recording.modified = path.metadata().unwrap().modified().unwrap();
    recording.written = true;
    recording.rewritten |= complete;
}

fn run(site: &mut Site, model: &mut Model, step: &Step) {
    match *step {
        Step::Create { agent, day, size } => {
            let (agent, day) = (AGENTS[agent], DAYS[day]);
            let there = model
                .recordings
                .values()
                .filter(|other| (other.agent, other.day) == (agent, day))
                .count();
            if there < MOST_FILES {
                model.made += 1;
                let name = format!("{}.mp4", model.made);
                let modified = SystemTime::now();
                let (written, renamed, rewritten) = (true, false, false);
                model.recordings.insert(
                    model.made,
                    Recording {
                        agent,
                        day,
                        name,
                        size,
                        modified,
                        written,
                        renamed,
                        rewritten,
                    },
                );
                write(site, model, model.made);
            }
        }
        Step::Grow(number) | Step::Touch(number) => {
            let Some(id) = model.pick(number) else { return };
            let recording = model.recordings.get_mut(&id).unwrap();
            if !recording.renamed {
                recording.size += usize::from(matches!(step, Step::Grow(_)));
                write(site, model, id);
            }
        }
        Step::Rename(number) => {
            let Some(id) = model.pick(number) else { return };
            model.made += 1;
            let name = format!("renamed-{}.mp4", model.made);
            let recording = model.recordings.get_mut(&id).unwrap();
            if !recording.written && !recording.rewritten {
                let from = site.scratch.path().join(recording.path());
                recording.name = name;
                recording.renamed = true;
                std::fs::rename(from, site.scratch.path().join(recording.path())).unwrap();
            }
        }
        Step::Delete(number) => {
            let Some(id) = model.pick(number) else { return };
            let recording = model.recordings.remove(&id).unwrap();
            std::fs::remove_file(site.scratch.path().join(recording.path())).unwrap();
        }
        Step::SignIn(agent) => {
            site.sign_in(AGENTS[agent]);
            model.sessions.insert(AGENTS[agent], None);
        }
        Step::SignOut(agent) => {
            site.agents.remove(&AGENTS[agent]);
            model.sessions.remove(&AGENTS[agent]);
        }
        Step::Clock(seconds) => model.clock = seconds,
        Step::FirstLook | Step::Scan => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_stable_recording_is_announced_once_to_its_agent_and_to_nobody_else(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (mut site, mut model) = (Site::new(), Model::default());
        DAYS.iter().for_each(|day| drop(site.scratch.folder(&format!("1/0/{day}"))));
        let mut told = Vec::new();
        for step in steps.iter().chain([Step::Scan, Step::Scan, Step::Scan].iter()) {
            run(&mut site, &mut model, step);
            let scope = match step {
                Step::Scan => Scope::All,
                Step::FirstLook => Scope::NewAgents,
                _ => continue,
            };
            // So short that no watch for growth ends during the test.
            site.now += Duration::from_millis(900);
            let mut found = short(&site.look_at(scope).arrivals);
            let mut expected = model.scan(scope);
            found.sort();
            expected.sort();
            prop_assert_eq!(&found, &expected, "{:?}", step);
            told.extend(found.into_iter().map(|arrival| (site.agents[&arrival.0], arrival)));
        }
        let once: BTreeSet<_> = told.iter().collect();
        prop_assert_eq!(once.len(), told.len());
    }
}
