//! The least that a server can do to send a file over TLS: read a chunk, encrypt it with rustls,
//! write it. It has no limits, no timeouts, and no HTTP beyond the end of a head. Any further cost
//! of cc-gateway is its own.
//!
//!     bare_loop ADDRESS CERTIFICATE PRIVATE_KEY FILE

use std::env;
use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What cc-gateway sends to a quick client at once: 64 records, the most that rustls writes in one
/// call.
const CHUNK_BYTES: usize = 64 * 16 * 1024;

fn main() -> Result<()> {
    // As cc-gateway does: once a piece of this size was freed, the allocator keeps such pieces
    // (mallopt(3), M_TRIM_THRESHOLD).
    drop(black_box(vec![0_u8; CHUNK_BYTES]));
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, certificate, key, file] = arguments.as_slice() else {
        return Err("usage: bare_loop ADDRESS CERTIFICATE PRIVATE_KEY FILE".into());
    };
    let chain =
        CertificateDer::pem_file_iter(certificate)?.collect::<std::result::Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind(address)?;
    loop {
        let (socket, _) = listener.accept()?;
        let (config, file) = (Arc::clone(&config), file.clone());
        thread::spawn(move || {
            if let Err(error) = serve(&socket, config, &file) {
                eprintln!("{error}");
            }
        });
    }
}

fn serve(mut socket: &TcpStream, config: Arc<ServerConfig>, file: &str) -> Result<()> {
    let mut tls = ServerConnection::new(config)?;
    tls.set_buffer_limit(None);
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    while read_head(&mut tls, socket)? {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        write!(
            tls.writer(),
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        )?;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            tls.writer().write_all(&buffer[..count])?;
            while tls.wants_write() {
                tls.write_tls(&mut socket)?;
            }
        }
    }
    Ok(())
}

/// Reads another head, whatever it contains; false if the client has ended the connection.
fn read_head(tls: &mut ServerConnection, mut socket: &TcpStream) -> Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        if tls.read_tls(&mut socket)? == 0 {
            return Ok(false);
        }
        let state = tls.process_new_packets()?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut plain)?;
        head.extend_from_slice(&plain);
        if state.peer_has_closed() {
            return Ok(false);
        }
    }
    Ok(true)
}
