//! The kinds of public clients, each from its sign-in over what it calls before it polls to a recording that an event
//! has named, byte for byte as they send it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{BASE, Client, EMPTY_POLL, Reply, SIGN_IN, Server, Setup, eventually, recording_bytes};

const FOLDER: &str = "1/0/20261125";

fn setup() -> Setup {
    Setup::new().set("RECORD_SCAN_INTERVAL", "100").recording("1/0/20261124/900/0900001.mp4", "old").endless_polls()
}

fn looks(server: &Server) -> u64 {
    let directory = server.scratch().path().join("mount");
    server.metric(&format!("cc_gateway_looks_total{{directory=\"{}\"}}", directory.display()))
}

/// What lies on the mount is known to be old from now on.
fn let_looks_pass(server: &Server) {
    let before = looks(server);
    eventually("two looks", || looks(server) >= before + 2);
}

/// Writes a recording of the agent, and gives its bytes.
fn record(server: &Server, agent: u32) -> Vec<u8> {
    let video = recording_bytes(agent.into(), 100_000);
    let whole: PathBuf = server.scratch().file(&format!("written/{agent}"), &video);
    let folder = server.scratch().path().join("mount").join(FOLDER).join(agent.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(whole, folder.join("1714442.mp4")).unwrap();
    video
}

/// A client that sends these fields with everything.
struct Program {
    client: Client,
    fields: String,
}

impl Program {
    fn new(server: &Server, fields: &str) -> Program {
        Program { client: server.client(), fields: fields.to_owned() }
    }

    /// Sends a request on the same connection; `path` goes as it is below the base path.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let fields = &self.fields;
        self.client.send(format!("{method} {BASE}{path} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n{body}"));
        self.client.reply()
    }

    /// As [`ask`](Self::ask), for what must succeed.
    fn succeed(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let reply = self.ask(method, path, body);
        assert_eq!(reply.outcome(), (200, "0".into()), "{path}");
        reply
    }

    /// The next poll's event; its agent must be the one that polls, as clients drop it otherwise.
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

    /// Polls for the events of a recording, and gives what to download.
    fn file_name(&mut self, agent: u32) -> String {
        let started = self.event(agent);
        assert_eq!(started["eventType"], "AgentMediaEvent_Record");
        let stopped = self.event(agent);
        assert_eq!(stopped["eventType"], "AgentMediaEvent_StopRecordDone");
        assert_eq!(started["content"]["taskId"], stopped["content"]["taskId"]);
        started["content"]["fileName"].as_str().unwrap().to_owned()
    }

    fn download(&mut self, agent: u32, record_id: &str, video: &[u8]) {
        let reply = self.ask("GET", &format!("/recordfile/{agent}/videofiledownloadEx?recordId={record_id}"), "");
        assert_eq!((reply.status, reply.body == video), (200, true), "{:?}", reply.head);
    }
}

/// The Guid as clients of the vendor's kind cut it out and send it back, without what would need care in a header.
fn vendor_guid(reply: &Reply) -> String {
    let value = reply.field("Set-GUID").unwrap().replace("JSESSIONID=", "");
    value.chars().filter(|letter| !matches!(letter, ':' | '=' | '\r' | '\n')).collect()
}

/// `java.net.URLEncoder`.
fn url_encoded(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F").replace(':', "%3A").replace(' ', "+")
}

#[test]
fn the_vendors_first_program() {
    let server = setup().start();
    const JSON: &str = "Content-Type: application/json;charset=UTF-8\r\nUser-Agent: Apache-HttpClient/4.5\r\n";
    let mut program = Program::new(&server, JSON);
    let body = r#"{"password":"secret","phonenum":"40038","autoanswer":false,"autoenteridle":false,"releasephone":true,"status":4,"ip":"10.0.0.1"}"#;
    program.succeed("PUT", "/onlineagent/101", body);
    assert_eq!(program.ask("PUT", "/onlineagent/101", body).code(), "100-002");
    let signed_in = program.succeed("PUT", "/onlineagent/101/forcelogin", body);
    assert_ne!(signed_in.json()["result"]["isForceChange"], "true");
    let fields = format!("{JSON}guid: {}\r\nCookie: JSESSIONID=node0; Path/\r\n", vendor_guid(&signed_in));
    // Its thread polls from now on, on a connection of its own.
    let mut polling = Program::new(&server, &fields);
    polling.expect_events(101, &["AgentOther_InService", "AgentState_Ready"]);
    program.fields = fields;
    assert!(program.succeed("POST", "/onlineagent/101/resetskill/true", "").json()["result"].is_object());
    let_looks_pass(&server);
    let video = record(&server, 101);
    let name = polling.file_name(101);
    program.download(101, &name, &video);
    program.succeed("DELETE", "/onlineagent/101/logout", "");
}

#[test]
fn the_portal_that_signs_in_by_agent_id() {
    let server = setup().start();
    let mut portal = Program::new(&server, "Content-Type: application/json;charset=UTF-8\r\nguid:\r\n");
    let body = r#"{"password":"secret","phonenum":"40038","status":5,"autoenteridle":true,"autoanswer":true,"pushUrl":"","checkInWebm":false}"#;
    let signed_in = portal.succeed("PUT", "/onlineagent/503", body);
    assert!(signed_in.json()["result"]["vdnid"].as_u64().is_some());
    portal.fields = format!("Content-Type: application/json;charset=UTF-8\r\nguid: {}\r\n", vendor_guid(&signed_in));
    let censor = portal.succeed("GET", "/agentgroup/503/iscensor/", "").json()["result"].clone();
    assert!(censor.is_boolean() || censor.is_string());
    portal.succeed("POST", "/onlineagent/503/resetskill/true", "");
    // The last of these is its "signed in".
    portal.expect_events(503, &["AgentOther_InService", "AgentState_Ready", "AgentState_Work"]);
    portal.succeed("POST", "/onlineagent/503/sayfree", "");
    portal.expect_events(503, &["AgentState_CancelWork_Success"]);
    let_looks_pass(&server);
    let video = record(&server, 503);
    let name = portal.file_name(503);
    assert!(name.len() <= 129, "it refuses longer ones");
    portal.download(503, &url_encoded(&name), &video);
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
    let status = bridge.succeed("GET", "/agentgroup/900/allagentstatus", "").json()["result"].clone();
    let numbers: Vec<_> = status.as_array().unwrap().iter().map(|agent| agent["workno"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["101", "102", "900"]);
    bridge.ask("POST", "/qualitycontrol/900/endmonitor?agents=101;102;900", "");
    bridge.succeed("POST", "/qualitycontrol/900/beginmonitor?agents=101;102;900", "");
    bridge.expect_events(900, &["AgentOther_InService", "AgentState_Ready"]);
    let_looks_pass(&server);
    let video = record(&server, 900);
    let name = bridge.file_name(900);
    bridge.download(900, &name, &video);
    // It is an inspector, and may have those of others.
    let video = record(&server, 101);
    bridge.download(900, &format!("Y:/{FOLDER}/101/1714442.mp4"), &video);
}

#[test]
fn the_desktop() {
    let server = setup().start();
    // Every request is on a connection of its own, and anything but 200 ends the sequence.
    let ask = |guid: &str, method: &str, path: &str, body: &str| {
        let fields = format!("Content-Type: application/json\r\nguid: {guid}\r\nConnection: close\r\n");
        let mut desktop = Program::new(&server, &fields);
        let reply = desktop.ask(method, path, body);
        assert_eq!((reply.status, desktop.client.rest()), (200, (Vec::new(), true)), "{path}");
        reply
    };
    let body = r#"{"password":"secret","phonenum":"40038","autoanswer":"false","autoenteridle":"true","releasephone":"true","agenttype":"4","status":"4","ip":"10.0.0.1","phonelinkage":"false"}"#;
    let signed_in = ask("", "PUT", "/onlineagent/503", body);
    assert!(signed_in.json()["result"].is_object());
    // It takes what follows the first equals sign.
    let guid = signed_in.field("Set-GUID").unwrap().split_once('=').unwrap().1.to_owned();
    let poll = || {
        let reply = ask(&guid, "GET", "/agentevent/503", "");
        assert!(reply.json()["event"].is_object() || reply.text() == EMPTY_POLL);
        reply.json()["event"].clone()
    };
    assert_eq!(poll()["eventType"], "AgentOther_InService");
    for path in ["onlineagent/503/agentskills", "queuedevice/503/ivrinfo", "queuedevice/503/agentvdnskill"] {
        assert!(ask(&guid, "GET", &format!("/{path}"), "").json()["result"].is_array(), "{path}");
    }
    assert!(ask(&guid, "GET", "/queuedevice/503/innoinfo", "").json()["result"].is_array());
    for path in ["autoenteridle/True", "autoenteridle/False", "resetskill/true?skillid=&phonelinkage=0"] {
        let reply = ask(&guid, "POST", &format!("/onlineagent/503/{path}"), "");
        assert_eq!((reply.code().as_str(), reply.json()["result"].is_object()), ("0", true), "{path}");
    }
    assert_eq!(poll()["eventType"], "AgentState_Ready");
    let_looks_pass(&server);
    let video = record(&server, 503);
    let content = poll()["content"].clone();
    let path = format!("/recordfile/503/videofiledownloadEx?recordId={}", content["fileName"].as_str().unwrap());
    assert!(ask(&guid, "GET", &path, "").body == video);
}

#[test]
fn the_browser_client_of_another_origin() {
    const ORIGIN: &str = "https://crm.example";
    let server =
        setup().set("CORS_ALLOW_ORIGIN", ORIGIN).set("GUIDINTERVAL", "1").set("AGENT_POLL_WAIT_TIMES", "12").start();
    let mut browser = Program::new(&server, &format!("Origin: {ORIGIN}\r\nAccept: application/json\r\n"));
    let mut fetch = |guid: &mut String, method: &str, path: &str, body: &str| {
        // Paths begin with a slash and the base ends with one.
        let path = format!("/{path}");
        let asks = format!(
            "OPTIONS {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: content-type,guid\r\n\r\n"
        );
        browser.client.send(asks);
        let preflight = browser.client.reply();
        assert_eq!(preflight.status, 204);
        assert!(preflight.field("Access-Control-Allow-Methods").unwrap().contains(method));
        let plain = browser.fields.clone();
        browser.fields = format!("{plain}Guid: {guid}\r\n");
        if !body.is_empty() {
            browser.fields.push_str("Content-Type: application/json\r\n");
        }
        let reply = browser.ask(method, &path, body);
        browser.fields = plain;
        assert_eq!((reply.status, reply.field("Access-Control-Allow-Origin")), (200, Some(ORIGIN)));
        let exposed = reply.field("Access-Control-Expose-Headers").unwrap();
        assert!(["Set-GUID", "JSON-Type"].iter().all(|name| exposed.contains(name)));
        if reply.field("Content-Type").unwrap().contains("application/json") {
            assert_eq!(reply.field("JSON-Type"), Some("application/json"));
        }
        // Whatever answer carries a Guid, it is the one from then on.
        if let Some(value) = reply.field("Set-GUID") {
            value.split('=').nth(1).unwrap().clone_into(guid);
        }
        reply
    };
    let mut guid = String::new();
    assert_eq!(fetch(&mut guid, "PUT", "/onlineagent/503", r#"{"password":"secret","status":4}"#).code(), "0");
    let first = guid.clone();
    for kind in ["AgentOther_InService", "AgentState_Ready"] {
        let poll = fetch(&mut guid, "GET", "/agentevent/503?resteasy_jsapi_anti_cache=1795511730412", "");
        assert_eq!(poll.json()["event"]["eventType"], kind);
    }
    // A poll that carries nothing waits for longer than a Guid lasts; the next one brings a new Guid.
    while guid == first {
        assert_eq!(fetch(&mut guid, "GET", "/agentevent/503", "").code(), "0");
    }
    assert_eq!(fetch(&mut guid, "POST", "/onlineagent/503/resetskill/true", "").code(), "0");
    let_looks_pass(&server);
    let video = record(&server, 503);
    let started = loop {
        let poll = fetch(&mut guid, "GET", "/agentevent/503", "").json();
        if poll["event"]["eventType"] == "AgentMediaEvent_Record" {
            break poll["event"]["content"].clone();
        }
    };
    // Percent signs in lower case, and colons and slashes as they are.
    let name = started["fileName"].as_str().unwrap().replace('/', "%2f");
    let reply = fetch(&mut guid, "GET", &format!("/recordfile/503/videofiledownloadEx?recordId={name}"), "");
    assert!(reply.body == video && reply.field("JSON-Type").is_none());
}

#[test]
fn the_middle_tier_with_two_hundred_agents_of_one_address() {
    const AGENTS: std::ops::Range<u32> = 2000..2200;
    let setup = AGENTS.fold(setup(), Setup::agent);
    let server = setup.set("MAX_CONNECTIONS_PER_ADDRESS", "256").start();
    const JSON: &str = "Content-Type: application/json; charset=utf-8\r\nUser-Agent: okhttp/3.8.1\r\n";
    let mut agents: Vec<(u32, Program)> = AGENTS
        .map(|agent| {
            let mut program = Program::new(&server, JSON);
            let body = r#"{"password":"secret","phonenum":"40038"}"#;
            let signed_in = program.succeed("PUT", &format!("/onlineagent/{agent}"), body);
            program.fields = format!("{JSON}guid: {}\r\n", signed_in.guid().unwrap());
            // Nothing to send is sent as null, and a parameter that is not set as this word.
            let path = format!("/onlineagent/{agent}/resetskill/true?skillid=null&phonelinkage=null");
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

/// Four gateways, each with a client that signs in by force 25 times while its one poll is parked.
#[test]
fn a_client_that_goes_on_polling_over_a_forced_sign_in_never_loses_its_session() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| sign_in_by_force(25));
        }
    });
}

fn sign_in_by_force(times: usize) {
    let server = setup().start();
    // A poll begins with the Guid of the sign-in that has ended last.
    let guid = Arc::new(Mutex::new(server.sign_in_only(503)));
    let ends = Arc::new(AtomicBool::new(false));
    let polls = Arc::new(AtomicUsize::new(0));
    let (polled, is_over, mut client) = (Arc::clone(&guid), Arc::clone(&ends), server.client());
    let answered = Arc::clone(&polls);
    let poll_loop = std::thread::spawn(move || {
        while !is_over.load(Ordering::SeqCst) {
            let guid = polled.lock().unwrap().clone();
            let reply = client.get("/agentevent/503", Some(&guid));
            assert_eq!(reply.code(), "0", "after {answered:?} polls its session is lost");
            answered.fetch_add(1, Ordering::SeqCst);
        }
    });
    let parked = || eventually("a parked poll", || server.metric("cc_gateway_polls_parked") == 1);
    for _ in 0..times {
        parked();
        let before = polls.load(Ordering::SeqCst);
        let mut guid = guid.lock().unwrap();
        *guid = server.client().put("/onlineagent/503/forcelogin", None, SIGN_IN).guid().unwrap();
        drop(guid);
        eventually("the end of the parked poll and two events", || polls.load(Ordering::SeqCst) >= before + 3);
    }
    parked();
    let guid = guid.lock().unwrap().clone();
    let video = record(&server, 503);
    ends.store(true, Ordering::SeqCst);
    assert!(server.download(503, &guid, &format!("Y:/{FOLDER}/503/1714442.mp4")).body == video);
    poll_loop.join().unwrap();
}
