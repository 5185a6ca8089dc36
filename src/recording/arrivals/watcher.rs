//! Scans the folders of one mount.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::path::DecInt;
use rustix::time::{ClockId, clock_gettime};

use super::super::day::Day;
use super::super::open_error::OpenError;
use super::super::record_id::{MAX_LEN, agent_of};
use super::super::rel_path::{Segment, has_suffix};
use super::folder::{Change, FileInfo, FolderState, Listing, MAX_NAMES};
use super::listing::{Listed, list, open, stat_entry};
use super::stamp::Stamp;
use super::tree::{AgentFolder, DayFolder, Media, Names, Node, Vdn};
use super::{Arrival, Limits, MediaKind, Recording, Scan, Scope, Suffixes, WatchedAgent};

/// Maximum number of VDN folders, and of media folders in each: the interface has VDNs 1 to 512 and
/// a handful of media.
const MAX_VDNS: usize = 512;
const MAX_MEDIA: usize = 32;

/// Entries of a media folder, which keeps its days for years, or of a day folder, with one per
/// agent.
const MAX_FOLDERS: usize = 65_536;

/// Folders that may fail in a scan, for instance damaged directories, before the file server is
/// assumed gone.
const MAX_FAILURES: usize = 4;

/// How often to check the CPU time, which costs a system call: after this many unchanged agent
/// folders. An opened folder counts as `OPEN_COST` unchanged ones.
const CPU_CHECK_INTERVAL: usize = 1024;
const OPEN_COST: usize = 256;

/// Buffer for the directory entries of one system call.
const BUFFER_BYTES: usize = 32 * 1024;

/// Watches one mount for new recordings; see the module documentation. Does nothing between scans.
#[derive(Debug)]
pub struct Watcher {
    suffixes: Suffixes,
    limits: Limits,
    hasher: RandomState,
    root: Node,
    vdns: BTreeMap<Segment, Vdn>,
    sessions: BTreeMap<u32, Session>,
    /// Incremented when the sessions change.
    generation: u64,
    scans: u64,
    /// Full scans.
    rounds: u64,
    /// The last agent folder of a full scan that hit a limit.
    stopped_at: Option<FolderKey>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    since: Instant,
    first_scan: u64,
}

/// Identifies an agent's folder.
type FolderKey = (Segment, Segment, Day, u32);

/// The agent folders covered by a pass over the tree.
#[derive(Debug, Clone)]
enum PassRange {
    All,
    After(FolderKey),
    UpTo(FolderKey),
}

impl Watcher {
    /// A watch for recordings with these suffixes.
    pub fn new(suffixes: Suffixes, limits: Limits) -> Watcher {
        Watcher {
            suffixes,
            limits,
            hasher: RandomState::new(),
            root: Node::default(),
            vdns: BTreeMap::new(),
            sessions: BTreeMap::new(),
            generation: 0,
            scans: 0,
            rounds: 0,
            stopped_at: None,
        }
    }

    /// Scans the mount whose directory is open as `mount`. `agents` are all signed-in agents,
    /// sorted by number.
    ///
    /// May block for as long as the file server does, so it must run on one of the mount's own
    /// threads. `now` is the time of the scan; after `deadline` no further folder is begun.
    pub fn scan(
        &mut self,
        mount: BorrowedFd<'_>,
        agents: &[WatchedAgent],
        scope: Scope,
        now: Instant,
        deadline: Instant,
    ) -> Scan {
        let cpu_before = thread_cpu();
        self.scans += 1;
        self.rounds += u64::from(scope == Scope::All);
        self.take_sessions(agents);
        let (mut scan, mut buffer) = (Scan::default(), Vec::with_capacity(BUFFER_BYTES));
        let resumed = match scope {
            Scope::All => self.stopped_at.take(),
            Scope::NewAgents => None,
        };
        let parts = match resumed {
            Some(place) => vec![PassRange::After(place.clone()), PassRange::UpTo(place)],
            None => vec![PassRange::All],
        };
        for part in parts {
            // Where to continue if this pass scans no folder.
            let unmoved = match &part {
                PassRange::After(place) => Some(place.clone()),
                PassRange::All | PassRange::UpTo(_) => None,
            };
            let mut pass = Pass {
                suffixes: &self.suffixes,
                limits: &self.limits,
                hasher: &self.hasher,
                sessions: &self.sessions,
                generation: self.generation,
                number: self.scans,
                round: self.rounds,
                part,
                scope,
                now,
                deadline,
                scan: &mut scan,
                buffer: &mut buffer,
                failures: 0,
                done: unmoved,
                cpu_before,
                unchecked: 0,
            };
            let scanned = pass.mount(mount, &mut self.root, &mut self.vdns);
            pass.note(scanned);
            let done = pass.done;
            if scan.figures.cut_short {
                if scope == Scope::All {
                    self.stopped_at = done;
                }
                break;
            }
        }
        scan.figures.cpu = thread_cpu().saturating_sub(cpu_before);
        scan
    }

    /// Updates the sessions; forgets agents that have signed out or in again.
    ///
    /// Costs one comparison per agent while the sessions are unchanged.
    fn take_sessions(&mut self, agents: &[WatchedAgent]) {
        let known = self
            .sessions
            .iter()
            .map(|(&number, session)| (number, session.since));
        if known.eq(agents.iter().map(|agent| (agent.number, agent.since))) {
            return;
        }
        let first_scan = self.scans;
        let before = std::mem::take(&mut self.sessions);
        self.sessions = agents
            .iter()
            .map(|agent| {
                let known = before
                    .get(&agent.number)
                    .filter(|session| session.since == agent.since);
                (
                    agent.number,
                    known.copied().unwrap_or(Session {
                        since: agent.since,
                        first_scan,
                    }),
                )
            })
            .collect();
        self.generation += 1;
        let sessions = &self.sessions;
        let stays = |number: &u32| {
            sessions
                .get(number)
                .is_some_and(|session| session.first_scan < first_scan)
        };
        for day in self
            .vdns
            .values_mut()
            .flat_map(|vdn| vdn.media.values_mut())
            .flat_map(|media| media.days.values_mut())
        {
            day.agents.retain(|number, _| stays(number));
        }
    }
}

/// One pass over the tree.
struct Pass<'a> {
    suffixes: &'a Suffixes,
    limits: &'a Limits,
    hasher: &'a RandomState,
    sessions: &'a BTreeMap<u32, Session>,
    generation: u64,
    number: u64,
    round: u64,
    part: PassRange,
    scope: Scope,
    now: Instant,
    deadline: Instant,
    scan: &'a mut Scan,
    buffer: &'a mut Vec<u8>,
    failures: usize,
    /// The last agent folder scanned.
    done: Option<FolderKey>,
    cpu_before: Duration,
    /// Work since the CPU time was checked.
    unchecked: usize,
}

impl Pass<'_> {
    fn mount(
        &mut self,
        mount: BorrowedFd<'_>,
        root: &mut Node,
        vdns: &mut BTreeMap<Segment, Vdn>,
    ) -> Result<(), OpenError> {
        let (before, mut found) = (root.verified, BTreeSet::new());
        let names = self.names(mount, root, MAX_FOLDERS, |name| {
            found.extend(Segment::parse(name))
        })?;
        if names == Names::Listed {
            self.add(vdns, found, MAX_VDNS, || Vdn {
                node: Node::new(before),
                ..Vdn::default()
            });
        }
        // An empty directory may be one that nothing is mounted on yet.
        if names != Names::Unknown && !vdns.is_empty() {
            root.verified = Some(self.number);
        }
        for (name, vdn) in vdns {
            let scanned = self.vdn(mount, name, vdn);
            self.note(scanned);
        }
        Ok(())
    }

    fn vdn(
        &mut self,
        mount: BorrowedFd<'_>,
        name: &Segment,
        vdn: &mut Vdn,
    ) -> Result<(), OpenError> {
        if self.is_over() {
            return Ok(());
        }
        let Some(folder) = open(mount, &name.as_str(), OFlags::PATH)? else {
            return Ok(());
        };
        let (before, mut found) = (vdn.node.verified, BTreeSet::new());
        let names = self.names(folder.as_fd(), &mut vdn.node, MAX_FOLDERS, |name| {
            found.extend(Segment::parse(name))
        })?;
        if names == Names::Listed {
            self.add(&mut vdn.media, found, MAX_MEDIA, || Media {
                node: Node::new(before),
                ..Media::default()
            });
        }
        vdn.node.verify(names, self.number);
        for (media_name, media) in &mut vdn.media {
            let scanned = self.media(folder.as_fd(), [name, media_name], media);
            self.note(scanned);
        }
        Ok(())
    }

    fn media(
        &mut self,
        vdn: BorrowedFd<'_>,
        above: [&Segment; 2],
        media: &mut Media,
    ) -> Result<(), OpenError> {
        let [_, name] = above;
        let Some(folder) = open(vdn, &name.as_str(), OFlags::PATH)? else {
            return Ok(());
        };
        let (before, mut found) = (media.node.verified, BTreeSet::new());
        let names = self.names(folder.as_fd(), &mut media.node, MAX_FOLDERS, |name| {
            found.extend(Day::parse(name))
        })?;
        if names == Names::Listed {
            media.set_days(&found, before, self.now);
        }
        media.node.verify(names, self.number);
        for (&day, found) in &mut media.days {
            if found.is_due(self.round, self.now) {
                let scanned = self.day(folder.as_fd(), above, day, found);
                self.note(scanned);
            }
        }
        Ok(())
    }

    fn day(
        &mut self,
        media: BorrowedFd<'_>,
        [vdn, media_name]: [&Segment; 2],
        day: Day,
        found: &mut DayFolder,
    ) -> Result<(), OpenError> {
        let name = Segment::from(day);
        let Some(folder) = open(media, &name.as_str(), OFlags::PATH)? else {
            return Ok(());
        };
        let (before, mut present) = (found.node.verified, Vec::new());
        let names = self.names(folder.as_fd(), &mut found.node, MAX_FOLDERS, |name| {
            present.extend(agent_of(name))
        })?;
        if names == Names::Unknown {
            return Ok(());
        }
        if names == Names::Listed {
            present.sort_unstable();
            found.present = present;
        }
        if names == Names::Listed || found.sessions != self.generation {
            self.add_agents(found, before);
        }
        found.node.verify(names, self.number);

        let Some(range) = self.part.range(vdn, media_name, day) else {
            return Ok(());
        };
        let mut last = None;
        for (&number, agent) in found.agents.range_mut(range) {
            if self.scope == Scope::NewAgents && agent.state.is_baselined() {
                continue;
            }
            if self.is_off_turn(number) && agent.is_quiet() {
                continue;
            }
            if self.is_over() {
                break;
            }
            let scanned = self.agent(folder.as_fd(), [vdn, media_name, &name], number, agent);
            self.note(scanned);
            last = Some(number);
        }
        if let Some(number) = last {
            self.done = Some((vdn.clone(), media_name.clone(), day, number));
        }
        found.grows = found.agents.values().any(|agent| agent.state.is_growing());
        Ok(())
    }

    fn agent(
        &mut self,
        day: BorrowedFd<'_>,
        [vdn, media, day_name]: [&Segment; 3],
        number: u32,
        agent: &mut AgentFolder,
    ) -> Result<(), OpenError> {
        self.scan.figures.folders += 1;
        self.unchecked += 1;
        let found = stat_entry(day, DecInt::new(number), AtFlags::empty())?
            .filter(|found| found.kind == FileType::Directory);
        let Some(found) = found else {
            return agent.state.check_growing(
                self.hasher,
                self.now,
                &mut |_| Ok(None),
                &mut Vec::new(),
            );
        };
        let stale = agent
            .stamp
            .is_stale([found.modified, found.changed], self.now);
        if !stale && !agent.state.is_growing() {
            return Ok(());
        }
        self.unchecked += OPEN_COST;
        let access = if stale { OFlags::RDONLY } else { OFlags::PATH };
        let Some(folder) = open(day, &DecInt::new(number), access)? else {
            return Ok(());
        };
        let files = &mut self.scan.figures.files;
        let mut probe = |name: &Segment| {
            *files += 1;
            let found = stat_entry(folder.as_fd(), name.as_str(), AtFlags::empty())?;
            Ok(found
                .filter(|found| found.kind == FileType::RegularFile)
                .map(FileInfo::from))
        };
        let mut changes = Vec::new();
        let mut scanned =
            agent
                .state
                .check_growing(self.hasher, self.now, &mut probe, &mut changes);
        if scanned.is_ok() && stale {
            let names =
                [vdn.as_str(), media.as_str(), day_name.as_str()].map(|name| name.chars().count());
            // Drive, colon and slash, then the names with a slash after each.
            let above = names.iter().sum::<usize>() + number.to_string().len() + 7;
            let mut listing = Listing::default();
            self.scan.figures.listed += 1;
            scanned = list(
                &folder,
                self.buffer,
                MAX_NAMES,
                &mut self.scan.figures.entries,
                |name, kind| {
                    if matches!(kind, FileType::RegularFile | FileType::Unknown)
                        && self.suffixes.kind(name).is_some()
                        && above + name.chars().count() <= MAX_LEN
                    {
                        agent.state.note(&mut listing, self.hasher, name);
                    }
                },
            )
            .and_then(|listed| match listed {
                Listed::Absent => Ok(()),
                Listed::TooMany => {
                    self.scan.figures.overfull += 1;
                    agent.stamp.mark_settled();
                    Ok(())
                }
                Listed::Whole => {
                    let whole = agent.state.finish_listing(
                        listing,
                        self.hasher,
                        self.now,
                        &mut probe,
                        &mut changes,
                    )?;
                    if whole {
                        agent.stamp.listed(self.now);
                    }
                    Ok(())
                }
            });
        }
        let session = self.sessions.get(&number).map(|session| WatchedAgent {
            number,
            since: session.since,
        });
        for change in changes {
            let folders = [vdn.clone(), media.clone(), day_name.clone()];
            self.scan
                .arrivals
                .extend(session.zip(self.suffixes.arrival(folders, number, change)));
        }
        scanned
    }

    /// Reads the names of subfolders, if they may have changed.
    fn names(
        &mut self,
        folder: BorrowedFd<'_>,
        node: &mut Node,
        max: usize,
        mut each: impl FnMut(&str),
    ) -> Result<Names, OpenError> {
        let Some(found) = stat_entry(folder, c"", AtFlags::EMPTY_PATH)? else {
            return Ok(Names::Unknown);
        };
        if !node
            .stamp
            .is_stale([found.modified, found.changed], self.now)
        {
            return Ok(if node.overfull {
                Names::Unknown
            } else {
                Names::Same
            });
        }
        let Some(open) = open(folder, &c".", OFlags::RDONLY)? else {
            return Ok(Names::Unknown);
        };
        self.scan.figures.listed += 1;
        let listed = list(
            open,
            self.buffer,
            max,
            &mut self.scan.figures.entries,
            |name, kind| {
                if matches!(kind, FileType::Directory | FileType::Unknown) {
                    each(name);
                }
            },
        )?;
        node.overfull = listed == Listed::TooMany;
        match listed {
            Listed::Whole => node.stamp.listed(self.now),
            Listed::TooMany => {
                node.stamp.mark_settled();
                self.scan.figures.overfull += 1;
            }
            Listed::Absent => {}
        }
        Ok(if listed == Listed::Whole {
            Names::Listed
        } else {
            Names::Unknown
        })
    }

    /// Adds new folders. Missing ones are kept, as the mount may be away, unless there are too
    /// many.
    fn add<T>(
        &mut self,
        known: &mut BTreeMap<Segment, T>,
        found: BTreeSet<Segment>,
        max: usize,
        new: impl Fn() -> T,
    ) {
        if known.len().saturating_add(found.len()) > max {
            known.retain(|name, _| found.contains(name));
        }
        for name in found {
            if known.len() >= max && !known.contains_key(&name) {
                self.scan.figures.overfull += 1;
                break;
            }
            known.entry(name).or_insert_with(&new);
        }
    }

    /// Adds the signed-in agents that have a folder; `before` is the latest scan that knew all
    /// names in it.
    fn add_agents(&self, found: &mut DayFolder, before: Option<u64>) {
        for &number in &found.present {
            let Some(session) = self.sessions.get(&number) else {
                continue;
            };
            found.agents.entry(number).or_insert_with(|| {
                let all_new = before.is_some_and(|scan| scan >= session.first_scan);
                AgentFolder {
                    stamp: Stamp::default(),
                    state: FolderState::new(all_new),
                }
            });
        }
        found.sessions = self.generation;
    }

    /// Whether this scan leaves out the agent's folders if nothing changes in them. One that continues
    /// another covers all: what that did not come to has waited long enough.
    fn is_off_turn(&self, number: u32) -> bool {
        // Halves of equal size, even where the numbers are all even or all odd.
        let half = number.wrapping_mul(0x9e37_79b9) >> 31;
        self.scope == Scope::All
            && matches!(self.part, PassRange::All)
            && self.sessions.len() > self.limits.agents_at_once
            && u64::from(half) != self.round % 2
    }

    fn note(&mut self, scanned: Result<(), OpenError>) {
        if let Err(error) = scanned {
            self.scan.error = Some(error);
            self.failures += 1;
        }
    }

    fn has_used_its_cpu(&mut self) -> bool {
        if self.unchecked < CPU_CHECK_INTERVAL {
            return false;
        }
        self.unchecked = 0;
        thread_cpu().saturating_sub(self.cpu_before) >= self.limits.cpu
    }

    /// Whether the scan must stop. Once true it stays true.
    fn is_over(&mut self) -> bool {
        let figures = self.scan.figures;
        let over = figures.cut_short
            || figures.folders >= self.limits.folders
            || figures.entries >= self.limits.entries
            || figures.files >= self.limits.files
            || self.failures >= MAX_FAILURES
            || self.has_used_its_cpu()
            || Instant::now() >= self.deadline;
        self.scan.figures.cut_short = over;
        over
    }
}

impl PassRange {
    /// The agents of a day folder that the pass covers.
    fn range(&self, vdn: &Segment, media: &Segment, day: Day) -> Option<RangeInclusive<u32>> {
        let (place, after) = match self {
            PassRange::All => return Some(0..=u32::MAX),
            PassRange::After(place) => (place, true),
            PassRange::UpTo(place) => (place, false),
        };
        let (stopped_vdn, stopped_media, stopped_day, agent) = place;
        match (
            (vdn, media, day).cmp(&(stopped_vdn, stopped_media, *stopped_day)),
            after,
        ) {
            (Ordering::Greater, true) | (Ordering::Less, false) => Some(0..=u32::MAX),
            (Ordering::Equal, true) => agent.checked_add(1).map(|next| next..=u32::MAX),
            (Ordering::Equal, false) => Some(0..=*agent),
            (Ordering::Less, true) | (Ordering::Greater, false) => None,
        }
    }
}

impl Suffixes {
    fn kind(&self, name: &str) -> Option<MediaKind> {
        if has_suffix(name, &self.video) {
            Some(MediaKind::Video)
        } else {
            has_suffix(name, &self.audio).then_some(MediaKind::Audio)
        }
    }

    fn arrival(
        &self,
        [vdn, media, day]: [Segment; 3],
        number: u32,
        change: Change,
    ) -> Option<Arrival> {
        let kind = self.kind(change.name.as_str())?;
        let folders = [vdn, media, day, Segment::from_number(number)];
        let task_id = super::serial::task_id(&folders, &change.started_as);
        Some(Arrival {
            recording: Recording {
                folders,
                file: change.name,
                kind,
            },
            task_id,
            size: change.size,
            begin_time_ms: milliseconds(change.begin_ns),
            end_time_ms: change.end_ns.map(milliseconds),
        })
    }
}

fn milliseconds(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
