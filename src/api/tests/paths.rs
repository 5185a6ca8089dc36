//! Which interface a request reaches, and which requests are refused before that.

use super::*;
use crate::api::interfaces::INTERFACES;

/// A path of an interface, with an agent and a value for each parameter.
fn path(entry: &InterfaceSpec, agent: &str) -> String {
    let parts = entry.path.split('/').map(|part| match part {
        "{id}" => agent,
        part if part.starts_with('{') => "1",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn every_interface_has_one_method_and_says_which() {
    let desk = Desk::new();
    for entry in INTERFACES {
        for method in [
            Method::Get,
            Method::Head,
            Method::Put,
            Method::Post,
            Method::Delete,
            Method::Options,
            Method::Other,
        ] {
            if method == entry.method {
                continue;
            }
            let reply = desk.ask(&call(method, &path(entry, "101")));
            let what = format!("{} {}", method.name(), entry.path);
            if entry.path == "health" {
                let is_head = method == Method::Head;
                assert_eq!(reply.status, if is_head { 200 } else { 405 }, "{what}");
                if !is_head {
                    assert_eq!(reply.field("Allow"), Some("GET, HEAD"));
                }
                continue;
            }
            assert_eq!(reply.status, 405, "{what}");
            assert_eq!(reply.field("Allow"), Some(entry.method.name()), "{what}");
            assert_eq!(reply.body, failure(ResultCode::INVALID_PARAMETER), "{what}");
        }
    }
}

#[test]
fn whoever_has_no_guid_in_force_is_told_so_after_half_a_second() {
    let desk = Desk::new();
    let guid = desk.sign_in(102);
    for entry in INTERFACES.iter().filter(|entry| entry.needs_guid) {
        let end = match entry.interface {
            Interface::GetLocalRecordPath => "{}",
            _ => r#""""#,
        };
        for (agent, guid, code) in [
            ("101", None, ResultCode::NOT_SIGNED_IN),
            ("101", Some(&*guid), ResultCode::NOT_SIGNED_IN),
            ("102", None, ResultCode::NO_RIGHT),
            ("102", Some("0"), ResultCode::NO_RIGHT),
        ] {
            let call = call(entry.method, &path(entry, agent));
            let call = match guid {
                Some(guid) => call.guid(guid),
                None => call,
            };
            let asked = desk.begin(&call);
            assert_eq!(asked.wait(), Duration::from_millis(500), "{}", entry.path);
            assert!(!asked.waiting().is_poll && !asked.is_finished());
            let asked = desk.end(asked);
            assert!(!asked.context.is_authenticated());
            let expected = format!(
                r#"{{"retcode":"{}","message":"{}","result":{end}}}"#,
                code.wire(),
                code.message()
            );
            assert_eq!(asked.reply().body, expected, "{} {agent}", entry.path);
        }
        for agent in ["100", "60000", "x", "0101"] {
            let reply = desk.ask(&call(entry.method, &path(entry, agent)).guid(&guid));
            let expected = match entry.interface {
                Interface::GetLocalRecordPath => format!(
                    r#"{{"retcode":"000-002","message":"{}","result":{{}}}}"#,
                    ResultCode::INVALID_PARAMETER.message()
                ),
                _ => failure(ResultCode::INVALID_PARAMETER),
            };
            assert_eq!(reply.body, expected, "{} {agent}", entry.path);
        }
    }
}

#[test]
fn a_request_is_known_by_its_interface_and_agent_and_by_a_guid_in_force() {
    let desk = Desk::new();
    let guid = desk.sign_in(101);
    for (call, interface, number, is_authenticated) in [
        (
            get("onlineagent/101/agentstatus").guid(&guid),
            Interface::GetAgentStatus,
            Some(101),
            true,
        ),
        (
            get("onlineagent/101/agentstatus"),
            Interface::GetAgentStatus,
            Some(101),
            false,
        ),
        (
            get("onlineagent/x/agentstatus").guid(&guid),
            Interface::GetAgentStatus,
            None,
            false,
        ),
        (get("health"), Interface::Health, None, false),
        (get("elsewhere"), Interface::Unknown, None, false),
    ] {
        let asked = desk.begin(&call.from("192.0.2.7"));
        let context = &asked.context;
        assert_eq!(
            (
                context.interface,
                context.agent.map(AgentId::number),
                context.is_authenticated()
            ),
            (interface, number, is_authenticated)
        );
        assert_eq!(context.peer.to_string(), "192.0.2.7");
        assert_eq!(context.recording_fields(), "");
    }
}

#[test]
fn interfaces_for_everybody_who_uses_them_wrongly_take_half_a_second() {
    let desk = Desk::new();
    for (call, code) in [
        (
            get("agentevent/allagentevent"),
            ResultCode::WRONG_EVENT_METHOD,
        ),
        (put("onlineagent/loginbyaccount"), ResultCode::NO_ACCOUNTS),
    ] {
        let asked = desk.begin(&call);
        assert_eq!(asked.wait(), Duration::from_millis(500));
        assert_eq!(desk.end(asked).reply().body, failure(code));
    }
}

#[test]
fn a_path_below_the_base_that_leads_nowhere_is_a_wrong_parameter_and_any_other_is_not_there() {
    let desk = Desk::new();
    let mut elsewhere = get("");
    for (path, status) in [
        ("/agentgateway/resource/elsewhere", 200),
        ("/agentgateway/resource", 200),
        ("/agentgateway", 404),
        ("/elsewhere", 404),
        ("/", 404),
    ] {
        path.clone_into(&mut elsewhere.path);
        let reply = desk.ask(&elsewhere);
        assert_eq!(
            (reply.status, reply.body),
            (status, failure(ResultCode::INVALID_PARAMETER)),
            "{path}"
        );
    }
}

/// The status and code of a health check, the same in each form that balancers send.
fn health(desk: &Desk) -> (u16, &'static str) {
    let whole = desk.ask(&get("health"));
    let head = desk.ask(&call(Method::Head, "health"));
    assert_eq!(
        (whole.status, &whole.body, whole.code),
        (head.status, &head.body, head.code)
    );
    for (method, path) in [
        (Method::Options, "*"),
        (Method::Options, "/"),
        (Method::Head, "/"),
    ] {
        let mut call = call(method, "");
        path.clone_into(&mut call.path);
        let asked = desk.begin(&call);
        assert_eq!(asked.context.interface, Interface::Health);
        let reply = asked.reply();
        assert_eq!(
            (reply.status, &*reply.body, reply.code),
            (whole.status, "", whole.code)
        );
        assert_eq!(reply.field("Content-Type"), Some("text/plain"));
    }
    (whole.status, whole.code.wire())
}

#[test]
fn a_balancer_is_told_whether_the_node_can_work() {
    let desk = Desk::new();
    assert_eq!(
        desk.ask(&get("health")).body,
        r#"{"message":"success","retcode":"0"}"#
    );
    assert_eq!(health(&desk), (200, "0"));
    desk.gateway.drain();
    assert!(desk.gateway.is_draining());
    assert_eq!(health(&desk), (503, "000-007"));

    let lost = Desk::with("MOUNT_DIR=@/missing");
    let deadline = Instant::now() + LONG;
    while !lost.gateway.mounts.any_lost() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(health(&lost), (503, "108-012"));
}
