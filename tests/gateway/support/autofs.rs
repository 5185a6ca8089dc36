//! A directory that an automount daemon (`autofs.py` in this folder) mounts on demand.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::mount::{UnmountFlags, unmount};

use super::server::eventually;

/// The daemon and its directory, unmounted on drop.
pub struct Autofs {
    directory: PathBuf,
    daemon: Child,
    commands: Option<ChildStdin>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Autofs {
    /// Mounts `source` on `directory` on each access; `None`, with a message on stderr, if this
    /// machine does not allow that.
    pub fn start(directory: &Path, source: &Path) -> Option<Autofs> {
        std::fs::create_dir_all(directory).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/support/autofs.py");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .args([directory, source])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let Ok(mut daemon) = command.stderr(Stdio::null()).spawn() else {
            eprintln!("skipped: python3 is not installed");
            return None;
        };
        let mut lines = BufReader::new(daemon.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let commands = daemon.stdin.take();
        if lines.next().as_deref() != Some("ready") {
            eprintln!(
                "skipped: nothing can be mounted on demand here (root and autofs are needed)"
            );
            let _ = daemon.wait();
            return None;
        }
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || lines.for_each(|line| heard.lock().unwrap().push(line)));
        Some(Autofs {
            directory: directory.to_owned(),
            daemon,
            commands,
            said,
        })
    }

    /// From now on mount requests succeed or fail.
    pub fn serve(&self, serving: bool) {
        self.command(if serving { "serve" } else { "fail" });
        self.await_echo();
    }

    /// The number of mount requests so far.
    pub fn asked(&self) -> usize {
        // A mount may be used before the daemon's message has arrived.
        self.await_echo();
        self.count("asked")
    }

    /// Waits until the daemon has processed all commands and its messages have arrived.
    fn await_echo(&self) {
        let echoes = self.count("echo");
        self.command("echo");
        eventually("an echo", || self.count("echo") > echoes);
    }

    /// Waits until the unused directory is unmounted.
    pub fn expire(&self) {
        let before = self.count("expired");
        eventually("the directory to idle", || {
            let answers = |autofs: &Autofs| autofs.count("expired") + autofs.count("busy");
            let told = answers(self);
            self.command("expire");
            eventually("an answer", || answers(self) > told);
            self.count("expired") > before
        });
    }

    fn count(&self, word: &str) -> usize {
        self.said
            .lock()
            .unwrap()
            .iter()
            .filter(|said| *said == word)
            .count()
    }

    fn command(&self, word: &str) {
        writeln!(self.commands.as_ref().unwrap(), "{word}").unwrap();
    }
}

impl Drop for Autofs {
    fn drop(&mut self) {
        // Without its daemon an automount fails at once.
        self.commands = None;
        let _ = self.daemon.wait();
        while unmount(&self.directory, UnmountFlags::DETACH).is_ok() {}
    }
}
