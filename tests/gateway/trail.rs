//! The audit trail: the log line of a download names its recording.

use crate::support::{Agent, Server, Setup, eventually};

fn setup() -> Setup {
    Setup::new()
        .recording("1/0/20201202/503/1714442.mp4", vec![7; 2_000_000])
        .recording("1/0/20201202/503/1714442.V3", "voice")
        .recording("1/0/20201202/102/1714442.mp4", "video of 102")
}

/// The log lines of downloads so far, each from the interface's log name on. A line may be logged
/// after the reply is sent.
fn lines(server: &Server) -> Vec<String> {
    let is_download =
        |line: &&str| !line.starts_with("login ") && !line.starts_with("getAgentEvent ");
    let log = server.log();
    let requests = log
        .iter()
        .filter_map(|line| Some(line.split_once(" [request] ")?.1));
    requests.filter(is_download).map(str::to_owned).collect()
}

/// The log line of the download that `ask` requests.
fn line(server: &Server, ask: impl FnOnce()) -> String {
    let before = lines(server).len();
    ask();
    eventually("the log line of a download", || {
        lines(server).len() > before
    });
    lines(server).swap_remove(before)
}

/// Requests a download and returns the fields after `ms=` in its log line.
fn fields(server: &Server, agent: &Agent<'_>, path: &str, more: &str) -> String {
    let line = line(server, || {
        agent.get(path, more);
    });
    assert!(!line.contains(&agent.guid), "{line}");
    let (_, after) = line.split_once(" ms=").unwrap();
    after
        .trim_start_matches(|letter: char| letter.is_ascii_digit())
        .to_owned()
}

#[test]
fn every_download_names_its_recording_and_range() {
    let server = setup().start();
    let agent = server.agent(503);
    let video =
        "/recordfile/{}/videofiledownloadEx?recordId=y:%5C1%5C0%5C20201202%5C503%5C1714442.mp4";
    let whole = r#" record="1/0/20201202/503/1714442.mp4""#;
    assert_eq!(fields(&server, &agent, video, ""), whole);
    assert_eq!(
        fields(&server, &agent, video, "Range: bytes=0-1048575\r\n"),
        format!("{whole} range=0-1048575")
    );
    assert_eq!(
        fields(&server, &agent, video, "Range: bytes=-1\r\n"),
        format!("{whole} range=1999999-1999999")
    );
    assert_eq!(
        fields(&server, &agent, video, "Range: bytes=2000000-\r\n"),
        whole
    );
    assert_eq!(
        fields(&server, &agent, "/recordfile/{}/videofiledownloadEx", ""),
        whole,
        "the latest"
    );
    let ex =
        "/recordfile/{}/recordfiledownloadEx?callId=1&hwFileName=Y:/1/0/20201202/503/1714442.mp4";
    assert_eq!(fields(&server, &agent, ex, ""), whole);

    let voice = r#" record="1/0/20201202/503/1714442.V3""#;
    let record_id = "recordId=Y:/1/0/20201202/503/1714442.V3";
    assert_eq!(
        fields(
            &server,
            &agent,
            &format!("/recordfile/{{}}?{record_id}"),
            ""
        ),
        voice
    );
    let mut first = None;
    let told = line(&server, || {
        first = Some(
            agent
                .get(
                    &format!("/qualitycontrol/{{}}/localrecordpath?{record_id}"),
                    "",
                )
                .json(),
        );
    });
    assert!(told.ends_with(voice), "{told}");
    let token = first.unwrap()["result"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let second = format!(
        "/qualitycontrol/{{}}/recordfile?token={token}&localRecordPath=Y:/1/0/20201202/503/1714442.V3"
    );
    assert_eq!(fields(&server, &agent, &second, ""), voice);
    assert_eq!(fields(&server, &agent, &second, ""), voice, "a used token");
    assert_eq!(server.told(&token), 0);
}

#[test]
fn a_failed_download_names_its_recording_once_it_is_one() {
    let server = setup().start();
    let agent = server.agent(503);
    for (query, fields_then) in [
        ("recordId=nonsense", ""),
        (
            "recordId=Y:/1/0/20201202/102/1714442.mp4",
            r#" record="1/0/20201202/102/1714442.mp4""#,
        ),
        (
            "recordId=Y:/1/0/20201202/503/missing.mp4",
            r#" record="1/0/20201202/503/missing.mp4""#,
        ),
        ("recordId=X:/a.mp4", r#" record="a.mp4""#),
        (
            "recordId=Y:/%C3%A9%22%20code=0.mp4",
            r#" record="\u{e9}\" code=0.mp4""#,
        ),
    ] {
        let path = format!("/recordfile/{{}}/videofiledownloadEx?{query}");
        assert_eq!(fields(&server, &agent, &path, ""), fields_then, "{query}");
    }
    let stranger = server.agent_with(503, "wrong");
    let path = "/recordfile/{}/videofiledownloadEx?recordId=Y:/1/0/20201202/503/1714442.mp4";
    assert_eq!(
        fields(&server, &stranger, path, ""),
        "",
        "a request without a valid Guid must not name a recording"
    );
}

#[test]
fn a_reason_of_the_machine_is_named_by_its_errno() {
    let setup = setup()
        .set("MOUNT_DIR.Z", "/nowhere/at/all")
        .expect_log("mount /nowhere/at/all is lost");
    let server = setup.start();
    let agent = server.agent(503);
    for query in [
        "recordId=Z:/1/0/20201202/503/a.mp4",
        "recordId=Z:/1/0/20201202/102/a.mp4",
    ] {
        let fields = fields(
            &server,
            &agent,
            &format!("/recordfile/{{}}/videofiledownloadEx?{query}"),
            "",
        );
        assert!(
            fields.starts_with(" record=") && fields.ends_with(r#".mp4" errno=ENOENT"#),
            "{fields}"
        );
    }
}

#[test]
fn in_a_pool_the_node_stands_beside_the_recording() {
    let setup = setup();
    let mount = setup.directory().join("mount").display().to_string();
    let server = setup
        .set("CTI_POOL_MODE", "ON")
        .unset("MOUNT_DIR")
        .set("MOUNT_DIR.256", &mount)
        .start();
    let agent = server.agent(503);
    let path = "/recordfile/{}/videofiledownloadEx?recordId=Y:/1/0/20201202/503/1714442.mp4&locationId=0256";
    let told = fields(&server, &agent, path, "Range: bytes=5-9\r\n");
    assert_eq!(
        told,
        r#" record="1/0/20201202/503/1714442.mp4" locationId=256 range=5-9"#
    );
}
