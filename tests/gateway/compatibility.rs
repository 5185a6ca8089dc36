//! The rules that public clients rely on, one test for each, checked on the wire.

use rustls::version::{TLS12, TLS13};

use crate::support::{BASE, Client, EMPTY_POLL, JSON, Reply, SIGN_IN, Server, Setup, eventually};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";

/// Sends a request with this method, target and header lines (each with CRLF), and reads the reply.
fn raw(client: &mut Client, method: &str, target: &str, fields: &str) -> Reply {
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost:8043\r\n{fields}\r\n"
    ));
    client.reply()
}

#[test]
fn set_guid_has_exact_case_and_exact_value_in_http_1_1() {
    let server = Server::start();
    let mut client = server.client();
    let mut guid = String::new();
    for (method, path, body) in [
        ("PUT", "/onlineagent/101", SIGN_IN),
        ("PUT", "/onlineagent/101/forcelogin", SIGN_IN),
        ("PUT", "/onlineagent/101/updateGuid", ""),
    ] {
        let reply = client.request(method, path, Some(&guid), body);
        assert!(
            reply.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            reply.head
        );
        let lines: Vec<_> = reply
            .head
            .split("\r\n")
            .filter(|line| line.to_lowercase().contains("guid"))
            .collect();
        guid = reply.guid().unwrap();
        assert_eq!(lines, [format!("Set-GUID: JSESSIONID={guid}")], "{path}");
        assert!(
            !guid.is_empty() && !guid.contains(['=', ';', '"', ' ']),
            "{guid}"
        );
    }
}

#[test]
fn a_guid_is_a_uuid_and_the_name_and_number_of_its_server_and_holds_neither_equals_sign_nor_colon()
{
    for (setup, suffix) in [
        (Setup::new(), "AgentGateway0"),
        (
            Setup::new()
                .set("SERVER_NAME", "West-2")
                .set("NODE_INDEX", "17"),
            "West-217",
        ),
    ] {
        let server = setup.start();
        let guid = server.sign_in(101);
        assert!(
            guid.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)),
            "{guid}"
        );
        let (uuid, name) = guid.split_once('.').unwrap();
        assert_eq!(name, suffix);
        assert_eq!(
            uuid.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        assert!(
            uuid.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')),
            "{guid}"
        );
        assert_eq!(uuid.as_bytes()[14], b'4', "{guid}");
    }
}

#[test]
fn the_guid_field_is_known_in_any_case_and_a_cookie_means_nothing() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let poll = format!("{BASE}/agentevent/101");
    for name in ["guid", "Guid", "GUID", "gUiD"] {
        let reply = raw(
            &mut server.client(),
            "GET",
            &poll,
            &format!("{name}: {guid}\r\n"),
        );
        assert_eq!(reply.text(), EMPTY_POLL, "{name}");
    }
    // Clients send back whole Set-Cookie values, some without the equals signs and colons.
    for cookie in [
        "JSESSIONID=node0; Path=/; HttpOnly",
        "JSESSIONIDnode0; Path/; ExpiresThu, 01 Jan 1970 000000 GMT",
        "=;;; ,,\"",
        "",
        "\u{e9}\u{4f60}",
        &"x".repeat(8000),
    ] {
        let fields = format!("Cookie: {cookie}\r\nguid: {guid}\r\nCookie: {cookie}\r\n");
        assert_eq!(
            raw(&mut server.client(), "GET", &poll, &fields).text(),
            EMPTY_POLL,
            "{cookie}"
        );
    }
    let fields =
        format!("Cookie: JSESSIONID={guid}; guid={guid}\r\nSet-GUID: JSESSIONID={guid}\r\n");
    raw(&mut server.client(), "GET", &poll, &fields).assert_failure("000-003");
}

#[test]
fn application_errors_are_json_in_http_200_with_a_code_that_is_a_string() {
    let server = Server::start();
    server.sign_in(102);
    for (method, path, body, code, message) in [
        (
            "GET",
            "/agentevent/101",
            "",
            "100-006",
            "the agent has not signed in",
        ),
        (
            "GET",
            "/agentevent/102",
            "",
            "000-003",
            "no right to invite resource",
        ),
        (
            "GET",
            "/agentevent/7",
            "",
            "000-002",
            "a URL or interface parameter is invalid",
        ),
        (
            "PUT",
            "/onlineagent/101",
            "",
            "100-001",
            "a sign-in parameter is empty or invalid",
        ),
        (
            "PUT",
            "/onlineagent/101",
            r#"{"password":""}"#,
            "100-004",
            "the agent or the password is wrong",
        ),
        (
            "PUT",
            "/onlineagent/102",
            SIGN_IN,
            "100-002",
            "the agent has signed in already",
        ),
    ] {
        let reply = server.client().request(method, path, None, body);
        assert!(reply.head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}");
        assert_eq!(
            reply.field("Content-Type"),
            Some("application/json;charset=UTF-8"),
            "{path}"
        );
        assert_eq!(reply.field("JSON-Type"), Some("application/json"), "{path}");
        let result = if ["100-006", "000-003"].contains(&code) {
            r#","result":"""#
        } else {
            ""
        };
        assert_eq!(
            reply.text(),
            format!(r#"{{"retcode":"{code}","message":"{message}"{result}}}"#),
            "{path}"
        );
    }
}

#[test]
fn an_empty_poll_is_these_very_bytes_after_ten_seconds_or_what_is_set() {
    let default = |name| {
        cc_gateway::config::KEYS
            .iter()
            .find(|key| key.name == name)
            .unwrap()
            .default
            .fixed()
            .unwrap()
    };
    let [times, interval] = ["AGENT_POLL_WAIT_TIMES", "AGENT_POLL_WAIT_INTERVAL"].map(default);
    assert_eq!(
        (default("AGENT_POLL_WAIT_FLAG"), times, interval),
        ("ON", "100", "100")
    );
    let server = Setup::new()
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "10")
        .set("AGENT_POLL_WAIT_INTERVAL", "120")
        .start();
    let guid = server.sign_in(101);
    let mut client = server.park(101, &guid);
    let reply = client.reply();
    reply.assert_json(200, &[]);
    assert_eq!(reply.body, br#"{"message":"","retcode":"0"}"#);
}

#[test]
fn an_answer_to_a_poll_has_no_event_while_there_are_no_events() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let json = server.client().get("/agentevent/101", Some(&guid)).json();
    assert_eq!(
        json.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["message", "retcode"]
    );
    assert!(json["retcode"].is_string());
}

#[test]
fn double_slashes_fold_a_trailing_slash_and_unknown_queries_do_not_count_and_plus_and_either_hex_case_decode()
 {
    let server = Setup::new()
        .recording("1/0/20201202/503/a b.mp4", "video")
        .recording(RECORDING, "other")
        .start();
    let guid = format!("guid: {}\r\n", server.sign_in(503));
    let mut client = server.client();
    for target in [
        "/agentgateway/resource//agentevent/503",
        "//agentgateway//resource//agentevent//503",
        "/agentgateway/resource/agentevent/503/",
        "/agentgateway/resource/agentevent/503?calldata=",
        "/agentgateway/resource/agentevent/503/?time=1606900483000",
        "/agentgateway/resource/agentevent/503?resteasy_jsapi_anti_cache=1606900483000&a=%zz&=&&%",
        "/agentgateway/resource/agentevent/%35%303",
        "https://localhost:8043/agentgateway/resource/agentevent/503",
    ] {
        assert_eq!(
            raw(&mut client, "GET", target, &guid).text(),
            EMPTY_POLL,
            "{target}"
        );
    }
    for (query, video) in [
        (
            "recordId=Y%3a%2f1%2f0%2f20201202%2f503%2f1714442.mp4",
            "other",
        ),
        (
            "recordId=Y%3A%2F1%2F0%2F20201202%2F503%2F1714442.mp4",
            "other",
        ),
        (
            "recordId=Y:/1/0/20201202/503/a+b.mp4&locationId=65535&x=y",
            "video",
        ),
        (
            "resteasy_jsapi_anti_cache=1&recordId=Y%3A%2F1%2F0%2F20201202%2F503%2Fa%20b.mp4",
            "video",
        ),
    ] {
        let target = format!("{BASE}//recordfile/503/videofiledownloadEx?{query}");
        let reply = raw(&mut client, "GET", &target, &guid);
        assert_eq!((reply.status, reply.text()), (200, video), "{query}");
    }
}

#[test]
fn a_content_type_a_zero_length_or_empty_chunks_are_taken_from_any_method() {
    const EMPTY_CHUNKS: &str = "Transfer-Encoding: chunked\r\n\r\n0\r\n";
    let server = Server::start();
    let mut client = server.client();
    for fields in [
        "",
        "Content-Length: 0\r\n",
        "Content-Type: application/json\r\n",
        "Content-Type: application/json;charset=UTF-8\r\nContent-Length: 0\r\n",
        "Content-Type: application/json; charset=UTF-8\r\n",
        "Content-Type: text/nonsense; =\r\n",
        EMPTY_CHUNKS,
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n000;x=y\r\n",
    ] {
        let guid = format!("guid: {}\r\n", server.sign_in(101));
        for (method, path, code) in [
            ("GET", "/agentevent/101", "0"),
            ("POST", "/onlineagent/101/handshake", "0"),
            ("PUT", "/onlineagent/101/heartbeat", "0"),
            ("PUT", "/onlineagent/101/updateGuid", "0"),
            // One client signs in without a body.
            ("PUT", "/onlineagent/101", "100-001"),
            ("PUT", "/onlineagent/101/forcelogin", "100-001"),
            ("GET", "/recordfile/101/videofiledownloadEx", "108-009"),
            ("DELETE", "/onlineagent/101/logout", "0"),
        ] {
            let reply = raw(
                &mut client,
                method,
                &format!("{BASE}{path}"),
                &format!("{guid}{fields}"),
            );
            assert_eq!(
                reply.outcome(),
                (200, code.into()),
                "{method} {path} with {fields:?}"
            );
        }
    }
}

#[test]
fn a_sign_in_may_come_in_chunks_or_after_an_invitation_to_continue() {
    let server = Server::start();
    let mut client = server.client();
    let head = format!("PUT {BASE}/onlineagent/101/forcelogin HTTP/1.1\r\nHost: localhost\r\n");
    client.send(format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"pas\r\n10\r\nsword\":\"secret\"}}\r\n0\r\n\r\n"
    ));
    assert_eq!(client.reply().outcome(), (200, "0".into()));
    client.send(format!(
        "{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        SIGN_IN.len()
    ));
    assert_eq!(client.head().status, 100);
    client.send(SIGN_IN);
    assert_eq!(client.reply().outcome(), (200, "0".into()));
}

#[test]
fn numbers_and_booleans_of_a_sign_in_may_be_strings() {
    let server = Server::start();
    for body in [
        r#"{"password":"secret","phonenum":"40038","autoanswer":"true","autoenteridle":"false","releasephone":"true","agenttype":"4","status":"4","ip":"127.0.0.1"}"#,
        r#"{"password":"secret","phonenum":"40038","autoanswer":true,"autoenteridle":false,"releasephone":true,"agenttype":11,"status":5,"phonelinkage":"false","checkInWebm":"true"}"#,
    ] {
        let reply = server
            .client()
            .put("/onlineagent/101/forcelogin", None, body);
        assert_eq!(reply.outcome(), (200, "0".into()), "{body}");
    }
}

#[test]
fn a_record_id_may_have_either_slash_either_drive_case_and_any_encoding() {
    let server = Setup::new().recording(RECORDING, "video").start();
    let guid = server.sign_in(503);
    let mut client = server.client();
    for record_id in [
        "Y:/1/0/20201202/503/1714442.mp4",
        "y:/1/0/20201202/503/1714442.mp4",
        "y:\\1\\0\\20201202\\503\\1714442.mp4",
        "Y%3A%5C1%5c0%5C20201202%5c503%5C1714442.mp4",
        "Y:%2F1/0%2f20201202/503/1714442.mp4",
        "%59%3a/1/0/20201202/503/%31714442.mp4",
    ] {
        let reply = client.download(503, Some(&guid), record_id);
        assert_eq!(
            (reply.status, &*reply.body),
            (200, &b"video"[..]),
            "{record_id}"
        );
    }
}

#[test]
fn a_connection_is_kept_or_closed_as_the_client_asks() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let poll = format!("{BASE}/agentevent/101");
    let mut client = server.client();
    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\n",
        "Connection: close\r\n",
    ] {
        let reply = raw(
            &mut client,
            "GET",
            &poll,
            &format!("guid: {guid}\r\n{fields}"),
        );
        let kept = if fields.contains("close") {
            "close"
        } else {
            "keep-alive"
        };
        assert_eq!(
            (reply.text(), reply.field("Connection")),
            (EMPTY_POLL, Some(kept)),
            "{fields}"
        );
    }
    assert_eq!(
        client.rest(),
        (Vec::new(), true),
        "the connection must end with close_notify"
    );
}

#[test]
fn no_reply_sets_a_cookie() {
    let server = Server::start();
    let mut client = server.client();
    let guid = server.sign_in(101);
    for (method, path, body) in [
        ("PUT", "/onlineagent/102", SIGN_IN),
        ("PUT", "/onlineagent/102/forcelogin", SIGN_IN),
        ("GET", "/agentevent/101", ""),
        ("PUT", "/onlineagent/101/updateGuid", ""),
        ("GET", "/nowhere", ""),
        ("DELETE", "/onlineagent/101/logout", ""),
    ] {
        let reply = client.request(method, path, Some(&guid), body);
        assert!(
            !reply.head.to_lowercase().contains("cookie"),
            "{}",
            reply.head
        );
    }
}

#[test]
fn repeated_refusals_are_held_back_and_hold_no_worker() {
    let server = Setup::new().set("WORKER_THREADS", "1").start();
    server.sign_in(101);
    let mut refused: Vec<_> = (0..20).map(|_| server.client()).collect();
    refused
        .iter_mut()
        .for_each(|client| client.send_request("GET", "/agentevent/101", "guid: wrong\r\n", ""));
    // The only worker is free to answer this while refusals wait.
    eventually("waiting refusals", || {
        server.metric("cc_gateway_requests_waiting") > 0
    });
    for mut client in refused {
        client.reply().assert_failure("000-003");
    }
}

#[test]
fn accept_and_preconditions_that_clients_cannot_take_are_ignored() {
    let server = Setup::new().recording(RECORDING, "video").start();
    let guid = server.sign_in(503);
    let mut client = server.client();
    let video = format!("{BASE}/recordfile/503/videofiledownloadEx?recordId=Y:/{RECORDING}");
    let etag = raw(&mut client, "GET", &video, &format!("guid: {guid}\r\n"))
        .field("ETag")
        .unwrap()
        .to_owned();
    for fields in [
        "Accept: application/json\r\n".to_owned(),
        "Accept: video/mp4;q=0\r\nAccept-Encoding: gzip, identity;q=0\r\n".to_owned(),
        "Accept: nonsense\r\nAccept-Charset: GBK\r\n".to_owned(),
        format!("If-None-Match: {etag}\r\n"),
        "If-None-Match: *\r\n".to_owned(),
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n".to_owned(),
    ] {
        let fields = format!("guid: {guid}\r\n{fields}");
        let reply = raw(&mut client, "GET", &video, &fields);
        assert_eq!(
            (reply.status, &*reply.body),
            (200, &b"video"[..]),
            "{fields}"
        );
        let reply = raw(
            &mut client,
            "GET",
            &format!("{BASE}/agentevent/503"),
            &fields,
        );
        assert_eq!(
            (reply.text(), reply.field("Content-Type")),
            (EMPTY_POLL, Some(JSON)),
            "{fields}"
        );
    }
    // If-Match and If-Unmodified-Since apply to downloads only.
    let fields = format!(
        "guid: {guid}\r\nIf-Match: \"other\"\r\nIf-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    );
    assert_eq!(raw(&mut client, "GET", &video, &fields).status, 412);
    let reply = raw(
        &mut client,
        "GET",
        &format!("{BASE}/agentevent/503"),
        &fields,
    );
    assert_eq!(
        (reply.text(), reply.field("Content-Type")),
        (EMPTY_POLL, Some(JSON))
    );
}

#[test]
fn http_1_1_is_the_only_protocol_on_offer_over_tls_1_2_and_1_3() {
    let server = Server::start();
    let certificate = server.scratch().path().join("certificate.pem");
    for version in [&TLS12, &TLS13] {
        let connect = |protocols: &[&str]| {
            Client::offering(server.address(), &certificate, &[version], protocols)
        };
        for (protocols, agreed) in [
            (&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])),
            (&["http/1.1"], Some(b"http/1.1")),
            (&[], None),
        ] {
            let mut client = connect(protocols).unwrap();
            assert_eq!(client.get("/health", None).outcome(), (200, "0".into()));
            assert_eq!(client.tls().alpn_protocol(), agreed);
            assert_eq!(client.tls().protocol_version(), Some(version.version));
        }
        let refused = connect(&["h2"]).and_then(|mut client| client.try_head());
        assert!(
            refused.is_err(),
            "a client that offers only h2 must be refused"
        );
    }
}

#[test]
fn an_empty_guid_field_is_a_missing_one() {
    let server = Server::start();
    let poll = format!("{BASE}/agentevent/101");
    let empty = [
        "guid:\r\n",
        "guid: \r\n",
        "guid: \t \r\n",
        "guid: \"\"\r\n",
        "guid:\r\nGuid:\r\n",
    ];
    for fields in empty {
        raw(&mut server.client(), "GET", &poll, fields).assert_failure("100-006");
    }
    let mut client = server.client();
    client.send_request("PUT", "/onlineagent/101", "guid:\r\n", SIGN_IN);
    assert_eq!(client.reply().code(), "0");
    let mut refused: Vec<_> = empty.iter().map(|_| server.client()).collect();
    for (client, fields) in refused.iter_mut().zip(empty) {
        client.send_request("GET", "/agentevent/101", fields, "");
    }
    refused
        .iter_mut()
        .for_each(|client| client.reply().assert_failure("000-003"));
}
