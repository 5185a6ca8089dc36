//! Measurements of polls and memory with 10 000 sessions. They run only on request; see
//! CONTRIBUTING.md.

use std::thread;
use std::time::Instant;

use crate::support::{Client, Reply, Server, Setup};

const MANY: usize = 10_000;
const RELOADED: &str = "NODE_INDEX has changed; restart the service to apply it";
const AGENT_ID_FIRST: usize = 1000;
/// Polls of one run, over two connections. Many short runs spread the other load of the machine
/// evenly over both servers.
const POLLS: usize = 4_000;
const RUNS: usize = 101;

/// A client that reconnects when the server closes its connection.
struct Kept<'a> {
    server: &'a Server,
    client: Client,
}

impl Kept<'_> {
    fn new(server: &Server) -> Kept<'_> {
        Kept {
            server,
            client: server.client(),
        }
    }

    fn ask(&mut self, method: &str, path: &str, guid: Option<&str>, body: &str) -> Reply {
        let reply = self.client.request(method, path, guid, body);
        if reply.field("Connection") == Some("close") {
            self.client = self.server.client();
        }
        reply
    }
}

fn setup() -> Setup {
    let agents: String = (AGENT_ID_FIRST..AGENT_ID_FIRST + MANY)
        .map(|agent| format!("{agent} = no-password\n"))
        .collect();
    Setup::new()
        .agents(&agents)
        .set("LOG_LEVEL", "info")
        .set("TIMEOUT_FLAG", "OFF")
        .expect_log(RELOADED)
}

/// A server with `count` sessions that does not log requests, and each session's agent and Guid.
fn with_sessions(setup: Setup, count: usize) -> (Server, Vec<(usize, String)>) {
    // The fixture reads the address from a line of level info, so a reload lowers the level later.
    let server = setup.start();
    let quiet = std::fs::read_to_string(server.scratch().path().join("basic.properties")).unwrap();
    server.scratch().file(
        "basic.properties",
        format!(
            "{}NODE_INDEX = 1\n",
            quiet.replace("LOG_LEVEL = info", "LOG_LEVEL = warn")
        ),
    );
    server.signal("HUP");
    // A warning, so it is logged at the new level too.
    server.log_line(RELOADED);
    let mut kept = Kept::new(&server);
    let sessions = (AGENT_ID_FIRST..AGENT_ID_FIRST + count)
        .map(|agent| {
            let reply = kept.ask(
                "PUT",
                &format!("/onlineagent/{agent}"),
                None,
                r#"{"password":""}"#,
            );
            (agent, reply.guid().unwrap())
        })
        .collect();
    drop(kept);
    (server, sessions)
}

/// Polls the sessions in turn; returns polls per second.
fn run(server: &Server, sessions: &[(usize, String)]) -> f64 {
    let began = Instant::now();
    thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                let mut kept = Kept::new(server);
                for number in 0..POLLS / 2 {
                    let (agent, guid) = &sessions[(2 * number + half) % sessions.len()];
                    let reply = kept.ask("GET", &format!("/agentevent/{agent}"), Some(guid), "");
                    assert_eq!(reply.code(), "0");
                }
            });
        }
    });
    f64::from(u32::try_from(POLLS).unwrap()) / began.elapsed().as_secs_f64()
}

/// Processor time of the server so far, in seconds.
fn processor_seconds(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    // The 14th and 15th field of proc(5), in hundredths of a second.
    let ticks: u32 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u32>().unwrap())
        .sum();
    f64::from(ticks) / 100.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
#[ignore = "measures for a minute"]
fn polls_per_second_with_one_and_with_ten_thousand_sessions() {
    let servers = [1, MANY].map(|count| with_sessions(setup(), count));
    let before = servers
        .each_ref()
        .map(|(server, _)| processor_seconds(server));
    let mut rates = [Vec::new(), Vec::new()];
    for number in 0..RUNS {
        // The order alternates, so that neither server always runs second.
        for place in if number % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (server, sessions) = &servers[place];
            rates[place].push(run(server, sessions));
        }
    }
    let after = servers
        .each_ref()
        .map(|(server, _)| processor_seconds(server));
    let polls = f64::from(u32::try_from(POLLS * RUNS).unwrap());
    let [one_cost, many_cost] = [0, 1].map(|place| (after[place] - before[place]) * 1e6 / polls);
    let ratio = median(
        rates[0]
            .iter()
            .zip(&rates[1])
            .map(|(one, many)| many / one)
            .collect(),
    );
    let [one, many] = rates.map(median);
    println!(
        "polls per second: {one:.0} with 1 session, {many:.0} with {MANY}, median ratio of a pair of runs {ratio:.3}; \
         processor time of the server: {one_cost:.1} and {many_cost:.1} us each",
    );
}

#[test]
#[ignore = "measures for some seconds"]
fn memory_of_ten_thousand_sessions_that_poll() {
    // A client that polls once a minute and uses each renewed Guid has three at a time: the newest,
    // and two that have not expired yet.
    let setup = setup()
        .set("GUIDINTERVAL", "1")
        .set("GUIDTIMEOUT", "86400000");
    let (server, _) = with_sessions(setup, 1);
    let before = server.memory_kib();
    let mut kept = Kept::new(&server);
    for agent in AGENT_ID_FIRST + 1..AGENT_ID_FIRST + MANY {
        let mut guid = kept
            .ask(
                "PUT",
                &format!("/onlineagent/{agent}"),
                None,
                r#"{"password":""}"#,
            )
            .guid()
            .unwrap();
        let mut renewals = 0;
        while renewals < 2 {
            if let Some(renewed) = kept
                .ask("GET", &format!("/agentevent/{agent}"), Some(&guid), "")
                .guid()
            {
                guid = renewed;
                renewals += 1;
            }
        }
    }
    let after = server.memory_kib();
    println!("memory: {before} KiB with 1 session, {after} KiB with {MANY} of three Guids each");
}
