//! Server names that are not DNS names: clients that send one are served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::{BASE, Server};

/// The reply that `openssl s_client` gets with this server name; `None` if openssl is not
/// installed.
fn ask(server: &Server, version: &str, name: &[u8]) -> Option<String> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            version,
            "-connect",
            &server.address().to_string(),
        ])
        .arg("-CAfile")
        .arg(server.scratch().path().join("certificate.pem"))
        .arg("-servername")
        .arg(std::ffi::OsStr::from_bytes(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let request =
        format!("GET {BASE}/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    // openssl may have ended before the request if the server refused the name.
    let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
    Some(String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned())
}

#[test]
fn every_server_name_is_served() {
    let server = Server::start();
    let long = "a".repeat(64);
    for name in [
        "localhost",
        "127.0.0.1",
        "gw.local:8043",
        "[gw.local]",
        "[::1]",
        "*.gw.local",
        "-gw",
        "gw-",
        "gw-.local",
        "gw..local",
        "10",
        "gw.1",
        "b\u{fc}ro.local",
        &long,
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let Some(answer) = ask(&server, version, name.as_bytes()) else {
                return eprintln!("skipped: no openssl on this machine");
            };
            assert!(
                answer.starts_with("HTTP/1.1 200 "),
                "{version} {name}: {answer}"
            );
        }
    }
}

/// Sends a recorded ClientHello, since openssl omits an empty name.
#[test]
fn an_empty_server_name_is_served() {
    const HANDSHAKE: u8 = 22;
    let server = Server::start();
    let hello = include_bytes!("../../fuzz/corpus/client_hello/empty_name");
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.write_all(hello).unwrap();
    let mut kind = [0];
    socket.read_exact(&mut kind).unwrap();
    assert_eq!(kind, [HANDSHAKE], "not a ServerHello");
}
