//! An agent's folder of one day: which recordings appear in it, and which are complete.
//!
//! Pure: it is given names, sizes and times, and knows of no descriptor and of no clock but the
//! `now` it is given.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::super::open_error::OpenError;
use super::super::rel_path::Segment;

/// Scans in a row that must find a recording with the same size and mtime before it counts as
/// complete.
pub(super) const STABLE_SCANS: u32 = 2;

/// Names of recordings remembered for a folder; beyond it those that are gone are forgotten.
pub(super) const MAX_NAMES: usize = 4096;

/// Recordings of a folder that are followed at the same time. Others that appear wait for a place.
pub(super) const MAX_GROWING: usize = 32;

/// How many of the recordings found by the first listing are watched for growth: the last written
/// ones.
const BASELINE_WATCH_MAX: usize = 8;

/// For how long they are. A recorder that writes less often than that is taken to have finished
/// before.
const BASELINE_WATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// For how long a file may stay empty before it is given up.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(600);

/// A created time further before the first modified time than this is taken for a wrong one.
const RECORDING_MAX_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Size and times of a regular file; the times in nanoseconds of the file server's epoch clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileInfo {
    /// In bytes.
    pub(crate) size: u64,
    /// The last write.
    pub(crate) modified_ns: i64,
    /// The creation, where the file system keeps it.
    pub(crate) created_ns: Option<i64>,
}

/// One thing that became known of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The file.
    pub(crate) name: Segment,
    /// Its name when it was announced, which a renamed recording keeps.
    pub(crate) started_as: Segment,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// When it began, in nanoseconds of the file server's epoch clock.
    pub(crate) begin_ns: i64,
    /// When it was written last, never before the begin; `None` for a recording that has only
    /// appeared.
    pub(crate) end_ns: Option<i64>,
}

/// The state of a file: `None` if there is no regular file of that name (any more).
pub(super) type Probed = Result<Option<FileInfo>, OpenError>;

/// A recording that is announced, at most once, and needs no further scan.
#[derive(Debug, Clone, Copy)]
struct Known {
    name: u64,
    /// Of size and mtime, by which the recording is recognised under another name.
    identity: u64,
}

#[derive(Debug)]
struct Growing {
    name: Segment,
    hash: u64,
    seen: FileInfo,
    begin_ns: i64,
    /// Scans that found it like this.
    same: u32,
    changed: Instant,
    /// The name it was announced under, once it is.
    started_as: Option<Segment>,
    /// Not in the folder at the moment.
    gone: bool,
    /// Was there before the sign-in, and is of interest only if it grows before this time.
    until: Option<Instant>,
}

/// The recordings of one agent in one day folder, since the agent's sign-in.
#[derive(Debug)]
pub(super) struct FolderState {
    baselined: bool,
    /// In the order of the names' hashes.
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
    /// An empty folder that was not there at the sign-in (`all_new`), or one of which the first
    /// listing shows what was there before.
    pub(super) fn new(all_new: bool) -> FolderState {
        FolderState {
            baselined: all_new,
            known: Vec::new(),
            growing: Vec::new(),
        }
    }

    /// Whether what was there at the sign-in is known.
    pub(super) fn is_baselined(&self) -> bool {
        self.baselined
    }

    /// Whether some recording has to be scanned even if no name in the folder changes.
    pub(super) fn is_growing(&self) -> bool {
        self.growing
            .iter()
            .any(|growing| !growing.gone || growing.until.is_some())
    }

    /// Takes one name of a listing, of a file that is a recording by its suffix.
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

    /// Takes a whole listing in; false if there was no place for all that is new, so that the
    /// folder has to be listed again.
    ///
    /// The first listing makes known what was there before the sign-in, and announces nothing. A
    /// recording that has got another name is recognised by its size and mtime, and by the old name
    /// not being there any more. If `probe` fails nothing is lost: the next listing finds the rest.
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

    /// Checks every recording that may still grow. If `probe` fails the rest is scanned next time.
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

    /// Announces the recording if it has any bytes: an empty one could not be downloaded.
    fn start(&mut self) -> Option<Change> {
        (self.seen.size > 0 && self.started_as.is_none() && self.until.is_none()).then(|| {
            self.started_as = Some(self.name.clone());
            self.change(None)
        })
    }

    /// Takes what the file is like now; false once nothing more is to be said about it.
    fn follow(&mut self, seen: FileInfo, now: Instant, out: &mut Vec<Change>) -> bool {
        // Only bytes that are added make an old recording a current one; a copy's or an owner's
        // times do not.
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
