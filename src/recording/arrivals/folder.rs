//! An agent's folder of one day: which recordings appear in it, and which are complete.
//!
//! Pure logic on names, sizes and times; it uses no descriptors, and no clock but the given `now`.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::super::open_error::OpenError;
use super::super::rel_path::Segment;

/// Consecutive scans that must find the same size and mtime before a recording is complete.
pub(super) const STABLE_SCANS: u32 = 2;

/// Recordings remembered per folder; beyond that, deleted ones are forgotten.
pub(super) const MAX_NAMES: usize = 4096;

/// Recordings of a folder followed at the same time; further ones wait.
pub(super) const MAX_GROWING: usize = 32;

/// How many recordings of the first listing, those written last, are watched for growth.
const BASELINE_WATCH_MAX: usize = 8;

/// How long they are watched. A recorder that writes less often is assumed to have finished.
const BASELINE_WATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a file may stay empty before it is ignored.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(600);

/// A creation time longer than this before the first mtime is considered wrong.
const RECORDING_MAX_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Size and times of a regular file; times are the file server's, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileInfo {
    /// In bytes.
    pub(crate) size: u64,
    /// Its mtime.
    pub(crate) modified_ns: i64,
    /// Its creation time, if the file system has one.
    pub(crate) created_ns: Option<i64>,
}

/// A change of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The file.
    pub(crate) name: Segment,
    /// Its name when it was announced, unaffected by renames.
    pub(crate) started_as: Segment,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// When it began, in nanoseconds since 1970 by the file server's clock.
    pub(crate) begin_ns: i64,
    /// If complete, its mtime, never before `begin_ns`.
    pub(crate) end_ns: Option<i64>,
}

/// The state of a file; `None` if there is no regular file of that name.
pub(super) type Probed = Result<Option<FileInfo>, OpenError>;

/// A recording that needs no further attention.
#[derive(Debug, Clone, Copy)]
struct Known {
    name: u64,
    /// Hash of size and mtime, to recognise the recording after a rename.
    identity: u64,
}

#[derive(Debug)]
struct Growing {
    name: Segment,
    hash: u64,
    seen: FileInfo,
    begin_ns: i64,
    /// Consecutive scans that found it unchanged.
    same: u32,
    changed: Instant,
    /// The name under which it was announced, if it was.
    started_as: Option<Segment>,
    /// Not in the folder at present.
    gone: bool,
    /// Set if it predates the sign-in: ignored unless it grows before this time.
    until: Option<Instant>,
}

/// The recordings of one agent in one day folder, since the agent's sign-in.
#[derive(Debug)]
pub(super) struct FolderState {
    baselined: bool,
    /// Sorted by `name`.
    known: Vec<Known>,
    growing: Vec<Growing>,
}

/// The names of one listing.
#[derive(Debug, Default)]
pub(super) struct Listing {
    hashes: Vec<u64>,
    unknown: Vec<(u64, Segment)>,
}

impl FolderState {
    /// The state of a folder. With `all_new` everything in it is new; otherwise the first listing
    /// shows what predates the sign-in.
    pub(super) fn new(all_new: bool) -> FolderState {
        FolderState {
            baselined: all_new,
            known: Vec::new(),
            growing: Vec::new(),
        }
    }

    /// Whether the recordings that predate the sign-in are known.
    pub(super) fn is_baselined(&self) -> bool {
        self.baselined
    }

    /// Whether any recording must be checked even if the folder is unchanged.
    pub(super) fn is_growing(&self) -> bool {
        self.growing
            .iter()
            .any(|growing| !growing.gone || growing.until.is_some())
    }

    /// Adds a file with the suffix of a recording to a listing.
    pub(super) fn note(&self, listing: &mut Listing, hasher: &RandomState, name: &str) {
        let hash = hasher.hash_one(name);
        listing.hashes.push(hash);
        if self
            .known
            .binary_search_by_key(&hash, |known| known.name)
            .is_err()
            && self.growing.iter().all(|growing| growing.hash != hash)
            && let Some(name) = Segment::parse(name)
        {
            listing.unknown.push((hash, name));
        }
    }

    /// Applies a complete listing; false if not all new recordings fit, so that the folder must be
    /// listed again.
    ///
    /// The first listing records what predates the sign-in, and announces nothing. A renamed
    /// recording is recognised by size and mtime, and by the absence of its old name. If `probe`
    /// fails, the next listing finds the rest.
    pub(super) fn finish_listing(
        &mut self,
        mut listing: Listing,
        hasher: &RandomState,
        now: Instant,
        probe: &mut impl FnMut(&Segment) -> Probed,
        out: &mut Vec<Change>,
    ) -> Result<bool, OpenError> {
        listing.hashes.sort_unstable();
        let is_listed = |hash: u64| listing.hashes.binary_search(&hash).is_ok();
        if !self.baselined {
            self.take_baseline(listing.unknown, hasher, now, probe)?;
            return Ok(true);
        }
        for growing in &mut self.growing {
            growing.gone = !is_listed(growing.hash);
        }
        let mut whole = true;
        for (hash, name) in listing.unknown {
            let Some(seen) = probe(&name)? else { continue };
            let same = |growing: &&mut Growing| {
                growing.gone
                    && (growing.seen.size, growing.seen.modified_ns)
                        == (seen.size, seen.modified_ns)
            };
            if let Some(growing) = self.growing.iter_mut().find(same) {
                (growing.name, growing.hash, growing.gone) = (name, hash, false);
                continue;
            }
            let identity = identity(hasher, &seen);
            let same = |known: &Known| known.identity == identity && !is_listed(known.name);
            if let Some(place) = self.known.iter().position(same) {
                self.known.remove(place);
                remember(&mut self.known, hash, identity);
                continue;
            }
            if !self.make_room() {
                whole = false;
                continue;
            }
            let mut growing = Growing::new(name, hash, seen, now, None);
            out.extend(growing.start());
            self.growing.push(growing);
        }
        if self.known.len() > MAX_NAMES {
            self.known.retain(|known| is_listed(known.name));
        }
        Ok(whole)
    }

    /// Checks every recording that may still grow. If `probe` fails, the rest is checked next time.
    pub(super) fn check_growing(
        &mut self,
        hasher: &RandomState,
        now: Instant,
        probe: &mut impl FnMut(&Segment) -> Probed,
        out: &mut Vec<Change>,
    ) -> Result<(), OpenError> {
        let known = &mut self.known;
        let mut failed = Ok(());
        self.growing.retain_mut(|growing| {
            if failed.is_err() {
                return true;
            }
            let probed = if growing.gone {
                Ok(None)
            } else {
                probe(&growing.name)
            };
            let stays = match probed {
                Err(error) => {
                    failed = Err(error);
                    true
                }
                Ok(None) => {
                    growing.gone = true;
                    growing.until.is_none_or(|until| now < until)
                }
                Ok(Some(seen)) => growing.follow(seen, now, out),
            };
            if !stays {
                remember(known, growing.hash, identity(hasher, &growing.seen));
            }
            stays
        });
        if self.growing.is_empty() {
            self.growing.shrink_to_fit();
        }
        failed
    }

    fn take_baseline(
        &mut self,
        names: Vec<(u64, Segment)>,
        hasher: &RandomState,
        now: Instant,
        probe: &mut impl FnMut(&Segment) -> Probed,
    ) -> Result<(), OpenError> {
        let mut found = Vec::with_capacity(names.len());
        for (hash, name) in names {
            if let Some(seen) = probe(&name)? {
                found.push(Growing::new(
                    name,
                    hash,
                    seen,
                    now,
                    Some(now + BASELINE_WATCH_TIMEOUT),
                ));
            }
        }
        found.sort_by(|a, b| (b.seen.modified_ns, &b.name).cmp(&(a.seen.modified_ns, &a.name)));
        let old = found.split_off(found.len().min(BASELINE_WATCH_MAX));
        found.shrink_to_fit();
        self.growing = found;
        self.known = old
            .iter()
            .map(|growing| Known {
                name: growing.hash,
                identity: identity(hasher, &growing.seen),
            })
            .collect();
        self.known.sort_unstable_by_key(|known| known.name);
        self.baselined = true;
        Ok(())
    }

    fn make_room(&mut self) -> bool {
        if self.growing.len() >= MAX_GROWING
            && let Some(place) = self.growing.iter().position(|growing| growing.gone)
        {
            self.growing.remove(place);
        }
        self.growing.len() < MAX_GROWING
    }
}

impl Growing {
    fn new(
        name: Segment,
        hash: u64,
        seen: FileInfo,
        now: Instant,
        until: Option<Instant>,
    ) -> Growing {
        let earliest = seen.modified_ns.saturating_sub(RECORDING_MAX_NS);
        let created = seen
            .created_ns
            .filter(|created| (earliest..=seen.modified_ns).contains(created));
        let begin_ns = created.unwrap_or(seen.modified_ns);
        Growing {
            name,
            hash,
            seen,
            begin_ns,
            same: 1,
            changed: now,
            started_as: None,
            gone: false,
            until,
        }
    }

    /// Announces the recording unless it is empty, as an empty one cannot be downloaded.
    fn start(&mut self) -> Option<Change> {
        (self.seen.size > 0 && self.started_as.is_none() && self.until.is_none()).then(|| {
            self.started_as = Some(self.name.clone());
            self.change(None)
        })
    }

    /// Applies the current state of the file; false once the recording needs no further attention.
    fn follow(&mut self, seen: FileInfo, now: Instant, out: &mut Vec<Change>) -> bool {
        // Only growth makes an old recording a current one, not a change of its times.
        if seen.size > self.seen.size {
            self.until = None;
        }
        if (seen.size, seen.modified_ns) == (self.seen.size, self.seen.modified_ns) {
            self.same = self.same.saturating_add(1);
        } else {
            (self.seen, self.same, self.changed) = (seen, 1, now);
        }
        if let Some(until) = self.until {
            return now < until;
        }
        if self.seen.size == 0 {
            return now.saturating_duration_since(self.changed) < EMPTY_TIMEOUT;
        }
        out.extend(self.start());
        if self.same < STABLE_SCANS {
            return true;
        }
        out.push(self.change(Some(self.seen.modified_ns.max(self.begin_ns))));
        false
    }

    fn change(&self, end_ns: Option<i64>) -> Change {
        let started_as = self.started_as.as_ref().unwrap_or(&self.name).clone();
        Change {
            name: self.name.clone(),
            started_as,
            size: self.seen.size,
            begin_ns: self.begin_ns,
            end_ns,
        }
    }
}

fn identity(hasher: &RandomState, seen: &FileInfo) -> u64 {
    hasher.hash_one((seen.size, seen.modified_ns))
}

fn remember(known: &mut Vec<Known>, name: u64, identity: u64) {
    let place = known.partition_point(|known| known.name < name);
    match known.get_mut(place) {
        Some(known) if known.name == name => known.identity = identity,
        _ => known.insert(place, Known { name, identity }),
    }
}

#[cfg(test)]
mod tests;
