//! The real binary, started for one test and killed at its end.

use std::ffi::OsStr;
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

/// Timeout for anything a test waits for. Reaching it is a failure; it is never used to measure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The default agents file: agents with the password `secret`, one with the empty password, one
/// inspector. Few iterations, so that sign-ins are quick.
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
    /// Video on, up to 1024 clients, for which any machine has the descriptors; one mount without
    /// MOUNT_CHECK at `<scratch>/mount`, port 0, polls answered immediately.
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
            // Agent 104 has no password.
            expected: vec!["no password is asked of these agents".to_owned()],
            environment: Vec::new(),
            wrapper: Vec::new(),
            deaf: false,
            stalled: None,
        }
    }

    /// Sets a key, replacing its value.
    pub fn set(mut self, key: &str, value: &str) -> Setup {
        self = self.unset(key);
        self.settings += &format!("{key} = {value}\n");
        self
    }

    /// Removes a key.
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

    /// Allows warnings and errors that contain this text.
    pub fn expect_log(mut self, part: &str) -> Setup {
        self.expected.push(part.to_owned());
        self
    }

    /// Sets a variable in the server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the binary through another program, such as `prlimit`.
    pub fn through(mut self, words: &[&str]) -> Setup {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Closes the reading end of the log once the server listens.
    pub fn deaf(mut self) -> Setup {
        self.deaf = true;
        self
    }

    /// Stops reading the log once the server listens, until the sender is dropped.
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

    /// Writes a recording into the mount.
    pub fn write_recording(&self, path: &str, content: impl AsRef<[u8]>) {
        self.scratch.file(&format!("mount/{path}"), content);
    }

    /// The directory of the server's files.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// The output of `cc-gateway check`, which must succeed.
    pub fn check(&self) -> String {
        self.check_through(&[])
    }

    /// Like [`check`](Self::check), started through another program.
    pub fn check_through(&self, wrapper: &[&str]) -> String {
        self.write_files();
        let mut command = command_through(wrapper, env!("CARGO_BIN_EXE_cc-gateway"));
        let settings = self.directory().join("basic.properties");
        stdout_of(command.args(["check", "--config"]).arg(settings))
    }

    /// Writes the configuration, as [`Setup::start`] does first.
    pub fn write_files(&self) {
        let agents = self.agents.replace("SECRET", SECRET);
        self.scratch.file("agents.properties", agents);
        self.scratch.file("basic.properties", &self.settings);
        if !self.scratch.path().join("certificate.pem").exists() {
            make_certificate(self.scratch.path());
        }
    }

    /// Writes the configuration only, for a service inside the test process.
    pub(super) fn into_files(self) -> Scratch {
        self.write_files();
        self.scratch
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        self.write_files();
        let config = self.scratch.path().join("basic.properties");
        let mut child = command_through(&self.wrapper, env!("CARGO_BIN_EXE_cc-gateway"))
            .arg("--config")
            .arg(&config)
            // Removes the private directory that a killed server leaves behind.
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
                    // Closed before any client can make the server write.
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

/// The hash of `secret` with the salt and iterations above.
const SECRET: &str = "4efb2bbb6d2eb58ea8deaed54417ae2fd87fd50a8a8568709363da60d4560606";

/// Makes a certificate with the program itself, as an operator would.
fn make_certificate(directory: &Path) {
    let words = "certificate --name localhost --name 127.0.0.1 --out";
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    stdout_of(command.args(words.split(' ')).arg(directory));
}

/// The command that runs `program`, through the words of another one if there are any.
fn command_through(wrapper: &[impl AsRef<OsStr>], program: &str) -> Command {
    let mut words = wrapper.iter().map(AsRef::as_ref).chain([program.as_ref()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// The output of a command, which must succeed.
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
    /// Reads the log to its end.
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

    /// The directory of the server's files: `mount`, `basic.properties`, `agents.properties`,
    /// `certificate.pem`, `private-key.pem`.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.address, &self.scratch.path().join("certificate.pem"))
    }

    /// Asserts that a valid request on a new connection is answered.
    pub fn serves(&self) {
        assert_eq!(
            self.client().get("/health", None).outcome(),
            (200, "0".into())
        );
    }

    /// Signs in with the password `secret`, consumes the sign-in events, and returns the Guid.
    pub fn sign_in(&self, agent: u32) -> String {
        let guid = self.sign_in_only(agent);
        self.client().take_sign_in_events(agent, &guid);
        guid
    }

    /// Like [`sign_in`](Self::sign_in), but leaves the events, for tests in which the next poll
    /// renews the Guid.
    pub fn sign_in_only(&self, agent: u32) -> String {
        let reply = self
            .client()
            .put(&format!("/onlineagent/{agent}"), None, SIGN_IN);
        reply.new_guid()
    }

    /// Signs in with `forcelogin`.
    pub fn sign_in_again(&self, agent: u32) -> String {
        let path = format!("/onlineagent/{agent}/forcelogin");
        self.client().put(&path, None, SIGN_IN).new_guid()
    }

    /// Downloads a recording on a new connection.
    pub fn download(&self, agent: u32, guid: &str, record_id: &str) -> Reply {
        self.client().download(agent, Some(guid), record_id)
    }

    /// Sends a signal, named without SIG.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to exit and its log to end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.wait_unread();
        self.reader.take().unwrap().join().unwrap();
        status
    }

    /// Waits for the process to exit, without reading its log.
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

    /// Waits for a log line with this text and returns it.
    pub fn log_line(&self, part: &str) -> String {
        let mut found = None;
        eventually(&format!("a log line with {part}"), || {
            found = self.log().into_iter().find(|line| line.contains(part));
            found.is_some()
        });
        found.unwrap()
    }

    /// Number of threads, except those of mounts, which come and go.
    pub fn threads(&self) -> usize {
        self.thread_names()
            .iter()
            .filter(|name| !name.starts_with("mount"))
            .count()
    }

    /// Number of all threads.
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

    /// Number of open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// The next descriptor number; as a limit it keeps the process from opening more.
    pub fn next_descriptor(&self) -> usize {
        let open = Path::new("/proc").join(self.pid().to_string()).join("fd");
        (0..)
            .find(|number: &usize| open.join(number.to_string()).symlink_metadata().is_err())
            .unwrap()
    }

    /// Sets a soft resource limit of the process, named as in prlimit(1), and returns the previous
    /// one.
    pub fn limit(&self, resource: &str, soft: &str) -> String {
        let prlimit = |arguments: &[&str]| {
            // As the server's own user, who is always allowed to.
            let mut command = command_through(&self.wrapper, "prlimit");
            command.args(["--pid", &self.pid().to_string()]);
            stdout_of(command.args(arguments)).trim().to_owned()
        };
        let before = prlimit(&[&format!("--{resource}"), "--noheadings", "--output=SOFT"]);
        prlimit(&[&format!("--{resource}={soft}:")]);
        before
    }

    /// Number of log lines with this text.
    pub fn told(&self, part: &str) -> usize {
        self.log().iter().filter(|line| line.contains(part)).count()
    }

    /// Resident memory in KiB.
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
        // Any warning or error that the test did not announce is a defect.
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
