//! What becomes of requests when workers, lines or the inner server fail.

use super::*;
use crate::api::{Answer, Fields, Later, Request};
use crate::config;
use crate::ops::counters::Counters;
use crate::session::Roster;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Weak;
use std::thread;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const WORKERS: usize = 3;

fn http() -> Http {
    let file = Path::new("/etc/cc-gateway/basic.properties");
    let (settings, _) = config::from_text("TLS_CERTIFICATE=c\nTLS_PRIVATE_KEY=k\nLISTEN=127.0.0.1:0", file).unwrap();
    let (roster, _) = Roster::from_text("101 = ", file, settings.agent_id_max).unwrap();
    let gateway = Gateway::new(settings, roster, Arc::new(Counters::default())).unwrap();
    Http::start(Arc::new(gateway), WORKERS).unwrap()
}

fn health() -> Canonical {
    let target = "/agentgateway/resource/health".to_owned();
    Canonical { method: Method::Get, target, fields: Fields::default(), body: Vec::new() }
}

fn is_healthy(http: &Http) -> bool {
    http.perform(&health(), PEER).is_ok_and(|performed| performed.status == 200)
}

fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came");
        thread::sleep(Duration::from_millis(5));
    }
}

fn inner(http: &Http) -> Weak<Inner> {
    Arc::downgrade(lock(&http.shared.current).inner.as_ref().unwrap())
}

/// Breaks so many of the connections, beginning with the one that is used next.
fn break_lines(http: &Http, count: usize) {
    let lines: Vec<_> = (0..count).map(|_| http.shared.lines.lend(Instant::now()).unwrap()).collect();
    // Given back in such an order that the first one lent is lent first again.
    for line in lines.into_iter().rev() {
        line.hold().into_iter().for_each(|stream| stream.shutdown(std::net::Shutdown::Both).unwrap());
    }
}

/// A step that is carried out by `finish`.
fn step(http: &Http, finish: impl FnOnce(Answer) -> Answer + Send + 'static) -> Step {
    let fields = Fields::default();
    let path = "/agentgateway/resource/health";
    let request = Request { method: Method::Get, path, query: "", fields: &fields, body: b"", peer: PEER };
    let (call, answer) = http.gateway().begin(&request);
    Step::Resume(call, Later::at(Instant::now(), move |_, _| finish(answer)))
}

fn carry(http: &Http, step: Step) -> Result<Outcome, Lost> {
    http.carry(step, canonical::write_bare)
}

/// The status of an answer.
fn status(outcome: Outcome) -> u16 {
    let Outcome::Answered { reply, .. } = outcome else { panic!("no answer") };
    inner_reply::read(&reply).unwrap().status
}

#[test]
fn workers_that_panic_answer_and_stay() {
    let http = http();
    for _ in 0..5 * WORKERS {
        // Not `panic!`, which would also print.
        let defect = step(&http, |_| std::panic::resume_unwind(Box::new("a defect")));
        let Outcome::Answered { reply, call: None, download: None, .. } = carry(&http, defect).unwrap() else {
            panic!("not the answer of a defect");
        };
        let reply = inner_reply::read(&reply).unwrap();
        assert_eq!(reply.status, 500);
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(json["retcode"], ResultCode::INTERNAL.wire());
    }
    assert_eq!(http.gateway().counters().worker_panics.value(), 5 * WORKERS as u64);
    // All of them are there: each of so many requests at once waits until the others have a worker too.
    let barrier = Arc::new(std::sync::Barrier::new(WORKERS));
    let together: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (http, barrier) = (http.clone(), Arc::clone(&barrier));
            thread::spawn(move || {
                let meeting = step(&http, move |answer| {
                    barrier.wait();
                    answer
                });
                status(carry(&http, meeting).unwrap())
            })
        })
        .collect();
    assert!(together.into_iter().all(|thread| thread.join().unwrap() == 200));
    http.close();
}

#[test]
fn lines_that_break_are_mended_without_a_lost_request() {
    let http = http();
    let before = inner(&http);
    for _ in 0..3 {
        break_lines(&http, WORKERS);
        assert!((0..2 * WORKERS).all(|_| is_healthy(&http)));
    }
    // The server was never in question.
    assert!(before.ptr_eq(&inner(&http)));
    http.close();
}

#[test]
fn a_line_that_breaks_while_a_worker_is_at_its_request_costs_no_answer() {
    let http = http();
    let line = http.shared.lines.lend(Instant::now()).unwrap().hold().unwrap();
    let cutting = step(&http, move |answer| {
        line.shutdown(std::net::Shutdown::Both).unwrap();
        answer
    });
    assert_eq!(status(carry(&http, cutting).unwrap()), 200);
    assert!((0..2 * WORKERS).all(|_| is_healthy(&http)));
    http.close();
}

#[test]
fn a_request_that_tiny_http_lets_fall_is_sent_again() {
    let http = http();
    let path = http.shared.directory.socket(99).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    for (answer, kind) in
        [("", io::ErrorKind::UnexpectedEof), ("HTTP/1.1 400 Bad Request\r\n", io::ErrorKind::InvalidData)]
    {
        for carried in [false, true] {
            let mut line = http.shared.lines.lend(Instant::now()).unwrap();
            line.connect(inner(&http).upgrade().unwrap().generation, &path).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            let other = thread::spawn(move || {
                assert_ne!(other.read(&mut [0; 1024]).unwrap(), 0);
                other.write_all(answer.as_bytes()).unwrap();
                (!answer.is_empty()).then_some(other)
            });
            if carried {
                // Lent first again.
                drop(line);
                assert!(is_healthy(&http), "{kind}");
            } else {
                let id = http.shared.exchanges.lay(line.place, Step::Greet);
                canonical::write_bare(id, &mut line.request);
                assert_eq!(http.shared.exchange(&mut line, id).map(drop).unwrap_err().kind(), kind);
            }
            drop(other.join().unwrap());
        }
    }
    http.close();
}

#[test]
fn a_request_that_was_taken_up_and_not_answered_is_not_carried_out_twice() {
    let http = http();
    let mut line = http.shared.lines.lend(Instant::now()).unwrap();
    let (taken, at_it) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let slow = step(&http, move |answer| {
        taken.send(()).unwrap();
        let _ = wait.recv();
        answer
    });
    let exchanges = &http.shared.exchanges;
    let id = exchanges.lay(line.place, slow);
    canonical::write_bare(id, &mut line.request);
    line.send().unwrap();
    at_it.recv().unwrap();
    assert!(exchanges.take_outcome(id, Instant::now()).is_none());
    assert!(exchanges.give_up(id).is_none(), "there is nothing to send again");
    drop(go);
    drop(line);
    assert!((0..2 * WORKERS).all(|_| is_healthy(&http)));
    http.close();
}

#[test]
fn a_socket_that_is_gone_is_replaced_and_nothing_of_the_lost_server_stays() {
    let http = http();
    for round in 0..2 {
        let lost = inner(&http);
        let path = lost.upgrade().unwrap().path.clone();
        match round {
            0 => fs::remove_file(&path).unwrap(),
            _ => fs::remove_dir_all(path.parent().unwrap()).unwrap(),
        }
        // Lines that are connected do not even notice.
        assert!((0..2 * WORKERS).all(|_| is_healthy(&http)));
        assert!(lost.ptr_eq(&inner(&http)));
        break_lines(&http, WORKERS);
        assert!((0..2 * WORKERS).all(|_| is_healthy(&http)));
        // Its workers held it, its accept thread held the socket, wherever that has no name any more.
        eventually(|| lost.strong_count() == 0);
        eventually(|| !fs::read_to_string("/proc/net/unix").unwrap().contains(path.to_str().unwrap()));
        assert!(!path.exists());
    }
    http.close();
}

#[test]
fn lines_with_a_connection_serve_while_another_server_cannot_be_had() {
    let http = http();
    let path = inner(&http).upgrade().unwrap().path.clone();
    let directory = path.parent().unwrap().to_owned();
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "a file where the directory was").unwrap();
    break_lines(&http, 1);
    assert!((0..5 * WORKERS).all(|_| is_healthy(&http)));
    break_lines(&http, WORKERS);
    assert!((0..100).all(|_| !is_healthy(&http)));
    fs::remove_file(&directory).unwrap();
    eventually(|| is_healthy(&http));
    http.close();
    assert!(!directory.exists());
}

#[test]
fn a_server_that_was_closed_stays_closed() {
    let http = http();
    let closed = inner(&http);
    http.close();
    break_lines(&http, WORKERS);
    assert!(!is_healthy(&http));
    eventually(|| closed.strong_count() == 0);
}
