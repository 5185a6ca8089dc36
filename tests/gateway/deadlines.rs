//! Slow clients, clients that stop, and more clients than the limits allow. A test of a timeout
//! shortens only that one; the others are too long to expire.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use cc_gateway::front::Timeouts;
use cc_gateway::ops::descriptors;

use crate::support::{
    BASE, Client, InProcess, NO_TIMEOUTS, Reply, Setup, connect_from, drain, eventually, has_ended,
    recording_bytes, unsent_from,
};

/// A timeout short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);
/// Pause between two bytes of a client that trickles; far shorter than any timeout.
const TRICKLE: Duration = Duration::from_millis(10);
const LENGTH: u64 = 256 * 1024 * 1024;
const VIDEO: &str = "1/0/20201202/503/long.mp4";
const RECORD_ID: &str = "Y:/1/0/20201202/503/long.mp4";

/// A service with a recording larger than all socket buffers.
fn with_video(setup: Setup, timeouts: Timeouts) -> InProcess {
    let inside = setup.start_in_process(timeouts);
    inside.scratch().sparse(&format!("mount/{VIDEO}"), LENGTH);
    inside
}

fn serves(inside: &InProcess) {
    assert_eq!(
        inside.client().get("/health", None).outcome(),
        (200, "0".into())
    );
}

/// Sends one byte at a time until the server replies or closes the connection. Does not read the
/// reply.
fn trickle(client: &mut Client, bytes: impl Iterator<Item = u8>) {
    for byte in bytes {
        if client.try_send([byte]).is_err() || has_answer(client.socket()) {
            return;
        }
    }
    panic!("the server took all bytes without a reply");
}

/// Whether data or the end of the connection has arrived. Waits up to [`TRICKLE`].
fn has_answer(socket: &TcpStream) -> bool {
    socket.set_read_timeout(Some(TRICKLE)).unwrap();
    let looked = socket.peek(&mut [0]);
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    !looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Expects exactly one reply, a 408, and then close_notify.
fn assert_too_slow(client: &mut Client) {
    let (bytes, in_order) = client.rest();
    let replies = Reply::all(&bytes);
    assert!(in_order && replies.len() == 1, "{replies:?}");
    assert_eq!(replies[0].outcome(), (408, "000-002".into()));
    assert_eq!(replies[0].field("Connection"), Some("close"));
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let inside = Setup::new().start_in_process(Timeouts {
        handshake: SHORT,
        ..NO_TIMEOUTS
    });
    // The beginning of a record of 512 bytes with a ClientHello.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for begun in [0, 1, 5, hello.len()] {
        let mut socket = TcpStream::connect(inside.address()).unwrap();
        socket.write_all(&hello[..begun]).unwrap();
        assert_eq!(drain(&socket), b"", "{begun}");
    }
    // The timeout is for the whole handshake, so trickling bytes does not extend it.
    let mut socket = TcpStream::connect(inside.address()).unwrap();
    let mut bytes = hello.iter().copied().chain(std::iter::repeat(0));
    while socket.write_all(&[bytes.next().unwrap()]).is_ok() && !has_answer(&socket) {}
    assert!(bytes.next().is_some());
    eventually("five failed handshakes", || {
        inside.counters().handshakes_failed.value() == 5
    });
    serves(&inside);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_too_slow() {
    let inside = Setup::new().start_in_process(Timeouts {
        head: SHORT,
        ..NO_TIMEOUTS
    });
    for start in ["GET", "\r\n", "GET / HTTP/1.1\r\nHost: x\r\nA: "] {
        let mut client = inside.client();
        client.send(start);
        trickle(&mut client, std::iter::repeat_n(b'a', 16_000));
        assert_too_slow(&mut client);
    }
    // The same after a request that was answered.
    let mut client = inside.client();
    assert_eq!(client.get("/health", None).status, 200);
    trickle(&mut client, std::iter::repeat_n(b'a', 16_000));
    assert_too_slow(&mut client);
    assert_eq!(inside.counters().requests_malformed.value(), 4);
}

#[test]
fn a_body_that_stops_or_trickles_is_too_slow() {
    let inside = Setup::new().start_in_process(Timeouts {
        body: SHORT,
        ..NO_TIMEOUTS
    });
    let head = format!("PUT {BASE}/onlineagent/101 HTTP/1.1\r\nHost: x\r\n");
    let stopped = [
        format!("{head}Content-Length: 15\r\n\r\n"),
        format!("{head}Content-Length: 15\r\n\r\n{{\"password\":\"\""),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n"),
    ];
    for text in &stopped {
        let mut client = inside.client();
        client.send(text);
        assert_too_slow(&mut client);
    }
    for text in [
        format!("{head}Content-Length: 65536\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n10000\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3;"),
    ] {
        let mut client = inside.client();
        client.send(text);
        trickle(&mut client, std::iter::repeat_n(b'a', 60_000));
        assert_too_slow(&mut client);
    }
    // A client that sends Expect: 100-continue gets a 100, and then the same timeout for its body.
    let mut client = inside.client();
    client.send(format!(
        "{head}Content-Length: 15\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(client.head().status, 100);
    assert_too_slow(&mut client);
}

#[test]
fn a_connection_without_requests_ends_in_order() {
    let inside = Setup::new().start_in_process(Timeouts {
        first_request: SHORT,
        idle: SHORT,
        ..NO_TIMEOUTS
    });
    let mut never_used = inside.client();
    let mut used = inside.client();
    assert_eq!(
        used.get("/health", None).field("Connection"),
        Some("keep-alive")
    );
    // Empty lines do not begin a request, so these connections get no 408.
    let mut empty_lines = inside.client();
    empty_lines.send("\r\n\r\n");
    let mut used_then_empty = inside.client();
    assert_eq!(used_then_empty.get("/health", None).status, 200);
    used_then_empty.send("\r\n");
    for client in [
        &mut never_used,
        &mut used,
        &mut empty_lines,
        &mut used_then_empty,
    ] {
        assert_eq!(client.rest(), (Vec::new(), true));
    }
    serves(&inside);
}

#[test]
fn a_client_that_changes_its_keys_between_two_requests_is_served() {
    let inside = Setup::new().start_in_process(NO_TIMEOUTS);
    let mut client = inside.client();
    for _ in 0..3 {
        client.tls().refresh_traffic_keys().unwrap();
        assert_eq!(client.get("/health", None).status, 200);
    }
}

#[test]
fn a_client_that_stops_reading_a_video_is_cut_and_leaves_nothing() {
    let setup = Setup::new().set("MAX_DOWNLOADS_PER_AGENT", "1");
    let inside = with_video(
        setup,
        Timeouts {
            window: SHORT,
            ..NO_TIMEOUTS
        },
    );
    let guid = inside.sign_in(503);
    for stopped in 1..=3 {
        // MAX_DOWNLOADS_PER_AGENT is 1, so this succeeds only if a cut download no longer counts.
        let mut client = inside.client();
        assert_eq!(
            client.begin_download(503, &guid, RECORD_ID).length() as u64,
            LENGTH
        );
        eventually("a cut download", || {
            inside.counters().downloads_cut.value() == stopped
        });
        // The client's socket is still open, but the kernel must hold no more data for it.
        eventually("no unsent bytes", || {
            unsent_from(inside.address().port()).0 == 0
        });
        let (rest, in_order) = client.rest();
        assert!(
            !in_order && (rest.len() as u64) < LENGTH,
            "{in_order} {}",
            rest.len()
        );
    }
}

#[test]
fn a_client_that_takes_too_little_in_each_window_is_cut() {
    let inside = with_video(
        Setup::new(),
        Timeouts {
            window: SHORT,
            ..NO_TIMEOUTS
        },
    );
    let guid = inside.sign_in(503);
    let mut client =
        inside.client_over(connect_from("127.0.0.1", inside.address(), Some(16 * 1024)));
    client.begin_download(503, &guid, RECORD_ID);
    // Takes a few bytes at a time, far below the minimum rate.
    let mut drip = [0; 512];
    let mut socket = client.socket();
    while inside.counters().downloads_cut.value() == 0 {
        let _ = socket.read(&mut drip);
        thread::sleep(TRICKLE);
    }
    serves(&inside);
}

#[test]
fn a_client_that_takes_enough_in_each_window_is_served_for_as_long_as_it_needs() {
    let window = Duration::from_secs(1);
    let inside = with_video(
        Setup::new(),
        Timeouts {
            window,
            ..NO_TIMEOUTS
        },
    );
    let guid = inside.sign_in(503);
    let mut client = inside.client();
    client.begin_download(503, &guid, RECORD_ID);
    let (mut taken, long) = (0, Instant::now() + 3 * window);
    while Instant::now() < long {
        client.stream(512 * 1024, |_| ());
        taken += 512 * 1024;
        thread::sleep(TRICKLE);
    }
    client.stream(LENGTH - taken, |_| ());
    assert_eq!(inside.counters().downloads_cut.value(), 0);
}

#[test]
fn a_client_that_takes_its_download_slowly_but_evenly_is_never_cut() {
    is_served_evenly(None);
}

#[test]
fn a_slow_client_behind_megabytes_of_buffers_is_never_cut() {
    // They fill at once, and then the kernel takes nothing for longer than a window.
    is_served_evenly(Some(4 << 20));
}

/// Reads at three times the minimum rate, in pieces, over five windows. With the default window of
/// 30 s that is 6.5 KB a second, slow enough that the kernel takes and gives data in large pieces.
fn is_served_evenly(receive_buffer: Option<usize>) {
    let window = Duration::from_secs(2);
    let inside = with_video(
        Setup::new(),
        Timeouts {
            window,
            ..NO_TIMEOUTS
        },
    );
    let guid = inside.sign_in(503);
    let socket = connect_from("127.0.0.1", inside.address(), receive_buffer);
    let mut client = inside.client_over(socket);
    client.begin_download(503, &guid, RECORD_ID);
    // Paced by the clock, so that a busy machine does not slow the client down.
    let (began, mut taken) = (Instant::now(), 0);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    while began.elapsed() < 5 * window {
        let due = 3 * Timeouts::WINDOW_BYTES * millis(began.elapsed()) / millis(window);
        client.stream(due - taken, |_| ());
        taken = due;
        thread::sleep(TRICKLE);
    }
    assert_eq!(inside.counters().downloads_cut.value(), 0);
}

#[test]
fn a_connection_ends_after_a_thousand_requests() {
    let inside = Setup::new().start_in_process(NO_TIMEOUTS);
    let mut client = inside.client();
    let requests = format!("GET {BASE}/health HTTP/1.1\r\nHost: x\r\n\r\n").repeat(1010);
    client.send(requests);
    let (bytes, in_order) = client.rest();
    let replies = Reply::all(&bytes);
    assert!(in_order && replies.len() == 1000, "{}", replies.len());
    assert!(replies.iter().all(|reply| reply.status == 200));
    let ends = |reply: &Reply| reply.field("Connection") == Some("close");
    assert_eq!(replies.iter().position(ends), Some(999));
}

#[test]
fn of_1100_clients_1024_are_served_and_the_others_told_at_once() {
    assert!(descriptors::raise_nofile_limit(8192).unwrap() >= 8192);
    let setup = Setup::new().expect_log("refusing clients: MAX_CONNECTIONS is reached");
    let server = setup
        .recording("1/0/20201202/503/a.mp4", recording_bytes(7, 100_000))
        .start();
    // Eleven addresses, so that MAX_CONNECTIONS_PER_ADDRESS is not reached.
    let certificate = server.scratch().path().join("certificate.pem");
    let connect = |number: usize| {
        connect_from(
            &format!("127.0.1.{}", 1 + number % 11),
            server.address(),
            None,
        )
    };
    let mut members: Vec<Client> = (0..1024)
        .map(|number| Client::over(connect(number), &certificate))
        .collect();
    // A connection that was used with a valid Guid is not evicted for a new client.
    let guid = members[0]
        .put("/onlineagent/503", None, r#"{"password":"secret"}"#)
        .guid()
        .unwrap();
    assert!(
        members
            .iter_mut()
            .all(|member| member.get("/agentevent/503", Some(&guid)).code() == "0")
    );
    let others: Vec<TcpStream> = (1024..1100).map(connect).collect();
    assert!(others.iter().all(|other| drain(other).is_empty()));
    assert!(
        server.memory_kib() < 80 * 1024,
        "{} KiB",
        server.memory_kib()
    );
    // The accepted connections still work.
    let video = members[1023].download(503, Some(&guid), "Y:/1/0/20201202/503/a.mp4");
    assert_eq!(video.body, recording_bytes(7, 100_000));
    assert!(
        members
            .iter_mut()
            .all(|member| member.get("/health", None).status == 200)
    );
    let metrics = members[7].get("/metrics", None);
    assert!(
        metrics
            .text()
            .contains("cc_gateway_connections_refused_total 76\n"),
        "{}",
        metrics.text()
    );
    // A closed connection makes room for a new one.
    drop(members.pop());
    eventually("room for a new connection", || {
        Client::offering(server.address(), &certificate, rustls::ALL_VERSIONS, &[]).is_ok()
    });
    drop(members);
    assert_eq!(server.client().get("/health", None).status, 200);
    assert!(
        (1..10).contains(&server.told("refusing clients")),
        "{:?}",
        server.log()
    );
}

#[test]
fn of_200_clients_of_one_address_128_are_served_and_other_addresses_do_not_notice() {
    assert!(descriptors::raise_nofile_limit(8192).unwrap() >= 8192);
    let inside = Setup::new().start_in_process(NO_TIMEOUTS);
    let sockets: Vec<TcpStream> = (0..200)
        .map(|_| connect_from("127.0.0.2", inside.address(), None))
        .collect();
    eventually("128 accepted and 72 refused connections", || {
        inside.counters().connections.value() == 128
            && inside.counters().connections_refused.value() == 72
    });
    assert_eq!(
        sockets.iter().filter(|socket| has_ended(socket)).count(),
        72
    );
    let other = || inside.client_over(connect_from("127.0.0.3", inside.address(), None));
    assert_eq!(other().get("/health", None).status, 200);
    let mut member = inside.client_over(
        sockets
            .iter()
            .find(|socket| !has_ended(socket))
            .unwrap()
            .try_clone()
            .unwrap(),
    );
    assert_eq!(member.get("/health", None).status, 200);
    drop((sockets, member));
    eventually("room for a new connection", || {
        let refused = inside.counters().connections_refused.value();
        let socket = connect_from("127.0.0.2", inside.address(), None);
        !has_ended(&socket) && inside.counters().connections_refused.value() == refused
    });
}

#[test]
fn the_limit_of_descriptors_is_raised_to_what_the_settings_need() {
    let limits = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        line.split_whitespace()
            .skip(3)
            .take(2)
            .map(|n| n.parse().unwrap())
            .collect::<Vec<u64>>()
    };
    let server = Setup::new()
        .through(&["prlimit", "--nofile=256:4096"])
        .start();
    let raised = limits(server.pid());
    assert!(
        raised[0] > 1024 + 128 && raised[0] < 4096 && raised[1] == 4096,
        "{raised:?}"
    );
    let roomy = Setup::new()
        .through(&["prlimit", "--nofile=4096:8192"])
        .start();
    assert_eq!(limits(roomy.pid()), [4096, 8192]);
}

#[test]
fn a_limit_of_descriptors_that_cannot_do_stops_the_start() {
    let setup = Setup::new();
    setup.write_files();
    let output = std::process::Command::new("prlimit")
        .args([
            "--nofile=256:256",
            env!("CARGO_BIN_EXE_cc-gateway"),
            "--config",
        ])
        .arg(setup.directory().join("basic.properties"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("LimitNOFILE") && said.contains("the limit is 256"),
        "{said}"
    );
    // A MAX_CONNECTIONS that is set and needs more than the hard limit also stops the start; the
    // default is lowered instead.
    let chosen = Setup::new()
        .set("MAX_CONNECTIONS", "9000")
        .unset("MAX_CONNECTIONS_PER_ADDRESS");
    chosen.write_files();
    let output = std::process::Command::new("prlimit")
        .args([
            "--nofile=1024:4096",
            env!("CARGO_BIN_EXE_cc-gateway"),
            "--config",
        ])
        .arg(chosen.directory().join("basic.properties"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("MAX_CONNECTIONS = 9000, but the limit is 4096"),
        "{said}"
    );
    let lowered = Setup::new()
        .unset("MAX_CONNECTIONS")
        .unset("MAX_CONNECTIONS_PER_ADDRESS")
        .through(&["prlimit", "--nofile=1024:4096"])
        .expect_log(
            "open files are needed for MAX_CONNECTIONS = 10000, but the limit is 4096, enough for ",
        )
        .start();
    lowered.log_line("clients are accepted at once; raise the limit");
    assert_eq!(lowered.client().get("/health", None).status, 200);
    // With settings that need fewer descriptors it starts.
    let few = Setup::new()
        .set("MAX_CONNECTIONS", "50")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "50")
        .set("MAX_DOWNLOADS", "10")
        .set("MAX_DOWNLOADS_PER_AGENT", "4")
        .through(&["prlimit", "--nofile=256:256"])
        .start();
    assert_eq!(few.client().get("/health", None).status, 200);
}
