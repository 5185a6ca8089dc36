//! CORS for browser clients of other origins: only for the origins in `CORS_ALLOW_ORIGIN`, and off
//! without that setting.

use crate::support::{BASE, Client, Reply, SIGN_IN, Server, Setup};

const ORIGIN: &str = "https://crm.example";

fn with_origins() -> Server {
    Setup::new()
        .set("CORS_ALLOW_ORIGIN", "https://crm.example, http://desk:8080")
        .start()
}

fn ask(client: &mut Client, method: &str, path: &str, fields: &str, body: &str) -> Reply {
    client.send_request(method, path, fields, body);
    client.reply()
}

/// The names of the CORS headers of a reply, `Vary` among them.
fn cors_fields(reply: &Reply) -> Vec<&str> {
    reply
        .field_names()
        .into_iter()
        .filter(|name| name.starts_with("Access-Control-") || *name == "Vary")
        .collect()
}

#[test]
fn a_preflight_is_answered_with_what_the_interface_takes() {
    let server = with_origins();
    let mut client = server.client();
    for (path, methods) in [
        ("/onlineagent/101", "PUT"),
        ("/onlineagent/101/forcelogin", "PUT"),
        ("/onlineagent/101/logout", "DELETE"),
        ("/onlineagent/101/handshake", "POST"),
        ("/agentevent/101", "GET"),
        ("/recordfile/101/videofiledownloadEx?recordId=a", "GET"),
        ("/health", "GET, HEAD"),
    ] {
        for origin in [ORIGIN, "http://desk:8080"] {
            let fields = format!(
                "Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: content-type,guid\r\n"
            );
            let reply = ask(&mut client, "OPTIONS", path, &fields, "");
            assert_eq!(reply.status, 204, "{path}");
            assert_eq!(reply.field("Access-Control-Allow-Origin"), Some(origin));
            assert_eq!(reply.field("Access-Control-Allow-Methods"), Some(methods));
            let headers: Vec<_> = reply
                .field("Access-Control-Allow-Headers")
                .unwrap()
                .split(", ")
                .collect();
            for name in [
                "Guid",
                "Content-Type",
                "If-Match",
                "If-Unmodified-Since",
                "If-None-Match",
                "If-Modified-Since",
                "X-Requested-With",
            ] {
                assert!(headers.contains(&name), "{name} of {headers:?}");
            }
            assert_eq!(reply.field("Access-Control-Allow-Credentials"), None);
            assert_eq!(reply.field("Vary"), Some("Origin"));
            assert_eq!(reply.field("Content-Length"), None, "204 has no length");
        }
    }
}

#[test]
fn replies_to_an_allowed_origin_can_be_read_with_their_guid() {
    let server = with_origins();
    let mut client = server.client();
    let origin = format!("Origin: {ORIGIN}\r\n");
    let guid = server.sign_in(102);
    for (method, path, body, code) in [
        ("PUT", "/onlineagent/101", SIGN_IN, "0"),
        ("PUT", "/onlineagent/101", SIGN_IN, "100-002"),
        ("PUT", "/onlineagent/7", SIGN_IN, "000-002"),
        // This refusal and the next are delayed, so a timer completes them and not the worker.
        ("GET", "/agentevent/503", "", "100-006"),
        ("GET", "/agentevent/101", "", "000-003"),
        ("GET", "/nowhere", "", "000-002"),
        ("POST", "/agentevent/101", "", "000-002"),
    ] {
        let reply = ask(&mut client, method, path, &origin, body);
        assert_eq!(reply.code(), code, "{path}");
        assert_eq!(
            reply.field("Access-Control-Allow-Origin"),
            Some(ORIGIN),
            "{path}"
        );
        let exposed: Vec<_> = reply
            .field("Access-Control-Expose-Headers")
            .unwrap()
            .split(", ")
            .collect();
        assert!(
            exposed.contains(&"Set-GUID") && exposed.contains(&"JSON-Type"),
            "{exposed:?}"
        );
        assert_eq!(reply.field("Vary"), Some("Origin"), "{path}");
    }
    let reply = ask(
        &mut client,
        "GET",
        "/agentevent/102",
        &format!("{origin}guid: {guid}\r\n"),
        "",
    );
    assert_eq!(
        (reply.code(), reply.field("Access-Control-Allow-Origin")),
        ("0".into(), Some(ORIGIN))
    );
}

#[test]
fn a_video_can_be_read_by_an_allowed_origin() {
    let server = Setup::new()
        .recording("1/0/20201202/503/1.mp4", "video")
        .set("CORS_ALLOW_ORIGIN", ORIGIN)
        .start();
    let fields = format!("guid: {}\r\nOrigin: {ORIGIN}\r\n", server.sign_in(503));
    let path = "/recordfile/503/videofiledownloadEx?recordId=Y:/1/0/20201202/503/1.mp4";
    let reply = ask(&mut server.client(), "GET", path, &fields, "");
    assert_eq!(
        (&*reply.body, reply.field("Access-Control-Allow-Origin")),
        (&b"video"[..], Some(ORIGIN))
    );
}

#[test]
fn other_origins_get_nothing_of_it() {
    let server = with_origins();
    let mut client = server.client();
    for origin in [
        "https://crm.example.evil",
        "https://crm.example:8443",
        "http://crm.example",
        "https://CRM.example",
        "https://crm.example/",
        "https://crm.example, http://desk:8080",
        "null",
        "*",
        "",
    ] {
        let fields = format!("Origin: {origin}\r\n");
        let reply = ask(&mut client, "GET", "/agentevent/101", &fields, "");
        assert_eq!(
            (reply.code(), cors_fields(&reply)),
            ("100-006".into(), vec![]),
            "{origin}"
        );
        let fields = format!("{fields}Access-Control-Request-Method: GET\r\n");
        ask(&mut client, "OPTIONS", "/agentevent/101", &fields, "").assert_http_error(
            405,
            "000-002",
            &["Allow"],
        );
    }
    let fields = format!("Origin: {ORIGIN}\r\nOrigin: {ORIGIN}\r\n");
    assert!(
        cors_fields(&ask(&mut client, "GET", "/agentevent/101", &fields, "")).is_empty(),
        "two Origin headers count as no origin"
    );
}

#[test]
fn without_the_setting_there_is_nothing_of_it() {
    let server = Server::start();
    let mut client = server.client();
    let fields = format!("Origin: {ORIGIN}\r\nAccess-Control-Request-Method: GET\r\n");
    for (method, path, code) in [
        ("GET", "/agentevent/101", "100-006"),
        ("OPTIONS", "/agentevent/101", "000-002"),
    ] {
        let reply = ask(&mut client, method, path, &fields, "");
        assert_eq!(
            (reply.code(), cors_fields(&reply)),
            (code.into(), vec![]),
            "{method}"
        );
    }
}

#[test]
fn options_without_a_preflight_are_a_method_that_is_not_allowed() {
    let server = with_origins();
    let mut client = server.client();
    for fields in ["", "Access-Control-Request-Method: GET\r\n"] {
        ask(&mut client, "OPTIONS", "/agentevent/101", fields, "").assert_http_error(
            405,
            "000-002",
            &["Allow"],
        );
    }
    let reply = ask(
        &mut client,
        "OPTIONS",
        "/agentevent/101",
        &format!("Origin: {ORIGIN}\r\n"),
        "",
    );
    assert_eq!((reply.status, reply.field("Allow")), (405, Some("GET")));
    client.send(format!(
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET {BASE}/health HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    assert_eq!(
        (client.head().status, client.reply().code()),
        (200, "0".into())
    );
}
