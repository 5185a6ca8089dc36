//! Invariants of sessions and Guids under random actions of agents, clients and the operator, and
//! random pauses.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::parked_polls::Wake;
use super::super::replaced_sessions::GUIDS_MAX;

const AGENTS: u32 = 3;
const INTERVAL: Duration = Duration::from_millis(60);
const TIMEOUT: Duration = Duration::from_millis(120);
const SILENCE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
enum Step {
    SignIn {
        agent: u32,
        force: bool,
    },
    /// The agent's client that uses renewed Guids polls; the reply may be lost.
    Poll {
        agent: u32,
        lost: bool,
    },
    /// A client uses any Guid ever made, for any agent, at any interface.
    Use {
        agent: u32,
        guid: prop::sample::Index,
        poll: bool,
    },
    UpdateGuid {
        agent: u32,
        guid: prop::sample::Index,
    },
    SignOut {
        agent: u32,
        guid: prop::sample::Index,
    },
    Reload {
        kept: u32,
    },
    Sweep,
    BeginDrain,
    Pass {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let agent = || 0..AGENTS;
    prop_oneof![
        2 => (agent(), any::<bool>()).prop_map(|(agent, force)| Step::SignIn { agent, force }),
        6 => (agent(), prop::bool::weighted(0.1)).prop_map(|(agent, lost)| Step::Poll { agent, lost }),
        4 => (agent(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(agent, guid, poll)| Step::Use { agent, guid, poll }),
        2 => (agent(), any::<prop::sample::Index>()).prop_map(|(agent, guid)| Step::UpdateGuid { agent, guid }),
        1 => (agent(), any::<prop::sample::Index>()).prop_map(|(agent, guid)| Step::SignOut { agent, guid }),
        1 => (0..1_u32 << AGENTS).prop_map(|kept| Step::Reload { kept }),
        1 => Just(Step::Sweep),
        1 => Just(Step::BeginDrain),
        6 => (0_u64..70).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// A Guid some client has received.
struct Known {
    fingerprint: Fingerprint,
    agent: u32,
    session: SessionId,
    issued: Instant,
    /// Whether a reply has carried its successor.
    renewed: bool,
}

/// The expected state of a session.
struct Expected {
    id: SessionId,
    last_seen: Instant,
    newest: usize,
    /// The Guid of the client that uses renewed Guids.
    followed: usize,
    parked: Arc<AtomicBool>,
}

/// A session that a forced sign-in has ended, with the Guids its clients could still use then.
struct Past {
    agent: u32,
    session: SessionId,
    at: Instant,
    live: Vec<usize>,
}

struct Flag(Arc<AtomicBool>);

impl Wake for Flag {
    fn wake(self: Box<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_live(&self) -> bool {
        true
    }
}

struct World {
    dynamic: bool,
    table: SessionTable,
    now: Instant,
    guids: Vec<Known>,
    sessions: HashMap<u32, Expected>,
    replaced: Vec<Past>,
    is_draining: bool,
}

fn id(agent: u32) -> AgentId {
    AgentId::parse(&(101 + agent).to_string(), 999).unwrap()
}

impl World {
    fn new(dynamic: bool) -> World {
        let policy = Policy {
            dynamic,
            guid_interval: INTERVAL,
            guid_timeout: TIMEOUT,
            idle_timeout: Some(SILENCE),
            guid_suffix: "AgentGateway0".to_owned(),
        };
        let (table, now) = (SessionTable::new(policy), Instant::now());
        World {
            dynamic,
            table,
            now,
            guids: Vec::new(),
            sessions: HashMap::new(),
            replaced: Vec::new(),
            is_draining: false,
        }
    }

    fn learn(&mut self, agent: u32, session: SessionId, guid: &Guid) -> usize {
        self.guids.push(Known {
            fingerprint: guid.fingerprint(),
            agent,
            session,
            issued: self.now,
            renewed: false,
        });
        self.guids.len() - 1
    }

    fn end_silent(&mut self) {
        let now = self.now;
        self.sessions
            .retain(|_, session| now - session.last_seen < SILENCE);
    }

    fn expected(&self, agent: u32, guid: usize) -> Result<SessionId, AuthError> {
        let session = self.sessions.get(&agent).ok_or(AuthError::NotSignedIn)?;
        let known = &self.guids[guid];
        let own = known.agent == agent && known.session == session.id;
        let fresh = !self.dynamic || guid == session.newest || self.now - known.issued < TIMEOUT;
        if own && fresh {
            return Ok(session.id);
        }
        let is_remembered = self
            .past(agent, guid)
            .is_some_and(|past| past.live.contains(&guid));
        Err(if is_remembered {
            AuthError::NotSignedIn
        } else {
            AuthError::NoRight
        })
    }

    /// The session of that Guid, if it was replaced lately.
    fn past(&self, agent: u32, guid: usize) -> Option<&Past> {
        let mut latest = self
            .replaced
            .iter()
            .rev()
            .filter(|past| past.agent == agent)
            .take(4);
        latest.find(|past| past.session == self.guids[guid].session && self.now - past.at < TIMEOUT)
    }

    /// A client presents a Guid; asserts that the outcome is the expected one.
    fn present(&mut self, agent: u32, guid: usize) -> Option<Authenticated> {
        let outcome =
            self.table
                .authenticate(id(agent), Some(&self.guids[guid].fingerprint), self.now);
        let is_expired = self
            .past(agent, guid)
            .is_some_and(|past| !past.live.contains(&guid));
        if is_expired {
            // Either error is correct: which one depends on whether the Guid was still in the
            // history when its session was replaced.
            assert!(outcome.is_err());
            return None;
        }
        assert_eq!(
            outcome
                .as_ref()
                .map(|authenticated| authenticated.session)
                .map_err(|denied| *denied),
            self.expected(agent, guid)
        );
        let authenticated = outcome.ok()?;
        let now = self.now;
        self.sessions
            .entry(agent)
            .and_modify(|session| session.last_seen = now);
        Some(authenticated)
    }

    /// The reply to a poll; returns the new Guid, if it carries one.
    fn renew(&mut self, agent: u32, used: usize, authenticated: &Authenticated) -> Option<usize> {
        let age = self.now - self.guids[used].issued;
        let renewed = self.table.renew_if_due(id(agent), authenticated, self.now);
        if renewed.is_some() {
            assert!(self.dynamic && age >= INTERVAL, "renewed too early");
            self.guids[used].renewed = true;
        } else {
            assert!(
                !self.dynamic || age < INTERVAL || self.guids[used].renewed,
                "no successor"
            );
        }
        let place = self.learn(agent, authenticated.session, &renewed?);
        self.sessions
            .entry(agent)
            .and_modify(|session| session.newest = place);
        Some(place)
    }

    fn take(&mut self, step: &Step) {
        self.end_silent();
        match *step {
            Step::SignIn { agent, force } => self.sign_in(agent, force),
            Step::Poll { agent, lost } => {
                let Some(used) = self.sessions.get(&agent).map(|session| session.followed) else {
                    return;
                };
                let Some(authenticated) = self.present(agent, used) else {
                    return;
                };
                if let Some(place) = self.renew(agent, used, &authenticated).filter(|_| !lost) {
                    self.sessions
                        .entry(agent)
                        .and_modify(|session| session.followed = place);
                }
            }
            Step::Use { .. } | Step::UpdateGuid { .. } | Step::SignOut { .. }
                if self.guids.is_empty() => {}
            Step::Use { agent, guid, poll } => {
                let used = guid.index(self.guids.len());
                if let Some(authenticated) = self.present(agent, used).filter(|_| poll) {
                    self.renew(agent, used, &authenticated);
                }
            }
            Step::UpdateGuid { agent, guid } => {
                if let Some(authenticated) = self.present(agent, guid.index(self.guids.len())) {
                    let made = self
                        .table
                        .update_guid(id(agent), authenticated.session, self.now)
                        .expect("the session is open");
                    let place = self.learn(agent, authenticated.session, &made);
                    self.sessions
                        .entry(agent)
                        .and_modify(|session| session.newest = place);
                }
            }
            Step::SignOut { agent, guid } => {
                if let Some(authenticated) = self.present(agent, guid.index(self.guids.len())) {
                    assert!(self.table.sign_out(id(agent), authenticated.session));
                    assert!(!self.table.sign_out(id(agent), authenticated.session));
                    self.gone(agent);
                }
            }
            Step::Reload { kept } => {
                let revoked: Vec<_> = (0..AGENTS).filter(|agent| kept & 1 << agent == 0).collect();
                self.table
                    .revoke(&revoked.iter().map(|agent| id(*agent)).collect::<Vec<_>>());
                revoked.into_iter().for_each(|agent| self.gone(agent));
            }
            Step::Sweep => drop(self.table.sweep(self.now)),
            Step::BeginDrain => {
                self.table.begin_drain();
                self.is_draining = true;
            }
            Step::Pass { millis } => self.now += Duration::from_millis(millis),
        }
    }

    fn sign_in(&mut self, agent: u32, force: bool) {
        let before = self.sessions.contains_key(&agent);
        match self
            .table
            .sign_in(id(agent), force, InitialState::default(), self.now, 0)
        {
            Err(_) => assert!(before && !force),
            Ok(opened) => {
                assert!(!before || force, "a second session of one agent");
                if before {
                    self.remember(agent);
                }
                self.gone(agent);
                let place = self.learn(agent, opened.session, &opened.guid);
                let session = Expected {
                    id: opened.session,
                    last_seen: self.now,
                    newest: place,
                    followed: place,
                    parked: Arc::default(),
                };
                let waker = Box::new(Flag(Arc::clone(&session.parked)));
                self.sessions.insert(agent, session);
                self.present(agent, place)
                    .expect("a new Guid gives a right");
                let mut events = 0;
                while let PollOutcome::Event(_) =
                    self.table.poll_outcome(id(agent), opened.session, self.now)
                {
                    events += 1;
                }
                assert_eq!(
                    events, 2,
                    "a new session must have only the events of its sign-in"
                );
                self.table.park(id(agent), opened.session, waker, self.now);
            }
        }
    }

    /// Records that the session of `agent` is about to be replaced.
    fn remember(&mut self, agent: u32) {
        let session = self.sessions[&agent].id;
        let live: Vec<_> = (0..self.guids.len())
            .filter(|guid| self.expected(agent, *guid).is_ok())
            .collect();
        let live = live[live.len().saturating_sub(GUIDS_MAX)..].to_vec();
        self.replaced.push(Past {
            agent,
            session,
            at: self.now,
            live,
        });
    }

    fn gone(&mut self, agent: u32) {
        if let Some(session) = self.sessions.remove(&agent) {
            assert!(
                session.parked.load(Ordering::SeqCst),
                "a parked poll was not woken at the end of its session"
            );
            assert!(!self.table.is_open(id(agent), session.id, self.now));
            let is_replaced = self
                .replaced
                .last()
                .is_some_and(|past| past.session == session.id);
            let outcome = if is_replaced {
                PollOutcome::Replaced
            } else {
                PollOutcome::Ended
            };
            assert_eq!(
                self.table.poll_outcome(id(agent), session.id, self.now),
                outcome
            );
        }
    }

    /// The step, unless it would end the session of agent 0 or act as its polling client. Other
    /// windows and other agents are not restricted.
    fn harmless(&self, step: &Step) -> Option<Step> {
        let followed = self.sessions.get(&0).map(|session| session.followed);
        match *step {
            Step::SignIn {
                agent: 0,
                force: true,
            }
            | Step::SignOut { agent: 0, .. } => None,
            Step::Poll { agent: 0, .. } | Step::Pass { .. } => None,
            Step::Use { agent: 0, guid, .. } if Some(guid.index(self.guids.len())) == followed => {
                None
            }
            Step::Reload { kept } => Some(Step::Reload { kept: kept | 1 }),
            _ => Some(step.clone()),
        }
    }

    /// Asserts the rights that every Guid ever made gives for every agent.
    fn check_all(&mut self) {
        self.end_silent();
        assert_eq!(self.table.len(self.now), self.sessions.len());
        assert!(
            self.is_draining
                || self
                    .sessions
                    .values()
                    .all(|session| !session.parked.load(Ordering::SeqCst))
        );
        for guid in 0..self.guids.len() {
            for agent in 0..AGENTS {
                self.present(agent, guid);
            }
        }
    }
}

proptest! {
    #[test]
    fn guids_give_the_rights_of_their_own_session_and_no_other(
        dynamic in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(dynamic);
        steps.iter().for_each(|step| world.take(step));
        world.check_all();
    }

    #[test]
    fn a_polling_client_that_follows_renewals_never_loses_its_session(
        dynamic in any::<bool>(),
        before in prop::collection::vec(step(), 0..20),
        pauses in prop::collection::vec(0_u64..100, 1..100),
    ) {
        let mut world = World::new(dynamic);
        before.iter().for_each(|step| world.take(step));
        world.end_silent();
        world.sign_in(0, true);
        for millis in pauses {
            world.now += Duration::from_millis(millis);
            prop_assert!(world.expected(0, world.sessions[&0].followed).is_ok());
            world.take(&Step::Poll { agent: 0, lost: false });
        }
    }

    #[test]
    fn whatever_else_happens_in_a_session_its_polling_client_keeps_it(
        dynamic in any::<bool>(),
        rounds in prop::collection::vec((0_u64..55, prop::collection::vec(step(), 0..3)), 1..40),
    ) {
        let mut world = World::new(dynamic);
        world.sign_in(0, true);
        for (millis, others) in rounds {
            others.iter().for_each(|step| if let Some(step) = world.harmless(step) { world.take(&step) });
            world.now += Duration::from_millis(millis);
            prop_assert!(world.expected(0, world.sessions[&0].followed).is_ok());
            world.take(&Step::Poll { agent: 0, lost: false });
        }
    }
}
