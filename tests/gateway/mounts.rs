//! Which directory serves which node and drive, and MOUNT_CHECK, which requires it to be a mount
//! point.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::support::{Fuse, Scratch, Setup, Tree, eventually};

const PATH: &str = "1/0/20201202/503/a.mp4";

/// Three directories with different content under the same path.
fn places() -> Scratch {
    let places = Scratch::new();
    for name in ["one", "two", "three"] {
        places.file(&format!("{name}/{PATH}"), name);
    }
    places
}

#[test]
fn each_drive_has_its_directory() {
    let places = places();
    let directory = |name: &str| places.path().join(name).display().to_string();
    let setup = Setup::new()
        .set("MAPPINGDISK", "x")
        .set("MOUNT_DIR", &directory("one"))
        .set("MOUNT_DIR.z", &directory("two"))
        .set("MOUNT_DIR.Y", &directory("three"));
    let server = setup.start();
    let agent = server.agent(503);
    for (drive, name) in [
        ("X", "one"),
        ("x", "one"),
        ("Z", "two"),
        ("z", "two"),
        ("y", "three"),
    ] {
        assert_eq!(
            agent.ask(&format!("recordId={drive}:/{PATH}"), "").body,
            name.as_bytes(),
            "{drive}"
        );
    }
    assert_eq!(agent.code(&format!("recordId=W:/{PATH}")), "108-011");
    assert_eq!(
        agent.ask("", "").body,
        b"one",
        "without a recordId, the drive of MAPPINGDISK is used"
    );
    assert_eq!(
        server
            .metrics()
            .samples
            .keys()
            .filter(|key| key.contains("_mount_up{"))
            .count(),
        3
    );
}

#[test]
fn in_a_pool_node_and_drive_together_select_the_directory() {
    let places = places();
    let directory = |name: &str| places.path().join(name).display().to_string();
    let setup = Setup::new()
        .unset("MOUNT_DIR")
        .set("CTI_POOL_MODE", "ON")
        .set("MOUNT_DIR.256", &directory("one"))
        .set("MOUNT_DIR.256.Z", &directory("two"))
        .set("MOUNT_DIR.65535.Y", &directory("three"));
    let server = setup.start();
    let agent = server.agent(503);
    for (node, drive, name) in [
        ("256", "Y", "one"),
        ("256", "Z", "two"),
        ("65535", "y", "three"),
    ] {
        let query = format!("locationId={node}&recordId={drive}:/{PATH}");
        assert_eq!(agent.ask(&query, "").body, name.as_bytes(), "{query}");
    }
    assert_eq!(
        agent.code(&format!("locationId=65535&recordId=Z:/{PATH}")),
        "108-011"
    );
    assert_eq!(agent.ask("locationId=65535", "").body, b"three");
}

#[test]
fn one_lost_mount_costs_only_its_own_recordings() {
    let places = places();
    let setup = Setup::new()
        .set("MOUNT_DIR", places.path().join("one").to_str().unwrap())
        .set("MOUNT_DIR.Z", "/nowhere/at/all")
        .expect_log("mount /nowhere/at/all is lost");
    let server = setup.start();
    let agent = server.agent(503);
    assert_eq!(agent.ask(&format!("recordId=Y:/{PATH}"), "").body, b"one");
    assert_eq!(agent.code(&format!("recordId=Z:/{PATH}")), "108-012");
    eventually("503 from /health", || {
        server.client().get("/health", None).status == 503
    });
    server.metric_becomes("mount_up{directory=\"/nowhere/at/all\"}", 0);
    server.metric_becomes(
        &format!(
            "mount_up{{directory=\"{}\"}}",
            places.path().join("one").display()
        ),
        1,
    );
}

#[test]
fn check_tells_which_directory_serves_which_node_and_drive_and_whether_it_is_mounted() {
    let places = places();
    let setup = Setup::new()
        .set("MOUNT_DIR", "/proc")
        .set("MOUNT_DIR.Z", places.path().join("one").to_str().unwrap())
        .set("MOUNT_DIR.C", "/nowhere/at/all");
    let report = setup.check();
    let one = places.path().join("one").display().to_string();
    let lines: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with("mount "))
        .collect();
    let there =
        format!("mount MOUNT_DIR.Z: {one} is there, nothing is mounted on it (MOUNT_CHECK is OFF)");
    let gone =
        "mount MOUNT_DIR.C: /nowhere/at/all is NOT there: No such file or directory (ENOENT)";
    assert_eq!(lines, [gone, "mount MOUNT_DIR.Y: /proc is mounted", &there]);
    let pool = setup
        .set("CTI_POOL_MODE", "ON")
        .set("MOUNT_CHECK", "ON")
        .set("MOUNT_DIR.256.Z", &one);
    let report = pool.set("MOUNT_DIR.255", "/proc").check();
    let lines: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with("mount "))
        .collect();
    let gone = format!(
        "mount MOUNT_DIR.256.Z: {one} is NOT there: nothing is mounted there (MOUNT_CHECK is ON)"
    );
    assert_eq!(lines, ["mount MOUNT_DIR.255.Y: /proc is mounted", &gone]);
}

#[test]
fn with_mount_check_a_directory_counts_only_while_something_is_mounted_on_it() {
    let place = Scratch::new();
    let directory = place.path().join("files");
    place.file(
        &format!("files/{PATH}"),
        "what was left behind below the mount",
    );
    let mount = || -> Option<Fuse> { Tree::new().file(PATH, "video").mount(&directory) };
    let Some(fuse) = mount() else { return };
    let setup = Setup::new()
        .set("MOUNT_CHECK", "ON")
        .set("MOUNT_DIR", directory.to_str().unwrap());
    let server = setup
        .expect_log("is lost: nothing is mounted there (MOUNT_CHECK is ON)")
        .start();
    let (agent, query) = (server.agent(503), format!("recordId=Y:/{PATH}"));
    assert_eq!(agent.ask(&query, "").body, b"video");
    assert_eq!(server.client().get("/health", None).status, 200);
    drop(fuse);
    assert_eq!(
        agent.code(&query),
        "108-012",
        "files below the mount point must not be served"
    );
    assert_eq!(agent.code(""), "108-012");
    server.log_line("is lost: nothing is mounted there");
    assert_eq!(server.client().get("/health", None).status, 503);
    let _fuse = mount().unwrap();
    assert_eq!(agent.ask(&query, "").body, b"video");
    server.log_line("is back");
}

#[test]
fn a_folder_of_a_mount_is_told_from_one_on_which_nothing_is_mounted() {
    let place = Scratch::new();
    let above = place.path().join("file server");
    let Some(_fuse) = Tree::new()
        .file(&format!("video/{PATH}"), "video")
        .mount(&above)
    else {
        return;
    };
    let directory = above.join("video");
    let setup = Setup::new()
        .set("MOUNT_CHECK", "ON")
        .set("MOUNT_DIR", directory.to_str().unwrap());
    let reason = format!(
        "nothing is mounted there (MOUNT_CHECK is ON); it is a folder of what is mounted on {}: if that is the file \
         server, set MOUNT_CHECK to OFF",
        above.canonicalize().unwrap().display()
    );
    assert!(
        setup
            .check()
            .contains(&format!("{} is NOT there: {reason}", directory.display()))
    );
    let server = setup.expect_log("is lost: ").start();
    server.log_line(&format!("mount {} is lost: {reason}", directory.display()));
    assert_eq!(
        server.agent(503).code(&format!("recordId=Y:/{PATH}")),
        "108-012"
    );
    drop(server);
    let setup = Setup::new()
        .set("MOUNT_CHECK", "OFF")
        .set("MOUNT_DIR", directory.to_str().unwrap());
    assert_eq!(
        setup
            .start()
            .agent(503)
            .ask(&format!("recordId=Y:/{PATH}"), "")
            .body,
        b"video"
    );
}

/// Runs a program as the user nobody, because root may enter every directory.
const AS_NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// Makes the user nobody the owner of the server's files; `None` if no program can be run as that
/// user.
fn for_nobody(setup: &Setup) -> Option<()> {
    setup.write_files();
    let words = [
        &AS_NOBODY[1..],
        &[env!("CARGO_BIN_EXE_cc-gateway"), "--version"],
    ]
    .concat();
    if !Command::new(AS_NOBODY[0])
        .args(words)
        .output()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("skipped: no program can be run as the user nobody (needs root and setpriv)");
        return None;
    }
    for name in [
        ".",
        "basic.properties",
        "agents.properties",
        "certificate.pem",
        "private-key.pem",
    ] {
        chown(setup.directory().join(name), Some(65534), Some(65534)).unwrap();
    }
    Some(())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_mount_that_may_not_be_entered_is_lost_with_the_reason_and_so_is_each_recording_on_it() {
    let setup = Setup::new()
        .recording(PATH, "video")
        .recording("1/0/20201202/102/a.mp4", "video");
    let Some(()) = for_nobody(&setup) else { return };
    let mount = setup.directory().join("mount");
    // Root squash, Kerberos without a ticket and plain modes all look like this.
    set_mode(&mount, 0o700);
    let reason = "Permission denied (EACCES): the user of this process may not enter it";
    let report = setup.check_through(&AS_NOBODY);
    assert!(
        report.contains(&format!(
            "mount MOUNT_DIR.Y: {} is NOT there: {reason}",
            mount.display()
        )),
        "{report}"
    );
    let server = setup.through(&AS_NOBODY).expect_log("is lost: ").start();
    server.log_line(&format!("mount {} is lost: {reason}", mount.display()));
    assert_eq!(
        server.client().get("/health", None).outcome(),
        (503, "108-012".into())
    );
    server.metric_becomes(&format!("mount_up{{directory=\"{}\"}}", mount.display()), 0);
    let agent = server.agent(503);
    let (own, others) = (
        format!("recordId=Y:/{PATH}"),
        "recordId=Y:/1/0/20201202/102/a.mp4",
    );
    let missing = "recordId=Y:/1/0/20201202/503/missing.mp4";
    for query in [&own, others, missing, ""] {
        assert_eq!(agent.code(query), "108-012", "{query}");
    }
    set_mode(&mount, 0o755);
    server.log_line(" is back");
    let codes = || [&own, others, missing].map(|query| agent.code(query));
    assert_eq!(codes(), ["0", "104-002", "108-009"]);
    assert_eq!(agent.ask("", "").body, b"video");
    // A withdrawn export refuses everything below it. From the first request on, that counts as a
    // failure of the mount, not of the recording.
    set_mode(&mount, 0o700);
    assert_eq!(codes(), ["108-012"; 3]);
    eventually("503 from /health", || {
        server.client().get("/health", None).status == 503
    });
    assert_eq!(codes(), ["108-012"; 3]);
}

#[test]
fn a_folder_that_may_not_be_entered_costs_its_own_recordings_and_is_told() {
    let setup = Setup::new()
        .recording(PATH, "video")
        .recording("2/0/20201203/503/a.mp4", "video");
    let Some(()) = for_nobody(&setup) else { return };
    set_mode(&setup.directory().join("mount/2"), 0o700);
    let server = setup
        .through(&AS_NOBODY)
        .expect_log("cannot be opened: ")
        .start();
    let agent = server.agent(503);
    for _ in 0..20 {
        assert_eq!(agent.code("recordId=Y:/2/0/20201203/503/a.mp4"), "108-013");
        assert_eq!(
            agent.ask("", "").body,
            b"video",
            "the search must skip the folder"
        );
    }
    let line = server.log_line("cannot be opened: Permission denied (EACCES)");
    assert!(line.contains("\"2/0/20201203/503/a.mp4\""), "{line}");
    assert!(server.told("cannot be opened: ") < 10);
    assert_eq!(server.client().get("/health", None).status, 200);
}
