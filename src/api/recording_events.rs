//! Events for new recordings, and the thread that schedules the scans of the mounts.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::gateway::Gateway;
use super::sign_in::epoch_ms;
use crate::config::{MountPoint, Settings};
use crate::ops::counters::Counter;
use crate::ops::sync::{lock, remaining};
use crate::recording::{
    Arrival, ArrivalWatch, MediaKind, Mounts, Recording, Scope, Suffixes, WatchedAgent,
};
use crate::session::{Event, Media, OpenSession, PushOutcome, RecordContent, StopRecordContent};

/// How often expired sessions are removed and timed events are queued.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two scans for agents who have just signed in, so that a shift that begins
/// costs ten a second and not one for each of its agents.
const NEW_AGENTS_INTERVAL: Duration = Duration::from_millis(100);

/// The thread only waits; scans run on the threads of their mounts.
const STACK_SIZE: usize = 128 * 1024;

/// `locationId` outside pool mode, as in the documented samples.
const NO_LOCATION: u32 = 65_535;

/// `recordFormat` "default": how the recorder encodes is not known here.
const DEFAULT_FORMAT: u8 = 0;

/// The mounts that are scanned, and counters of the events.
pub(super) struct RecordingEvents {
    /// Empty where IF_SUPPORT_VIDEO is OFF or RECORD_SCAN_INTERVAL is 0.
    pub(super) watches: Vec<ArrivalWatch>,
    interval: Option<Duration>,
    wakeup: Wakeup,
    /// Events of recordings that were queued.
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

    /// An agent has signed in: its folders are scanned now, so that what is in them does not count
    /// as new later.
    pub(super) fn agent_signed_in(&self) {
        self.wakeup.notify(|reasons| reasons.new_agents = true);
    }

    fn count(&self, outcome: PushOutcome) {
        if matches!(outcome, PushOutcome::Queued | PushOutcome::OldestDropped) {
            self.queued.add(1);
        }
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
        let mut reasons = lock(&self.reasons);
        while let Some(remaining) = remaining(deadline)
            && !(reasons.new_agents || reasons.scan_ended || reasons.stop)
        {
            reasons = self
                .condvar
                .wait_timeout(reasons, remaining)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::take(&mut *reasons)
    }
}

/// The thread of the gateway that does what no request asks for: it ends silent sessions, queues
/// events whose time has come, and has the mounts scanned for new recordings. It ends when this is
/// dropped.
pub(crate) struct EventThread {
    gateway: Arc<Gateway>,
    thread: Option<JoinHandle<()>>,
}

impl EventThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be spawned.
    pub(crate) fn start(gateway: &Arc<Gateway>) -> io::Result<EventThread> {
        let own_gateway = Arc::clone(gateway);
        let builder = std::thread::Builder::new()
            .name("events".into())
            .stack_size(STACK_SIZE);
        let thread = builder.spawn(move || Schedule::new(&own_gateway).run())?;
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
    /// `None` without events.
    round_at: Option<Instant>,
    /// Whether agents wait for their first scan, and when it may be.
    has_new_agents: bool,
    new_agents_from: Instant,
}

/// The scans of one mount: the one that began last, and the one to come as soon as that has ended.
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
            let now = Instant::now();
            if now >= self.sweep_at {
                self.sweep_at = now + SWEEP_INTERVAL;
                self.gateway.sessions.sweep(now);
            }
            self.has_new_agents |= reasons.new_agents;
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
    }

    fn next(&self) -> Instant {
        let new_agents = self.has_new_agents.then_some(self.new_agents_from);
        [self.round_at, new_agents]
            .into_iter()
            .flatten()
            .fold(self.sweep_at, Instant::min)
    }

    /// Requests a scan of every mount, except where the last one has not ended.
    fn begin_round(&mut self) {
        for (mount, watch) in self.mounts.iter_mut().zip(&self.events.watches) {
            if watch.is_scanning() && mount.last_scope == Some(Scope::All) {
                watch.skip();
            } else {
                mount.requested = Some(Scope::All);
            }
        }
    }

    /// Begins the scans that are requested and can begin.
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
                // A file server may have held the scan for longer than the gateway lasts.
                let Some(gateway) = Weak::upgrade(&gateway) else {
                    return;
                };
                if let Some(watch) = gateway.recording_events.watches.get(index) {
                    gateway.announce(&sessions, watch.point(), &scan.arrivals);
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
    /// Queues the events of arrivals, each for the session it was found for and no other.
    /// `sessions` are those that the scan was for, in the order of their agents.
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
            self.recording_events.count(outcome);
        }
    }
}

/// The event of an arrival. Who called whom is not to be seen on a mount, so both stay empty.
fn event(arrival: &Arrival, point: MountPoint, now_ms: u64) -> Event {
    match arrival {
        Arrival::Started {
            recording,
            task_id,
            begin_time_ms,
            ..
        } => {
            let serial = recording.serial(point.drive);
            let content = RecordContent {
                task_id: (*task_id).into(),
                caller: "",
                called: "",
                // The event ends a video's with a dot itself.
                record_id: serial
                    .strip_suffix('.')
                    .filter(|_| is_video(recording))
                    .unwrap_or(&serial),
                location_id: point.location.unwrap_or(NO_LOCATION),
                file_name: &recording.record_id(point.drive),
                call_id: &call_id(*begin_time_ms),
            };
            Event::record(media(recording), &content, now_ms)
        }
        Arrival::Finished {
            recording,
            task_id,
            begin_time_ms,
            end_time_ms,
            ..
        } => {
            let content = StopRecordContent {
                begin_ms: since_1970(*begin_time_ms),
                end_ms: since_1970(*end_time_ms),
                record_format: DEFAULT_FORMAT,
                task_id: (*task_id).into(),
                call_id: &call_id(*begin_time_ms),
            };
            Event::stop_record_done(media(recording), &content, now_ms)
        }
    }
}

/// Made from the begin of the recording, in the form of the documented samples. No real call id is
/// known.
fn call_id(begin_time_ms: i64) -> String {
    let begin = since_1970(begin_time_ms);
    format!("{}-{}", begin / 1000, begin % 1000)
}

fn since_1970(time_ms: i64) -> u64 {
    u64::try_from(time_ms).unwrap_or(0)
}

fn is_video(recording: &Recording) -> bool {
    recording.kind() == MediaKind::Video
}

fn media(recording: &Recording) -> Media {
    if is_video(recording) {
        Media::Video
    } else {
        Media::Audio
    }
}
