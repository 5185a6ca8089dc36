//! The order of the checks of a download: every check is reached, and of two faults in one request
//! the one that is checked first decides the code.

use crate::support::{Agent, Client, Server, Setup, eventually};

const OWN: &str = "recordId=Y:/1/0/20201202/503/1714442.mp4";
const OTHERS: &str = "recordId=Y:/1/0/20201202/102/1714442.mp4";

/// Recordings of 503 and 102, and some that cannot be downloaded.
fn setup() -> Setup {
    Setup::new()
        .recording("1/0/20201202/503/1714442.mp4", "video")
        .recording("1/0/20201202/102/1714442.mp4", "video of 102")
        .recording("1/0/20201202/503/empty.mp4", "")
        .recording("1/0/20201202/102/empty.mp4", "")
        .recording("1/0/20201202/503/voice.V3", "voice")
}

/// A pool. MOUNT_DIR without a node has no effect there, so node 256 gets the directory.
fn pool(setup: Setup) -> Setup {
    let mount = setup.directory().join("mount").display().to_string();
    setup
        .set("CTI_POOL_MODE", "ON")
        .unset("MOUNT_DIR")
        .set("MOUNT_DIR.256", &mount)
}

/// The mount directory does not exist.
fn lost(setup: Setup) -> Setup {
    setup
        .set("MOUNT_DIR", "/nowhere/at/all")
        .expect_log("mount /nowhere/at/all is lost")
}

/// Asserts the code of each query.
fn expect(agent: &Agent<'_>, table: &[(&str, &str)]) {
    for (query, code) in table {
        assert_eq!(agent.code(query), *code, "{query}");
    }
}

#[test]
fn a_session_comes_before_its_guid_and_the_guid_before_the_switches() {
    let server = setup()
        .set("VIDEO_DOWNLOAD_FLAG", "OFF")
        .set("IF_SUPPORT_VIDEO", "OFF")
        .start();
    let path = "/recordfile/503/videofiledownloadEx?";
    for guid in [None, Some("wrong")] {
        assert_eq!(
            server.client().get(&format!("{path}{OWN}"), guid).outcome(),
            (200, "100-006".into())
        );
    }
    let agent = server.agent(503);
    for guid in [None, Some("wrong")] {
        assert_eq!(
            server.client().get(&format!("{path}{OWN}"), guid).outcome(),
            (200, "000-003".into())
        );
    }
    assert_eq!(agent.code(OWN), "108-001");
}

#[test]
fn the_download_switch_comes_before_that_of_video_and_both_before_the_node() {
    let server = pool(setup())
        .set("VIDEO_DOWNLOAD_FLAG", "OFF")
        .set("IF_SUPPORT_VIDEO", "OFF")
        .start();
    expect(
        &server.agent(503),
        &[(OWN, "108-001"), ("recordId=nonsense", "108-001")],
    );
    let server = pool(setup())
        .set("VIDEO_DOWNLOAD_FLAG", "OFF")
        .expect_log("until VIDEO_DOWNLOAD_FLAG is ON")
        .start();
    expect(&server.agent(503), &[(OWN, "108-001"), ("", "108-001")]);
    let server = pool(setup())
        .set("IF_SUPPORT_VIDEO", "OFF")
        .expect_log("until IF_SUPPORT_VIDEO is ON")
        .start();
    expect(
        &server.agent(503),
        &[
            (OWN, "108-002"),
            ("", "108-002"),
            ("recordId=nonsense", "108-002"),
        ],
    );
}

#[test]
fn in_a_pool_the_node_comes_before_the_record_id() {
    let server = pool(setup()).start();
    let own = |location: &str| format!("{OWN}&locationId={location}");
    let nonsense = |location: &str| format!("recordId=nonsense&locationId={location}");
    expect(
        &server.agent(503),
        &[
            (OWN, "104-010"),
            ("recordId=nonsense", "104-010"),
            ("", "104-010"),
            (&own(""), "104-010"),
            (&own("abc"), "104-010"),
            (&own("256.0"), "104-010"),
            (&own("-1"), "104-010"),
            (&own("4294967552"), "104-010"),
            (&own("255"), "104-010"),
            (&own("%ff"), "104-010"),
            (&nonsense("255"), "104-010"),
            (&nonsense("256"), "104-003"),
            (&own("255&locationId=256"), "104-010"),
            (&own("256"), "0"),
            (&own("0256"), "0"),
            ("locationId=256", "0"),
        ],
    );
}

#[test]
fn without_a_pool_the_location_is_ignored() {
    let server = setup().start();
    let query = format!("{OWN}&locationId=nonsense");
    expect(&server.agent(503), &[(&query, "0")]);
}

#[test]
fn the_record_id_comes_before_its_drive_and_the_drive_before_everything_on_it() {
    let server = lost(setup()).start();
    expect(
        &server.agent(503),
        &[
            ("recordId=nonsense", "104-003"),
            ("recordId=X:/1/0/20201202/102/voice.V3", "104-003"),
            ("recordId=X:/1/0/20201202/102/..mp4/", "104-003"),
            ("recordId=X:/1/0/20201202/102/1714442.mp4", "108-011"),
            ("recordId=X:/1/0/20201202/503/1714442.mp4", "108-011"),
            (OWN, "108-012"),
        ],
    );
    let server = setup()
        .unset("MOUNT_DIR")
        .set("MOUNT_DIR.Z", "/proc")
        .start();
    expect(
        &server.agent(503),
        &[(OWN, "108-011"), (OTHERS, "108-011"), ("", "108-011")],
    );
}

#[test]
fn a_lost_mount_comes_before_the_right_to_the_recording() {
    let server = lost(setup()).start();
    expect(
        &server.agent(503),
        &[(OWN, "108-012"), (OTHERS, "108-012"), ("", "108-012")],
    );
    expect(&server.agent(900), &[(OWN, "108-012"), ("", "108-012")]);
    let server = setup()
        .set("MOUNT_CHECK", "ON")
        .expect_log("nothing is mounted there")
        .start();
    expect(&server.agent(503), &[(OWN, "108-012"), (OTHERS, "108-012")]);
}

#[test]
fn the_right_to_a_recording_comes_before_its_existence_and_its_state() {
    let server = setup().start();
    expect(
        &server.agent(503),
        &[
            (OWN, "0"),
            (OTHERS, "104-002"),
            ("recordId=Y:/1/0/20201202/102/missing.mp4", "104-002"),
            ("recordId=Y:/1/0/20201202/102/empty.mp4", "104-002"),
            ("recordId=Y:/1/0/20201202/0503/1714442.mp4", "104-002"),
            ("recordId=Y:/1/0/503/1714442.mp4", "104-002"),
            ("recordId=Y:/1714442.mp4", "104-002"),
            ("recordId=Y:/1/0/20201202/503/missing.mp4", "108-009"),
            ("recordId=Y:/1/0/20201203/503/1714442.mp4", "108-009"),
            ("recordId=Y:/1/0/20201202/503/empty.mp4", "108-013"),
        ],
    );
}

#[test]
fn inspectors_and_a_wide_scope_reach_everyones_recordings() {
    let all = [
        (OWN, "0"),
        (OTHERS, "0"),
        ("recordId=Y:/1/0/20201202/102/missing.mp4", "108-009"),
        ("recordId=Y:/1/0/20201202/102/empty.mp4", "108-013"),
        ("recordId=Y:/1714442.mp4", "108-009"),
    ];
    expect(&setup().start().agent(900), &all);
    expect(
        &setup().set("DOWNLOAD_SCOPE", "ALL").start().agent(503),
        &all,
    );
}

#[test]
fn a_reload_makes_and_unmakes_an_inspector() {
    let server = setup().start();
    let mut agent = server.agent(503);
    assert_eq!(agent.code(OTHERS), "104-002");
    let file = server.scratch().path().join("agents.properties");
    let plain = std::fs::read_to_string(&file).unwrap();
    for (content, code) in [
        (format!("{plain}503.role = inspector\n"), "0"),
        (plain, "104-002"),
    ] {
        let reloads = server.told("agents reloaded");
        std::fs::write(&file, content).unwrap();
        server.signal("HUP");
        // The reload cuts a download that is running, so the next one waits for it.
        eventually("the reload", || server.told("agents reloaded") > reloads);
        assert_eq!(agent.code(OTHERS), "100-006");
        agent = server.agent(503);
        assert_eq!(agent.code(OTHERS), code);
    }
}

#[test]
fn failures_of_the_video_download_have_the_empty_result_of_their_page() {
    let server = setup().start();
    let agent = server.agent(503);
    for (query, code) in [
        ("recordId=nonsense", "104-003"),
        (OTHERS, "104-002"),
        ("recordId=X:/a.mp4", "108-011"),
    ] {
        agent.ask(query, "").assert_video_failure(code);
    }
}

#[test]
fn the_suffixes_of_videos_are_a_setting() {
    let server = setup().set("VIDEO_FILE_SUFFIXES", "v3, wav").start();
    expect(
        &server.agent(503),
        &[
            ("recordId=Y:/1/0/20201202/503/voice.V3", "0"),
            (OWN, "104-003"),
            ("", "0"),
        ],
    );
    expect(
        &setup().start().agent(503),
        &[("recordId=Y:/1/0/20201202/503/voice.V3", "104-003")],
    );
}

/// Adds recordings larger than all socket buffers, so that a download lasts while its client does
/// not read.
fn slow_setup() -> Setup {
    let setup = setup();
    let folder = setup.directory().join("mount/1/0/20201202");
    for agent in [503, 102, 101, 900] {
        std::fs::create_dir_all(folder.join(agent.to_string())).unwrap();
        let file = std::fs::File::create(folder.join(format!("{agent}/large.mp4"))).unwrap();
        file.set_len(64 << 20).unwrap();
    }
    setup
}

fn large(agent: u32) -> String {
    format!("recordId=Y:/1/0/20201202/{agent}/large.mp4")
}

fn assert_busy(agent: &Agent<'_>, query: &str) {
    let reply = agent.ask(query, "");
    assert_eq!(reply.outcome(), (503, "000-007".into()));
    let seconds: u64 = reply.field("Retry-After").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
}

#[test]
fn the_limit_of_an_agent_comes_last_and_holds_for_that_agent_only() {
    let server = slow_setup().set("MAX_DOWNLOADS_PER_AGENT", "2").start();
    let (agent, other) = (server.agent(503), server.agent(102));
    let held: Vec<_> = (0..2).map(|_| agent.begin(&large(503), "")).collect();
    assert!(held.iter().all(|(_, reply)| reply.status == 200));
    assert_busy(&agent, &large(503));
    assert_busy(&agent, OWN);
    assert_busy(&agent, "");
    expect(
        &agent,
        &[
            ("recordId=nonsense", "104-003"),
            (OTHERS, "104-002"),
            ("recordId=Y:/1/0/20201202/503/missing.mp4", "108-009"),
            ("recordId=Y:/1/0/20201202/503/empty.mp4", "108-013"),
        ],
    );
    assert_eq!(
        agent.ask(OWN, "Range: bytes=99-\r\n").status,
        416,
        "a 416 sends no part of the recording, so no limit applies"
    );
    assert_eq!(other.code(OTHERS), "0");
    server.metric_becomes("downloads", 2);
}

#[test]
fn the_limit_of_all_counts_every_agent() {
    let server = slow_setup().set("MAX_DOWNLOADS", "2").start();
    let (first, second, third) = (server.agent(503), server.agent(102), server.agent(101));
    let one = first.begin(&large(503), "");
    let _two = second.begin(&large(102), "");
    for agent in [&first, &second, &third] {
        assert_busy(agent, &large(agent.number));
    }
    drop(one);
    server.metric_becomes("downloads", 1);
    let (_three, reply) = third.begin(&large(101), "");
    assert_eq!(reply.status, 200);
}

/// With a limit of one download, ends the running one with `end`; the next one must succeed.
fn ended_by(end: impl FnOnce(&Server, Client)) {
    let server = slow_setup()
        .set("MAX_DOWNLOADS_PER_AGENT", "1")
        .set("MAX_DOWNLOADS", "1")
        .start();
    let agent = server.agent(503);
    let (client, reply) = agent.begin(&large(503), "");
    assert_eq!(reply.length(), 64 << 20);
    assert_busy(&agent, OWN);
    end(&server, client);
    server.metric_becomes("downloads", 0);
    assert_eq!(agent.code(OWN), "0");
}

#[test]
fn a_download_that_is_finished_counts_no_more() {
    ended_by(|_, mut client| {
        client.stream(64 << 20, |_| ());
        // The connection stays open: the end of the response must free the slot, not the end of the
        // connection.
        assert_eq!(client.get("/health", None).status, 200);
        std::mem::forget(client);
    });
}

#[test]
fn a_download_that_its_client_aborts_counts_no_more() {
    ended_by(|_, mut client| {
        client.stream(100_000, |_| ());
        drop(client);
    });
}

#[test]
fn a_download_cut_by_its_file_counts_no_more() {
    ended_by(|server, mut client| {
        let file = server
            .scratch()
            .path()
            .join("mount/1/0/20201202/503/large.mp4");
        std::fs::File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(1000)
            .unwrap();
        let (_, in_order) = client.rest();
        assert!(!in_order);
    });
}

#[test]
fn a_refused_or_failed_download_never_counts() {
    let server = slow_setup().set("MAX_DOWNLOADS_PER_AGENT", "1").start();
    let agent = server.agent(503);
    for _ in 0..3 {
        expect(
            &agent,
            &[
                (OTHERS, "104-002"),
                ("recordId=Y:/1/0/20201202/503/missing.mp4", "108-009"),
            ],
        );
        assert_eq!(agent.ask(OWN, "Range: bytes=99-\r\n").status, 416);
    }
    assert_eq!(server.metric("cc_gateway_downloads"), 0);
    assert_eq!(agent.code(OWN), "0");
}
