//! Reload on SIGHUP: certificate, agents and some settings are replaced while clients are served.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

use crate::support::{Client, Server, Setup, eventually, recording_bytes};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";
const RECORD_ID: &str = "Y:/1/0/20201202/503/1714442.mp4";

/// Reloads, and waits for a new log line that contains `told`.
fn reload(server: &Server, told: &str) {
    let lines = || {
        server
            .log()
            .iter()
            .filter(|line| line.contains(told))
            .count()
    };
    let before = lines();
    server.signal("HUP");
    eventually(&format!("a log line with {told}"), || lines() > before);
}

/// Sets a key of basic.properties, replacing its value.
fn set(server: &Server, key: &str, value: &str) {
    let path = server.scratch().path().join("basic.properties");
    let text = fs::read_to_string(path).unwrap();
    let others = text
        .lines()
        .filter(|line| line.split(" = ").next() != Some(key));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    server
        .scratch()
        .file("basic.properties", format!("{others}{key} = {value}\n"));
}

/// The certificate and key of another server.
fn other_pair() -> [Vec<u8>; 2] {
    let other = Setup::new();
    other.write_files();
    ["certificate.pem", "private-key.pem"]
        .map(|name| fs::read(other.directory().join(name)).unwrap())
}

/// Whether a new client without a session ticket is shown this certificate.
fn shown(server: &Server, certificate: &[u8]) -> bool {
    // Clients with the same certificate file share their session tickets, and a client that resumes
    // a session is shown no certificate.
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    let first_client = format!("# client {}\n", CLIENTS.fetch_add(1, Ordering::Relaxed));
    let trusted = server.scratch().file(
        "trusted.pem",
        [certificate, first_client.as_bytes()].concat(),
    );
    let mut client = Client::connect(server.address(), &trusted);
    client
        .try_send("GET /agentgateway/resource/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .is_ok()
        && client.try_head().is_ok_and(|head| head.status == 200)
}

#[test]
fn two_hundred_reloads_break_no_download_and_no_poll() {
    const POLLS: u32 = 200;
    const DOWNLOADS: usize = 20;
    const RELOADS: usize = 200;
    const PIECE: usize = 64 * 1024;
    // After the reloads more is left than the socket buffers hold.
    const LENGTH: usize = RELOADS * PIECE + 16 * 1024 * 1024;
    let video = recording_bytes(3, LENGTH);
    let agents: String = (1001..1001 + POLLS)
        .map(|agent| format!("{agent} = no-password\n"))
        .collect();
    let mut server = Setup::new()
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "100")
        .set("AGENT_POLL_WAIT_INTERVAL", "6000")
        .set("MAXTIME", "3600000")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "1000")
        .set("MAX_DOWNLOADS_PER_AGENT", "100")
        // The downloads end one after the other, which takes long on a busy machine.
        .set("DRAIN_TIMEOUT", "600000")
        .agents(&agents)
        .recording(RECORDING, &video)
        .expect_log("AGENT_POLL_WAIT_TIMES")
        .start();
    let mut polls: Vec<_> = (1001..1001 + POLLS)
        .map(|agent| {
            let mut client = server.client();
            let guid = client
                .put(&format!("/onlineagent/{agent}"), None, r#"{"password":""}"#)
                .guid()
                .unwrap();
            client.take_sign_in_events(agent, &guid);
            client.send_get(&format!("/agentevent/{agent}"), &guid, "");
            client
        })
        .collect();
    let guid = server.sign_in(503);
    let mut downloads: Vec<_> = (0..DOWNLOADS)
        .map(|_| {
            let mut client = server.client();
            assert_eq!(
                client.begin_download(503, &guid, RECORD_ID).length(),
                LENGTH
            );
            (client, Context::new(&SHA256))
        })
        .collect();
    let parked = format!("cc_gateway_polls_parked {POLLS}\n");
    let mut trusted_at_start = server.client();
    let mut metrics = || trusted_at_start.get("/metrics", None).text().to_owned();
    eventually("all polls are parked", || metrics().contains(&parked));

    let pairs = [
        ["certificate.pem", "private-key.pem"]
            .map(|name| fs::read(server.scratch().path().join(name)).unwrap()),
        other_pair(),
    ];
    for number in 1..=RELOADS {
        let [certificate, key] = &pairs[number % 2];
        server.scratch().file("certificate.pem", certificate);
        server.scratch().file("private-key.pem", key);
        reload(&server, "certificate reloaded");
        for (client, digest) in &mut downloads {
            client.stream(PIECE as u64, |piece| digest.update(piece));
        }
        if number % 20 < 2 {
            assert!(
                shown(&server, certificate),
                "reload {number}: new clients are shown the new certificate"
            );
        }
    }
    assert!(metrics().contains(&parked), "every poll waits as before");
    assert!(
        metrics().contains(&format!("cc_gateway_downloads {DOWNLOADS}\n")),
        "every download is still running"
    );

    server.signal("TERM");
    for poll in &mut polls {
        assert_eq!(poll.reply().body, br#"{"message":"","retcode":"0"}"#);
    }
    let expected = crate::support::sha256(&video);
    for (mut client, mut digest) in downloads {
        client.stream((LENGTH - RELOADS * PIECE) as u64, |piece| {
            digest.update(piece)
        });
        let received: String = digest
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(received, expected);
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_pair_that_does_not_belong_together_changes_nothing() {
    let server = Setup::new()
        .expect_log("certificate not reloaded: ")
        .start();
    let before = fs::read(server.scratch().path().join("certificate.pem")).unwrap();
    let [certificate, key] = other_pair();
    server.scratch().file("certificate.pem", &certificate);
    reload(&server, "do not belong together");
    assert!(shown(&server, &before));
    // The pair is complete once its second file is replaced.
    server.scratch().file("private-key.pem", key);
    reload(&server, "certificate reloaded");
    assert!(shown(&server, &certificate));
    reload(&server, "nothing has changed");
}

#[test]
fn a_key_that_cannot_be_had_changes_nothing() {
    // Root can read every file, so the server runs as another user.
    const NOBODY: u32 = 65534;
    let root = is_root();
    let mut setup = Setup::new().expect_log("certificate not reloaded: ");
    setup.write_files();
    if root {
        for name in [
            ".",
            "agents.properties",
            "basic.properties",
            "certificate.pem",
            "private-key.pem",
        ] {
            chown(setup.directory().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        setup = setup.through(&[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]);
    }
    let server = setup.start();
    let certificate = fs::read(server.scratch().path().join("certificate.pem")).unwrap();
    let key = server.scratch().path().join("private-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).unwrap();
    reload(
        &server,
        "private-key.pem: TLS_PRIVATE_KEY: is not readable (Permission denied",
    );
    assert!(shown(&server, &certificate));
    fs::remove_file(&key).unwrap();
    reload(&server, "private-key.pem: TLS_PRIVATE_KEY: no such file");
    assert!(shown(&server, &certificate));
    fs::write(&key, "no key").unwrap();
    reload(
        &server,
        "private-key.pem: TLS_PRIVATE_KEY: holds no private key",
    );
    assert!(shown(&server, &certificate));
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:\t0\t0\t"))
}

#[test]
fn agents_come_and_go_and_a_broken_file_changes_nothing() {
    let server = Setup::new()
        .expect_log("agents not reloaded")
        .expect_log("names no agent, nobody can sign in")
        .start();
    let staying = server.sign_in(503);
    let leaving = server.sign_in(102);
    let before = fs::read_to_string(server.scratch().path().join("agents.properties")).unwrap();
    let without: String = before
        .lines()
        .filter(|line| !line.starts_with("102 "))
        .map(|line| format!("{line}\n"))
        .collect();
    server
        .scratch()
        .file("agents.properties", format!("{without}777 = no-password\n"));
    reload(&server, "agents reloaded: 5 may sign in, 1 sessions ended");
    assert_eq!(
        server
            .client()
            .get("/agentevent/503", Some(&staying))
            .code(),
        "0"
    );
    assert_eq!(
        server
            .client()
            .get("/agentevent/102", Some(&leaving))
            .code(),
        "100-006"
    );
    assert_eq!(
        server
            .client()
            .put("/onlineagent/777", None, r#"{"password":""}"#)
            .code(),
        "0"
    );
    assert_eq!(
        server
            .client()
            .put("/onlineagent/102", None, r#"{"password":"secret"}"#)
            .code(),
        "100-004"
    );

    server
        .scratch()
        .file("agents.properties", "503 = plain\n777 = no-password\n");
    reload(&server, "agents not reloaded");
    assert_eq!(
        server
            .client()
            .get("/agentevent/503", Some(&staying))
            .code(),
        "0"
    );

    server.scratch().file("agents.properties", "# nobody\n");
    reload(&server, "agents reloaded: 0 may sign in, 2 sessions ended");
    assert_eq!(
        server
            .client()
            .get("/agentevent/503", Some(&staying))
            .code(),
        "100-006"
    );
}

#[test]
fn some_settings_change_at_once_and_the_others_are_named_until_a_restart() {
    let mut server = Setup::new()
        .expect_log("MAXTIME has changed; restart the service to apply it")
        .expect_log("MOUNT_DIR.Z has changed; restart the service to apply it")
        .expect_log("settings not reloaded")
        .start();
    set(&server, "LOG_LEVEL", "debug");
    set(&server, "DRAIN_TIMEOUT", "1234");
    reload(&server, "LOG_LEVEL is now debug");
    server.log_line("DRAIN_TIMEOUT is now 1234");
    assert_eq!(server.client().get("/health", None).status, 200);
    server.log_line("DEBUG [request] health ");

    // An added key must not make the keys after it count as changed.
    set(&server, "MOUNT_DIR.Z", "/mnt/older");
    set(&server, "MAXTIME", "90000");
    // The line about MAXTIME comes after that about MOUNT_DIR.Z.
    for _ in 0..2 {
        reload(
            &server,
            "MAXTIME has changed; restart the service to apply it",
        );
    }
    assert_eq!(
        server
            .log()
            .iter()
            .filter(|line| line.contains("restart the service to apply it"))
            .count(),
        4
    );

    set(&server, "LOG_LEVEL", "loud");
    reload(&server, "LOG_LEVEL: \"loud\" ");
    assert!(
        server
            .log_line("LOG_LEVEL: \"loud\"")
            .contains("basic.properties:")
    );
    set(&server, "LOG_LEVEL", "debug");
    reload(&server, "MAXTIME has changed");

    let agents = fs::read_to_string(server.scratch().path().join("agents.properties")).unwrap();
    server
        .scratch()
        .file("others.properties", format!("{agents}778 = no-password\n"));
    set(&server, "AGENTS_FILE", "others.properties");
    reload(&server, "agents reloaded: 6 may sign in, 0 sessions ended");
    server.log_line("AGENTS_FILE is now ");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.log_line("shutting down");
}
