//! SIGHUP: the agents file read again while agents are signed in.

use std::fs;

use crate::support::{EMPTY_POLL, SIGN_IN, Server, Setup, eventually};

fn agents_file(server: &Server) -> String {
    fs::read_to_string(server.scratch().path().join("agents.properties")).unwrap()
}

/// Writes the agents file, asks for a reload and waits until the log has `outcome` once more.
fn reload(server: &Server, agents: &str, outcome: &str) {
    let told = || server.log().iter().filter(|line| line.contains(outcome)).count();
    let before = told();
    server.scratch().file("agents.properties", agents);
    server.signal("HUP");
    eventually(outcome, || told() > before);
}

/// The file without the lines of an agent.
fn without(file: &str, agent: &str) -> String {
    file.lines().filter(|line| !line.starts_with(agent)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_session_of_a_removed_agent_ends_at_once_and_those_of_others_go_on() {
    let server = Setup::new().endless_polls().start();
    let (gone, kept) = (server.sign_in(101), server.sign_in(102));
    let mut parked = server.park(101, &gone);
    let mut other = server.park(102, &kept);
    reload(&server, &without(&agents_file(&server), "101"), "agents reloaded: 4 may sign in, 1 sessions ended");
    parked.reply().assert_failure("100-006");
    assert_eq!(server.metric("cc_gateway_polls_parked"), 1, "the other poll is still parked");
    server.client().put("/onlineagent/101", None, SIGN_IN).assert_failure("100-004");
    server.client().get("/agentevent/101", Some(&gone)).assert_failure("100-006");
    assert_eq!(server.client().delete("/onlineagent/102/logout", Some(&kept)).text(), EMPTY_POLL);
    other.reply().assert_failure("100-006");
}

#[test]
fn a_changed_password_ends_no_session_and_counts_from_the_next_sign_in() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let file = agents_file(&server);
    reload(&server, &format!("{}101 =\n", without(&file, "101")), "agents reloaded: 5 may sign in, 0 sessions ended");
    let mut client = server.client();
    assert_eq!(client.get("/agentevent/101", Some(&guid)).text(), EMPTY_POLL);
    client.put("/onlineagent/101", None, SIGN_IN).assert_failure("100-004");
    client.put("/onlineagent/101", None, r#"{"password":""}"#).assert_failure("100-002");
    assert_eq!(client.put("/onlineagent/101/forcelogin", None, r#"{"password":""}"#).code(), "0");
    client.get("/agentevent/101", Some(&guid)).assert_failure("000-003");
}

#[test]
fn an_added_agent_may_sign_in() {
    let server = Server::start();
    server.client().put("/onlineagent/103", None, r#"{"password":""}"#).assert_failure("100-004");
    reload(&server, &format!("{}103 =\n103.vdn = 9\n", agents_file(&server)), "agents reloaded: 6 may sign in");
    let reply = server.client().put("/onlineagent/103", None, r#"{"password":""}"#);
    assert_eq!((reply.code(), reply.json()["result"]["vdnid"].as_u64()), ("0".into(), Some(9)));
}

#[test]
fn a_broken_file_keeps_the_agents_and_their_sessions_and_is_an_error_in_the_log() {
    const KEPT: &str = "agents not reloaded";
    let server = Setup::new().expect_log(KEPT).start();
    let guid = server.sign_in(101);
    let good = agents_file(&server);
    for broken in [
        format!("{}101 = not-a-hash\n", without(&good, "101")),
        format!("{good}100 =\n"),
        format!("{good}102.role = chief\n"),
        format!("{good}105 = \\u12\n"),
    ] {
        reload(&server, &broken, KEPT);
        let mut client = server.client();
        assert_eq!(client.get("/agentevent/101", Some(&guid)).text(), EMPTY_POLL);
        client.put("/onlineagent/101", None, SIGN_IN).assert_failure("100-002");
        let guid = client.put("/onlineagent/102", None, SIGN_IN).guid();
        assert_eq!(client.delete("/onlineagent/102/logout", guid.as_deref()).text(), EMPTY_POLL);
    }
    fs::remove_file(server.scratch().path().join("agents.properties")).unwrap();
    server.signal("HUP");
    eventually("the fifth error", || server.log().iter().filter(|line| line.contains(KEPT)).count() == 5);
    assert!(server.log().iter().filter(|line| line.contains(KEPT)).all(|line| line.contains(" ERROR ")));
    assert_eq!(server.client().get("/agentevent/101", Some(&guid)).text(), EMPTY_POLL);
    // A good file counts again.
    reload(&server, &without(&good, "101"), "1 sessions ended");
    server.client().get("/agentevent/101", Some(&guid)).assert_failure("100-006");
}

#[test]
fn a_lock_outlasts_a_reload() {
    let server = Setup::new().expect_log("is locked for clients at").start();
    let mut client = server.client();
    (0..5).for_each(|_| client.put("/onlineagent/101", None, "{\"password\":\"x\"}").assert_failure("100-004"));
    reload(&server, &agents_file(&server), "nothing has changed");
    client.put("/onlineagent/101", None, SIGN_IN).assert_failure("110-016");
}
