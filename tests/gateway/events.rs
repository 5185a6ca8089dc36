//! Events of new recordings on a mount, as polls deliver them, and the limit of the event queue.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::support::{
    Client, EMPTY_POLL, Hang, Reply, SIGN_IN, Scratch, Server, Setup, Tree, eventually,
    recording_bytes, reset,
};

const FOLDER: &str = "1/0/20261125";

/// A mount with a recording of the day before, scanned every 100 ms.
fn setup() -> Setup {
    Setup::new()
        .set("RECORD_SCAN_INTERVAL", "100")
        .recording("1/0/20261124/900/0900001.mp4", "old")
        .endless_polls()
}

fn looks(server: &Server, directory: &Path) -> u64 {
    server.metric(&format!(
        "cc_gateway_looks_total{{directory=\"{}\"}}",
        directory.display()
    ))
}

fn mount(server: &Server) -> PathBuf {
    server.scratch().path().join("mount")
}

/// Waits until scans that began after this call have ended.
fn let_looks_pass(server: &Server, directory: &Path) {
    let before = looks(server, directory);
    eventually("three scans", || looks(server, directory) >= before + 3);
}

/// Signs in, and waits until the recordings already on the mount count as old.
fn sign_in(server: &Server, agent: u32) -> String {
    let guid = server.sign_in(agent);
    let_looks_pass(server, &mount(server));
    guid
}

fn poll(server: &Server, agent: u32, guid: &str) -> Reply {
    server
        .client()
        .get(&format!("/agentevent/{agent}"), Some(guid))
}

/// Whether no event is queued for the agent: a poll is parked, and the event that ends it must be
/// that of `work`.
fn has_no_events(server: &Server, agent: u32, guid: &str) -> bool {
    let mut parked = server.park(agent, guid);
    let synced = server.client().request(
        "POST",
        &format!("/onlineagent/{agent}/work"),
        Some(guid),
        "",
    );
    assert_eq!(synced.code(), "0");
    let kind = parked.reply().json()["event"]["eventType"].clone();
    kind == "AgentState_SetWork_Success"
}

#[test]
fn a_recording_is_told_of_when_it_appears_and_when_it_is_complete_and_is_downloaded_as_it_is_named()
{
    // Leaves time to write more before the recording counts as complete.
    let server = setup().set("RECORD_SCAN_INTERVAL", "1000").start();
    let guid = sign_in(&server, 503);
    let video = recording_bytes(1, 300_000);
    let mut parked = server.park(503, &guid);
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714442.mp4"), &video[..1000]);
    let started = parked.reply();
    let (event, content) = (
        started.json()["event"].clone(),
        started.json()["event"]["content"].clone(),
    );
    let (time, task, call) = (
        &event["eventGenTime"],
        &content["taskId"],
        content["callId"].as_str().unwrap(),
    );
    assert_eq!(
        started.text(),
        format!(
            r#"{{"message":"","retcode":"0","event":{{"eventType":"AgentMediaEvent_Record","eventGenTime":{time},"workNo":"503","content":{{"recordID":"Yc1v1a503d20261125t1714442.","callId":"{call}","fileName":"Y:/1/0/20261125/503/1714442.mp4","caller":"","called":"","locationId":"65535","taskId":{task},"fileMediaType":2}}}}}}"#
        )
    );
    let mut parked = server.park(503, &guid);
    let mut file = File::options()
        .append(true)
        .open(mount(&server).join(FOLDER).join("503/1714442.mp4"))
        .unwrap();
    for piece in video[1000..].chunks(100_000) {
        file.write_all(piece).unwrap();
    }
    let done = parked.reply();
    let (event, stopped) = (
        done.json()["event"].clone(),
        done.json()["event"]["content"].clone(),
    );
    let (time, begin, end) = (
        &event["eventGenTime"],
        &stopped["beginTime"],
        &stopped["endTime"],
    );
    assert_eq!(
        done.text(),
        format!(
            r#"{{"message":"","retcode":"0","event":{{"eventType":"AgentMediaEvent_StopRecordDone","eventGenTime":{time},"workNo":"503","content":{{"beginTime":{begin},"endTime":{end},"fileMediaType":2,"recordFormat":"0","taskId":{task},"callId":"{call}"}}}}}}"#
        )
    );
    assert!(
        begin.as_u64().unwrap() > 1_600_000_000_000 && begin.as_u64() <= end.as_u64(),
        "{stopped}"
    );
    let (seconds, ms) = call.split_once('-').unwrap();
    assert_eq!(
        1000 * seconds.parse::<u64>().unwrap() + ms.parse::<u64>().unwrap(),
        begin.as_u64().unwrap()
    );
    let reply = server.download(503, &guid, content["fileName"].as_str().unwrap());
    assert_eq!((reply.status, reply.body == video), (200, true));
    let_looks_pass(&server, &mount(&server));
    assert!(has_no_events(&server, 503, &guid), "each event comes once");
    assert_eq!(server.metric("cc_gateway_recording_events_total"), 2);
}

#[test]
fn a_voice_recording_has_the_fields_of_its_kind() {
    let server = setup().start();
    let guid = sign_in(&server, 503);
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714442.V3"), "voice");
    let reply = poll(&server, 503, &guid);
    let event = reply.json()["event"].clone();
    let (time, task) = (&event["eventGenTime"], &event["content"]["taskId"]);
    let call = event["content"]["callId"].as_str().unwrap();
    assert_eq!(
        reply.text(),
        format!(
            r#"{{"message":"","retcode":"0","event":{{"eventType":"AgentMediaEvent_Record","eventGenTime":{time},"workNo":"503","content":{{"taskId":{task},"caller":"","recordID":"Yc1v1a503d20261125t1714442","called":"","locationId":"65535","fileName":"Y:/1/0/20261125/503/1714442.V3","fileMediaType":"1","callId":"{call}"}}}}}}"#
        )
    );
    let stopped = poll(&server, 503, &guid).json()["event"]["content"].clone();
    assert_eq!(
        (&stopped["fileMediaType"], &stopped["taskId"]),
        (&"1".into(), task)
    );
}

#[test]
fn in_pool_mode_the_node_is_named_and_the_download_takes_it() {
    let server = setup().set("CTI_POOL_MODE", "ON").unset("MOUNT_DIR");
    let directory = server.directory().join("mount");
    let server = server
        .set("MOUNT_DIR.256.Z", directory.to_str().unwrap())
        .start();
    let guid = sign_in(&server, 503);
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714442.mp4"), "video");
    let content = poll(&server, 503, &guid).json()["event"]["content"].clone();
    assert_eq!(content["locationId"], "256");
    assert_eq!(content["recordID"], "Zc1v1a503d20261125t1714442.");
    let query = format!(
        "recordId={}&locationId=256",
        content["fileName"].as_str().unwrap()
    );
    assert_eq!(server.agent_with(503, &guid).ask(&query, "").body, b"video");
}

#[test]
fn nobody_else_is_told_and_nobody_after_the_end_of_the_session() {
    let server = setup().start();
    let (other, guid) = (server.sign_in(101), sign_in(&server, 503));
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714442.mp4"), "video");
    server.metric_becomes("recording_events_total", 2);
    // The new session begins with an empty queue, and the recordings already there count as old.
    let forced = server.sign_in_again(503);
    server.client().take_sign_in_events(503, &forced);
    let_looks_pass(&server, &mount(&server));
    assert!(has_no_events(&server, 503, &forced) && has_no_events(&server, 101, &other));
    poll(&server, 503, &guid).assert_failure("100-006");
    assert_eq!(
        server
            .client()
            .delete("/onlineagent/503/logout", Some(&forced))
            .code(),
        "0"
    );
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714443.mp4"), "video");
    let_looks_pass(&server, &mount(&server));
    let again = sign_in(&server, 503);
    assert!(has_no_events(&server, 503, &again));
    assert_eq!(server.metric("cc_gateway_recording_events_total"), 2);
    // Later recordings are announced.
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714444.mp4"), "video");
    assert_eq!(
        poll(&server, 503, &again).json()["event"]["content"]["fileName"],
        "Y:/1/0/20261125/503/1714444.mp4"
    );
}

#[test]
fn a_sign_in_brings_a_look_of_its_own() {
    // After that scan every further recording counts as new, however late the next full scan is.
    let server = setup().set("RECORD_SCAN_INTERVAL", "3600000").start();
    for agent in [503, 101] {
        let before = looks(&server, &mount(&server));
        server.sign_in(agent);
        eventually("the scan after the sign-in", || {
            looks(&server, &mount(&server)) > before
        });
    }
    assert_eq!(server.metric("cc_gateway_recording_events_total"), 0);
}

#[test]
fn without_events_nothing_is_looked_at() {
    for (key, value) in [("IF_SUPPORT_VIDEO", "OFF"), ("RECORD_SCAN_INTERVAL", "0")] {
        let server = setup()
            .set(key, value)
            .expect_log("until IF_SUPPORT_VIDEO is ON")
            .start();
        let guid = server.sign_in(503);
        server
            .scratch()
            .file(&format!("mount/{FOLDER}/503/1714442.mp4"), "video");
        assert!(has_no_events(&server, 503, &guid), "{key}");
        let metrics = server.metrics();
        assert!(metrics.types.contains_key("cc_gateway_looks_total"));
        assert!(
            !metrics
                .samples
                .keys()
                .any(|sample| sample.starts_with("cc_gateway_look")),
            "{key}"
        );
    }
}

#[test]
fn a_rest_ends_on_time_and_a_silent_session_ends_its_polls_even_without_events() {
    let server = setup().set("RECORD_SCAN_INTERVAL", "0").start();
    let guid = server.sign_in(101);
    let rest = server
        .client()
        .request("POST", "/onlineagent/101/rest/1/200", Some(&guid), "");
    assert_eq!(rest.code(), "0");
    assert_eq!(
        poll(&server, 101, &guid).json()["event"]["eventType"],
        "AgentState_SetRest_Success"
    );
    assert_eq!(
        poll(&server, 101, &guid).json()["event"]["eventType"],
        "AgentState_Rest_Timeout"
    );
    let setup = setup()
        .set("TIMEOUT_FLAG", "ON")
        .set("MAXTIME", "1000")
        .set("RECORD_SCAN_INTERVAL", "0");
    let server = setup.expect_log("not less than MAXTIME").start();
    let guid = server.sign_in(101);
    // The poll's own timeout is ten minutes.
    poll(&server, 101, &guid).assert_failure("100-006");
}

#[test]
fn a_mount_that_hangs_stops_its_own_looks_and_no_others() {
    let place = Scratch::new();
    let directory = place.path().join("fuse");
    let tree = Tree::new().file(&format!("{FOLDER}/503/0000001.mp4"), "old");
    let Some(fuse) = tree.mount(&directory) else {
        return;
    };
    let setup = setup()
        .set("MOUNT_DIR.Z", directory.to_str().unwrap())
        .expect_log("is lost: ");
    let server = setup.start();
    let guid = sign_in(&server, 503);
    let_looks_pass(&server, &directory);
    fuse.hang(Hang::Everything);
    let skipped = format!(
        "cc_gateway_looks_skipped_total{{directory=\"{}\"}}",
        directory.display()
    );
    eventually("skipped scans", || server.metric(&skipped) > 0);
    let stuck = looks(&server, &directory);
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714442.mp4"), "video");
    for kind in ["AgentMediaEvent_Record", "AgentMediaEvent_StopRecordDone"] {
        assert_eq!(poll(&server, 503, &guid).json()["event"]["eventType"], kind);
    }
    assert_eq!(looks(&server, &directory), stuck);
    fuse.hang(Hang::Nothing);
    eventually("further scans", || looks(&server, &directory) > stuck + 2);
    drop(server);
}

#[test]
fn a_thousand_agents_who_get_a_recording_at_once_are_all_woken() {
    const AGENTS: std::ops::Range<u32> = 2000..3000;
    let setup = AGENTS.fold(setup(), |setup, agent| {
        setup.agents(&format!("{agent} = no-password\n"))
    });
    let server = setup.set("MAX_CONNECTIONS_PER_ADDRESS", "2048").start();
    let mut agents: Vec<(u32, String, Client)> = AGENTS
        .map(|agent| {
            let mut client = server.client();
            let body = r#"{"password":""}"#;
            let guid = client
                .put(&format!("/onlineagent/{agent}"), None, body)
                .guid()
                .unwrap();
            client.take_sign_in_events(agent, &guid);
            (agent, guid, client)
        })
        .collect();
    let_looks_pass(&server, &mount(&server));
    let park = |(agent, guid, client): &mut (u32, String, Client)| {
        client.send_get(&format!("/agentevent/{agent}"), guid, "");
    };
    agents.iter_mut().for_each(park);
    server.metric_becomes("polls_parked", 1000);
    let threads = server.all_threads();
    for agent in AGENTS {
        server.scratch().file(
            &format!("mount/{FOLDER}/{agent}/1714442.mp4"),
            agent.to_string(),
        );
    }
    for kind in ["AgentMediaEvent_Record", "AgentMediaEvent_StopRecordDone"] {
        for (agent, _, client) in &mut agents {
            let event = client.reply().json()["event"].clone();
            assert_eq!(
                (&event["eventType"], &event["workNo"]),
                (&kind.into(), &agent.to_string().into())
            );
        }
        agents.iter_mut().for_each(park);
    }
    // Two threads of the mount come and go: the one that probes and the one that scans.
    assert!(server.all_threads() <= threads + 2);
    for (agent, guid, _) in agents.iter().step_by(100) {
        let path = format!("Y:/{FOLDER}/{agent}/1714442.mp4");
        assert_eq!(
            server.download(*agent, guid, &path).body,
            agent.to_string().into_bytes()
        );
    }
    assert_eq!(server.metric("cc_gateway_recording_events_total"), 2000);
}

#[test]
fn a_queue_that_nobody_polls_loses_its_oldest_events_and_counts_them() {
    let server = setup().start();
    let guid = sign_in(&server, 503);
    for number in 0..40 {
        server.scratch().file(
            &format!("mount/{FOLDER}/503/{:07}.mp4", 900_000 + number),
            "video",
        );
    }
    server.metric_becomes("recording_events_total", 80);
    assert_eq!(server.metric("cc_gateway_events_dropped_total"), 80 - 64);
    let mut client = server.client();
    for _ in 0..64 {
        let kind = client.get("/agentevent/503", Some(&guid)).json()["event"]["eventType"].clone();
        assert!(
            kind.as_str().unwrap().starts_with("AgentMediaEvent_"),
            "{kind}"
        );
    }
    assert!(has_no_events(&server, 503, &guid));
}

#[test]
fn whatever_a_full_queue_loses_is_counted() {
    let server = Setup::new().start();
    // 63 events: two of the sign-in and 61 of the state.
    let guid = server.sign_in_only(101);
    let mut client = server.client();
    let mut post = |path: &str| {
        let reply = client.request("POST", &format!("/onlineagent/101/{path}"), Some(&guid), "");
        assert_eq!(reply.code(), "0", "{path}");
    };
    post("saybusy");
    for _ in 0..60 {
        post("saybusy?reason=210&prolong=true");
    }
    // This event fills the queue. The end of the rest is one too many, and so is the next event.
    post("rest/1/200");
    assert_eq!(server.metric("cc_gateway_events_dropped_total"), 0);
    server.metric_becomes("events_dropped_total", 1);
    post("cancelrest");
    assert_eq!(server.metric("cc_gateway_events_dropped_total"), 2);
    // `syncagentinfo` empties the queue at the client's request, so its events do not count as
    // dropped.
    post("syncagentinfo");
    assert_eq!(server.metric("cc_gateway_events_dropped_total"), 2);
}

/// The client resets its connection before the event comes. The event is not lost, whether the
/// gateway notices before it replies or while it writes.
#[test]
fn an_event_whose_client_has_gone_comes_with_the_next_poll() {
    let server = Setup::new().endless_polls().start();
    let guid = server.sign_in(101);
    let mut client = server.client();
    for reason in 200..=250 {
        let parked = server.park(101, &guid);
        reset(parked.into_socket(), server.address());
        let path = format!("/onlineagent/101/saybusy?reason={reason}&prolong=true");
        assert_eq!(client.request("POST", &path, Some(&guid), "").code(), "0");
        let event = client.get("/agentevent/101", Some(&guid)).json()["event"].clone();
        assert_eq!(event["content"]["reason"], reason.to_string(), "{event}");
        server.metric_becomes("polls_parked", 0);
    }
}

#[test]
fn what_is_renamed_or_deleted_meanwhile_is_not_told_of_twice() {
    let server = setup().start();
    let guid = sign_in(&server, 503);
    let folder = mount(&server).join(FOLDER).join("503");
    server
        .scratch()
        .file(&format!("mount/{FOLDER}/503/1714442.mp4"), "video");
    let started = poll(&server, 503, &guid).json()["event"]["content"].clone();
    let stopped = poll(&server, 503, &guid).json()["event"]["content"].clone();
    assert_eq!(started["taskId"], stopped["taskId"]);
    fs::rename(folder.join("1714442.mp4"), folder.join("final.mp4")).unwrap();
    let_looks_pass(&server, &mount(&server));
    fs::remove_file(folder.join("final.mp4")).unwrap();
    let_looks_pass(&server, &mount(&server));
    assert!(has_no_events(&server, 503, &guid));
    assert_eq!(poll_at_once(&server, 503, &guid).text(), EMPTY_POLL);
}

/// A poll that a forced sign-in ends, so that it returns without an event.
fn poll_at_once(server: &Server, agent: u32, guid: &str) -> Reply {
    let mut parked = server.park(agent, guid);
    server
        .client()
        .put(&format!("/onlineagent/{agent}/forcelogin"), None, SIGN_IN);
    parked.reply()
}
