//! What operators see: `/health` and `/metrics`.

use std::io::Write as _;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Client, Metrics, Server, Setup, eventually};

const PATH: &str = "1/0/20201202/503/a.mp4";
const QUERY: &str = "recordId=Y:/1/0/20201202/503/a.mp4";

#[test]
fn the_page_keeps_to_the_letter_of_its_format() {
    let server = Setup::new().recording(PATH, "video").start();
    assert_eq!(server.agent(503).code(QUERY), "0");
    server.client().get("/nowhere", None);
    let reply = server.client().get("/metrics", None);
    assert_eq!(
        reply.field("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let metrics = Metrics::parse(reply.text());
    for (name, kind) in &metrics.types {
        assert!(name.starts_with("cc_gateway_"));
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert!(
            metrics.samples.keys().any(|key| key.starts_with(name)),
            "{name} has no sample"
        );
    }
}

#[test]
fn promtool_finds_no_fault_with_the_page() {
    let mut promtool = Command::new("promtool");
    promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let Ok(mut promtool) = promtool.spawn() else {
        eprintln!("skipped: promtool is not installed");
        return;
    };
    let server = Setup::new().recording(PATH, "video").start();
    assert_eq!(server.agent(503).code(QUERY), "0");
    let page = server.client().get("/metrics", None);
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(&page.body)
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn every_quantity_is_there_and_moves() {
    let setup = Setup::new()
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "600");
    let setup = setup
        .recording(PATH, vec![7; 24 << 20])
        .recording("1/0/20201202/503/small.mp4", vec![7; 1000])
        .expect_log("a poll waits 60000 ms");
    let server = setup.start();
    let before = server.metrics();
    let mut idle = server.client();
    assert_eq!(idle.get("/health", None).status, 200);
    let agent = server.agent(503);
    server.metric_becomes("sessions", 1);
    let mut poll = server.client();
    poll.send_get("/agentevent/503", &agent.guid, "");
    server.metric_becomes("polls_parked", 1);
    server.metric_becomes("requests_waiting", 1);
    // Includes the connection that requests the metrics.
    server.metric_becomes("connections", 3);
    let bytes = server.metric("cc_gateway_video_bytes_total");
    assert_eq!(
        agent
            .ask("recordId=Y:/1/0/20201202/503/small.mp4", "")
            .body
            .len(),
        1000
    );
    assert_eq!(
        agent
            .ask(
                "recordId=Y:/1/0/20201202/503/small.mp4",
                "Range: bytes=0-9\r\n"
            )
            .status,
        206
    );
    assert_eq!(server.metric("cc_gateway_video_bytes_total"), bytes + 1010);
    assert_eq!(agent.code("recordId=nonsense"), "104-003");
    let (download, _) = agent.begin(QUERY, "");
    server.metric_becomes("downloads", 1);
    drop(download);
    server.metric_becomes("downloads", 0);
    server.metric_becomes("downloads_cut_total", 1);
    server.metric_becomes(
        "requests_total{interface=\"downloadVideoFileEx\",code=\"0\"}",
        3,
    );
    server.metric_becomes(
        "requests_total{interface=\"downloadVideoFileEx\",code=\"104-003\"}",
        1,
    );
    server.metric_becomes("requests_total{interface=\"login\",code=\"0\"}", 1);
    server.client().send("nonsense\r\n\r\n");
    server.metric_becomes("requests_malformed_total", 1);
    drop(std::net::TcpStream::connect(server.address()).unwrap());
    server.metric_becomes("handshakes_failed_total", 1);
    server
        .client()
        .delete("/onlineagent/503/logout", Some(&agent.guid));
    server.metric_becomes("sessions", 0);
    server.metric_becomes("polls_parked", 0);
    server.metric_becomes(
        &format!(
            "mount_up{{directory=\"{}\"}}",
            server.scratch().path().join("mount").display()
        ),
        1,
    );
    let accepted = "cc_gateway_connections_total";
    assert!(server.metric(accepted) >= before.value(accepted) + 10);
    eventually("a second of uptime", || {
        server.metric("cc_gateway_uptime_seconds") > before.value("cc_gateway_uptime_seconds")
    });
    for name in [
        "connections_refused",
        "accept_errors",
        "thread_errors",
        "worker_panics",
    ] {
        assert_eq!(
            server.metric(&format!("cc_gateway_{name}_total")),
            0,
            "{name}"
        );
    }
}

#[test]
fn a_failed_accept_is_counted_and_passes() {
    let server = Setup::new().expect_log("accept").start();
    let pid = Pid::from_raw(server.pid().try_into().unwrap());
    let mut client = server.client();
    assert_eq!(client.get("/health", None).status, 200);
    let few = Rlimit {
        current: Some(server.next_descriptor() as u64),
        maximum: None,
    };
    let plenty = prlimit(
        pid,
        Resource::Nofile,
        Rlimit {
            maximum: limit(&server),
            ..few
        },
    )
    .unwrap();
    let waiting = std::net::TcpStream::connect(server.address()).unwrap();
    let errors = || {
        Metrics::parse(client.get("/metrics", None).text()).value("cc_gateway_accept_errors_total")
    };
    eventually("a failed accept", {
        let mut errors = errors;
        move || errors() > 0
    });
    prlimit(pid, Resource::Nofile, plenty).unwrap();
    let mut late = Client::over(waiting, &server.scratch().path().join("certificate.pem"));
    assert_eq!(
        late.get("/health", None).status,
        200,
        "the client that waited must be served"
    );
}

/// The hard limit of the server's descriptors.
fn limit(server: &Server) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    line.split_whitespace().nth(4).unwrap().parse().ok()
}

#[test]
fn a_connection_over_the_limit_is_counted() {
    let server = Setup::new()
        .set("MAX_CONNECTIONS", "2")
        .expect_log("refusing clients")
        .start();
    let (mut first, mut second) = (server.client(), server.client());
    let guid = first
        .put("/onlineagent/503", None, r#"{"password":"secret"}"#)
        .guid()
        .unwrap();
    // An agent's connection is not closed to make room for another.
    for client in [&mut first, &mut second] {
        assert_eq!(client.get("/agentevent/503", Some(&guid)).code(), "0");
    }
    let mut seen = || {
        Metrics::parse(first.get("/metrics", None).text())
            .value("cc_gateway_connections_refused_total")
    };
    assert_eq!(seen(), 0);
    let _third = std::net::TcpStream::connect(server.address()).unwrap();
    eventually("a refused connection", || seen() > 0);
}

#[test]
fn the_metrics_are_for_clients_on_this_machine_only() {
    let server = Setup::new().set("LISTEN", "0.0.0.0:0").start();
    // Connecting a UDP socket sends no packet; it only selects the local address for other hosts.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket
        .connect("198.51.100.1:9")
        .and_then(|()| socket.local_addr())
        .map(|address| address.ip());
    let Some(own) = own
        .ok()
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    else {
        eprintln!("skipped: this machine has only loopback addresses");
        return;
    };
    let certificate = server.scratch().path().join("certificate.pem");
    let port = server.address().port();
    let mut stranger = Client::connect((own, port).into(), &certificate);
    assert_eq!(
        stranger.get("/metrics", None).outcome(),
        (404, "000-002".into())
    );
    assert_eq!(stranger.get("/health", None).outcome(), (200, "0".into()));
    let mut local = Client::connect(([127, 0, 0, 1], port).into(), &certificate);
    assert_eq!(local.get("/metrics", None).status, 200);
}

#[test]
fn health_is_a_small_constant_that_needs_no_guid() {
    let server = Server::start();
    let mut client = server.client();
    let first = client.get("/health", None);
    assert_eq!(first.body, br#"{"message":"success","retcode":"0"}"#);
    assert_eq!(client.get("/health", Some("wrong")).body, first.body);
    let head = client.request("HEAD", "/health", None, "");
    assert_eq!(
        (head.status, head.length(), head.body.len()),
        (200, first.body.len(), 0)
    );
    assert_eq!(
        client.get("/health", None).status,
        200,
        "no body follows the head"
    );
}
