//! What `check`, `/health`, the log and a download report for each kind of mount directory.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::support::{Autofs, Fuse, Opcode, Scratch, Setup, Tree, eventually};

const PATH: &str = "1/0/20201202/503/a.mp4";

/// A mount made for one test, unmounted on drop.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A mount directory, and the expected reports about it.
struct Kind {
    what: &'static str,
    directory: PathBuf,
    /// MOUNT_CHECK.
    is_checked: bool,
    /// The reported reason, if the mount is lost.
    lost: Option<String>,
    /// The code of a download.
    code: &'static str,
}

fn kind(
    what: &'static str,
    directory: PathBuf,
    is_checked: bool,
    lost: Option<&str>,
    code: &'static str,
) -> Kind {
    Kind {
        what,
        directory,
        is_checked,
        lost: lost.map(str::to_owned),
        code,
    }
}

const NOT_MOUNTED: &str = "nothing is mounted there (MOUNT_CHECK is ON)";

/// The kinds that need no mount.
fn plain(place: &Scratch) -> Vec<Kind> {
    let at = |name: &str| place.path().join(name);
    place.file(&format!("plain/{PATH}"), "video");
    place.file("file", "video");
    for (link, target) in [("link", "plain"), ("dangling", "nowhere"), ("loop", "loop")] {
        std::os::unix::fs::symlink(target, at(link)).unwrap();
    }
    let long = at(&"x".repeat(256));
    vec![
        kind("a folder, unchecked", at("plain"), false, None, "0"),
        kind(
            "a folder, checked",
            at("plain"),
            true,
            Some(NOT_MOUNTED),
            "108-012",
        ),
        kind(
            "nothing",
            at("nowhere"),
            false,
            Some("No such file or directory (ENOENT)"),
            "108-012",
        ),
        kind(
            "a file",
            at("file"),
            false,
            Some("Not a directory (ENOTDIR)"),
            "108-012",
        ),
        kind(
            "below a file",
            at("file/x"),
            true,
            Some("Not a directory (ENOTDIR)"),
            "108-012",
        ),
        kind("a link to a folder", at("link"), false, None, "0"),
        kind(
            "a link to nothing",
            at("dangling"),
            false,
            Some("No such file or directory (ENOENT)"),
            "108-012",
        ),
        kind(
            "a link to itself",
            at("loop"),
            false,
            Some("Too many levels of symbolic links (ELOOP)"),
            "108-012",
        ),
        kind(
            "a name too long",
            long,
            false,
            Some("File name too long (ENAMETOOLONG)"),
            "108-012",
        ),
        kind("the root of the machine", "/".into(), true, None, "108-009"),
        kind(
            "a file system without recordings",
            "/proc".into(),
            true,
            None,
            "108-009",
        ),
    ]
}

/// The kinds that need a mount, and so root; empty, with a message on stderr, where mount(2) fails.
fn mounted(place: &Scratch) -> (Vec<Kind>, Vec<Mounted>) {
    let at = |name: &str| place.path().canonicalize().unwrap().join(name);
    let folder = |name: &str| {
        std::fs::create_dir_all(at(name)).unwrap();
        at(name)
    };
    if let Err(error) = mount(
        "cc-gateway-test",
        folder("memory"),
        "tmpfs",
        MountFlags::empty(),
        c"size=1m",
    ) {
        eprintln!("skipped: nothing can be mounted here: {error}");
        return (Vec::new(), Vec::new());
    }
    let mut guards = vec![Mounted(at("memory"))];
    place.file(&format!("memory/{PATH}"), "video");
    mount_bind(at("plain"), folder("bound")).unwrap();
    guards.push(Mounted(at("bound")));
    mount_bind(at("plain/1/0"), folder("part")).unwrap();
    guards.push(Mounted(at("part")));
    std::os::unix::fs::symlink("memory", at("link to a mount")).unwrap();
    let below = |above: &str| {
        let above = at(above);
        let above = above.display();
        format!(
            "{NOT_MOUNTED}; it is a folder of what is mounted on {above}: if that is the file server, set MOUNT_CHECK"
        )
    };
    let kinds = vec![
        kind("tmpfs", at("memory"), true, None, "0"),
        kind(
            "a bind mount of the same file system",
            at("bound"),
            true,
            None,
            "0",
        ),
        kind("a bind mount of a part", at("part"), true, None, "108-009"),
        kind("a link to a mount", at("link to a mount"), true, None, "0"),
        kind(
            "below tmpfs, checked",
            at("memory/1"),
            true,
            Some(&below("memory")),
            "108-012",
        ),
        kind(
            "below tmpfs, unchecked",
            at("memory/1"),
            false,
            None,
            "108-009",
        ),
        kind(
            "below a bind mount",
            at("bound/1"),
            true,
            Some(&below("bound")),
            "108-012",
        ),
    ];
    (kinds, guards)
}

/// File servers that fail attribute requests for the mount directory and lookups in it.
fn failing(place: &Scratch) -> (Vec<Kind>, Vec<Fuse>) {
    let (mut kinds, mut guards) = (Vec::new(), Vec::new());
    for (what, errno, reason) in [
        ("a stale handle", Errno::STALE, "Stale file handle (ESTALE)"),
        ("an input error", Errno::IO, "Input/output error (EIO)"),
        (
            "an export withdrawn",
            Errno::ACCESS,
            "Permission denied (EACCES): the user of this process may not enter it",
        ),
        (
            "a missing key",
            Errno::NOKEY,
            "Required key not available (ENOKEY)",
        ),
        (
            "a server that is down",
            Errno::HOSTDOWN,
            "Host is down (EHOSTDOWN)",
        ),
    ] {
        let directory = place.path().join(what);
        let tree = Tree::new().file(PATH, "video");
        let tree =
            tree.failing("", Opcode::Attributes, 0, errno)
                .failing("1", Opcode::Lookup, 0, errno);
        let Some(fuse) = tree.mount(&directory) else {
            break;
        };
        guards.push(fuse);
        kinds.push(kind(what, directory, false, Some(reason), "108-012"));
    }
    (kinds, guards)
}

impl Kind {
    fn setup(&self) -> Setup {
        let setup = Setup::new().set("MOUNT_DIR", self.directory.to_str().unwrap());
        setup
            .set("MOUNT_CHECK", if self.is_checked { "ON" } else { "OFF" })
            .expect_log(" is lost: ")
    }

    fn assert_told(&self) {
        let (what, directory) = (self.what, self.directory.display());
        let setup = self.setup();
        let report = setup.check();
        let line = report
            .lines()
            .find(|line| line.starts_with("mount MOUNT_DIR.Y: "))
            .unwrap();
        match &self.lost {
            Some(reason) => assert!(
                line.contains(&format!("{directory} is NOT there: {reason}")),
                "{what}: {line}"
            ),
            None => assert!(!line.contains("is NOT there"), "{what}: {line}"),
        }
        let server = setup.start();
        let health = if self.lost.is_some() {
            (503, "108-012".to_owned())
        } else {
            (200, "0".to_owned())
        };
        let up = format!("cc_gateway_mount_up{{directory=\"{directory}\"}}");
        eventually(what, || {
            server.client().get("/health", None).outcome() == health
                && (self.lost.is_some() || server.metric(&up) == 1)
        });
        if let Some(reason) = &self.lost {
            let line = server.log_line(&format!("mount {directory} is lost: "));
            assert!(line.contains(reason), "{what}: {line}");
            assert_eq!(server.metric(&up), 0, "{what}");
        }
        assert_eq!(
            server.agent(503).code(&format!("recordId=Y:/{PATH}")),
            self.code,
            "{what}"
        );
    }
}

#[test]
fn each_kind_of_directory_is_told_for_what_it_is() {
    let place = Scratch::new();
    let plain = plain(&place);
    let (mounted, mounts) = mounted(&place);
    let (failing, servers) = failing(&place);
    plain
        .iter()
        .chain(&mounted)
        .chain(&failing)
        .for_each(Kind::assert_told);
    drop((mounts, servers));
}

#[test]
fn a_directory_mounted_on_demand_is_told_for_what_it_is() {
    let place = Scratch::new();
    place.file(&format!("source/{PATH}"), "video");
    let source = place.path().join("source");
    let at =
        |name: &str| -> PathBuf { Path::new(&place.path().canonicalize().unwrap()).join(name) };
    let Some(working) = Autofs::start(&at("works"), &source) else {
        return;
    };
    kind("an automount", at("works"), true, None, "0").assert_told();
    drop(working);
    let Some(failing) = Autofs::start(&at("fails"), &source) else {
        return;
    };
    failing.serve(false);
    let reason = Some("No such file or directory (ENOENT)");
    kind(
        "an automount that fails",
        at("fails"),
        true,
        reason,
        "108-012",
    )
    .assert_told();
}
