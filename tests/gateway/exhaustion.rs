//! A machine that runs out of something, and comes back: the service works on as far as it can, says once what
//! is missing, and returns by itself.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::support::{Client, Footprint, Server, Setup, drain, eventually};

const VIDEO: &str = "1/0/20201202/503/long.mp4";
const RECORD_ID: &str = "Y:/1/0/20201202/503/long.mp4";

/// The value of a metric, asked for by a client that is connected already.
fn metric(client: &mut Client, name: &str) -> u64 {
    let reply = client.get("/metrics", None);
    let line = reply.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    line.parse().unwrap()
}

/// More lines than seconds a test can need for them, and far fewer than events.
fn assert_told_seldom(server: &Server, part: &str) {
    let told = server.told(part);
    assert!((1..=6).contains(&told), "told {told} times: {part}");
}

#[test]
fn without_descriptors_clients_wait_and_those_who_are_in_are_served() {
    const CAUSE: &str = "clients cannot be accepted: Too many open files";
    // The mount cannot be looked at either, which health and log tell as they tell of any loss.
    let setup = Setup::new().recording(VIDEO, "video").expect_log(CAUSE).expect_log("is lost: Too many open files");
    let server = setup.start();
    let guid = server.sign_in(503);
    let before = Footprint::at_rest(&server);
    let mut member = server.client();
    assert_eq!(member.get("/health", None).status, 200);
    let enough = server.limit("nofile", &server.descriptors().to_string());
    let waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    server.log_line(CAUSE);
    eventually("many failed attempts", || metric(&mut member, "cc_gateway_accept_errors_total") >= 12);
    assert_eq!(member.put("/onlineagent/101", None, r#"{"password":"secret"}"#).code(), "0");
    assert_eq!(member.get("/agentevent/503", Some(&guid)).code(), "0");
    // What needs a descriptor fails for this once, with an answer.
    let reply = member.download(503, Some(&guid), RECORD_ID);
    assert!(["108-012", "108-013"].contains(&&*reply.code()), "{reply:?}");
    assert_told_seldom(&server, CAUSE);
    server.limit("nofile", &enough);
    let certificate = server.scratch().path().join("certificate.pem");
    for socket in waiting {
        assert_eq!(Client::over(socket, &certificate).get("/agentevent/503", Some(&guid)).code(), "0");
    }
    eventually("health", || member.get("/health", None).status == 200);
    assert_eq!(member.download(503, Some(&guid), RECORD_ID).body, b"video");
    drop(member);
    before.await_again(&server);
}

/// Starts a server as a user of its own, whose threads nobody else counts against; `None` where that cannot be.
fn as_another_user(setup: Setup) -> Option<Server> {
    // Far from the users a machine has, and another one for each run of the tests.
    let user = format!("--reuid={}", 1_000_000 + std::process::id());
    let words = ["setpriv", user.as_str(), "--clear-groups"];
    let works = Command::new(words[0]).args(&words[1..]).args([env!("CARGO_BIN_EXE_cc-gateway"), "--version"]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no program can be run as another user here (root and setpriv are needed)");
        return None;
    }
    setup.write_files();
    let owner = (1_000_000 + std::process::id()).to_string();
    assert!(Command::new("chown").arg("-R").arg(owner).arg(setup.directory()).status().unwrap().success());
    Some(setup.through(&words).start())
}

#[test]
fn without_threads_clients_are_turned_away_and_those_who_are_in_are_served() {
    const CAUSE: &str = "no thread can be started for a client";
    // systemd's TasksMax and RLIMIT_NPROC fail the same call in the same way.
    let Some(server) = as_another_user(Setup::new().recording(VIDEO, "video").expect_log(CAUSE)) else { return };
    let guid = server.sign_in(503);
    let before = Footprint::at_rest(&server);
    let mut member = server.client();
    assert_eq!(member.get("/health", None).status, 200);
    for round in 1..=2 {
        // A thread that waits for its next client would take one in.
        eventually("no thread but the member's", || server.clients() == 1);
        // Fewer than there are: some of those may be about to end.
        let enough = server.limit("nproc", "1");
        for _ in 0..100 {
            assert_eq!(drain(&TcpStream::connect(server.address()).unwrap()), b"");
        }
        assert_eq!(metric(&mut member, "cc_gateway_thread_errors_total"), 100 * round);
        assert_eq!(member.get("/agentevent/503", Some(&guid)).code(), "0");
        // The mount has a thread still, or none and says so.
        let reply = member.download(503, Some(&guid), RECORD_ID);
        assert!(reply.body == b"video" || reply.code() == "108-012", "{reply:?}");
        assert_told_seldom(&server, CAUSE);
        server.limit("nproc", &enough);
        server.serves();
        assert_eq!(member.download(503, Some(&guid), RECORD_ID).body, b"video");
    }
    drop(member);
    before.await_again(&server);
}

/// The private directory of a server whose temporary directory is this.
fn private_directory(temporary: &Path) -> PathBuf {
    let mut found = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path());
    let directory = found.next().unwrap();
    assert_eq!(found.next(), None);
    directory
}

#[test]
fn the_inner_socket_is_in_a_directory_that_nobody_else_can_enter() {
    let setup = Setup::new();
    let temporary = setup.directory().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let path = temporary.to_str().unwrap().to_owned();
    let mut server = setup.env("TMPDIR", &path).start();
    let directory = private_directory(&temporary);
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o700);
    let socket = directory.join("inner-1.socket");
    assert!(fs::exists(&socket).unwrap());
    let stranger = Command::new("setpriv").args(["--reuid=65534", "--clear-groups", "ls"]).arg(&directory).output();
    match stranger {
        Ok(output) => assert!(!output.status.success() && output.stdout.is_empty()),
        Err(_) => eprintln!("skipped: nobody to try it (root and setpriv are needed)"),
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!directory.exists());
}

#[test]
fn a_directory_of_the_service_manager_is_used_and_left_and_must_be_private() {
    let setup = Setup::new();
    let runtime = setup.directory().join("runtime");
    fs::create_dir(&runtime).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    setup.write_files();
    let output = Command::new(env!("CARGO_BIN_EXE_cc-gateway"))
        .arg("--config")
        .arg(setup.directory().join("basic.properties"))
        .env("RUNTIME_DIRECTORY", &runtime)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("RuntimeDirectoryMode=0700"));
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    let path = runtime.to_str().unwrap().to_owned();
    let mut server = setup.env("RUNTIME_DIRECTORY", &path).start();
    assert!(runtime.join("inner-1.socket").exists());
    server.serves();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(runtime.exists());
}

#[test]
fn a_directory_that_is_cleaned_away_is_missed_by_nobody() {
    let setup = Setup::new();
    let temporary = setup.directory().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let path = temporary.to_str().unwrap().to_owned();
    let mut server = setup.env("TMPDIR", &path).start();
    let before = Footprint::at_rest(&server);
    fs::remove_dir_all(private_directory(&temporary)).unwrap();
    thread::scope(|scope| {
        (0..16).for_each(|_| drop(scope.spawn(|| (0..20).for_each(|_| server.serves()))));
    });
    before.await_again(&server);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_log_that_nobody_takes_any_more_stops_nothing() {
    let mut server = Setup::new().set("LOG_LEVEL", "trace").recording(VIDEO, "video").deaf().start();
    let before = Footprint::at_rest(&server);
    let guid = server.sign_in(503);
    for _ in 0..50 {
        // Lines of every level: a request, a refusal, a failed handshake, a reload.
        assert_eq!(server.download(503, &guid, RECORD_ID).body, b"video");
        let mut client = server.client();
        client.send("garbage\r\n\r\n");
        assert_eq!(client.reply().status, 400);
        drop(TcpStream::connect(server.address()).unwrap());
    }
    fs::write(server.scratch().path().join("agents.properties"), "nonsense = nonsense").unwrap();
    server.signal("HUP");
    (0..50).for_each(|_| server.serves());
    before.await_again(&server);
    assert_eq!(server.log().len(), 2, "that an agent has no password, and that it listens: {:?}", server.log());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn fifty_stalled_downloads_leave_eight_workers_to_everyone_else() {
    let agents: String = (200..216)
        .map(|agent| format!("{agent} = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET\n"))
        .collect();
    let setup = Setup::new().set("MAX_DOWNLOADS_PER_AGENT", "100").set("WORKER_THREADS", "8").agents(&agents);
    let server = setup.start();
    server.scratch().sparse(&format!("mount/{VIDEO}"), 256 * 1024 * 1024);
    let guid = server.sign_in(503);
    let before = Footprint::at_rest(&server);
    let path = format!("/recordfile/503/videofiledownloadEx?recordId={RECORD_ID}");
    let stalled: Vec<Client> = (0..50)
        .map(|_| {
            let mut client = server.client();
            client.send_request("GET", &path, &format!("Guid: {guid}\r\n"), "");
            assert_eq!(client.head().status, 200);
            client
        })
        .collect();
    let mut member = server.client();
    assert_eq!(metric(&mut member, "cc_gateway_downloads"), 50);
    // Each of these is answered while all of those are stalled: none of them ends before the last line.
    thread::scope(|scope| {
        for agent in 200..216 {
            let server = &server;
            scope.spawn(move || {
                let own = server.sign_in(agent);
                assert_eq!(server.client().get(&format!("/agentevent/{agent}"), Some(&own)).code(), "0");
                assert_eq!(server.client().delete(&format!("/onlineagent/{agent}/logout"), Some(&own)).code(), "0");
            });
        }
    });
    let mut another = server.client();
    another.send_request("GET", &path, &format!("Guid: {guid}\r\nRange: bytes=0-9\r\n"), "");
    assert_eq!(another.reply().body, [0; 10]);
    eventually("the end of the short one", || metric(&mut member, "cc_gateway_downloads") == 50);
    assert!(server.memory_kib() < 64 * 1024, "{} KiB", server.memory_kib());
    drop((stalled, another));
    eventually("the end of the downloads", || metric(&mut member, "cc_gateway_downloads") == 0);
    drop(member);
    before.await_threads_and_descriptors(&server);
}
