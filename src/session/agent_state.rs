//! The state of an agent, as changed and reported by the presence interfaces (protocol facts,
//! section 9.2).
//!
//! There is no call control, so only the agent's own commands change its state.

use std::time::{Duration, Instant};

use super::event::{Event, EventKind};

/// What an agent is doing, numbered as in `agentState` and `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AgentState {
    /// Takes no calls.
    Busy = 3,
    /// Waits for calls.
    Idle = 4,
    /// In wrap-up.
    Work = 5,
    /// Rests.
    Rest = 8,
}

impl AgentState {
    /// The state requested by `status` of a sign-in: 3 busy, 4 idle, 5 wrap-up.
    pub(crate) fn from_sign_in_status(status: i64) -> Option<AgentState> {
        match status {
            3 => Some(AgentState::Busy),
            4 => Some(AgentState::Idle),
            5 => Some(AgentState::Work),
            _ => None,
        }
    }

    /// The number in `agentState` and `status`.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// The number in `ctiStatus`.
    pub(crate) fn cti_number(self) -> u8 {
        match self {
            AgentState::Busy => 7,
            AgentState::Idle => 1,
            AgentState::Work => 6,
            AgentState::Rest => 8,
        }
    }

    /// The number in `state` and `lastState` of `syncagentinfo`.
    pub(crate) fn sync_number(self) -> u8 {
        match self {
            AgentState::Busy => 4,
            AgentState::Idle => 1,
            AgentState::Work => 2,
            AgentState::Rest => 3,
        }
    }
}

/// A state change that an agent requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateCommand {
    /// `sayfree`.
    SayFree,
    /// `saybusy`; both parameters are mandatory if the agent is already busy.
    SayBusy {
        /// 0 for no reason, or 200 to 250.
        reason: Option<u8>,
        /// Whether to stay busy.
        prolong: Option<bool>,
    },
    /// `cancelbusy`.
    CancelBusy,
    /// `work`.
    Work,
    /// `cancelwork`.
    CancelWork,
    /// `rest`.
    Rest {
        /// How long, 1 to 86 399 s.
        time: Duration,
        /// The cause.
        cause: u8,
        /// Whether to keep resting; mandatory if the agent is already resting.
        prolong: Option<bool>,
    },
    /// `cancelrest`.
    CancelRest,
}

/// Why a state change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateError {
    /// The session is over (100-006).
    NotSignedIn,
    /// The current state does not permit the change (100-009).
    WrongState,
}

/// The result of `syncagentinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncInfo {
    pub(crate) state: AgentState,
    /// The previous state, if there was one in this session.
    pub(crate) last_state: Option<AgentState>,
    /// When the state began, in milliseconds since 1970.
    pub(crate) since_ms: u64,
}

/// The state of an agent within its session.
#[derive(Debug)]
pub(super) struct Presence {
    info: SyncInfo,
    rest_ends: Option<RestEnd>,
    /// `autoenteridle`: whether the agent becomes idle after a call. Stored only, as there are no
    /// calls.
    pub(super) auto_enter_idle: bool,
}

/// When a rest is due to end, on both clocks.
#[derive(Debug, Clone, Copy)]
struct RestEnd {
    ends: Instant,
    epoch_ms: u64,
}

impl Presence {
    /// The state at sign-in.
    pub(super) fn new(state: AgentState, auto_enter_idle: bool, epoch_ms: u64) -> Presence {
        Presence {
            info: SyncInfo {
                state,
                last_state: None,
                since_ms: epoch_ms,
            },
            rest_ends: None,
            auto_enter_idle,
        }
    }

    /// The events of a sign-in in that state, as documented for 3, 4 and 5, the only states to sign
    /// in with.
    pub(super) fn sign_in_events(&self) -> impl Iterator<Item = Event> {
        let ms = self.info.since_ms;
        let further = match self.info.state {
            AgentState::Busy => Some(Event::with_reason(EventKind::SetNotReady, 0, ms)),
            AgentState::Work => Some(Event::new(EventKind::Work, ms)),
            AgentState::Idle | AgentState::Rest => None,
        };
        [EventKind::InService, EventKind::Ready]
            .into_iter()
            .map(move |kind| Event::new(kind, ms))
            .chain(further)
    }

    /// The result of `syncagentinfo`.
    pub(super) fn sync_info(&self) -> SyncInfo {
        self.info
    }

    /// Applies a command and returns the event to queue, if any.
    ///
    /// The interface documents the states for `cancelbusy`, `cancelwork` and `cancelrest`, and what
    /// `saybusy` and `rest` require of an agent that is already busy or resting. `sayfree` ends
    /// busy and wrap-up, and does nothing if idle. Anything undocumented is refused, such as
    /// leaving a rest other than by `cancelrest`, or `work` in wrap-up.
    pub(super) fn apply(
        &mut self,
        command: StateCommand,
        now: Instant,
        epoch_ms: u64,
    ) -> Result<Option<Event>, StateError> {
        use AgentState::{Busy, Idle, Rest, Work};
        let event = |kind| Some(Event::new(kind, epoch_ms));
        let (next, event) = match (command, self.info.state) {
            (StateCommand::SayFree, Idle) => return Ok(None),
            (StateCommand::SayFree | StateCommand::CancelBusy, Busy) => {
                (Idle, event(EventKind::CancelNotReady))
            }
            (StateCommand::SayFree | StateCommand::CancelWork, Work) => {
                (Idle, event(EventKind::CancelWork))
            }
            (StateCommand::CancelRest, Rest) => (Idle, event(EventKind::CancelRest)),
            (StateCommand::SayBusy { reason, .. }, Idle | Work)
            | (
                StateCommand::SayBusy {
                    reason: reason @ Some(_),
                    prolong: Some(_),
                },
                Busy,
            ) => (
                Busy,
                Some(Event::with_reason(
                    EventKind::SetNotReady,
                    reason.unwrap_or(0),
                    epoch_ms,
                )),
            ),
            (StateCommand::Work, Idle | Busy) => (Work, event(EventKind::SetWork)),
            (StateCommand::Rest { cause, .. }, Idle | Busy | Work)
            | (
                StateCommand::Rest {
                    cause,
                    prolong: Some(_),
                    ..
                },
                Rest,
            ) => (
                Rest,
                Some(Event::with_reason(EventKind::SetRest, cause, epoch_ms)),
            ),
            _ => return Err(StateError::WrongState),
        };
        self.rest_ends = match command {
            StateCommand::Rest { time, .. } => now.checked_add(time).map(|ends| RestEnd {
                ends,
                epoch_ms: epoch_ms
                    .saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            }),
            _ => None,
        };
        if next != self.info.state {
            self.info = SyncInfo {
                state: next,
                last_state: Some(self.info.state),
                since_ms: epoch_ms,
            };
        }
        Ok(event)
    }

    /// The event for the end of a rest's time, returned once. The agent keeps resting until it ends
    /// the rest itself.
    pub(super) fn rest_timeout(&mut self, now: Instant) -> Option<Event> {
        let ended = self.rest_ends.filter(|end| end.ends <= now)?;
        self.rest_ends = None;
        Some(Event::new(EventKind::RestTimeout, ended.epoch_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AgentState::{Busy, Idle, Rest, Work};

    const STATES: [AgentState; 4] = [Busy, Idle, Work, Rest];
    const SECOND: Duration = Duration::from_secs(1);

    fn rest(prolong: Option<bool>) -> StateCommand {
        StateCommand::Rest {
            time: SECOND,
            cause: 200,
            prolong,
        }
    }

    fn busy(reason: Option<u8>, prolong: Option<bool>) -> StateCommand {
        StateCommand::SayBusy { reason, prolong }
    }

    #[test]
    fn each_command_leads_from_its_states_to_one_with_the_documented_event() {
        use EventKind::{CancelNotReady, CancelRest, CancelWork, SetNotReady, SetRest, SetWork};
        // The outcome of a command in each state: busy, idle, in wrap-up, resting.
        type Outcome = Option<(AgentState, Option<EventKind>)>;
        let to = |state, kind| Some((state, Some(kind)));
        let table: [(StateCommand, [Outcome; 4]); 10] = [
            (
                StateCommand::SayFree,
                [
                    to(Idle, CancelNotReady),
                    Some((Idle, None)),
                    to(Idle, CancelWork),
                    None,
                ],
            ),
            (
                busy(None, None),
                [None, to(Busy, SetNotReady), to(Busy, SetNotReady), None],
            ),
            (
                busy(Some(200), None),
                [None, to(Busy, SetNotReady), to(Busy, SetNotReady), None],
            ),
            (
                busy(Some(200), Some(true)),
                [
                    to(Busy, SetNotReady),
                    to(Busy, SetNotReady),
                    to(Busy, SetNotReady),
                    None,
                ],
            ),
            (
                StateCommand::CancelBusy,
                [to(Idle, CancelNotReady), None, None, None],
            ),
            (
                StateCommand::Work,
                [to(Work, SetWork), to(Work, SetWork), None, None],
            ),
            (
                StateCommand::CancelWork,
                [None, None, to(Idle, CancelWork), None],
            ),
            (
                rest(None),
                [
                    to(Rest, SetRest),
                    to(Rest, SetRest),
                    to(Rest, SetRest),
                    None,
                ],
            ),
            (
                rest(Some(false)),
                [
                    to(Rest, SetRest),
                    to(Rest, SetRest),
                    to(Rest, SetRest),
                    to(Rest, SetRest),
                ],
            ),
            (
                StateCommand::CancelRest,
                [None, None, None, to(Idle, CancelRest)],
            ),
        ];
        for (command, outcomes) in table {
            for (state, outcome) in STATES.into_iter().zip(outcomes) {
                let mut presence = Presence::new(state, true, 1);
                let applied = presence.apply(command, Instant::now(), 2);
                let reached =
                    applied.map(|event| (presence.info.state, event.map(|event| event.kind())));
                assert_eq!(reached.ok(), outcome, "{command:?} when {state:?}");
                let has_changed = presence.info.state != state;
                let info = SyncInfo {
                    state: presence.info.state,
                    last_state: has_changed.then_some(state),
                    since_ms: if has_changed { 2 } else { 1 },
                };
                assert_eq!(presence.sync_info(), info, "{command:?} when {state:?}");
            }
        }
    }

    #[test]
    fn the_reason_is_told() {
        let mut presence = Presence::new(Idle, true, 0);
        let now = Instant::now();
        for (command, event) in [
            (
                busy(None, None),
                Event::with_reason(EventKind::SetNotReady, 0, 5),
            ),
            (
                busy(Some(210), Some(true)),
                Event::with_reason(EventKind::SetNotReady, 210, 5),
            ),
            (rest(None), Event::with_reason(EventKind::SetRest, 200, 5)),
        ] {
            assert_eq!(presence.apply(command, now, 5), Ok(Some(event)));
        }
    }

    #[test]
    fn the_end_of_the_time_of_a_rest_is_told_once_and_ends_nothing() {
        let (mut presence, start) = (Presence::new(Idle, true, 0), Instant::now());
        presence.apply(rest(None), start, 5_000).unwrap();
        assert_eq!(presence.rest_timeout(start), None);
        assert_eq!(
            presence.rest_timeout(start + SECOND),
            Some(Event::new(EventKind::RestTimeout, 6_000))
        );
        assert_eq!(presence.rest_timeout(start + SECOND), None);
        assert_eq!(presence.info.state, Rest);
        presence.apply(rest(Some(true)), start, 5_000).unwrap();
        presence
            .apply(StateCommand::CancelRest, start, 5_500)
            .unwrap();
        assert_eq!(
            presence.rest_timeout(start + SECOND),
            None,
            "a cancelled rest must not time out"
        );
    }

    #[test]
    fn a_sign_in_has_the_events_of_its_status() {
        use EventKind::{InService, Ready, SetNotReady};
        for (status, kinds) in [
            (3, vec![InService, Ready, SetNotReady]),
            (4, vec![InService, Ready]),
            (5, vec![InService, Ready, EventKind::Work]),
        ] {
            let presence = Presence::new(AgentState::from_sign_in_status(status).unwrap(), true, 7);
            let events: Vec<_> = presence.sign_in_events().collect();
            assert_eq!(events.iter().map(Event::kind).collect::<Vec<_>>(), kinds);
            assert!(
                events
                    .iter()
                    .all(|event| *event == Event::new(event.kind(), 7)
                        || *event == Event::with_reason(SetNotReady, 0, 7))
            );
        }
        assert!(
            [0, 1, 2, 6, 7, 8, 9]
                .iter()
                .all(|status| AgentState::from_sign_in_status(*status).is_none())
        );
    }

    #[test]
    fn the_numbers_of_the_three_tables() {
        let numbers = STATES.map(|state| (state.number(), state.cti_number(), state.sync_number()));
        assert_eq!(numbers, [(3, 7, 4), (4, 1, 1), (5, 6, 2), (8, 8, 3)]);
    }
}
