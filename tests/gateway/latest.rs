//! A download without recordId: the first file by name of the agent's latest day with recordings.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Scratch, Setup, numbers, seed};

#[test]
fn four_hundred_days_of_150_agents_are_searched_by_the_rule() {
    let place = Scratch::light();
    let mount = place.path();
    let setup = Setup::new()
        .agent(250)
        .agent(251)
        .set("MOUNT_DIR", mount.to_str().unwrap());
    let mut random = numbers(seed());
    // By agent: the latest day, and the first (file, VDN, media) of that day.
    let mut latest: BTreeMap<u32, (String, (String, String, String))> = BTreeMap::new();
    for day in 0..400 {
        let day = format!(
            "{}{:02}{:02}",
            2024 + day / 336,
            day / 28 % 12 + 1,
            day % 28 + 1
        );
        // 20 000 recordings in all; each agent has some on about every fourth day.
        for _ in 0..50 {
            let agent = 101 + u32::try_from(random(149)).unwrap();
            let (vdn, media) = ((1 + random(2)).to_string(), random(2).to_string());
            let folder = mount
                .join(&vdn)
                .join(&media)
                .join(&day)
                .join(agent.to_string());
            fs::create_dir_all(&folder).unwrap();
            let name = format!("{:07}.mp4", random(2_360_000));
            fs::write(
                folder.join(&name),
                format!("{day} {vdn} {media} {agent} {name}"),
            )
            .unwrap();
            let found = (day.clone(), (name, vdn, media));
            let kept = latest.entry(agent).or_insert_with(|| found.clone());
            if found.0 > kept.0 || (found.0 == kept.0 && found.1 < kept.1) {
                *kept = found;
            }
        }
    }
    // Agent 250 has only the oldest recording, and agent 251 has no recordings.
    let oldest = mount.join("1/0/20240101/250");
    fs::create_dir_all(&oldest).unwrap();
    fs::write(oldest.join("0000000.mp4"), "the oldest").unwrap();
    let server = setup.start();
    for agent in [101, 102] {
        let (day, (name, vdn, media)) = &latest[&agent];
        let agent = server.agent(agent);
        for _ in 0..3 {
            let reply = agent.ask("", "");
            assert_eq!(
                reply.body,
                format!("{day} {vdn} {media} {} {name}", agent.number).as_bytes()
            );
            assert!(reply.field("Content-Disposition").unwrap().contains(name));
        }
    }
    assert_eq!(server.agent(250).ask("", "").body, b"the oldest");
    assert_eq!(server.agent(251).code(""), "108-009");
}

#[test]
fn the_latest_day_is_that_of_the_agent_and_what_is_no_video_does_not_count() {
    let setup = Setup::new()
        .recording("1/0/20201201/503/0900000.mp4", "the day before")
        .recording("1/0/20201202/503/1000000.mp4", "later that day")
        .recording("2/7/20201202/503/0930000.MOV", "earlier that day")
        .recording("1/0/20201203/503/0900000.V3", "voice")
        .recording("1/0/20201203/503/0900000", "nothing")
        .recording("1/0/20201204/102/0900000.mp4", "another agent")
        .recording("1/0/20201332/503/0900000.mp4", "no day")
        .recording("3rdfile/1/record/20301231/503/0900000.mp4", "too deep")
        .recording("20301231/503/0900000.mp4", "too shallow");
    fs::create_dir_all(setup.directory().join("mount/1/0/20201205/503/folder.mp4")).unwrap();
    let server = setup.start();
    let agent = server.agent(503);
    for query in ["", "recordId=", "recordId", "other=1", "recordIds=x"] {
        assert_eq!(agent.ask(query, "").body, b"earlier that day", "{query}");
    }
    // A misspelt recordId must not be taken for a missing one.
    for query in [
        "recordid=x",
        "RECORDID=",
        "amp;recordId=x",
        "a=1&amp;recordId=x",
        "recordId=&recordID=x",
        "record_id=x",
        "recordId%20=x",
        "recordId[]=x",
        "?recordId=x",
        "a=1;recordId=x",
    ] {
        assert_eq!(agent.code(query), "104-003", "{query}");
    }
    let part = agent.ask("", "Range: bytes=0-6\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &b"earlier"[..]));
    // Even for an inspector, the search covers only the agent's own recordings, and this one has no
    // recordings.
    assert_eq!(server.agent(900).code(""), "108-009");
}
