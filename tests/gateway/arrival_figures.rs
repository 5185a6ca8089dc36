//! Measures the CPU time and memory of scans for new recordings. Ignored by default, as this takes
//! a minute; CONTRIBUTING.md says how to run them.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use cc_gateway::recording::{Arrival, Limits, Scan, Scope, Suffixes, WatchedAgent, Watcher};

use crate::support::Scratch;

const AGENT_ID_FIRST: usize = 1000;
const DAY: &str = "1/0/20261125";
const LOOKS: usize = 21;

struct Site {
    scratch: Scratch,
    watcher: Watcher,
    agents: Vec<WatchedAgent>,
    now: Instant,
}

impl Site {
    fn new(agents: usize, recordings: usize) -> Site {
        let scratch = Scratch::new();
        for agent in AGENT_ID_FIRST..AGENT_ID_FIRST + agents {
            let folder = scratch.path().join(DAY).join(agent.to_string());
            fs::create_dir_all(&folder).unwrap();
            for number in 0..recordings {
                fs::write(folder.join(format!("{:07}.mp4", number * 100)), b"v").unwrap();
            }
        }
        let now = Instant::now();
        let watched = |number| WatchedAgent {
            number: u32::try_from(number).unwrap(),
            since: now,
        };
        let suffixes = Suffixes {
            audio: vec!["v3".into()],
            video: vec!["mp4".into()],
        };
        let agents = (AGENT_ID_FIRST..AGENT_ID_FIRST + agents)
            .map(watched)
            .collect();
        Site {
            scratch,
            watcher: Watcher::new(suffixes, Limits::default()),
            agents,
            now,
        }
    }

    /// A scan two seconds after the one before.
    fn scan(&mut self) -> Scan {
        let root = File::open(self.scratch.path()).unwrap();
        self.now += Duration::from_secs(2);
        let deadline = Instant::now() + Duration::from_secs(600);
        self.watcher
            .scan(root.as_fd(), &self.agents, Scope::All, self.now, deadline)
    }

    /// The median and the maximum of several scans, each after `before`, in milliseconds of CPU.
    fn measure(&mut self, mut before: impl FnMut(&Site, usize)) -> [f64; 2] {
        let mut costs: Vec<f64> = (0..LOOKS)
            .map(|round| {
                before(self, round);
                self.scan().figures.cpu.as_secs_f64() * 1e3
            })
            .collect();
        costs.sort_by(f64::total_cmp);
        [costs[costs.len() / 2], costs[costs.len() - 1]]
    }
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

fn figures(agents: usize, recordings: usize) {
    let mut site = Site::new(agents, recordings);
    let before = resident_kib();
    // All agents sign in at once, as after a restart, so the first pass may take several scans.
    let mut first = Vec::new();
    loop {
        let figures = site.scan().figures;
        first.push(figures.cpu.as_secs_f64() * 1e3);
        if !figures.cut_short {
            break;
        }
    }
    let memory = (resident_kib() - before) * 1024 / agents;
    let worst = first.iter().copied().fold(0.0, f64::max);
    let [watched, _] = site.measure(|_, _| ());
    site.now += Duration::from_secs(60);
    (0..3).for_each(|_| drop(site.scan()));
    let [same, same_worst] = site.measure(|_, _| ());
    let every = |site: &Site, round: usize| {
        for agent in &site.agents {
            let path = site.scratch.path().join(DAY).join(agent.number.to_string());
            fs::write(path.join(format!("9{round:06}.mp4")), b"v").unwrap();
        }
    };
    let [changed, changed_worst] = site.measure(every);
    println!(
        "{agents} agents with {recordings} recordings each, ms of CPU a look: {} first looks of at most {worst:.1}; \
         {watched:.1} in the minute after; {same:.1} (at most {same_worst:.1}) when nothing changed; {changed:.1} \
         (at most {changed_worst:.1}) when every agent got a recording; {memory} bytes for each agent",
        first.len(),
    );
    // Shows that the measured scans do their work: they report every new recording when it appears
    // and when it is complete.
    every(&site, LOOKS);
    let arrivals: Vec<Arrival> = (0..8)
        .flat_map(|_| site.scan().arrivals)
        .map(|(_, arrival)| arrival)
        .collect();
    let name = format!("9{LOOKS:06}.mp4");
    let new = |arrival: &&Arrival| arrival.recording.path().to_string().ends_with(&name);
    assert_eq!(arrivals.iter().filter(new).count(), 2 * agents);
}

#[test]
#[ignore = "measures for a minute"]
fn a_look_at_five_hundred_agents_with_two_hundred_recordings_each() {
    figures(500, 200);
}

#[test]
#[ignore = "measures for a minute"]
fn a_look_at_five_thousand_agents_with_one_recording_each() {
    figures(5000, 1);
}
