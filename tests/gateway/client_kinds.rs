//! Replays what each kind of public client sends, byte for byte: its sign-in, its calls before the
//! first poll, and its download of a recording named in an event.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{
    BASE, Client, EMPTY_POLL, Reply, SIGN_IN, Server, Setup, eventually, recording_bytes,
};

const FOLDER: &str = "1/0/20261125";

fn setup() -> Setup {
    Setup::new()
        .set("RECORD_SCAN_INTERVAL", "100")
        .recording("1/0/20261124/900/0900001.mp4", "old")
        .endless_polls()
}

fn looks(server: &Server) -> u64 {
    let directory = server.scratch().path().join("mount");
    server.metric(&format!(
        "cc_gateway_looks_total{{directory=\"{}\"}}",
        directory.display()
    ))
}

/// Waits until the recordings already on the mount count as old.
fn let_looks_pass(server: &Server) {
    let before = looks(server);
    eventually("two scans", || looks(server) >= before + 2);
}

/// Writes a recording of the agent and returns its bytes.
fn record(server: &Server, agent: u32) -> Vec<u8> {
    let video = recording_bytes(agent.into(), 100_000);
    let whole: PathBuf = server.scratch().file(&format!("written/{agent}"), &video);
    let folder = server
        .scratch()
        .path()
        .join("mount")
        .join(FOLDER)
        .join(agent.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(whole, folder.join("1714442.mp4")).unwrap();
    video
}

/// A client that sends these headers with every request.
struct Program {
    client: Client,
    fields: String,
}

impl Program {
    fn new(server: &Server, fields: &str) -> Program {
        Program {
            client: server.client(),
            fields: fields.to_owned(),
        }
    }

    /// Sends a request on the same connection; `path` is sent verbatim below the base path.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let length = if method == "GET" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let fields = &self.fields;
        self.client.send(format!(
            "{method} {BASE}{path} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n{body}"
        ));
        self.client.reply()
    }

    /// Like [`ask`](Self::ask), for a request that must succeed.
    fn succeed(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let reply = self.ask(method, path, body);
        assert_eq!(reply.outcome(), (200, "0".into()), "{path}");
        reply
    }

    /// Polls once and returns the event. Its agent must be the polling one, since clients drop
    /// other events.
    fn event(&mut self, agent: u32) -> serde_json::Value {
        let reply = self.succeed("GET", &format!("/agentevent/{agent}"), "");
        let event = reply.json()["event"].clone();
        assert_eq!(event["workNo"], agent.to_string(), "{reply:?}");
        event
    }

    fn expect_events(&mut self, agent: u32, kinds: &[&str]) {
        for kind in kinds {
            assert_eq!(self.event(agent)["eventType"], *kind);
        }
    }

    /// Polls for the two events of a recording and returns its `fileName`.
    fn file_name(&mut self, agent: u32) -> String {
        let started = self.event(agent);
        assert_eq!(started["eventType"], "AgentMediaEvent_Record");
        let stopped = self.event(agent);
        assert_eq!(stopped["eventType"], "AgentMediaEvent_StopRecordDone");
        assert_eq!(started["content"]["taskId"], stopped["content"]["taskId"]);
        started["content"]["fileName"].as_str().unwrap().to_owned()
    }

    fn download(&mut self, agent: u32, record_id: &str, video: &[u8]) {
        let reply = self.ask(
            "GET",
            &format!("/recordfile/{agent}/videofiledownloadEx?recordId={record_id}"),
            "",
        );
        assert_eq!(
            (reply.status, reply.body == video),
            (200, true),
            "{:?}",
            reply.head
        );
    }
}

/// The Guid as vendor clients extract it and send it back, without the characters that need care in
/// a header.
fn vendor_guid(reply: &Reply) -> String {
    let value = reply.field("Set-GUID").unwrap().replace("JSESSIONID=", "");
    value
        .chars()
        .filter(|letter| !matches!(letter, ':' | '=' | '\r' | '\n'))
        .collect()
}

/// Encodes a recordId like `java.net.URLEncoder`.
fn url_encoded(text: &str) -> String {
    text.replace('%', "%25")
        .replace('/', "%2F")
        .replace(':', "%3A")
        .replace(' ', "+")
}

#[test]
fn the_vendors_first_program() {
    let server = setup().start();
    const JSON: &str =
        "Content-Type: application/json;charset=UTF-8\r\nUser-Agent: Apache-HttpClient/4.5\r\n";
    let mut program = Program::new(&server, JSON);
    let body = r#"{"password":"secret","phonenum":"40038","autoanswer":false,"autoenteridle":false,"releasephone":true,"status":4,"ip":"10.0.0.1"}"#;
    program.succeed("PUT", "/onlineagent/101", body);
    assert_eq!(
        program.ask("PUT", "/onlineagent/101", body).code(),
        "100-002"
    );
    let signed_in = program.succeed("PUT", "/onlineagent/101/forcelogin", body);
    assert_ne!(signed_in.json()["result"]["isForceChange"], "true");
    let fields = format!(
        "{JSON}guid: {}\r\nCookie: JSESSIONID=node0; Path/\r\n",
        vendor_guid(&signed_in)
    );
    // From now on it polls in a thread of its own, on a separate connection.
    let mut polling = Program::new(&server, &fields);
    polling.expect_events(101, &["AgentOther_InService", "AgentState_Ready"]);
    program.fields = fields;
    assert!(
        program
            .succeed("POST", "/onlineagent/101/resetskill/true", "")
            .json()["result"]
            .is_object()
    );
    let_looks_pass(&server);
    let video = record(&server, 101);
    let name = polling.file_name(101);
    program.download(101, &name, &video);
    program.succeed("DELETE", "/onlineagent/101/logout", "");
}

#[test]
fn the_portal_that_signs_in_by_agent_id() {
    let server = setup().start();
    let mut portal = Program::new(
        &server,
        "Content-Type: application/json;charset=UTF-8\r\nguid:\r\n",
    );
    let body = r#"{"password":"secret","phonenum":"40038","status":5,"autoenteridle":true,"autoanswer":true,"pushUrl":"","checkInWebm":false}"#;
    let signed_in = portal.succeed("PUT", "/onlineagent/503", body);
    assert!(signed_in.json()["result"]["vdnid"].as_u64().is_some());
    portal.fields = format!(
        "Content-Type: application/json;charset=UTF-8\r\nguid: {}\r\n",
        vendor_guid(&signed_in)
    );
    let censor = portal
        .succeed("GET", "/agentgroup/503/iscensor/", "")
        .json()["result"]
        .clone();
    assert!(censor.is_boolean() || censor.is_string());
    portal.succeed("POST", "/onlineagent/503/resetskill/true", "");
    let beat = portal
        .succeed("PUT", "/onlineagent/503/heartbeat", "")
        .json()["result"]
        .clone();
    assert!(beat["loginTime"].is_string());
    // It requests the figures of the voice queues in this list, which is empty.
    let queues = portal
        .succeed("GET", "/queuedevice/503/vdnskill/1", "")
        .json()["result"]
        .clone();
    assert_eq!(queues, serde_json::json!([]));
    let figures = portal.succeed(
        "POST",
        "/queuedevice/503/queryacdstat",
        r#"{"skills":["1"]}"#,
    );
    assert_eq!(figures.json()["result"], serde_json::json!([]));
    // For this client the last of these completes the sign-in.
    portal.expect_events(
        503,
        &[
            "AgentOther_InService",
            "AgentState_Ready",
            "AgentState_Work",
        ],
    );
    portal.succeed("POST", "/onlineagent/503/sayfree", "");
    portal.expect_events(503, &["AgentState_CancelWork_Success"]);
    let_looks_pass(&server);
    let video = record(&server, 503);
    let name = portal.file_name(503);
    assert!(name.len() <= 129, "the client refuses a longer name");
    portal.download(503, &url_encoded(&name), &video);
    // It downloads a voice recording in two steps.
    let voice = recording_bytes(7, 50_000);
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714443.V3"), &voice);
    let name = portal.file_name(503);
    let path = format!(
        "/qualitycontrol/503/localrecordpath?format=1&recordId={}",
        url_encoded(&name)
    );
    let result = portal.succeed("GET", &path, "").json()["result"].clone();
    let [token, path] =
        ["token", "localRecordPath"].map(|member| url_encoded(result[member].as_str().unwrap()));
    portal.fields = portal
        .fields
        .replace("Content-Type: application/json;charset=UTF-8\r\n", "");
    let reply = portal.ask(
        "GET",
        &format!("/qualitycontrol/503/recordfile?token={token}&localRecordPath={path}"),
        "",
    );
    assert_eq!(
        (reply.status, reply.body == voice),
        (200, true),
        "{:?}",
        reply.head
    );
}

#[test]
fn the_bridge_that_monitors_agents() {
    let server = setup().start();
    for agent in [101, 102] {
        server.sign_in(agent);
    }
    let mut bridge = Program::new(&server, "Content-Type: application/json;charset=UTF-8\r\n");
    let signed_in = bridge.succeed("PUT", "/onlineagent/900/forcelogin", SIGN_IN);
    bridge.fields = format!("{}guid: {}\r\n", bridge.fields, vendor_guid(&signed_in));
    let status = bridge
        .succeed("GET", "/agentgroup/900/allagentstatus", "")
        .json()["result"]
        .clone();
    let numbers: Vec<_> = status
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| agent["workno"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["101", "102", "900"]);
    // It monitors five hundred agents per call.
    let agents: Vec<_> = (50_000..50_500)
        .map(|agent: u32| agent.to_string())
        .collect();
    bridge.ask(
        "POST",
        &format!("/qualitycontrol/900/endmonitor?agents={}", agents.join(";")),
        "",
    );
    bridge.succeed(
        "POST",
        &format!(
            "/qualitycontrol/900/beginmonitor?agents={}",
            agents.join(";")
        ),
        "",
    );
    bridge.expect_events(900, &["AgentOther_InService", "AgentState_Ready"]);
    let_looks_pass(&server);
    let video = record(&server, 900);
    let name = bridge.file_name(900);
    bridge.download(900, &name, &video);
    // Agent 900 is an inspector, who may download the recordings of others.
    let video = record(&server, 101);
    bridge.download(900, &format!("Y:/{FOLDER}/101/1714442.mp4"), &video);
}

#[test]
fn the_desktop() {
    let server = setup().start();
    // This client uses a new connection for each request, and gives up on any status but 200.
    let ask = |guid: &str, method: &str, path: &str, body: &str| {
        let fields =
            format!("Content-Type: application/json\r\nguid: {guid}\r\nConnection: close\r\n");
        let mut desktop = Program::new(&server, &fields);
        let reply = desktop.ask(method, path, body);
        assert_eq!(
            (reply.status, desktop.client.rest()),
            (200, (Vec::new(), true)),
            "{path}"
        );
        reply
    };
    let body = r#"{"password":"secret","phonenum":"40038","autoanswer":"false","autoenteridle":"true","releasephone":"true","agenttype":"4","status":"4","ip":"10.0.0.1","phonelinkage":"false"}"#;
    let signed_in = ask("", "PUT", "/onlineagent/503", body);
    assert!(signed_in.json()["result"].is_object());
    // It takes what follows the first `=` as the Guid.
    let guid = signed_in
        .field("Set-GUID")
        .unwrap()
        .split_once('=')
        .unwrap()
        .1
        .to_owned();
    let poll = || {
        let reply = ask(&guid, "GET", "/agentevent/503", "");
        assert!(reply.json()["event"].is_object() || reply.text() == EMPTY_POLL);
        reply.json()["event"].clone()
    };
    assert_eq!(poll()["eventType"], "AgentOther_InService");
    for path in [
        "onlineagent/503/agentskills",
        "queuedevice/503/ivrinfo",
        "queuedevice/503/agentvdnskill",
    ] {
        assert!(
            ask(&guid, "GET", &format!("/{path}"), "").json()["result"].is_array(),
            "{path}"
        );
    }
    assert!(ask(&guid, "GET", "/queuedevice/503/innoinfo", "").json()["result"].is_array());
    for path in [
        "autoenteridle/True",
        "autoenteridle/False",
        "resetskill/true?skillid=&phonelinkage=0",
    ] {
        let reply = ask(&guid, "POST", &format!("/onlineagent/503/{path}"), "");
        assert_eq!(
            (reply.code().as_str(), reply.json()["result"].is_object()),
            ("0", true),
            "{path}"
        );
    }
    assert_eq!(poll()["eventType"], "AgentState_Ready");
    // Whom the agent can contact: its group, the group's members, and the queues of the VDN.
    let group = ask(&guid, "GET", "/agentgroup/503/groupbyagent/503", "").json()["result"].clone();
    assert!(
        group["id"].is_u64() && group["monitorno"].is_u64() && group["name"].is_string(),
        "{group}"
    );
    let path = format!("/agentgroup/503/agentongroupex?groupid={}", group["id"]);
    assert_eq!(
        ask(&guid, "GET", &path, "").json()["result"][0]["workno"],
        "503"
    );
    for path in [
        "queuedevice/503/vdnskill/1",
        "agentgroup/503/allagentstatus",
    ] {
        assert!(
            ask(&guid, "GET", &format!("/{path}"), "").json()["result"].is_array(),
            "{path}"
        );
    }
    // The client works without a screen recorder.
    assert_eq!(
        ask(&guid, "GET", "/recordplay/503/getconnecttoken", "")
            .json()
            .get("result"),
        None
    );
    let_looks_pass(&server);
    let video = record(&server, 503);
    let content = poll()["content"].clone();
    let path = format!(
        "/recordfile/503/videofiledownloadEx?recordId={}",
        content["fileName"].as_str().unwrap()
    );
    assert!(ask(&guid, "GET", &path, "").body == video);
}

/// This client reads the headers of a reply up to `Set-GUID` and no further, and has a page of all
/// agents.
#[test]
fn the_console_with_a_page_of_agents() {
    let server = setup().start();
    server.sign_in(101);
    const JSON: &str = "Content-Type: application/json\r\n";
    let mut console = Program::new(&server, JSON);
    let body = r#"{"password":"secret","phonenum":"40038","status":4,"autoenteridle":false,"releasephone":true,"ip":"10.0.0.1"}"#;
    let signed_in = console.succeed("PUT", "/onlineagent/503/forcelogin", body);
    assert!(signed_in.field("Set-Cookie").is_none());
    console.fields = format!("{JSON}guid: {}\r\n", vendor_guid(&signed_in));
    console.succeed(
        "POST",
        "/onlineagent/503/resetskill/true?phonelinkage=1",
        "",
    );
    // It identifies its user by the name in this reply.
    let user = console
        .succeed("GET", "/agentgroup/503/agentbyworkno/503", "")
        .json()["result"]
        .clone();
    assert_eq!(
        (&user["name"], &user["skilllist"]),
        (&"503".into(), &serde_json::json!([])),
        "{user}"
    );
    let names = console
        .succeed("GET", "/agentgroup/503/agentwasnameonvdn", "")
        .json()["result"]
        .clone();
    let ids: Vec<_> = names.as_object().unwrap().keys().collect();
    let wanted = serde_json::json!({ "agentlist": ids }).to_string();
    let page = console
        .succeed("POST", "/agentgroup/503/agentinfonoskills", &wanted)
        .json()["result"]
        .clone();
    assert_eq!(page.as_array().unwrap().len(), 2);
    for line in page.as_array().unwrap() {
        assert!(
            ["groupid", "vdnid", "status"]
                .iter()
                .all(|number| line[*number].is_u64()),
            "{line}"
        );
    }
    let group = console
        .succeed("GET", "/agentgroup/503/groupbyagent/503", "")
        .json()["result"]["id"]
        .clone();
    let online = console
        .succeed("GET", "/agentgroup/503/onlineagentonvdn", "")
        .json()["result"]
        .clone();
    assert!(
        online
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line["groupid"] == group),
        "{online}"
    );
    assert_eq!(
        console
            .succeed("GET", "/agentgroup/503/grouponvdn", "")
            .json()["result"],
        serde_json::json!([])
    );
    console.expect_events(503, &["AgentOther_InService", "AgentState_Ready"]);
    let_looks_pass(&server);
    let video = record(&server, 503);
    let name = console.file_name(503);
    console.download(503, &url_encoded(&name), &video);
    console.succeed("DELETE", "/onlineagent/503/logout", "");
}

/// This client polls only after `resetskill` has succeeded, takes a Guid only from replies to PUT,
/// and queries its state between two changes of it.
#[test]
fn the_web_application_that_resets_its_skills_first() {
    let server = setup().set("AUTHMODE", "1").start();
    const ODD: &str = "Content-Encoding: UTF-8\r\nContent-Type: application/json\r\n";
    let mut web = Program::new(&server, ODD);
    let body = r#"{"password":"secret","phonenum":"40038","autoanswer":"true","status":"4"}"#;
    let signed_in = web.succeed("PUT", "/onlineagent/503", body);
    let guid = vendor_guid(&signed_in);
    web.fields = format!("guid: {guid}\r\n");
    web.succeed(
        "POST",
        "/onlineagent/503/resetskill/true?phonelinkage=1",
        "",
    );
    web.expect_events(503, &["AgentOther_InService", "AgentState_Ready"]);
    // One per button. If the state stayed 5, the client would send `cancelwork` again and again.
    for (path, state, kind) in [
        ("work", 5, "AgentState_SetWork_Success"),
        ("cancelwork", 4, "AgentState_CancelWork_Success"),
        ("saybusy", 3, "AgentState_SetNotReady_Success"),
        ("sayfree", 4, "AgentState_CancelNotReady_Success"),
    ] {
        web.succeed("POST", &format!("/onlineagent/503/{path}"), "");
        let told = web
            .succeed("GET", "/onlineagent/503/agentstatus", "")
            .json()["result"]["agentState"]
            .clone();
        assert_eq!(told, state, "{path}");
        web.expect_events(503, &[kind]);
    }
    let_looks_pass(&server);
    let video = record(&server, 503);
    let name = web.file_name(503);
    web.download(503, &name, &video);
    web.succeed("DELETE", "/onlineagent/503/logout", "");
    // This client takes the code to mean that it has signed out already.
    assert_eq!(
        web.ask("DELETE", "/onlineagent/503/logout", "").code(),
        "100-006"
    );
}

/// Each request is on a new connection, with a chunked body and without a Guid.
#[test]
fn a_program_without_a_guid_gets_its_codes_and_no_recording() {
    let server = setup().start();
    let ask = |method: &str, path: &str, body: &str| {
        let mut client = server.client();
        let head =
            format!("{method} {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let chunk = if body.is_empty() {
            String::new()
        } else {
            format!("{:x}\r\n{body}\r\n", body.len())
        };
        client.send(match method {
            "GET" | "DELETE" => format!("{head}\r\n"),
            _ => format!("{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"),
        });
        let reply = client.reply();
        assert_eq!(
            (reply.status, client.rest()),
            (200, (Vec::new(), true)),
            "{path}"
        );
        reply
    };
    assert_eq!(
        ask(
            "PUT",
            "/onlineagent/503",
            r#"{"password":"secret","phonenum":"40038"}"#
        )
        .code(),
        "0"
    );
    assert_eq!(ask("PUT", "/onlineagent/503", SIGN_IN).code(), "100-002");
    assert_eq!(
        ask("PUT", "/onlineagent/503/forcelogin", SIGN_IN).code(),
        "0"
    );
    for linkage in [0, 1] {
        let path = format!("/onlineagent/503/resetskill/true?skillid=&phonelinkage={linkage}");
        ask("POST", &path, "").assert_failure("000-003");
    }
    ask("GET", "/agentevent/allagentevent?time=1795511730412", "").assert_failure("000-001");
    ask("GET", "/agentevent/503?time=1795511730412", "").assert_failure("000-003");
    let path = format!("/recordfile/503/videofiledownloadEx?recordId=Y:/{FOLDER}/503/1714442.mp4");
    record(&server, 503);
    ask("GET", &path, "").assert_video_failure("000-003");
    ask("DELETE", "/onlineagent/503/logout", "").assert_failure("000-003");
}

#[test]
fn the_service_bus_that_leaves_the_guid_out_of_some_calls() {
    let server = setup().start();
    const JSON: &str = "Content-Type: application/json\r\n";
    let mut bus = Program::new(&server, JSON);
    let signed_in = bus.succeed("PUT", "/onlineagent/503", SIGN_IN);
    for (method, path) in [
        ("GET", "agentskills"),
        ("POST", "resetskill/true"),
        ("POST", "resetskill/false?skillid=1;2"),
    ] {
        bus.ask(method, &format!("/onlineagent/503/{path}"), "")
            .assert_failure("000-003");
    }
    bus.fields = format!("{JSON}guid: {}\r\n", vendor_guid(&signed_in));
    bus.expect_events(503, &["AgentOther_InService", "AgentState_Ready"]);
    let_looks_pass(&server);
    let video = record(&server, 503);
    let name = bus.file_name(503);
    bus.download(503, &name, &video);
}

#[test]
fn the_browser_client_of_another_origin() {
    const ORIGIN: &str = "https://crm.example";
    let server = setup()
        .set("CORS_ALLOW_ORIGIN", ORIGIN)
        .set("GUIDINTERVAL", "1")
        .set("AGENT_POLL_WAIT_TIMES", "12")
        .start();
    let mut browser = Program::new(
        &server,
        &format!("Origin: {ORIGIN}\r\nAccept: application/json\r\n"),
    );
    let mut fetch = |guid: &mut String, method: &str, path: &str, body: &str| {
        // The client's base ends with a slash and its paths begin with one.
        let path = format!("/{path}");
        let asks = format!(
            "OPTIONS {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: content-type,guid\r\n\r\n"
        );
        browser.client.send(asks);
        let preflight = browser.client.reply();
        assert_eq!(preflight.status, 204);
        assert!(
            preflight
                .field("Access-Control-Allow-Methods")
                .unwrap()
                .contains(method)
        );
        let plain = browser.fields.clone();
        browser.fields = format!("{plain}Guid: {guid}\r\n");
        if !body.is_empty() {
            browser
                .fields
                .push_str("Content-Type: application/json\r\n");
        }
        let reply = browser.ask(method, &path, body);
        browser.fields = plain;
        assert_eq!(
            (reply.status, reply.field("Access-Control-Allow-Origin")),
            (200, Some(ORIGIN))
        );
        let exposed = reply.field("Access-Control-Expose-Headers").unwrap();
        assert!(
            ["Set-GUID", "JSON-Type"]
                .iter()
                .all(|name| exposed.contains(name))
        );
        if reply
            .field("Content-Type")
            .unwrap()
            .contains("application/json")
        {
            assert_eq!(reply.field("JSON-Type"), Some("application/json"));
        }
        // The client takes a Guid from any reply that has one.
        if let Some(value) = reply.field("Set-GUID") {
            value.split('=').nth(1).unwrap().clone_into(guid);
        }
        reply
    };
    let mut guid = String::new();
    assert_eq!(
        fetch(
            &mut guid,
            "PUT",
            "/onlineagent/503",
            r#"{"password":"secret","status":4}"#
        )
        .code(),
        "0"
    );
    let first = guid.clone();
    for kind in ["AgentOther_InService", "AgentState_Ready"] {
        let poll = fetch(
            &mut guid,
            "GET",
            "/agentevent/503?resteasy_jsapi_anti_cache=1795511730412",
            "",
        );
        assert_eq!(poll.json()["event"]["eventType"], kind);
    }
    // An empty poll waits longer than GUIDINTERVAL, so its reply renews the Guid at the latest.
    while guid == first {
        assert_eq!(fetch(&mut guid, "GET", "/agentevent/503", "").code(), "0");
    }
    assert_eq!(
        fetch(&mut guid, "POST", "/onlineagent/503/resetskill/true", "").code(),
        "0"
    );
    let_looks_pass(&server);
    let video = record(&server, 503);
    let started = loop {
        let poll = fetch(&mut guid, "GET", "/agentevent/503", "").json();
        if poll["event"]["eventType"] == "AgentMediaEvent_Record" {
            break poll["event"]["content"].clone();
        }
    };
    // The client percent-encodes slashes, with lower-case hex digits, but not colons.
    let name = started["fileName"].as_str().unwrap().replace('/', "%2f");
    let reply = fetch(
        &mut guid,
        "GET",
        &format!("/recordfile/503/videofiledownloadEx?recordId={name}"),
        "",
    );
    assert!(reply.body == video && reply.field("JSON-Type").is_none());
}

#[test]
fn the_middle_tier_with_two_hundred_agents_of_one_address() {
    const AGENTS: std::ops::Range<u32> = 2000..2200;
    let setup = AGENTS.fold(setup(), Setup::agent);
    let server = setup.set("MAX_CONNECTIONS_PER_ADDRESS", "256").start();
    const JSON: &str =
        "Content-Type: application/json; charset=utf-8\r\nUser-Agent: okhttp/3.8.1\r\n";
    let mut agents: Vec<(u32, Program)> = AGENTS
        .map(|agent| {
            let mut program = Program::new(&server, JSON);
            let body = r#"{"password":"secret","phonenum":"40038"}"#;
            let signed_in = program.succeed("PUT", &format!("/onlineagent/{agent}"), body);
            program.fields = format!("{JSON}guid: {}\r\n", signed_in.guid().unwrap());
            // This client sends `null` as an empty body and as the value of a parameter that is not
            // set.
            let path =
                format!("/onlineagent/{agent}/resetskill/true?skillid=null&phonelinkage=null");
            program.succeed("POST", &path, "null");
            program.succeed("PUT", &format!("/onlineagent/{agent}/heartbeat"), "null");
            (agent, program)
        })
        .collect();
    assert_eq!(server.metric("cc_gateway_sessions"), 200);
    let_looks_pass(&server);
    let videos: Vec<_> = AGENTS.map(|agent| record(&server, agent)).collect();
    for ((agent, program), video) in agents.iter_mut().zip(videos) {
        program.expect_events(*agent, &["AgentOther_InService", "AgentState_Ready"]);
        let name = program.file_name(*agent);
        program.download(*agent, &url_encoded(&name), &video);
        let status = program.succeed("GET", &format!("/onlineagent/{agent}/agentstatus"), "");
        assert_eq!(status.json()["result"]["isWorking"], false);
        program.succeed("DELETE", &format!("/onlineagent/{agent}/logout"), "null");
    }
    assert_eq!(server.metric("cc_gateway_sessions"), 0);
}

/// One agent, a hundred forced sign-ins, each while the only poll of the agent's loop is parked.
/// The parked poll of the replaced session is answered half a second later, so this takes a minute.
/// Only that half second keeps the loop from polling before its program has the new Guid; on a busy
/// machine it occasionally polls too early.
#[test]
fn a_client_that_goes_on_polling_over_a_hundred_forced_sign_ins_never_loses_its_session() {
    const TIMES: usize = 100;
    let server = setup().start();
    // The Guid from the reply to the latest sign-in, with which each poll is sent.
    let guid = Arc::new(Mutex::new(server.sign_in_only(503)));
    let ends = Arc::new(AtomicBool::new(false));
    let polls = Arc::new(AtomicUsize::new(0));
    let (polled, is_over, mut client) = (Arc::clone(&guid), Arc::clone(&ends), server.client());
    let answered = Arc::clone(&polls);
    let poll_loop = std::thread::spawn(move || {
        let mut early = 0;
        while !is_over.load(Ordering::SeqCst) {
            let guid = polled.lock().unwrap().clone();
            let reply = client.get("/agentevent/503", Some(&guid));
            if reply.code() == "100-006" && *polled.lock().unwrap() != guid {
                early += 1;
                continue;
            }
            assert_eq!(
                reply.code(),
                "0",
                "the session was lost after {answered:?} polls"
            );
            answered.fetch_add(1, Ordering::SeqCst);
        }
        early
    });
    let parked = || {
        eventually("a parked poll", || {
            server.metric("cc_gateway_polls_parked") == 1
        })
    };
    for _ in 0..TIMES {
        parked();
        let before = polls.load(Ordering::SeqCst);
        let renewed = server.sign_in_again(503);
        *guid.lock().unwrap() = renewed;
        eventually("the end of the parked poll and two events", || {
            polls.load(Ordering::SeqCst) >= before + 3
        });
    }
    parked();
    let guid = guid.lock().unwrap().clone();
    let video = record(&server, 503);
    ends.store(true, Ordering::SeqCst);
    // Queues an event that ends the loop's last poll.
    assert_eq!(
        server
            .client()
            .request("POST", "/onlineagent/503/saybusy", Some(&guid), "")
            .code(),
        "0"
    );
    assert!(
        server
            .download(503, &guid, &format!("Y:/{FOLDER}/503/1714442.mp4"))
            .body
            == video
    );
    let early = poll_loop.join().unwrap();
    assert!(
        early < TIMES / 10,
        "{early} polls were refused before the program had its new Guid"
    );
}
