//! Signing in: what is answered, what is refused, and what guessing leads to.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{EMPTY_POLL, SIGN_IN, Server, Setup, eventually};

const WRONG: &str = r#"{"password":"wrong"}"#;
/// What the log says of a lock.
const LOCKED: &str = "is locked for clients at";

/// Agents whose passwords take about a second to check, and are never right.
fn slow_agents(ids: impl Iterator<Item = u32>) -> String {
    let hash = "0".repeat(64);
    ids.map(|id| format!("{id} = pbkdf2-sha256$10000000$000102030405060708090a0b0c0d0e0f${hash}\n")).collect()
}

fn epoch_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

#[test]
fn the_result_has_the_documented_fields_with_the_documented_types() {
    let server = Setup::new().agents("101.vdn = 7\n").set("SERVER_NAME", "West").start();
    for path in ["/onlineagent/101", "/onlineagent/101/forcelogin"] {
        let before = epoch_ms();
        let reply = server.client().put(path, None, SIGN_IN);
        reply.assert_json(200, &["Set-GUID"]);
        let json = reply.json();
        let login_time = json["result"]["loginTime"].as_str().unwrap();
        assert!((before..=epoch_ms()).contains(&login_time.parse().unwrap()), "{login_time}");
        assert_eq!(
            json,
            serde_json::json!({"message": "success", "retcode": "0", "result": {
                "vdnid": 7, "workno": "101", "mediatype": "TTF", "loginTime": login_time, "isForceChange": "false",
                "serverName": "West", "timeRemaining": "9999",
            }}),
            "{path}"
        );
    }
}

#[test]
fn the_heartbeat_repeats_the_time_of_the_sign_in() {
    let server = Server::start();
    let reply = server.client().put("/onlineagent/101", None, SIGN_IN);
    let signed_in: i64 = reply.json()["result"]["loginTime"].as_str().unwrap().parse().unwrap();
    let beat = server.client().put("/onlineagent/101/heartbeat", reply.guid().as_deref(), "");
    let told: i64 = beat.json()["result"]["loginTime"].as_str().unwrap().parse().unwrap();
    // It is reckoned back from now, so that a clock that was set meanwhile shows.
    assert!((told - signed_in).abs() < 1000, "{signed_in} {told}");
}

#[test]
fn every_documented_field_has_its_type_and_bounds() {
    let server = Server::start();
    let mut client = server.client();
    let text = |length| format!("\"{}\"", "x".repeat(length));
    let switch = vec!["true", "false", "\"true\"", "\"false\"", "\"\"", "null"];
    let no_switch = vec!["\"yes\"", "1", "0", "\"1\"", "[]", "{}"];
    let (long_24, long_25, long_200, long_201) = (text(24), text(25), text(200), text(201));
    let (long_50, long_51) = (text(50), text(51));
    let mut fields = vec![
        ("phonenum", vec!["\"\"", "\"40038\"", &long_24, "null"], vec![&*long_25, "40038", "true", "[]"]),
        (
            "agenttype",
            vec!["4", "11", "\"4\"", "\"11\"", "\"\"", "null"],
            vec!["0", "-4", "4.5", "\"x\"", "true", "1e99"],
        ),
        ("status", vec!["3", "4", "5", "\"3\"", "\"5\""], vec!["2", "6", "\"2\"", "\"6\"", "\"4 \"", "4.0", "[4]"]),
        (
            "ip",
            vec!["\"127.0.0.1\"", "\"255.255.255.255\"", "\"\""],
            vec!["\"::1\"", "\"1.2.3\"", "\"256.1.1.1\"", "\"host\"", "1"],
        ),
        ("entryIp", vec!["\"192.0.2.1\"", "\"\""], vec!["1", "{}"]),
        ("vcPhoneNumber", vec!["\"1\"", &long_24], vec![&*long_25, "1"]),
        ("callBackUri", vec!["\"https://crm.example/events\"", &long_200], vec![&*long_201, "false"]),
        ("serviceToken", vec!["\"aZ0-_.\"", &long_50], vec![&*long_51, "\"a b\"", "\"<a>\"", "\"a;b\"", "7"]),
    ];
    for name in
        ["autoanswer", "autoenteridle", "releasephone", "phonelinkage", "checkInWebm", "checkInMailm", "listenStatus"]
    {
        fields.push((name, switch.clone(), no_switch.clone()));
    }
    for (name, fine, bad) in fields {
        for (values, code) in [(fine, "0"), (bad, "100-001")] {
            for value in values {
                let body = format!(r#"{{"password":"secret","{name}":{value}}}"#);
                assert_eq!(client.put("/onlineagent/101/forcelogin", None, &body).code(), code, "{body}");
            }
        }
    }
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let server = Server::start();
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let large = format!("\"{}\"", "x".repeat(60_000));
    for more in [
        r#""pushUrl":"http://192.0.2.1/push""#,
        r#""PASSWORD":5,"Status":99"#,
        &format!(r#""a":{deep}"#),
        &format!(r#""a":{large}"#),
    ] {
        let body = format!(r#"{{{more},"password":"secret"}}"#);
        assert_eq!(server.client().put("/onlineagent/101/forcelogin", None, &body).code(), "0", "{more:.60}");
    }
}

#[test]
fn a_content_that_is_no_sign_in_is_an_invalid_parameter() {
    let server = Server::start();
    let mut client = server.client();
    let filler = 64 * 1024 - r#"{"password":""}"#.len();
    for body in [
        "",
        " ",
        "{}",
        "null",
        "[]",
        r#"[{"password":"secret"}]"#,
        r#""secret""#,
        "password=secret",
        r#"{"password":"secret""#,
        r#"{"password":"secret"}}"#,
        r#"{'password':'secret'}"#,
        r#"{"password":null}"#,
        r#"{"password":12}"#,
        r#"{"password":["secret"]}"#,
        r#"{"Password":"secret"}"#,
        "\u{feff}{\"password\":\"secret\"}",
        r#"{"password":"\ud800"}"#,
        &format!(r#"{{"password":"{}"}}"#, "x".repeat(33)),
        &"[".repeat(10_000),
        &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        &format!(r#"{}"password":"secret"{}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000)),
        &format!(r#"{{"password":"{}"}}"#, "x".repeat(filler)),
        &format!("\"{}\"", "x".repeat(64 * 1024 - 2)),
    ] {
        for path in ["/onlineagent/101", "/onlineagent/101/forcelogin"] {
            let reply = client.put(path, None, body);
            assert_eq!(reply.outcome(), (200, "100-001".into()), "{body:.60}");
            reply.assert_failure("100-001");
        }
    }
    let mut client = server.client();
    client.send_request("PUT", "/onlineagent/101", "", &"x".repeat(64 * 1024 + 1));
    client.reply().assert_fault(413, "000-002", &[]);
}

#[test]
fn a_content_that_is_not_text_is_an_invalid_parameter() {
    let server = Server::start();
    let mut client = server.client();
    client.send(b"PUT /agentgateway/resource/onlineagent/101 HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n{\"password\":\"\xff\"}");
    client.reply().assert_failure("100-001");
}

#[test]
fn a_wrong_password_and_an_unknown_agent_are_not_told_apart() {
    let server = Server::start();
    let mut client = server.client();
    let mut replies = Vec::new();
    for (agent, body) in [
        ("101", WRONG),
        ("101", r#"{"password":""}"#),
        ("101", r#"{"password":"secret\u0000"}"#),
        ("103", SIGN_IN),
        ("103", r#"{"password":""}"#),
        // This agent's password is the empty one and no other.
        ("104", SIGN_IN),
    ] {
        let reply = client.put(&format!("/onlineagent/{agent}"), None, body);
        reply.assert_failure("100-004");
        let lines = reply.head.lines().filter(|line| !line.starts_with("Date: "));
        replies.push((lines.map(str::to_owned).collect::<Vec<_>>(), reply.body.clone()));
    }
    replies.dedup();
    assert_eq!(replies.len(), 1);
    assert_eq!(client.put("/onlineagent/104", None, r#"{"password":""}"#).code(), "0");
}

#[test]
fn five_failures_lock_agent_and_address_even_for_the_right_password() {
    for agent in ["101", "103"] {
        let server = Setup::new().expect_log(LOCKED).start();
        let mut client = server.client();
        let path = format!("/onlineagent/{agent}");
        for attempt in 0..5 {
            // Which of the two ways is tried does not matter.
            let way = if attempt % 2 == 0 { path.clone() } else { format!("{path}/forcelogin") };
            client.put(&way, None, WRONG).assert_failure("100-004");
        }
        for body in [WRONG, SIGN_IN] {
            client.put(&path, None, body).assert_failure("110-016");
            client.put(&format!("{path}/forcelogin"), None, body).assert_failure("110-016");
        }
        server.client().put(&path, None, SIGN_IN).assert_failure("110-016");
        // A content that is none costs nothing and says nothing.
        client.put(&path, None, "{}").assert_failure("100-001");
        let line = server.log_line(LOCKED);
        assert!(
            line.contains(" WARN ") && line.contains(&format!("agent {agent} ")) && line.contains("127.0.0.1"),
            "{line}"
        );
        assert_eq!(server.log().iter().filter(|line| line.contains(LOCKED)).count(), 1);

        let elsewhere = server.client_from("127.0.0.2").put(&path, None, SIGN_IN).code();
        assert_eq!(elsewhere, if agent == "101" { "0" } else { "100-004" }, "another address is not locked");
        assert_eq!(client.put("/onlineagent/102", None, SIGN_IN).code(), "0", "another agent is not locked");
    }
}

#[test]
fn a_success_before_the_fifth_failure_forgets_the_others() {
    let server = Server::start();
    let mut client = server.client();
    for _ in 0..3 {
        for _ in 0..4 {
            client.put("/onlineagent/101", None, WRONG).assert_failure("100-004");
        }
        assert_eq!(client.put("/onlineagent/101/forcelogin", None, SIGN_IN).code(), "0");
    }
}

#[test]
fn failures_of_one_agent_leave_the_sessions_of_all_alone() {
    let server = Setup::new().expect_log(LOCKED).start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    (0..6).for_each(|_| drop(client.put("/onlineagent/101", None, WRONG)));
    client.put("/onlineagent/101", None, SIGN_IN).assert_failure("110-016");
    assert_eq!(client.get("/agentevent/101", Some(&guid)).text(), EMPTY_POLL);
}

#[test]
fn a_second_sign_in_is_told_so_only_with_the_right_password_and_forcelogin_replaces_the_first() {
    let server = Server::start();
    let mut client = server.client();
    let first = server.sign_in(101);
    client.put("/onlineagent/101", None, WRONG).assert_failure("100-004");
    client.put("/onlineagent/101/forcelogin", None, WRONG).assert_failure("100-004");
    client.put("/onlineagent/101", None, SIGN_IN).assert_failure("100-002");
    assert_eq!(client.get("/agentevent/101", Some(&first)).text(), EMPTY_POLL, "the first goes on");
    let second = client.put("/onlineagent/101/forcelogin", None, SIGN_IN).guid().unwrap();
    assert_ne!(first, second);
    client.get("/agentevent/101", Some(&first)).assert_failure("000-003");
    assert_eq!(client.get("/agentevent/101", Some(&second)).text(), EMPTY_POLL);
    // Without an earlier session it is a plain sign-in.
    assert_eq!(client.put("/onlineagent/102/forcelogin", None, SIGN_IN).code(), "0");
}

#[test]
fn a_forced_sign_in_ends_the_earlier_session_and_its_parked_poll_at_once() {
    let server = Setup::new().endless_polls().start();
    let first = server.sign_in(101);
    let bystander = server.sign_in(102);
    let mut other = server.park(102, &bystander);
    let mut parked = server.park(101, &first);
    let second = server.client().put("/onlineagent/101/forcelogin", None, SIGN_IN).guid().unwrap();
    parked.reply().assert_failure("100-006");
    // The poll of the new session, and the one of another agent, go on waiting.
    let _next = server.park(101, &second);
    assert_eq!(server.metric("cc_gateway_polls_parked"), 2);
    server.client().delete("/onlineagent/102/logout", Some(&bystander));
    other.reply().assert_failure("100-006");
}

#[test]
fn a_sign_in_while_another_of_agent_and_address_runs_is_told_so() {
    // Checks of others keep both checkers busy, so that the first sign-in of 101 runs until they have ended.
    let server = Setup::new().agents(&slow_agents(2000..2004)).start();
    let mut busy: Vec<_> = (2000..2004).map(|_| server.client()).collect();
    for (agent, client) in (2000..).zip(&mut busy) {
        client.send_request("PUT", &format!("/onlineagent/{agent}"), "", SIGN_IN);
    }
    eventually("four checks", || server.metric("cc_gateway_requests_waiting") == 4);
    let mut first = server.client();
    first.send_request("PUT", "/onlineagent/101", "", SIGN_IN);
    eventually("a fifth check", || server.metric("cc_gateway_requests_waiting") == 5);
    let mut second = server.client();
    second.put("/onlineagent/101", None, SIGN_IN).assert_failure("100-021");
    second.put("/onlineagent/101/forcelogin", None, SIGN_IN).assert_failure("100-021");
    // Another address has a sign-in of its own: a stranger cannot keep the agent out by signing in all the time.
    let mut elsewhere = server.client_from("127.0.0.2");
    elsewhere.send_request("PUT", "/onlineagent/101", "", SIGN_IN);
    eventually("a sixth check", || server.metric("cc_gateway_requests_waiting") == 6);
    let codes = "cc_gateway_requests_total{interface=\"login\",code=\"100-021\"}";
    assert_eq!(server.metric(codes), 1);
}

#[test]
fn a_sign_in_that_was_told_to_wait_succeeds_once_the_first_has_ended() {
    let server = Server::start();
    let mut client = server.client();
    for _ in 0..20 {
        // Two at once: one of them may be told to come again, and can.
        let mut other = server.client();
        other.send_request("PUT", "/onlineagent/101/forcelogin", "", SIGN_IN);
        let code = client.put("/onlineagent/101/forcelogin", None, SIGN_IN).code();
        let others = other.reply().code();
        assert!([&*code, &*others].iter().all(|code| ["0", "100-021"].contains(code)), "{code} {others}");
        assert!([&*code, &*others].contains(&"0"));
        assert_eq!(client.put("/onlineagent/101/forcelogin", None, SIGN_IN).code(), "0");
    }
}

#[test]
fn a_flood_of_sign_ins_takes_two_checkers_and_delays_nobody() {
    let server = Setup::new().agents(&slow_agents(2000..2020)).set("WORKER_THREADS", "1").start();
    let guid = server.sign_in(101);
    let mut flood: Vec<_> = (2000..2020).map(|_| server.client()).collect();
    for (agent, client) in (2000..).zip(&mut flood) {
        client.send_request("PUT", &format!("/onlineagent/{agent}"), "", SIGN_IN);
    }
    let mut client = server.client();
    assert_eq!(client.get("/agentevent/101", Some(&guid)).text(), EMPTY_POLL);
    assert_eq!(client.get("/health", None).code(), "0");
    assert_eq!(client.put("/onlineagent/101/heartbeat", Some(&guid), "").code(), "0");
    // An empty password needs no check, so it does not stand in the queue either.
    assert_eq!(client.put("/onlineagent/104", None, r#"{"password":""}"#).code(), "0");
    assert_eq!(
        server.metric("cc_gateway_requests_total{interface=\"login\",code=\"100-004\"}"),
        0,
        "none of the flood was first"
    );
    eventually("the whole flood", || server.metric("cc_gateway_requests_waiting") >= 18);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    assert_eq!(names.filter(|name| name.trim() == "password-check").count(), 2);
}

#[test]
fn no_password_and_no_guid_is_logged_at_any_level() {
    let server = Setup::new().set("LOG_LEVEL", "trace").start();
    let mut client = server.client();
    let guid = client.put("/onlineagent/101", None, SIGN_IN).guid().unwrap();
    client.put("/onlineagent/102", None, WRONG).assert_failure("100-004");
    client.get("/agentevent/101", Some(&guid));
    client.put("/onlineagent/101/updateGuid", Some(&guid), "");
    client.delete("/onlineagent/101/logout", Some(&guid));
    server.log_line("] logout agent=101 ");
    let log = server.log().join("\n");
    for secret in [&*guid, &guid[..36], "secret", "\"wrong\"", "JSESSIONID"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
