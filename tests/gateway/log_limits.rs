//! Limits on the log lines that a client without a Guid can cause.

use std::io::Write as _;
use std::net::Shutdown;
use std::path::Path;

use crate::support::{BASE, Client, SIGN_IN, Server, Setup, connect_from, drain, eventually};

/// How often each input is sent: enough to reach the limit.
const TIMES: usize = 60;
/// Log lines per client in ten seconds.
const LINES_MAX: usize = 50;
const LEFT_OUT: &str =
    "(further requests of this client without a session are not logged for up to 10 s)";

/// Bytes that are not TLS, or a handshake that does not complete.
fn openings() -> Vec<(&'static str, Vec<u8>)> {
    let hello = |name: &str| {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/client_hello");
        std::fs::read(corpus.join(name)).unwrap()
    };
    vec![
        ("nothing", Vec::new()),
        ("garbage", b"garbage\r\n\r\n".to_vec()),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("zeros", vec![0; 1000]),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec()),
        ("an endless record", b"\x16\x03\x01\xff\xff".repeat(100)),
        (
            "a PROXY header of an untrusted peer",
            b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\n".to_vec(),
        ),
        ("a server name with a port", hello("port")),
        ("a truncated ClientHello", hello("port")[..40].to_vec()),
    ]
}

/// Requests without a valid Guid, over TLS.
fn requests() -> Vec<(&'static str, String)> {
    let request = |line: &str, more: &str| {
        format!(
            "{} HTTP/1.1\r\nHost: x\r\n{more}\r\n",
            line.replacen('~', BASE, 1)
        )
    };
    let preflight = "Origin: https://crm.example\r\nAccess-Control-Request-Method: PUT\r\n";
    vec![
        ("garbage", "garbage\r\n\r\n".to_owned()),
        (
            "another protocol",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ),
        ("a bare line end", "GET / HTTP/1.1\nHost: x\n\n".to_owned()),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (
            "a large head",
            request("GET ~/health", &format!("A: {}\r\n", "x".repeat(20_000))),
        ),
        (
            "a large body",
            request("PUT ~/onlineagent/101", "Content-Length: 70000\r\n"),
        ),
        (
            "an unknown transfer coding",
            request("PUT ~/onlineagent/101", "Transfer-Encoding: cow\r\n"),
        ),
        ("health", request("GET ~/health", "")),
        ("health of a balancer", request("OPTIONS *", "")),
        ("metrics", request("GET ~/metrics", "")),
        ("nowhere", request("GET /nowhere", "")),
        ("no interface", request("GET ~/nothing/101", "")),
        ("another method", request("GET ~/onlineagent/101", "")),
        ("no agent", request("PUT ~/onlineagent/1", "")),
        (
            "no sign-in",
            request("PUT ~/onlineagent/101", "Content-Length: 2\r\n") + "[]",
        ),
        ("no Guid", request("GET ~/agentevent/101", "")),
        (
            "a wrong Guid",
            request("GET ~/agentevent/101", "Guid: 0.AgentGateway0\r\n"),
        ),
        (
            "a download",
            request(
                "GET ~/recordfile/101/videofiledownloadEx?recordId=Y:/1/0/20201202/101/1.mp4",
                "",
            ),
        ),
        (
            "a path out of the mount",
            request(
                "GET ~/recordfile/101/videofiledownloadEx?recordId=Y:/../../etc/passwd",
                "",
            ),
        ),
        (
            "a preflight",
            request("OPTIONS ~/onlineagent/101", preflight),
        ),
        (
            "line ends in the path",
            request(
                "GET ~/recordfile/101/videofiledownloadEx?recordId=%0d%0aWARN",
                "",
            ),
        ),
    ]
}

fn assert_few(server: &Server, source: &str, what: &str) {
    // The log is in order, so the lines before the one of this request are complete.
    let seen = || server.told("health agent=- peer=127.0.0.1:");
    let before = seen();
    server.serves();
    eventually("the log line of that request", || seen() > before);
    let lines: Vec<_> = server
        .log()
        .into_iter()
        .filter(|line| line.contains(&format!("{source}:")))
        .collect();
    assert!(lines.len() <= LINES_MAX, "{} lines of {what}", lines.len());
    assert!(
        lines.len() < LINES_MAX || lines.iter().any(|line| line.contains(LEFT_OUT)),
        "{what}: {lines:#?}"
    );
}

#[test]
fn whatever_somebody_without_a_guid_sends_makes_few_log_lines() {
    let server = Setup::new()
        .set("LOG_LEVEL", "trace")
        .set("CORS_ALLOW_ORIGIN", "https://crm.example")
        .start();
    let certificate = server.scratch().path().join("certificate.pem");
    // Each input has its own source address, so that the limit of one does not hide the lines of
    // another.
    for (nth, (what, bytes)) in openings().into_iter().enumerate() {
        let source = format!("127.0.4.{}", 1 + nth);
        for _ in 0..TIMES {
            let mut socket = connect_from(&source, server.address(), None);
            // The server may close the connection before everything is sent.
            let _ = socket.write_all(&bytes);
            let _ = socket.shutdown(Shutdown::Write);
            drain(&socket);
        }
        assert_few(&server, &source, what);
    }
    for (nth, (what, request)) in requests().into_iter().enumerate() {
        let source = format!("127.0.5.{}", 1 + nth);
        let connect = || Client::over(connect_from(&source, server.address(), None), &certificate);
        // All at once, since some refusals are delayed.
        let mut clients: Vec<_> = (0..TIMES).map(|_| connect()).collect();
        for client in &mut clients {
            let _ = client.try_send(&request);
        }
        for client in &mut clients {
            let _ = client.try_head();
        }
        assert_few(&server, &source, what);
    }
    let rest: Vec<_> = server
        .log()
        .into_iter()
        .filter(|line| !line.contains("127.0."))
        .collect();
    assert!(rest.len() < 10, "{rest:#?}");
}

#[test]
fn one_client_has_one_limit_for_all_it_sends() {
    let server = Setup::new().set("LOG_LEVEL", "debug").start();
    let requests = requests()
        .into_iter()
        .filter(|(what, _)| ["health", "nowhere", "no agent", "no sign-in"].contains(what));
    let requests: String = requests
        .map(|(_, request)| request)
        .collect::<String>()
        .repeat(100);
    for _ in 0..10 {
        let mut client = server.client_from("127.0.0.2");
        client.send(&requests);
        (0..400).for_each(|_| drop(client.reply()));
    }
    assert_few(&server, "127.0.0.2", "all together");
    assert_eq!(server.told(LEFT_OUT), 1);
    // The lines that fail2ban reads are never left out.
    let mut clients: Vec<_> = (2000..2055)
        .map(|agent| (agent, server.client_from("127.0.0.2")))
        .collect();
    for (agent, client) in &mut clients {
        client.send_request("PUT", &format!("/onlineagent/{agent}"), "", SIGN_IN);
    }
    clients
        .iter_mut()
        .for_each(|(_, client)| client.reply().assert_failure("100-004"));
    eventually("each refused sign-in", || server.told("code=100-004") == 55);
}

#[test]
fn what_the_level_leaves_out_does_not_use_up_the_limit() {
    let server = Setup::new().start();
    let mut client = server.client();
    client.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100));
    (0..100).for_each(|_| drop(client.reply()));
    client
        .put("/onlineagent/101", None, "[]")
        .assert_failure("100-001");
    server.log_line("] login agent=101 ");
    assert_eq!(server.told("[request]"), 1);
}
