//! Range requests and preconditions of downloads: status, headers and exact bytes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use crate::support::{Agent, Reply, Server, Setup, recording_bytes};

const FOLDER: &str = "1/0/20201202/503";
const QUERY: &str = "recordId=Y:/1/0/20201202/503/a.mp4";
/// An odd length, larger than the first chunks.
const LENGTH: usize = 200_001;

fn video() -> Vec<u8> {
    recording_bytes(4, LENGTH)
}

/// A server with one recording that was last changed long ago.
fn start() -> Server {
    let setup = Setup::new().recording(&format!("{FOLDER}/a.mp4"), video());
    touch(
        &setup.directory().join(format!("mount/{FOLDER}/a.mp4")),
        1_606_867_200,
    );
    setup.start()
}

fn touch(path: &std::path::Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

fn ranged(agent: &Agent<'_>, range: &str) -> Reply {
    agent.ask(QUERY, &format!("Range: {range}\r\n"))
}

#[test]
fn one_range_is_sent_as_that_part_and_says_so() {
    let (server, bytes) = (start(), video());
    let agent = server.agent(503);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, LENGTH),
        ("bytes=0-99", 0, 100),
        ("bytes=200000-", 200_000, LENGTH),
        ("bytes=200000-200000", 200_000, LENGTH),
        ("bytes=65535-65536", 65_535, 65_537),
        ("bytes=100000-999999999", 100_000, LENGTH),
        ("bytes=-1", 200_000, LENGTH),
        ("bytes=-65537", LENGTH - 65_537, LENGTH),
        ("bytes=-200001", 0, LENGTH),
        ("bytes=-200002", 0, LENGTH),
        ("bytes=-18446744073709551615", 0, LENGTH),
        ("bytes=-99999999999999999999999", 0, LENGTH),
        ("bytes=1-18446744073709551615", 1, LENGTH),
        ("bytes=1-99999999999999999999999", 1, LENGTH),
        ("BYTES=1-2", 1, 3),
        ("bytes=1-2,", 1, 3),
    ] {
        let reply = ranged(&agent, range);
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(
            reply.field("Content-Range").unwrap(),
            format!("bytes {start}-{}/{LENGTH}", end - 1),
            "{range}"
        );
        assert_eq!(
            reply.field("Content-Length").unwrap(),
            (end - start).to_string(),
            "{range}"
        );
        assert!(reply.body == bytes[start..end], "{range}");
    }
}

#[test]
fn a_range_beyond_the_end_is_416_with_the_length_and_keeps_the_connection() {
    let server = start();
    let agent = server.agent(503);
    let mut client = server.client();
    for range in [
        "bytes=200001-",
        "bytes=200001-200001",
        "bytes=18446744073709551615-",
        "bytes=18446744073709551616-18446744073709551617",
        "bytes=99999999999999999999999-",
        "bytes=-0",
    ] {
        let fields = format!("Guid: {}\r\nRange: {range}\r\n", agent.guid);
        client.send_request("GET", &agent.path(QUERY), &fields, "");
        let reply = client.reply();
        assert_eq!(reply.outcome(), (416, "000-002".into()), "{range}");
        assert_eq!(
            reply.field("Content-Range"),
            Some("bytes */200001"),
            "{range}"
        );
        assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
        assert_eq!(reply.field("Content-Disposition"), None);
    }
    assert_eq!(client.get("/health", None).status, 200);
}

#[test]
fn several_malformed_or_foreign_ranges_give_the_whole_video() {
    let (server, bytes) = (start(), video());
    let agent = server.agent(503);
    for range in [
        "bytes=0-1,3-4",
        "bytes=0-1,999999999-",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=0x0-0x1",
        "bytes=0-1;q=1",
        "bytes=+1-2",
        "bytes 0-1",
        "0-1",
        "lines=0-1",
        "bytes=0-1\r\nRange: bytes=2-3",
    ] {
        let reply = ranged(&agent, range);
        assert_eq!(
            (reply.status, reply.field("Content-Range")),
            (200, None),
            "{range}"
        );
        assert_eq!(reply.field("Content-Length"), Some("200001"), "{range}");
        assert!(reply.body == bytes, "{range}");
    }
}

#[test]
fn a_whole_video_has_every_field_a_client_needs_to_go_on_with_it_later() {
    let server = start();
    let agent = server.agent(503);
    let whole = agent.ask(QUERY, "");
    let part = ranged(&agent, "bytes=1-2");
    for reply in [&whole, &part] {
        assert_eq!(
            reply.field("Content-Type"),
            Some("application/octet-stream;charset=utf-8")
        );
        assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
        assert_eq!(
            reply.field("Last-Modified"),
            Some("Wed, 02 Dec 2020 00:00:00 GMT")
        );
        assert_eq!(
            reply.field("Content-Disposition"),
            Some("attachment; filename=\"a.mp4\"")
        );
        assert_eq!(reply.field("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        assert_eq!(reply.field("Transfer-Encoding"), None);
        let etag = reply.field("ETag").unwrap();
        assert!(
            etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2,
            "{etag} must be strong"
        );
    }
    assert_eq!(whole.field("ETag"), part.field("ETag"));
}

#[test]
fn conditions_that_no_client_of_this_interface_can_take_are_ignored() {
    let server = start();
    let agent = server.agent(503);
    let etag = agent.ask(QUERY, "").field("ETag").unwrap().to_owned();
    for fields in [
        format!("If-None-Match: {etag}\r\n"),
        "If-None-Match: *\r\n".to_owned(),
        "If-Modified-Since: Thu, 31 Dec 2099 00:00:00 GMT\r\n".to_owned(),
    ] {
        let reply = agent.ask(QUERY, &fields);
        assert_eq!((reply.status, reply.body.len()), (200, LENGTH), "{fields}");
    }
}

#[test]
fn if_range_gives_a_part_only_of_the_very_state_it_names() {
    let (server, bytes) = (start(), video());
    let agent = server.agent(503);
    let etag = agent.ask(QUERY, "").field("ETag").unwrap().to_owned();
    let ask = |condition: &str| {
        agent.ask(
            QUERY,
            &format!("Range: bytes=100-\r\nIf-Range: {condition}\r\n"),
        )
    };
    for good in [&*etag, "Wed, 02 Dec 2020 00:00:00 GMT"] {
        let reply = ask(good);
        assert_eq!(reply.status, 206, "{good}");
        assert!(reply.body == bytes[100..]);
    }
    for bad in [
        &format!("W/{etag}"),
        "\"other\"",
        etag.trim_matches('"'),
        &format!("{etag}, \"other\""),
        "*",
        "Wed, 02 Dec 2020 00:00:01 GMT",
        "Tue, 01 Dec 2020 23:59:59 GMT",
        "yesterday",
    ] {
        let reply = ask(bad);
        assert_eq!(
            (reply.status, reply.field("Content-Range")),
            (200, None),
            "{bad}"
        );
        assert!(reply.body == bytes, "{bad}");
    }
    // If-Range does not match, so Range is ignored, although it is beyond the end.
    let reply = agent.ask(QUERY, "Range: bytes=999999999-\r\nIf-Range: \"other\"\r\n");
    assert_eq!((reply.status, reply.body.len()), (200, LENGTH));
}

#[test]
fn a_date_names_no_state_of_a_file_that_was_changed_just_now() {
    let server = start();
    let agent = server.agent(503);
    let path = server
        .scratch()
        .path()
        .join(format!("mount/{FOLDER}/a.mp4"));
    // An mtime in the future is sent as the current time, and a date in the current second is weak,
    // as the file may change again within that second.
    touch(
        &path,
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + 3600,
    );
    let date = agent
        .ask(QUERY, "")
        .field("Last-Modified")
        .unwrap()
        .to_owned();
    let reply = agent.ask(QUERY, &format!("Range: bytes=100-\r\nIf-Range: {date}\r\n"));
    assert_eq!(reply.status, 200);
}

#[test]
fn every_change_of_a_file_changes_its_tag() {
    let server = start();
    let agent = server.agent(503);
    let path = server
        .scratch()
        .path()
        .join(format!("mount/{FOLDER}/a.mp4"));
    let tag = || {
        ranged(&agent, "bytes=0-0")
            .field("ETag")
            .unwrap()
            .to_owned()
    };
    let mut tags = vec![tag(), tag()];
    assert_eq!(tags[0], tags[1]);
    tags.pop();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_606_867_200, 1))
        .unwrap();
    tags.push(tag());
    file.write_all_at(b"more", LENGTH as u64).unwrap();
    touch(&path, 1_606_867_200);
    tags.push(tag());
    let different: std::collections::HashSet<_> = tags.iter().collect();
    assert_eq!(different.len(), 3, "{tags:?}");
    // The inode does not count: other nodes and later mounts number the same file differently.
    std::fs::copy(&path, path.with_extension("new")).unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    touch(&path, 1_606_867_200);
    assert_eq!(tag(), tags[2]);
}

#[test]
fn a_precondition_that_fails_is_412_with_the_state_there_is_and_keeps_the_connection() {
    let (server, bytes) = (start(), video());
    let agent = server.agent(503);
    let etag = agent.ask(QUERY, "").field("ETag").unwrap().to_owned();
    let (date, before) = (
        "Wed, 02 Dec 2020 00:00:00 GMT",
        "Tue, 01 Dec 2020 23:59:59 GMT",
    );
    let mut client = server.client();
    for failing in [
        "If-Match: \"other\"\r\n".to_owned(),
        "If-Match: \r\n".to_owned(),
        format!("If-Match: W/{etag}\r\n"),
        format!("If-Match: {}\r\n", etag.trim_matches('"')),
        format!("If-Unmodified-Since: {before}\r\n"),
        // With If-Match, If-Unmodified-Since is ignored (RFC 9110 section 13.1.4).
        format!("If-Match: \"other\"\r\nIf-Unmodified-Since: {date}\r\n"),
        // Preconditions are evaluated before the range (section 13.2.2), whether or not it is
        // satisfiable.
        "If-Match: \"other\"\r\nRange: bytes=0-1\r\n".to_owned(),
        "If-Match: \"other\"\r\nRange: bytes=999999999-\r\n".to_owned(),
    ] {
        client.send_request(
            "GET",
            &agent.path(QUERY),
            &format!("Guid: {}\r\n{failing}", agent.guid),
            "",
        );
        let reply = client.reply();
        assert_eq!(reply.outcome(), (412, "000-002".into()), "{failing}");
        assert_eq!(reply.field("ETag"), Some(&*etag));
        assert_eq!(reply.field("Last-Modified"), Some(date));
        assert_eq!(reply.field("Content-Disposition"), None);
    }
    for holding in [
        "If-Match: *\r\n".to_owned(),
        format!("If-Match: {etag}\r\n"),
        format!("If-Match: \"other\", {etag}\r\n"),
        format!("If-Match: \"other\"\r\nIf-Match: {etag}\r\n"),
        format!("If-Match: {etag}\r\nIf-Unmodified-Since: {before}\r\n"),
        format!("If-Unmodified-Since: {date}\r\n"),
        "If-Unmodified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n".to_owned(),
        "If-Unmodified-Since: yesterday\r\n".to_owned(),
    ] {
        let reply = agent.ask(QUERY, &holding);
        assert_eq!(
            (reply.status, reply.body == bytes),
            (200, true),
            "{holding}"
        );
        let reply = agent.ask(QUERY, &format!("{holding}Range: bytes=5-9\r\n"));
        assert_eq!(
            (reply.status, &reply.body[..]),
            (206, &bytes[5..10]),
            "{holding}"
        );
    }
    server.metric_becomes("downloads", 0);
}

#[test]
fn beyond_four_gigabytes_every_byte_is_where_it_belongs() {
    const BIG: u64 = (5 << 30) + 3;
    let setup = Setup::new();
    let path = format!("mount/{FOLDER}/a.mp4");
    let file = setup.directory().join(&path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let file = File::create(file).unwrap();
    file.set_len(BIG).unwrap();
    for (at, mark) in [
        (0, b"first"),
        ((1 << 31) - 2, b"2 GiB"),
        ((1 << 32) - 2, b"4 GiB"),
        (BIG - 5, b"final"),
    ] {
        file.write_all_at(mark, at).unwrap();
    }
    let server = setup.start();
    let agent = server.agent(503);
    for (range, start, bytes) in [
        ("bytes=0-4", 0, b"first"),
        ("bytes=2147483646-2147483650", (1 << 31) - 2, b"2 GiB"),
        ("bytes=4294967294-4294967298", (1 << 32) - 2, b"4 GiB"),
        ("bytes=5368709118-", BIG - 5, b"final"),
        ("bytes=-5", BIG - 5, b"final"),
        ("bytes=5368709118-99999999999999999999", BIG - 5, b"final"),
    ] {
        let reply = ranged(&agent, range);
        assert_eq!(
            reply.field("Content-Range").unwrap(),
            format!("bytes {start}-{}/{BIG}", start + 4),
            "{range}"
        );
        assert_eq!(reply.body, bytes, "{range}");
    }
    assert_eq!(
        ranged(&agent, "bytes=5368709123-").field("Content-Range"),
        Some("bytes */5368709123")
    );
    // The Content-Length of the whole file exceeds 32 bits, and a part that begins below 4 GiB
    // continues beyond it.
    let (client, reply) = agent.begin(QUERY, "");
    assert_eq!(reply.field("Content-Length"), Some("5368709123"));
    drop(client);
    let (mut client, reply) = agent.begin(QUERY, "Range: bytes=4294900000-\r\n");
    assert_eq!(reply.field("Content-Length"), Some("1073809123"));
    assert_eq!(client.bytes(67_294 + 5)[67_294..], *b"4 GiB");
}

#[test]
fn a_file_name_cannot_break_out_of_its_field() {
    let names = [
        (
            "a\"b.mp4",
            "a%22b.mp4",
            r#"attachment; filename="a_b.mp4"; filename*=UTF-8''a%22b.mp4"#,
        ),
        (
            "50%.mp4",
            "50%25.mp4",
            r#"attachment; filename="50_.mp4"; filename*=UTF-8''50%25.mp4"#,
        ),
        (
            "a;b c.mp4",
            "a;b+c.mp4",
            r#"attachment; filename="a;b c.mp4""#,
        ),
        (
            "通话.mp4",
            "%E9%80%9A%E8%AF%9D.mp4",
            r#"attachment; filename="__.mp4"; filename*=UTF-8''%E9%80%9A%E8%AF%9D.mp4"#,
        ),
    ];
    let setup = Setup::new();
    for (name, ..) in names {
        setup.write_recording(&format!("{FOLDER}/{name}"), "video");
    }
    let server = setup.start();
    let agent = server.agent(503);
    for (name, encoded, field) in names {
        let reply = agent.ask(&format!("recordId=Y:/{FOLDER}/{encoded}"), "");
        assert_eq!(reply.field("Content-Disposition"), Some(field), "{name}");
        assert_eq!(reply.body, b"video");
    }
    // Control characters, line ends and colons are not allowed in the name of a recording.
    for encoded in [
        "a%0d%0aSet-Cookie:x.mp4",
        "a%0d%0aSet-Cookie=x.mp4",
        "a%7f.mp4",
        "a%c2%85.mp4",
    ] {
        assert_eq!(
            agent.code(&format!("recordId=Y:/{FOLDER}/{encoded}")),
            "104-003",
            "{encoded}"
        );
    }
}
