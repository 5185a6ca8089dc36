//! Bytes on the TLS port that are not a valid handshake, or that begin as one.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The first flight of a client.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap())
            .unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// What to send to the port, by name; the client then shuts down its sending side.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let hello = hello();
    let record = |kind: u8, version: [u8; 2], content: &[u8]| {
        [
            &[kind, version[0], version[1]],
            &u16::try_from(content.len()).unwrap().to_be_bytes()[..],
            content,
        ]
        .concat()
    };
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| cases.push((name.to_owned(), bytes));
    add("nothing", Vec::new());
    for length in [
        1,
        3,
        4,
        5,
        6,
        9,
        10,
        43,
        100,
        hello.len() / 2,
        hello.len() - 1,
    ] {
        add(
            &format!("{length} bytes of a handshake"),
            hello[..length].to_vec(),
        );
    }
    // Type, version and length of the record; type, length and version of the message; length of
    // the session id.
    for (at, value) in [
        (0, 0),
        (0, 24),
        (0, 255),
        (1, 2),
        (3, 255),
        (4, 0),
        (5, 2),
        (5, 0),
        (6, 255),
        (8, 0),
        (9, 2),
        (43, 255),
    ] {
        let mut bent = hello.clone();
        bent[at] = value;
        add(&format!("byte {at} of a handshake is {value}"), bent);
    }
    add("a handshake twice", [&hello[..], &hello].concat());
    add(
        "a handshake, then plain HTTP",
        [&hello[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"].concat(),
    );
    add(
        "a handshake in one-byte records",
        hello[5..]
            .iter()
            .flat_map(|&byte| record(22, [3, 1], &[byte]))
            .collect(),
    );
    add("plain HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
    add("plain HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n".to_vec());
    add(
        "plain HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
    );
    add(
        "a PROXY header",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
    );
    add("SSH", b"SSH-2.0-x\r\n".to_vec());
    add("line ends", b"\r\n\r\n\r\n\r\n".to_vec());
    add("zeros", vec![0; 100_000]);
    add("ones", vec![255; 100_000]);
    add(
        "SSL 2",
        [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat(),
    );
    add(
        "SSL 3",
        record(
            22,
            [3, 0],
            &[
                &[1, 0, 0, 0x29, 3, 0][..],
                &[9; 32],
                &[0, 0, 2, 0, 0x2f, 1, 0],
            ]
            .concat(),
        ),
    );
    add(
        "TLS 1.0 alone",
        record(
            22,
            [3, 1],
            &[
                &[1, 0, 0, 0x29, 3, 1][..],
                &[9; 32],
                &[0, 0, 2, 0, 0x2f, 1, 0],
            ]
            .concat(),
        ),
    );
    add(
        "TLS 1.1 alone",
        record(
            22,
            [3, 2],
            &[
                &[1, 0, 0, 0x29, 3, 2][..],
                &[9; 32],
                &[0, 0, 2, 0, 0x2f, 1, 0],
            ]
            .concat(),
        ),
    );
    add(
        "application data first",
        record(23, [3, 3], b"GET / HTTP/1.1\r\n\r\n"),
    );
    add("an alert first", record(21, [3, 3], &[2, 40]));
    add("close_notify first", record(21, [3, 3], &[1, 0]));
    add(
        "a thousand warnings",
        record(21, [3, 3], &[1, 90]).repeat(1000),
    );
    add("a change of cipher first", record(20, [3, 3], &[1]));
    add(
        "a thousand changes of cipher",
        [&hello[..], &record(20, [3, 3], &[1]).repeat(1000)].concat(),
    );
    add("a heartbeat", record(24, [3, 3], &[1, 0xff, 0xff]));
    add(
        "a thousand empty records",
        record(22, [3, 1], &[]).repeat(1000),
    );
    add(
        "a record above the maximum length",
        [&[22, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat(),
    );
    add(
        "a message above the maximum length",
        record(
            22,
            [3, 1],
            &[&[1, 0xff, 0xff, 0xff][..], &[3; 16_000]].concat(),
        )
        .repeat(20),
    );
    add(
        "a ServerHello",
        record(22, [3, 3], &[2, 0, 0, 4, 3, 3, 0, 0]),
    );
    add(
        "finished first",
        record(
            22,
            [3, 3],
            &[20, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    );
    cases
}
