//! Two gateways behind a real load balancer, configured by the files in `packaging/examples`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::client::{Client, Reply};
use super::documents::document;
use super::scratch::Scratch;
use super::server::{Server, Setup, eventually};
use super::shape::SIGN_IN;
use super::sockets::connect_from;

/// The example configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    HaproxyPassthrough,
    HaproxyTerminate,
    NginxPassthrough,
    NginxTerminate,
}

impl Kind {
    pub const ALL: [Kind; 4] = [
        Kind::HaproxyPassthrough,
        Kind::HaproxyTerminate,
        Kind::NginxPassthrough,
        Kind::NginxTerminate,
    ];

    fn program(self) -> &'static str {
        match self {
            Kind::HaproxyPassthrough | Kind::HaproxyTerminate => "haproxy",
            Kind::NginxPassthrough | Kind::NginxTerminate => "nginx",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Kind::HaproxyPassthrough => "haproxy-passthrough.cfg",
            Kind::HaproxyTerminate => "haproxy-terminate.cfg",
            Kind::NginxPassthrough => "nginx-passthrough.conf",
            Kind::NginxTerminate => "nginx-terminate.conf",
        }
    }

    /// Whether the program is installed; reports a skip if not.
    pub fn is_installed(self) -> bool {
        let is_there = Command::new(self.program()).arg("-v").output().is_ok();
        let has_stream = Path::new("/etc/nginx/modules-enabled/50-mod-stream.conf").exists();
        let is_whole = is_there && (self != Kind::NginxPassthrough || has_stream);
        if !is_whole {
            eprintln!("skipped: {self:?} (apt-get install haproxy nginx libnginx-mod-stream)");
        }
        is_whole
    }
}

/// Substitutes what an operator would edit; each word must occur in the file.
fn substituted(file: &str, words: &[(&str, &str)]) -> String {
    let mut text = document(&format!("packaging/examples/{file}"));
    for (from, to) in words {
        assert!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    text
}

/// The addresses in a configuration.
struct Addresses<'a> {
    scratch: &'a Scratch,
    listen: SocketAddr,
    nodes: [SocketAddr; 2],
}

impl Addresses<'_> {
    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    /// Writes the configuration with the paths and ports of the test.
    fn write(&self, kind: Kind) -> PathBuf {
        let [listen, first, second] =
            [self.listen, self.nodes[0], self.nodes[1]].map(|address| address.to_string());
        let text = match kind.program() {
            "haproxy" => {
                let words = [
                    ("0.0.0.0:8043", &*listen),
                    ("10.0.0.10:8043", &first),
                    ("10.0.0.11:8043", &second),
                    ("maxconn 20000", "maxconn 1000"),
                    // A node of a busy machine that is slow to answer is not a failing one.
                    (
                        "timeout connect 5s",
                        "timeout connect 5s\n    timeout check 5s",
                    ),
                    ("inter 2s fall 2", "inter 200ms fall 4"),
                    ("/run/haproxy/admin.sock", &self.path("admin.sock")),
                    ("    user haproxy\n    group haproxy\n", ""),
                    ("/etc/haproxy/cc-gateway-nodes.pem", &self.path("nodes.pem")),
                ];
                let text = substituted(kind.example(), &words);
                text.replace("/etc/haproxy/cc-gateway.pem", &self.path("pair.pem"))
            }
            _ => {
                let words = [
                    ("0.0.0.0:8043", &*listen),
                    ("/etc/nginx/cc-gateway/", &self.path("")),
                    ("/run/nginx.pid", &self.path("nginx.pid")),
                    ("worker_connections 20000", "worker_connections 1000"),
                    ("user www-data;\n", ""),
                ];
                let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let folders = kinds
                    .map(|kind| format!("{kind}_temp_path {};\n", self.path(kind)))
                    .concat();
                let text = substituted(kind.example(), &words);
                text.replace("http {\n", &format!("http {{\n{folders}"))
                    .replace("cc-gateway.example.com", "localhost")
            }
        };
        self.scratch.file(kind.example(), text)
    }

    /// Writes the script that checks the nodes' health.
    fn write_script(&self, configuration: &Path) -> PathBuf {
        let words = [
            ("10.0.0.10:8043", &*self.nodes[0].to_string()),
            ("10.0.0.11:8043", &self.nodes[1].to_string()),
            (
                "directory=/etc/nginx/cc-gateway",
                &format!("directory={}", self.scratch.path().display()),
            ),
            ("/etc/nginx/cc-gateway/nodes.pem", &self.path("nodes.pem")),
            ("name=cc-gateway.example.com", "name=localhost"),
            ("pause=2", "pause=0.2"),
            (
                "reload='nginx -s reload'",
                &format!("reload='nginx -c {} -s reload'", configuration.display()),
            ),
        ];
        self.scratch.file(
            "nginx-check-nodes",
            substituted("nginx-check-nodes", &words),
        )
    }
}

/// Has the program check its example configuration.
pub fn check_example(kind: Kind) -> Output {
    let server = Setup::new().start();
    let scratch = scratch_with_pair(&server);
    let node = "192.0.2.1:8043".parse().unwrap();
    for index in 0..2 {
        scratch.file(&format!("node-{index}.conf"), format!("server {node};\n"));
    }
    let place = Addresses {
        scratch: &scratch,
        listen: free_address(),
        nodes: [node; 2],
    };
    let configuration = place.write(kind);
    let arguments = if kind.program() == "haproxy" {
        ["-c", "-f"]
    } else {
        ["-t", "-c"]
    };
    Command::new(kind.program())
        .args(arguments)
        .arg(configuration)
        .output()
        .unwrap()
}

/// A directory with the server's certificate and key, as each balancer needs them.
fn scratch_with_pair(server: &Server) -> Scratch {
    let scratch = Scratch::new();
    let [certificate, key] = ["certificate.pem", "private-key.pem"]
        .map(|name| std::fs::read_to_string(server.scratch().path().join(name)).unwrap());
    scratch.file("nodes.pem", &certificate);
    scratch.file("certificate.pem", &certificate);
    scratch.file("private-key.pem", &key);
    scratch.file("pair.pem", certificate + &key);
    scratch
}

/// An address nobody listens on. The balancers have no port 0.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Two gateways with one mount, behind a balancer.
pub struct Site {
    pub nodes: [Server; 2],
    balancer: Child,
    script: Option<Child>,
    address: SocketAddr,
    scratch: Scratch,
}

impl Site {
    /// Starts everything; `None` if the balancer is not installed.
    pub fn start(kind: Kind, setup: impl Fn() -> Setup) -> Option<Site> {
        if !kind.is_installed() {
            return None;
        }
        let node = |index: &str| {
            setup()
                .set("NODE_INDEX", index)
                .set("TRUSTED_PROXIES", "127.0.0.1")
        };
        let first = node("0").start();
        let mount = first.scratch().path().join("mount");
        let second = node("1").set("MOUNT_DIR", mount.to_str().unwrap());
        // One certificate for both, as documented: OpenSSL trusts only the first of several
        // self-signed certificates with the same subject.
        for name in ["certificate.pem", "private-key.pem"] {
            std::fs::copy(
                first.scratch().path().join(name),
                second.directory().join(name),
            )
            .unwrap();
        }
        let scratch = scratch_with_pair(&first);
        let second = second.start();
        let address = free_address();
        let place = Addresses {
            scratch: &scratch,
            listen: address,
            nodes: [first.address(), second.address()],
        };
        let configuration = place.write(kind);
        let mut command = Command::new(kind.program());
        let mut script = None;
        if kind.program() == "haproxy" {
            command.arg("-db").arg("-f").arg(configuration);
        } else {
            let path = place.write_script(&configuration);
            let once = Command::new("sh")
                .arg(&path)
                .arg("once")
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(once.success());
            command.args(["-g", "daemon off;", "-c"]).arg(configuration);
            script = Some(path);
        }
        let balancer = command
            .stdout(Stdio::null())
            .stderr(File::create(scratch.path().join("balancer.log")).unwrap())
            .spawn()
            .unwrap();
        let mut site = Site {
            nodes: [first, second],
            balancer,
            script: None,
            address,
            scratch,
        };
        eventually("a balancer that listens", || {
            assert!(
                site.balancer.try_wait().unwrap().is_none(),
                "the balancer ended: {}",
                site.balancer_log()
            );
            TcpStream::connect(address).is_ok()
        });
        site.script = script.map(|script| {
            Command::new("sh")
                .arg(script)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        Some(site)
    }

    /// Sends a command to HAProxy's admin socket and returns the answer.
    pub fn command(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.scratch.path().join("admin.sock")).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    fn balancer_log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("balancer.log")).unwrap()
    }

    /// A new connection through the balancer from a loopback address.
    pub fn client(&self, source: &str) -> Client {
        Client::over(
            connect_from(source, self.address, Some(64 * 1024)),
            &self.scratch.path().join("nodes.pem"),
        )
    }

    /// Sends one request on a new connection; `None` if the connection breaks, as when its node has
    /// just died.
    pub fn ask(
        &self,
        source: &str,
        method: &str,
        path: &str,
        guid: Option<&str>,
        body: &str,
    ) -> Option<Reply> {
        let socket = connect_from(source, self.address, None);
        let mut client = Client::try_over(socket, &self.scratch.path().join("nodes.pem")).ok()?;
        let guid = guid.map_or(String::new(), |guid| format!("Guid: {guid}\r\n"));
        let length = format!("Content-Length: {}\r\n", body.len());
        client
            .try_send_request(method, path, &format!("{guid}{length}"), body)
            .ok()?;
        let mut reply = client.try_head().ok()?;
        reply.body = client.bytes(reply.length());
        Some(reply)
    }

    /// Signs an agent in from its own address, at the node chosen by the balancer.
    pub fn sign_in(&self, number: u32, source: &str) -> Seat {
        let reply = self
            .client(source)
            .put(&format!("/onlineagent/{number}"), None, SIGN_IN);
        Seat {
            number,
            source: source.to_owned(),
            guid: reply.new_guid(),
        }
    }

    /// Signs agents in from 201 on, until node 0 has `most` and node 1 at least one, and returns
    /// them by node. The setup needs [`with_agents`].
    pub fn sign_in_at_both(&self, most: usize) -> [Vec<Seat>; 2] {
        let mut seats = [Vec::new(), Vec::new()];
        for number in AGENTS {
            let seat = self.sign_in(number, &format!("127.0.1.{}", number - 200));
            seats[seat.node()].push(seat);
            if seats[0].len() >= most && !seats[1].is_empty() {
                return seats;
            }
        }
        panic!("the balancer sends nobody to one of the nodes");
    }
}

/// The agents of [`with_agents`].
const AGENTS: std::ops::Range<u32> = 201..281;

/// Adds the agents that [`Site::sign_in_at_both`] signs in.
pub fn with_agents(setup: Setup) -> Setup {
    AGENTS.fold(setup, Setup::agent)
}

/// An agent who has signed in through the balancer.
pub struct Seat {
    pub number: u32,
    pub source: String,
    pub guid: String,
}

impl Seat {
    /// The node that issued the Guid.
    pub fn node(&self) -> usize {
        match self.guid.rsplit_once(".AgentGateway").unwrap().1 {
            "0" => 0,
            "1" => 1,
            other => panic!("node {other}"),
        }
    }

    /// Polls once on a new connection, and adopts a renewed Guid.
    pub fn poll(&mut self, site: &Site) -> Option<Reply> {
        let reply = site.ask(
            &self.source,
            "GET",
            &format!("/agentevent/{}", self.number),
            Some(&self.guid),
            "",
        )?;
        if let Some(guid) = reply.guid() {
            self.guid = guid;
        }
        Some(reply)
    }

    /// Requests a download on a new connection and reads only the head of the reply.
    pub fn begin(&self, site: &Site, query: &str, fields: &str) -> (Client, Reply) {
        let mut client = site.client(&self.source);
        let path = format!("/recordfile/{}/videofiledownloadEx?{query}", self.number);
        client.send_get(&path, &self.guid, fields);
        let reply = client.head();
        (client, reply)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(script) = &mut self.script {
            let _ = script.kill();
            let _ = script.wait();
        }
        // Gracefully, because only then nginx stops its workers.
        let _ = Command::new("kill")
            .args(["-TERM", &self.balancer.id().to_string()])
            .status();
        let _ = self.balancer.wait();
        if std::thread::panicking() {
            eprintln!("the balancer said:\n{}", self.balancer_log());
        }
    }
}
