//! A mount directory that is mounted on demand: probes must neither keep it mounted nor flood a
//! daemon that fails to mount it.

use std::time::Duration;

use crate::support::{Autofs, Scratch, Setup, eventually};

const PATH: &str = "1/0/20201202/503/a.mp4";

#[test]
fn an_automount_may_idle_and_one_that_fails_is_asked_ever_less_often() {
    let place = Scratch::new();
    place.file(&format!("source/{PATH}"), "video");
    let directory = place.path().canonicalize().unwrap().join("on demand");
    let Some(autofs) = Autofs::start(&directory, &place.path().join("source")) else {
        return;
    };
    let setup = Setup::new()
        .set("MOUNT_CHECK", "ON")
        .set("MOUNT_DIR", directory.to_str().unwrap());
    // Scans for new recordings would keep it mounted while the agent is signed in.
    let setup = setup.set("RECORD_SCAN_INTERVAL", "0");
    let server = setup.expect_log("is lost: ").start();
    let (agent, query) = (server.agent(503), format!("recordId=Y:/{PATH}"));
    let up = format!("mount_up{{directory=\"{}\"}}", directory.display());
    server.metric_becomes(&up, 1);
    eventually("a mount request at the start", || autofs.asked() == 1);
    // The gateway does not access the directory, so it is unmounted and stays so; it still counts
    // as up.
    autofs.expire();
    // More than two probe intervals (2 s each), since the absence of a mount request cannot be
    // waited for.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(autofs.asked(), 1);
    assert_eq!(server.client().get("/health", None).status, 200);
    server.metric_becomes(&up, 1);
    assert_eq!(agent.ask(&query, "").body, b"video", "a download mounts it");
    assert_eq!(autofs.asked(), 2);
    autofs.expire();
    autofs.serve(false);
    assert_eq!(agent.code(&query), "108-012");
    server.log_line("is lost: No such file or directory (ENOENT)");
    let asked = autofs.asked();
    assert!(asked <= 4, "{asked}");
    // More requests of clients must not cause more mount requests.
    for _ in 0..200 {
        assert_eq!(agent.code(&query), "108-012");
    }
    assert!(autofs.asked() <= asked + 2, "{} {asked}", autofs.asked());
    assert_eq!(server.client().get("/health", None).status, 503);
    autofs.serve(true);
    server.log_line(" is back");
    assert_eq!(agent.ask(&query, "").body, b"video");
    eventually("status 200 of /health", || {
        server.client().get("/health", None).status == 200
    });
    drop(server);
}
