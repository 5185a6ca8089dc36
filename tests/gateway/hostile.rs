//! Malformed, oversized, slow and contradictory messages over real TLS: each gets its specified
//! reply, other clients are served meanwhile, and no thread, descriptor or memory is leaked.

mod framing;
mod handshakes;
mod requests;

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use crate::support::{Client, Footprint, Reply, Server, Setup, drain};

/// Asserts the headers and the result code that every refusal has.
fn assert_refusal(reply: &Reply) {
    assert_eq!(
        reply.field("Content-Type"),
        Some("application/json;charset=UTF-8")
    );
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    assert_eq!(reply.code(), "000-002");
}

#[test]
fn every_hostile_request_gets_its_answer_and_no_other() {
    let server = Server::start();
    let before = Footprint::at_rest(&server);
    let cases = requests::all();
    let distinct: HashSet<_> = cases.iter().map(|case| &case.bytes).collect();
    assert!(
        distinct.len() >= 300 && distinct.len() == cases.len(),
        "{} of {}",
        distinct.len(),
        cases.len()
    );
    let mut categories: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        let start = String::from_utf8_lossy(&case.bytes[..case.bytes.len().min(200)]).into_owned();
        let what = format!("{}: {start:?}", case.category);
        let mut client = server.client();
        // The server may close the connection before everything is sent.
        let _ = client.try_send(&case.bytes);
        let (bytes, in_order) = client.rest();
        let replies = Reply::all(&bytes);
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, case.answers, "{what}");
        assert!(in_order, "ended without close_notify: {what}");
        let (last, others) = replies.split_last().unwrap();
        assert_eq!(last.field("Connection"), Some("close"), "{what}");
        assert!(
            others
                .iter()
                .all(|reply| reply.field("Connection") == Some("keep-alive")),
            "{what}"
        );
        replies
            .iter()
            .filter(|reply| reply.status >= 400)
            .for_each(assert_refusal);
        server.serves();
        *categories.entry(case.category).or_default() += 1;
    }
    assert!(categories.len() >= 30, "{categories:?}");
    before.await_again(&server);
    let malformed = cases
        .iter()
        .flat_map(|case| &case.answers)
        .filter(|status| ![200, 404, 405].contains(status));
    let metrics = server.client().get("/metrics", None);
    let counted = format!(
        "cc_gateway_requests_malformed_total {}\n",
        malformed.count()
    );
    assert!(metrics.text().contains(&counted), "not counted: {counted}");
}

#[test]
fn messages_that_stop_half_way_are_forgotten_with_their_client() {
    let server = Server::start();
    let before = Footprint::at_rest(&server);
    let whole = "PUT /agentgateway/resource/onlineagent/101 HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"password\":\"\"}";
    let chunked = "PUT /agentgateway/resource/onlineagent/101 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         f;a=b\r\n{\"password\":\"\"}\r\n0\r\nTrailer: x\r\n\r\n";
    for text in [whole, chunked] {
        // With close_notify, and with only a FIN.
        for (end, polite) in (0..text.len())
            .step_by(3)
            .flat_map(|end| [(end, true), (end, false)])
        {
            let mut client = server.client();
            client.send(&text[..end]);
            match polite {
                true => client.finish(),
                false => client.socket().shutdown(Shutdown::Write).unwrap(),
            }
            assert_eq!(client.rest().0, b"", "{:?}", &text[..end]);
        }
    }
    server.serves();
    before.await_again(&server);
}

#[test]
fn slow_messages_are_answered_with_408_when_their_time_is_up() {
    let server = Server::start();
    let before = Footprint::at_rest(&server);
    let head = "PUT /agentgateway/resource/onlineagent/101 HTTP/1.1\r\nHost: x\r\n";
    let slow: Vec<(String, &[u16])> = vec![
        ("G".into(), &[408]),
        ("GET / HTTP/1.1".into(), &[408]),
        (head.into(), &[408]),
        (format!("{head}\r"), &[408]),
        (format!("{head}A: {}", "b".repeat(10_000)), &[408]),
        (format!("{head}Content-Length: 15\r\n\r\n"), &[408]),
        (
            format!("{head}Content-Length: 65536\r\n\r\n{}", "x".repeat(65_535)),
            &[408],
        ),
        (
            format!("{head}Content-Length: 15\r\nExpect: 100-continue\r\n\r\n"),
            &[100, 408],
        ),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n"), &[408]),
        (
            format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nabc"),
            &[408],
        ),
        (
            format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"),
            &[408],
        ),
        (
            format!("GET /agentgateway/resource/health HTTP/1.1\r\nHost: x\r\n\r\n{head}"),
            &[200, 408],
        ),
    ];
    thread::scope(|scope| {
        for (text, answers) in &slow {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                client.send(text);
                let (bytes, in_order) = client.rest();
                let replies = Reply::all(&bytes);
                assert_eq!(
                    replies.iter().map(|reply| reply.status).collect::<Vec<_>>(),
                    *answers,
                    "{text:?}"
                );
                assert!(
                    in_order && replies.last().unwrap().field("Connection") == Some("close"),
                    "{text:?}"
                );
                assert_refusal(replies.last().unwrap());
            });
        }
        // Other clients are served all the time.
        (0..20).for_each(|_| server.serves());
    });
    before.await_again(&server);
}

#[test]
fn what_is_no_handshake_is_ended_and_never_answered_in_the_clear() {
    let server = Server::start();
    let before = Footprint::at_rest(&server);
    let cases = handshakes::all();
    assert!(
        cases
            .iter()
            .map(|(_, bytes)| bytes)
            .collect::<HashSet<_>>()
            .len()
            >= 50,
        "{}",
        cases.len()
    );
    for (name, bytes) in &cases {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(Shutdown::Write);
        let answer = drain(&socket);
        assert!(
            !answer.windows(5).any(|window| window == b"HTTP/"),
            "{name}"
        );
        // A TLS record (change_cipher_spec, alert or handshake), or nothing.
        assert!(
            answer.is_empty() || (20..=22).contains(&answer[0]),
            "{name}: {answer:?}"
        );
        server.serves();
    }
    before.await_again(&server);
}

#[test]
fn no_protocol_but_http_1_is_ever_agreed_to() {
    let server = Server::start();
    let certificate = server.scratch().path().join("certificate.pem");
    let offer = |protocols: &[&str]| {
        Client::offering(
            server.address(),
            &certificate,
            rustls::ALL_VERSIONS,
            protocols,
        )
    };
    let mut client = offer(&["h2", "http/1.1"]).unwrap();
    assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(offer(&[]).unwrap().tls().alpn_protocol(), None);
    assert_eq!(
        offer(&["http/1.0"]).unwrap().tls().alpn_protocol(),
        Some(&b"http/1.0"[..])
    );
    assert_eq!(
        offer(&["http/1.0", "http/1.1"])
            .unwrap()
            .tls()
            .alpn_protocol(),
        Some(&b"http/1.1"[..])
    );
    for protocols in [&["h2"][..], &["h3", "spdy/3"], &["HTTP/1.1"]] {
        let Err(error) = offer(protocols) else {
            panic!("{protocols:?} was agreed to")
        };
        assert!(
            error.to_string().contains("NoApplicationProtocol"),
            "{error}"
        );
    }
    server.serves();
}

#[test]
fn a_connection_that_is_damaged_after_its_handshake_is_ended() {
    let server = Server::start();
    let before = Footprint::at_rest(&server);
    for damage in [
        // A record that is not encrypted with the session's keys, plain HTTP, a truncated record, a
        // record of unknown type, a record that is too long, an unencrypted HelloRequest.
        &b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x17\x03\x03\x00\x20aaaa",
        b"\xff\x03\x03\x00\x01a",
        b"\x17\x03\x03\xff\xff",
        b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
    ] {
        let mut client = server.client();
        assert_eq!(client.get("/health", None).status, 200);
        client
            .socket()
            .try_clone()
            .unwrap()
            .write_all(damage)
            .unwrap();
        client.socket().shutdown(Shutdown::Write).unwrap();
        let answer = drain(client.socket());
        assert!(!answer.windows(5).any(|window| window == b"HTTP/"));
        server.serves();
    }
    before.await_again(&server);
}

/// Runs `openssl s_client` with these arguments and this input; `None` if openssl is not installed.
fn s_client(server: &Server, arguments: &[&str], input: &str) -> Option<String> {
    let address = server.address().to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Some(
        [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat(),
    )
}

#[test]
fn a_client_cannot_renegotiate() {
    let server = Server::start();
    // A line of only R asks for a new handshake.
    let Some(said) = s_client(&server, &["-tls1_2", "-legacy_renegotiation"], "R\n") else {
        return eprintln!("skipped: no openssl on this machine");
    };
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(
        said.contains("no renegotiation") || said.contains("unexpected message"),
        "{said}"
    );
    for version in ["-tls1", "-tls1_1"] {
        let said = s_client(&server, &[version, "-cipher", "DEFAULT@SECLEVEL=0"], "").unwrap();
        assert!(said.contains("Cipher is (NONE)"), "{said}");
    }
    let said = s_client(&server, &["-tls1_3"], "").unwrap();
    assert!(said.contains("TLS_AES_256_GCM_SHA384"), "{said}");
    server.serves();
}

#[test]
fn what_stops_plain_tiny_http_does_not_even_slow_the_gateway() {
    // What stops tiny_http when it is exposed to clients: a length that aborts the process; a
    // failed accept (see exhaustion.rs); HTTP/2.0, which deadlocks a thread and leaks its
    // descriptors; heads and threads without limit; ambiguous framing.
    let server = Setup::new()
        .set("MAX_CONNECTIONS_PER_ADDRESS", "600")
        .start();
    let crowd = || {
        let idle: Vec<Client> = (0..500).map(|_| server.client()).collect();
        server.metric_becomes("connections", idle.len() as u64 + 1);
        server.serves();
        drop(idle);
        server.metric_becomes("connections", 1);
    };
    // Before the measurement, because the allocator keeps some of the memory that this takes.
    crowd();
    let before = Footprint::measure(&server);
    let health = "/agentgateway/resource/health";
    for _ in 0..60 {
        for (text, status) in [
            (
                format!(
                    "POST {health} HTTP/1.1\r\nHost: x\r\nContent-Length: 4611686018427387904\r\n\r\nabc"
                ),
                413,
            ),
            (format!("GET {health} HTTP/2.0\r\nHost: x\r\n\r\n"), 505),
            (
                format!(
                    "POST {health} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: xchunked\r\n\r\n"
                ),
                400,
            ),
        ] {
            let mut client = server.client();
            client.send(text);
            assert_eq!(client.reply().status, status);
        }
    }
    // A folded line (obs-fold, RFC 9112 5.2) must not become a header of the reply.
    let mut client = server.client();
    client.send(format!(
        "GET {health} HTTP/1.1\r\nHost: x\r\nOrigin: https://a\r\n X-Injected: y\r\n\r\n"
    ));
    assert!(!String::from_utf8_lossy(&client.rest().0).contains("X-Injected"));
    // A header without end must not be stored.
    let mut client = server.client();
    let _ = client.try_send(format!("GET {health} HTTP/1.1\r\nHost: x\r\nA: "));
    while client.try_send(vec![b'b'; 1 << 20]).is_ok() {}
    assert!(server.memory_kib() <= before.memory_kib + 6 * 1024);
    drop(client);
    crowd();
    before.await_again(&server);
}
