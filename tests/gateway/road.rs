//! The whole road: sign in, poll, download, sign out.

use crate::support::{Server, Setup, recording_bytes, sha256};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";
const RECORD_ID: &str = "Y:/1/0/20201202/503/1714442.mp4";

#[test]
fn an_agent_signs_in_polls_downloads_and_signs_out() {
    let video = recording_bytes(1, 1024 * 1024);
    let server = Setup::new().recording(RECORDING, &video).start();
    let mut client = server.client();
    let reply = client.put("/onlineagent/503", None, r#"{"password":"secret","phonenum":"40038"}"#);
    assert_eq!(reply.outcome(), (200, "0".into()));
    let guid = reply.guid().unwrap();
    let reply = client.get("/agentevent/503", Some(&guid));
    assert_eq!(reply.body, br#"{"message":"","retcode":"0"}"#);
    let reply = client.download(503, Some(&guid), RECORD_ID);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("Content-Type"), Some("application/octet-stream;charset=utf-8"));
    assert_eq!(sha256(&reply.body), sha256(&video));
    let reply = client.delete("/onlineagent/503/logout", Some(&guid));
    assert_eq!(reply.body, br#"{"message":"","retcode":"0"}"#);
    assert_eq!(client.get("/agentevent/503", Some(&guid)).code(), "100-006");
}

#[test]
fn without_the_right_guid_no_byte_of_a_video_is_sent() {
    let server = Setup::new().recording(RECORDING, "video").start();
    assert_eq!(server.client().download(503, None, RECORD_ID).outcome(), (200, "100-006".into()));
    let guid = server.sign_in(503);
    let other = server.sign_in(102);
    for wrong in [None, Some(""), Some("wrong"), Some(&*other), Some(&guid[1..]), Some(&*guid.to_uppercase())] {
        let reply = server.client().download(503, wrong, RECORD_ID);
        assert_eq!(reply.outcome(), (200, "000-003".into()), "{wrong:?}");
    }
    assert_eq!(server.download(503, &guid, RECORD_ID).body, b"video");
    server.client().delete("/onlineagent/503/logout", Some(&guid));
    assert_eq!(server.download(503, &guid, RECORD_ID).outcome(), (200, "100-006".into()));
}

#[test]
fn a_server_that_is_told_to_end_ends_with_success() {
    let mut server = Server::start();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}
