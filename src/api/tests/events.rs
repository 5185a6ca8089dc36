//! Events that no request of the agent has caused.

use super::*;

#[test]
fn a_recording_that_appears_is_announced_to_its_agent_and_counted() {
    let desk = Desk::with("RECORD_SCAN_INTERVAL=100");
    let _thread = EventThread::start(&desk.gateway).unwrap();
    desk.mount.file("1/0/20201202/101/0900000.mp4", b"before");
    let sign_in = put("onlineagent/101").with_body(r#"{"password":""}"#);
    let reply = desk.ask(&sign_in);
    let guid = reply.field("Set-GUID").unwrap().split_once('=').unwrap().1;
    let poll = get("agentevent/101").guid(guid);
    for _ in 0..2 {
        desk.ask(&poll);
    }
    let watch = &desk.gateway.recording_events.watches[0];
    let scans = || watch.counted.scans.load(Ordering::Relaxed);
    let deadline = Instant::now() + LONG;
    while scans() == 0 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    desk.mount.file("1/0/20201202/101/0930000.mp4", b"after");
    for (name, detail) in [
        (
            "AgentMediaEvent_Record",
            r#""fileName":"Y:/1/0/20201202/101/0930000.mp4""#,
        ),
        ("AgentMediaEvent_StopRecordDone", r#""fileMediaType":2"#),
    ] {
        let body = desk.ask(&poll).body;
        assert!(body.contains(name) && body.contains(detail), "{body}");
    }
    // An event is counted after the poll is woken.
    while desk.gateway.recording_events.queued.value() < 2 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn without_video_or_interval_nothing_is_looked_at() {
    for lines in ["", "RECORD_SCAN_INTERVAL=100\nIF_SUPPORT_VIDEO=OFF"] {
        let desk = Desk::with(lines);
        assert!(desk.gateway.recording_events.watches.is_empty(), "{lines}");
    }
}

#[test]
fn the_end_of_a_rest_reaches_a_poll_that_waits() {
    let desk = Desk::new();
    let _thread = EventThread::start(&desk.gateway).unwrap();
    let guid = desk.sign_in_quietly(101);
    assert_eq!(desk.body(post("onlineagent/101/rest/1/0"), &guid), DONE);
    let poll = get("agentevent/101").guid(&guid);
    desk.ask(&poll);
    let asked = desk.begin(&poll);
    let body = desk.end(asked).reply().body;
    assert!(body.contains("AgentState_Rest_Timeout"), "{body}");
}

#[test]
fn the_folders_of_an_agent_who_signs_in_are_looked_at_without_waiting_for_the_next_round() {
    let desk = Desk::with("RECORD_SCAN_INTERVAL=3600000");
    let _thread = EventThread::start(&desk.gateway).unwrap();
    let watch = &desk.gateway.recording_events.watches[0];
    let sign_in = put("onlineagent/101").with_body(r#"{"password":""}"#);
    assert_eq!(desk.code(&sign_in), "0");
    let deadline = Instant::now() + LONG;
    while watch.counted.scans.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}
