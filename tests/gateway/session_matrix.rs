//! Every state of an agent at every interface: result code, status, body and headers of each reply.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use crate::support::{
    EMPTY_POLL, INTERFACES, Interface, Reply, SIGN_IN, Server, Setup, eventually,
};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";
const VOICE: &str = "1/0/20201202/503/1714442.V3";
/// The first agent of the matrix; each cell uses another one.
const AGENT_ID_FIRST: u32 = 1000;
/// Offset from an agent's number to that of the other agent whose Guid it uses.
const STRANGER: u32 = 1000;

/// Brings an agent into a state and returns the Guid that its client has.
type Bring = fn(&Server, u32) -> Option<String>;

/// A state with the codes of login, of forceLogin and of the interfaces that need a session.
struct State {
    name: &'static str,
    bring: Bring,
    login: &'static str,
    force_login: &'static str,
    others: &'static str,
}

const fn state(name: &'static str, bring: Bring, codes: [&'static str; 3]) -> State {
    let [login, force_login, others] = codes;
    State {
        name,
        bring,
        login,
        force_login,
        others,
    }
}

fn lock_out(server: &Server, agent: u32) {
    let mut client = server.client();
    for _ in 0..5 {
        client
            .put(
                &format!("/onlineagent/{agent}"),
                None,
                r#"{"password":"wrong"}"#,
            )
            .assert_failure("100-004");
    }
}

const STATES: [State; 11] = [
    state("signed out", |_, _| None, ["0", "0", "100-006"]),
    state(
        "signed out, another agent's Guid",
        |server, agent| Some(server.sign_in(agent + STRANGER)),
        ["0", "0", "100-006"],
    ),
    state(
        "signed out again, its earlier Guid",
        |server, agent| {
            let guid = server.sign_in(agent);
            let path = format!("/onlineagent/{agent}/logout");
            assert_eq!(
                server.client().delete(&path, Some(&guid)).text(),
                EMPTY_POLL
            );
            Some(guid)
        },
        ["0", "0", "100-006"],
    ),
    state(
        "signed in",
        |server, agent| Some(server.sign_in(agent)),
        ["100-002", "0", "0"],
    ),
    state(
        "signed in, an invented Guid",
        |server, agent| {
            let guid = server.sign_in(agent);
            Some(format!(
                "{}{}",
                if guid.starts_with('0') { '1' } else { '0' },
                &guid[1..]
            ))
        },
        ["100-002", "0", "000-003"],
    ),
    state(
        "signed in, another agent's Guid",
        |server, agent| {
            server.sign_in(agent);
            Some(server.sign_in(agent + STRANGER))
        },
        ["100-002", "0", "000-003"],
    ),
    state(
        "signed in, no Guid",
        |server, agent| {
            server.sign_in(agent);
            None
        },
        ["100-002", "0", "000-003"],
    ),
    state(
        "forced out, its earlier Guid",
        |server, agent| {
            let guid = server.sign_in(agent);
            let path = format!("/onlineagent/{agent}/forcelogin");
            assert_eq!(server.client().put(&path, None, SIGN_IN).code(), "0");
            Some(guid)
        },
        ["100-002", "0", "100-006"],
    ),
    state(
        "forced in, its new Guid",
        |server, agent| {
            server.sign_in(agent);
            let mut client = server.client();
            let guid = client
                .put(&format!("/onlineagent/{agent}/forcelogin"), None, SIGN_IN)
                .guid()?;
            client.take_sign_in_events(agent, &guid);
            Some(guid)
        },
        ["100-002", "0", "0"],
    ),
    state(
        "locked",
        |server, agent| {
            lock_out(server, agent);
            None
        },
        ["110-016", "110-016", "100-006"],
    ),
    state(
        "signed in and locked",
        |server, agent| {
            let guid = server.sign_in(agent);
            lock_out(server, agent);
            Some(guid)
        },
        ["110-016", "110-016", "0"],
    ),
];

/// This state and the next need settings of their own.
const EXPIRED: State = state(
    "signed in, an expired Guid",
    |server, agent| {
        let first = server.sign_in_only(agent);
        // The second renewal comes at least two intervals after the first Guid was issued, when
        // that has expired.
        let mut guid = first.clone();
        for _ in 0..2 {
            eventually("a renewal", || {
                let renewed = server
                    .client()
                    .get(&format!("/agentevent/{agent}"), Some(&guid))
                    .guid();
                guid = renewed.clone().unwrap_or_else(|| guid.clone());
                renewed.is_some()
            });
        }
        Some(first)
    },
    ["100-002", "0", "000-003"],
);
const TIMED_OUT: State = state(
    "timed out",
    |server, agent| Some(server.sign_in(agent)),
    ["0", "0", "100-006"],
);

fn setup() -> Setup {
    let agents: String = (AGENT_ID_FIRST..AGENT_ID_FIRST + 2 * STRANGER)
        .map(|agent| {
            format!("{agent} = pbkdf2-sha256$1000$000102030405060708090a0b0c0d0e0f$SECRET\n")
        })
        .collect();
    Setup::new()
        .agents(&agents)
        .recording(RECORDING, "bytes")
        .recording(VOICE, "bytes")
        .set("DOWNLOAD_SCOPE", "ALL")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "1024")
        .expect_log("is locked for clients at 127.0.0.1: too many failed sign-ins")
}

/// Checks the reply of one cell.
fn check(state: &State, interface: &Interface, agent: u32, reply: &Reply) {
    let code = match interface.name {
        "health" | "metrics" => "0",
        "getAllAgentEvent" => "000-001",
        "loginByAccount" => "100-060",
        "getConnectToken" if state.others == "0" => "000-002",
        "login" => state.login,
        "forceLogin" => state.force_login,
        "forceLogoutWithReason 0" if state.others == "0" => "100-005",
        // All these agents are idle, so there is nothing to cancel.
        "cancelBusy" | "cancelWork" | "cancelRest" if state.others == "0" => "100-009",
        _ => state.others,
    };
    if code != "0" {
        return interface.assert_failure(reply, code);
    }
    match interface.name {
        "login" | "forceLogin" => {
            reply.assert_json(200, &["Set-GUID"]);
            assert_eq!(reply.json()["result"]["workno"], agent.to_string());
        }
        "logout" | "forceLogout" | "forceLogoutWithReason" | "getAgentEvent" => {
            reply.assert_json(200, &[]);
            assert_eq!(reply.text(), EMPTY_POLL);
        }
        "handShake" | "health" => {
            reply.assert_json(200, &[]);
            assert_eq!(reply.text(), r#"{"message":"success","retcode":"0"}"#);
        }
        "resetSkill"
        | "sayFree"
        | "sayBusy"
        | "sayWork"
        | "rest"
        | "setAgentAutoEnterIdle"
        | "setAgentAutoAnswer"
        | "beginMonitor"
        | "endMonitor" => {
            reply.assert_json(200, &[]);
            assert_eq!(
                reply.text(),
                r#"{"result":{},"message":"success","retcode":"0"}"#
            );
        }
        "queryAgentSkills"
        | "queryAgentSkillsByWorkNo"
        | "getAgentRestReason"
        | "queryGroupInfoOnVdn"
        | "querySkillQueueOnAgentVDN"
        | "querySkillQueueOnVDN"
        | "querySkillQueueOnAgent"
        | "queryStatInfoOfAcd"
        | "queryInNoOnVDN" => {
            reply.assert_json(200, &[]);
            assert_eq!(reply.text(), r#"{"message":"","retcode":"0","result":[]}"#);
        }
        "queryIVRInfoOnVdn" => {
            reply.assert_json(200, &[]);
            assert_eq!(
                reply.text(),
                r#"{"result":[],"message":"success","retcode":"0"}"#
            );
        }
        "getAgentStatus" => {
            reply.assert_json(200, &[]);
            assert_eq!(
                reply.text(),
                r#"{"message":"","retcode":"0","result":{"agentState":4,"isWorking":false}}"#
            );
        }
        "isCensor" => {
            reply.assert_json(200, &[]);
            assert_eq!(
                reply.text(),
                r#"{"message":"","retcode":"0","result":false}"#
            );
        }
        "queryGroupInfoByWorkNo" => {
            reply.assert_json(200, &[]);
            let group = r#"{"id":0,"name":"","monitorno":0,"monitorname":""}"#;
            assert_eq!(
                reply.text(),
                format!(r#"{{"message":"","retcode":"0","result":{group}}}"#)
            );
        }
        "queryAllAgentWasNameOnVdn" => {
            reply.assert_json(200, &[]);
            assert_eq!(reply.json()["result"][agent.to_string()], agent.to_string());
        }
        "queryAgentInfoByWorkNo" => {
            reply.assert_json(200, &[]);
            assert_eq!(reply.json()["result"]["workno"], agent.to_string());
        }
        "getAllStatusAgents"
        | "queryAllLoginedAgentInfoOnVdn"
        | "getIdleStatusAgents"
        | "queryAllMonitoredAgents"
        | "queryAllAgentInfoOnMyGroupEx"
        | "queryAgentInfoWithoutSkills" => {
            reply.assert_json(200, &[]);
            let json = reply.json();
            let own = json["result"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|line| line["workno"].as_str() == Some(agent.to_string().as_str()));
            assert_eq!(own.count(), 1, "{reply:?}");
        }
        "syncagentinfo" => {
            reply.assert_json(200, &[]);
            assert_eq!(
                reply.json()["result"]["agentStateInfo"]["workNo"],
                agent.to_string()
            );
        }
        "updateGuid" => {
            reply.assert_json(200, &["Set-GUID"]);
            let guid = reply.guid().unwrap();
            assert_eq!(
                reply.text(),
                format!(r#"{{"result":{{"guid":"{guid}"}},"message":"success","retcode":"0"}}"#)
            );
        }
        "heartBeat" => {
            reply.assert_json(200, &[]);
            let json = reply.json();
            let time: u64 = json["result"]["loginTime"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!(time > 1_600_000_000_000, "{time}");
            let text = format!(
                r#"{{"message":"success","retcode":"0","result":{{"loginTime":"{time}"}}}}"#
            );
            assert_eq!(reply.text(), text);
        }
        "getLocalRecordPath" => {
            reply.assert_json(200, &[]);
            let token = reply.json()["result"]["token"].as_str().unwrap().to_owned();
            assert_eq!(token.len(), 32);
            let result = format!(r#"{{"token":"{token}","localRecordPath":"Y:/{VOICE}"}}"#);
            assert_eq!(
                reply.text(),
                format!(r#"{{"message":"","retcode":"0","result":{result}}}"#)
            );
        }
        "downloadVideoFileEx"
        | "downloadRecordFile"
        | "recordfiledownloadEx"
        | "downloadLocalRecordFile" => {
            assert_eq!((reply.status, &*reply.body), (200, &b"bytes"[..]));
            assert_eq!(
                reply.field("Content-Type"),
                Some("application/octet-stream;charset=utf-8")
            );
            assert_eq!(reply.field("Cache-Control"), Some("no-store"));
            assert_eq!(reply.field("Content-Length"), Some("5"));
        }
        "metrics" => {
            assert_eq!(reply.status, 200);
            assert_eq!(
                reply.field("Content-Type"),
                Some("text/plain; version=0.0.4; charset=utf-8")
            );
            assert_eq!(reply.field("Cache-Control"), Some("no-store"));
            assert_eq!(reply.length(), reply.body.len());
        }
        other => panic!("{other} has no expectation"),
    }
}

/// Brings an agent into each state for each interface, and checks the replies. The requests run in
/// parallel, as most refusals are sent after a delay.
fn walk(server: &Server, states: &[State], ready: impl FnOnce()) {
    let rows = states
        .iter()
        .flat_map(|state| INTERFACES.iter().map(move |interface| (state, interface)));
    let cells: Vec<_> = rows
        .zip(AGENT_ID_FIRST..)
        .map(|((state, interface), agent)| (state, interface, agent, (state.bring)(server, agent)))
        .collect();
    ready();
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (state, interface, agent, guid) in &cells {
            let wrong = &wrong;
            scope.spawn(move || {
                let cell = || {
                    let reply = interface.ask(server, &agent.to_string(), guid.as_deref());
                    check(state, interface, *agent, &reply);
                };
                if catch_unwind(AssertUnwindSafe(cell)).is_err() {
                    wrong
                        .lock()
                        .unwrap()
                        .push(format!("{}: {}", state.name, interface.name));
                }
            });
        }
    });
    assert_eq!(
        wrong.into_inner().unwrap(),
        [""; 0],
        "these cells are wrong"
    );
}

#[test]
fn every_state_of_an_agent_has_its_answer_at_every_interface() {
    walk(&setup().start(), &STATES, || ());
}

#[test]
fn an_agent_that_has_timed_out_has_no_session_at_any_interface() {
    let server = setup().set("MAXTIME", "300").start();
    let all_gone = || {
        eventually("the end of all sessions", || {
            server.metric("cc_gateway_sessions") == 0
        })
    };
    walk(&server, &[TIMED_OUT], all_gone);
}

#[test]
fn an_expired_guid_gives_no_right_at_any_interface() {
    walk(
        &setup()
            .set("GUIDINTERVAL", "1")
            .set("GUIDTIMEOUT", "2")
            .start(),
        &[EXPIRED],
        || (),
    );
}
