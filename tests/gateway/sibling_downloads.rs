//! The other download interfaces: `recordfile`, `recordfiledownloadEx` and the two steps of quality
//! control. Tests the order of their checks and the bytes they send.

use crate::support::{Agent, Setup, recording_bytes};

const DAY: &str = "1/0/20201202";
const EX: &str = "/recordfile/{}/recordfiledownloadEx?callId=1-2&hwFileName=";

/// The path of `recordfile`; more query parameters may follow the recordId.
fn voice(record_id: &str) -> String {
    format!("/recordfile/{{}}?recordId={record_id}")
}

fn local(record_id: &str) -> String {
    format!("/qualitycontrol/{{}}/localrecordpath?format=1&recordId={record_id}")
}

/// Calls of 503 and 102, messages, and recordings that cannot be downloaded.
fn setup() -> Setup {
    Setup::new()
        .recording(&format!("{DAY}/503/1714442.V3"), recording_bytes(1, 70_000))
        .recording(
            &format!("{DAY}/503/1714442.mp4"),
            recording_bytes(2, 70_000),
        )
        .recording(&format!("{DAY}/102/1714442.V3"), "voice of 102")
        .recording(&format!("{DAY}/503/empty.V3"), "")
        .recording(&format!("{DAY}/503/quo\"te.V3"), "quoted")
        .recording("1/record/20190412/playvoice.wav", "message")
        .recording("3rdfile/1/record/20190408/503/1633022.V3", "message of 503")
}

fn pool(setup: Setup) -> Setup {
    let mount = setup.directory().join("mount").display().to_string();
    setup
        .set("CTI_POOL_MODE", "ON")
        .unset("MOUNT_DIR")
        .set("MOUNT_DIR.256", &mount)
}

fn lost(setup: Setup) -> Setup {
    setup
        .set("MOUNT_DIR", "/nowhere/at/all")
        .expect_log("mount /nowhere/at/all is lost")
}

fn expect(agent: &Agent<'_>, path: impl Fn(&str) -> String, table: &[(&str, &str)]) {
    for (rest, code) in table {
        assert_eq!(agent.code_of(&path(rest)), *code, "{}", path(rest));
    }
}

/// The path of the second step, from the reply to the first.
fn second_step(first: &serde_json::Value) -> String {
    let text = |name: &str| first["result"][name].as_str().unwrap().replace('"', "%22");
    format!(
        "/qualitycontrol/{{}}/recordfile?token={}&localRecordPath={}",
        text("token"),
        text("localRecordPath")
    )
}

#[test]
fn a_voice_recording_is_refused_for_the_first_thing_that_is_wrong() {
    let table = [
        ("Y:/1/0/20201202/503/1714442.V3", "0"),
        ("y:%5C1%5C0%5C20201202%5C503%5C1714442.v3", "104-005"),
        ("Y:/1/0/20201202/503/1714442.V3&filetype=1", "0"),
        ("Y:/1/0/20201202/503/1714442.V3&filetype=2", "104-003"),
        ("Y:/1/0/20201202/503/1714442.V3&filetype=3", "000-002"),
        ("nonsense&filetype=3", "000-002"),
        ("", "104-003"),
        ("nonsense", "104-003"),
        ("X:/1/0/20201202/102/..", "104-003"),
        ("X:/1/0/20201202/102/1714442.mp4", "104-007"),
        ("X:/1/0/20201202/102/1714442.V3", "104-004"),
        ("Y:/1/0/20201202/102/1714442.V3", "104-002"),
        ("Y:/1/0/20201202/102/missing.V3", "104-002"),
        ("Y:/1/0/20201202/503/missing.V3", "104-005"),
        ("Y:/1/0/20201202/503/empty.V3", "104-012"),
        (
            "Y:/3rdfile/1/record/20190408/503/1633022.V3&filetype=2",
            "0",
        ),
        ("Y:/3rdfile/1/record/20190408/503/1633022.V3", "104-003"),
        ("Y:/1/record/20190412/playvoice.wav&filetype=2", "104-002"),
    ];
    let server = setup().start();
    expect(&server.agent(503), voice, &table);
    let inspector = [
        ("Y:/1/record/20190412/playvoice.wav&filetype=2", "0"),
        ("Y:/1/record/20190412/playvoice.wav", "104-003"),
        ("Y:/1/0/20201202/102/1714442.V3", "0"),
    ];
    expect(&server.agent(900), voice, &inspector);
    assert_eq!(server.agent(101).code_of("/recordfile/{}"), "104-003");
    assert_eq!(
        server
            .agent(102)
            .code_of("/recordfile/{}?recordid=Y:/1/0/20201202/102/1714442.V3"),
        "104-003"
    );
}

#[test]
fn switches_and_nodes_come_before_the_recording() {
    let own = "Y:/1/0/20201202/503/1714442.V3";
    let server = pool(setup()).set("RECORD_DOWNLOAD_FLAG", "OFF").start();
    let agent = server.agent(503);
    for path in [
        voice(own),
        voice("nonsense"),
        local(own),
        "/qualitycontrol/{}/recordfile?token=none".into(),
    ] {
        assert_eq!(agent.code_of(&path), "104-001", "{path}");
    }
    assert_eq!(
        agent.code_of(&format!("{EX}Y:/{DAY}/503/1714442.mp4&locationId=256")),
        "0"
    );

    // The switches of video do not apply to voice recordings, and IF_SUPPORT_VIDEO does not apply
    // to downloads by call.
    let off = setup()
        .set("VIDEO_DOWNLOAD_FLAG", "OFF")
        .set("IF_SUPPORT_VIDEO", "OFF")
        .start();
    let agent = off.agent(503);
    assert_eq!(
        (agent.code_of(&voice(own)), agent.code_of(&local(own))),
        ("0".into(), "0".into())
    );
    assert_eq!(
        agent.code_of("/recordfile/{}/recordfiledownloadEx"),
        "108-001"
    );
    let no_events = setup()
        .set("IF_SUPPORT_VIDEO", "OFF")
        .expect_log("until IF_SUPPORT_VIDEO is ON")
        .start();
    assert_eq!(
        no_events
            .agent(503)
            .code_of(&format!("{EX}Y:/{DAY}/503/1714442.mp4")),
        "0"
    );

    let server = pool(setup()).start();
    let agent = server.agent(503);
    for path in [voice, local, |id: &str| format!("{EX}{id}")] {
        for rest in [
            "nonsense",
            "nonsense&locationId=255",
            "nonsense&locationId=256.0",
        ] {
            assert_eq!(agent.code_of(&path(rest)), "104-010", "{}", path(rest));
        }
        assert_eq!(agent.code_of(&path("nonsense&locationId=256")), "104-003");
    }
    assert_eq!(agent.code_of(&voice(&format!("{own}&locationId=256"))), "0");
}

#[test]
fn a_lost_mount_comes_before_the_right_to_a_voice_recording() {
    let server = lost(setup()).start();
    for path in [voice, local] {
        expect(
            &server.agent_with(503, &server.sign_in_again(503)),
            path,
            &[
                ("Y:/1/0/20201202/503/1714442.V3", "104-012"),
                ("Y:/1/0/20201202/102/1714442.V3", "104-012"),
            ],
        );
    }
}

#[test]
fn the_download_by_call_is_that_of_the_video_its_file_name_says() {
    let server = setup().start();
    let agent = server.agent(503);
    let table = [
        ("Y:/1/0/20201202/503/1714442.mp4", "0"),
        ("Y:/1/0/20201202/503/1714442.V3", "104-003"),
        ("Y:/1/0/20201202/102/1714442.mp4", "104-002"),
        ("Y:/1/0/20201202/503/missing.mp4", "108-009"),
        ("X:/1/0/20201202/503/1714442.mp4", "108-011"),
        // The voice recording of a call, which the gateway cannot find by callId.
        ("", "104-005"),
        ("&workNo=503", "104-005"),
    ];
    expect(&agent, |rest| format!("{EX}{rest}"), &table);
    for query in [
        "",
        "?hwFileName=Y:/1/0/20201202/503/1714442.mp4",
        "?callId=&hwFileName=nonsense",
    ] {
        assert_eq!(
            agent.code_of(&format!("/recordfile/{{}}/recordfiledownloadEx{query}")),
            "000-002",
            "{query}"
        );
    }
    assert_eq!(
        agent.code_of("/recordfile/{}/recordfiledownloadEx?callId=1&hwfilename=Y:/a.mp4"),
        "104-003"
    );
}

#[test]
fn every_download_sends_the_bytes_and_any_part_of_them() {
    let server = setup().start();
    let agent = server.agent(503);
    let (audio, video) = (recording_bytes(1, 70_000), recording_bytes(2, 70_000));
    let paths = || {
        let token = agent
            .get(&local(&format!("Y:/{DAY}/503/1714442.V3")), "")
            .json();
        [
            (voice(&format!("Y:/{DAY}/503/1714442.V3")), &audio),
            (format!("{EX}Y:/{DAY}/503/1714442.mp4"), &video),
            (second_step(&token), &audio),
        ]
    };
    let mut tags = Vec::new();
    for (path, bytes) in paths() {
        let reply = agent.get(&path, "");
        assert!(reply.status == 200 && reply.body == *bytes, "{path}");
        tags.push(reply.field("ETag").unwrap().to_owned());
        assert!(
            reply
                .field("Content-Disposition")
                .is_some_and(|value| value.contains("1714442."))
        );
    }
    for ((path, bytes), tag) in paths().iter().zip(&tags) {
        let reply = agent.get(
            path,
            &format!("Range: bytes=1000-1999\r\nIf-Range: {tag}\r\n"),
        );
        assert!(
            reply.status == 206 && reply.body == bytes[1000..2000],
            "{path}"
        );
    }
    for (path, _) in paths() {
        assert_eq!(
            agent.get(&path, "Range: bytes=70000-\r\n").outcome(),
            (416, "000-002".into()),
            "{path}"
        );
    }
    for (path, _) in paths() {
        assert_eq!(
            agent.get(&path, "If-Match: \"other\"\r\n").outcome(),
            (412, "000-002".into()),
            "{path}"
        );
    }
}

#[test]
fn failures_have_the_result_that_their_clients_expect() {
    let server = setup().start();
    let agent = server.agent(503);
    agent
        .get(&voice("nonsense"), "")
        .assert_video_failure("104-003");
    agent
        .get(&format!("{EX}nonsense"), "")
        .assert_video_failure("104-003");
    for (rest, code) in [
        ("", "104-003"),
        ("nonsense", "104-003"),
        ("Y:/1/0/20201202/503/1714442.mp4", "104-007"),
        ("X:/1/0/20201202/503/1714442.V3", "104-004"),
        ("Y:/1/0/20201202/102/1714442.V3", "104-002"),
        ("Y:/1/0/20201202/503/missing.V3", "104-005"),
        ("Y:/1/0/20201202/503/empty.V3", "104-012"),
    ] {
        agent.get(&local(rest), "").assert_object_failure(code);
    }
    agent
        .get("/qualitycontrol/7/localrecordpath", "")
        .assert_object_failure("000-002");
    agent
        .get("/qualitycontrol/101/localrecordpath", "")
        .assert_object_failure("100-006");
}

#[test]
fn a_token_is_good_once_for_its_agent_and_path() {
    let server = setup().start();
    let (agent, inspector) = (server.agent(503), server.agent(900));
    let ask = |agent: &Agent<'_>| {
        agent
            .get(&local("y:%5C1%5C0%5C20201202%5C503%5C1714442.V3"), "")
            .json()
    };
    let first = ask(&agent);
    assert_eq!(
        first["result"]["localRecordPath"],
        format!("Y:/{DAY}/503/1714442.V3")
    );
    let path = second_step(&first);
    assert_eq!(
        (agent.code_of(&path), agent.code_of(&path)),
        ("0".into(), "000-003".into())
    );

    let path = second_step(&ask(&agent));
    assert_eq!(inspector.code_of(&path), "000-003", "another agent's");
    let other = path.replace("1714442.V3", "missing.V3");
    assert_eq!(
        (agent.code_of(&other), agent.code_of(&path)),
        ("000-003".into(), "000-003".into()),
        "another path"
    );
    assert_eq!(agent.code_of("/qualitycontrol/{}/recordfile"), "000-003");

    let path = second_step(&ask(&agent));
    let again = server.agent_with(503, &server.sign_in_again(503));
    assert_eq!(again.code_of(&path), "000-003", "another session's");
    let quoted = again
        .get(&local("Y:/1/0/20201202/503/quo%22te.V3"), "")
        .json();
    assert_eq!(again.get(&second_step(&quoted), "").body, b"quoted");
}

#[test]
fn in_a_pool_the_path_of_the_second_step_holds_the_node() {
    let server = pool(setup()).start();
    let agent = server.agent(503);
    let first = agent
        .get(
            &local(&format!("Y:/{DAY}/503/1714442.V3&locationId=256")),
            "",
        )
        .json();
    assert_eq!(
        first["result"]["localRecordPath"],
        format!("256/Y:/{DAY}/503/1714442.V3")
    );
    assert_eq!(
        agent.get(&second_step(&first), "").body,
        recording_bytes(1, 70_000)
    );
}
