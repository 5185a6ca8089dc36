//! Password guessing and floods of sign-ins: the resulting locks and refusals, and that other
//! clients are not delayed.

use crate::support::{EMPTY_POLL, SIGN_IN, Server, Setup, eventually};

const WRONG: &str = r#"{"password":"wrong"}"#;
/// The text of the log line about a lock.
const LOCKED: &str = "is locked for clients at";

/// Lines of agents whose passwords take about a second to check and never match. As many agents
/// with a cheap hash are added, so that the high iteration count is not the most frequent one, to
/// which the checks of all other agents are padded.
fn slow_agents(ids: impl Iterator<Item = u32>) -> String {
    costly_agents(ids, 10_000_000)
}

fn costly_agents(ids: impl Iterator<Item = u32>, iterations: u32) -> String {
    let hash = "0".repeat(64);
    let value =
        |iterations| format!("pbkdf2-sha256${iterations}$000102030405060708090a0b0c0d0e0f${hash}");
    ids.map(|id| {
        format!(
            "{id} = {}\n{} = {}\n",
            value(iterations),
            id + 1000,
            value(1000)
        )
    })
    .collect()
}

#[test]
fn a_wrong_password_and_an_unknown_agent_are_not_told_apart() {
    let server = Server::start();
    let mut client = server.client();
    let mut replies = Vec::new();
    for (agent, body) in [
        ("101", WRONG),
        ("101", r#"{"password":""}"#),
        ("101", r#"{"password":"secret\u0000"}"#),
        ("103", SIGN_IN),
        ("103", r#"{"password":""}"#),
        // This agent signs in with an empty password only.
        ("104", SIGN_IN),
    ] {
        let reply = client.put(&format!("/onlineagent/{agent}"), None, body);
        reply.assert_failure("100-004");
        let lines = reply
            .head
            .lines()
            .filter(|line| !line.starts_with("Date: "));
        replies.push((
            lines.map(str::to_owned).collect::<Vec<_>>(),
            reply.body.clone(),
        ));
    }
    replies.dedup();
    assert_eq!(replies.len(), 1);
    assert_eq!(
        client
            .put("/onlineagent/104", None, r#"{"password":""}"#)
            .code(),
        "0"
    );
}

#[test]
fn five_failures_lock_agent_and_address_even_for_the_right_password() {
    for agent in ["101", "103"] {
        let server = Setup::new().expect_log(LOCKED).start();
        let mut client = server.client();
        let path = format!("/onlineagent/{agent}");
        for attempt in 0..5 {
            // Failures of login and of forceLogin count together.
            let way = if attempt % 2 == 0 {
                path.clone()
            } else {
                format!("{path}/forcelogin")
            };
            client.put(&way, None, WRONG).assert_failure("100-004");
        }
        for body in [WRONG, SIGN_IN] {
            client.put(&path, None, body).assert_failure("110-016");
            client
                .put(&format!("{path}/forcelogin"), None, body)
                .assert_failure("110-016");
        }
        server
            .client()
            .put(&path, None, SIGN_IN)
            .assert_failure("110-016");
        // An invalid body is refused before any password check, whether or not the agent is locked.
        client.put(&path, None, "{}").assert_failure("100-001");
        let line = server.log_line(LOCKED);
        assert!(
            line.contains(" WARN ")
                && line.contains(&format!("agent {agent} "))
                && line.contains("127.0.0.1"),
            "{line}"
        );
        assert_eq!(
            server
                .log()
                .iter()
                .filter(|line| line.contains(LOCKED))
                .count(),
            1
        );

        let elsewhere = server
            .client_from("127.0.0.2")
            .put(&path, None, SIGN_IN)
            .code();
        assert_eq!(
            elsewhere,
            if agent == "101" { "0" } else { "100-004" },
            "another address is not locked"
        );
        assert_eq!(
            client.put("/onlineagent/102", None, SIGN_IN).code(),
            "0",
            "another agent is not locked"
        );
    }
}

#[test]
fn a_success_before_the_fifth_failure_forgets_the_others() {
    let server = Server::start();
    let mut client = server.client();
    for _ in 0..3 {
        for _ in 0..4 {
            client
                .put("/onlineagent/101", None, WRONG)
                .assert_failure("100-004");
        }
        assert_eq!(
            client
                .put("/onlineagent/101/forcelogin", None, SIGN_IN)
                .code(),
            "0"
        );
    }
}

#[test]
fn failures_of_one_agent_leave_the_sessions_of_all_alone() {
    let server = Setup::new().expect_log(LOCKED).start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    (0..6).for_each(|_| drop(client.put("/onlineagent/101", None, WRONG)));
    client
        .put("/onlineagent/101", None, SIGN_IN)
        .assert_failure("110-016");
    assert_eq!(
        client.get("/agentevent/101", Some(&guid)).text(),
        EMPTY_POLL
    );
}

#[test]
fn a_sign_in_while_another_of_agent_and_address_runs_is_told_so() {
    // Password checks of other agents keep both threads busy, so that the first sign-in of 101 is
    // still running.
    let server = Setup::new().agents(&slow_agents(2000..2004)).start();
    let mut busy: Vec<_> = (2000..2004).map(|_| server.client()).collect();
    for (agent, client) in (2000..).zip(&mut busy) {
        client.send_request("PUT", &format!("/onlineagent/{agent}"), "", SIGN_IN);
    }
    eventually("four waiting checks", || {
        server.metric("cc_gateway_requests_waiting") == 4
    });
    let mut first = server.client();
    first.send_request("PUT", "/onlineagent/101", "", SIGN_IN);
    eventually("a fifth waiting check", || {
        server.metric("cc_gateway_requests_waiting") == 5
    });
    let mut second = server.client();
    second
        .put("/onlineagent/101", None, SIGN_IN)
        .assert_failure("100-021");
    second
        .put("/onlineagent/101/forcelogin", None, SIGN_IN)
        .assert_failure("100-021");
    // A sign-in from another address is accepted: a client elsewhere cannot keep the agent out by
    // signing in all the time.
    let mut elsewhere = server.client_from("127.0.0.2");
    elsewhere.send_request("PUT", "/onlineagent/101", "", SIGN_IN);
    eventually("a sixth waiting check", || {
        server.metric("cc_gateway_requests_waiting") == 6
    });
    let codes = "cc_gateway_requests_total{interface=\"login\",code=\"100-021\"}";
    assert_eq!(server.metric(codes), 1);
}

#[test]
fn a_sign_in_that_was_told_to_wait_succeeds_once_the_first_has_ended() {
    let server = Server::start();
    let mut client = server.client();
    for _ in 0..20 {
        // Of two sign-ins at once, one may be refused with 100-021; a later one succeeds.
        let mut other = server.client();
        other.send_request("PUT", "/onlineagent/101/forcelogin", "", SIGN_IN);
        let code = client
            .put("/onlineagent/101/forcelogin", None, SIGN_IN)
            .code();
        let others = other.reply().code();
        assert!(
            [&*code, &*others]
                .iter()
                .all(|code| ["0", "100-021"].contains(code)),
            "{code} {others}"
        );
        assert!([&*code, &*others].contains(&"0"));
        assert_eq!(
            client
                .put("/onlineagent/101/forcelogin", None, SIGN_IN)
                .code(),
            "0"
        );
    }
}

#[test]
fn a_flood_of_sign_ins_takes_two_checkers_and_delays_nobody() {
    let server = Setup::new()
        .agents(&slow_agents(2000..2020))
        .set("WORKER_THREADS", "1")
        .recording("1/0/20201202/101/1.mp4", "video")
        .start();
    let guid = server.sign_in(101);
    let mut flood: Vec<_> = (2000..2020).map(|_| server.client()).collect();
    for (agent, client) in (2000..).zip(&mut flood) {
        client.send_request("PUT", &format!("/onlineagent/{agent}"), "", SIGN_IN);
    }
    let mut client = server.client();
    assert_eq!(
        client.get("/agentevent/101", Some(&guid)).text(),
        EMPTY_POLL
    );
    assert_eq!(client.get("/health", None).code(), "0");
    assert_eq!(
        client
            .put("/onlineagent/101/heartbeat", Some(&guid), "")
            .code(),
        "0"
    );
    assert_eq!(
        client
            .download(101, Some(&guid), "Y:/1/0/20201202/101/1.mp4")
            .body,
        b"video"
    );
    // An empty password needs no check, so it is not queued.
    assert_eq!(
        client
            .put("/onlineagent/104", None, r#"{"password":""}"#)
            .code(),
        "0"
    );
    assert_eq!(
        server.metric("cc_gateway_requests_total{interface=\"login\",code=\"100-004\"}"),
        0,
        "no sign-in of the flood has been answered yet"
    );
    eventually("the whole flood", || {
        server.metric("cc_gateway_requests_waiting") >= 18
    });
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let stats = tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default());
    let nice_values: Vec<_> = stats
        .filter(|stat| stat.contains("(password-check)"))
        // proc_pid_stat(5): the nice value is field 19, the 17th after the name in brackets.
        .map(|stat| {
            stat.rsplit(')')
                .next()
                .unwrap()
                .split_whitespace()
                .nth(16)
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(nice_values.len(), 2);
    assert!(
        nice_values
            .iter()
            .all(|nice| nice.parse::<i32>().unwrap() >= 10),
        "{nice_values:?}"
    );
}

#[test]
fn one_address_that_guesses_at_many_agents_keeps_no_other_address_waiting() {
    const GUESSES: u32 = 100;
    let setup = Setup::new().agents(&costly_agents(2000..2000 + GUESSES, 1_000_000));
    let server = setup
        .expect_log("are locked for clients there: too many failed sign-ins")
        .start();
    let mut flood: Vec<_> = (0..GUESSES).map(|_| server.client()).collect();
    for (agent, client) in (2000..).zip(&mut flood) {
        client.send_request("PUT", &format!("/onlineagent/{agent}"), "", SIGN_IN);
    }
    let checked =
        || server.metric("cc_gateway_requests_total{interface=\"login\",code=\"100-004\"}");
    eventually("the whole flood", || {
        server.metric("cc_gateway_requests_waiting") + checked() == u64::from(GUESSES)
    });
    let before = checked();
    assert_eq!(
        server
            .client_from("127.0.0.2")
            .put("/onlineagent/101", None, SIGN_IN)
            .code(),
        "0"
    );
    // The checks already running, and one in turn; not the nearly hundred queued before it.
    let between = checked() - before;
    assert!(between < 20, "{between} guesses were checked first");
}

#[test]
fn a_few_guesses_at_each_of_many_agents_lock_their_address_but_not_for_the_agents_at_work_there() {
    const EXHAUSTED: &str =
        "all agents that have not signed in from 127.0.0.1 are locked for clients there";
    let server = Setup::new().expect_log(EXHAUSTED).start();
    let mut client = server.client();
    assert_eq!(client.put("/onlineagent/101", None, SIGN_IN).code(), "0");
    // A budget of 60, one more for the agent signed in from there, and one more for every five
    // seconds this takes.
    let mut codes = (2000..3000).map(|agent| {
        client
            .put(&format!("/onlineagent/{agent}"), None, WRONG)
            .code()
    });
    let guesses = codes
        .by_ref()
        .position(|code| code == "110-016")
        .expect("the address is never locked");
    assert!((61..100).contains(&guesses), "{guesses}");
    drop(codes);
    client
        .put("/onlineagent/102", None, SIGN_IN)
        .assert_failure("110-016");
    assert_eq!(
        client
            .put("/onlineagent/101/forcelogin", None, SIGN_IN)
            .code(),
        "0"
    );
    assert_eq!(
        server
            .client_from("127.0.0.2")
            .put("/onlineagent/102", None, SIGN_IN)
            .code(),
        "0"
    );
    assert!(server.log_line(EXHAUSTED).contains(" WARN "));
    assert_eq!(server.told(EXHAUSTED), 1);
}

#[test]
fn guesses_that_come_at_once_do_not_exceed_the_budget_of_their_address() {
    const EXHAUSTED: &str =
        "all agents that have not signed in from 127.0.0.1 are locked for clients there";
    let server = Setup::new()
        .agents(&costly_agents(2000..2100, 50_000))
        .expect_log(EXHAUSTED)
        .start();
    let mut clients: Vec<_> = (0..100).map(|_| server.client()).collect();
    for (agent, client) in (2000..).zip(&mut clients) {
        client.send_request("PUT", &format!("/onlineagent/{agent}"), "", WRONG);
    }
    let codes: Vec<_> = clients
        .iter_mut()
        .map(|client| client.reply().code())
        .collect();
    let checked = codes.iter().filter(|code| *code == "100-004").count();
    // The budget is 60. Of the two checks at a time, one may exceed it, and one more failure is
    // forgiven for every five seconds this takes.
    assert!((60..70).contains(&checked), "{codes:?}");
    assert!(
        codes
            .iter()
            .all(|code| ["100-004", "110-016"].contains(&&**code)),
        "{codes:?}"
    );
}

#[test]
fn no_password_and_no_guid_is_logged_at_any_level() {
    let server = Setup::new().set("LOG_LEVEL", "trace").start();
    let mut client = server.client();
    let guid = client
        .put("/onlineagent/101", None, SIGN_IN)
        .guid()
        .unwrap();
    client
        .put("/onlineagent/102", None, WRONG)
        .assert_failure("100-004");
    client.get("/agentevent/101", Some(&guid));
    client.put("/onlineagent/101/updateGuid", Some(&guid), "");
    client.delete("/onlineagent/101/logout", Some(&guid));
    server.log_line("] logout agent=101 ");
    let log = server.log().join("\n");
    for secret in [&*guid, &guid[..36], "secret", "\"wrong\"", "JSESSIONID"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
