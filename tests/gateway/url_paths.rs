//! Paths, agent ids and methods: which requests reach an interface.

use crate::support::{INTERFACES, Server, Setup, eventually};

#[test]
fn what_is_no_agent_id_is_an_invalid_parameter_in_http_200_at_every_interface() {
    let server = Server::start();
    let ids = [
        "100",
        "99",
        "0",
        "60000",
        "65637",
        "4294967397",
        "18446744073709551717",
        "0101",
        "%30101",
        "+101",
        "%2B101",
        "-101",
        "101a",
        "a101",
        "0x65",
        "1e3",
        "101.0",
        "101,102",
        "%20101",
        "101%20",
        "101%00",
        "101%0a",
        "101%2F",
        "101%2Flogout",
        "..",
        ".",
        "*",
        "%25",
        "login",
        "%d9%a1%d9%a0%d9%a1",
        "101;jsessionid=1",
        "",
    ];
    for interface in INTERFACES
        .iter()
        .filter(|interface| !interface.is_for_everybody())
    {
        let mut client = server.client();
        for id in ids {
            let reply = client.request(
                interface.method,
                &interface.path.replace("{}", id),
                None,
                interface.body,
            );
            assert_eq!(
                reply.outcome(),
                (200, "000-002".into()),
                "{} of {id:?}",
                interface.name
            );
            interface.assert_failure(&reply, "000-002");
        }
    }
}

#[test]
fn the_highest_agent_id_is_the_one_set_and_the_lowest_101() {
    for (setup, ids) in [
        (
            Setup::new(),
            [
                ("101", "100-006"),
                ("59999", "100-006"),
                ("60000", "000-002"),
            ],
        ),
        (
            Setup::new().set("AGENT_ID_MAX", "999999"),
            [
                ("60000", "100-006"),
                ("999999", "100-006"),
                ("1000000", "000-002"),
            ],
        ),
    ] {
        let server = setup.start();
        for (id, code) in ids {
            // In parallel, because refusals are delayed.
            let interfaces = INTERFACES
                .iter()
                .filter(|interface| !interface.is_for_everybody());
            let mut asked: Vec<_> = interfaces
                .map(|interface| (interface, server.client()))
                .collect();
            for (interface, client) in &mut asked {
                client.send_request(interface.method, &interface.path.replace("{}", id), "", "");
            }
            for (interface, mut client) in asked {
                // A sign-in checks the body after the agent id, and refuses an empty one.
                let code = if interface.is_sign_in() && code == "100-006" {
                    "100-001"
                } else {
                    code
                };
                interface.assert_failure(&client.reply(), code);
            }
        }
    }
}

#[test]
fn another_method_is_refused_with_the_one_that_is_allowed() {
    let server = Server::start();
    for interface in INTERFACES.iter() {
        for method in ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "get"] {
            if method == interface.method {
                continue;
            }
            let mut client = server.client();
            let reply = client.request(method, &interface.path.replace("{}", "101"), None, "");
            reply.assert_http_error(405, "000-002", &["Allow"]);
            let allowed = if interface.name == "health" {
                "GET, HEAD"
            } else {
                interface.method
            };
            assert_eq!(
                reply.field("Allow"),
                Some(allowed),
                "{method} {}",
                interface.name
            );
        }
    }
}

#[test]
fn an_unknown_interface_below_the_base_path_is_an_invalid_parameter_in_http_200() {
    let server = Server::start();
    let mut client = server.client();
    for path in [
        "",
        "/",
        "/onlineagent/101/loginex",
        "/onlineagent/101/rest/5",
        "/agentevent/101/more",
        "/recordfile/101/other",
        "/HEALTH",
        "/%ff",
        "/health%20",
    ] {
        for method in ["GET", "POST", "PATCH"] {
            let reply = client.request(method, path, None, "");
            assert_eq!(
                reply.text(),
                r#"{"retcode":"000-002","message":"a URL or interface parameter is invalid"}"#,
                "{method} {path}"
            );
            reply.assert_failure("000-002");
        }
    }
}

#[test]
fn a_path_outside_the_base_path_leads_nowhere() {
    let server = Server::start();
    let mut client = server.client();
    for target in [
        "/",
        "/favicon.ico",
        "/agentgateway",
        "/agentgateway/other",
        "/agentgateway/resource2/health",
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.reply().assert_http_error(404, "000-002", &[]);
    }
}

#[test]
fn the_default_checks_of_balancers_get_the_status_of_health_without_a_body() {
    let setup = Setup::new()
        .set("MOUNT_DIR", "/nowhere/at/all")
        .expect_log("mount /nowhere/at/all is lost");
    let (well, ill) = (Server::start(), setup.start());
    ill.metric_becomes("mount_up{directory=\"/nowhere/at/all\"}", 0);
    eventually("a lost mount", || {
        ill.client().get("/health", None).status == 503
    });
    for (server, status) in [(&well, 200), (&ill, 503)] {
        for request in [
            "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "OPTIONS / HTTP/1.0\r\n\r\n",
        ] {
            let mut client = server.client();
            client.send(request);
            let reply = client.head();
            assert_eq!(
                (reply.status, reply.field("Content-Length")),
                (status, Some("0")),
                "{request}"
            );
            assert_eq!(reply.field("JSON-Type"), None);
            if request.contains("1.1") {
                assert_eq!(
                    client.get("/health", None).status,
                    status,
                    "no body may follow the head"
                );
            }
        }
    }
}
