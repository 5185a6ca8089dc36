//! Sign-in: the bodies accepted and refused, the result, and a second sign-in of the same agent.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{EMPTY_POLL, SIGN_IN, Server, Setup};

const WRONG: &str = r#"{"password":"wrong"}"#;

fn epoch_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
}

#[test]
fn the_result_has_the_documented_fields_with_the_documented_types() {
    let server = Setup::new()
        .agents("101.vdn = 7\n")
        .set("SERVER_NAME", "West")
        .start();
    for path in ["/onlineagent/101", "/onlineagent/101/forcelogin"] {
        let before = epoch_ms();
        let reply = server.client().put(path, None, SIGN_IN);
        reply.assert_json(200, &["Set-GUID"]);
        let json = reply.json();
        let login_time = json["result"]["loginTime"].as_str().unwrap();
        assert!(
            (before..=epoch_ms()).contains(&login_time.parse().unwrap()),
            "{login_time}"
        );
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
    let signed_in: i64 = reply.json()["result"]["loginTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let beat = server
        .client()
        .put("/onlineagent/101/heartbeat", reply.guid().as_deref(), "");
    let told: i64 = beat.json()["result"]["loginTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    // It is calculated back from the current time, so it moves if the clock was set meanwhile.
    assert!((told - signed_in).abs() < 1000, "{signed_in} {told}");
}

#[test]
fn every_documented_field_has_its_type_and_bounds() {
    let server = Server::start();
    let mut client = server.client();
    let text = |length| format!("\"{}\"", "x".repeat(length));
    let switch = vec![
        "true",
        "false",
        "\"true\"",
        "\" False \"",
        "\"\"",
        "null",
        "1",
        "0",
        "\"1\"",
        "\" 0 \"",
    ];
    let no_switch = vec!["\"yes\"", "2", "\"2\"", "[]", "{}"];
    let (long_24, long_25, long_200, long_201) = (text(24), text(25), text(200), text(201));
    let (long_50, long_51) = (text(50), text(51));
    let mut fields = vec![
        (
            "phonenum",
            vec!["\"\"", "\"40038\"", &long_24, "null", "40038"],
            vec![&*long_25, "{}", "[]"],
        ),
        (
            "agenttype",
            vec!["4", "11", "\"4\"", "\" 4 \"", "4.0", "\"\"", "null"],
            vec!["0", "-4", "4.5", "\"x\"", "true", "1e99"],
        ),
        (
            "status",
            vec!["3", "4", "5", "\"3\"", "\"5 \"", "4.0"],
            vec!["2", "6", "\"2\"", "\"6\"", "4.5", "[4]"],
        ),
        (
            "ip",
            vec!["\"127.0.0.1\"", "\"255.255.255.255\"", "\"\""],
            vec!["\"::1\"", "\"1.2.3\"", "\"256.1.1.1\"", "\"host\"", "1"],
        ),
        ("entryIp", vec!["\"192.0.2.1\"", "\"\""], vec!["[]", "{}"]),
        (
            "vcPhoneNumber",
            vec!["\"1\"", "1", &long_24],
            vec![&*long_25, "[1]"],
        ),
        (
            "callBackUri",
            vec!["\"https://crm.example/events\"", &long_200],
            vec![&*long_201, "{}"],
        ),
        (
            "serviceToken",
            vec!["\"aZ0-_.\"", &long_50, "7"],
            vec![&*long_51, "\"a b\"", "\"<a>\"", "\"a;b\"", "[7]"],
        ),
    ];
    for name in [
        "autoanswer",
        "autoenteridle",
        "releasephone",
        "phonelinkage",
        "checkInWebm",
        "checkInMailm",
        "listenStatus",
    ] {
        fields.push((name, switch.clone(), no_switch.clone()));
    }
    for (length, code) in [(32, "100-004"), (33, "100-001")] {
        let body = format!(r#"{{"password":{}}}"#, text(length));
        client
            .put("/onlineagent/101", None, &body)
            .assert_failure(code);
    }
    for (name, fine, bad) in fields {
        for (values, code) in [(fine, "0"), (bad, "100-001")] {
            for value in values {
                let body = format!(r#"{{"password":"secret","{name}":{value}}}"#);
                assert_eq!(
                    client
                        .put("/onlineagent/101/forcelogin", None, &body)
                        .code(),
                    code,
                    "{body}"
                );
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
        assert_eq!(
            server
                .client()
                .put("/onlineagent/101/forcelogin", None, &body)
                .code(),
            "0",
            "{more:.60}"
        );
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
        r#"{"password":"secret","password":"other"}"#,
        r#"{"password":["secret"]}"#,
        r#"{"Password":"secret"}"#,
        r#"{"password":"\ud800"}"#,
        &format!(r#"{{"password":"{}"}}"#, "x".repeat(33)),
        &"[".repeat(10_000),
        &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        &format!(
            r#"{}"password":"secret"{}"#,
            r#"{"a":"#.repeat(10_000),
            "}".repeat(10_000)
        ),
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
    client.reply().assert_http_error(413, "000-002", &[]);
}

#[test]
fn a_content_is_read_as_leniently_as_a_java_reader_does() {
    let server = Server::start();
    let text = r#"{"password":"secret","phonenum":40038,"releasephone":"True","autoanswer":1,"agenttype":" 4 "}"#;
    let little = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<_>>()
    };
    let big = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect::<Vec<_>>()
    };
    let wide = |text: &str, unit: fn(u32) -> [u8; 4]| {
        text.chars()
            .flat_map(|c| unit(c.into()))
            .collect::<Vec<_>>()
    };
    let marked = format!("\u{feff}{text}");
    let mut contents = vec![text.as_bytes().to_vec(), marked.clone().into_bytes()];
    for text in [text, &marked] {
        contents.extend([
            little(text),
            big(text),
            wide(text, u32::to_le_bytes),
            wide(text, u32::to_be_bytes),
        ]);
    }
    for content in contents {
        let mut client = server.client();
        let head = format!(
            "PUT /agentgateway/resource/onlineagent/101/forcelogin HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        client.send([head.into_bytes(), content].concat());
        assert_eq!(client.reply().code(), "0");
    }
}

#[test]
fn a_content_that_is_not_text_is_an_invalid_parameter() {
    let server = Server::start();
    let mut client = server.client();
    client.send(b"PUT /agentgateway/resource/onlineagent/101 HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n{\"password\":\"\xff\"}");
    client.reply().assert_failure("100-001");
}

#[test]
fn a_second_sign_in_is_told_so_only_with_the_right_password_and_forcelogin_replaces_the_first() {
    let server = Server::start();
    let mut client = server.client();
    let first = server.sign_in(101);
    client
        .put("/onlineagent/101", None, WRONG)
        .assert_failure("100-004");
    client
        .put("/onlineagent/101/forcelogin", None, WRONG)
        .assert_failure("100-004");
    client
        .put("/onlineagent/101", None, SIGN_IN)
        .assert_failure("100-002");
    assert_eq!(
        client.get("/agentevent/101", Some(&first)).text(),
        EMPTY_POLL,
        "the first session goes on"
    );
    let second = client
        .put("/onlineagent/101/forcelogin", None, SIGN_IN)
        .guid()
        .unwrap();
    assert_ne!(first, second);
    client
        .get("/agentevent/101", Some(&first))
        .assert_failure("100-006");
    client.take_sign_in_events(101, &second);
    assert_eq!(
        client.get("/agentevent/101", Some(&second)).text(),
        EMPTY_POLL
    );
    // Without an earlier session `forcelogin` is a plain sign-in.
    assert_eq!(
        client
            .put("/onlineagent/102/forcelogin", None, SIGN_IN)
            .code(),
        "0"
    );
}

#[test]
fn the_status_of_a_sign_in_decides_on_its_events() {
    let server = Server::start();
    let mut client = server.client();
    for (status, further) in [
        (
            "3",
            Some(("AgentState_SetNotReady_Success", r#"{"reason":"0"}"#)),
        ),
        ("4", None),
        (r#""5""#, Some(("AgentState_Work", "null"))),
    ] {
        let body = format!(r#"{{"password":"secret","status":{status}}}"#);
        let before = epoch_ms();
        let guid = client
            .put("/onlineagent/101/forcelogin", None, &body)
            .guid()
            .unwrap();
        let all = [
            ("AgentOther_InService", "null"),
            ("AgentState_Ready", "null"),
        ];
        for (kind, content) in all.into_iter().chain(further) {
            let reply = client.get("/agentevent/101", Some(&guid));
            reply.assert_json(200, &[]);
            let ms = reply.json()["event"]["eventGenTime"].as_u64().unwrap();
            assert!((before..=epoch_ms()).contains(&u128::from(ms)), "{ms}");
            let event = format!(
                r#"{{"eventType":"{kind}","eventGenTime":{ms},"workNo":"101","content":{content}}}"#
            );
            assert_eq!(
                reply.text(),
                format!(r#"{{"message":"","retcode":"0","event":{event}}}"#)
            );
        }
        assert_eq!(
            client.get("/agentevent/101", Some(&guid)).text(),
            EMPTY_POLL
        );
    }
}

#[test]
fn a_client_that_reuses_its_poll_loop_never_loses_a_session_it_forced() {
    let server = Setup::new().endless_polls().start();
    let mut guid = server.sign_in(101);
    for round in 0..20 {
        // The loop polls with the client's current Guid, and ends with the first reply that is not
        // a success.
        let mut parked = server.park(101, &guid);
        let mut client = server.client();
        guid = client
            .put("/onlineagent/101/forcelogin", None, SIGN_IN)
            .guid()
            .unwrap();
        assert_eq!(parked.reply().text(), EMPTY_POLL, "round {round}");
        parked.take_sign_in_events(101, &guid);
    }
    assert_eq!(
        server
            .client()
            .put("/onlineagent/101/heartbeat", Some(&guid), "")
            .code(),
        "0"
    );
}

#[test]
fn a_forced_sign_in_ends_the_earlier_session_and_its_parked_poll_at_once() {
    let server = Setup::new().endless_polls().start();
    let first = server.sign_in(101);
    let bystander = server.sign_in(102);
    let mut other = server.park(102, &bystander);
    let mut parked = server.park(101, &first);
    let second = server.sign_in_again(101);
    // A client reuses its poll loop for the new session; 100-006 would end that loop.
    assert_eq!(parked.reply().text(), EMPTY_POLL);
    server
        .client()
        .get("/agentevent/101", Some(&first))
        .assert_failure("100-006");
    server.client().take_sign_in_events(101, &second);
    // The poll of the new session and that of the other agent stay parked.
    let _next = server.park(101, &second);
    assert_eq!(server.metric("cc_gateway_polls_parked"), 2);
    server
        .client()
        .delete("/onlineagent/102/logout", Some(&bystander));
    other.reply().assert_failure("100-006");
}
