//! Idle and slow clients occupy no threads, and clients that leave are noticed immediately.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use cc_gateway::ops::descriptors;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::support::{BASE, Client, Hang, Server, Setup, Tree, connect_from, eventually};

const CROWD: usize = 1000;
/// The limit of the design, besides the threads of running downloads.
const THREADS_MAX: usize = 48;

/// A server that accepts thousands of connections from one address, and whose polls wait longer
/// than the test.
fn roomy() -> Setup {
    assert!(descriptors::raise_nofile_limit(8192).unwrap() >= 8192);
    Setup::new()
        .set("MAX_CONNECTIONS", "4000")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "4000")
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_INTERVAL", "6000")
        .expect_log("a poll waits 600000 ms")
}

/// Asserts that a crowd of clients occupies no threads, and that the server still answers.
fn assert_no_thread_for(server: &Server, what: &str, crowd: impl Fn() -> Vec<Client>) {
    let clients = crowd();
    assert_eq!(clients.len(), CROWD, "{what}");
    let threads = server.all_threads();
    assert!(threads <= THREADS_MAX, "{what}: {threads} threads");
    (0..3).for_each(|_| server.serves());
}

#[test]
fn a_thousand_clients_who_take_their_time_hold_no_thread() {
    let agents: String = (0..CROWD)
        .map(|number| format!("{} = no-password\n", 10_000 + number))
        .collect();
    let server = roomy().agents(&agents).start();
    // Plain sockets, as a `Client` would complete the handshake.
    let handshakes: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let mut socket = connect_from("127.0.0.1", server.address(), None);
            socket
                .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                .unwrap();
            socket
        })
        .collect();
    assert!(server.all_threads() <= THREADS_MAX);
    (0..3).for_each(|_| server.serves());
    drop(handshakes);
    let crowd = |begin: &dyn Fn(&mut Client, usize)| -> Vec<Client> {
        (0..CROWD)
            .map(|number| {
                let mut client = server.client();
                begin(&mut client, 10_000 + number);
                client
            })
            .collect()
    };
    assert_no_thread_for(&server, "idle", || crowd(&|_, _| ()));
    assert_no_thread_for(&server, "a head that arrives slowly", || {
        let mut clients = crowd(&|client, _| client.send("GET / HTTP/1.1\r\nHost: x\r\nA: "));
        clients.iter_mut().for_each(|client| client.send("b"));
        clients
    });
    assert_no_thread_for(&server, "a body that stops", || {
        crowd(&|client, _| {
            client.send(format!(
                "PUT {BASE}/onlineagent/101 HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{"
            ));
        })
    });
    assert_no_thread_for(&server, "parked polls", || {
        let clients = crowd(&|client, agent| {
            let guid = client
                .put(&format!("/onlineagent/{agent}"), None, r#"{"password":""}"#)
                .guid()
                .unwrap();
            let path = format!("/agentevent/{agent}");
            // Takes the two sign-in events, so that the next poll is parked.
            (0..2).for_each(|_| assert!(client.get(&path, Some(&guid)).text().contains("event")));
            client.send_get(&path, &guid, "");
        });
        server.metric_becomes("polls_parked", CROWD as u64);
        clients
    });
    assert_no_thread_for(&server, "responses not read", || {
        let requests = format!("GET {BASE}/health HTTP/1.1\r\nHost: x\r\n\r\n").repeat(200);
        crowd(&|client, _| client.send(&requests))
    });
}

#[test]
fn a_client_that_leaves_while_its_poll_is_parked_is_noticed_at_once() {
    let server = roomy().start();
    let guid = server.sign_in(503);
    for polite in [true, false] {
        let mut client = server.client();
        client.send_get("/agentevent/503", &guid, "");
        server.metric_becomes("polls_parked", 1);
        if polite {
            client.finish();
        }
        drop(client);
        server.metric_becomes("polls_parked", 0);
        server.metric_becomes("connections", 1);
    }
}

#[test]
fn a_client_that_leaves_while_its_password_is_checked_is_noticed_at_once() {
    // So many iterations that the check takes longer than the test.
    let slow = "2000 = pbkdf2-sha256$10000000$000102030405060708090a0b0c0d0e0f$\
                0000000000000000000000000000000000000000000000000000000000000000\n";
    let server = Setup::new().agents(slow).start();
    let mut client = server.client();
    client.send_request("PUT", "/onlineagent/2000", "", r#"{"password":"x"}"#);
    server.metric_becomes("requests_waiting", 1);
    drop(client);
    server.metric_becomes("requests_waiting", 0);
    server.metric_becomes("connections", 1);
    server.serves();
}

#[test]
fn a_client_that_leaves_while_its_mount_hangs_is_noticed_at_once() {
    const PATH: &str = "1/0/20201202/503/a.mp4";
    let setup = Setup::new().expect_log("is lost");
    let directory = setup.directory().join("mount");
    let Some(fuse) = Tree::new().file(PATH, "video").mount(&directory) else {
        return;
    };
    let server = setup.start();
    let guid = server.sign_in(503);
    assert_eq!(
        server.download(503, &guid, &format!("Y:/{PATH}")).body,
        b"video"
    );
    fuse.hang(Hang::Opens);
    let mut client = server.client();
    let path = format!("/recordfile/503/videofiledownloadEx?recordId=Y:/{PATH}");
    client.send_get(&path, &guid, "");
    server.metric_becomes("requests_waiting", 1);
    drop(client);
    server.metric_becomes("requests_waiting", 0);
    server.metric_becomes("connections", 1);
    fuse.hang(Hang::Nothing);
    eventually("a download after the hang", || {
        server.download(503, &guid, &format!("Y:/{PATH}")).body == b"video"
    });
}

/// The Unix stream sockets of a process, duplicated into this one; `None` if that is not permitted.
fn unix_streams(pid: u32) -> Option<Vec<OwnedFd>> {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    // Type 0001 is SOCK_STREAM; the last column before the path is the inode.
    let streams: Vec<&str> = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns[4] == "0001")
        .map(|columns| columns[6])
        .collect();
    let process = pidfd_open(
        Pid::from_raw(pid.try_into().unwrap()).unwrap(),
        PidfdFlags::empty(),
    )
    .unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let entry = entry.unwrap();
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        let is_stream = streams
            .iter()
            .any(|inode| target == format!("socket:[{inode}]"));
        if is_stream {
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            found.push(pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?);
        }
    }
    Some(found)
}

#[test]
fn a_backend_that_is_cut_off_is_replaced_and_costs_only_what_was_on_its_way() {
    let server = Setup::new().expect_log("lost the backend").start();
    let mut member = server.client();
    assert_eq!(member.get("/health", None).status, 200);
    let Some(streams) = unix_streams(server.pid()) else {
        return eprintln!(
            "skipped: the descriptors of another process cannot be duplicated here (ptrace)"
        );
    };
    assert!(!streams.is_empty());
    for stream in &streams {
        rustix::net::shutdown(stream, rustix::net::Shutdown::Both).unwrap();
    }
    server.log_line("lost the backend");
    eventually("200 from /health", || {
        server.client().get("/health", None).status == 200
    });
    for _ in 0..50 {
        server.serves();
        assert_eq!(member.get("/health", None).outcome(), (200, "0".into()));
    }
}
