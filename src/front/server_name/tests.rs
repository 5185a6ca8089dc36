//! Handshakes with server names that rustls refuses, in both versions of TLS.

use std::fs;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuiteCommon, ClientConfig, ClientConnection, Error, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, SupportedCipherSuite, SupportedProtocolVersion,
    Tls12CipherSuite, Tls13CipherSuite,
};

use super::hello::{CLIENT_HELLO, MESSAGE_FIXED, SERVER_NAME, extensions, first_extension};
use super::transcript::hidden_type;
use super::*;

/// The content of a server name extension with one host name.
fn one_name(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap();
    [
        &(length + 3).to_be_bytes()[..],
        &[0],
        &length.to_be_bytes(),
        name,
    ]
    .concat()
}

/// The ClientHello with the content of its server name extension replaced. Its end may be missing,
/// as when PSK binders are computed.
fn renamed(message: &[u8], content: &[u8]) -> Vec<u8> {
    let start = first_extension(message).unwrap();
    let name = extensions(message)
        .find(|extension| extension.kind == SERVER_NAME)
        .unwrap();
    let (head, tail) = message.split_at(name.offset + 4);
    let added = content.len().wrapping_sub(name.content.len());
    let mut bytes = [head, content, &tail[name.content.len()..]].concat();
    let length = message_length(message).unwrap().wrapping_add(added) - MESSAGE_FIXED;
    bytes[1..4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    let of_extensions = u16::from_be_bytes([message[start - 2], message[start - 1]]);
    let of_extensions = usize::from(of_extensions).wrapping_add(added);
    bytes[start - 2..start].copy_from_slice(&u16::try_from(of_extensions).unwrap().to_be_bytes());
    bytes[name.offset + 2..name.offset + 4]
        .copy_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
    bytes
}

/// A hash for the client's transcript, over the name that is sent instead of the client's own.
struct Renaming(&'static dyn Hash, &'static [u8]);

struct RenamingContext(Box<dyn Context>, &'static [u8]);

impl Hash for Renaming {
    fn start(&self) -> Box<dyn Context> {
        Box::new(RenamingContext(self.0.start(), self.1))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }
}

impl Context for RenamingContext {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(RenamingContext(self.0.fork(), self.1))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        // After a HelloRetryRequest rustls hashes several messages at once.
        let mut rest = data;
        while let Some(length) = message_length(rest) {
            let (message, others) = rest.split_at(length.min(rest.len()));
            match message.first() {
                Some(&CLIENT_HELLO) => self.0.update(&renamed(message, self.1)),
                _ => self.0.update(message),
            }
            rest = others;
        }
        self.0.update(rest);
    }
}

/// A certificate with a strict and a tolerant server configuration, as the gateway has them.
struct Servers {
    strict: Arc<ServerConfig>,
    tolerant: Arc<ServerConfig>,
    roots: RootCertStore,
}

impl Servers {
    fn new() -> Servers {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let ticketer = aws_lc_rs::Ticketer::new().unwrap();
        let server = |provider: CryptoProvider| {
            let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(&[&TLS13, &TLS12])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key.clone_key().into())
                .unwrap();
            config.ticketer = Arc::clone(&ticketer);
            Arc::new(config)
        };
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        Servers {
            strict: server(aws_lc_rs::default_provider()),
            tolerant: server(tolerant_provider(aws_lc_rs::default_provider())),
            roots,
        }
    }

    /// A client that puts `content` into its server name extension.
    fn client(
        &self,
        content: &[u8],
        version: &'static SupportedProtocolVersion,
        retries: bool,
    ) -> Arc<ClientConfig> {
        let content: &'static [u8] = Vec::leak(content.to_vec());
        let mut provider = aws_lc_rs::default_provider();
        let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
            suite: common.suite,
            hash_provider: Box::leak(Box::new(Renaming(common.hash_provider, content))),
            confidentiality_limit: common.confidentiality_limit,
        };
        for suite in &mut provider.cipher_suites {
            *suite = match suite {
                SupportedCipherSuite::Tls13(suite) => {
                    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                        common: common(&suite.common),
                        hkdf_provider: suite.hkdf_provider,
                        aead_alg: suite.aead_alg,
                        quic: suite.quic,
                    })))
                }
                SupportedCipherSuite::Tls12(suite) => {
                    SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                        common: common(&suite.common),
                        prf_provider: suite.prf_provider,
                        kx: suite.kx,
                        sign: suite.sign,
                        aead_alg: suite.aead_alg,
                    })))
                }
            };
        }
        if retries {
            // The client sends a key share of a group that the server does not support.
            provider.kx_groups = vec![kx_group::MLKEM768, kx_group::X25519];
        }
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// A client's records as they are sent: the name in its ClientHello is replaced, the rest is
/// unchanged.
fn on_the_wire(records: &[u8], content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(RECORD_FIXED);
        let (body, tail) = tail.split_at(usize::from(u16::from_be_bytes([head[3], head[4]])));
        let is_hello = head[0] == HANDSHAKE
            && body.first() == Some(&CLIENT_HELLO)
            && message_length(body) == Some(body.len());
        let body = if is_hello {
            renamed(body, content)
        } else {
            body.to_vec()
        };
        wire.extend_from_slice(&head[..3]);
        wire.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        wire.extend_from_slice(&body);
        rest = tail;
    }
    wire
}

/// Feeds bytes to one side.
fn feed(
    mut bytes: &[u8],
    mut read: impl FnMut(&mut &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    while !bytes.is_empty() {
        read(&mut bytes)?;
    }
    Ok(())
}

/// What the server does with a ClientHello.
#[derive(Clone, Copy, PartialEq)]
enum Treatment {
    /// As the gateway does.
    Tolerant,
    /// As rustls alone does.
    Untouched,
    /// Hides a bad name without correcting the transcript.
    FilterAlone,
}

/// Performs a handshake. Returns the bad name that the server has hidden, if any, and the kind of
/// the handshake.
fn shake_hands(
    servers: &Servers,
    client: &Arc<ClientConfig>,
    content: &[u8],
    treatment: Treatment,
) -> Result<(Option<String>, HandshakeKind), Error> {
    let mut client = ClientConnection::new(
        Arc::clone(client),
        ServerName::try_from("localhost").unwrap(),
    )
    .unwrap();
    let mut server: Option<ServerConnection> = None;
    let mut inbound: Vec<u8> = Vec::new();
    let mut bad_name = None;
    for _ in 0..10 {
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).unwrap();
        }
        inbound.extend_from_slice(&on_the_wire(&records, content));
        let expects_hello = match &server {
            None => true,
            Some(server) => {
                server.is_handshaking()
                    && server.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
            }
        };
        if expects_hello && !inbound.is_empty() {
            let examined = if treatment == Treatment::Untouched {
                Examined::Unchanged
            } else {
                examine(&inbound)
            };
            let is_bad = matches!(examined, Examined::BadName(_));
            if let Examined::BadName(bad) = examined {
                bad.hide(&mut inbound);
                bad_name = Some(bad.name);
            }
            let tolerant = is_bad && treatment == Treatment::Tolerant;
            let config = if tolerant {
                &servers.tolerant
            } else {
                &servers.strict
            };
            server.get_or_insert_with(|| ServerConnection::new(Arc::clone(config)).unwrap());
        }
        let server = server.as_mut().unwrap();
        feed(&std::mem::take(&mut inbound), |bytes| {
            server.read_tls(bytes).unwrap();
            server.process_new_packets().map(|_| ())
        })?;
        let mut records = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut records).unwrap();
        }
        feed(&records, |bytes| {
            client.read_tls(bytes).unwrap();
            client.process_new_packets().map(|_| ())
        })?;
        if !client.is_handshaking() && !server.is_handshaking() && !client.wants_write() {
            assert_eq!(
                server.server_name().is_some(),
                bad_name.is_none() && is_dns_name(content)
            );
            return Ok((bad_name, server.handshake_kind().unwrap()));
        }
    }
    panic!("the handshake did not end");
}

fn is_dns_name(content: &[u8]) -> bool {
    matches!(
        content.get(5..).map(ServerName::try_from),
        Some(Ok(ServerName::DnsName(_)))
    )
}

/// The names of `shared/cases/sni.txt` and names at the limits of length, each with whether rustls
/// accepts it.
fn names() -> Vec<(Vec<u8>, bool)> {
    let label = |letters: usize| "a".repeat(letters).into_bytes();
    let mut names = vec![(label(63), true), (label(64), false)];
    let dots = |count: usize| [b"a.".repeat(count), b"aa".to_vec()].concat();
    names.extend([(dots(125), true), (dots(126), false)]);
    for (name, is_taken) in [
        (&b"localhost"[..], true),
        (b"127.0.0.1", true),
        (b"::1", true),
        (b"gw.local", true),
        (b"gw_1.local", true),
        (b"gw.local.", true),
        (b"gw.local:8043", false),
        (b"[gw.local]", false),
        (b"[::1]", false),
        (b"*.gw.local", false),
        (b"-gw", false),
        (b"gw-", false),
        (b"gw-.local", false),
        (b"gw..local", false),
        (b"10", false),
        (b"gw.1", false),
        ("b\u{fc}ro.local".as_bytes(), false),
        (b"gw\xff\xfe", false),
        (b"gw local", false),
        (b"gw\r\nlocal", false),
        (b".", false),
        (b"", false),
    ] {
        names.push((name.to_vec(), is_taken));
    }
    names
}

#[test]
fn every_name_is_served_and_rustls_alone_refuses_as_we_think() {
    let servers = Servers::new();
    for version in [&TLS13, &TLS12] {
        for (name, is_taken) in names() {
            let content = one_name(&name);
            let shown = String::from_utf8_lossy(&name).into_owned();
            let client = servers.client(&content, version, false);
            let alone = shake_hands(&servers, &client, &content, Treatment::Untouched);
            assert_eq!(alone.is_ok(), is_taken, "{version:?} {shown:?}");
            let served = shake_hands(&servers, &client, &content, Treatment::Tolerant);
            let expected = (!is_taken).then(|| shown.clone());
            let full = if is_taken {
                HandshakeKind::Resumed
            } else {
                HandshakeKind::Full
            };
            assert_eq!(served, Ok((expected, full)), "{version:?} {shown:?}");
        }
    }
}

#[test]
fn other_contents_of_the_extension_are_served_too() {
    let servers = Servers::new();
    for (content, name) in [
        (&b""[..], ""),
        (b"\0", ""),
        (b"\0\0", ""),
        (b"\0\x03\0\0\0", ""),
        (b"\0\x05\0\0\x02gw\0", "gw"),
        (b"\0\x06\0\0\x02gw", "gw"),
        (b"\0\x05\0\0\x03gw", ""),
        // Two host names, and only a name of another type.
        (b"\0\x0a\0\0\x02gw\0\0\x02gw", "gw"),
        (b"\0\x05\x01\0\x02gw", "gw"),
    ] {
        for version in [&TLS13, &TLS12] {
            let client = servers.client(content, version, false);
            assert!(
                shake_hands(&servers, &client, content, Treatment::Untouched).is_err(),
                "{content:x?}"
            );
            let served = shake_hands(&servers, &client, content, Treatment::Tolerant);
            assert_eq!(
                served,
                Ok((Some(name.to_owned()), HandshakeKind::Full)),
                "{content:x?}"
            );
        }
    }
}

#[test]
fn hiding_the_name_without_its_hash_breaks_both_versions() {
    let servers = Servers::new();
    let content = one_name(b"gw.local:8043");
    for version in [&TLS13, &TLS12] {
        let client = servers.client(&content, version, false);
        let refused = shake_hands(&servers, &client, &content, Treatment::FilterAlone);
        assert!(
            matches!(
                refused,
                Err(Error::DecryptError | Error::InvalidCertificate(_))
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn a_second_client_hello_is_served() {
    let servers = Servers::new();
    for name in [&b"localhost"[..], b"gw.local:8043", b""] {
        let content = one_name(name);
        let client = servers.client(&content, &TLS13, true);
        let served = shake_hands(&servers, &client, &content, Treatment::Tolerant);
        assert_eq!(served.unwrap().1, HandshakeKind::FullWithHelloRetryRequest);
    }
}

#[test]
fn sessions_are_resumed() {
    let servers = Servers::new();
    for version in [&TLS13, &TLS12] {
        let content = one_name(b"gw.local:8043");
        let client = servers.client(&content, version, false);
        let kinds = [(); 3].map(|()| {
            shake_hands(&servers, &client, &content, Treatment::Tolerant)
                .unwrap()
                .1
        });
        assert_eq!(
            kinds,
            [
                HandshakeKind::Full,
                HandshakeKind::Resumed,
                HandshakeKind::Resumed
            ],
            "{version:?}"
        );
    }
}

/// A ClientHello as rustls writes it, in one record.
fn hello(content: &[u8]) -> Vec<u8> {
    let servers = Servers::new();
    let config = servers.client(content, &TLS13, false);
    let mut client =
        ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut records = Vec::new();
    client.write_tls(&mut records).unwrap();
    on_the_wire(&records, content)
}

/// The same bytes of handshake messages in records of `size` bytes.
fn in_records_of(size: usize, record: &[u8]) -> Vec<u8> {
    let message = &record[RECORD_FIXED..];
    let records = message.chunks(size).map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1], &length[..], part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

#[test]
fn a_hello_in_many_records_is_patched_where_its_bytes_are() {
    let hello = hello(&one_name(b"gw.local:8043"));
    for size in (1..40).chain([16_000]) {
        let mut bytes = in_records_of(size, &hello);
        let whole = bytes.len();
        bytes.extend_from_slice(b"\x17\x03\x03 what follows");
        for end in 0..whole {
            assert_eq!(examine(&bytes[..end]), Examined::Incomplete, "{size} {end}");
        }
        let Examined::BadName(bad) = examine(&bytes) else {
            panic!("{size}")
        };
        assert_eq!(bad.name, "gw.local:8043");
        bad.hide(&mut bytes);
        // Only two bytes differ, and rustls then has nothing to refuse.
        let before = in_records_of(size, &hello);
        assert_eq!(
            before
                .iter()
                .zip(&bytes)
                .filter(|(one, other)| one != other)
                .count(),
            2
        );
        assert_eq!(examine(&bytes), Examined::Unchanged);
    }
}

#[test]
fn a_hello_that_is_too_long_with_its_records_is_for_rustls_at_any_time() {
    let bytes = in_records_of(
        1,
        &[hello(&one_name(b"gw.local:8043")), vec![0; HELLO_MAX]].concat(),
    );
    let mut stuffed = bytes[..HELLO_MAX].to_vec();
    // The message claims a length that the records up to HELLO_MAX do not hold.
    for (nth, byte) in [0, 0x20, 0].into_iter().enumerate() {
        stuffed[(nth + 1) * (RECORD_FIXED + 1) + RECORD_FIXED] = byte;
    }
    let longer = [stuffed.clone(), bytes[HELLO_MAX..].to_vec()].concat();
    assert_eq!(examine(&stuffed[..HELLO_MAX - 1]), Examined::Incomplete);
    assert_eq!(
        [examine(&stuffed), examine(&longer)],
        [Examined::Unchanged, Examined::Unchanged]
    );
}

#[test]
fn what_is_no_client_hello_is_for_rustls() {
    let good = hello(&one_name(b"localhost"));
    let long = [
        &[HANDSHAKE, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff],
        &vec![0; HELLO_MAX][..],
    ]
    .concat();
    let mut ours = hello(&one_name(b"gw:1"));
    let at = RECORD_FIXED
        + extensions(&ours[RECORD_FIXED..])
            .find(|extension| extension.kind != SERVER_NAME)
            .unwrap()
            .offset;
    ours[at..at + 2].copy_from_slice(&HIDDEN.to_be_bytes());
    for (bytes, expected) in [
        (&good[..], Examined::Unchanged),
        (&good[..good.len() - 1], Examined::Incomplete),
        (&ours, Examined::Unchanged),
        (b"", Examined::Incomplete),
        (b"\x16", Examined::Incomplete),
        (b"\x14\x03\x03\0\x01\x01", Examined::Incomplete),
        (b"GET / HTTP/1.1\r\n\r\n", Examined::Unchanged),
        (b"G", Examined::Unchanged),
        (b"\x16\x02\x01\0\x05\x01\0\0\0\0", Examined::Unchanged),
        (b"\x16\x03\x01\0\0", Examined::Unchanged),
        (b"\x16\x03\x01\0\x04\x02\0\0\0", Examined::Unchanged),
        (b"\x16\x03\x01\0\x04\x01\0\0\0", Examined::Unchanged),
        (b"\x15\x03\x01\0\x02\x01\0", Examined::Unchanged),
        (&long, Examined::Unchanged),
        (&long[..9], Examined::Unchanged),
    ] {
        assert_eq!(
            examine(bytes),
            expected,
            "{:x?}",
            &bytes[..bytes.len().min(20)]
        );
    }
}

#[test]
fn the_table_of_the_cases_is_all_here() {
    // The file exists only where the project is developed, beside the checkout.
    let Ok(text) = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/cases/sni.txt"
    )) else {
        return eprintln!("skipped: no ../shared/cases/sni.txt");
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split("  ").next().unwrap();
        let is_described =
            ["non-ASCII name", "empty name", "64 letters in one label"].contains(&name);
        assert!(
            is_described || names().iter().any(|(known, _)| known == name.as_bytes()),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), name in "\\PC{0,20}") {
        examine(&bytes);
        hidden_type(&bytes);
        is_taken(&bytes);
        shown(&bytes);
        // `is_taken` must agree with rustls on each name.
        let taken = ServerName::try_from(name.as_bytes()).is_ok();
        prop_assert_eq!(is_taken(&one_name(name.as_bytes())), taken && !name.is_empty());
    }

    #[test]
    fn bytes_near_a_hello_make_it_panic_no_more(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        static HELLO: OnceLock<Vec<u8>> = OnceLock::new();
        let mut bytes = HELLO.get_or_init(|| hello(&one_name(b"gw.local:8043"))).clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let whole = examine(&bytes);
        let part = examine(&bytes[..cut.index(bytes.len())]);
        // A decision on the first bytes must not change when more arrive.
        prop_assert!(part == Examined::Incomplete || part == whole);
        if let Examined::BadName(bad) = whole {
            bad.hide(&mut bytes);
            let at = hidden_type(&bytes[RECORD_FIXED..]);
            prop_assert!(at.is_some());
        }
    }
}
