//! The states of agents: each command in each state, with its reply, new state and event, and the
//! exact bytes of replies about agents.

use crate::support::{Client, EMPTY_POLL, Server, Setup};

/// The exact reply to every command that changes something.
const DONE: &str = r#"{"result":{},"message":"success","retcode":"0"}"#;

/// The commands, with their paths below the agent's.
const COMMANDS: [(&str, &str); 9] = [
    ("sayfree", "sayfree"),
    ("saybusy", "saybusy?reason=200"),
    ("saybusy prolonged", "saybusy?reason=210&prolong=true"),
    ("cancelbusy", "cancelbusy"),
    ("work", "work"),
    ("cancelwork", "cancelwork"),
    ("rest", "rest/60/7"),
    ("rest prolonged", "rest/86399/255?prolong=false"),
    ("cancelrest", "cancelrest"),
];

/// The new state and its event, or `None` for a refusal with 100-009.
type Outcome = Option<(u8, &'static str)>;

const BUSY: &str = r#""AgentState_SetNotReady_Success""#;

/// Each state with the command that leads to it from idle, and the outcome of each of [`COMMANDS`]
/// in it.
fn table() -> [(u8, Option<&'static str>, [Outcome; 9]); 4] {
    let cancel_busy = Some((4, "AgentState_CancelNotReady_Success"));
    let cancel_work = Some((4, "AgentState_CancelWork_Success"));
    let cancel_rest = Some((4, "AgentState_CancelRest_Success"));
    let busy = Some((3, "AgentState_SetNotReady_Success"));
    let work = Some((5, "AgentState_SetWork_Success"));
    let rest = Some((8, "AgentState_SetRest_Success"));
    let (none, same) = (None, Some((4, "")));
    [
        (
            4,
            None,
            [same, busy, busy, none, work, none, rest, rest, none],
        ),
        (
            3,
            Some("saybusy"),
            [
                cancel_busy,
                none,
                busy,
                cancel_busy,
                work,
                none,
                rest,
                rest,
                none,
            ],
        ),
        (
            5,
            Some("work"),
            [
                cancel_work,
                busy,
                busy,
                none,
                none,
                cancel_work,
                rest,
                rest,
                none,
            ],
        ),
        (
            8,
            Some("rest/1000/0"),
            [none, none, none, none, none, none, none, rest, cancel_rest],
        ),
    ]
}

fn post(client: &mut Client, path: &str, guid: &str) -> crate::support::Reply {
    client.request(
        "POST",
        &format!("/onlineagent/101/{path}"),
        Some(guid),
        "null",
    )
}

fn status(client: &mut Client, guid: &str) -> String {
    let reply = client.get("/onlineagent/101/agentstatus", Some(guid));
    reply.assert_json(200, &[]);
    reply.text().to_owned()
}

#[test]
fn every_command_has_its_answer_state_and_event_in_every_state() {
    let server = Server::start();
    let mut client = server.client();
    for (state, bring, outcomes) in table() {
        for ((name, path), outcome) in COMMANDS.into_iter().zip(outcomes) {
            let guid = client
                .put("/onlineagent/101/forcelogin", None, crate::support::SIGN_IN)
                .guid()
                .unwrap();
            client.take_sign_in_events(101, &guid);
            if let Some(bring) = bring {
                assert_eq!(post(&mut client, bring, &guid).text(), DONE);
                client.get("/agentevent/101", Some(&guid));
            }
            let reply = post(&mut client, path, &guid);
            let what = format!("{name} in {state}");
            match outcome {
                Some(_) => {
                    reply.assert_json(200, &[]);
                    assert_eq!(reply.text(), DONE, "{what}");
                }
                None => reply.assert_failure("100-009"),
            }
            let (state, event) = outcome.unwrap_or((state, ""));
            let is_working = state == 5;
            let told = format!(
                r#"{{"message":"","retcode":"0","result":{{"agentState":{state},"isWorking":{is_working}}}}}"#
            );
            assert_eq!(status(&mut client, &guid), told, "{what}");
            let poll = client.get("/agentevent/101", Some(&guid));
            match event {
                "" => assert_eq!(poll.text(), EMPTY_POLL, "{what}"),
                event => assert_eq!(poll.json()["event"]["eventType"], event, "{what}"),
            }
        }
    }
}

#[test]
fn state_events_are_these_very_bytes_and_wake_a_parked_poll() {
    let server = Setup::new().endless_polls().start();
    let guid = server.sign_in(101);
    for (command, kind, content) in [
        ("saybusy?reason=210", BUSY, r#"{"reason":"210"}"#),
        ("saybusy?reason=0&prolong=true", BUSY, r#"{"reason":"0"}"#),
        (
            "cancelbusy",
            r#""AgentState_CancelNotReady_Success""#,
            "null",
        ),
        (
            "rest/86399/255",
            r#""AgentState_SetRest_Success""#,
            r#"{"reason":"255"}"#,
        ),
        ("cancelrest", r#""AgentState_CancelRest_Success""#, "null"),
        ("work", r#""AgentState_SetWork_Success""#, "null"),
        ("sayfree", r#""AgentState_CancelWork_Success""#, "null"),
    ] {
        let mut parked = server.park(101, &guid);
        assert_eq!(
            post(&mut server.client(), command, &guid).text(),
            DONE,
            "{command}"
        );
        let reply = parked.reply();
        let time = reply.json()["event"]["eventGenTime"].as_u64().unwrap();
        assert!(time > 1_600_000_000_000);
        let body = format!(
            r#"{{"message":"","retcode":"0","event":{{"eventType":{kind},"eventGenTime":{time},"workNo":"101","content":{content}}}}}"#
        );
        assert_eq!(reply.text(), body, "{command}");
    }
}

#[test]
fn a_parameter_out_of_its_bounds_is_refused_and_changes_nothing() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    for path in [
        "saybusy?reason=199",
        "saybusy?reason=251",
        "saybusy?reason=x",
        "saybusy?prolong=2",
        "saybusy?prolong=yes",
        "rest/0/0",
        "rest/86400/0",
        "rest/-1/0",
        "rest/60/256",
        "rest/60/x",
        "rest/null/null",
        "rest/60/0?prolong=maybe",
        "autoenteridle/longer",
        "autoanswer/perhaps",
        "resetskill/true?skillid=a",
        "resetskill/true?phonelinkage=2",
    ] {
        post(&mut client, path, &guid).assert_failure("000-002");
    }
    let reply = client.get("/onlineagent/101/agentskillsbyworkno/7", Some(&guid));
    reply.assert_failure("000-002");
    for path in [
        "resetskill/true",
        "resetskill/true?skillid=&phonelinkage=0",
        "resetskill/false?phonelinkage=1",
        "resetskill/true?skillid=null&phonelinkage=null",
        "resetskill/true?phonelinkage=False",
        "resetskill/true?phonelinkage=%201%20",
        "resetskill/anything?skillid=1;2;3",
        "autoenteridle/True",
        "autoenteridle/False",
        "autoanswer/TRUE",
        "autoanswer/0",
        "saybusy?reason=null",
    ] {
        assert_eq!(post(&mut client, path, &guid).text(), DONE, "{path}");
    }
    let poll = client.get("/agentevent/101", Some(&guid));
    assert_eq!(
        poll.json()["event"]["eventType"],
        "AgentState_SetNotReady_Success"
    );
    assert_eq!(
        client.get("/agentevent/101", Some(&guid)).text(),
        EMPTY_POLL
    );
}

#[test]
fn syncagentinfo_is_these_very_bytes_and_empties_the_queue() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    for (command, state, last_state) in [
        (None, 1, 255),
        (Some("saybusy"), 4, 1),
        (Some("rest/9/0"), 3, 4),
    ] {
        if let Some(command) = command {
            assert_eq!(post(&mut client, command, &guid).text(), DONE);
        }
        let reply = post(&mut client, "syncagentinfo", &guid);
        reply.assert_json(200, &[]);
        let info = reply.json()["result"]["agentStateInfo"].clone();
        let now: u64 = info["currentTime"].as_str().unwrap().parse().unwrap();
        let since = info["agentStateBeginTime"].as_u64().unwrap();
        assert!(since <= now && since > 1_600_000_000_000);
        let body = format!(
            r#"{{"result":{{"callinfo":null,"agentStateInfo":{{"callFeature":0,"callData":"","lastState":{last_state},"preBusy":false,"firsttalkingFlag":false,"workNo":"101","qcWorkNo":"","callerNo":"","beginHoldTime":null,"state":{state},"talkingCallfeature":0,"releaseFlag":0,"calledNo":"","mainCallId":"","secondTalkingTime":null,"preRest":false,"recordID":"","currentTime":"{now}","beginTalkingTime":null,"partner":"","holdCallId":"","agentStateBeginTime":{since},"curCommand":0,"curCallId":"","cmdBeginTime":""}}}},"message":"success","retcode":"0"}}"#
        );
        assert_eq!(reply.text(), body);
        assert_eq!(
            client.get("/agentevent/101", Some(&guid)).text(),
            EMPTY_POLL,
            "the queue is empty"
        );
    }
}

#[test]
fn agents_of_the_vdn_are_listed_with_their_states() {
    let server = Setup::new().agents("503.vdn = 2\n").start();
    let inspector = server.sign_in(900);
    let busy = server.sign_in(101);
    server.sign_in(503);
    let mut client = server.client();
    assert_eq!(post(&mut client, "saybusy", &busy).text(), DONE);
    let mut query = |path: &str| client.get(path, Some(&inspector)).text().to_owned();
    for (path, result) in [
        ("agentgroup/900/iscensor/", "true"),
        (
            "agentgroup/900/allagentstatus",
            r#"[{"workno":"101","name":"101","status":3,"ctiStatus":7,"groupName":""},{"workno":"900","name":"900","status":4,"ctiStatus":1,"groupName":""}]"#,
        ),
        (
            "agentgroup/900/onlineagentonvdn",
            r#"[{"workno":"101","name":"101","groupid":0},{"workno":"900","name":"900","groupid":0}]"#,
        ),
        (
            "agentgroup/900/idleagent",
            r#"[{"workno":"900","name":"900"}]"#,
        ),
        (
            "qualitycontrol/900/allagent",
            r#"[{"workno":"101","name":"101","status":3},{"workno":"900","name":"900","status":4}]"#,
        ),
    ] {
        assert_eq!(
            query(&format!("/{path}")),
            format!(r#"{{"message":"","retcode":"0","result":{result}}}"#),
            "{path}"
        );
    }
    let is_censor = server.client().get("/agentgroup/101/iscensor", Some(&busy));
    assert_eq!(
        is_censor.text(),
        r#"{"message":"","retcode":"0","result":false}"#
    );
}

#[test]
fn what_is_known_of_agents_is_told_in_these_very_bytes_and_of_others_nothing() {
    let server = Setup::new().agents("503.vdn = 2\n").start();
    let guid = server.sign_in(900);
    let busy = server.sign_in(101);
    server.sign_in(503);
    let mut client = server.client();
    assert_eq!(post(&mut client, "saybusy", &busy).text(), DONE);
    let info = |agent: u32, status: [u8; 2], skills: &str, told: &serde_json::Value| {
        let (seconds, since) = (&told["currentstatetime"], &told["logindate"]);
        assert!(
            seconds.is_u64() && since.as_u64().unwrap() > 1_600_000_000_000,
            "{told}"
        );
        let [status, cti] = status;
        format!(
            r#"{{"workno":"{agent}","name":"{agent}","status":{status},"ctiStatus":{cti},"groupid":0,"groupname":"",{skills}"callids":[],"mediatype":"TTF","phonenumber":"","vdnid":1,"currentstatetime":{seconds},"logindate":{since}}}"#
        )
    };
    let frame = |result: &str| format!(r#"{{"message":"","retcode":"0","result":{result}}}"#);
    let skills = r#""skilllist":[],"#;
    for (agent, status) in [(900, [4, 1]), (101, [3, 7])] {
        let reply = client.get(
            &format!("/agentgroup/900/agentbyworkno/{agent}"),
            Some(&guid),
        );
        reply.assert_json(200, &[]);
        assert_eq!(
            reply.text(),
            frame(&info(agent, status, skills, &reply.json()["result"]))
        );
        let reply = client.get(
            &format!("/agentgroup/900/groupbyagent/{agent}"),
            Some(&guid),
        );
        assert_eq!(
            reply.text(),
            frame(r#"{"id":0,"name":"","monitorno":0,"monitorname":""}"#)
        );
    }
    let both = |statuses: [[u8; 2]; 2], skills: &str, told: &serde_json::Value| {
        let [first, second] = statuses;
        format!(
            "[{},{}]",
            info(101, first, skills, &told[0]),
            info(900, second, skills, &told[1])
        )
    };
    for query in ["", "?groupid=0", "?groupid=null", "?groupid="] {
        let reply = client.get(
            &format!("/agentgroup/900/agentongroupex{query}"),
            Some(&guid),
        );
        assert_eq!(
            reply.text(),
            frame(&both([[3, 7], [4, 1]], skills, &reply.json()["result"])),
            "{query}"
        );
    }
    assert_eq!(
        client
            .get("/agentgroup/900/agentongroupex?groupid=1", Some(&guid))
            .text(),
        frame("[]")
    );
    let reply = client.get("/agentgroup/900/agentwasnameonvdn", Some(&guid));
    assert_eq!(reply.text(), frame(r#"{"101":"101","900":"900"}"#));
    for (body, result) in [
        (r#"{"agentlist":["900","101",900," 503 ","102","x"]}"#, None),
        (r#"{"agentlist":["503","102"]}"#, Some("[]")),
        (r#"{"agentlist":[]}"#, Some("[]")),
    ] {
        let reply = client.request(
            "POST",
            "/agentgroup/900/agentinfonoskills",
            Some(&guid),
            body,
        );
        reply.assert_json(200, &[]);
        let result = result.map_or_else(
            || both([[7, 7], [1, 1]], "", &reply.json()["result"]),
            str::to_owned,
        );
        assert_eq!(reply.text(), frame(&result), "{body}");
    }
    // Agents of another VDN, agents that are not signed in and numbers without an agent get the
    // same refusal.
    for path in ["agentbyworkno", "groupbyagent"] {
        for agent in ["503", "102", "777", "7", "x"] {
            let reply = client.get(&format!("/agentgroup/900/{path}/{agent}"), Some(&guid));
            reply.assert_failure("000-002");
        }
    }
    client
        .get("/agentgroup/900/agentongroupex?groupid=x", Some(&guid))
        .assert_failure("000-002");
}

#[test]
fn what_only_a_switch_could_tell_is_empty() {
    let server = Server::start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    for (method, path, body) in [
        ("GET", "onlineagent/101/agentskills", ""),
        ("GET", "onlineagent/101/agentskillsbyworkno/102", ""),
        ("GET", "agentgroup/101/restreason", ""),
        ("GET", "agentgroup/101/grouponvdn", ""),
        ("GET", "queuedevice/101/agentvdnskill", ""),
        ("GET", "queuedevice/101/vdnskill/1", ""),
        ("GET", "queuedevice/101/vdnskill/512", ""),
        ("GET", "queuedevice/101/agentskill/102", ""),
        ("GET", "queuedevice/101/innoinfo", ""),
        (
            "POST",
            "queuedevice/101/queryacdstat",
            r#"{"skills":["1"]}"#,
        ),
        (
            "POST",
            "queuedevice/101/queryacdstat",
            r#"{"skills":[1,2]}"#,
        ),
    ] {
        let reply = client.request(method, &format!("/{path}"), Some(&guid), body);
        reply.assert_json(200, &[]);
        assert_eq!(
            reply.text(),
            r#"{"message":"","retcode":"0","result":[]}"#,
            "{path}"
        );
    }
    for (method, path, body) in [
        ("GET", "queuedevice/101/vdnskill/0", ""),
        ("GET", "queuedevice/101/vdnskill/513", ""),
        ("GET", "queuedevice/101/vdnskill/x", ""),
        ("GET", "queuedevice/101/agentskill/7", ""),
        ("POST", "queuedevice/101/queryacdstat", ""),
        ("POST", "queuedevice/101/queryacdstat", "null"),
        ("POST", "queuedevice/101/queryacdstat", r#"{"skills":"1"}"#),
        ("POST", "agentgroup/101/agentinfonoskills", "{}"),
        // There is no recorder of screens to connect to, and no poll for the events of all agents.
        ("GET", "recordplay/101/getconnecttoken", ""),
    ] {
        client
            .request(method, &format!("/{path}"), Some(&guid), body)
            .assert_failure("000-002");
    }
    client
        .get("/agentevent/allagentevent?time=1795511730412", Some(&guid))
        .assert_failure("000-001");
    let account = r#"{"account":"101","password":"secret","status":4}"#;
    client
        .put("/onlineagent/loginbyaccount", None, account)
        .assert_failure("100-060");
}

#[test]
fn the_status_of_a_sign_in_is_the_first_state() {
    let server = Server::start();
    let mut client = server.client();
    for (number, third) in [
        (3, Some("AgentState_SetNotReady_Success")),
        (4, None),
        (5, Some("AgentState_Work")),
    ] {
        let body = format!(r#"{{"password":"secret","status":"{number}"}}"#);
        let guid = client
            .put("/onlineagent/101/forcelogin", None, &body)
            .guid()
            .unwrap();
        assert!(status(&mut client, &guid).contains(&format!(r#""agentState":{number},"#)));
        client.take_sign_in_events(101, &guid);
        let poll = client.get("/agentevent/101", Some(&guid));
        match third {
            Some(event) => assert_eq!(poll.json()["event"]["eventType"], event),
            None => assert_eq!(poll.text(), EMPTY_POLL),
        }
    }
}
