//! Which directory serves which node and drive, and the demand that something is mounted there.

use std::process::Command;

use crate::support::{Fuse, Scratch, Setup, Tree, eventually};

const PATH: &str = "1/0/20201202/503/a.mp4";

/// What `cc-gateway check` prints, which ends in success.
fn check(setup: &Setup) -> String {
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let output = Command::new(env!("CARGO_BIN_EXE_cc-gateway")).arg("check").arg("--config").arg(config).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Three directories that hold different bytes under one path.
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
    for (drive, name) in [("X", "one"), ("x", "one"), ("Z", "two"), ("z", "two"), ("y", "three")] {
        assert_eq!(agent.ask(&format!("recordId={drive}:/{PATH}"), "").body, name.as_bytes(), "{drive}");
    }
    assert_eq!(agent.code(&format!("recordId=W:/{PATH}")), "108-011");
    assert_eq!(agent.ask("", "").body, b"one", "without a recordId it is the drive of MAPPINGDISK");
    assert_eq!(server.metrics().samples.keys().filter(|key| key.contains("_mount_up{")).count(), 3);
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
    for (node, drive, name) in [("256", "Y", "one"), ("256", "Z", "two"), ("65535", "y", "three")] {
        let query = format!("locationId={node}&recordId={drive}:/{PATH}");
        assert_eq!(agent.ask(&query, "").body, name.as_bytes(), "{query}");
    }
    assert_eq!(agent.code(&format!("locationId=65535&recordId=Z:/{PATH}")), "108-011");
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
    eventually("503 of /health", || server.client().get("/health", None).status == 503);
    server.metric_becomes("mount_up{directory=\"/nowhere/at/all\"}", 0);
    server.metric_becomes(&format!("mount_up{{directory=\"{}\"}}", places.path().join("one").display()), 1);
}

#[test]
fn check_tells_which_directory_serves_which_node_and_drive_and_whether_it_is_mounted() {
    let places = places();
    let setup = Setup::new()
        .set("MOUNT_DIR", "/proc")
        .set("MOUNT_DIR.Z", places.path().join("one").to_str().unwrap())
        .set("MOUNT_DIR.C", "/nowhere/at/all");
    let report = check(&setup);
    let one = places.path().join("one").display().to_string();
    let lines: Vec<_> = report.lines().filter(|line| line.starts_with("mount ")).collect();
    let there = format!("mount MOUNT_DIR.Z: {one} is there, nothing is mounted on it (MOUNT_CHECK is OFF)");
    let gone = "mount MOUNT_DIR.C: /nowhere/at/all is NOT there: No such file or directory (ENOENT)";
    assert_eq!(lines, [gone, "mount MOUNT_DIR.Y: /proc is mounted", &there]);
    let pool = setup.set("CTI_POOL_MODE", "ON").set("MOUNT_CHECK", "ON").set("MOUNT_DIR.256.Z", &one);
    let report = check(&pool.set("MOUNT_DIR.255", "/proc"));
    let lines: Vec<_> = report.lines().filter(|line| line.starts_with("mount ")).collect();
    let gone = format!("mount MOUNT_DIR.256.Z: {one} is NOT there: nothing is mounted there (MOUNT_CHECK is ON)");
    assert_eq!(lines, ["mount MOUNT_DIR.255.Y: /proc is mounted", &gone]);
}

#[test]
fn with_mount_check_a_directory_counts_only_while_something_is_mounted_on_it() {
    let place = Scratch::new();
    let directory = place.path().join("files");
    place.file(&format!("files/{PATH}"), "what was left behind below the mount");
    let mount = || -> Option<Fuse> { Tree::new().file(PATH, "video").mount(&directory) };
    let Some(fuse) = mount() else { return };
    let setup = Setup::new().set("MOUNT_CHECK", "ON").set("MOUNT_DIR", directory.to_str().unwrap());
    let server = setup.expect_log("is lost: nothing is mounted there (MOUNT_CHECK is ON)").start();
    let (agent, query) = (server.agent(503), format!("recordId=Y:/{PATH}"));
    assert_eq!(agent.ask(&query, "").body, b"video");
    assert_eq!(server.client().get("/health", None).status, 200);
    drop(fuse);
    assert_eq!(agent.code(&query), "108-012", "what lies below is not served in its place");
    assert_eq!(agent.code(""), "108-012");
    server.log_line("is lost: nothing is mounted there");
    assert_eq!(server.client().get("/health", None).status, 503);
    let _fuse = mount().unwrap();
    assert_eq!(agent.ask(&query, "").body, b"video");
    server.log_line("is back");
}
