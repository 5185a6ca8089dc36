//! The real binary, started for one test and killed with it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Reply};
use super::scratch::Scratch;
use super::shape::SIGN_IN;

/// Longest wait for anything that happens by itself. Nothing measures with it: reaching it is a
/// failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The agents of every server unless a test says otherwise: two with the password `secret`, one
/// whose password is empty, one inspector. The hashes have few iterations, so that sign-ins are
/// quick.
pub const AGENTS: &str = "\
101 = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET
102 = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET
503 = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET
104 = no-password
900 = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET
900.role = inspector
";

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "this never came: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A server about to be started.
pub struct Setup {
    scratch: Scratch,
    settings: String,
    agents: String,
    expected: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    deaf: bool,
    stalled: Option<Receiver<()>>,
}

impl Setup {
    /// Video on, up to 1024 clients, which any machine has the descriptors for; one mount without
    /// MOUNT_CHECK at `<scratch>/mount`, port 0, polls that answer at once.
    pub fn new() -> Setup {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.path().join("mount")).unwrap();
        let settings = format!(
            "VIDEO_DOWNLOAD_FLAG = ON\nIF_SUPPORT_VIDEO = ON\nMOUNT_DIR = {}\nMOUNT_CHECK = OFF\n\
             AGENT_POLL_WAIT_FLAG = OFF\nLISTEN = 127.0.0.1:0\n\
             MAX_CONNECTIONS = 1024\nMAX_CONNECTIONS_PER_ADDRESS = 128\n\
             TLS_CERTIFICATE = certificate.pem\nTLS_PRIVATE_KEY = private-key.pem\n",
            scratch.path().join("mount").display(),
        );
        Setup {
            scratch,
            settings,
            agents: AGENTS.to_owned(),
            // One of the agents above has none.
            expected: vec!["no password is asked of these agents".to_owned()],
            environment: Vec::new(),
            wrapper: Vec::new(),
            deaf: false,
            stalled: None,
        }
    }

    /// Sets a key, in place of what it is by default here.
    pub fn set(mut self, key: &str, value: &str) -> Setup {
        self = self.unset(key);
        self.settings += &format!("{key} = {value}\n");
        self
    }

    /// Takes a key out.
    pub fn unset(mut self, key: &str) -> Setup {
        let is_other = |line: &&str| line.split(" = ").next() != Some(key);
        self.settings = self
            .settings
            .lines()
            .filter(is_other)
            .map(|line| format!("{line}\n"))
            .collect();
        self
    }

    /// Adds lines to the agents file.
    pub fn agents(mut self, lines: &str) -> Setup {
        self.agents.push_str(lines);
        self
    }

    /// Adds an agent with the password `secret`.
    pub fn agent(self, number: u32) -> Setup {
        self.agents(&format!(
            "{number} = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET\n"
        ))
    }

    /// Says that a warning or error with this text in it belongs to the test.
    pub fn expect_log(mut self, part: &str) -> Setup {
        self.expected.push(part.to_owned());
        self
    }

    /// Sets a variable in the server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the binary through another program, for instance `prlimit`.
    pub fn through(mut self, words: &[&str]) -> Setup {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Closes the reading end of the log as soon as the server listens.
    pub fn deaf(mut self) -> Setup {
        self.deaf = true;
        self
    }

    /// Stops reading the log as soon as the server listens, until the result is dropped.
    pub fn stalled(mut self) -> (Setup, Sender<()>) {
        let (resume, stalled) = channel();
        self.stalled = Some(stalled);
        (self, resume)
    }

    /// Writes a recording into the mount.
    pub fn recording(self, path: &str, content: impl AsRef<[u8]>) -> Setup {
        self.write_recording(path, content);
        self
    }

    /// Writes another recording into the mount.
    pub fn write_recording(&self, path: &str, content: impl AsRef<[u8]>) {
        self.scratch.file(&format!("mount/{path}"), content);
    }

    /// The directory of everything the server has.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// What `cc-gateway check` prints, which ends in success.
    pub fn check(&self) -> String {
        self.check_through(&[])
    }

    /// As [`check`](Self::check), started by the words of a command before its own.
    pub fn check_through(&self, wrapper: &[&str]) -> String {
        self.write_files();
        let words = [
            wrapper,
            &[env!("CARGO_BIN_EXE_cc-gateway"), "check", "--config"],
        ]
        .concat();
        let mut command = Command::new(words[0]);
        let settings = self.directory().join("basic.properties");
        stdout_of(command.args(&words[1..]).arg(settings))
    }

    /// Writes the files; what [`Setup::start`] does first.
    pub fn write_files(&self) {
        let agents = self.agents.replace("SECRET", SECRET);
        self.scratch.file("agents.properties", agents);
        self.scratch.file("basic.properties", &self.settings);
        if !self.scratch.path().join("certificate.pem").exists() {
            make_certificate(self.scratch.path());
        }
    }

    /// The files alone, for a service that runs inside the test.
    pub(super) fn into_files(self) -> Scratch {
        self.write_files();
        self.scratch
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        self.write_files();
        let config = self.scratch.path().join("basic.properties");
        let mut words = self.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_cc-gateway").to_owned());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg("--config")
            .arg(&config)
            // A server that is killed leaves its private directory behind; here it goes with the
            // test's.
            .env("TMPDIR", self.scratch.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (tell, told) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::clone(&log);
        let (deaf, stalled) = (self.deaf, self.stalled);
        let reader = thread::spawn(move || {
            let mut stderr = stderr.lines().map_while(Result::ok);
            while let Some(line) = stderr.next() {
                let address = line
                    .split_once("listening on https://")
                    .map(|(_, address)| address.parse().unwrap());
                lines.lock().unwrap().push(line);
                let Some(address) = address else { continue };
                if deaf {
                    // From here on the server's stderr has no reader, before anybody can make it
                    // write.
                    drop(stderr);
                    let _ = tell.send(address);
                    return;
                }
                let _ = tell.send(address);
                if let Some(stalled) = &stalled {
                    let _ = stalled.recv();
                }
            }
        });
        let address = told.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            let log = log.lock().unwrap().join("\n");
            panic!("the server does not listen:\n{log}");
        });
        Server {
            child,
            address,
            scratch: self.scratch,
            log,
            expected: self.expected,
            gone: None,
            reader: Some(reader),
            wrapper: self.wrapper,
        }
    }
}

/// The hash of the password `secret` with the salt and iterations above.
const SECRET: &str = "4efb2bbb6d2eb58ea8deaed54417ae2fd87fd50a8a8568709363da60d4560606";

/// Makes the pair with the program itself, as an operator would.
fn make_certificate(directory: &Path) {
    let words = "certificate --name localhost --name 127.0.0.1 --out";
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    stdout_of(command.args(words.split(' ')).arg(directory));
}

/// What a command prints, which ends in success.
pub fn stdout_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    scratch: Scratch,
    log: Arc<Mutex<Vec<String>>>,
    expected: Vec<String>,
    gone: Option<ExitStatus>,
    /// Reads the log until its end.
    reader: Option<thread::JoinHandle<()>>,
    wrapper: Vec<String>,
}

impl Server {
    /// A server with the defaults of [`Setup::new`].
    pub fn start() -> Server {
        Setup::new().start()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory of everything the server has: `mount`, `basic.properties`,
    /// `agents.properties`, `certificate.pem`, `private-key.pem`.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.address, &self.scratch.path().join("certificate.pem"))
    }

    /// Expects that a request with nothing wrong in it is answered, on a connection of its own.
    pub fn serves(&self) {
        assert_eq!(
            self.client().get("/health", None).outcome(),
            (200, "0".into())
        );
    }

    /// Signs in with the password `secret`, takes the events of that, and gives the Guid.
    pub fn sign_in(&self, agent: u32) -> String {
        let guid = self.sign_in_only(agent);
        self.client().take_sign_in_events(agent, &guid);
        guid
    }

    /// As [`sign_in`](Self::sign_in), but leaves the events: for Guids that are renewed with the
    /// next poll.
    pub fn sign_in_only(&self, agent: u32) -> String {
        let reply = self
            .client()
            .put(&format!("/onlineagent/{agent}"), None, SIGN_IN);
        reply.new_guid()
    }

    /// Signs in by force, with or without a session before.
    pub fn sign_in_again(&self, agent: u32) -> String {
        let path = format!("/onlineagent/{agent}/forcelogin");
        self.client().put(&path, None, SIGN_IN).new_guid()
    }

    /// Downloads a recording on a new connection.
    pub fn download(&self, agent: u32, guid: &str, record_id: &str) -> Reply {
        self.client().download(agent, Some(guid), record_id)
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the end of the process, and of its log.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.wait_unread();
        self.reader.take().unwrap().join().unwrap();
        status
    }

    /// Waits for the end of a process whose log nobody reads.
    pub fn wait_unread(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually("the end of the server", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        self.gone = ended;
        ended.unwrap()
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line with this text in it, and gives it.
    pub fn log_line(&self, part: &str) -> String {
        let mut found = None;
        eventually(&format!("a log line with {part}"), || {
            found = self.log().into_iter().find(|line| line.contains(part));
            found.is_some()
        });
        found.unwrap()
    }

    /// Threads of the process now, without those that mounts keep for a while and let go.
    pub fn threads(&self) -> usize {
        self.thread_names()
            .iter()
            .filter(|name| !name.starts_with("mount"))
            .count()
    }

    /// Threads of the process now, whatever they do.
    pub fn all_threads(&self) -> usize {
        self.thread_names().len()
    }

    fn thread_names(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        tasks
            .filter_map(|task| Some(name(task.ok()?)?.trim_end().to_owned()))
            .collect()
    }

    /// Open descriptors of the process now.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// The number of the next descriptor the process will open; with this as their limit it can
    /// open no more.
    pub fn next_descriptor(&self) -> usize {
        let open = Path::new("/proc").join(self.pid().to_string()).join("fd");
        (0..)
            .find(|number: &usize| open.join(number.to_string()).symlink_metadata().is_err())
            .unwrap()
    }

    /// Sets the soft limit of a resource of the running process, as prlimit(1) names it, and gives
    /// the former one.
    pub fn limit(&self, resource: &str, soft: &str) -> String {
        let prlimit = |arguments: &[&str]| {
            // By the server's own user, who may always do it.
            let words = [
                &self.wrapper[..],
                &[
                    "prlimit".to_owned(),
                    "--pid".to_owned(),
                    self.pid().to_string(),
                ],
            ]
            .concat();
            let mut command = Command::new(&words[0]);
            stdout_of(command.args(&words[1..]).args(arguments))
                .trim()
                .to_owned()
        };
        let before = prlimit(&[&format!("--{resource}"), "--noheadings", "--output=SOFT"]);
        prlimit(&[&format!("--{resource}={soft}:")]);
        before
    }

    /// How many log lines have this text in them.
    pub fn told(&self, part: &str) -> usize {
        self.log().iter().filter(|line| line.contains(part)).count()
    }

    /// Resident memory of the process now, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.gone.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.log().join("\n"));
            return;
        }
        // Whatever is not a line below warning, or was announced by the test, is a defect.
        let is_fine = |line: &&String| {
            ["INFO ", "DEBUG", "TRACE"]
                .iter()
                .any(|level| line.contains(&format!(" {level} ")))
                || self.expected.iter().any(|part| line.contains(part))
        };
        let log = self.log();
        let unexpected: Vec<_> = log.iter().filter(|line| !is_fine(line)).collect();
        assert!(
            unexpected.is_empty(),
            "unexpected on stderr: {unexpected:#?}"
        );
    }
}
