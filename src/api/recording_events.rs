//! Events for new recordings, and the thread that schedules the scans of the mounts.

use std::io;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::gateway::Gateway;
use super::sign_in::epoch_ms;
use crate::config::{MountPoint, Settings};
use crate::ops::counters::Counter;
use crate::ops::spawn;
use crate::ops::sync::{lock, wait_while};
use crate::recording::{Arrival, ArrivalWatch, MediaKind, Mounts, Scope, Suffixes, WatchedAgent};
use crate::session::{Event, Media, OpenSession, PushOutcome, RecordContent, StopRecordContent};

/// How often expired sessions are removed and timed events are queued.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time between two scans for newly signed-in agents, so that a shift change causes ten
/// scans a second rather than one per agent.
const NEW_AGENTS_INTERVAL: Duration = Duration::from_millis(100);

/// Small, because scans run on the mounts' own threads.
const STACK_SIZE: usize = 128 * 1024;

/// `locationId` outside pool mode, as in the documented samples.
const NO_LOCATION: u32 = 65_535;

/// `recordFormat` "default"; the recorder's encoding is unknown here.
const DEFAULT_FORMAT: u8 = 0;

/// The scanned mounts, and a counter of events.
pub(super) struct RecordingEvents {
    /// Empty if IF_SUPPORT_VIDEO is OFF or RECORD_SCAN_INTERVAL is 0.
    pub(super) watches: Vec<ArrivalWatch>,
    interval: Option<Duration>,
    wakeup: Wakeup,
    /// Recording events queued so far.
    pub(super) queued: Counter,
}

impl RecordingEvents {
    pub(super) fn new(settings: &Settings, mounts: &Mounts) -> RecordingEvents {
        let interval = settings
            .record_scan_interval
            .filter(|_| settings.support_video);
        let suffixes = Suffixes {
            audio: settings.audio_suffixes.clone(),
            video: settings.video_suffixes.clone(),
        };
        RecordingEvents {
            watches: interval.map_or_else(Vec::new, |_| mounts.arrival_watches(&suffixes)),
            interval,
            wakeup: Wakeup::default(),
            queued: Counter::default(),
        }
    }

    /// Triggers a scan after a sign-in, so that recordings already in the agent's folders are not
    /// announced later.
    pub(super) fn agent_signed_in(&self) {
        self.wakeup.notify(|reasons| reasons.new_agents = true);
    }
}

/// Wakes the thread before its next deadline.
#[derive(Debug, Default)]
struct Wakeup {
    reasons: Mutex<Reasons>,
    condvar: Condvar,
}

/// Why the thread was woken.
#[derive(Debug, Default)]
struct Reasons {
    new_agents: bool,
    scan_ended: bool,
    stop: bool,
}

impl Wakeup {
    fn notify(&self, note: impl FnOnce(&mut Reasons)) {
        note(&mut lock(&self.reasons));
        self.condvar.notify_one();
    }

    fn wait_until(&self, deadline: Instant) -> Reasons {
        let is_quiet =
            |reasons: &mut Reasons| !(reasons.new_agents || reasons.scan_ended || reasons.stop);
        let reasons = lock(&self.reasons);
        std::mem::take(&mut *wait_while(&self.condvar, reasons, deadline, is_quiet))
    }
}

/// The thread for work that no request triggers: it expires sessions, queues timed events, and
/// schedules the scans of the mounts. Dropping this stops it.
pub(crate) struct EventThread {
    gateway: Arc<Gateway>,
    thread: Option<JoinHandle<()>>,
}

impl EventThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the thread cannot be spawned.
    pub(crate) fn start(gateway: &Arc<Gateway>) -> io::Result<EventThread> {
        let own_gateway = Arc::clone(gateway);
        let run = move || Schedule::new(&own_gateway).run();
        let thread = spawn("events", STACK_SIZE, run)?;
        Ok(EventThread {
            gateway: Arc::clone(gateway),
            thread: Some(thread),
        })
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        self.gateway
            .recording_events
            .wakeup
            .notify(|reasons| reasons.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The deadlines of the thread.
struct Schedule<'a> {
    gateway: &'a Arc<Gateway>,
    events: &'a RecordingEvents,
    mounts: Vec<MountSchedule>,
    sweep_at: Instant,
    /// `None` if scans are off.
    round_at: Option<Instant>,
    /// Whether agents await their first scan, and the earliest time for it.
    has_new_agents: bool,
    new_agents_from: Instant,
}

/// The scans of one mount: the latest one started, and the next one, to start when it has ended.
#[derive(Debug, Clone, Copy, Default)]
struct MountSchedule {
    last_scope: Option<Scope>,
    requested: Option<Scope>,
}

impl Schedule<'_> {
    fn new(gateway: &Arc<Gateway>) -> Schedule<'_> {
        let (events, now) = (&gateway.recording_events, Instant::now());
        Schedule {
            gateway,
            events,
            mounts: vec![MountSchedule::default(); events.watches.len()],
            sweep_at: now + SWEEP_INTERVAL,
            round_at: events.interval.map(|interval| now + interval),
            has_new_agents: false,
            new_agents_from: now,
        }
    }

    fn run(&mut self) {
        loop {
            let reasons = self.events.wakeup.wait_until(self.next());
            if reasons.stop {
                return;
            }
            self.step(reasons.new_agents, Instant::now());
        }
    }

    /// Does what is due.
    fn step(&mut self, are_new_agents: bool, now: Instant) {
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_INTERVAL;
            self.gateway.sessions.sweep(now);
        }
        self.has_new_agents |= are_new_agents;
        if self.has_new_agents && now >= self.new_agents_from {
            self.has_new_agents = false;
            self.new_agents_from = now + NEW_AGENTS_INTERVAL;
            self.mounts
                .iter_mut()
                .for_each(|mount| mount.requested = mount.requested.or(Some(Scope::NewAgents)));
        }
        if let (Some(at), Some(interval)) = (self.round_at, self.events.interval)
            && now >= at
        {
            self.round_at = Some(now + interval);
            self.begin_round();
        }
        if !self.gateway.is_draining() {
            self.scan(now);
        }
    }

    fn next(&self) -> Instant {
        let new_agents = self.has_new_agents.then_some(self.new_agents_from);
        [self.round_at, new_agents]
            .into_iter()
            .flatten()
            .fold(self.sweep_at, Instant::min)
    }

    /// Requests a full scan of every mount, except where the previous one is still running.
    fn begin_round(&mut self) {
        for (mount, watch) in self.mounts.iter_mut().zip(&self.events.watches) {
            if watch.is_scanning() && mount.last_scope == Some(Scope::All) {
                watch.skip();
            } else {
                mount.requested = Some(Scope::All);
            }
        }
    }

    /// Starts the requested scans whose mount is not being scanned.
    fn scan(&mut self, now: Instant) {
        let mut listed: Option<Arc<[OpenSession]>> = None;
        for (index, (mount, watch)) in self.mounts.iter_mut().zip(&self.events.watches).enumerate()
        {
            let Some(scope) = mount.requested.filter(|_| !watch.is_scanning()) else {
                continue;
            };
            let sessions = Arc::clone(listed.get_or_insert_with(|| {
                let mut sessions = self.gateway.sessions.signed_in(now);
                sessions.sort_unstable_by_key(|session| session.agent);
                sessions.into()
            }));
            let agents = sessions.iter().map(watched).collect();
            let gateway = Arc::downgrade(self.gateway);
            let begun = watch.scan(agents, scope, move |scan| {
                // A hung file server may outlast the gateway.
                let Some(gateway) = Weak::upgrade(&gateway) else {
                    return;
                };
                if let Some(watch) = gateway.recording_events.watches.get(index) {
                    gateway.announce(&sessions, watch.point, &scan.arrivals);
                }
                gateway
                    .recording_events
                    .wakeup
                    .notify(|reasons| reasons.scan_ended = true);
            });
            if begun {
                *mount = MountSchedule {
                    last_scope: Some(scope),
                    requested: None,
                };
            }
        }
    }
}

fn watched(session: &OpenSession) -> WatchedAgent {
    WatchedAgent {
        number: session.agent.number(),
        since: session.signed_in,
    }
}

impl Gateway {
    /// Queues the events of arrivals, each only for the session it was found for. `sessions` are
    /// the scanned ones, sorted by agent.
    fn announce(
        &self,
        sessions: &[OpenSession],
        point: MountPoint,
        arrivals: &[(WatchedAgent, Arrival)],
    ) {
        let now = epoch_ms(SystemTime::now());
        for (agent, arrival) in arrivals {
            let found =
                sessions.binary_search_by_key(&agent.number, |session| session.agent.number());
            let Some(session) = found.ok().and_then(|index| sessions.get(index)) else {
                continue;
            };
            let outcome = self.sessions.push_event(
                session.agent,
                Some(session.session),
                event(arrival, point, now),
                Instant::now(),
            );
            if matches!(outcome, PushOutcome::Queued | PushOutcome::OldestDropped) {
                self.recording_events.queued.add(1);
            }
        }
    }
}

/// The event of an arrival. Caller and called number are unknown and stay empty.
fn event(arrival: &Arrival, point: MountPoint, now_ms: u64) -> Event {
    let recording = &arrival.recording;
    let media = match recording.kind() {
        MediaKind::Audio => Media::Audio,
        MediaKind::Video => Media::Video,
    };
    let task_id = arrival.task_id.into();
    let begin_ms = since_1970(arrival.begin_time_ms);
    // The real call id is unknown; this has the form of the documented samples.
    let call_id = &format!("{}-{}", begin_ms / 1000, begin_ms % 1000);
    match arrival.end_time_ms {
        None => {
            let content = RecordContent {
                task_id,
                caller: "",
                called: "",
                record_id: &recording.serial(point.drive),
                location_id: point.location.unwrap_or(NO_LOCATION),
                file_name: &recording.record_id(point.drive),
                call_id,
            };
            Event::record(media, &content, now_ms)
        }
        Some(end_time_ms) => {
            let content = StopRecordContent {
                begin_ms,
                end_ms: since_1970(end_time_ms),
                record_format: DEFAULT_FORMAT,
                task_id,
                call_id,
            };
            Event::stop_record_done(media, &content, now_ms)
        }
    }
}

fn since_1970(time_ms: i64) -> u64 {
    u64::try_from(time_ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{Desk, agent};
    use crate::config::Drive;
    use crate::recording::Recording;
    use crate::recording::scratch::eventually;
    use crate::session::{InitialState, PollOutcome};
    use std::sync::atomic::Ordering;

    /// With a mount that is scanned once an hour.
    fn watching() -> Desk {
        Desk::with("RECORD_SCAN_INTERVAL=3600000")
    }

    fn sign_in(gateway: &Gateway, number: u32) -> OpenSession {
        let (now, initial) = (Instant::now(), InitialState::default());
        let opened = gateway
            .sessions
            .sign_in(agent(number), true, initial, now, 0)
            .unwrap();
        for _ in 0..2 {
            gateway
                .sessions
                .poll_outcome(agent(number), opened.session, now);
        }
        OpenSession {
            agent: agent(number),
            session: opened.session,
            signed_in: now,
        }
    }

    fn recording(name: &str, kind: MediaKind) -> Recording {
        let segment = |text| crate::recording::Segment::parse(text).unwrap();
        let folders = ["3", "0", "20261124", "101"].map(segment);
        Recording::new(folders, segment(name), kind)
    }

    fn started(name: &str, kind: MediaKind) -> Arrival {
        Arrival {
            recording: recording(name, kind),
            task_id: 6110,
            size: 1,
            begin_time_ms: 1_795_511_730_412,
            end_time_ms: None,
        }
    }

    fn point(location: Option<u32>) -> MountPoint {
        MountPoint {
            location,
            drive: Drive::default(),
        }
    }

    #[test]
    fn an_arrival_becomes_the_event_of_its_kind() {
        let finished = |kind, begin_time_ms, end_time_ms| Arrival {
            recording: recording("0915307.V3", kind),
            task_id: 6110,
            size: 1,
            begin_time_ms,
            end_time_ms: Some(end_time_ms),
        };
        for (arrival, location, content) in [
            (
                started("0915307.V3", MediaKind::Audio),
                None,
                r#"{"taskId":6110,"caller":"","recordID":"Yc1v3a101d20261124t0915307","called":"","locationId":"65535","fileName":"Y:/3/0/20261124/101/0915307.V3","fileMediaType":"1","callId":"1795511730-412"}"#,
            ),
            (
                started("0915307.mp4", MediaKind::Video),
                Some(255),
                r#"{"recordID":"Yc1v3a101d20261124t0915307.","callId":"1795511730-412","fileName":"Y:/3/0/20261124/101/0915307.mp4","caller":"","called":"","locationId":"255","taskId":6110,"fileMediaType":2}"#,
            ),
            // The second dot is part of the name, and is kept.
            (
                started("0915307..V3", MediaKind::Audio),
                None,
                r#"{"taskId":6110,"caller":"","recordID":"Yc1v3a101d20261124t0915307.","called":"","locationId":"65535","fileName":"Y:/3/0/20261124/101/0915307..V3","fileMediaType":"1","callId":"1795511730-412"}"#,
            ),
            (
                finished(MediaKind::Audio, 1_795_511_730_412, 1_795_511_772_000),
                None,
                r#"{"beginTime":1795511730412,"endTime":1795511772000,"fileMediaType":"1","recordFormat":"0","taskId":6110,"callId":"1795511730-412"}"#,
            ),
            (
                finished(MediaKind::Video, -1, -1),
                None,
                r#"{"beginTime":0,"endTime":0,"fileMediaType":2,"recordFormat":"0","taskId":6110,"callId":"0-0"}"#,
            ),
        ] {
            let body = event(&arrival, point(location), 7).poll_body(agent(101));
            assert!(
                body.ends_with(&format!(
                    r#""eventGenTime":7,"workNo":"101","content":{content}}}}}"#
                )),
                "{body}"
            );
        }
    }

    #[test]
    fn an_event_reaches_the_session_it_was_found_for_and_no_later_one() {
        let desk = Desk::with("");
        let gateway = &desk.gateway;
        let [first, second] = [101, 103].map(|number| sign_in(gateway, number));
        let arrival = |number| {
            let watched = WatchedAgent {
                number,
                since: Instant::now(),
            };
            (watched, started("0915307.V3", MediaKind::Audio))
        };
        let arrivals = [101, 102, 103, 104].map(arrival);
        gateway.announce(&[first, second], point(None), &arrivals);
        assert_eq!(gateway.recording_events.queued.value(), 2);
        for session in [first, second] {
            let outcome =
                gateway
                    .sessions
                    .poll_outcome(session.agent, session.session, Instant::now());
            assert!(matches!(outcome, PollOutcome::Event(_)));
        }
        sign_in(gateway, 101);
        gateway.announce(&[first], point(None), &arrivals);
        assert_eq!(gateway.recording_events.queued.value(), 2);
        // An event that replaces the oldest one of a full queue counts as queued, too.
        for _ in 0..70 {
            gateway.announce(&[second], point(None), &arrivals);
        }
        assert_eq!(gateway.recording_events.queued.value(), 72);
    }

    #[test]
    fn a_session_is_watched_since_it_began() {
        let session = sign_in(&Desk::with("").gateway, 101);
        let expected = WatchedAgent {
            number: 101,
            since: session.signed_in,
        };
        assert_eq!(watched(&session), expected);
    }

    #[test]
    fn the_thread_wakes_for_whatever_is_due_first() {
        let desk = watching();
        let gateway = &desk.gateway;
        let mut schedule = Schedule::new(gateway);
        let began = schedule.new_agents_from;
        let after = |ms| began + Duration::from_millis(ms);
        assert_eq!(schedule.sweep_at, after(1000));
        assert_eq!(schedule.round_at, Some(after(3_600_000)));
        assert_eq!(schedule.next(), after(1000));
        schedule.round_at = Some(after(900));
        assert_eq!(schedule.next(), after(900));
        schedule.new_agents_from = after(800);
        assert_eq!(schedule.next(), after(900));
        schedule.has_new_agents = true;
        assert_eq!(schedule.next(), after(800));
    }

    #[test]
    fn a_wakeup_tells_its_reasons_once_and_ends_at_its_deadline() {
        let wakeup = Wakeup::default();
        let long = Instant::now() + Duration::from_secs(60);
        let notes: [fn(&mut Reasons); 3] = [
            |reasons| reasons.new_agents = true,
            |reasons| reasons.scan_ended = true,
            |reasons| reasons.stop = true,
        ];
        for (index, note) in notes.into_iter().enumerate() {
            wakeup.notify(note);
            let reasons = wakeup.wait_until(long);
            let told = [reasons.new_agents, reasons.scan_ended, reasons.stop];
            assert_eq!(told, [0, 1, 2].map(|other| other == index));
        }
        assert!(Instant::now() < long);
        let reasons = wakeup.wait_until(Instant::now());
        assert!(!(reasons.new_agents || reasons.scan_ended || reasons.stop));
        // It also wakes a thread that is already waiting.
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| wakeup.wait_until(long).stop);
            wakeup.notify(|reasons| reasons.stop = true);
            assert!(waits.join().unwrap());
        });
        assert!(Instant::now() < long);
    }

    #[test]
    fn a_round_skips_a_mount_whose_last_one_goes_on() {
        let desk = watching();
        desk.mount.file("1/0/20201202/101/0900000.mp4", b"video");
        let gateway = &desk.gateway;
        sign_in(gateway, 101);
        let mut schedule = Schedule::new(gateway);
        let watch = &gateway.recording_events.watches[0];
        let counted = || {
            let counted = &watch.counted;
            [&counted.scans, &counted.skipped].map(|count| count.load(Ordering::Relaxed))
        };
        schedule.begin_round();
        assert_eq!(schedule.mounts[0].requested, Some(Scope::All));
        schedule.scan(Instant::now());
        eventually(|| counted() == [1, 0] && !watch.is_scanning());
        assert_eq!(schedule.mounts[0].requested, None);
        assert_eq!(schedule.mounts[0].last_scope, Some(Scope::All));
        assert!(
            gateway
                .recording_events
                .wakeup
                .wait_until(Instant::now() + Duration::from_secs(60))
                .scan_ended
        );
        // A mount is skipped only while a scan of all agents runs there, not after it has ended,
        // nor while a scan of new agents runs.
        for (is_scanning, last_scope, skipped) in [
            (false, Some(Scope::All), 0),
            (true, Some(Scope::NewAgents), 0),
            (true, None, 0),
            (true, Some(Scope::All), 1),
        ] {
            schedule.mounts[0] = MountSchedule {
                last_scope,
                requested: None,
            };
            let hold = is_scanning.then(|| watch.hold());
            schedule.begin_round();
            let requested = (skipped == 0).then_some(Scope::All);
            assert_eq!(schedule.mounts[0].requested, requested, "{last_scope:?}");
            assert_eq!(counted(), [1, skipped]);
            // A requested scan waits for the end of the running one.
            schedule.scan(Instant::now());
            assert_eq!(
                schedule.mounts[0].requested,
                requested.filter(|_| is_scanning)
            );
            drop(hold);
            eventually(|| !watch.is_scanning());
            watch.counted.scans.store(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_thing_is_done_when_it_is_due_and_no_earlier() {
        let desk = watching();
        let gateway = &desk.gateway;
        let mut schedule = Schedule::new(gateway);
        let watch = &gateway.recording_events.watches[0];
        let began = schedule.new_agents_from;
        let after = |ms| began + Duration::from_millis(ms);
        // A scan that does not end, so that requests for further scans stay pending.
        let hold = watch.hold();
        schedule.new_agents_from = after(100);
        for (ms, are_new_agents, requested, has_new_agents) in [
            (0, false, None, false),
            (0, true, None, true),
            (99, false, None, true),
            (100, false, Some(Scope::NewAgents), false),
            (150, true, Some(Scope::NewAgents), true),
            (200, false, Some(Scope::NewAgents), false),
        ] {
            schedule.step(are_new_agents, after(ms));
            assert_eq!(schedule.mounts[0].requested, requested, "{ms}");
            assert_eq!(schedule.has_new_agents, has_new_agents, "{ms}");
        }
        assert_eq!(schedule.new_agents_from, after(300));
        for (ms, next_sweep) in [(999, 1000), (1000, 2000), (2500, 3500)] {
            schedule.step(false, after(ms));
            assert_eq!(schedule.sweep_at, after(next_sweep), "{ms}");
        }
        for (ms, next_round, scope) in [
            (3_599_999, 3_600_000, Scope::NewAgents),
            (3_600_000, 7_200_000, Scope::All),
        ] {
            schedule.step(false, after(ms));
            assert_eq!(schedule.round_at, Some(after(next_round)));
            assert_eq!(schedule.mounts[0].requested, Some(scope), "{ms}");
        }
        // A scan of all agents includes the new ones.
        schedule.step(true, after(3_600_500));
        assert_eq!(schedule.mounts[0].requested, Some(Scope::All));
        drop(hold);
        gateway.drain();
        schedule.step(false, after(3_600_501));
        assert_eq!(
            schedule.mounts[0].requested,
            Some(Scope::All),
            "no scan may begin during a drain"
        );
    }
}
