//! Exhausted resources, such as descriptors and threads: the service keeps working as far as
//! possible, logs the cause without flooding the log, and recovers by itself.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;

use crate::support::{Client, Footprint, Server, Setup, eventually};

const VIDEO: &str = "1/0/20201202/503/long.mp4";
const RECORD_ID: &str = "Y:/1/0/20201202/503/long.mp4";

/// The value of a metric, over an existing connection.
fn metric(client: &mut Client, name: &str) -> u64 {
    let reply = client.get("/metrics", None);
    let line = reply
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap();
    line.parse().unwrap()
}

/// Expects 1 to 6 log lines with this text. The event is far more frequent, but its line is
/// rate-limited.
fn assert_told_seldom(server: &Server, part: &str) {
    let told = server.told(part);
    assert!((1..=6).contains(&told), "logged {told} times: {part}");
}

#[test]
fn without_descriptors_clients_wait_and_those_who_are_in_are_served() {
    const CAUSE: &str = "cannot accept clients: Too many open files";
    // The mount directory cannot be opened either, so /health and the log report the mount as lost.
    let setup = Setup::new()
        .recording(VIDEO, "video")
        .expect_log(CAUSE)
        .expect_log("is lost: Too many open files");
    let server = setup.start();
    let guid = server.sign_in(503);
    let before = Footprint::at_rest(&server);
    let mut member = server.client();
    assert_eq!(member.get("/health", None).status, 200);
    let enough = server.limit("nofile", &server.next_descriptor().to_string());
    let waiting: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    server.log_line(CAUSE);
    eventually("12 accept errors", || {
        metric(&mut member, "cc_gateway_accept_errors_total") >= 12
    });
    assert_eq!(
        member
            .put("/onlineagent/101", None, r#"{"password":"secret"}"#)
            .code(),
        "0"
    );
    assert_eq!(member.get("/agentevent/503", Some(&guid)).code(), "0");
    // A download needs a descriptor, so it fails, with a reply.
    let reply = member.download(503, Some(&guid), RECORD_ID);
    assert!(
        ["108-012", "108-013"].contains(&&*reply.code()),
        "{reply:?}"
    );
    assert_told_seldom(&server, CAUSE);
    server.limit("nofile", &enough);
    let certificate = server.scratch().path().join("certificate.pem");
    for socket in waiting {
        assert_eq!(
            Client::over(socket, &certificate)
                .get("/agentevent/503", Some(&guid))
                .code(),
            "0"
        );
    }
    eventually("a healthy /health", || {
        member.get("/health", None).status == 200
    });
    assert_eq!(member.download(503, Some(&guid), RECORD_ID).body, b"video");
    drop(member);
    before.await_again(&server);
}

/// Starts a server as a user without other processes, because RLIMIT_NPROC counts all threads of a
/// user. `None` where that is not possible.
fn as_another_user(setup: Setup) -> Option<Server> {
    // Above the user ids of a machine, and different in each test process.
    let user = format!("--reuid={}", 1_000_000 + std::process::id());
    let words = ["setpriv", user.as_str(), "--clear-groups"];
    let works = Command::new(words[0])
        .args(&words[1..])
        .args([env!("CARGO_BIN_EXE_cc-gateway"), "--version"])
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "skipped: no program can be run as another user here (root and setpriv are needed)"
        );
        return None;
    }
    setup.write_files();
    let owner = (1_000_000 + std::process::id()).to_string();
    assert!(
        Command::new("chown")
            .arg("-R")
            .arg(owner)
            .arg(setup.directory())
            .status()
            .unwrap()
            .success()
    );
    Some(setup.through(&words).start())
}

#[test]
fn without_threads_everybody_is_served_and_only_downloads_are_put_off() {
    const CAUSE: &str = "no thread can be started for a download";
    // TasksMax of systemd makes the same system call fail with the same errno as RLIMIT_NPROC.
    let Some(server) = as_another_user(Setup::new().recording(VIDEO, "video").expect_log(CAUSE))
    else {
        return;
    };
    let guid = server.sign_in(503);
    let before = Footprint::at_rest(&server);
    let mut member = server.client();
    assert_eq!(member.get("/health", None).status, 200);
    // Fewer than the threads that run, because some of them may be about to end.
    let enough = server.limit("nproc", "1");
    for _ in 0..100 {
        server.serves();
        // 000-007: a mount thread opened the recording, but no download thread can be started.
        // 108-012: no mount thread can be started either.
        let reply = member.download(503, Some(&guid), RECORD_ID);
        assert!(
            ["000-007", "108-012"].contains(&&*reply.code()),
            "{reply:?}"
        );
        assert!(
            reply.status == 200 || reply.field("Retry-After").is_some(),
            "{reply:?}"
        );
    }
    assert_eq!(member.get("/agentevent/503", Some(&guid)).code(), "0");
    assert!(server.told(CAUSE) <= 6);
    server.limit("nproc", &enough);
    eventually("a complete download", || {
        member.download(503, Some(&guid), RECORD_ID).body == b"video"
    });
    drop(member);
    before.await_again(&server);
}

#[test]
fn nothing_of_the_private_socket_is_left_once_the_service_listens() {
    let setup = Setup::new();
    // Longer than the path of a Unix socket may be (108 bytes, unix(7)).
    let temporary = setup.directory().join("x".repeat(120));
    fs::create_dir(&temporary).unwrap();
    // Files that a killed service or another program may have left there.
    fs::create_dir(temporary.join("cc-gateway-0000000000000000")).unwrap();
    fs::write(temporary.join("cc-gateway-1.socket"), "").unwrap();
    let path = temporary.to_str().unwrap().to_owned();
    let server = setup.env("TMPDIR", &path).start();
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 2);
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!table.lines().any(|line| line.contains(&path)), "{table}");
    // The directory is not needed once the service listens.
    fs::remove_dir_all(&temporary).unwrap();
    thread::scope(|scope| {
        (0..16).for_each(|_| drop(scope.spawn(|| (0..20).for_each(|_| server.serves()))));
    });
}

#[test]
fn a_temporary_directory_that_cannot_be_used_stops_the_start_with_its_reason() {
    let setup = Setup::new();
    setup.write_files();
    let output = Command::new(env!("CARGO_BIN_EXE_cc-gateway"))
        .arg("--config")
        .arg(setup.directory().join("basic.properties"))
        .env("TMPDIR", "/nowhere/at/all")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/nowhere/at/all") && said.contains("TMPDIR"),
        "{said}"
    );
}

#[test]
fn a_log_that_nobody_takes_any_more_stops_nothing() {
    let mut server = Setup::new()
        .set("LOG_LEVEL", "trace")
        .recording(VIDEO, "video")
        .deaf()
        .start();
    let before = Footprint::at_rest(&server);
    let guid = server.sign_in(503);
    for _ in 0..50 {
        // Log lines of all levels: a request, a refused request, a failed handshake, and the reload
        // below.
        assert_eq!(server.download(503, &guid, RECORD_ID).body, b"video");
        let mut client = server.client();
        client.send("garbage\r\n\r\n");
        assert_eq!(client.reply().status, 400);
        drop(TcpStream::connect(server.address()).unwrap());
    }
    fs::write(
        server.scratch().path().join("agents.properties"),
        "nonsense = nonsense",
    )
    .unwrap();
    server.signal("HUP");
    (0..50).for_each(|_| server.serves());
    before.await_again(&server);
    assert_eq!(
        server.log().len(),
        2,
        "expected only the lines of the agent without a password and of listening: {:?}",
        server.log()
    );
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn fifty_stalled_downloads_leave_eight_workers_to_everyone_else() {
    let agents: String = (200..216)
        .map(|agent| {
            format!("{agent} = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET\n")
        })
        .collect();
    let setup = Setup::new()
        .set("MAX_DOWNLOADS_PER_AGENT", "100")
        .set("WORKER_THREADS", "8")
        .agents(&agents);
    let server = setup.start();
    server
        .scratch()
        .sparse(&format!("mount/{VIDEO}"), 256 * 1024 * 1024);
    let guid = server.sign_in(503);
    let before = Footprint::at_rest(&server);
    let path = format!("/recordfile/503/videofiledownloadEx?recordId={RECORD_ID}");
    let stalled: Vec<Client> = (0..50)
        .map(|_| {
            let mut client = server.client();
            client.begin_download(503, &guid, RECORD_ID);
            client
        })
        .collect();
    let mut member = server.client();
    assert_eq!(metric(&mut member, "cc_gateway_downloads"), 50);
    // All of these are answered while the 50 downloads are stalled; those end only when they are
    // dropped below.
    thread::scope(|scope| {
        for agent in 200..216 {
            let server = &server;
            scope.spawn(move || {
                let own = server.sign_in(agent);
                assert_eq!(
                    server
                        .client()
                        .get(&format!("/agentevent/{agent}"), Some(&own))
                        .code(),
                    "0"
                );
                assert_eq!(
                    server
                        .client()
                        .delete(&format!("/onlineagent/{agent}/logout"), Some(&own))
                        .code(),
                    "0"
                );
            });
        }
    });
    let mut another = server.client();
    another.send_request(
        "GET",
        &path,
        &format!("Guid: {guid}\r\nRange: bytes=0-9\r\n"),
        "",
    );
    assert_eq!(another.reply().body, [0; 10]);
    eventually("the end of the short download", || {
        metric(&mut member, "cc_gateway_downloads") == 50
    });
    assert!(
        server.memory_kib() < 64 * 1024,
        "{} KiB",
        server.memory_kib()
    );
    drop((stalled, another));
    eventually("the end of the downloads", || {
        metric(&mut member, "cc_gateway_downloads") == 0
    });
    drop(member);
    before.await_threads_and_descriptors(&server);
}
