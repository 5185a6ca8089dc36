//! Waiting requests: which of several completions answers, and what happens after a panic.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::api::{Headers, Method, Request};
use crate::config;
use crate::http::{ForwardedRequest, Http};
use crate::ops::counters::Counters;
use crate::session::Roster;

/// A client that sends the status of its reply to the test.
struct Client {
    answers: Sender<u16>,
    /// Whether it panics in the worker that handles its request.
    panics: bool,
}

impl PendingClient for Client {
    fn client(&self) -> (IpAddr, Option<IpAddr>) {
        if self.panics {
            // Not `panic!`, which would also print.
            std::panic::resume_unwind(Box::new("a defect"));
        }
        (Ipv4Addr::LOCALHOST.into(), None)
    }

    fn park(&mut self, _slot: SlotId, _until: Instant) {}

    fn respond(self, _gateway: &Gateway, response: Response) {
        self.answers.send(response.reply.status).unwrap();
    }
}

fn client(panics: bool) -> (Client, Receiver<u16>) {
    let (answers, answered) = channel();
    (Client { answers, panics }, answered)
}

fn gateway() -> Arc<Gateway> {
    let file = Path::new("/etc/cc-gateway/basic.properties");
    let (settings, _) = config::from_text(
        "TLS_CERTIFICATE=c\nTLS_PRIVATE_KEY=k\nLISTEN=127.0.0.1:0",
        file,
    )
    .unwrap();
    let (roster, _) = Roster::from_text("101 = no-password", file, settings.agent_id_max).unwrap();
    Arc::new(Gateway::new(settings, roster, Arc::new(Counters::default())).unwrap())
}

fn context(gateway: &Gateway) -> Box<RequestContext> {
    gateway
        .handle(&Request {
            method: Method::Get,
            path: "/agentgateway/resource/health",
            query: "",
            headers: &Headers::default(),
            body: b"",
            peer: Ipv4Addr::LOCALHOST.into(),
            via: None,
        })
        .0
}

fn reply(status: u16) -> Answer {
    Reply::new(status, ResultCode::SUCCESS, "text/plain", String::new()).into()
}

/// Defers the reply to a client's request; returns the ticket.
fn defer(in_flight: &InFlight<Client>, client: Client) -> Ticket {
    let (give, ticket) = sync_channel(1);
    let deferred = Deferred {
        until: Instant::now() + Duration::from_secs(60),
        is_poll: true,
        on_timeout: Box::new(|_, _| reply(408)),
        start: Box::new(move |_, ticket| give.send(ticket).unwrap()),
    };
    in_flight.answer(
        client,
        context(in_flight.gateway()),
        Answer::Deferred(deferred),
    );
    ticket.recv().unwrap()
}

fn find_slot(in_flight: &InFlight<Client>) -> SlotId {
    let table = lock(&in_flight.table);
    let index = table
        .slots
        .iter()
        .position(|slot| slot.request.is_some())
        .unwrap();
    SlotId {
        index: u32::try_from(index).unwrap(),
        generation: table.slots[index].generation,
    }
}

#[test]
fn of_two_who_would_finish_a_request_one_answers_and_the_other_finds_it_gone() {
    let in_flight = InFlight::new(gateway());
    let mut by_event = 0;
    for _ in 0..10_000 {
        let (client, answered) = client(false);
        let ticket = defer(&in_flight, client);
        let slot = find_slot(&in_flight);
        let together = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                in_flight.complete(slot, None);
            });
            together.wait();
            ticket.complete(|_, _| reply(200));
        });
        let status = answered.recv().unwrap();
        assert!([200, 408].contains(&status));
        by_event += usize::from(status == 200);
        assert!(answered.recv().is_err(), "answered twice");
        assert!(!in_flight.is_waiting(slot) && in_flight.cancel(slot).is_none());
    }
    assert_eq!(
        lock(&in_flight.table).slots.len(),
        1,
        "slots must be reused"
    );
    assert_eq!(in_flight.gateway().counters().waiting.value(), 0);
    assert_eq!(in_flight.gateway().counters().parked_polls.value(), 0);
    eprintln!("the event was first {by_event} times of 10000");
}

#[test]
fn a_client_that_leaves_is_answered_by_nobody() {
    let in_flight = InFlight::new(gateway());
    let (client, answered) = client(false);
    let ticket = defer(&in_flight, client);
    assert!(ticket.is_live() && ticket.liveness()());
    let is_live = ticket.liveness();
    drop(in_flight.cancel(find_slot(&in_flight)).unwrap());
    assert!(!ticket.is_live() && !is_live());
    ticket.complete(|_, _| panic!("completed after the client had left"));
    assert!(answered.recv().is_err());
    assert_eq!(in_flight.gateway().counters().waiting.value(), 0);
}

#[test]
fn a_ticket_that_is_dropped_finishes_as_the_deadline_would() {
    let in_flight = InFlight::new(gateway());
    let (client, answered) = client(false);
    drop(defer(&in_flight, client));
    assert_eq!(answered.recv(), Ok(408));
}

#[test]
fn an_answer_may_be_put_off_again() {
    let in_flight = InFlight::new(gateway());
    let (client, answered) = client(false);
    let (give, second) = sync_channel(1);
    defer(&in_flight, client).complete(move |_, _| {
        Answer::Deferred(Deferred {
            until: Instant::now(),
            is_poll: false,
            on_timeout: Box::new(|_, _| reply(408)),
            start: Box::new(move |_, ticket| give.send(ticket).unwrap()),
        })
    });
    assert!(answered.try_recv().is_err());
    second.recv().unwrap().complete(|_, _| reply(200));
    assert_eq!(answered.recv(), Ok(200));
}

#[test]
fn a_panic_is_answered_with_500_and_counted() {
    let in_flight = InFlight::new(gateway());
    let (client, answered) = client(false);
    defer(&in_flight, client).complete(|_, _| std::panic::resume_unwind(Box::new("a defect")));
    assert_eq!(answered.recv(), Ok(500));
    assert_eq!(in_flight.gateway().counters().worker_panics.value(), 1);
}

#[test]
fn a_number_that_comes_late_means_nothing() {
    let in_flight = InFlight::new(gateway());
    let (first, _) = client(false);
    let late = in_flight.insert(first);
    assert!(in_flight.take_forwarded(late).is_some());
    let (second, _) = client(false);
    let next = in_flight.insert(second);
    assert_eq!(late.index, next.index);
    assert!(in_flight.take_forwarded(late).is_none());
    in_flight.complete(next, None);
    assert!(
        in_flight.take_forwarded(next).is_some(),
        "`complete` must not take a request that is on its way to a worker"
    );
}

#[test]
fn workers_that_meet_defects_answer_and_stay() {
    const WORKERS: usize = 3;
    let (http, mut backends) = Http::start(gateway(), WORKERS, 1).unwrap();
    let mut ask = |panics| {
        let (client, answered) = client(panics);
        let slot = http.in_flight().insert(client);
        let target = "/agentgateway/resource/health".to_owned();
        let request = ForwardedRequest {
            method: Method::Get,
            target,
            headers: Headers::default(),
            body: Vec::new(),
        };
        backends[0].queue(&request, slot);
        assert!(backends[0].flush().unwrap());
        answered.recv().unwrap()
    };
    for _ in 0..5 * WORKERS {
        assert_eq!(ask(true), 500);
        assert_eq!(ask(false), 200);
    }
    assert_eq!(
        http.in_flight().gateway().counters().worker_panics.value(),
        5 * WORKERS as u64
    );
    http.close();
}
