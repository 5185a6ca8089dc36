//! Two nodes behind HAProxy and nginx, configured by the files in `packaging/examples`, serve
//! agents as one node does.

use std::collections::BTreeSet;

use crate::support::{
    Kind, SIGN_IN, Seat, Server, Setup, Site, check_example, eventually, recording_bytes,
    with_agents,
};

const RECORDING: &str = "1/0/20201202/503/1714442.mp4";
const QUERY: &str = "recordId=Y:/1/0/20201202/503/1714442.mp4";
const WRONG: &str = r#"{"password":"wrong"}"#;

/// Renews Guids all the time, and allows every agent every recording.
fn setup() -> Setup {
    with_agents(Setup::new())
        .set("GUIDINTERVAL", "1")
        .set("GUIDTIMEOUT", "60000")
        .set("DOWNLOAD_SCOPE", "ALL")
        .set("DRAIN_TIMEOUT", "60000")
}

/// A setup with a recording. Both nodes use the mount of the first.
fn setup_with(video: &[u8]) -> Setup {
    setup().recording(RECORDING, video)
}

/// The value of a sample of `/metrics` of one node. Not requested from the balancer's address,
/// because a trusted proxy gets no metrics.
fn metric(server: &Server, sample: &str) -> u64 {
    let text = server
        .client_from("127.0.0.5")
        .get("/metrics", None)
        .text()
        .to_owned();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {sample}"))
        .parse()
        .unwrap()
}

#[test]
fn the_examples_are_valid() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_installed()) {
        let output = check_example(kind);
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind:?}: {said}");
        assert!(!said.to_lowercase().contains("warn"), "{kind:?}: {said}");
    }
}

/// Sign-in, polls over two renewals, a download and its resumption, at both nodes.
fn an_agent_works_through(kind: Kind) {
    let video = recording_bytes(7, 300_000);
    let Some(site) = Site::start(kind, || setup_with(&video)) else {
        return;
    };
    for mut seat in site.sign_in_at_both(1).into_iter().flatten() {
        let node = seat.node();
        let mut guids = BTreeSet::from([seat.guid.clone()]);
        eventually("two renewals", || {
            let reply = seat.poll(&site).unwrap();
            assert_eq!(reply.outcome(), (200, "0".into()));
            guids.insert(seat.guid.clone());
            guids.len() > 2
        });
        assert_eq!(seat.node(), node);
        let (mut client, head) = seat.begin(&site, QUERY, "");
        assert_eq!((head.status, head.length()), (200, video.len()));
        assert!(client.bytes(video.len()) == video);
        let range = format!(
            "Range: bytes=100000-\r\nIf-Range: {}\r\n",
            head.field("ETag").unwrap()
        );
        let (mut client, head) = seat.begin(&site, QUERY, &range);
        assert_eq!(head.status, 206);
        assert!(client.bytes(head.length()) == video[100_000..]);
        // A second sign-in reaches the node that has the session.
        let path = format!("/onlineagent/{}", seat.number);
        assert_eq!(
            site.client(&seat.source).put(&path, None, SIGN_IN).code(),
            "100-002"
        );
    }
}

#[test]
fn an_agent_works_through_haproxy_that_passes_tls_on() {
    an_agent_works_through(Kind::HaproxyPassthrough);
}

#[test]
fn an_agent_works_through_haproxy_that_ends_tls() {
    an_agent_works_through(Kind::HaproxyTerminate);
}

#[test]
fn an_agent_works_through_nginx_that_passes_tls_on() {
    an_agent_works_through(Kind::NginxPassthrough);
}

#[test]
fn an_agent_works_through_nginx_that_ends_tls() {
    an_agent_works_through(Kind::NginxTerminate);
}

#[test]
fn both_nodes_log_the_client_and_its_proxy() {
    for kind in Kind::ALL {
        let Some(site) = Site::start(kind, setup) else {
            continue;
        };
        for seat in site.sign_in_at_both(1).into_iter().flatten() {
            let line = site.nodes[seat.node()].log_line(&format!("login agent={} ", seat.number));
            assert!(
                line.contains(&format!(" peer={}", seat.source)),
                "{kind:?}: {line}"
            );
            assert!(line.contains(" via=127.0.0.1"), "{kind:?}: {line}");
        }
    }
}

#[test]
fn three_hundred_clients_come_through_one_balancer() {
    for kind in Kind::ALL {
        let Some(site) = Site::start(kind, setup) else {
            continue;
        };
        let mut clients = Vec::new();
        for nth in 0..300 {
            let mut client = site.client(&format!("127.0.{}.{}", 2 + nth / 250, 1 + nth % 250));
            assert_eq!(
                client.get("/health", None).outcome(),
                (200, "0".into()),
                "{kind:?}: client {nth}"
            );
            clients.push(client);
        }
        let refused = |node| metric(node, "cc_gateway_connections_refused_total");
        assert_eq!(site.nodes.each_ref().map(refused), [0, 0], "{kind:?}");
    }
}

#[test]
fn wrong_passwords_lock_the_client_that_sent_them_and_no_other() {
    for kind in Kind::ALL {
        let Some(site) = Site::start(kind, || setup().expect_log("is locked for clients at"))
        else {
            continue;
        };
        let path = "/onlineagent/201";
        let guesses = |source: &str| -> Vec<String> {
            let mut client = site.client(source);
            (0..6)
                .map(|_| client.put(path, None, WRONG).code())
                .collect()
        };
        assert_eq!(guesses("127.0.1.1").last().unwrap(), "110-016", "{kind:?}");
        assert_eq!(
            site.client("127.0.1.1").put(path, None, SIGN_IN).code(),
            "110-016",
            "{kind:?}"
        );
        assert_eq!(
            site.client("127.0.1.2").put(path, None, SIGN_IN).code(),
            "0",
            "{kind:?}"
        );
    }
}

/// Node 0 is stopped while ten of its agents download.
fn a_node_is_taken_out(kind: Kind) {
    const LENGTH: usize = 24 * 1024 * 1024;
    let Some(mut site) = Site::start(kind, || setup_with(&vec![7; LENGTH])) else {
        return;
    };
    let [mut leaving, mut staying] = site.sign_in_at_both(10);
    leaving.truncate(10);
    let downloads: Vec<_> = leaving
        .iter()
        .map(|seat| seat.begin(&site, QUERY, ""))
        .collect();
    assert_eq!(metric(&site.nodes[0], "cc_gateway_downloads"), 10);
    site.nodes[0].signal("TERM");
    site.nodes[0].log_line("shutting down");
    // New clients go to node 1, agents of node 1 are not affected, and agents of node 0 sign in
    // again. The log line comes a moment before the balancer's last idle connection to node 0 is
    // closed, so the first new clients may still reach it.
    let mut fresh = (261..281).map(|number| {
        site.sign_in(number, &format!("127.0.3.{}", number - 200))
            .node()
    });
    eventually("new clients at the other node", || fresh.next() == Some(1));
    assert!(fresh.all(|node| node == 1));
    for seat in &mut staying {
        assert_eq!(seat.poll(&site).unwrap().outcome(), (200, "0".into()));
    }
    moves_to_node_1(&mut leaving[0], &site);
    for (mut client, head) in downloads {
        assert_eq!((head.status, head.length()), (200, LENGTH));
        client.stream(LENGTH as u64, |part| {
            assert!(part.iter().all(|&byte| byte == 7))
        });
    }
    assert!(site.nodes[0].wait().success());
    assert_eq!(site.nodes[0].told("downloads cut"), 0);
    for seat in &mut staying {
        assert_eq!(seat.poll(&site).unwrap().outcome(), (200, "0".into()));
    }
}

/// The poll of an agent whose node is gone returns 100-006; the agent signs in again and continues
/// at the other node.
fn moves_to_node_1(seat: &mut Seat, site: &Site) {
    eventually("100-006 from the other node", || {
        let reply = seat.poll(site);
        // The balancer may need a moment to notice that the node is gone.
        reply.is_some_and(|reply| reply.status == 200 && reply.code() == "100-006")
    });
    *seat = site.sign_in(seat.number, &seat.source);
    assert_eq!(seat.node(), 1);
    assert_eq!(seat.poll(site).unwrap().outcome(), (200, "0".into()));
}

#[test]
fn a_node_is_taken_out_behind_haproxy_that_passes_tls_on() {
    a_node_is_taken_out(Kind::HaproxyPassthrough);
}

#[test]
fn a_node_is_taken_out_behind_haproxy_that_ends_tls() {
    a_node_is_taken_out(Kind::HaproxyTerminate);
}

#[test]
fn a_node_is_taken_out_behind_nginx_that_passes_tls_on() {
    a_node_is_taken_out(Kind::NginxPassthrough);
}

#[test]
fn a_node_is_taken_out_behind_nginx_that_ends_tls() {
    a_node_is_taken_out(Kind::NginxTerminate);
}

/// A drained node gets no new agents and keeps those it has.
fn a_node_is_drained(kind: Kind) {
    let Some(site) = Site::start(kind, setup) else {
        return;
    };
    let [mut leaving, _] = site.sign_in_at_both(2);
    assert_eq!(site.command("set server gateways/node0 state drain"), "");
    for number in [101, 102, 503, 900] {
        assert_eq!(
            site.sign_in(number, &format!("127.0.3.{}", number % 250))
                .node(),
            1
        );
    }
    for seat in &mut leaving {
        assert_eq!(seat.poll(&site).unwrap().outcome(), (200, "0".into()));
        assert_eq!(seat.node(), 0);
    }
}

#[test]
fn a_node_is_drained_behind_haproxy_that_passes_tls_on() {
    a_node_is_drained(Kind::HaproxyPassthrough);
}

#[test]
fn a_node_is_drained_behind_haproxy_that_ends_tls() {
    a_node_is_drained(Kind::HaproxyTerminate);
}

/// Node 0 is killed while one of its agents downloads; the agent signs in at the other node and
/// resumes the download there.
fn a_node_dies(kind: Kind) {
    let video = recording_bytes(8, 24 * 1024 * 1024);
    let Some(site) = Site::start(kind, || setup_with(&video)) else {
        return;
    };
    let [mut leaving, mut staying] = site.sign_in_at_both(1);
    let mut seat = leaving.remove(0);
    let (mut client, head) = seat.begin(&site, QUERY, "");
    let mut got = client.bytes(1_000_000);
    site.nodes[0].signal("KILL");
    let (more, in_order) = client.rest();
    got.extend(more);
    assert!(!in_order || got.len() < video.len());
    assert!(video.starts_with(&got) && got.len() < video.len());
    for seat in &mut staying {
        assert_eq!(seat.poll(&site).unwrap().outcome(), (200, "0".into()));
    }
    moves_to_node_1(&mut seat, &site);
    let range = format!(
        "Range: bytes={}-\r\nIf-Range: {}\r\n",
        got.len(),
        head.field("ETag").unwrap()
    );
    let (mut client, head) = seat.begin(&site, QUERY, &range);
    assert_eq!(head.status, 206);
    got.extend(client.bytes(head.length()));
    assert!(got == video);
}

#[test]
fn a_node_dies_behind_haproxy_that_passes_tls_on() {
    a_node_dies(Kind::HaproxyPassthrough);
}

#[test]
fn a_node_dies_behind_haproxy_that_ends_tls() {
    a_node_dies(Kind::HaproxyTerminate);
}

#[test]
fn a_node_dies_behind_nginx_that_passes_tls_on() {
    a_node_dies(Kind::NginxPassthrough);
}

#[test]
fn a_node_dies_behind_nginx_that_ends_tls() {
    a_node_dies(Kind::NginxTerminate);
}

#[test]
fn checks_by_default_find_a_healthy_node_and_a_sick_one() {
    let server = Setup::new()
        .expect_log("is lost")
        .expect_log("is back")
        .start();
    let status = |request: &str| {
        let mut client = server.client();
        client.send(format!("{request}\r\n\r\n"));
        let reply = client.head();
        assert_eq!(reply.length(), 0, "{reply:?}");
        reply.status
    };
    // HAProxy sends the first one for `option httpchk` without arguments.
    let requests = [
        "OPTIONS / HTTP/1.0",
        "OPTIONS * HTTP/1.1\r\nHost: gw",
        "HEAD / HTTP/1.0",
        "HEAD / HTTP/1.1\r\nHost: gw",
    ];
    for request in requests {
        assert_eq!(status(request), 200, "{request}");
    }
    let mount = server.scratch().path().join("mount");
    let away = server.scratch().path().join("away");
    std::fs::rename(&mount, &away).unwrap();
    eventually("a lost mount", || {
        server.client().get("/health", None).status == 503
    });
    for request in requests {
        assert_eq!(status(request), 503, "{request}");
    }
    std::fs::rename(&away, &mount).unwrap();
    server.log_line("is back");
}
