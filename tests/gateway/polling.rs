//! Polls, Guids that are renewed, and sessions that end.

use crate::support::{Client, EMPTY_POLL, Reply, SIGN_IN, Server, Setup, eventually};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";

/// A Guid is due for renewal a millisecond after its issue and lasts.
fn always_due() -> Setup {
    Setup::new().set("GUIDINTERVAL", "1").set("GUIDTIMEOUT", "60000").recording(RECORDING, "video")
}

fn poll(client: &mut Client, guid: &str) -> Reply {
    client.get("/agentevent/101", Some(guid))
}

/// Waits until any Guid that was issued before this call is due for renewal.
fn let_guids_age(server: &Server) {
    let guid = server.client().put("/onlineagent/102/forcelogin", None, SIGN_IN).guid().unwrap();
    eventually("a renewal", || server.client().get("/agentevent/102", Some(&guid)).guid().is_some());
}

#[test]
fn a_guid_is_renewed_in_the_answers_to_polls_and_handshakes_and_in_no_others() {
    let server = always_due().start();
    let mut client = server.client();
    for (method, path) in [("GET", "/agentevent/101"), ("POST", "/onlineagent/101/handshake")] {
        let guid = client.put("/onlineagent/101/forcelogin", None, SIGN_IN).guid().unwrap();
        let_guids_age(&server);
        for (method, path, body, code) in [
            ("PUT", "/onlineagent/101/heartbeat", "", "0"),
            ("PUT", "/onlineagent/101", SIGN_IN, "100-002"),
            ("DELETE", "/onlineagent/101/forcelogoutwithreason/0", "", "100-005"),
            ("GET", "/recordfile/101/videofiledownloadEx", "", "108-009"),
            ("GET", "/health", "", "0"),
        ] {
            let reply = client.request(method, path, Some(&guid), body);
            assert_eq!((reply.outcome(), reply.guid()), ((200, code.into()), None), "{method} {path}");
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
        // Both are good until their own time has come.
        assert_eq!(client.put("/onlineagent/101/heartbeat", Some(&guid), "").code(), "0");
        assert_eq!(client.put("/onlineagent/101/heartbeat", Some(&renewed), "").code(), "0");
    }
}

#[test]
fn the_content_of_a_poll_is_the_same_with_a_renewed_guid() {
    let server = always_due().start();
    let guid = server.sign_in(101);
    let_guids_age(&server);
    let reply = poll(&mut server.client(), &guid);
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
    let mut guids = vec![server.sign_in(101)];
    while guids.len() < 100 {
        let reply = poll(&mut client, guids.last().unwrap());
        assert_eq!(reply.text(), EMPTY_POLL, "after {} renewals", guids.len());
        guids.extend(reply.guid());
    }
    guids.sort_unstable();
    guids.dedup();
    assert_eq!(guids.len(), 100, "no Guid comes twice");
}

#[test]
fn a_client_that_never_follows_keeps_its_session_in_mode_1() {
    let server = Setup::new().set("AUTHMODE", "1").set("GUIDINTERVAL", "1").set("GUIDTIMEOUT", "2").start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    // Nothing is ever due in this mode, so that age has to be shown by another server with the same settings.
    let witness = Setup::new().set("GUIDINTERVAL", "1").set("GUIDTIMEOUT", "2").start();
    for _ in 0..3 {
        let_guids_age(&witness);
        for (method, path) in
            [("GET", "/agentevent/101"), ("POST", "/onlineagent/101/handshake"), ("PUT", "/onlineagent/101/heartbeat")]
        {
            let reply = client.request(method, path, Some(&guid), "");
            assert_eq!((reply.code(), reply.guid()), ("0".into(), None), "{path}");
        }
    }
    let other = client.put("/onlineagent/101/updateGuid", Some(&guid), "").guid().unwrap();
    let_guids_age(&witness);
    assert_eq!(poll(&mut client, &guid).text(), EMPTY_POLL, "the Guid of sign-in lasts");
    assert_eq!(poll(&mut client, &other).text(), EMPTY_POLL);
}

#[test]
fn a_client_that_never_follows_loses_its_right_in_mode_2_and_the_newest_guid_keeps_it() {
    let server = Setup::new().set("GUIDINTERVAL", "50").set("GUIDTIMEOUT", "200").start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    let mut newest = None;
    eventually("the end of the right", || {
        let reply = poll(&mut client, &guid);
        newest = reply.guid().or(newest.take());
        if reply.code() == "0" {
            return false;
        }
        reply.assert_failure("000-003");
        true
    });
    // It was renewed before it expired, and that client could still go on.
    assert_eq!(poll(&mut client, &newest.unwrap()).text(), EMPTY_POLL);
}

#[test]
fn the_newest_guid_does_not_expire_while_nothing_renews_it() {
    let server = Setup::new().set("GUIDINTERVAL", "1").set("GUIDTIMEOUT", "2").start();
    let guid = server.sign_in(101);
    for _ in 0..3 {
        let_guids_age(&server);
        assert_eq!(server.client().put("/onlineagent/101/heartbeat", Some(&guid), "").code(), "0");
    }
    assert!(poll(&mut server.client(), &guid).guid().is_some());
}

#[test]
fn a_renewal_that_was_lost_is_made_up_for_and_not_with_every_answer() {
    let server = Setup::new().set("GUIDINTERVAL", "400").set("GUIDTIMEOUT", "2000").start();
    let guid = server.sign_in(101);
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
    let first = server.sign_in(101);
    let second = client.put("/onlineagent/101/updateGuid", Some(&first), "").guid().unwrap();
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
        let text = format!(r#"{{"result":{{"guid":"{second}"}},"message":"success","retcode":"0"}}"#);
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

#[test]
fn a_poll_waits_as_long_as_is_set_while_others_are_answered() {
    let server = Setup::new()
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "5")
        .set("AGENT_POLL_WAIT_INTERVAL", "300")
        .set("WORKER_THREADS", "1")
        .start();
    let guid = server.sign_in(101);
    let mut parked = server.park(101, &guid);
    assert_eq!(server.client().put("/onlineagent/101/heartbeat", Some(&guid), "").code(), "0");
    assert_eq!(server.client().get("/health", None).code(), "0");
    assert_eq!(server.metric("cc_gateway_polls_parked"), 1, "the poll is not answered yet");
    let reply = parked.reply();
    reply.assert_json(200, &[]);
    assert_eq!(reply.text(), EMPTY_POLL);
    assert_eq!(server.metric("cc_gateway_polls_parked"), 0);
}

#[test]
fn a_poll_without_times_is_answered_at_once() {
    let server = Setup::new().endless_polls().set("AGENT_POLL_WAIT_TIMES", "0").start();
    let guid = server.sign_in(101);
    assert_eq!(poll(&mut server.client(), &guid).text(), EMPTY_POLL);
}

#[test]
fn every_way_to_sign_out_answers_the_parked_polls_at_once() {
    let server = Setup::new().endless_polls().start();
    for way in ["logout", "forcelogout", "forcelogoutwithreason/1", "forcelogoutwithreason/255"] {
        let guid = server.sign_in(101);
        let mut parked = [server.park(101, &guid), server.park(101, &guid)];
        let mut client = server.client();
        let reply = client.delete(&format!("/onlineagent/101/{way}"), Some(&guid));
        reply.assert_json(200, &[]);
        assert_eq!(reply.text(), r#"{"message":"","retcode":"0"}"#, "{way}");
        parked.iter_mut().for_each(|parked| parked.reply().assert_failure("100-006"));
        // There is nothing left to sign out.
        client.delete(&format!("/onlineagent/101/{way}"), Some(&guid)).assert_failure("100-006");
        client.delete(&format!("/onlineagent/101/{way}"), None).assert_failure("100-006");
    }
}

#[test]
fn a_reason_that_is_none_is_refused_after_the_guid_and_ends_nothing() {
    let server = Server::start();
    let mut client = server.client();
    for reason in ["0", "256", "-1", "+1", "01", "1.0", "x", "1a", "%20", "99999999999999999999"] {
        let path = format!("/onlineagent/101/forcelogoutwithreason/{reason}");
        client.delete(&path, None).assert_failure("100-006");
    }
    let guid = server.sign_in(101);
    for reason in ["0", "256", "-1", "+1", "01", "1.0", "x", "1a", "%20", "99999999999999999999"] {
        let path = format!("/onlineagent/101/forcelogoutwithreason/{reason}");
        client.delete(&path, Some(&guid)).assert_failure("100-005");
    }
    client.delete("/onlineagent/101/forcelogoutwithreason/0", Some("wrong")).assert_failure("000-003");
    assert_eq!(poll(&mut client, &guid).text(), EMPTY_POLL);
}

#[test]
fn an_agent_that_is_silent_is_signed_out_and_one_that_is_heard_is_not() {
    let server = Setup::new().set("MAXTIME", "800").start();
    let silent = server.sign_in(101);
    let heard = server.sign_in(102);
    let mut client = server.client();
    eventually("the end of the silent session", || {
        assert_eq!(client.put("/onlineagent/102/heartbeat", Some(&heard), "").code(), "0");
        server.metric("cc_gateway_sessions") == 1
    });
    poll(&mut client, &silent).assert_failure("100-006");
    // So the agent can sign in again without force.
    assert_eq!(client.put("/onlineagent/101", None, SIGN_IN).code(), "0");
    assert_eq!(client.put("/onlineagent/102/heartbeat", Some(&heard), "").code(), "0");
}

#[test]
fn an_agent_counts_as_heard_until_its_parked_poll_is_answered() {
    let server = Setup::new()
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "6")
        .set("AGENT_POLL_WAIT_INTERVAL", "100")
        .set("MAXTIME", "800")
        .start();
    let witness = Setup::new().set("GUIDINTERVAL", "250").start();
    let guid = server.sign_in(101);
    assert_eq!(poll(&mut server.client(), &guid).text(), EMPTY_POLL);
    let_guids_age(&witness);
    // Later than MAXTIME after the poll was sent, and sooner than that after it was answered.
    assert_eq!(server.client().put("/onlineagent/101/heartbeat", Some(&guid), "").code(), "0");
}

#[test]
fn with_timeout_flag_off_silence_ends_nothing() {
    let server = Setup::new().set("TIMEOUT_FLAG", "OFF").set("MAXTIME", "1").start();
    let guid = server.sign_in(101);
    let_guids_age(&Setup::new().set("GUIDINTERVAL", "20").start());
    assert_eq!(server.metric("cc_gateway_sessions"), 1);
    assert_eq!(poll(&mut server.client(), &guid).text(), EMPTY_POLL);
}

#[test]
fn a_refused_request_does_not_keep_a_session() {
    let server = Setup::new().set("MAXTIME", "700").start();
    server.sign_in(101);
    let mut client = server.client();
    // A refusal takes half a second: the session would last for ever if it counted.
    eventually("the end of the session", || match &*poll(&mut client, "wrong").code() {
        "000-003" => false,
        code => code == "100-006",
    });
}

#[test]
fn a_handshake_takes_a_plain_token_of_fifty_characters_and_no_other() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    for (token, code) in [
        ("", "0"),
        ("aZ0-_.", "0"),
        (&*"x".repeat(50), "0"),
        (&*"x".repeat(51), "100-001"),
        ("a b", "100-001"),
        ("<script>", "100-001"),
    ] {
        let fields = format!("Guid: {guid}\r\nservice_token: {token}\r\n");
        client.send_request("POST", "/onlineagent/101/handshake", &fields, "");
        let reply = client.reply();
        assert_eq!(reply.code(), code, "{token}");
        if code == "0" {
            assert_eq!(reply.text(), r#"{"message":"success","retcode":"0"}"#);
        }
    }
}

#[test]
fn parked_polls_are_answered_when_the_service_ends() {
    let mut server = Setup::new().endless_polls().start();
    let guid = server.sign_in(101);
    let mut parked = server.park(101, &guid);
    server.signal("TERM");
    let reply = parked.reply();
    reply.assert_json(200, &[]);
    assert_eq!((reply.text(), reply.field("Connection")), (EMPTY_POLL, Some("close")));
    assert_eq!(parked.rest(), (Vec::new(), true));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn two_hundred_parked_polls_keep_nobody_from_signing_in() {
    let agents: String = (1000..1200).map(|agent| format!("{agent} =\n")).collect();
    let server = Setup::new()
        .endless_polls()
        .agents(&agents)
        .set("MAX_CONNECTIONS_PER_ADDRESS", "512")
        .set("WORKER_THREADS", "2")
        .start();
    let mut parked: Vec<_> = (1000..1200)
        .map(|agent| {
            let mut client = server.client();
            let reply = client.put(&format!("/onlineagent/{agent}"), None, r#"{"password":""}"#);
            let guid = format!("Guid: {}\r\n", reply.guid().unwrap());
            client.send_request("GET", &format!("/agentevent/{agent}"), &guid, "");
            client
        })
        .collect();
    eventually("two hundred parked polls", || server.metric("cc_gateway_polls_parked") == 200);
    let guid = server.sign_in(101);
    assert_eq!(server.client().put("/onlineagent/101/heartbeat", Some(&guid), "").code(), "0");
    assert_eq!(server.metric("cc_gateway_polls_parked"), 200, "none of them was answered first");
    let reply = server.client().put("/onlineagent/1100/forcelogin", None, r#"{"password":""}"#);
    assert_eq!(reply.code(), "0");
    parked[100].reply().assert_failure("100-006");
    eventually("all others still parked", || server.metric("cc_gateway_polls_parked") == 199);
}
