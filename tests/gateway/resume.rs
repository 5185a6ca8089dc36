//! Broken downloads that are resumed, and many downloads at the same time.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::{
    Agent, Client, Relay, Server, Setup, eventually, numbers, recording_bytes, seed,
};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";
const QUERY: &str = "recordId=Y:/1/0/20201202/503/1714442.mp4";
const GIB: u64 = 1 << 30;

/// A sparse recording of 1 GiB, with data at irregular offsets.
fn large_recording(setup: &Setup) {
    let path = setup.directory().join("mount").join(RECORDING);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    file.set_len(GIB).unwrap();
    for place in 0..16 {
        file.write_all_at(&recording_bytes(place, 1_000_003), place * 67_000_001)
            .unwrap();
    }
    file.write_all_at(b"the end", GIB - 7).unwrap();
}

#[test]
fn a_download_cut_anywhere_and_resumed_is_the_identical_file() {
    const LENGTH: u64 = 3 * 1024 * 1024 + 17;
    /// Enough for the handshake and some of the head of the reply.
    const BEFORE: u64 = 1500;
    let video = recording_bytes(9, usize::try_from(LENGTH).unwrap());
    let server = Setup::new().recording(RECORDING, &video).start();
    let agent = server.agent(503);
    let relay = Relay::to(server.address());
    let certificate = server.scratch().path().join("certificate.pem");
    let mut random = numbers(seed());
    let (mut early, mut cut_within) = (0, 0);
    for _ in 0..50 {
        relay.cut_after(BEFORE + random(LENGTH));
        let mut client = Client::connect(relay.address(), &certificate);
        client.send_get(&agent.path(QUERY), &agent.guid, "");
        let Ok(head) = client.try_head() else {
            early += 1;
            continue;
        };
        assert_eq!(head.length() as u64, LENGTH);
        let (mut got, in_order) = client.rest();
        assert!(
            !in_order,
            "the client must see that the download is incomplete"
        );
        cut_within += usize::from(!got.is_empty());
        let condition = format!(
            "Range: bytes={}-\r\nIf-Range: {}\r\n",
            got.len(),
            head.field("ETag").unwrap()
        );
        let rest = agent.ask(QUERY, &condition);
        assert_eq!(rest.status, 206);
        got.extend(rest.body);
        assert!(got == video);
    }
    assert!(early < 10 && cut_within > 30, "{early} {cut_within}");
    server.metric_becomes("downloads", 0);
}

#[test]
fn a_download_resumed_after_its_file_was_replaced_begins_anew() {
    let server = Setup::new()
        .recording(RECORDING, recording_bytes(1, 300_000))
        .start();
    let agent = server.agent(503);
    let (mut client, head) = agent.begin(QUERY, "");
    let etag = head.field("ETag").unwrap().to_owned();
    client.bytes(1000);
    drop(client);
    let other = recording_bytes(2, 300_000);
    let path = server.scratch().path().join("mount").join(RECORDING);
    std::fs::write(path.with_extension("new"), &other).unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    let reply = agent.ask(
        QUERY,
        &format!("Range: bytes=1000-\r\nIf-Range: {etag}\r\n"),
    );
    assert_eq!(reply.status, 200);
    assert!(reply.body == other);
}

#[test]
fn a_download_broken_at_one_node_goes_on_at_another() {
    let video = recording_bytes(3, 300_000);
    // The inode numbers differ between the nodes, as they do with CIFS and FUSE; size and mtime
    // come from the file server and are the same.
    let nodes: Vec<_> = (0..2)
        .map(|_| {
            let setup = Setup::new().recording(RECORDING, &video);
            let file = File::options()
                .write(true)
                .open(setup.directory().join("mount").join(RECORDING))
                .unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_606_867_200, 123_456_789))
                .unwrap();
            setup.start()
        })
        .collect();
    let [one, other] = [nodes[0].agent(503), nodes[1].agent(503)];
    let (mut client, head) = one.begin(QUERY, "");
    let mut got = client.bytes(100_000);
    drop(client);
    let etag = head.field("ETag").unwrap();
    let rest = other.ask(
        QUERY,
        &format!("Range: bytes=100000-\r\nIf-Range: {etag}\r\nIf-Match: {etag}\r\n"),
    );
    assert_eq!(rest.status, 206);
    got.extend(rest.body);
    assert!(got == video);
}

/// The URL of the download at this address.
fn url(agent: &Agent<'_>, address: SocketAddr) -> String {
    format!(
        "https://{address}/agentgateway/resource{}",
        agent.path(QUERY)
    )
}

fn is_installed(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

/// Runs a program that downloads 1 GiB over a connection that is cut, then over one that is not.
fn is_resumed_by(program: &str, run: impl Fn(&Server, &Agent<'_>, SocketAddr, &Path) -> Output) {
    if !is_installed(program) {
        return;
    }
    let setup = Setup::new();
    large_recording(&setup);
    let server = setup.start();
    let (agent, relay, mut random) = (
        server.agent(503),
        Relay::to(server.address()),
        numbers(seed()),
    );
    let copy = server.scratch().path().join("copy");
    relay.cut_after(GIB / 4 + random(GIB / 2));
    let output = run(&server, &agent, relay.address(), &copy);
    assert!(
        !output.status.success(),
        "{program} must fail when the download is cut"
    );
    let part = copy.metadata().unwrap().len();
    assert!((GIB / 8..GIB).contains(&part), "{part}");
    let output = run(&server, &agent, server.address(), &copy);
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_identical(
        &server.scratch().path().join("mount").join(RECORDING),
        &copy,
    );
    let resumed = server
        .log()
        .iter()
        .filter(|line| line.contains(" status=206 code=0 "))
        .count();
    assert_eq!(
        resumed, 1,
        "the second run must fetch only the missing part"
    );
    // A third run finds the copy complete and must leave it unchanged.
    run(&server, &agent, server.address(), &copy);
    assert_eq!(copy.metadata().unwrap().len(), GIB);
}

fn assert_identical(one: &Path, other: &Path) {
    let (one, other) = (File::open(one).unwrap(), File::open(other).unwrap());
    assert_eq!(
        one.metadata().unwrap().len(),
        other.metadata().unwrap().len()
    );
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (0..GIB).step_by(1 << 20) {
        one.read_exact_at(&mut a, at).unwrap();
        other.read_exact_at(&mut b, at).unwrap();
        assert!(a == b, "the bytes differ near offset {at}");
    }
}

#[test]
fn curl_resumes_a_cut_download_of_a_gibibyte() {
    is_resumed_by("curl", |server, agent, address, copy| {
        Command::new("curl")
            .args(["--silent", "--show-error", "--continue-at", "-", "--cacert"])
            .arg(server.scratch().path().join("certificate.pem"))
            .args(["--header", &format!("Guid: {}", agent.guid), "--output"])
            .arg(copy)
            .arg(url(agent, address))
            .output()
            .unwrap()
    });
}

#[test]
fn wget_resumes_a_cut_download_of_a_gibibyte() {
    is_resumed_by("wget", |server, agent, address, copy| {
        Command::new("wget")
            .args([
                "--no-verbose",
                "--no-config",
                "--no-hsts",
                "--tries=1",
                "--continue",
                "--ca-certificate",
            ])
            .arg(server.scratch().path().join("certificate.pem"))
            .args([
                "--header",
                &format!("Guid: {}", agent.guid),
                "--output-document",
            ])
            .arg(copy)
            .arg(url(agent, address))
            .output()
            .unwrap()
    });
}

#[test]
fn sixteen_clients_share_a_gibibyte_and_leave_nothing_behind_though_four_abort() {
    // One worker means one inner connection, so the counts taken first are those of an idle server.
    let setup = Setup::new()
        .set("MAX_DOWNLOADS_PER_AGENT", "16")
        .set("WORKER_THREADS", "1");
    large_recording(&setup);
    let server = setup.start();
    let agent = server.agent(503);
    server.metric_becomes("connections", 1);
    let (descriptors, threads) = (server.descriptors(), server.threads());
    let (seed, whole) = (seed(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (server, agent, whole) = (&server, &agent, &whole);
            scope.spawn(move || {
                let mut random = numbers(seed.wrapping_add(number << 32));
                let stop = if number % 4 == 0 { random(GIB) } else { GIB };
                let original =
                    File::open(server.scratch().path().join("mount").join(RECORDING)).unwrap();
                let (mut client, head) = agent.begin(QUERY, "");
                assert_eq!((head.status, head.length() as u64), (200, GIB));
                let (mut at, mut expected) = (0, vec![0; 64 * 1024]);
                client.stream(stop, |chunk| {
                    let expected = &mut expected[..chunk.len()];
                    original.read_exact_at(expected, at).unwrap();
                    assert!(*expected == *chunk, "the bytes differ near offset {at}");
                    at += chunk.len() as u64;
                });
                whole.fetch_add(usize::from(at == GIB), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(whole.into_inner(), 12);
    server.metric_becomes("downloads", 0);
    eventually("no more threads than before", || {
        server.threads() <= threads
    });
    eventually("no more descriptors than before", || {
        server.descriptors() <= descriptors
    });
    assert!(server.metric("cc_gateway_downloads_cut_total") <= 4);
}
