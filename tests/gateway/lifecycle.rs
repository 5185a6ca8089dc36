//! Start, reload and shutdown of the process, and its messages to the service manager and the
//! journal.

use std::net::TcpStream;

use crate::support::{
    Client, Manager, Scratch, Server, Setup, eventually, recording_bytes, sha256,
};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";
const RECORD_ID: &str = "Y:/1/0/20201202/503/1714442.mp4";
/// More than the socket buffers on both sides hold, so that a download whose client does not read
/// is still running.
const LONG: usize = 24 * 1024 * 1024;

/// Begins a download and reads its head and the first 1000 bytes.
fn begin(server: &Server, guid: &str) -> (Client, Vec<u8>) {
    let mut client = server.client();
    assert_eq!(client.begin_download(503, guid, RECORD_ID).length(), LONG);
    let beginning = client.bytes(1000);
    (client, beginning)
}

fn with_long_recording() -> (Setup, Vec<u8>) {
    let video = recording_bytes(7, LONG);
    let setup = Setup::new()
        .set("MAX_DOWNLOADS_PER_AGENT", "100")
        .recording(RECORDING, &video);
    (setup, video)
}

#[test]
fn the_manager_is_told_of_start_reload_and_end() {
    let scratch = Scratch::new();
    let name = format!("cc-gateway-life-{}", std::process::id());
    for manager in [
        Manager::at(&scratch.path().join("notify")),
        Manager::abstract_at(&name),
    ] {
        let mut server = Setup::new().env("NOTIFY_SOCKET", &manager.name).start();
        assert_eq!(manager.message(), "READY=1");
        assert_eq!(server.client().get("/health", None).status, 200);
        for _ in 0..2 {
            server.signal("HUP");
            let reloading = manager.message();
            let time = reloading
                .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
                .unwrap_or_else(|| panic!("{reloading}"));
            assert!(time.parse::<u64>().unwrap() > 0);
            assert_eq!(manager.message(), "READY=1");
        }
        server.signal("TERM");
        // DRAIN_TIMEOUT (30 s), a second for threads to end, and five to spare.
        assert_eq!(
            manager.message(),
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=36000000"
        );
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn the_watchdog_is_fed_while_the_service_serves_and_while_it_drains() {
    let scratch = Scratch::new();
    let manager = Manager::at(&scratch.path().join("notify"));
    let (setup, _) = with_long_recording();
    let mut server = setup
        .env("NOTIFY_SOCKET", &manager.name)
        .env("WATCHDOG_USEC", "200000")
        .set("DRAIN_TIMEOUT", "3600000")
        .expect_log("downloads cut: 1")
        .start();
    assert_eq!(manager.news(), "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.message(), "WATCHDOG=1");
    }
    let guid = server.sign_in(503);
    let stalled = begin(&server, &guid);
    server.signal("TERM");
    assert!(manager.news().starts_with("STOPPING=1\n"));
    for _ in 0..3 {
        assert_eq!(manager.message(), "WATCHDOG=1");
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop(stalled);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let scratch = Scratch::new();
    let manager = Manager::at(&scratch.path().join("notify"));
    let mut server = Setup::new()
        .env("NOTIFY_SOCKET", &manager.name)
        .env("WATCHDOG_USEC", "1000")
        .env("WATCHDOG_PID", "1")
        .start();
    assert_eq!(server.client().get("/health", None).status, 200);
    server.signal("TERM");
    let told = [manager.message(), manager.message()];
    assert!(
        told[0] == "READY=1" && told[1].starts_with("STOPPING=1\n"),
        "{told:?}"
    );
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn lines_for_the_journal_carry_a_priority_and_no_time() {
    let as_a_service = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" "$@""#;
    let server = Setup::new()
        .through(&["sh", "-c", as_a_service])
        .expect_log("<6>INFO ")
        .start();
    assert!(server.log_line("listening on").starts_with("<6>INFO "));
    // Programs whose stderr is not the journal inherit the variable, too.
    let elsewhere = Setup::new().env("JOURNAL_STREAM", "1:2").start();
    assert!(elsewhere.log_line("listening on").starts_with("20"));
}

#[test]
fn a_signal_lets_running_downloads_end_and_takes_no_new_client() {
    let (setup, video) = with_long_recording();
    let mut server = setup.set("DRAIN_TIMEOUT", "600000").start();
    let guid = server.sign_in(503);
    let mut downloads: Vec<_> = (0..20).map(|_| begin(&server, &guid)).collect();
    let mut idle = server.client();
    assert_eq!(idle.get("/health", None).status, 200);
    server.signal("TERM");
    server.log_line("shutting down; waiting up to 600000 ms for 20 downloads");
    eventually("refusal of new connections", || {
        TcpStream::connect(server.address()).is_err()
    });
    assert_eq!(
        idle.rest(),
        (Vec::new(), true),
        "an idle connection ends with close_notify"
    );
    // Reads the downloads piece by piece in turn, as slow clients do.
    const PIECE: usize = 512 * 1024;
    for taken in (1000..LONG).step_by(PIECE) {
        for (client, content) in &mut downloads {
            content.extend(client.bytes(PIECE.min(LONG - taken)));
        }
    }
    let expected = sha256(&video);
    for (mut client, content) in downloads {
        assert_eq!(sha256(&content), expected);
        assert_eq!(client.rest(), (Vec::new(), true));
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().last().unwrap().ends_with(" stopped"));
}

#[test]
fn a_stalled_download_is_cut_when_the_time_is_up() {
    let (setup, _) = with_long_recording();
    let mut server = setup
        .set("DRAIN_TIMEOUT", "300")
        .expect_log("stopped; downloads cut: 1")
        .start();
    let guid = server.sign_in(503);
    let (mut stalled, _) = begin(&server, &guid);
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
    let (rest, in_order) = stalled.rest();
    assert!(
        !in_order && rest.len() < LONG - 1000,
        "{} in order: {in_order}",
        rest.len()
    );
    assert!(
        server
            .log()
            .iter()
            .any(|line| line.contains("downloadVideoFileEx") && line.contains(" cut="))
    );
    assert!(
        server
            .log()
            .last()
            .unwrap()
            .ends_with("stopped; downloads cut: 1")
    );
}

#[test]
fn a_second_signal_ends_at_once_what_would_take_an_hour() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let (setup, _) = with_long_recording();
        let mut server = setup
            .set("DRAIN_TIMEOUT", "3600000")
            .expect_log("downloads cut: 1")
            .start();
        let guid = server.sign_in(503);
        let stalled = begin(&server, &guid);
        server.signal(first);
        server.log_line("shutting down; ");
        // A reload during the shutdown does not shorten it.
        server.signal("HUP");
        server.signal(second);
        assert_eq!(server.wait().code(), Some(0), "{first} {second}");
        drop(stalled);
    }
}

#[test]
fn a_parked_poll_is_answered_before_the_end() {
    let mut server = Setup::new()
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_INTERVAL", "3000")
        .expect_log("AGENT_POLL_WAIT_TIMES")
        .start();
    let guid = server.sign_in(503);
    let mut poll = server.client();
    poll.send_get("/agentevent/503", &guid, "");
    eventually("a parked poll", || {
        server
            .client()
            .get("/metrics", None)
            .text()
            .contains("cc_gateway_polls_parked 1\n")
    });
    server.signal("TERM");
    let reply = poll.reply();
    assert_eq!(reply.body, br#"{"message":"","retcode":"0"}"#);
    assert_eq!(reply.field("Connection"), Some("close"));
    assert_eq!(server.wait().code(), Some(0));
}
