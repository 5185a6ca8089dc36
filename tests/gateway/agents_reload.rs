//! SIGHUP reloads the agents file while agents are signed in.

use std::fs;

use crate::support::{EMPTY_POLL, Hang, SIGN_IN, Scratch, Server, Setup, Tree, eventually};

fn agents_file(server: &Server) -> String {
    fs::read_to_string(server.scratch().path().join("agents.properties")).unwrap()
}

/// Writes the agents file, asks for a reload and waits until the log has `outcome` once more.
fn reload(server: &Server, agents: &str, outcome: &str) {
    let told = || {
        server
            .log()
            .iter()
            .filter(|line| line.contains(outcome))
            .count()
    };
    let before = told();
    server.scratch().file("agents.properties", agents);
    server.signal("HUP");
    eventually(outcome, || told() > before);
}

/// The file without the lines of an agent.
fn without(file: &str, agent: &str) -> String {
    file.lines()
        .filter(|line| !line.starts_with(agent))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_session_of_a_removed_agent_ends_at_once_and_those_of_others_go_on() {
    let server = Setup::new().endless_polls().start();
    let (gone, kept) = (server.sign_in(101), server.sign_in(102));
    let mut parked = server.park(101, &gone);
    let mut other = server.park(102, &kept);
    reload(
        &server,
        &without(&agents_file(&server), "101"),
        "agents reloaded: 4 may sign in, 1 sessions ended",
    );
    parked.reply().assert_failure("100-006");
    assert_eq!(
        server.metric("cc_gateway_polls_parked"),
        1,
        "the other poll is still parked"
    );
    server
        .client()
        .put("/onlineagent/101", None, SIGN_IN)
        .assert_failure("100-004");
    server
        .client()
        .get("/agentevent/101", Some(&gone))
        .assert_failure("100-006");
    assert_eq!(
        server
            .client()
            .delete("/onlineagent/102/logout", Some(&kept))
            .text(),
        EMPTY_POLL
    );
    other.reply().assert_failure("100-006");
}

#[test]
fn a_changed_password_or_role_ends_the_session_and_a_changed_vdn_does_not() {
    let server = Setup::new().endless_polls().start();
    let (password, role, vdn) = (
        server.sign_in(101),
        server.sign_in(102),
        server.sign_in(503),
    );
    let mut parked = [server.park(101, &password), server.park(102, &role)];
    let mut other = server.park(503, &vdn);
    let file = agents_file(&server);
    let changed = format!(
        "{}101 = no-password\n102.role = inspector\n503.vdn = 9\n",
        without(&file, "101")
    );
    reload(
        &server,
        &changed,
        "agents reloaded: 5 may sign in, 2 sessions ended",
    );
    parked
        .iter_mut()
        .for_each(|parked| parked.reply().assert_failure("100-006"));
    let mut client = server.client();
    client
        .get("/agentevent/101", Some(&password))
        .assert_failure("100-006");
    client
        .put("/onlineagent/101", None, SIGN_IN)
        .assert_failure("100-004");
    assert_eq!(
        client
            .put("/onlineagent/101", None, r#"{"password":""}"#)
            .code(),
        "0"
    );
    assert_eq!(
        client.delete("/onlineagent/503/logout", Some(&vdn)).text(),
        EMPTY_POLL
    );
    other.reply().assert_failure("100-006");
}

#[test]
fn downloads_of_a_removed_agent_are_cut_and_those_of_one_that_signed_out_are_not() {
    let setup = Setup::new();
    for agent in [101, 102, 503] {
        setup.write_recording(
            &format!("1/0/20201202/{agent}/large.mp4"),
            vec![7; 30 << 20],
        );
    }
    let server = setup.start();
    let query = |agent: u32| format!("recordId=Y:/1/0/20201202/{agent}/large.mp4");
    let (removed, out, forced) = (server.agent(101), server.agent(102), server.agent(503));
    let [mut cut, mut whole, mut other] =
        [&removed, &out, &forced].map(|agent| agent.begin(&query(agent.number), "").0);
    server.metric_becomes("downloads", 3);
    assert_eq!(
        server
            .client()
            .delete("/onlineagent/102/logout", Some(&out.guid))
            .text(),
        EMPTY_POLL
    );
    assert_eq!(
        server
            .client()
            .put("/onlineagent/503/forcelogin", None, SIGN_IN)
            .code(),
        "0"
    );
    reload(
        &server,
        &without(&agents_file(&server), "101"),
        "agents reloaded: 4 may sign in, 1 sessions ended",
    );
    server.metric_becomes("downloads", 2);
    let (bytes, in_order) = cut.rest();
    assert!(!in_order && bytes.len() < 30 << 20, "{} bytes", bytes.len());
    assert!(
        server
            .log_line("[request] downloadVideoFileEx agent=101 ")
            .contains("the agent may no longer have it")
    );
    for client in [&mut whole, &mut other] {
        client.stream(30 << 20, |_| ());
    }
}

#[test]
fn a_download_that_is_still_being_opened_when_its_agent_is_removed_does_not_begin() {
    let place = Scratch::new();
    let directory = place.path().join("fuse");
    let tree = Tree::new()
        .file("1/0/20201202/101/1.mp4", "video")
        .file("1/0/20201202/102/1.mp4", "video");
    let Some(fuse) = tree.mount(&directory) else {
        return;
    };
    let server = Setup::new()
        .set("MOUNT_DIR", directory.to_str().unwrap())
        .start();
    let (removed, kept) = (server.agent(101), server.agent(102));
    assert_eq!(removed.code("recordId=Y:/1/0/20201202/101/1.mp4"), "0");
    fuse.hang(Hang::Opens);
    let mut asked = [&removed, &kept].map(|agent| {
        let mut client = server.client();
        let path = agent.path(&format!("recordId=Y:/1/0/20201202/{}/1.mp4", agent.number));
        client.send_get(&path, &agent.guid, "");
        client
    });
    server.metric_becomes("requests_waiting", 2);
    reload(
        &server,
        &without(&agents_file(&server), "101"),
        "agents reloaded: 4 may sign in, 1 sessions ended",
    );
    fuse.hang(Hang::Nothing);
    asked[0].reply().assert_failure("100-006");
    assert_eq!(asked[1].reply().text(), "video");
    drop(server);
}

#[test]
fn an_added_agent_may_sign_in() {
    let server = Server::start();
    server
        .client()
        .put("/onlineagent/103", None, r#"{"password":""}"#)
        .assert_failure("100-004");
    reload(
        &server,
        &format!("{}103 = no-password\n103.vdn = 9\n", agents_file(&server)),
        "agents reloaded: 6 may sign in",
    );
    let reply = server
        .client()
        .put("/onlineagent/103", None, r#"{"password":""}"#);
    assert_eq!(
        (reply.code(), reply.json()["result"]["vdnid"].as_u64()),
        ("0".into(), Some(9))
    );
}

#[test]
fn a_broken_file_keeps_the_agents_and_their_sessions_and_is_an_error_in_the_log() {
    const NOT_RELOADED: &str = "agents not reloaded";
    let server = Setup::new().expect_log(NOT_RELOADED).start();
    let guid = server.sign_in(101);
    let good = agents_file(&server);
    for broken in [
        format!("{}101 = not-a-hash\n", without(&good, "101")),
        format!("{good}100 = no-password\n"),
        format!("{good}102.role = chief\n"),
        format!("{good}105 = \\u12\n"),
        // An empty value, as a failed command leaves it, and a truncated file.
        format!("{}101 = \n", without(&good, "101")),
        format!("{}102 =", without(&good, "102")),
    ] {
        reload(&server, &broken, NOT_RELOADED);
        let mut client = server.client();
        assert_eq!(
            client.get("/agentevent/101", Some(&guid)).text(),
            EMPTY_POLL
        );
        client
            .put("/onlineagent/101", None, SIGN_IN)
            .assert_failure("100-002");
        let guid = client.put("/onlineagent/102", None, SIGN_IN).guid();
        assert_eq!(
            client
                .delete("/onlineagent/102/logout", guid.as_deref())
                .text(),
            EMPTY_POLL
        );
    }
    fs::remove_file(server.scratch().path().join("agents.properties")).unwrap();
    server.signal("HUP");
    eventually("the last error", || {
        server
            .log()
            .iter()
            .filter(|line| line.contains(NOT_RELOADED))
            .count()
            == 7
    });
    assert!(
        server
            .log()
            .iter()
            .filter(|line| line.contains(NOT_RELOADED))
            .all(|line| line.contains(" ERROR "))
    );
    assert_eq!(
        server.client().get("/agentevent/101", Some(&guid)).text(),
        EMPTY_POLL
    );
    // A valid file takes effect again.
    reload(&server, &without(&good, "101"), "1 sessions ended");
    server
        .client()
        .get("/agentevent/101", Some(&guid))
        .assert_failure("100-006");
}

#[test]
fn a_fifo_device_or_folder_as_agents_file_is_an_error_and_never_a_hang() {
    const NOT_RELOADED: &str = "agents not reloaded";
    let server = Setup::new().expect_log(NOT_RELOADED).start();
    let guid = server.sign_in(101);
    let path = server.scratch().path().join("agents.properties");
    let fifo = server.scratch().path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    for (nth, other) in ["fifo", "/dev/zero", "/dev/null", "mount"]
        .into_iter()
        .enumerate()
    {
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(other, &path).unwrap();
        server.signal("HUP");
        eventually("an error in the log", || {
            server.told(NOT_RELOADED) == nth + 1
        });
        assert!(
            server
                .log()
                .iter()
                .any(|line| line.contains(NOT_RELOADED) && line.contains(", not a file"))
        );
        assert_eq!(
            server.client().get("/agentevent/101", Some(&guid)).text(),
            EMPTY_POLL
        );
    }
}

#[test]
fn agents_without_a_password_are_named_and_so_is_a_file_that_others_may_read() {
    const OPEN: &str = "no password is asked of these agents";
    const EXPOSED: &str = "agents.properties: is world-readable; run: chgrp cc-gateway ";
    let server = Setup::new()
        .agents("105 = no-password\n")
        .expect_log(EXPOSED)
        .start();
    assert_eq!(server.told(OPEN), 1);
    assert!(server.log_line(OPEN).contains(": 104-105; "));
    assert_eq!(server.told(EXPOSED), 0);
    let path = server.scratch().path().join("agents.properties");
    let agents = format!("{}106 = no-password\n", agents_file(&server));
    reload(&server, &agents, "agents reloaded: 7 may sign in");
    assert_eq!(
        (
            server.told(OPEN),
            server.told(": 104-106; "),
            server.told(EXPOSED)
        ),
        (2, 1, 0)
    );
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    server.signal("HUP");
    eventually("a warning", || server.told(EXPOSED) == 1);
}

#[test]
fn a_lock_outlasts_a_reload() {
    let server = Setup::new().expect_log("is locked for clients at").start();
    let mut client = server.client();
    (0..5).for_each(|_| {
        client
            .put("/onlineagent/101", None, "{\"password\":\"x\"}")
            .assert_failure("100-004")
    });
    reload(&server, &agents_file(&server), "nothing has changed");
    client
        .put("/onlineagent/101", None, SIGN_IN)
        .assert_failure("110-016");
}
