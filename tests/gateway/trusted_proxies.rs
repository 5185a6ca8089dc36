//! The client's address behind proxies: PROXY headers and X-Forwarded-For count only from trusted
//! proxies.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::{Client, SIGN_IN, Server, Setup, connect_from, drain};

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 49152 8043\r\n";
/// The same in version 2, with a TLV (PP2_TYPE_NOOP).
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xcb\0\x71\x09\xc6\x33\x64\x01\xc0\0\x1f\x6b\x04\0\0";
const V2_V6: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xc0\0\x1f\x6b";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// 127.0.0.2 and 127.0.0.3 are proxies.
fn server() -> Server {
    setup().start()
}

fn setup() -> Setup {
    Setup::new().set("TRUSTED_PROXIES", "127.0.0.2/31")
}

/// A connection from `source` that begins with `bytes`.
fn socket(server: &Server, source: &str, bytes: &[u8]) -> TcpStream {
    let mut socket = connect_from(source, server.address(), None);
    socket.write_all(bytes).unwrap();
    socket
}

fn client(server: &Server, source: &str, bytes: &[u8]) -> Client {
    Client::over(
        socket(server, source, bytes),
        &server.scratch().path().join("certificate.pem"),
    )
}

/// Signs an agent in with header lines `fields` and returns the log line of that request.
fn line(server: &Server, agent: u32, client: &mut Client, fields: &str) -> String {
    client.send_request("PUT", &format!("/onlineagent/{agent}"), fields, SIGN_IN);
    assert_eq!(client.reply().outcome(), (200, "0".into()));
    server.log_line(&format!("login agent={agent} "))
}

#[test]
fn a_proxy_header_names_the_client() {
    for (header, named) in [
        (V1, "peer=203.0.113.9:49152 via=127.0.0.2 "),
        (V2, "peer=203.0.113.9:49152 via=127.0.0.2 "),
        (V2_V6, "peer=[2001:db8::9]:49152 via=127.0.0.2 "),
        (LOCAL, "peer=127.0.0.2:"),
        (UNKNOWN, "peer=127.0.0.2:"),
        (b"", "peer=127.0.0.2:"),
    ] {
        let server = server();
        let line = line(&server, 101, &mut client(&server, "127.0.0.2", header), "");
        assert!(line.contains(named), "{named}: {line}");
    }
}

#[test]
fn a_header_in_pieces_is_the_same() {
    let server = server();
    let mut socket = connect_from("127.0.0.2", server.address(), None);
    socket.set_nodelay(true).unwrap();
    for byte in V2 {
        socket.write_all(&[*byte]).unwrap();
    }
    let mut client = Client::over(socket, &server.scratch().path().join("certificate.pem"));
    assert!(line(&server, 101, &mut client, "").contains("peer=203.0.113.9:49152 via=127.0.0.2 "));
}

#[test]
fn a_header_that_is_malformed_or_of_a_stranger_closes_the_connection() {
    // A malformed header from a trusted proxy is logged, as that proxy is misconfigured.
    let server = setup().expect_log("PROXY protocol header").start();
    for (source, header) in [
        ("127.0.0.4", V1),
        ("127.0.0.4", V2),
        ("127.0.0.4", LOCAL),
        ("127.0.0.2", b"PROXY TCP4 203.0.113.09 198.51.100.1 1 2\r\n"),
        ("127.0.0.2", b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2\n"),
        ("127.0.0.2", b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0"),
    ] {
        let answer = drain(&socket(&server, source, header));
        // At most a TLS alert.
        assert!(
            answer.is_empty() || answer[0] == 21,
            "{source} {header:x?}: {answer:x?}"
        );
    }
    server.serves();
}

#[test]
fn a_forwarded_chain_is_believed_as_far_as_proxies_wrote_it() {
    for (header, fields, named) in [
        (
            &b""[..],
            "X-Forwarded-For: 203.0.113.9\r\n",
            "peer=203.0.113.9 via=127.0.0.2 ",
        ),
        (
            b"",
            "X-Forwarded-For: 127.0.0.1, 203.0.113.9, 127.0.0.3\r\n",
            "peer=203.0.113.9 via=127.0.0.2 ",
        ),
        (
            b"",
            "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.9\r\n",
            "peer=203.0.113.9 via=127.0.0.2 ",
        ),
        (
            b"",
            "X-Forwarded-For: 127.0.0.1, unknown, 127.0.0.3\r\n",
            "peer=127.0.0.3 via=127.0.0.2 ",
        ),
        (
            b"",
            "X-Forwarded-For: [2001:db8::9]:4711\r\n",
            "peer=2001:db8::9 via=127.0.0.2 ",
        ),
        // With TLS passed through, X-Forwarded-For comes from the client itself.
        (
            V1,
            "X-Forwarded-For: 127.0.0.1\r\n",
            "peer=203.0.113.9:49152 via=127.0.0.2 ",
        ),
    ] {
        let server = server();
        let line = line(
            &server,
            101,
            &mut client(&server, "127.0.0.2", header),
            fields,
        );
        assert!(line.contains(named), "{named}: {line}");
    }
}

#[test]
fn a_stranger_is_who_it_is() {
    let server = server();
    let fields = "X-Forwarded-For: 203.0.113.9\r\n";
    let line = line(&server, 101, &mut client(&server, "127.0.0.4", b""), fields);
    assert!(
        line.contains(" peer=127.0.0.4:") && !line.contains("via="),
        "{line}"
    );
}

#[test]
fn metrics_are_not_for_those_a_local_proxy_serves() {
    let server = server();
    for (source, header, fields, status) in [
        ("127.0.0.1", &b""[..], "", 200),
        ("127.0.0.1", b"", "X-Forwarded-For: 203.0.113.9\r\n", 200),
        ("127.0.0.2", b"", "", 404),
        ("127.0.0.2", b"", "X-Forwarded-For: 203.0.113.9\r\n", 404),
        ("127.0.0.2", b"", "X-Forwarded-For: 127.0.0.1\r\n", 404),
        ("127.0.0.2", V1, "", 404),
        (
            "127.0.0.2",
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
            "",
            404,
        ),
    ] {
        let mut client = client(&server, source, header);
        client.send_request("GET", "/metrics", fields, "");
        assert_eq!(client.reply().status, status, "{source} {fields}");
    }
}

#[test]
fn the_limit_of_an_address_holds_for_clients_and_not_for_their_proxy() {
    let server = Setup::new()
        .set("TRUSTED_PROXIES", "127.0.0.2")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "3")
        .expect_log("MAX_CONNECTIONS_PER_ADDRESS")
        .start();
    let proxies: Vec<_> = (0..10)
        .map(|_| client(&server, "127.0.0.2", LOCAL))
        .collect();
    let mut clients: Vec<_> = (0..3).map(|_| client(&server, "127.0.0.2", V1)).collect();
    assert!(drain(&socket(&server, "127.0.0.2", V2)).is_empty());
    let another = b"PROXY TCP4 203.0.113.10 198.51.100.1 49152 8043\r\n";
    for client in clients
        .iter_mut()
        .chain([&mut client(&server, "127.0.0.2", another)])
    {
        assert_eq!(client.get("/health", None).status, 200);
    }
    drop(proxies);
}
