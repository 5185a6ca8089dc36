//! Parked polls, and the end of sessions by sign-out or silence.

use crate::support::{
    Client, EMPTY_POLL, Reply, SIGN_IN, Server, Setup, eventually, let_guids_age,
};

fn poll(client: &mut Client, guid: &str) -> Reply {
    client.get("/agentevent/101", Some(guid))
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
    assert_eq!(
        server
            .client()
            .put("/onlineagent/101/heartbeat", Some(&guid), "")
            .code(),
        "0"
    );
    assert_eq!(server.client().get("/health", None).code(), "0");
    assert_eq!(
        server.metric("cc_gateway_polls_parked"),
        1,
        "the poll is not answered yet"
    );
    let reply = parked.reply();
    reply.assert_json(200, &[]);
    assert_eq!(reply.text(), EMPTY_POLL);
    assert_eq!(server.metric("cc_gateway_polls_parked"), 0);
}

#[test]
fn a_poll_without_times_is_answered_at_once() {
    let server = Setup::new()
        .endless_polls()
        .set("AGENT_POLL_WAIT_TIMES", "0")
        .start();
    let guid = server.sign_in(101);
    assert_eq!(poll(&mut server.client(), &guid).text(), EMPTY_POLL);
}

#[test]
fn every_way_to_sign_out_answers_the_parked_polls_at_once() {
    let server = Setup::new().endless_polls().start();
    for way in [
        "logout",
        "forcelogout",
        "forcelogoutwithreason/1",
        "forcelogoutwithreason/255",
    ] {
        let guid = server.sign_in(101);
        let mut parked = [server.park(101, &guid), server.park(101, &guid)];
        let mut client = server.client();
        let reply = client.delete(&format!("/onlineagent/101/{way}"), Some(&guid));
        reply.assert_json(200, &[]);
        assert_eq!(reply.text(), r#"{"message":"","retcode":"0"}"#, "{way}");
        parked
            .iter_mut()
            .for_each(|parked| parked.reply().assert_failure("100-006"));
        // The session has ended already.
        client
            .delete(&format!("/onlineagent/101/{way}"), Some(&guid))
            .assert_failure("100-006");
        client
            .delete(&format!("/onlineagent/101/{way}"), None)
            .assert_failure("100-006");
    }
}

/// Strings that are not a plain decimal number from 1 to 255.
const NOT_REASONS: [&str; 10] = [
    "0",
    "256",
    "-1",
    "+1",
    "01",
    "1.0",
    "x",
    "1a",
    "%20",
    "99999999999999999999",
];

#[test]
fn a_reason_that_is_none_is_refused_after_the_guid_and_ends_nothing() {
    let server = Server::start();
    let mut client = server.client();
    for reason in NOT_REASONS {
        let path = format!("/onlineagent/101/forcelogoutwithreason/{reason}");
        client.delete(&path, None).assert_failure("100-006");
    }
    let guid = server.sign_in(101);
    for reason in NOT_REASONS {
        let path = format!("/onlineagent/101/forcelogoutwithreason/{reason}");
        client.delete(&path, Some(&guid)).assert_failure("100-005");
    }
    client
        .delete("/onlineagent/101/forcelogoutwithreason/0", Some("wrong"))
        .assert_failure("000-003");
    assert_eq!(poll(&mut client, &guid).text(), EMPTY_POLL);
}

#[test]
fn an_agent_that_is_silent_is_signed_out_and_one_that_is_heard_is_not() {
    let server = Setup::new().set("MAXTIME", "4000").start();
    let silent = server.sign_in(101);
    let heard = server.sign_in(102);
    let mut client = server.client();
    eventually("the end of the silent session", || {
        assert_eq!(
            client
                .put("/onlineagent/102/heartbeat", Some(&heard), "")
                .code(),
            "0"
        );
        server.metric("cc_gateway_sessions") == 1
    });
    poll(&mut client, &silent).assert_failure("100-006");
    // The agent can sign in again without force.
    assert_eq!(client.put("/onlineagent/101", None, SIGN_IN).code(), "0");
    assert_eq!(
        client
            .put("/onlineagent/102/heartbeat", Some(&heard), "")
            .code(),
        "0"
    );
}

#[test]
fn an_agent_counts_as_heard_until_its_parked_poll_is_answered() {
    let server = Setup::new()
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "30")
        .set("AGENT_POLL_WAIT_INTERVAL", "100")
        .set("MAXTIME", "4000")
        .start();
    let witness = Setup::new().set("GUIDINTERVAL", "1250").start();
    let guid = server.sign_in(101);
    assert_eq!(poll(&mut server.client(), &guid).text(), EMPTY_POLL);
    let_guids_age(&witness);
    // More than MAXTIME after the poll was sent, but less than MAXTIME after it was answered.
    assert_eq!(
        server
            .client()
            .put("/onlineagent/101/heartbeat", Some(&guid), "")
            .code(),
        "0"
    );
}

#[test]
fn with_timeout_flag_off_silence_ends_nothing() {
    let server = Setup::new()
        .set("TIMEOUT_FLAG", "OFF")
        .set("MAXTIME", "1")
        .start();
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
    // A refusal takes half a second, less than MAXTIME: if refused requests counted, the session
    // would never end.
    eventually("the end of the session", || {
        match &*poll(&mut client, "wrong").code() {
            "000-003" => false,
            code => code == "100-006",
        }
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
    assert_eq!(
        (reply.text(), reply.field("Connection")),
        (EMPTY_POLL, Some("close"))
    );
    assert_eq!(parked.rest(), (Vec::new(), true));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn two_hundred_parked_polls_keep_nobody_from_signing_in() {
    let agents: String = (1000..1200)
        .map(|agent| format!("{agent} = no-password\n"))
        .collect();
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
            let guid = reply.guid().unwrap();
            client.take_sign_in_events(agent, &guid);
            let guid = format!("Guid: {guid}\r\n");
            client.send_request("GET", &format!("/agentevent/{agent}"), &guid, "");
            client
        })
        .collect();
    eventually("two hundred parked polls", || {
        server.metric("cc_gateway_polls_parked") == 200
    });
    let guid = server.sign_in(101);
    assert_eq!(
        server
            .client()
            .put("/onlineagent/101/heartbeat", Some(&guid), "")
            .code(),
        "0"
    );
    assert_eq!(
        server.metric("cc_gateway_polls_parked"),
        200,
        "no parked poll was answered"
    );
    let reply = server
        .client()
        .put("/onlineagent/1100/forcelogin", None, r#"{"password":""}"#);
    assert_eq!(reply.code(), "0");
    assert_eq!(parked[100].reply().text(), EMPTY_POLL);
    eventually("all others still parked", || {
        server.metric("cc_gateway_polls_parked") == 199
    });
}
