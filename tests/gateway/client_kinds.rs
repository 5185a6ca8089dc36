//! What each kind of public client does from its sign-in to a recording, in its order, on a raw TLS socket. Each ends
//! with the recording it came for, byte for byte.

use std::thread;

use serde_json::Value;

use crate::support::{BASE, Client, EMPTY_POLL, Reply, Server, Setup, eventually, recording_bytes};

/// The answer to what changes something.
const DONE: &str = r#"{"result":{},"message":"success","retcode":"0"}"#;
const VIDEO: &str = "1/0/20201202/503/1714442.mp4";
const AUDIO: &str = "1/0/20201202/503/1714442.V3";

fn setup() -> Setup {
    Setup::new().recording(VIDEO, video()).recording(AUDIO, audio())
}

fn video() -> Vec<u8> {
    recording_bytes(7, 70_000)
}

fn audio() -> Vec<u8> {
    recording_bytes(8, 50_000)
}

/// Sends one request as it is written, after the base path, and reads the answer.
fn ask(client: &mut Client, method: &str, path: &str, fields: &str, body: &str) -> Reply {
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    client.send(format!("{method} {BASE}{path} HTTP/1.1\r\nHost: gateway:8043\r\n{fields}{length}\r\n{body}"));
    client.reply()
}

/// Takes events until one of this type.
fn poll_until(client: &mut Client, fields: &str, kind: &str) {
    eventually(kind, || ask(client, "GET", "/agentevent/503", fields, "").json()["event"]["eventType"] == kind);
}

fn assert_result(reply: &Reply, result: &Value) {
    assert_eq!((reply.status, reply.code()), (200, "0".into()), "{reply:?}");
    assert_eq!(reply.json()["result"], *result);
}

#[test]
fn the_vendors_first_program_signs_in_by_force_resets_its_skills_and_polls() {
    let server = setup().start();
    let mut client = server.client();
    let json = "Content-Type: application/json; charset=UTF-8\r\n";
    let body = r#"{"password":"secret","phonenum":"40038","autoanswer":"true","autoenteridle":"false","releasephone":"true","agenttype":"4","status":"4","ip":"127.0.0.1"}"#;
    let reply = ask(&mut client, "PUT", "/onlineagent/503/forcelogin", json, body);
    assert_eq!(reply.json()["result"]["isForceChange"], "false");
    let guid = reply.guid().unwrap().replace([':', '='], "");
    let fields = format!("{json}guid: {guid}\r\nCookie: JSESSIONIDnode0; Path/\r\n");
    let reply = ask(&mut client, "POST", "/onlineagent/503/resetskill/true", &fields, "");
    assert_eq!(reply.text(), DONE);
    for event in ["AgentOther_InService", "AgentState_Ready"] {
        let reply = ask(&mut client, "GET", "/agentevent/503", &fields, "");
        let json = reply.json();
        assert!(json["event"].is_object() && json["event"]["content"].is_null(), "{json}");
        assert_eq!((&json["event"]["eventType"], &json["event"]["workNo"]), (&event.into(), &"503".into()));
    }
    assert_eq!(ask(&mut client, "GET", "/agentevent/503", &fields, "").text(), EMPTY_POLL);
    let path = format!("/recordfile/503/videofiledownloadEx?recordId=Y:/{VIDEO}");
    assert!(ask(&mut client, "GET", &path, &fields, "").body == video());
}

#[test]
fn the_portal_signs_in_by_agent_id_asks_whether_it_inspects_and_takes_a_recording_in_two_steps() {
    let server = setup().start();
    let mut client = server.client();
    let body = r#"{"password":"secret","status":5,"autoenteridle":"true","pushUrl":"","checkInWebm":false}"#;
    let reply = ask(&mut client, "PUT", "/onlineagent/503", "Content-Type: application/json\r\n", body);
    assert!(reply.json()["result"]["vdnid"].to_string().parse::<i64>().is_ok());
    let fields = format!("guid: {}\r\nContent-Type: application/json;charset=UTF-8\r\n", reply.guid().unwrap());
    assert_result(&ask(&mut client, "GET", "/agentgroup/503/iscensor/", &fields, ""), &false.into());
    assert_eq!(ask(&mut client, "POST", "/onlineagent/503/resetskill/true", &fields, "").text(), DONE);
    poll_until(&mut client, &fields, "AgentState_Work");
    assert_eq!(ask(&mut client, "POST", "/onlineagent/503/sayfree", &fields, "").text(), DONE);
    poll_until(&mut client, &fields, "AgentState_CancelWork_Success");
    let beat = ask(&mut client, "PUT", "/onlineagent/503/heartbeat", &fields, "");
    assert!(beat.json()["result"].is_object());

    let id = format!("Y:/{AUDIO}").replace(':', "%3A").replace('/', "%2F");
    let reply =
        ask(&mut client, "GET", &format!("/qualitycontrol/503/localrecordpath?format=1&recordId={id}"), &fields, "");
    let result = reply.json()["result"].clone();
    let (token, path) = (result["token"].as_str().unwrap(), result["localRecordPath"].as_str().unwrap());
    assert_eq!(path.rsplit('/').next(), Some("1714442.V3"));
    let path = path.replace(':', "%3A").replace('/', "%2F");
    let path = format!("/qualitycontrol/503/recordfile?token={token}&localRecordPath={path}");
    let guid = fields.lines().next().unwrap();
    assert!(ask(&mut client, "GET", &path, &format!("{guid}\r\n"), "").body == audio());
}

#[test]
fn the_icp_bridge_signs_in_by_force_and_monitors_the_agents_it_is_told_of() {
    let server = setup().start();
    server.sign_in(101);
    let mut client = server.client();
    let reply = ask(&mut client, "PUT", "/onlineagent/503/forcelogin", "", r#"{"password":"secret"}"#);
    let fields = format!("guid: {}\r\nContent-Type: application/json\r\n", reply.guid().unwrap());
    let agents = ask(&mut client, "GET", "/agentgroup/503/allagentstatus", &fields, "").json();
    let ids: Vec<_> =
        agents["result"].as_array().unwrap().iter().map(|line| line["workno"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["101", "503"]);
    for call in ["endmonitor", "beginmonitor"] {
        let path = format!("/qualitycontrol/503/{call}?agents={}", ids.join(";"));
        assert_eq!(ask(&mut client, "POST", &path, &fields, "").code(), "0", "{call}");
    }
    poll_until(&mut client, &fields, "AgentState_Ready");
    let path = format!("/recordfile/503?recordId=Y:/{AUDIO}&filetype=1");
    assert!(ask(&mut client, "GET", &path, &fields, "").body == audio());
}

#[test]
fn the_desktop_asks_for_queues_and_numbers_and_writes_its_booleans_with_a_capital() {
    let server = setup().start();
    // It closes the connection with each request.
    let one = |method: &str, path: &str, fields: &str, body: &str| {
        ask(&mut server.client(), method, path, &format!("Connection: close\r\n{fields}"), body)
    };
    let reply = one("PUT", "/onlineagent/503", "", r#"{"password":"secret","agenttype":4,"status":4}"#);
    let fields = format!("guid: {}\r\nContent-Type: application/json\r\n", reply.guid().unwrap());
    for path in [
        "/onlineagent/503/agentskills",
        "/queuedevice/503/ivrinfo",
        "/queuedevice/503/agentvdnskill",
        "/queuedevice/503/innoinfo",
    ] {
        assert_result(&one("GET", path, &fields, ""), &Value::Array(Vec::new()));
    }
    for path in ["autoenteridle/True", "autoenteridle/False", "resetskill/true?skillid=&phonelinkage=0"] {
        assert_eq!(one("POST", &format!("/onlineagent/503/{path}"), &fields, "").text(), DONE, "{path}");
    }
    for path in ["saybusy", "cancelbusy", "work", "cancelwork", "rest/60/1", "cancelrest"] {
        let reply = one("POST", &format!("/onlineagent/503/{path}"), &fields, "");
        assert!(reply.json()["result"].is_object() && reply.code() == "0", "{path}");
    }
    let polls: Vec<_> = (0..9).map(|_| one("GET", "/agentevent/503", &fields, "").text().to_owned()).collect();
    assert!(polls[..8].iter().all(|body| body.contains("\"event\":{\"eventType\":\"Agent")) && polls[8] == EMPTY_POLL);
    let path = format!("/recordfile/503/recordfiledownloadEx?callId=1-2&hwFileName=Y:/{VIDEO}");
    assert!(one("GET", &path, &fields, "").body == video());
}

#[test]
fn the_browser_client_reads_its_guid_and_its_recording_across_origins() {
    const ORIGIN: &str = "https://crm.example";
    let server = setup().set("CORS_ALLOW_ORIGIN", ORIGIN).start();
    let mut client = server.client();
    let preflight = |client: &mut Client, method: &str, path: &str, headers: &str| {
        let fields = format!(
            "Origin: {ORIGIN}\r\nAccess-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: {headers}\r\n"
        );
        client.send(format!("OPTIONS {BASE}{path} HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.field("Access-Control-Allow-Methods")), (204, Some(method)));
        let allowed = reply.field("Access-Control-Allow-Headers").unwrap().to_lowercase();
        assert!(headers.split(',').all(|name| allowed.contains(name)), "{headers} of {allowed}");
    };
    preflight(&mut client, "PUT", "//onlineagent/503", "content-type,x-requested-with");
    let origin = format!("Origin: {ORIGIN}\r\nAccept: application/json\r\n");
    let reply = ask(&mut client, "PUT", "//onlineagent/503", &origin, r#"{"password":"secret"}"#);
    assert_eq!(reply.field("JSON-Type"), Some("application/json"));
    let exposed = reply.field("Access-Control-Expose-Headers").unwrap();
    assert!(exposed.contains("Set-GUID") && exposed.contains("JSON-Type"));
    let fields = format!("{origin}Guid: {}\r\n", reply.guid().unwrap());
    preflight(&mut client, "GET", "//agentevent/503", "guid,if-none-match,if-modified-since");
    for event in ["AgentOther_InService", "AgentState_Ready"] {
        let reply = ask(&mut client, "GET", "//agentevent/503?resteasy_jsapi_anti_cache=1", &fields, "");
        assert_eq!(reply.json()["event"]["eventType"], event);
    }
    let path = format!("//recordfile/503/videofiledownloadEx?recordId=Y:%2f{}", VIDEO.replace('/', "%2f"));
    let reply = ask(&mut client, "GET", &path, &format!("{fields}If-None-Match: \"a\"\r\n"), "");
    assert_eq!((reply.field("Access-Control-Allow-Origin"), reply.field("JSON-Type")), (Some(ORIGIN), None));
    assert!(reply.body == video());
}

#[test]
fn the_middle_tier_sends_null_for_nothing_and_takes_200_agents_through_one_address() {
    let agents: String = (1000..1200).map(|agent| format!("{agent} = no-password\n")).collect();
    let setup = Setup::new().agents(&agents).set("MAX_CONNECTIONS_PER_ADDRESS", "512");
    for agent in 1000..1200 {
        setup.write_recording(&format!("1/0/20201202/{agent}/1.mp4"), agent.to_string());
    }
    let server = setup.start();
    thread::scope(|scope| {
        for agents in (1000..1200).collect::<Vec<_>>().chunks(50) {
            let server = &server;
            let agents = agents.to_vec();
            scope.spawn(move || agents.into_iter().for_each(|agent| middle_tier(server, agent)));
        }
    });
}

fn middle_tier(server: &Server, agent: u32) {
    let mut client = server.client();
    let json = "Content-Type: application/json\r\nContent-Encoding: UTF-8\r\n";
    let path = |rest: &str| format!("/onlineagent/{agent}{rest}");
    let reply = ask(&mut client, "PUT", &path(""), json, r#"{"password":"","phonenum":"1"}"#);
    let fields = format!("{json}guid: {}\r\n", reply.guid().unwrap());
    for call in
        ["/resetskill/true?skillid=null&phonelinkage=null", "/saybusy?reason=null", "/cancelbusy", "/autoanswer/true"]
    {
        assert_eq!(ask(&mut client, "POST", &path(call), &fields, "null").text(), DONE, "{call}");
    }
    assert_eq!(ask(&mut client, "PUT", &path("/heartbeat"), &fields, "null").code(), "0");
    let status = ask(&mut client, "GET", &path("/agentstatus"), &fields, "");
    assert_eq!(status.json()["result"], serde_json::json!({"agentState": 4, "isWorking": false}));
    let download = format!("/recordfile/{agent}/videofiledownloadEx?recordId=Y:/1/0/20201202/{agent}/1.mp4");
    assert_eq!(ask(&mut client, "GET", &download, &fields, "").text(), agent.to_string());
    assert_eq!(ask(&mut client, "DELETE", &path("/logout"), &fields, "null").text(), EMPTY_POLL);
}

#[test]
fn a_client_that_keeps_its_poll_loop_over_a_forced_sign_in_never_loses_its_new_session() {
    let server = setup().endless_polls().start();
    let mut guid = server.sign_in(503);
    // The answers are held back for a moment each, so they are read in the end.
    let mut answers = Vec::new();
    for round in 0..100 {
        let mut parked = server.client();
        parked.send_request("GET", "/agentevent/503", &format!("guid: {guid}\r\n"), "");
        // Half of the polls are parked by then, the others may be on their way.
        let is_parked = round % 2 == 0;
        if is_parked {
            eventually("a parked poll", || server.metric("cc_gateway_polls_parked") > 0);
        }
        let reply = server.client().put("/onlineagent/503/forcelogin", None, r#"{"password":"secret"}"#);
        let mut late = server.client();
        late.send_request("GET", "/agentevent/503", &format!("guid: {guid}\r\n"), "");
        answers.push((round, is_parked, parked, late));
        guid = reply.guid().unwrap();
        server.client().take_sign_in_events(503, &guid);
        // The client has its new Guid and polls with it.
        if answers.len() >= 25 || round == 99 {
            for (round, is_parked, mut parked, mut late) in answers.drain(..) {
                let old = parked.reply();
                // On the parked poll 100-006 would end the client's loop, and with it the new session.
                match is_parked {
                    true => assert_eq!(old.text(), EMPTY_POLL, "round {round}"),
                    false => assert!(old.text() == EMPTY_POLL || old.code() == "100-006", "round {round}: {old:?}"),
                }
                late.reply().assert_failure("100-006");
            }
        }
    }
    assert!(server.client().download(503, Some(&guid), &format!("Y:/{VIDEO}")).body == video());
}
