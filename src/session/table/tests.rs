use super::super::agent_state::StateError;
use super::super::event::{Event, EventKind};
use super::super::guid_history::{GUIDS_MAX, IssuedGuid};
use super::super::parked_polls::Wake;
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn table(dynamic: bool) -> SessionTable {
    SessionTable::new(Policy {
        dynamic,
        guid_interval: SECOND * 60,
        guid_timeout: SECOND * 120,
        idle_timeout: Some(SECOND * 100),
        guid_suffix: "AgentGateway0".to_owned(),
    })
}

fn agent(id: u32) -> AgentId {
    AgentId::parse(&id.to_string(), 59_999).unwrap()
}

fn authenticate(
    table: &SessionTable,
    id: u32,
    guid: &Guid,
    now: Instant,
) -> Result<Authenticated, AuthError> {
    table.authenticate(agent(id), Some(&guid.fingerprint()), now)
}

#[test]
fn only_the_guid_of_the_agent_itself_gives_a_right() {
    let (table, now) = (table(true), Instant::now());
    let first = table
        .sign_in(agent(101), false, InitialState::default(), now, 0)
        .unwrap();
    let second = table
        .sign_in(agent(102), false, InitialState::default(), now, 0)
        .unwrap();
    assert_eq!(
        authenticate(&table, 101, &first.guid, now).unwrap().session,
        first.session
    );
    assert_eq!(
        authenticate(&table, 101, &second.guid, now).unwrap_err(),
        AuthError::NoRight
    );
    assert_eq!(
        table.authenticate(agent(101), None, now).unwrap_err(),
        AuthError::NoRight
    );
    assert_eq!(
        authenticate(&table, 103, &first.guid, now).unwrap_err(),
        AuthError::NotSignedIn
    );
    assert_eq!(
        table.authenticate(agent(103), None, now).unwrap_err(),
        AuthError::NotSignedIn
    );
    assert_eq!(table.len(now), 2);
}

/// A parked poll of a test: how often it was woken, and whether its client is still there.
#[derive(Default)]
struct Poll {
    woken: AtomicUsize,
    has_left: AtomicBool,
}

struct PollWaker(Arc<Poll>);

impl Wake for PollWaker {
    fn wake(self: Box<Self>) {
        self.0.woken.fetch_add(1, Ordering::SeqCst);
    }

    fn is_live(&self) -> bool {
        !self.0.has_left.load(Ordering::SeqCst)
    }
}

impl Poll {
    fn park(table: &SessionTable, session: SessionId, now: Instant) -> Arc<Poll> {
        let poll = Arc::new(Poll::default());
        table.park(
            agent(101),
            session,
            Box::new(PollWaker(Arc::clone(&poll))),
            now,
        );
        poll
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst) == 1
    }
}

/// Signs 101 in and consumes its sign-in events.
fn signed_in(table: &SessionTable, now: Instant) -> NewSession {
    let opened = table
        .sign_in(agent(101), true, InitialState::default(), now, 0)
        .unwrap();
    while matches!(
        table.poll_outcome(agent(101), opened.session, now),
        PollOutcome::Event(_)
    ) {}
    opened
}

fn event(number: u64) -> Event {
    Event::new(EventKind::Ready, number)
}

#[test]
fn a_second_sign_in_is_refused_unless_forced() {
    let (table, now) = (table(true), Instant::now());
    let first = signed_in(&table, now);
    let parked = Poll::park(&table, first.session, now);
    let again = table.sign_in(agent(101), false, InitialState::default(), now, 0);
    assert!(matches!(again, Err(SignInError::AlreadySignedIn)));
    assert!(!parked.is_woken());
    let second = table
        .sign_in(agent(101), true, InitialState::default(), now, 0)
        .unwrap();
    assert!(parked.is_woken());
    assert!(!table.is_open(agent(101), first.session, now));
    assert!(table.is_open(agent(101), second.session, now));
    assert!(
        !table.sign_out(agent(101), first.session),
        "the earlier session must not end the later one"
    );
}

#[test]
fn the_poll_of_a_replaced_session_is_empty_and_its_guids_are_of_an_agent_that_is_not_signed_in() {
    let (table, start) = (table(true), Instant::now());
    let first = signed_in(&table, start);
    let renewed = table.update_guid(agent(101), first.session, start).unwrap();
    let second = signed_in(&table, start);
    for guid in [&first.guid, &renewed] {
        assert_eq!(
            authenticate(&table, 101, guid, start).unwrap_err(),
            AuthError::NotSignedIn
        );
    }
    let unknown = Guid::generate("a").unwrap();
    assert_eq!(
        authenticate(&table, 101, &unknown, start).unwrap_err(),
        AuthError::NoRight
    );
    assert_eq!(
        table.authenticate(agent(101), None, start).unwrap_err(),
        AuthError::NoRight
    );
    assert_eq!(
        table.poll_outcome(agent(101), first.session, start),
        PollOutcome::Replaced
    );
    assert_eq!(
        table.poll_outcome(agent(101), second.session, start),
        PollOutcome::Empty
    );
    // The end of the new session does not change the outcome of the old poll.
    assert!(table.sign_out(agent(101), second.session));
    assert_eq!(
        table.poll_outcome(agent(101), first.session, start),
        PollOutcome::Replaced
    );
    assert_eq!(
        table.poll_outcome(agent(101), second.session, start),
        PollOutcome::Ended
    );
    let later = start + SECOND * 120;
    let third = signed_in(&table, later);
    assert_eq!(
        table.poll_outcome(agent(101), first.session, later),
        PollOutcome::Ended
    );
    assert_eq!(
        authenticate(&table, 101, &first.guid, later).unwrap_err(),
        AuthError::NoRight
    );
    assert!(authenticate(&table, 101, &third.guid, later).is_ok());
}

#[test]
fn every_end_of_a_session_is_felt_by_its_parked_poll() {
    type End = fn(&SessionTable, SessionId, Instant) -> bool;
    let start = Instant::now();
    let endings: [(&str, End, PollOutcome); 6] = [
        (
            "sign-out",
            |table, session, _| table.sign_out(agent(101), session),
            PollOutcome::Ended,
        ),
        (
            "forced sign-in",
            |table, _, now| {
                table
                    .sign_in(agent(101), true, InitialState::default(), now, 0)
                    .is_ok()
            },
            PollOutcome::Replaced,
        ),
        (
            "reload",
            |table, _, _| table.revoke(&[agent(101), agent(102)]) == 1,
            PollOutcome::Ended,
        ),
        (
            "sweep",
            |table, _, now| table.sweep(now + SECOND * 100) == 1,
            PollOutcome::Ended,
        ),
        (
            "late request",
            |table, _, now| {
                table
                    .authenticate(agent(101), None, now + SECOND * 100)
                    .is_err()
            },
            PollOutcome::Ended,
        ),
        (
            "late sign-in",
            |table, _, now| {
                let now = now + SECOND * 100;
                table
                    .sign_in(agent(101), false, InitialState::default(), now, 0)
                    .is_ok()
            },
            PollOutcome::Ended,
        ),
    ];
    for (name, end, outcome) in endings {
        let table = table(true);
        let opened = signed_in(&table, start);
        let authenticated = authenticate(&table, 101, &opened.guid, start).unwrap();
        let parked = Poll::park(&table, opened.session, start);
        assert!(end(&table, opened.session, start), "{name}");
        assert!(parked.is_woken(), "{name}");
        assert_eq!(
            table.poll_outcome(agent(101), opened.session, start),
            outcome,
            "{name}"
        );
        assert!(!table.is_open(agent(101), opened.session, start), "{name}");
        assert!(
            table
                .renew_if_due(agent(101), &authenticated, start + SECOND * 60)
                .is_none(),
            "{name}"
        );
        assert!(
            table
                .update_guid(agent(101), opened.session, start)
                .is_none(),
            "{name}"
        );
        assert!(
            Poll::park(&table, opened.session, start).is_woken(),
            "{name}"
        );
    }
}

#[test]
fn a_drain_wakes_every_poll_and_ends_nothing() {
    let (table, now) = (table(true), Instant::now());
    let opened = signed_in(&table, now);
    let parked = Poll::park(&table, opened.session, now);
    table.begin_drain();
    assert!(parked.is_woken());
    assert!(table.is_open(agent(101), opened.session, now));
    assert!(Poll::park(&table, opened.session, now).is_woken());
    assert_eq!(
        table.poll_outcome(agent(101), opened.session, now),
        PollOutcome::Empty
    );
}

#[test]
fn an_event_wakes_the_newest_poll_that_still_waits_and_is_taken_once() {
    let (table, now) = (table(true), Instant::now());
    let session = signed_in(&table, now).session;
    let [old, middle, newest] = std::array::from_fn(|_| Poll::park(&table, session, now));
    newest.has_left.store(true, Ordering::SeqCst);
    assert_eq!(
        table.push_event(agent(101), Some(session), event(1), now),
        PushOutcome::Queued
    );
    assert!(middle.is_woken() && !old.is_woken());
    // A poll does not wait while an event is queued.
    assert!(Poll::park(&table, session, now).is_woken());
    assert_eq!(
        table.poll_outcome(agent(101), session, now),
        PollOutcome::Event(event(1))
    );
    assert_eq!(
        table.poll_outcome(agent(101), session, now),
        PollOutcome::Empty
    );
    assert!(!old.is_woken());
    assert_eq!(
        table.push_event(agent(101), None, event(2), now),
        PushOutcome::Queued
    );
    assert!(old.is_woken());
    assert_eq!(
        table.push_event(agent(102), None, event(2), now),
        PushOutcome::NoSession
    );
    let second = signed_in(&table, now).session;
    assert_eq!(
        table.push_event(agent(101), Some(session), event(3), now),
        PushOutcome::NoSession
    );
    assert_eq!(
        table.poll_outcome(agent(101), second, now),
        PollOutcome::Empty,
        "a new session has a new queue"
    );
}

#[test]
fn an_event_that_was_not_delivered_is_the_next_one_again() {
    let (table, now) = (table(true), Instant::now());
    let session = signed_in(&table, now).session;
    for number in 1..=2 {
        table.push_event(agent(101), None, event(number), now);
    }
    assert_eq!(
        table.poll_outcome(agent(101), session, now),
        PollOutcome::Event(event(1))
    );
    assert_eq!(
        table.requeue_front(agent(101), session, event(1), now),
        PushOutcome::Queued
    );
    for number in 1..=2 {
        assert_eq!(
            table.poll_outcome(agent(101), session, now),
            PollOutcome::Event(event(number))
        );
    }
    let parked = Poll::park(&table, session, now);
    assert_eq!(
        table.requeue_front(agent(101), session, event(2), now),
        PushOutcome::Queued
    );
    assert!(parked.is_woken());
    for number in 3..=65 {
        assert_eq!(
            table.push_event(agent(101), None, event(number), now),
            PushOutcome::Queued
        );
    }
    assert_eq!(
        table.push_event(agent(101), None, event(66), now),
        PushOutcome::OldestDropped
    );
    assert_eq!(
        table.requeue_front(agent(101), session, event(2), now),
        PushOutcome::Dropped
    );
    table.sign_out(agent(101), session);
    assert_eq!(
        table.requeue_front(agent(101), session, event(2), now),
        PushOutcome::NoSession
    );
}

#[test]
fn polls_beyond_the_bound_answer_the_oldest_and_dead_ones_go_first() {
    let (table, now) = (table(true), Instant::now());
    let session = signed_in(&table, now).session;
    let polls: Vec<_> = (0..9).map(|_| Poll::park(&table, session, now)).collect();
    assert!(polls[0].is_woken() && polls[1..].iter().all(|poll| !poll.is_woken()));
    assert_eq!(
        table.poll_outcome(agent(101), session, now),
        PollOutcome::Empty
    );
    polls[4].has_left.store(true, Ordering::SeqCst);
    Poll::park(&table, session, now);
    assert!(
        !polls[1].is_woken(),
        "the poll whose client has left must make room"
    );
    assert_eq!(
        Arc::strong_count(&polls[4]),
        1,
        "the table must drop that poll"
    );
}

#[test]
fn a_waker_may_use_the_table() {
    struct Reentrant(Arc<SessionTable>, SessionId);
    impl Wake for Reentrant {
        fn wake(self: Box<Self>) {
            self.0.poll_outcome(agent(101), self.1, Instant::now());
        }
        fn is_live(&self) -> bool {
            true
        }
    }
    impl Drop for Reentrant {
        fn drop(&mut self) {
            self.0.len(Instant::now());
        }
    }
    let (table, now) = (Arc::new(table(true)), Instant::now());
    let session = signed_in(&table, now).session;
    let park = || {
        table.park(
            agent(101),
            session,
            Box::new(Reentrant(Arc::clone(&table), session)),
            now,
        )
    };
    (0..10).for_each(|_| park());
    table.push_event(agent(101), None, event(1), now);
    table.begin_drain();
    park();
    table.sign_out(agent(101), session);
    park();
}

#[test]
fn the_state_of_an_agent_is_kept_in_its_session_and_told_at_once() {
    use super::super::agent_state::{AgentState, StateCommand};
    let (table, now) = (table(true), Instant::now());
    let initial = InitialState {
        state: AgentState::Work,
        auto_enter_idle: false,
    };
    let session = table
        .sign_in(agent(101), false, initial, now, 7)
        .unwrap()
        .session;
    table
        .sign_in(agent(102), false, InitialState::default(), now, 7)
        .unwrap();
    let states = |now| {
        table
            .agents(now)
            .into_iter()
            .map(|known| (known.agent, known.state))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        states(now),
        [
            (agent(101), AgentState::Work),
            (agent(102), AgentState::Idle)
        ]
    );
    let change = |command| table.change_state(agent(101), session, command, now, 9);
    assert_eq!(
        change(StateCommand::CancelBusy),
        Err(StateError::WrongState)
    );
    assert_eq!(change(StateCommand::CancelWork), Ok(()));
    assert_eq!(table.agent_status(agent(101), now), Some(AgentState::Idle));
    let kinds = std::iter::from_fn(|| match table.poll_outcome(agent(101), session, now) {
        PollOutcome::Event(event) => Some(event.kind()),
        _ => None,
    });
    let expected = [
        EventKind::InService,
        EventKind::Ready,
        EventKind::Work,
        EventKind::CancelWork,
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
    let parked = Poll::park(&table, session, now);
    assert_eq!(
        change(StateCommand::SayBusy {
            reason: None,
            prolong: None
        }),
        Ok(())
    );
    assert!(parked.is_woken());
    let info = table.sync_agent_info(agent(101), session, now).unwrap();
    assert_eq!(
        (info.state, info.last_state, info.since_ms),
        (AgentState::Busy, Some(AgentState::Idle), 9)
    );
    assert_eq!(
        table.poll_outcome(agent(101), session, now),
        PollOutcome::Empty,
        "syncagentinfo empties the queue"
    );
    assert!(table.set_auto_enter_idle(agent(101), session, true, now));
    table.sign_out(agent(101), session);
    assert_eq!(change(StateCommand::SayFree), Err(StateError::NotSignedIn));
    assert_eq!(table.agent_status(agent(101), now), None);
    assert_eq!(table.sync_agent_info(agent(101), session, now), None);
    assert!(!table.set_auto_enter_idle(agent(101), session, true, now));
    assert_eq!(table.agents(now + SECOND * 100), []);
}

#[test]
fn the_end_of_a_rest_wakes_a_poll_at_the_next_sweep() {
    use super::super::agent_state::StateCommand;
    let (table, start) = (table(true), Instant::now());
    let session = signed_in(&table, start).session;
    let rest = StateCommand::Rest {
        time: SECOND * 5,
        cause: 0,
        prolong: None,
    };
    table
        .change_state(agent(101), session, rest, start, 1_000)
        .unwrap();
    assert!(matches!(
        table.poll_outcome(agent(101), session, start),
        PollOutcome::Event(_)
    ));
    let parked = Poll::park(&table, session, start);
    table.sweep(start + SECOND * 4);
    assert!(!parked.is_woken());
    table.sweep(start + SECOND * 5);
    assert!(parked.is_woken());
    let timeout = Event::new(EventKind::RestTimeout, 6_000);
    assert_eq!(
        table.poll_outcome(agent(101), session, start + SECOND * 5),
        PollOutcome::Event(timeout)
    );
}

#[test]
fn a_session_lasts_as_long_as_it_is_heard_of() {
    let (table, start) = (table(true), Instant::now());
    let opened = table
        .sign_in(agent(101), false, InitialState::default(), start, 0)
        .unwrap();
    assert!(authenticate(&table, 101, &opened.guid, start + SECOND * 99).is_ok());
    let polled = table.poll_outcome(agent(101), opened.session, start + SECOND * 190);
    assert!(matches!(polled, PollOutcome::Event(_)));
    assert!(
        table
            .authenticate(agent(101), None, start + SECOND * 280)
            .is_err(),
        "a refused request must not prolong the session"
    );
    assert_eq!(table.len(start + SECOND * 289), 1);
    assert_eq!(table.len(start + SECOND * 290), 0);
    assert!(!table.is_open(agent(101), opened.session, start + SECOND * 290));
}

#[test]
fn two_windows_that_share_a_session_both_keep_it() {
    let (table, start) = (table(true), Instant::now());
    let opened = table
        .sign_in(agent(101), false, InitialState::default(), start, 0)
        .unwrap();
    let other = table
        .update_guid(agent(101), opened.session, start + SECOND * 5)
        .unwrap();
    let mut windows = [opened.guid, other];
    for poll in 0..1000 {
        let now = start + SECOND * (10 + 5 * poll);
        let window = &mut windows[usize::try_from(poll % 2).unwrap()];
        let authenticated =
            authenticate(&table, 101, window, now).expect("each window keeps its right");
        if let Some(renewed) = table.renew_if_due(agent(101), &authenticated, now) {
            *window = renewed;
        }
    }
}

#[test]
fn a_renewal_that_is_lost_on_the_way_is_made_up_for() {
    let (table, start) = (table(true), Instant::now());
    let mut guid = table
        .sign_in(agent(101), false, InitialState::default(), start, 0)
        .unwrap()
        .guid;
    let mut renewals = 0;
    for poll in 1..1000 {
        let now = start + SECOND * (10 * poll);
        let authenticated =
            authenticate(&table, 101, &guid, now).expect("the client keeps its right");
        if let Some(renewed) = table.renew_if_due(agent(101), &authenticated, now) {
            renewals += 1;
            // Two of three renewals are lost.
            if renewals % 3 == 0 {
                guid = renewed;
            }
        }
    }
    assert!(renewals > 100);
}

#[test]
fn ten_thousand_sessions_take_far_less_than_forty_megabytes() {
    // A hash map is at worst 7/16 full, just after it has grown, and has one control byte for each
    // place; each allocation takes up to 16 bytes more.
    let place = (size_of::<(AgentId, Session)>() + 1) * 16 / 7;
    let parked = size_of::<Box<dyn Wake>>() + 16;
    let with_guids =
        |guids: usize| (place + parked + guids * size_of::<IssuedGuid>() + 16) * 10_000;
    // With the default settings a session has three Guids.
    assert!(with_guids(4) < 10_000_000, "{}", with_guids(4));
    assert!(
        with_guids(GUIDS_MAX) < 40_000_000,
        "{}",
        with_guids(GUIDS_MAX)
    );
}

#[test]
fn who_is_signed_in_is_listed_with_the_session_and_its_begin() {
    let (table, start) = (table(true), Instant::now());
    let first = table
        .sign_in(agent(101), false, InitialState::default(), start, 0)
        .unwrap();
    let later = start + SECOND * 60;
    let second = table
        .sign_in(agent(102), false, InitialState::default(), later, 0)
        .unwrap();
    let open = |id, session, signed_in| OpenSession {
        agent: agent(id),
        session,
        signed_in,
    };
    let listed = |now| {
        let mut sessions = table.signed_in(now);
        sessions.sort_by_key(|session| session.agent);
        sessions
    };
    assert_eq!(
        listed(later),
        [
            open(101, first.session, start),
            open(102, second.session, later)
        ]
    );
    assert_eq!(
        listed(start + SECOND * 100),
        [open(102, second.session, later)],
        "the other was silent for too long"
    );
    let forced = table
        .sign_in(agent(102), true, InitialState::default(), later + SECOND, 0)
        .unwrap();
    assert_eq!(
        listed(start + SECOND * 100),
        [open(102, forced.session, later + SECOND)]
    );
}

/// A table in which 101 has a full queue and a rest that times out in a second.
fn full_and_resting(start: Instant) -> (SessionTable, SessionId) {
    use super::super::agent_state::StateCommand;
    let table = table(true);
    let session = signed_in(&table, start).session;
    let rest = StateCommand::Rest {
        time: SECOND,
        cause: 0,
        prolong: None,
    };
    table
        .change_state(agent(101), session, rest, start, 0)
        .unwrap();
    for _ in 1..64 {
        let event = Event::new(EventKind::Ready, 0);
        table.push_event(agent(101), None, event, start);
    }
    (table, session)
}

#[test]
fn every_event_that_a_full_queue_loses_is_counted() {
    let start = Instant::now();
    let event = || Event::new(EventKind::Ready, 0);
    let end = start + SECOND;
    type Step = fn(&SessionTable, SessionId, Instant, Event);
    let steps: [(&str, Step); 5] = [
        ("poll", |table, session, end, _| {
            table.poll_outcome(agent(101), session, end);
        }),
        ("park", |table, session, end, _| {
            Poll::park(table, session, end);
        }),
        ("sweep", |table, _, end, _| {
            table.sweep(end);
        }),
        ("push", |table, _, _, event| {
            let now = Instant::now();
            let outcome = table.push_event(agent(101), None, event, now);
            assert_eq!(outcome, PushOutcome::OldestDropped);
        }),
        ("put back", |table, session, _, event| {
            let now = Instant::now();
            let outcome = table.requeue_front(agent(101), session, event, now);
            assert_eq!(outcome, PushOutcome::Dropped);
        }),
    ];
    for (name, step) in steps {
        let (table, session) = full_and_resting(start);
        assert_eq!(table.dropped_events(), 0);
        step(&table, session, end, event());
        assert_eq!(table.dropped_events(), 1, "{name}");
        for lost in 2..4 {
            table.push_event(agent(101), None, event(), end);
            table.push_event(agent(101), None, event(), end);
            // The poll has made room for one event.
            let room = u64::from(name == "poll");
            assert_eq!(table.dropped_events(), 2 * lost - 2 - room + 1, "{name}");
        }
    }
}

#[test]
fn an_event_is_put_back_into_the_session_it_was_taken_from() {
    let (table, now) = (table(true), Instant::now());
    let first = signed_in(&table, now).session;
    let event = || Event::new(EventKind::Ready, 7);
    let put_back = |session| table.requeue_front(agent(101), session, event(), now);
    assert_eq!(put_back(first), PushOutcome::Queued);
    let second = signed_in(&table, now).session;
    assert_eq!(put_back(first), PushOutcome::NoSession);
    assert_eq!(table.dropped_events(), 0);
    assert_eq!(
        table.poll_outcome(agent(101), second, now),
        PollOutcome::Empty
    );
}
