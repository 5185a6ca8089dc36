//! Renewal of Guids: when and for which client a Guid is renewed, and how long each stays valid.

use crate::support::{
    Client, EMPTY_POLL, Reply, SIGN_IN, Server, Setup, eventually, let_guids_age,
};

/// A Guid is due for renewal 1 ms after its issue, and expires after 60 s.
fn always_due() -> Setup {
    Setup::new()
        .set("GUIDINTERVAL", "1")
        .set("GUIDTIMEOUT", "60000")
}

fn poll(client: &mut Client, guid: &str) -> Reply {
    client.get("/agentevent/101", Some(guid))
}

#[test]
fn a_guid_is_renewed_in_the_answers_to_polls_and_handshakes_and_in_no_others() {
    let server = always_due().start();
    let mut client = server.client();
    for (method, path) in [
        ("GET", "/agentevent/101"),
        ("POST", "/onlineagent/101/handshake"),
    ] {
        let guid = client
            .put("/onlineagent/101/forcelogin", None, SIGN_IN)
            .guid()
            .unwrap();
        let_guids_age(&server);
        for (method, path, body, code) in [
            ("PUT", "/onlineagent/101/heartbeat", "", "0"),
            ("PUT", "/onlineagent/101", SIGN_IN, "100-002"),
            (
                "DELETE",
                "/onlineagent/101/forcelogoutwithreason/0",
                "",
                "100-005",
            ),
            ("GET", "/recordfile/101/videofiledownloadEx", "", "108-009"),
            ("GET", "/health", "", "0"),
        ] {
            let reply = client.request(method, path, Some(&guid), body);
            assert_eq!(
                (reply.outcome(), reply.guid()),
                ((200, code.into()), None),
                "{method} {path}"
            );
        }
        client.send_request(
            "POST",
            "/onlineagent/101/handshake",
            &format!("guid: {guid}\r\nservice_token: a b\r\n"),
            "",
        );
        client.reply().assert_failure("100-001");
        let reply = client.request(method, path, Some(&guid), "");
        reply.assert_json(200, &["Set-GUID"]);
        let renewed = reply.guid().unwrap();
        assert_ne!(renewed, guid);
        // Each stays valid until it expires itself.
        assert_eq!(
            client
                .put("/onlineagent/101/heartbeat", Some(&guid), "")
                .code(),
            "0"
        );
        assert_eq!(
            client
                .put("/onlineagent/101/heartbeat", Some(&renewed), "")
                .code(),
            "0"
        );
    }
}

#[test]
fn the_content_of_a_poll_is_the_same_with_a_renewed_guid() {
    let server = always_due().start();
    let mut client = server.client();
    let mut guid = server.sign_in_only(101);
    for event in ["AgentOther_InService", "AgentState_Ready"] {
        let_guids_age(&server);
        let reply = poll(&mut client, &guid);
        reply.assert_json(200, &["Set-GUID"]);
        assert_eq!(reply.json()["event"]["eventType"], event);
        guid = reply.guid().unwrap();
    }
    let_guids_age(&server);
    let reply = poll(&mut client, &guid);
    reply.assert_json(200, &["Set-GUID"]);
    assert_eq!(reply.text(), EMPTY_POLL);
}

#[test]
fn a_guid_younger_than_the_interval_is_not_renewed() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    for _ in 0..50 {
        let reply = poll(&mut client, &guid);
        reply.assert_json(200, &[]);
        assert_eq!(reply.text(), EMPTY_POLL);
    }
}

#[test]
fn a_client_that_follows_renewals_keeps_its_session_through_many_of_them() {
    let server = Setup::new()
        .set("GUIDINTERVAL", "5")
        .set("GUIDTIMEOUT", "10")
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "2")
        .set("AGENT_POLL_WAIT_INTERVAL", "2")
        .start();
    let mut client = server.client();
    let mut guids = vec![server.sign_in_only(101)];
    while guids.len() < 100 {
        let reply = poll(&mut client, guids.last().unwrap());
        assert_eq!(reply.code(), "0", "after {} renewals", guids.len());
        guids.extend(reply.guid());
    }
    guids.sort_unstable();
    guids.dedup();
    assert_eq!(guids.len(), 100, "every Guid must be different");
}

#[test]
fn a_client_that_never_follows_keeps_its_session_in_mode_1() {
    let server = Setup::new()
        .set("AUTHMODE", "1")
        .set("GUIDINTERVAL", "1")
        .set("GUIDTIMEOUT", "2")
        .start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    // No Guid is ever due in mode 1, so a server in mode 2 with the same times shows that they have
    // passed.
    let witness = Setup::new()
        .set("GUIDINTERVAL", "1")
        .set("GUIDTIMEOUT", "2")
        .start();
    for _ in 0..3 {
        let_guids_age(&witness);
        for (method, path) in [
            ("GET", "/agentevent/101"),
            ("POST", "/onlineagent/101/handshake"),
            ("PUT", "/onlineagent/101/heartbeat"),
        ] {
            let reply = client.request(method, path, Some(&guid), "");
            assert_eq!((reply.code(), reply.guid()), ("0".into(), None), "{path}");
        }
    }
    let other = client
        .put("/onlineagent/101/updateGuid", Some(&guid), "")
        .guid()
        .unwrap();
    let_guids_age(&witness);
    assert_eq!(
        poll(&mut client, &guid).text(),
        EMPTY_POLL,
        "the Guid of the sign-in must stay valid"
    );
    assert_eq!(poll(&mut client, &other).text(), EMPTY_POLL);
}

#[test]
fn a_client_that_never_follows_loses_its_right_in_mode_2_and_the_newest_guid_keeps_it() {
    let server = Setup::new()
        .set("GUIDINTERVAL", "50")
        .set("GUIDTIMEOUT", "200")
        .start();
    let guid = server.sign_in_only(101);
    let mut client = server.client();
    let mut newest = None;
    eventually("the expiry of the Guid", || {
        let reply = poll(&mut client, &guid);
        newest = reply.guid().or(newest.take());
        if reply.code() == "0" {
            return false;
        }
        reply.assert_failure("000-003");
        true
    });
    // The Guid was renewed before it expired, so the client could continue with the new one.
    assert_eq!(poll(&mut client, &newest.unwrap()).code(), "0");
}

#[test]
fn the_newest_guid_does_not_expire_while_nothing_renews_it() {
    let server = Setup::new()
        .set("GUIDINTERVAL", "1")
        .set("GUIDTIMEOUT", "2")
        .start();
    let guid = server.sign_in_only(101);
    for _ in 0..3 {
        let_guids_age(&server);
        assert_eq!(
            server
                .client()
                .put("/onlineagent/101/heartbeat", Some(&guid), "")
                .code(),
            "0"
        );
    }
    assert!(poll(&mut server.client(), &guid).guid().is_some());
}

#[test]
fn a_renewal_that_was_lost_is_made_up_for_and_not_with_every_answer() {
    let server = Setup::new()
        .set("GUIDINTERVAL", "400")
        .set("GUIDTIMEOUT", "2000")
        .start();
    let guid = server.sign_in_only(101);
    let mut client = server.client();
    let mut polls = 0;
    let mut renewals = Vec::new();
    eventually("two renewals of one Guid", || {
        polls += 1;
        renewals.extend(poll(&mut client, &guid).guid());
        renewals.len() == 2
    });
    assert_ne!(renewals[0], renewals[1]);
    assert!(polls > 4, "only {polls} polls");
    for renewed in &renewals {
        assert_eq!(poll(&mut client, renewed).text(), EMPTY_POLL);
    }
}

#[test]
fn each_window_of_a_session_gets_its_own_renewal() {
    let server = always_due().start();
    let mut client = server.client();
    let first = server.sign_in_only(101);
    let second = client
        .put("/onlineagent/101/updateGuid", Some(&first), "")
        .guid()
        .unwrap();
    let_guids_age(&server);
    let renewed = [&first, &second].map(|guid| poll(&mut client, guid).guid().expect("a renewal"));
    assert_ne!(renewed[0], renewed[1]);
}

#[test]
fn update_guid_gives_another_guid_in_content_and_field_and_leaves_the_earlier_one() {
    for mode in ["1", "2"] {
        let server = Setup::new().set("AUTHMODE", mode).start();
        let first = server.sign_in(101);
        let mut client = server.client();
        let reply = client.put("/onlineagent/101/updateGuid", Some(&first), "");
        let second = reply.guid().unwrap();
        assert_ne!(first, second);
        let text =
            format!(r#"{{"result":{{"guid":"{second}"}},"message":"success","retcode":"0"}}"#);
        assert_eq!(reply.text(), text);
        for guid in [&first, &second] {
            assert_eq!(poll(&mut client, guid).text(), EMPTY_POLL, "mode {mode}");
        }
        client.delete("/onlineagent/101/logout", Some(&second));
        for guid in [&first, &second] {
            poll(&mut client, guid).assert_failure("100-006");
        }
    }
}
