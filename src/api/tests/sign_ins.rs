//! Signing in and out, and the effect of a reload of the agents on open sessions.

use super::*;
use crate::session::Role;

const EMPTY_PASSWORD: &str = r#"{"password":""}"#;

/// A hash of `swordfish` with the fewest iterations allowed.
const HASH: &str = "pbkdf2-sha256$1000$00112233445566778899aabbccddeeff$\
                    dbf4dafdb4218fa3b899443e28ee77785e670aa8291422bb0d4edb0f624628ba";

/// The agents file with a password for 101.
fn with_password(hash: &str) -> String {
    AGENTS.replace("101 = no-password", &format!("101 = {hash}"))
}

fn guid(reply: &Reply) -> Option<String> {
    let value = reply.field("Set-GUID")?;
    Some(value.strip_prefix("JSESSIONID=").unwrap().to_owned())
}

#[test]
fn a_sign_in_gives_a_guid_and_what_the_page_of_it_has() {
    let desk = Desk::with("SERVER_NAME=gw\nNODE_INDEX=3");
    let asked = desk.begin(&put("onlineagent/201").with_body(EMPTY_PASSWORD));
    assert_eq!(asked.wait(), Duration::from_secs(10));
    assert!(!asked.waiting().is_poll && !asked.context.is_authenticated());
    let asked = desk.end(asked);
    assert!(asked.context.is_authenticated());
    let reply = asked.reply();
    let (before, rest) = reply.body.split_once(r#""loginTime":""#).unwrap();
    let (time, after) = rest.split_once('"').unwrap();
    assert_eq!(
        before,
        r#"{"message":"success","retcode":"0","result":{"vdnid":2,"workno":"201","mediatype":"TTF","#
    );
    assert_eq!(
        after,
        r#","isForceChange":"false","serverName":"gw","timeRemaining":"9999"}}"#
    );
    let now = crate::api::sign_in::epoch_ms(std::time::SystemTime::now());
    assert!((now - 60_000..=now).contains(&time.parse().unwrap()));
    let guid = guid(&reply).unwrap();
    assert!(guid.ends_with("gw3"));
    assert_eq!(
        desk.code(&put("onlineagent/201/heartbeat").guid(&guid)),
        "0"
    );
}

#[test]
fn a_time_before_1970_counts_as_its_beginning() {
    let epoch = std::time::UNIX_EPOCH;
    let second = Duration::from_secs(1);
    let epoch_ms = crate::api::sign_in::epoch_ms;
    assert_eq!(
        [epoch - second, epoch, epoch + second].map(epoch_ms),
        [0, 0, 1000]
    );
}

#[test]
fn a_second_sign_in_is_refused_unless_it_is_forced() {
    let desk = Desk::new();
    let sign_in = put("onlineagent/101").with_body(EMPTY_PASSWORD);
    let force = put("onlineagent/101/forcelogin").with_body(EMPTY_PASSWORD);
    let first = guid(&desk.ask(&sign_in)).unwrap();
    let refused = desk.end(desk.begin(&sign_in));
    assert!(!refused.context.is_authenticated());
    let refused = refused.reply();
    assert_eq!(refused.body, failure(ResultCode::ALREADY_SIGNED_IN));
    assert_eq!(guid(&refused), None);
    let second = guid(&desk.ask(&force)).unwrap();
    for (guid, code) in [(first, "100-006"), (second, "0")] {
        assert_eq!(
            desk.code(&put("onlineagent/101/heartbeat").guid(&guid)),
            code
        );
    }
}

#[test]
fn content_that_is_no_sign_in_is_refused_at_once() {
    let desk = Desk::new();
    for body in ["", "{}", r#"{"password":"","status":"9"}"#] {
        let asked = desk.begin(&put("onlineagent/101").with_body(body));
        assert_eq!(asked.reply().body, failure(ResultCode::INVALID_SIGN_IN));
    }
    let busy = put("onlineagent/101").with_body(r#"{"password":"","status":3}"#);
    let guid = guid(&desk.ask(&busy)).unwrap();
    assert_eq!(
        desk.body(get("onlineagent/101/agentstatus"), &guid),
        r#"{"message":"","retcode":"0","result":{"agentState":3,"isWorking":false}}"#
    );
}

#[test]
fn wrong_passwords_and_unknown_agents_are_told_alike_and_the_fifth_locks_the_pair() {
    let desk = Desk::new();
    desk.gateway.replace_roster(roster(&with_password(HASH)));
    desk.gateway.verifier.set_dummy_cost(1000);
    let body = |password: &str| format!(r#"{{"password":"{password}"}}"#);
    let unknown = put("onlineagent/999").with_body(&body("swordfish"));
    assert_eq!(desk.ask(&unknown).body, failure(ResultCode::WRONG_PASSWORD));
    let wrong = put("onlineagent/101").with_body(&body("Swordfish"));
    let right = put("onlineagent/101").with_body(&body("swordfish"));
    for _ in 0..4 {
        assert_eq!(desk.ask(&wrong).body, failure(ResultCode::WRONG_PASSWORD));
    }
    // A success resets the count of failures.
    assert_eq!(desk.code(&right), "0");
    for _ in 0..5 {
        assert_eq!(desk.ask(&wrong).body, failure(ResultCode::WRONG_PASSWORD));
    }
    let locked = desk.begin(&right);
    assert_eq!(locked.wait(), Duration::from_millis(500));
    assert_eq!(desk.end(locked).reply().body, failure(ResultCode::LOCKED));
    // Only this agent is locked, and only at this address.
    assert_eq!(
        desk.code(
            &put("onlineagent/101/forcelogin")
                .with_body(&body("swordfish"))
                .from("192.0.2.1")
        ),
        "0"
    );
    assert_eq!(
        desk.code(&put("onlineagent/102").with_body(EMPTY_PASSWORD)),
        "0"
    );
}

#[test]
fn a_check_that_takes_too_long_is_busy_or_locked_by_then() {
    let desk = Desk::new();
    desk.gateway.replace_roster(roster(&with_password(HASH)));
    let wrong = put("onlineagent/101").with_body(r#"{"password":"x"}"#);
    let asked = desk.begin(&wrong);
    let late = desk.expire(asked).reply();
    assert_eq!(
        (late.status, &*late.body, late.field("Retry-After")),
        (503, &*failure(ResultCode::BUSY), Some("5"))
    );
    let asked = desk.begin(&wrong.clone().from("192.0.2.1"));
    for _ in 0..5 {
        let now = Instant::now();
        desk.gateway
            .throttle
            .failed(agent(101), "192.0.2.1".parse().unwrap(), now);
    }
    assert_eq!(desk.expire(asked).reply().body, failure(ResultCode::LOCKED));
}

#[test]
fn one_sign_in_of_an_agent_from_an_address_runs_at_a_time() {
    let desk = Desk::new();
    let sign_in = put("onlineagent/101").with_body(EMPTY_PASSWORD);
    let first = desk.gateway.sign_ins.begin((agent(101), sign_in.peer));
    assert_eq!(
        desk.begin(&sign_in).reply().body,
        failure(ResultCode::SIGNING_IN)
    );
    drop(first);
    assert_eq!(desk.code(&sign_in), "0");
}

#[test]
fn who_is_removed_while_the_password_is_checked_does_not_get_in() {
    let desk = Desk::new();
    desk.gateway.replace_roster(roster(&with_password(HASH)));
    let sign_in = put("onlineagent/101").with_body(r#"{"password":"swordfish"}"#);
    for agents in [
        with_password(&HASH.replace("0011", "1100")),
        AGENTS.replace("101 =", "103 ="),
    ] {
        desk.gateway.replace_roster(roster(&with_password(HASH)));
        let asked = desk.begin(&sign_in);
        desk.gateway.replace_roster(roster(&agents));
        let reply = desk.end(asked).reply();
        assert_eq!(reply.body, failure(ResultCode::WRONG_PASSWORD));
        assert_eq!(desk.gateway.sessions.len(Instant::now()), 0);
    }
}

#[test]
fn each_way_to_sign_out_ends_the_session() {
    let desk = Desk::new();
    for (path, code) in [
        ("logout", "0"),
        ("forcelogout", "0"),
        ("forcelogoutwithreason/255", "0"),
        ("forcelogoutwithreason/256", "100-005"),
    ] {
        let guid = desk.sign_in(101);
        let reply = desk.ask(&delete(&format!("onlineagent/101/{path}")).guid(&guid));
        assert_eq!(reply.code.wire(), code, "{path}");
        let is_open = desk.gateway.sessions.len(Instant::now()) == 1;
        assert_eq!(is_open, code != "0", "{path}");
        if code == "0" {
            assert_eq!(reply.body, EMPTY);
        }
    }
}

#[test]
fn a_reload_ends_the_sessions_of_those_it_changes_and_no_other() {
    let desk = Desk::new();
    assert_eq!(desk.gateway.replace_roster(roster(AGENTS)), None);
    let [first, second] = [101, 102].map(|number| desk.sign_in(number));
    let permit = desk.gateway.downloads.acquire(101, 0).unwrap();
    let other = desk.gateway.downloads.acquire(102, 0).unwrap();
    let without = roster(&AGENTS.replace("101 = no-password\n", ""));
    assert_eq!(desk.gateway.replace_roster(without), Some(1));
    assert!(permit.is_revoked() && !other.is_revoked());
    for (number, guid, code) in [(101, first, "100-006"), (102, second, "0")] {
        assert_eq!(
            desk.code(&put(&format!("onlineagent/{number}/heartbeat")).guid(&guid)),
            code
        );
    }
    assert_eq!(
        desk.code(&put("onlineagent/101").with_body(r#"{"password":"x"}"#)),
        "100-004"
    );
    let promoted = format!("{AGENTS}102.role = inspector\n");
    assert_eq!(desk.gateway.replace_roster(roster(&promoted)), Some(1));
    let role = desk.gateway.roster().agent(agent(102)).unwrap().role;
    assert_eq!(role, Role::Inspector);
}

#[test]
fn what_failed_sign_ins_lock_is_told_to_the_operator() {
    use crate::ops::log_capture::logged;
    let desk = Desk::new();
    let peer = "192.0.2.1";
    let fail = |number: u32| {
        let sign_in = put(&format!("onlineagent/{number}")).with_body(r#"{"password":"x"}"#);
        let asked = desk.begin(&sign_in.from(peer));
        logged(|| drop(desk.end(asked)))
    };
    desk.gateway.verifier.set_dummy_cost(1000);
    let lines: Vec<_> = (0..5).flat_map(|_| fail(101)).collect();
    assert_eq!(
        lines,
        ["WARN agent 101 is locked for clients at 192.0.2.1: too many failed sign-ins"]
    );
    let lines: Vec<_> = (200..300).flat_map(fail).collect();
    assert_eq!(
        lines,
        [
            "WARN all agents that have not signed in from 192.0.2.1 are locked for clients there: too many failed sign-ins"
        ]
    );
}
