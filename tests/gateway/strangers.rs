//! Limits on what an unauthenticated client can use up: kernel memory, connection slots, and the
//! time a shutdown takes. Also a log reader that stalls.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cc_gateway::front::Timeouts;
use cc_gateway::ops::descriptors;

use crate::support::{
    BASE, Client, NO_TIMEOUTS, Server, Setup, connect_from, eventually, has_ended, unsent_from,
};

/// Kernel memory of all TCP sockets of this machine, in pages.
fn tcp_pages() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn responses_that_nobody_takes_cost_the_kernel_little_and_not_for_long() {
    const CLIENTS: usize = 100;
    const PAGES: u64 = (48 << 20) / 4096;
    let server = Setup::new().start();
    let certificate = server.scratch().path().join("certificate.pem");
    let requests = format!("GET {BASE}/health HTTP/1.1\r\nHost: x\r\n\r\n").repeat(990)
        + &format!("GET {BASE}/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut rounds = Vec::new();
    // At least two rounds of clients. More if the figure is too high, because it includes the
    // sockets of tests that run at the same time.
    while rounds.len() < 2 || (rounds.iter().min() > Some(&PAGES) && rounds.len() < 6) {
        let (before, mut most) = (tcp_pages(), 0);
        let greedy: Vec<Client> = (0..CLIENTS)
            .map(|_| {
                let mut client = Client::over(
                    connect_from("127.0.0.1", server.address(), Some(4096)),
                    &certificate,
                );
                client.socket().set_nonblocking(true).unwrap();
                let _ = client.try_send(&requests);
                client
            })
            .collect();
        eventually("the end of the connections that do not read", || {
            let (unsent, _) = unsent_from(server.address().port());
            assert!(unsent <= 16 * 1024 * CLIENTS as u64, "{unsent} bytes");
            most = most.max(tcp_pages().saturating_sub(before));
            server.metric("cc_gateway_connections") == 1
        });
        drop(greedy);
        rounds.push(most);
    }
    // This figure includes the clients' requests that the server does not read.
    assert!(rounds.iter().min() <= Some(&PAGES), "{rounds:?} pages");
    eventually("no unsent bytes", || {
        unsent_from(server.address().port()).0 == 0
    });
    server.serves();
}

#[test]
fn a_response_counts_until_its_client_has_taken_it() {
    let server = Setup::new()
        .recording("1/0/20201202/503/small.mp4", [7; 100_000])
        .start();
    let certificate = server.scratch().path().join("certificate.pem");
    let guid = server.sign_in(503);
    let answered = || server.metric("cc_gateway_requests_total{interface=\"health\",code=\"0\"}");
    let before = answered();
    let mut pipelining = Client::over(
        connect_from("127.0.0.1", server.address(), Some(4096)),
        &certificate,
    );
    pipelining.send(format!("GET {BASE}/health HTTP/1.1\r\nHost: x\r\n\r\n").repeat(200));
    // The whole recording fits into the socket buffers, but the download counts until the client
    // has taken it.
    let mut downloading = Client::over(
        connect_from("127.0.0.1", server.address(), Some(4096)),
        &certificate,
    );
    downloading.begin_download(503, &guid, "Y:/1/0/20201202/503/small.mp4");
    eventually("unsent responses", || {
        unsent_from(server.address().port()).0 > 4096
    });
    for _ in 0..20 {
        server.serves();
        assert_eq!(server.metric("cc_gateway_downloads"), 1);
    }
    // The server answers ahead only as many pipelined requests as the sockets hold, not all 200.
    // The 20 are those of the loop above.
    let ahead = answered() - before - 20;
    assert!(
        ahead < 100,
        "{ahead} requests were answered before the client read"
    );
    assert_eq!(downloading.bytes(100_000), [7; 100_000]);
    server.metric_becomes("downloads", 0);
    (0..200).for_each(|_| assert_eq!(pipelining.reply().status, 200));
}

#[test]
fn silent_clients_make_room_for_those_who_ask() {
    let setup = Setup::new()
        .set("MAX_CONNECTIONS", "64")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "16");
    let server = setup.expect_log("refusing clients").start();
    let certificate = server.scratch().path().join("certificate.pem");
    let guid = server.sign_in(503);
    let mut agent = server.client();
    assert_eq!(agent.get("/agentevent/503", Some(&guid)).code(), "0");
    for round in 0..3 {
        // More than MAX_CONNECTIONS, from 16 addresses; 80 without a TLS handshake and 16 with one.
        let silent: Vec<TcpStream> = (0..80)
            .map(|number| {
                connect_from(
                    &format!("127.0.2.{}", 1 + number % 8),
                    server.address(),
                    None,
                )
            })
            .collect();
        let shaken: Vec<Client> = (0..16)
            .map(|number| {
                connect_from(
                    &format!("127.0.3.{}", 1 + number % 8),
                    server.address(),
                    None,
                )
            })
            .map(|socket| Client::over(socket, &certificate))
            .collect();
        for _ in 0..20 {
            server.serves();
        }
        assert_eq!(
            agent.get("/agentevent/503", Some(&guid)).code(),
            "0",
            "round {round}"
        );
        drop((silent, shaken));
    }
    assert!(server.metric("cc_gateway_connections_evicted_total") > 0);
}

#[test]
fn the_clients_of_one_ipv6_site_do_not_take_all_places() {
    let setup = Setup::new()
        .set("LISTEN", "[::1]:0")
        .set("MAX_CONNECTIONS", "40")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "10");
    let server = setup
        .expect_log("MAX_CONNECTIONS_PER_ADDRESS is reached by ::/64, which has 10")
        .start();
    let sockets: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    eventually("ten refused connections", || {
        sockets.iter().filter(|socket| has_ended(socket)).count() == 10
    });
}

#[test]
fn the_networks_of_one_ipv6_site_share_a_larger_limit() {
    let setup = Setup::new()
        .set("TRUSTED_PROXIES", "127.0.0.2")
        // More than the test opens, so that no connection is evicted.
        .set("MAX_CONNECTIONS", "800")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "10");
    let server = setup
        .expect_log("refusing clients: MAX_CONNECTIONS_PER_ADDRESS is reached by")
        .start();
    let from = |site: u8, network: u8| {
        let mut socket = connect_from("127.0.0.2", server.address(), None);
        let header =
            format!("PROXY TCP6 2001:db8:0:{site:x}{network:02x}::1 2001:db8::1 49152 8043\r\n");
        socket.write_all(header.as_bytes()).unwrap();
        socket
    };
    let mut held = Vec::new();
    // The limits are 10 for a /64, 20 for a /56 and 40 for a /48.
    for (site, remain) in [(1, 20), (2, 40), (3, 40)] {
        held.extend((0..80).map(|nth| from(site, nth % 8)));
        eventually("the refused connections", || {
            held.retain(|socket: &TcpStream| !has_ended(socket));
            held.len() <= remain
        });
        assert_eq!(held.len(), remain, "of site {site}");
    }
    server.log_line("2001:db8:0:100::/56, which has 20");
    server.serves();
}

#[test]
fn a_stop_of_the_program_waits_for_downloads_alone() {
    let mut server = Setup::new().set("DRAIN_TIMEOUT", "3600000").start();
    let certificate = server.scratch().path().join("certificate.pem");
    let mut greedy = Client::over(
        connect_from("127.0.0.1", server.address(), Some(4096)),
        &certificate,
    );
    greedy.socket().set_nonblocking(true).unwrap();
    // More than the kernel would take from a sender without TCP_NOTSENT_LOWAT.
    let _ = greedy.try_send(format!("GET {BASE}/metrics HTTP/1.1\r\nHost: x\r\n\r\n").repeat(990));
    eventually("unsent responses", || {
        unsent_from(server.address().port()).0 > 0
    });
    server.signal("TERM");
    let since = Instant::now();
    assert_eq!(server.wait().code(), Some(0));
    // Less than the response timeout of 10 s, which would end the connection too.
    assert!(
        since.elapsed() < Duration::from_secs(9),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn a_stop_waits_for_downloads_alone() {
    let timeouts = Timeouts { ..NO_TIMEOUTS };
    let inside = Setup::new().start_in_process(timeouts);
    // A client that does not read its responses, one in the middle of a request, and one that keeps
    // its side open after the server has closed.
    let mut greedy = inside.client_over(connect_from("127.0.0.1", inside.address(), Some(4096)));
    greedy.socket().set_nonblocking(true).unwrap();
    let _ = greedy.try_send(format!("GET {BASE}/health HTTP/1.1\r\nHost: x\r\n\r\n").repeat(990));
    let mut begun = inside.client();
    begun.send(format!(
        "PUT {BASE}/onlineagent/101 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{"
    ));
    let mut closed = inside.client();
    closed.send(format!(
        "GET {BASE}/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(closed.reply().status, 200);
    // No timeout of a connection can expire here, and the drain timeout is an hour.
    assert_eq!(inside.stop(Duration::from_secs(3600)), 0);
}

#[test]
fn the_highest_number_of_connections_can_be_set() {
    if descriptors::raise_nofile_limit(17_000).is_ok_and(|granted| granted < 17_000) {
        return eprintln!("skipped: the limit of descriptors is too low here");
    }
    let setup = Setup::new()
        .set("MAX_CONNECTIONS", "16384")
        .set("MAX_CONNECTIONS_PER_ADDRESS", "16384");
    let server = setup.start();
    (0..10).for_each(|_| server.serves());
}

/// Sends requests until log lines are dropped: the pipe and the queue of lines are full.
fn fill_log(server: &Server, agent: u32, guid: &str) {
    let poll = format!("GET {BASE}/agentevent/{agent} HTTP/1.1\r\nHost: x\r\nGuid: {guid}\r\n\r\n");
    while server.metric("cc_gateway_log_lines_dropped_total") == 0 {
        let mut client = server.client();
        client.send(poll.repeat(200));
        (0..200).for_each(|_| assert_eq!(client.reply().status, 200));
    }
}

#[test]
fn a_log_reader_that_stalls_stops_nothing_and_is_told_what_it_missed() {
    let (setup, resume) = Setup::new()
        .set("LOG_LEVEL", "trace")
        .expect_log(" log lines: the reader of the log")
        .stalled();
    let server = setup.start();
    let guid = server.sign_in(503);
    fill_log(&server, 503, &guid);
    // Requests, sign-ins and new connections still work.
    for agent in [101, 102] {
        server.sign_in(agent);
    }
    assert_eq!(
        server.client().get("/agentevent/503", Some(&guid)).code(),
        "0"
    );
    drop(resume);
    server.log_line("log lines: the reader of the log did not keep up");
    server.serves();
}

#[test]
fn a_log_reader_that_stalls_does_not_keep_the_service_from_ending() {
    let (setup, resume) = Setup::new().set("LOG_LEVEL", "trace").stalled();
    let mut server = setup.start();
    let guid = server.sign_in(503);
    fill_log(&server, 503, &guid);
    server.signal("TERM");
    assert_eq!(server.wait_unread().code(), Some(0));
    drop(resume);
}
