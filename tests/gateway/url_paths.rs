//! Paths, agent ids and methods: what leads to an interface and what does not.

use crate::support::{INTERFACES, Server, Setup};

#[test]
fn what_is_no_agent_id_is_an_invalid_parameter_in_http_200_at_every_interface() {
    let server = Server::start();
    let mut client = server.client();
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
    for interface in INTERFACES.iter().filter(|interface| !interface.is_for_everybody()) {
        for id in ids {
            let reply = client.request(interface.method, &interface.path.replace("{}", id), None, interface.body);
            assert_eq!(reply.outcome(), (200, "000-002".into()), "{} of {id:?}", interface.name);
            reply.assert_failure("000-002");
        }
    }
}

#[test]
fn the_highest_agent_id_is_the_one_set_and_the_lowest_101() {
    for (setup, ids) in [
        (Setup::new(), [("101", "100-006"), ("59999", "100-006"), ("60000", "000-002")]),
        (
            Setup::new().set("AGENT_ID_MAX", "999999"),
            [("60000", "100-006"), ("999999", "100-006"), ("1000000", "000-002")],
        ),
    ] {
        let server = setup.start();
        let mut client = server.client();
        for (id, code) in ids {
            for interface in INTERFACES.iter().filter(|interface| !interface.is_for_everybody()) {
                // The content is looked at after the id, and an empty one is refused.
                let code = if interface.is_sign_in() && code == "100-006" { "100-001" } else { code };
                client.request(interface.method, &interface.path.replace("{}", id), None, "").assert_failure(code);
            }
        }
    }
}

#[test]
fn another_method_is_refused_with_the_one_that_is_allowed() {
    let server = Server::start();
    for interface in &INTERFACES {
        for method in ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "get"] {
            if method == interface.method {
                continue;
            }
            let mut client = server.client();
            let reply = client.request(method, &interface.path.replace("{}", "101"), None, "");
            reply.assert_fault(405, "000-002", &["Allow"]);
            let allowed = if interface.name == "health" { "GET, HEAD" } else { interface.method };
            assert_eq!(reply.field("Allow"), Some(allowed), "{method} {}", interface.name);
        }
    }
}

#[test]
fn a_path_that_leads_nowhere_is_an_invalid_parameter_in_http_404() {
    let server = Server::start();
    let mut client = server.client();
    for path in ["", "/", "/onlineagent/101/loginex", "/agentevent/101/more", "/recordfile/101", "/HEALTH"] {
        client.get(path, None).assert_fault(404, "000-002", &[]);
    }
}
