//! Polls, and the other requests that keep a session alive.

use super::*;
use crate::api::sign_in::epoch_ms;
use crate::session::{Event, Media, StopRecordContent};

/// An event, and the body of a reply to a poll with it.
fn event(task_id: u64) -> (Event, String) {
    let content = StopRecordContent {
        begin_ms: 1,
        end_ms: 2,
        record_format: 0,
        task_id,
        call_id: "",
    };
    let event = Event::stop_record_done(Media::Audio, &content, 3);
    let body = event.poll_body(agent(101));
    (event, body)
}

fn push(desk: &Desk, event: Event) {
    desk.gateway
        .sessions
        .push_event(agent(101), None, event, Instant::now());
}

#[test]
fn a_poll_gets_the_event_there_is_or_the_one_that_comes() {
    let desk = Desk::new();
    let guid = desk.sign_in(101);
    let poll = get("agentevent/101").guid(&guid);
    for name in ["AgentOther_InService", "AgentState_Ready"] {
        let asked = desk.begin(&poll);
        assert!(asked.context.is_authenticated());
        let reply = desk.end(asked).reply();
        assert!(reply.body.contains(name), "{}", reply.body);
    }
    let asked = desk.begin(&poll);
    assert!(asked.waiting().is_poll);
    assert_eq!(asked.wait(), Duration::from_millis(9700));
    assert!(!asked.is_finished());
    let (event, body) = event(7);
    push(&desk, event);
    let reply = desk.end(asked).reply();
    assert_eq!(reply.body, body);
    assert_eq!(reply.field("Set-GUID"), None);
}

#[test]
fn a_poll_whose_time_is_up_or_for_which_the_service_ends_is_empty() {
    let desk = Desk::new();
    let guid = desk.sign_in_quietly(101);
    let poll = get("agentevent/101").guid(&guid);
    let asked = desk.begin(&poll);
    assert_eq!(desk.expire(asked).reply().body, EMPTY);
    let asked = desk.begin(&poll);
    desk.gateway.drain();
    assert_eq!(desk.end(asked).reply().body, EMPTY);
    assert_eq!(desk.begin(&poll).reply().body, EMPTY);
}

#[test]
fn where_polls_are_not_to_wait_they_are_answered_at_once() {
    for lines in ["AGENT_POLL_WAIT_FLAG=OFF", "AGENT_POLL_WAIT_TIMES=0"] {
        let desk = Desk::with(lines);
        let guid = desk.sign_in_quietly(101);
        let asked = desk.begin(&get("agentevent/101").guid(&guid));
        assert_eq!(asked.reply().body, EMPTY);
    }
}

#[test]
fn an_event_that_does_not_reach_its_client_is_the_next_one_again() {
    let desk = Desk::new();
    let guid = desk.sign_in_quietly(101);
    let poll = get("agentevent/101").guid(&guid);
    let (first, body) = event(1);
    push(&desk, first);
    let lost = desk.ask(&poll);
    assert_eq!(lost.body, body);
    (lost.undelivered.unwrap())(&desk.gateway);
    let again = desk.ask(&poll);
    assert_eq!(again.body, body);
    assert!(
        !desk.begin(&poll).is_finished(),
        "the event was delivered twice"
    );
    let asked = desk.begin(&poll);
    assert!(desk.expire(asked).reply().undelivered.is_none());
}

#[test]
fn a_poll_whose_client_has_left_leaves_the_event_to_an_older_one() {
    let desk = Desk::new();
    let guid = desk.sign_in_quietly(101);
    let poll = get("agentevent/101").guid(&guid);
    let there = desk.begin(&poll);
    let Outcome::Waits(mut gone) = desk.begin(&poll).outcome else {
        panic!("the poll does not wait");
    };
    gone.is_waiting = Arc::default();
    let (event, body) = event(1);
    push(&desk, event);
    let Ok(Some(finish)) = there.waiting().finish.try_recv() else {
        panic!("the event went to the client that has left");
    };
    let answer = desk.gateway.resume(&there.context, finish);
    assert_eq!(desk.asked(there.context, answer).reply().body, body);
}

#[test]
fn the_poll_of_a_session_that_ends_is_told_and_that_of_a_replaced_one_held_back_and_empty() {
    let desk = Desk::new();
    let guid = desk.sign_in_quietly(101);
    let asked = desk.begin(&get("agentevent/101").guid(&guid));
    assert_eq!(desk.body(delete("onlineagent/101/logout"), &guid), EMPTY);
    assert_eq!(desk.end(asked).reply().code, ResultCode::NOT_SIGNED_IN);

    let guid = desk.sign_in_quietly(101);
    let asked = desk.begin(&get("agentevent/101").guid(&guid));
    desk.sign_in(101);
    let Ok(Some(finish)) = asked.waiting().finish.recv() else {
        panic!("the poll was not completed");
    };
    let before = Instant::now();
    let answer = desk.gateway.resume(&asked.context, finish);
    let asked = desk.asked(asked.context, answer);
    let held = asked.waiting().until - before;
    assert!(held >= Duration::from_millis(500) && held < LONG);
    assert!(!asked.waiting().is_poll);
    assert_eq!(desk.end(asked).reply().body, EMPTY);
}

#[test]
fn a_poll_and_a_handshake_bring_a_renewed_guid_once_one_is_due() {
    // The shortest interval: it has passed when the next request comes.
    let desk = Desk::with("GUIDINTERVAL=1\nGUIDTIMEOUT=86400000");
    let guid = desk.sign_in(101);
    std::thread::sleep(Duration::from_millis(2));
    let renewed = |reply: &Reply| {
        let value = reply.field("Set-GUID").unwrap();
        value.strip_prefix("JSESSIONID=").unwrap().to_owned()
    };
    let polled = renewed(&desk.ask(&get("agentevent/101").guid(&guid)));
    assert!(polled != guid && polled.ends_with("AgentGateway0"));
    std::thread::sleep(Duration::from_millis(2));
    let reply = desk.ask(&post("onlineagent/101/handshake").guid(&polled));
    assert_eq!(reply.body, r#"{"message":"success","retcode":"0"}"#);
    assert!(renewed(&reply) != polled);

    let static_desk = Desk::with("AUTHMODE=1\nGUIDINTERVAL=1\nSERVER_NAME=gw\nNODE_INDEX=7");
    let guid = static_desk.sign_in(101);
    assert!(guid.ends_with("gw7"), "{guid}");
    std::thread::sleep(Duration::from_millis(2));
    let reply = static_desk.ask(&post("onlineagent/101/handshake").guid(&guid));
    assert_eq!(reply.field("Set-GUID"), None);
}

#[test]
fn a_handshake_may_have_a_token_of_letters() {
    let desk = Desk::new();
    let guid = desk.sign_in(101);
    for (token, code) in [("abc-1", "0"), ("", "0"), ("a b", "100-001")] {
        let call = post("onlineagent/101/handshake").header(HeaderName::ServiceToken, token);
        assert_eq!(desk.code(&call.guid(&guid)), code, "{token}");
    }
}

#[test]
fn a_heartbeat_tells_when_the_agent_signed_in() {
    let desk = Desk::new();
    let guid = desk.sign_in(101);
    let body = desk.body(put("onlineagent/101/heartbeat"), &guid);
    let time = body
        .strip_prefix(r#"{"message":"success","retcode":"0","result":{"loginTime":""#)
        .and_then(|rest| rest.strip_suffix(r#""}}"#))
        .unwrap();
    let now = epoch_ms(std::time::SystemTime::now());
    assert!((now - 60_000..=now).contains(&time.parse().unwrap()));
}

#[test]
fn another_guid_is_given_in_the_body_and_the_field_and_both_are_in_force() {
    let desk = Desk::new();
    let guid = desk.sign_in(101);
    let reply = desk.ask(&put("onlineagent/101/updateGuid").guid(&guid));
    let field = reply.field("Set-GUID").unwrap();
    let other = field.strip_prefix("JSESSIONID=").unwrap();
    assert_eq!(
        reply.body,
        format!(r#"{{"result":{{"guid":"{other}"}},"message":"success","retcode":"0"}}"#)
    );
    assert!(other != guid);
    for guid in [&*guid, other] {
        assert_eq!(desk.code(&put("onlineagent/101/heartbeat").guid(guid)), "0");
    }
}
