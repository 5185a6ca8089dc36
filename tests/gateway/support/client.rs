//! A client that sends exactly the given bytes and sees every byte of the response.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// Where the interfaces are.
pub const BASE: &str = "/agentgateway/resource";

/// One TLS connection.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Bytes received, not yet part of a reply.
    pending: Vec<u8>,
    /// Read buffer, reused because tests read gigabytes.
    chunk: Vec<u8>,
}

/// A reply, byte for byte.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Status line and headers as received, with the final empty line.
    pub head: String,
    pub body: Vec<u8>,
}

/// Client configurations are cached by certificate: building one is the most expensive part of a
/// connection.
fn config(certificate: &Path) -> Arc<ClientConfig> {
    static CONFIGS: Mutex<Vec<(Vec<u8>, Arc<ClientConfig>)>> = Mutex::new(Vec::new());
    let pem = std::fs::read(certificate).unwrap();
    let mut configs = CONFIGS.lock().unwrap();
    if let Some((_, config)) = configs.iter().find(|(known, _)| *known == pem) {
        return Arc::clone(config);
    }
    let config = Arc::new(config_for(certificate, rustls::DEFAULT_VERSIONS));
    configs.push((pem, Arc::clone(&config)));
    config
}

/// A configuration with this certificate as root and these TLS versions.
fn config_for(certificate: &Path, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut BufReader::new(File::open(certificate).unwrap()))
    {
        roots.add(certificate.unwrap()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Client {
    /// Connects and does the handshake; the certificate is verified.
    pub fn connect(address: SocketAddr, certificate: &Path) -> Client {
        Client::over(TcpStream::connect(address).unwrap(), certificate)
    }

    /// Does the handshake on a connected socket.
    pub fn over(socket: TcpStream, certificate: &Path) -> Client {
        Client::try_over(socket, certificate).unwrap()
    }

    /// Like [`Client::over`], for a peer that may be gone.
    pub fn try_over(socket: TcpStream, certificate: &Path) -> io::Result<Client> {
        Client::shake_hands(socket, config(certificate))
    }

    /// Connects with these TLS versions and ALPN protocols; fails if the server accepts none.
    pub fn offering(
        address: SocketAddr,
        certificate: &Path,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> io::Result<Client> {
        let mut config = config_for(certificate, versions);
        config.alpn_protocols = protocols.iter().map(|&protocol| protocol.into()).collect();
        Client::shake_hands(TcpStream::connect(address).unwrap(), Arc::new(config))
    }

    fn shake_hands(socket: TcpStream, config: Arc<ClientConfig>) -> io::Result<Client> {
        socket.set_nodelay(true).unwrap();
        // Never reached unless a defect would hang the test.
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(config, name).unwrap();
        let mut stream = StreamOwned::new(tls, socket);
        stream.flush()?;
        Ok(Client {
            stream,
            pending: Vec::new(),
            chunk: vec![0; 64 * 1024],
        })
    }

    /// The socket below TLS.
    pub fn socket(&self) -> &TcpStream {
        &self.stream.sock
    }

    /// The socket below TLS, without close_notify.
    pub fn into_socket(self) -> TcpStream {
        self.stream.sock
    }

    /// The TLS connection.
    pub fn tls(&mut self) -> &mut ClientConnection {
        &mut self.stream.conn
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends raw bytes to a server that may have closed the connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Sends a request with Host, Content-Length, these header lines (each with CRLF) and this
    /// body.
    pub fn send_request(&mut self, method: &str, path: &str, fields: &str, body: &str) {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        self.try_send_request(method, path, &format!("{fields}{length}"), body)
            .unwrap();
    }

    /// Sends a request with Host, these header lines and this body to a server that may be gone.
    pub fn try_send_request(
        &mut self,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> io::Result<()> {
        self.try_send(format!(
            "{method} {BASE}{path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}"
        ))
    }

    /// Sends a request and reads the reply.
    pub fn request(&mut self, method: &str, path: &str, guid: Option<&str>, body: &str) -> Reply {
        let guid = guid.map_or(String::new(), |guid| format!("Guid: {guid}\r\n"));
        self.send_request(method, path, &guid, body);
        self.reply_to(method)
    }

    /// Sends a GET with this Guid and these header lines.
    pub fn send_get(&mut self, path: &str, guid: &str, fields: &str) {
        self.send_request("GET", path, &format!("Guid: {guid}\r\n{fields}"), "");
    }

    pub fn get(&mut self, path: &str, guid: Option<&str>) -> Reply {
        self.request("GET", path, guid, "")
    }

    /// Consumes the two events of a sign-in.
    pub fn take_sign_in_events(&mut self, agent: u32, guid: &str) {
        for event in ["AgentOther_InService", "AgentState_Ready"] {
            let reply = self.get(&format!("/agentevent/{agent}"), Some(guid));
            assert_eq!(reply.json()["event"]["eventType"], event, "{reply:?}");
        }
    }

    pub fn put(&mut self, path: &str, guid: Option<&str>, body: &str) -> Reply {
        self.request("PUT", path, guid, body)
    }

    pub fn delete(&mut self, path: &str, guid: Option<&str>) -> Reply {
        self.request("DELETE", path, guid, "")
    }

    /// Downloads a recording; `record_id` goes into the query verbatim.
    pub fn download(&mut self, agent: u32, guid: Option<&str>, record_id: &str) -> Reply {
        let path = format!("/recordfile/{agent}/videofiledownloadEx?recordId={record_id}");
        self.get(&path, guid)
    }

    /// Requests a recording and reads only the head of the reply.
    pub fn begin_download(&mut self, agent: u32, guid: &str, record_id: &str) -> Reply {
        let path = format!("/recordfile/{agent}/videofiledownloadEx?recordId={record_id}");
        self.send_get(&path, guid, "");
        let head = self.head();
        assert_eq!(head.status, 200, "{head:?}");
        head
    }

    /// Reads a whole reply.
    pub fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    fn reply_to(&mut self, method: &str) -> Reply {
        let mut reply = self.head();
        if method != "HEAD" {
            reply.body = self.bytes(reply.length());
        }
        reply
    }

    /// Reads the head of a reply, leaving the body.
    pub fn head(&mut self) -> Reply {
        self.try_head().expect("a reply")
    }

    /// Reads the head of a reply, if the connection lasts.
    pub fn try_head(&mut self) -> io::Result<Reply> {
        let end = loop {
            if let Some(at) = self
                .pending
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8(self.pending.drain(..end).collect()).unwrap();
        Ok(Reply::from_head(head))
    }

    /// Reads exactly `length` bytes of a body.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.pending.len() < length {
            self.fill_content();
        }
        self.pending.drain(..length).collect()
    }

    /// Reads a body too large to keep; `each` sees every piece.
    pub fn stream(&mut self, length: u64, mut each: impl FnMut(&[u8])) {
        let mut left = length;
        loop {
            let part = self
                .pending
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            each(&self.pending[..part]);
            left -= part as u64;
            self.pending.drain(..part);
            if left == 0 {
                return;
            }
            self.fill_content();
        }
    }

    fn fill_content(&mut self) {
        let count = self.fill().unwrap();
        assert_ne!(count, 0, "the connection ended within the content");
    }

    /// Sends close_notify.
    pub fn finish(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }

    /// Reads to the end of the connection; returns the bytes, and whether it ended with
    /// close_notify.
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        loop {
            match self.fill() {
                Ok(0) => return (std::mem::take(&mut self.pending), true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("the connection never ends")
                }
                Err(_) => return (std::mem::take(&mut self.pending), false),
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let count = self.stream.read(&mut self.chunk)?;
        self.pending.extend_from_slice(&self.chunk[..count]);
        Ok(count)
    }
}

impl Reply {
    fn from_head(head: String) -> Reply {
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: Vec::new(),
        }
    }

    /// Splits the bytes of a connection into replies, with nothing between or after them.
    pub fn all(mut bytes: &[u8]) -> Vec<Reply> {
        let mut replies = Vec::new();
        while !bytes.is_empty() {
            let text = String::from_utf8_lossy(bytes);
            let end = 4 + text
                .find("\r\n\r\n")
                .unwrap_or_else(|| panic!("no whole head: {text}"));
            let head = text[..end].to_owned();
            assert!(head.starts_with("HTTP/1.1 "), "not a reply: {head}");
            let mut reply = Reply::from_head(head);
            bytes = &bytes[end..];
            assert!(
                bytes.len() >= reply.length(),
                "a reply that was cut: {reply:?}"
            );
            reply.body = bytes[..reply.length()].to_vec();
            bytes = &bytes[reply.length()..];
            replies.push(reply);
        }
        replies
    }

    /// The value of a header; names are matched by exact case, as by vendor clients.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The Content-Length.
    pub fn length(&self) -> usize {
        self.field("Content-Length")
            .map_or(0, |length| length.parse().unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The result code.
    pub fn code(&self) -> String {
        self.json()["retcode"]
            .as_str()
            .unwrap_or_else(|| panic!("no retcode: {self:?}"))
            .to_owned()
    }

    /// Status and result code.
    pub fn outcome(&self) -> (u16, String) {
        (self.status, self.code())
    }

    /// The Guid in the reply, extracted as vendor clients do.
    pub fn guid(&self) -> Option<String> {
        self.field("Set-GUID")
            .map(|value| value.replace("JSESSIONID=", ""))
    }
    /// The Guid of a reply that must have one.
    pub fn new_guid(&self) -> String {
        self.guid().unwrap_or_else(|| panic!("no Guid: {self:?}"))
    }
}
