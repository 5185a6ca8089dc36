use super::super::guid_history::{GUIDS_MAX, IssuedGuid};
use super::*;
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

fn admit(table: &SessionTable, id: u32, guid: &Guid, now: Instant) -> Result<Authenticated, AuthError> {
    table.authenticate(agent(id), Some(&guid.fingerprint()), now)
}

#[test]
fn only_the_guid_of_the_agent_itself_gives_a_right() {
    let (table, now) = (table(true), Instant::now());
    let first = table.sign_in(agent(101), false, now).unwrap();
    let second = table.sign_in(agent(102), false, now).unwrap();
    assert_eq!(admit(&table, 101, &first.guid, now).unwrap().session, first.session);
    assert_eq!(admit(&table, 101, &second.guid, now).unwrap_err(), AuthError::NoRight);
    assert_eq!(table.authenticate(agent(101), None, now).unwrap_err(), AuthError::NoRight);
    assert_eq!(admit(&table, 103, &first.guid, now).unwrap_err(), AuthError::NotSignedIn);
    assert_eq!(table.authenticate(agent(103), None, now).unwrap_err(), AuthError::NotSignedIn);
    assert_eq!(table.len(now), 2);
}

#[test]
fn a_second_sign_in_is_refused_unless_forced() {
    let (table, now) = (table(true), Instant::now());
    let first = table.sign_in(agent(101), false, now).unwrap();
    assert!(!first.replaced);
    let parked = admit(&table, 101, &first.guid, now).unwrap();
    assert!(matches!(table.sign_in(agent(101), false, now), Err(SignInError::AlreadySignedIn)));
    assert!(!parked.answer_now.is_raised());
    let second = table.sign_in(agent(101), true, now).unwrap();
    assert!(second.replaced && parked.answer_now.is_raised());
    assert!(!table.still_open(agent(101), first.session, now));
    assert!(table.still_open(agent(101), second.session, now));
    assert_eq!(admit(&table, 101, &first.guid, now).unwrap_err(), AuthError::NoRight);
    assert!(!table.sign_out(agent(101), first.session), "the earlier session cannot end the later");
}

#[test]
fn every_end_of_a_session_is_felt_by_its_parked_poll() {
    type End = fn(&SessionTable, SessionId, Instant) -> bool;
    let start = Instant::now();
    let endings: [(&str, End); 6] = [
        ("sign-out", |table, session, _| table.sign_out(agent(101), session)),
        ("forced sign-in", |table, _, now| table.sign_in(agent(101), true, now).is_ok()),
        ("reload", |table, _, _| table.retain(|agent| agent.number() != 101) == 1),
        ("sweep", |table, _, now| table.sweep(now + SECOND * 100) == 1),
        ("late request", |table, _, now| table.authenticate(agent(101), None, now + SECOND * 100).is_err()),
        ("late sign-in", |table, _, now| !table.sign_in(agent(101), false, now + SECOND * 100).unwrap().replaced),
    ];
    for (name, end) in endings {
        let table = table(true);
        let opened = table.sign_in(agent(101), false, start).unwrap();
        let parked = admit(&table, 101, &opened.guid, start).unwrap();
        assert!(end(&table, opened.session, start), "{name}");
        assert!(parked.answer_now.is_raised(), "{name}");
        assert!(!table.still_open(agent(101), opened.session, start), "{name}");
        assert!(table.renew_if_due(agent(101), &parked, start + SECOND * 60).is_none(), "{name}");
        assert!(table.update_guid(agent(101), opened.session, start).is_none(), "{name}");
    }
}

#[test]
fn waking_all_ends_nothing() {
    let (table, now) = (table(true), Instant::now());
    let opened = table.sign_in(agent(101), false, now).unwrap();
    let parked = admit(&table, 101, &opened.guid, now).unwrap();
    table.wake_all();
    assert!(parked.answer_now.is_raised());
    assert!(table.still_open(agent(101), opened.session, now));
    assert!(admit(&table, 101, &opened.guid, now).unwrap().answer_now.is_raised());
}

#[test]
fn a_session_lasts_as_long_as_it_is_heard_of() {
    let (table, start) = (table(true), Instant::now());
    let opened = table.sign_in(agent(101), false, start).unwrap();
    assert!(admit(&table, 101, &opened.guid, start + SECOND * 99).is_ok());
    table.touch(agent(101), opened.session, start + SECOND * 190);
    assert!(table.authenticate(agent(101), None, start + SECOND * 280).is_err(), "a refused request is not heard");
    assert_eq!(table.len(start + SECOND * 289), 1);
    assert_eq!(table.len(start + SECOND * 290), 0);
    assert!(!table.still_open(agent(101), opened.session, start + SECOND * 290));
}

#[test]
fn two_windows_that_share_a_session_both_keep_it() {
    let (table, start) = (table(true), Instant::now());
    let opened = table.sign_in(agent(101), false, start).unwrap();
    let other = table.update_guid(agent(101), opened.session, start + SECOND * 5).unwrap();
    let mut windows = [opened.guid, other];
    for poll in 0..1000 {
        let now = start + SECOND * (10 + 5 * poll);
        let window = &mut windows[usize::try_from(poll % 2).unwrap()];
        let admitted = admit(&table, 101, window, now).expect("each keeps its right");
        if let Some(renewed) = table.renew_if_due(agent(101), &admitted, now) {
            *window = renewed;
        }
    }
}

#[test]
fn a_renewal_that_is_lost_on_the_way_is_made_up_for() {
    let (table, start) = (table(true), Instant::now());
    let mut guid = table.sign_in(agent(101), false, start).unwrap().guid;
    let mut renewals = 0;
    for poll in 1..1000 {
        let now = start + SECOND * (10 * poll);
        let admitted = admit(&table, 101, &guid, now).expect("the client keeps its right");
        if let Some(renewed) = table.renew_if_due(agent(101), &admitted, now) {
            renewals += 1;
            // Two of three renewals never arrive.
            if renewals % 3 == 0 {
                guid = renewed;
            }
        }
    }
    assert!(renewals > 100);
}

#[test]
fn ten_thousand_sessions_take_far_less_than_forty_megabytes() {
    // A hash map is at worst 7/16 full, just after it has grown, and has a byte of its own for each place; each
    // allocation costs its allocator up to 16 bytes more.
    let place = (size_of::<(AgentId, Session)>() + 1) * 16 / 7;
    let latch = size_of::<Latch>() + 2 * size_of::<usize>() + 16;
    let with_guids = |guids: usize| (place + latch + guids * size_of::<IssuedGuid>() + 16) * 10_000;
    // Three Guids are the case of default settings.
    assert!(with_guids(4) < 8_000_000, "{}", with_guids(4));
    assert!(with_guids(GUIDS_MAX) < 40_000_000, "{}", with_guids(GUIDS_MAX));
}
