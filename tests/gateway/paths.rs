//! What a recordId may contain, and that no recordId opens anything outside the mount.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use rustix::io::Errno;

use crate::support::{Scratch, Server, Setup, eventually};

/// Content of the file outside the mount; no reply may contain it.
const SECRET: &[u8] = b"what nobody may read";

/// A directory outside the mount, watched with inotify for anything that is opened in it.
struct Canary {
    outside: Scratch,
    watch: OwnedFd,
}

impl Canary {
    fn new() -> Canary {
        let outside = Scratch::new();
        outside.file("secret.mp4", SECRET);
        outside.file("0/20201202/503/secret.mp4", SECRET);
        mkfifoat(CWD, outside.path().join("fifo.mp4"), Mode::RWXU).unwrap();
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        for folder in ["", "0", "0/20201202", "0/20201202/503"] {
            let events = WatchFlags::OPEN | WatchFlags::ACCESS;
            inotify::add_watch(&watch, outside.path().join(folder), events).unwrap();
        }
        Canary { outside, watch }
    }

    fn path(&self) -> &Path {
        self.outside.path()
    }

    /// The names that were opened or read since the last call.
    fn accessed(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.watch, &mut buffer);
        let mut names = Vec::new();
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map_or("", |name| name.to_str().unwrap());
                    names.push(format!(
                        "{name} {:?}",
                        event.events() & (ReadFlags::OPEN | ReadFlags::ACCESS)
                    ));
                }
                Err(Errno::AGAIN) => return names,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Adds links of every kind that lead out of the mount, or back into it.
    fn add_links(&self, mount: &Path) {
        let day = mount.join("1/0/20201202/503");
        std::fs::create_dir_all(&day).unwrap();
        std::fs::create_dir_all(mount.join("1/0/20201203")).unwrap();
        std::fs::create_dir_all(mount.join("1/0/20201204/503")).unwrap();
        for (link, target) in [
            ("1/0/20201202/503/link.mp4", self.path().join("secret.mp4")),
            (
                "1/0/20201202/503/fifo-link.mp4",
                self.path().join("fifo.mp4"),
            ),
            (
                "1/0/20201202/503/relative.mp4",
                Path::new("../../../../../secret.mp4").to_owned(),
            ),
            (
                "1/0/20201202/503/inside.mp4",
                Path::new("good.mp4").to_owned(),
            ),
            (
                "1/0/20201202/503/self.mp4",
                Path::new("self.mp4").to_owned(),
            ),
            (
                "1/0/20201202/503/dangling.mp4",
                Path::new("nothing").to_owned(),
            ),
            ("1/0/20201203/503", self.path().to_owned()),
            (
                "1/0/20201204/503/secret.mp4",
                self.path().join("secret.mp4"),
            ),
            ("1/0/20301231", self.path().join("0/20201202")),
            ("1/out", self.path().to_owned()),
            ("2", self.path().to_owned()),
            ("3", Path::new("1").to_owned()),
            ("root", Path::new("/").to_owned()),
            ("up", Path::new("..").to_owned()),
            ("proc", Path::new("/proc/self/root").to_owned()),
        ] {
            symlink(target, mount.join(link)).unwrap();
        }
    }
}

fn setup(canary: &Canary) -> Setup {
    // With this scope every agent may have every recording, so that only the path decides.
    let setup = Setup::new()
        .set("DOWNLOAD_SCOPE", "ALL")
        .recording("1/0/20201202/503/good.mp4", "video");
    let setup = setup
        .expect_log("is a symbolic link")
        .expect_log("is not a regular file");
    canary.add_links(&setup.directory().join("mount"));
    setup
        .recording("1/0/20201202/503/no-bytes.mp4", "")
        .recording("1/0/20201202/503/folder.mp4/a.mp4", "video")
}

/// recordIds that try to lead out of the mount, and some valid ones, each with its code. `OUT`
/// stands for the directory outside.
const ATTEMPTS: &[(&str, &str)] = &[
    // Steps upwards: plain, encoded once, encoded twice, overlong, fullwidth, with other characters
    // appended.
    ("Y:/../OUT/secret.mp4", "104-003"),
    ("Y:/1/0/20201202/503/../503/good.mp4", "104-003"),
    ("Y:/1/./0/20201202/503/good.mp4", "104-003"),
    ("Y:%2F..%2F..%2F..OUTsecret.mp4", "104-003"),
    ("Y:/%2e%2e/%2e%2e/%2e%2eOUT/secret.mp4", "104-003"),
    ("Y:/1/..%2f..%2f..OUT/secret.mp4", "104-003"),
    ("Y:/%252e%252e/secret.mp4", "108-009"),
    ("Y:/1/%252e%252e%252fsecret.mp4", "108-009"),
    ("Y:/%c0%ae%c0%ae/secret.mp4", "104-003"),
    ("Y:/%ef%bc%8e%ef%bc%8e/secret.mp4", "108-009"),
    ("Y:/.../secret.mp4", "104-003"),
    ("Y:/..;/secret.mp4", "108-009"),
    ("Y:/..%20/secret.mp4", "108-009"),
    ("Y:/%2e%2e%00/secret.mp4", "104-003"),
    // Backslashes count as slashes.
    ("Y:\\..\\..\\..OUT\\secret.mp4", "104-003"),
    ("Y:%5C..%5Csecret.mp4", "104-003"),
    ("Y:%255C..%255Csecret.mp4", "104-003"),
    (
        "Y:/1%5C0%5C20201202%5C503%5C..%5C..%5Csecret.mp4",
        "104-003",
    ),
    ("Y:%5C%5Cserver%5Cshare%5Csecret.mp4", "104-003"),
    // NUL characters, a line end, and NTFS streams.
    ("Y:/1/0/20201202/503/link.mp4%00", "104-003"),
    ("Y:/1/0/20201202/503/link%00.mp4", "104-003"),
    ("Y:/1/0/20201202/503/link.mp4%2500", "104-003"),
    ("Y:/1/0/20201202/503/link.mp4%0a", "104-003"),
    ("Y:/1/0/20201202/503/good.txt:good.mp4", "104-003"),
    ("Y:/1/0/20201202/503/good.mp4::$DATA", "104-003"),
    // Absolute paths, URLs and other forms.
    ("OUT/secret.mp4", "104-003"),
    ("Y:OUT/secret.mp4", "108-009"),
    ("Y:/OUT/secret.mp4", "104-003"),
    ("file://OUT/secret.mp4", "104-003"),
    ("YY:OUT/secret.mp4", "104-003"),
    ("conferenceId=1;recordId0=2;", "104-003"),
    // Symbolic links.
    ("Y:/1/0/20201202/503/link.mp4", "108-009"),
    ("Y:/1/0/20201202/503/fifo-link.mp4", "108-009"),
    ("Y:/1/0/20201202/503/relative.mp4", "108-009"),
    ("Y:/1/0/20201202/503/inside.mp4", "108-009"),
    ("Y:/1/0/20201202/503/self.mp4", "108-009"),
    ("Y:/1/0/20201202/503/dangling.mp4", "108-009"),
    ("Y:/1/0/20201203/503/secret.mp4", "108-009"),
    ("Y:/1/out/secret.mp4", "108-009"),
    ("Y:/1/out/0/20201202/503/secret.mp4", "108-009"),
    ("Y:/2/secret.mp4", "108-009"),
    ("Y:/3/0/20201202/503/good.mp4", "108-009"),
    ("Y:/rootOUT/secret.mp4", "108-009"),
    ("Y:/up/mount/1/0/20201202/503/good.mp4", "108-009"),
    ("Y:/procOUT/secret.mp4", "108-009"),
    // A folder, a file used as a folder, a trailing slash, and an empty file.
    ("Y:/1/0/20201202/503/folder.mp4", "108-013"),
    ("Y:/1/0/20201202/503/good.mp4/good.mp4", "108-009"),
    ("Y:/1/0/20201202/503/good.mp4/", "104-003"),
    ("Y:/1/0/20201202/503/no-bytes.mp4", "108-013"),
    // The valid recordId in several spellings.
    ("Y:/1/0/20201202/503/good.mp4", "0"),
    ("y:\\1\\0\\20201202\\503\\good.mp4", "0"),
    ("Y%3A%2F1%2F0%2F20201202%2F503%2Fgood.mp4", "0"),
    ("%59:/1/0/%32%30201202/503/g%6fod.mp4", "0"),
];

fn attempt_all(server: &Server, canary: &Canary) {
    let agent = server.agent(503);
    let outside = canary.path().to_str().unwrap();
    for (id, code) in ATTEMPTS {
        let reply = agent.ask(&format!("recordId={}", id.replace("OUT", outside)), "");
        if *code == "0" {
            assert_eq!(reply.body, b"video", "{id}");
        } else {
            assert_eq!(reply.outcome(), (200, (*code).to_owned()), "{id}");
        }
    }
    // A download without recordId skips the links as well.
    assert_eq!(agent.ask("", "").body, b"video");
}

#[test]
fn no_record_id_opens_anything_outside_the_mount() {
    let canary = Canary::new();
    let server = setup(&canary).start();
    attempt_all(&server, &canary);
    assert_eq!(canary.accessed(), [""; 0]);
    // The log says why, once for each reason.
    let mount = server.scratch().path().join("mount");
    let line = server.log_line("is a symbolic link");
    assert!(
        line.contains(&format!(
            "mount {}: \"1/0/20201202/503/link.mp4\" is a",
            mount.display()
        )),
        "{line}"
    );
    assert_eq!(
        (
            server.told("is a symbolic link"),
            server.told("is not a regular file")
        ),
        (1, 1)
    );
    // Shows that the watch reports what is opened, without which the empty list above would prove
    // nothing.
    assert_eq!(
        std::fs::read(canary.path().join("secret.mp4")).unwrap(),
        SECRET
    );
    assert!(!canary.accessed().is_empty());
}

#[test]
fn no_system_call_ever_reaches_outside_the_mount() {
    if !Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: strace is not installed or may not trace");
        return;
    }
    let canary = Canary::new();
    let setup = setup(&canary);
    let kept = Scratch::new();
    let trace = kept.path().join("trace");
    let mount = setup.directory().join("mount").display().to_string();
    // With -y strace shows the path of every descriptor, including those opened with O_PATH.
    let calls = "trace=open,openat,openat2,readlink,readlinkat,stat,lstat,newfstatat,statx";
    // With -D the child is the server itself, and strace ends with it.
    let words = [
        "strace",
        "-D",
        "-f",
        "-q",
        "-y",
        "-e",
        calls,
        "-o",
        trace.to_str().unwrap(),
    ];
    let server = setup.through(&words).start();
    attempt_all(&server, &canary);
    drop(server);
    eventually("the end of the trace", || {
        std::fs::read_to_string(&trace)
            .unwrap()
            .contains("+++ killed by SIGKILL")
    });
    let trace = std::fs::read_to_string(trace).unwrap();
    let opened = |path: &str| {
        trace
            .lines()
            .filter(|line| line.contains(&format!("<{path}")))
            .count()
    };
    assert!(
        opened(&format!("{mount}/1/0/20201202/503/good.mp4>")) >= 5,
        "the trace must show what is opened"
    );
    assert_eq!(opened(canary.path().to_str().unwrap()), 0);
    let below = |line: &&str| line.contains("openat") && line.contains(&format!("<{mount}"));
    assert!(
        trace
            .lines()
            .filter(below)
            .filter(|line| !line.contains("AT_FDCWD"))
            .all(|line| {
                line.contains("O_NOFOLLOW")
                    || line.contains(", \".\", ")
                    || line.contains("resumed>")
            })
    );
}

#[test]
fn a_pipe_or_socket_is_refused_at_once_and_never_waited_for() {
    let setup = Setup::new()
        .recording("1/0/20201202/503/good.mp4", "video")
        .expect_log("is not a regular file");
    let folder = setup.directory().join("mount/1/0/20201202/503");
    mkfifoat(CWD, folder.join("fifo.mp4"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket.mp4")).unwrap();
    let server = setup.start();
    let agent = server.agent(503);
    for _ in 0..20 {
        assert_eq!(
            agent.code("recordId=Y:/1/0/20201202/503/fifo.mp4"),
            "108-013"
        );
        assert_eq!(
            agent.code("recordId=Y:/1/0/20201202/503/socket.mp4"),
            "108-013"
        );
    }
    let mount = server.scratch().path().join("mount");
    assert_eq!(
        server.metric(&format!(
            "cc_gateway_mount_hung_threads{{directory=\"{}\"}}",
            mount.display()
        )),
        0
    );
}

#[test]
fn a_folder_that_turns_into_a_link_and_back_never_leads_out() {
    let canary = Canary::new();
    let setup = Setup::new()
        .recording("1/0/20201202/503/secret.mp4", "video")
        .expect_log("is a symbolic link");
    let mount = setup.directory().join("mount");
    let (folder, link) = (
        mount.join("1/0/20201202/503"),
        mount.join("1/0/20201202/link"),
    );
    symlink(canary.path().join("0/20201202/503"), &link).unwrap();
    let server = setup.start();
    let agent = server.agent(503);
    let done = AtomicBool::new(false);
    let mut seen = [0; 2];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let mut client = server.client();
        // Until both states have been seen often; the limit ends the test if one of them never
        // occurs.
        for _ in 0..900 {
            let reply = client.download(503, Some(&agent.guid), "Y:/1/0/20201202/503/secret.mp4");
            match reply.field("ETag") {
                Some(_) => assert_eq!(reply.body, b"video"),
                None => assert_eq!(reply.code(), "108-009"),
            }
            seen[usize::from(reply.field("ETag").is_some())] += 1;
            if seen.iter().all(|&count| count >= 50) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    assert_eq!(canary.accessed(), [""; 0]);
}

#[test]
fn names_that_are_not_utf_8_are_passed_over_and_cannot_be_asked_for() {
    let setup = Setup::new().recording("1/0/20201202/503/b.mp4", "video");
    let folder = setup.directory().join("mount/1/0/20201202/503");
    std::fs::write(folder.join(OsStr::from_bytes(b"a\xff.mp4")), "other").unwrap();
    std::fs::write(folder.join("a\nb.mp4"), "other").unwrap();
    std::fs::write(folder.join("a:b.mp4"), "other").unwrap();
    let server = setup.start();
    let agent = server.agent(503);
    assert_eq!(agent.ask("", "").body, b"video");
    for name in ["a%ff.mp4", "a%0ab.mp4", "a:b.mp4"] {
        assert_eq!(
            agent.code(&format!("recordId=Y:/1/0/20201202/503/{name}")),
            "104-003",
            "{name}"
        );
    }
}

#[test]
fn a_record_id_has_at_most_129_characters() {
    let name = |length: usize| {
        format!(
            "{}.mp4",
            "é".repeat(length - "Y:/1/0/20201202/503/.mp4".len())
        )
    };
    let setup = Setup::new().recording(&format!("1/0/20201202/503/{}", name(129)), "video");
    let server = setup.start();
    let agent = server.agent(503);
    let id = |length: usize| {
        format!(
            "recordId=Y:/1/0/20201202/503/{}",
            name(length).replace('é', "%C3%A9")
        )
    };
    assert_eq!(agent.ask(&id(129), "").body, b"video");
    assert_eq!(agent.code(&id(130)), "104-003");
    assert_eq!(
        agent.code(&format!("recordId=Y:/{}a.mp4", "1/".repeat(16))),
        "104-003"
    );
}
