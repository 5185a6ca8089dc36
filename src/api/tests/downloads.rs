//! Downloads: the order of the checks, parts of a recording, and the two steps of quality control.

use super::*;

const CALL: &str = "1/0/20201202/101/0900000.V3";
const VIDEO: &str = "1/0/20201202/101/0900000.mp4";
const OTHER: &str = "1/0/20201202/102/0900000.mp4";
const MESSAGE: &str = "3rdfile/1/record/20201202/101/0900000.V3";

fn desk(lines: &str) -> Desk {
    let desk = Desk::with(lines);
    for (path, content) in [(CALL, "a call"), (VIDEO, "a video")] {
        let path = desk.mount.file(path, content.as_bytes());
        let written = std::time::UNIX_EPOCH + Duration::from_secs(1_606_867_200);
        let file = std::fs::File::options().write(true).open(path);
        file.unwrap().set_modified(written).unwrap();
    }
    desk.mount.file(OTHER, b"another's");
    desk.mount.file("1/0/20201202/101/empty.mp4", b"");
    desk
}

/// A failure with the empty text as its result.
fn refused(code: ResultCode) -> String {
    failure(code).replace('}', r#","result":""}"#)
}

/// A failure with an object as its result.
fn refused_with_object(code: ResultCode) -> String {
    refused(code).replace(r#""""#, "{}")
}

fn video(query: &str) -> RequestSpec {
    get(&format!("recordfile/101/videofiledownloadEx?{query}"))
}

fn call_file(query: &str) -> RequestSpec {
    get(&format!("recordfile/101?{query}"))
}

fn by_call(query: &str) -> RequestSpec {
    get(&format!("recordfile/101/recordfiledownloadEx?{query}"))
}

#[test]
fn a_recording_comes_whole_with_what_a_client_needs_to_resume_it() {
    let desk = desk("");
    let guid = desk.sign_in(101);
    for (call, name, content, fields) in [
        (
            video(&format!("recordId=Y:/{VIDEO}")),
            "0900000.mp4",
            "a video",
            VIDEO,
        ),
        (
            video(&format!("recordId=y:%5C{}", VIDEO.replace('/', "%5C"))),
            "0900000.mp4",
            "a video",
            VIDEO,
        ),
        (video("recordId="), "0900000.mp4", "a video", VIDEO),
        (video(""), "0900000.mp4", "a video", VIDEO),
        (
            call_file(&format!("recordId=Y:/{CALL}")),
            "0900000.V3",
            "a call",
            CALL,
        ),
        (
            call_file(&format!("recordId=Y:/{CALL}&filetype=1")),
            "0900000.V3",
            "a call",
            CALL,
        ),
        (
            call_file(&format!("recordId=Y:/{CALL}&filetype=")),
            "0900000.V3",
            "a call",
            CALL,
        ),
        (
            by_call(&format!("callId=1-2&hwFileName=Y:/{VIDEO}")),
            "0900000.mp4",
            "a video",
            VIDEO,
        ),
    ] {
        let asked = desk.end(desk.begin(&call.guid(&guid)));
        assert_eq!(
            asked.context.recording_fields(),
            format!(r#" record="{fields}""#)
        );
        let (head, bytes) = asked.download();
        assert_eq!((head.status, bytes), (200, content.as_bytes().to_vec()));
        assert_eq!(
            [
                "Content-Type",
                "Accept-Ranges",
                "X-Content-Type-Options",
                "Content-Disposition",
                "Cache-Control"
            ]
            .map(|field| head.field(field)),
            [
                "application/octet-stream;charset=utf-8",
                "bytes",
                "nosniff",
                &*crate::recording::attachment(name),
                "no-store"
            ]
            .map(Some)
        );
        assert!(head.field("ETag").is_some());
        assert_eq!(
            head.field("Last-Modified"),
            Some("Wed, 02 Dec 2020 00:00:00 GMT")
        );
        assert_eq!(head.field("Content-Range"), None);
    }
    assert_eq!(desk.gateway.downloads.running(), 0);
}

#[test]
fn parts_and_preconditions_are_answered_as_http_has_them() {
    let desk = desk("");
    let guid = desk.sign_in(101);
    let call = video(&format!("recordId=Y:/{VIDEO}")).guid(&guid);
    let whole = desk.ask(&call);
    let tag = whole.field("ETag").unwrap();

    let asked = desk.end(desk.begin(&call.clone().header(HeaderName::Range, "bytes=2-4")));
    assert_eq!(
        asked.context.recording_fields(),
        format!(r#" record="{VIDEO}" range=2-4"#)
    );
    let (head, bytes) = asked.download();
    assert_eq!((head.status, &*bytes), (206, &b"vid"[..]));
    assert_eq!(head.field("Content-Range"), Some("bytes 2-4/7"));

    for (name, value, status) in [
        (HeaderName::IfRange, tag, 206),
        (HeaderName::IfRange, "\"else\"", 200),
        (HeaderName::IfMatch, tag, 206),
        (HeaderName::IfMatch, "\"else\"", 412),
        (
            HeaderName::IfUnmodifiedSince,
            "Sat, 29 Oct 1994 19:43:31 GMT",
            412,
        ),
    ] {
        let call = call
            .clone()
            .header(HeaderName::Range, "bytes=2-4")
            .header(name, value);
        let reply = desk.ask(&call);
        assert_eq!(reply.status, status, "{value}");
        if status == 412 {
            assert_eq!(reply.body, failure(ResultCode::INVALID_PARAMETER));
            assert_eq!(
                ["Accept-Ranges", "ETag", "Last-Modified"].map(|field| reply.field(field)),
                ["Accept-Ranges", "ETag", "Last-Modified"].map(|field| whole.field(field))
            );
        }
    }
    let beyond = desk.ask(&call.header(HeaderName::Range, "bytes=7-"));
    assert_eq!(
        (beyond.status, &*beyond.body),
        (416, &*failure(ResultCode::INVALID_PARAMETER))
    );
    assert_eq!(
        ["Content-Range", "Accept-Ranges", "ETag"].map(|field| beyond.field(field)),
        [Some("bytes */7"), Some("bytes"), Some(tag)]
    );
}

#[test]
fn each_reason_to_refuse_has_its_code() {
    let desk = desk("");
    let guid = desk.sign_in(101);
    for (call, code) in [
        (
            video(&format!("recordId=Y:/{OTHER}")),
            ResultCode::NOT_OWN_RECORDING,
        ),
        (video(&format!("recordId=Z:/{VIDEO}")), ResultCode::NO_MOUNT),
        (
            video(&format!("recordId=Y:/{CALL}")),
            ResultCode::INVALID_RECORD_ID,
        ),
        (video("recordId=Y:/../a.mp4"), ResultCode::INVALID_RECORD_ID),
        (video("recordId=%ff"), ResultCode::INVALID_RECORD_ID),
        (video("recordid=a"), ResultCode::INVALID_RECORD_ID),
        (
            video("recordId=Y:/1/0/20201202/101/1.mp4"),
            ResultCode::NO_RECORDING,
        ),
        (
            video("recordId=Y:/1/0/20201202/101/empty.mp4"),
            ResultCode::UNREADABLE,
        ),
        (call_file(""), ResultCode::INVALID_RECORD_ID),
        (
            call_file(&format!("recordId=Y:/{VIDEO}")),
            ResultCode::NOT_AUDIO,
        ),
        (
            call_file(&format!("recordId=Z:/{CALL}")),
            ResultCode::NO_DRIVE,
        ),
        (
            call_file(&format!("recordId=Y:/{CALL}&filetype=2")),
            ResultCode::INVALID_RECORD_ID,
        ),
        (
            call_file(&format!("recordId=Y:/{CALL}&filetype=3")),
            ResultCode::INVALID_PARAMETER,
        ),
        (
            call_file(&format!("recordId=Y:/{CALL}&filetype=%ff")),
            ResultCode::INVALID_PARAMETER,
        ),
        (
            call_file(&format!("recordId=Y:/{MESSAGE}&filetype=1")),
            ResultCode::INVALID_RECORD_ID,
        ),
        (
            call_file(&format!("recordId=Y:/{MESSAGE}&filetype=2")),
            ResultCode::NO_AUDIO,
        ),
        (
            call_file("recordId=Y:/1/0/20201202/101/1.V3"),
            ResultCode::NO_AUDIO,
        ),
        (
            by_call(&format!("hwFileName=Y:/{VIDEO}")),
            ResultCode::INVALID_PARAMETER,
        ),
        (
            by_call(&format!("callId=&hwFileName=Y:/{VIDEO}")),
            ResultCode::INVALID_PARAMETER,
        ),
        (by_call("callId=1-2"), ResultCode::NO_AUDIO),
        (
            by_call("callId=1-2&hwFileName=Y:/1/0/20201202/101/1.mp4"),
            ResultCode::NO_RECORDING,
        ),
    ] {
        let query = call.query.clone();
        assert_eq!(desk.body(call, &guid), refused(code), "{query}");
    }
}

#[test]
fn switches_come_first_and_each_has_its_code() {
    for (lines, call, code) in [
        (
            "VIDEO_DOWNLOAD_FLAG=OFF",
            video(""),
            ResultCode::DOWNLOAD_OFF,
        ),
        ("IF_SUPPORT_VIDEO=OFF", video(""), ResultCode::VIDEO_OFF),
        (
            "VIDEO_DOWNLOAD_FLAG=OFF",
            by_call(""),
            ResultCode::DOWNLOAD_OFF,
        ),
        (
            "RECORD_DOWNLOAD_FLAG=OFF",
            call_file(""),
            ResultCode::RECORDING_OFF,
        ),
    ] {
        let desk = Desk::with(lines);
        let guid = desk.sign_in(101);
        assert_eq!(desk.body(call, &guid), refused(code), "{lines}");
    }
    let desk = Desk::with("RECORD_DOWNLOAD_FLAG=OFF");
    let guid = desk.sign_in(101);
    assert_eq!(
        desk.body(get("qualitycontrol/101/localrecordpath"), &guid),
        refused_with_object(ResultCode::RECORDING_OFF)
    );
    assert_eq!(
        desk.body(get("qualitycontrol/101/recordfile"), &guid),
        failure(ResultCode::RECORDING_OFF)
    );
}

#[test]
fn a_lost_mount_is_told_whoever_may_have_the_recording() {
    let desk = Desk::with("MOUNT_DIR=@/missing");
    let guid = desk.sign_in(101);
    for (call, code) in [
        (
            video(&format!("recordId=Y:/{VIDEO}")),
            ResultCode::MOUNT_LOST,
        ),
        (
            video(&format!("recordId=Y:/{OTHER}")),
            ResultCode::MOUNT_LOST,
        ),
        (video(""), ResultCode::MOUNT_LOST),
        (
            call_file(&format!("recordId=Y:/{CALL}")),
            ResultCode::NOT_FETCHED,
        ),
    ] {
        let query = call.query.clone();
        let asked = desk.end(desk.begin(&call.guid(&guid)));
        let fields = asked.context.recording_fields();
        assert!(fields.ends_with(" errno=ENOENT"), "{fields}");
        assert_eq!(asked.reply().body, refused(code), "{query}");
    }
}

#[test]
fn a_file_server_has_a_while_and_is_lost_then() {
    let desk = desk("");
    let guid = desk.sign_in(101);
    for (call, code) in [
        (
            video(&format!("recordId=Y:/{VIDEO}")),
            ResultCode::MOUNT_LOST,
        ),
        (
            video(&format!("recordId=Y:/{OTHER}")),
            ResultCode::MOUNT_LOST,
        ),
        (
            call_file(&format!("recordId=Y:/{CALL}")),
            ResultCode::NOT_FETCHED,
        ),
    ] {
        let asked = desk.begin(&call.guid(&guid));
        assert!(asked.wait() >= Duration::from_secs(1), "{:?}", asked.wait());
        assert_eq!(desk.expire(asked).reply().body, refused(code));
    }
}

#[test]
fn inspectors_may_have_what_is_anothers_and_with_the_setting_all_may() {
    let whole = desk("");
    let guid = whole.sign_in(105);
    let call = get(&format!(
        "recordfile/105/videofiledownloadEx?recordId=Y:/{OTHER}"
    ));
    assert_eq!(whole.code(&call.guid(&guid)), "0");
    let open = desk("DOWNLOAD_SCOPE=ALL");
    let guid = open.sign_in(101);
    assert_eq!(
        open.code(&video(&format!("recordId=Y:/{OTHER}")).guid(&guid)),
        "0"
    );
}

#[test]
fn an_agent_has_so_many_downloads_and_whoever_is_removed_meanwhile_none() {
    let desk = desk("MAX_DOWNLOADS_PER_AGENT=1");
    let guid = desk.sign_in(101);
    let call = video(&format!("recordId=Y:/{VIDEO}")).guid(&guid);
    let running = desk.end(desk.begin(&call));
    assert_eq!(desk.gateway.downloads.running(), 1);
    let busy = desk.ask(&call);
    assert_eq!(
        (busy.status, &*busy.body, busy.field("Retry-After")),
        (503, &*failure(ResultCode::BUSY), Some("5"))
    );
    drop(running);
    let asked = desk.begin(&call);
    desk.gateway
        .replace_roster(roster(&AGENTS.replace("101 = no-password\n", "")));
    assert_eq!(desk.end(asked).reply().code, ResultCode::NOT_SIGNED_IN);
    assert_eq!(desk.gateway.downloads.running(), 0);
}

#[test]
fn all_agents_together_have_so_many_downloads() {
    let desk = desk("MAX_DOWNLOADS=1");
    let [first, second] = [101, 102].map(|number| desk.sign_in(number));
    let running = desk.end(desk.begin(&video(&format!("recordId=Y:/{VIDEO}")).guid(&first)));
    let other = get(&format!(
        "recordfile/102/videofiledownloadEx?recordId=Y:/{OTHER}"
    ))
    .guid(&second);
    assert_eq!(desk.ask(&other).status, 503);
    drop(running);
    assert_eq!(desk.ask(&other).status, 200);
}

#[test]
fn in_a_pool_the_node_selects_the_mount() {
    let desk = Desk::with("CTI_POOL_MODE=ON\nMOUNT_DIR.255.Y=@/a\nMOUNT_DIR.256.Y=@/b");
    desk.mount.file(&format!("a/{VIDEO}"), b"at 255");
    desk.mount.file(&format!("b/{VIDEO}"), b"at 256");
    desk.mount.file(&format!("a/{CALL}"), b"call at 255");
    let guid = desk.sign_in(101);
    for (node, content) in [(255, "at 255"), (256, "at 256")] {
        let call = video(&format!("recordId=Y:/{VIDEO}&locationId={node}"));
        let asked = desk.end(desk.begin(&call.guid(&guid)));
        assert_eq!(
            asked.context.recording_fields(),
            format!(r#" record="{VIDEO}" locationId={node}"#)
        );
        assert_eq!(asked.download().1, content.as_bytes());
    }
    for query in ["", "locationId=254", "locationId=x", "locationId=%ff"] {
        for call in [video(query), call_file(query), by_call(query)] {
            assert_eq!(
                desk.body(call, &guid),
                refused(ResultCode::NO_LOCATION),
                "{query}"
            );
        }
    }
    // The second step of quality control has the node in its path.
    let path = local_path(&desk, &format!("recordId=Y:/{CALL}&locationId=255"), &guid);
    assert_eq!(path.1, format!("255/Y:/{CALL}"));
    let asked = desk.end(desk.begin(&local_file(&path, &guid)));
    assert_eq!(
        asked.context.recording_fields(),
        format!(r#" record="{CALL}" locationId=255"#)
    );
    assert_eq!(asked.download().1, b"call at 255");
}

/// The token and the path that the first step gives.
fn local_path(desk: &Desk, query: &str, guid: &str) -> (String, String) {
    let body = desk.body(
        get(&format!("qualitycontrol/101/localrecordpath?{query}")),
        guid,
    );
    let (token, path) = body
        .strip_prefix(r#"{"message":"","retcode":"0","result":{"token":""#)
        .and_then(|rest| rest.strip_suffix(r#""}}"#))
        .and_then(|rest| rest.split_once(r#"","localRecordPath":""#))
        .unwrap_or_else(|| panic!("{body}"));
    (token.to_owned(), path.to_owned())
}

fn local_file((token, path): &(String, String), guid: &str) -> RequestSpec {
    get(&format!(
        "qualitycontrol/101/recordfile?token={token}&localRecordPath={path}"
    ))
    .guid(guid)
}

#[test]
fn a_token_brings_the_recording_of_its_path_once() {
    let desk = desk("");
    let guid = desk.sign_in(101);
    let path = local_path(&desk, &format!("recordId=y:%5C{CALL}"), &guid);
    assert_eq!(path.1, format!("Y:/{CALL}"));
    let asked = desk.end(desk.begin(&local_file(&path, &guid)));
    assert_eq!(
        asked.context.recording_fields(),
        format!(r#" record="{CALL}""#)
    );
    assert_eq!(asked.download().1, b"a call");
    let again = desk.begin(&local_file(&path, &guid));
    assert_eq!(
        again.context.recording_fields(),
        format!(r#" record="{CALL}""#)
    );
    assert_eq!(again.wait(), Duration::from_millis(500));
    assert_eq!(desk.end(again).reply().code, ResultCode::NO_RIGHT);
    // A token is not valid for another path.
    let (token, _) = local_path(&desk, &format!("recordId=Y:/{CALL}"), &guid);
    let other = (token, "Y:/1/0/20201202/101/1.V3".to_owned());
    assert_eq!(desk.code(&local_file(&other, &guid)), "000-003");
}

#[test]
fn the_first_step_refuses_what_the_second_would() {
    let desk = desk("");
    let guid = desk.sign_in(101);
    for (query, code) in [
        (String::new(), ResultCode::INVALID_RECORD_ID),
        (format!("recordId=Y:/{VIDEO}"), ResultCode::NOT_AUDIO),
        (format!("recordId=Z:/{CALL}"), ResultCode::NO_DRIVE),
        (
            "recordId=Y:/1/0/20201202/101/1.V3".to_owned(),
            ResultCode::NO_AUDIO,
        ),
        (
            "recordId=Y:/1/0/20201202/102/1.V3".to_owned(),
            ResultCode::NOT_OWN_RECORDING,
        ),
    ] {
        let call = get(&format!("qualitycontrol/101/localrecordpath?{query}"));
        assert_eq!(desk.body(call, &guid), refused_with_object(code), "{query}");
    }
}

#[test]
fn the_right_to_a_recording_is_looked_at_again_when_its_token_is_used() {
    let desk = desk("");
    desk.mount.file("1/0/20201202/102/1.V3", b"another's call");
    let inspector = AGENTS.replace("105.role", "101.role");
    desk.gateway.replace_roster(roster(&inspector));
    let guid = desk.sign_in(101);
    let path = local_path(&desk, "recordId=Y:/1/0/20201202/102/1.V3", &guid);
    let asked = desk.end(desk.begin(&local_file(&path, &guid)));
    assert_eq!(asked.download().1, b"another's call");
    // Paths that the first step never gives: with a valid token, the error of the path is reported.
    let session = desk.gateway.sessions.signed_in(Instant::now())[0].session;
    for (path, code) in [
        ("Y:/1/0/20201202/102/1.mp4", ResultCode::NOT_AUDIO),
        ("Z:/1/0/20201202/102/1.V3", ResultCode::NO_DRIVE),
        ("nowhere", ResultCode::INVALID_RECORD_ID),
    ] {
        let now = Instant::now();
        let token = desk.gateway.tokens.issue(agent(101), session, path, now);
        let asked = (token.unwrap().expose().to_owned(), path.to_owned());
        assert_eq!(desk.ask(&local_file(&asked, &guid)).body, failure(code));
    }
}
