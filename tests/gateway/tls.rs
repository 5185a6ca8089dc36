//! Key exchange and session resumption in handshakes. `sslyze` and `testssl` check the rest
//! (CONTRIBUTING.md).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore,
    SupportedProtocolVersion,
};

use crate::support::Server;

fn config(
    server: &Server,
    version: &'static SupportedProtocolVersion,
    groups: &[&'static dyn SupportedKxGroup],
) -> Arc<ClientConfig> {
    let pem = std::fs::read(server.scratch().path().join("certificate.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut &*pem)
        .collect::<Result<Vec<CertificateDer>, _>>()
        .unwrap()
    {
        roots.add(certificate).unwrap();
    }
    let provider = CryptoProvider {
        kx_groups: groups.to_vec(),
        ..aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Sends one request on a new connection. The session ticket has arrived once it is answered.
fn ask(server: &Server, config: &Arc<ClientConfig>) -> ClientConnection {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = rustls::Stream::new(&mut client, &mut socket);
    stream
        .write_all(
            b"GET /agentgateway/resource/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    client
}

#[test]
fn a_client_may_ask_for_a_key_exchange_that_quantum_computers_cannot_break() {
    let server = Server::start();
    for group in [
        kx_group::X25519MLKEM768,
        kx_group::X25519,
        kx_group::SECP256R1,
    ] {
        let client = ask(&server, &config(&server, &TLS13, &[group]));
        assert_eq!(
            client.negotiated_key_exchange_group().unwrap().name(),
            group.name()
        );
    }
    let both = [kx_group::X25519MLKEM768, kx_group::X25519];
    let client = ask(&server, &config(&server, &TLS13, &both));
    assert_eq!(
        client.negotiated_key_exchange_group().unwrap().name(),
        NamedGroup::X25519MLKEM768
    );
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let server = Server::start();
    for version in [&TLS12, &TLS13] {
        let config = config(&server, version, &[kx_group::X25519, kx_group::SECP256R1]);
        let kinds = [
            ask(&server, &config),
            ask(&server, &config),
            ask(&server, &config),
        ]
        .map(|client| client.handshake_kind().unwrap());
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
