//! The system calls of a scan: times of a folder, size and times of a file, names in a folder.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, Stat, StatxFlags, openat, statat, statx,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

use super::super::open_error::OpenError;
use super::folder::FileInfo;
use super::stamp::FolderTimes;

/// What is found under a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryInfo {
    /// A folder, a regular file, or something of no interest.
    pub(crate) kind: FileType,
    /// For a folder.
    pub(crate) times: FolderTimes,
    /// For a file.
    pub(crate) seen: FileInfo,
}

/// Asks the file server for `name` in `parent`, or for `parent` itself where the name is empty and
/// `at` says so.
///
/// `None` if there is nothing of that name, or nothing for us; a link is not followed. Fails if the
/// file server does.
pub(super) fn stat_entry(
    parent: BorrowedFd<'_>,
    name: impl Arg + Clone,
    at: AtFlags,
) -> Result<Option<EntryInfo>, OpenError> {
    // The kernel may answer from memory what a plain stat asks, and NFS keeps the times of a folder
    // for half a minute.
    let flags = at | AtFlags::SYMLINK_NOFOLLOW;
    let mask = StatxFlags::TYPE
        | StatxFlags::SIZE
        | StatxFlags::MTIME
        | StatxFlags::CTIME
        | StatxFlags::BTIME;
    match statx(
        parent,
        name.clone(),
        flags | AtFlags::STATX_FORCE_SYNC,
        mask,
    ) {
        Ok(found) => {
            let ns = |time: rustix::fs::StatxTimestamp| nanoseconds(time.tv_sec, time.tv_nsec);
            let has_created = found.stx_mask & StatxFlags::BTIME.bits() != 0;
            Ok(Some(EntryInfo {
                kind: FileType::from_raw_mode(found.stx_mode.into()),
                times: [found.stx_mtime, found.stx_ctime].map(|time| (time.tv_sec, time.tv_nsec)),
                seen: FileInfo {
                    size: found.stx_size,
                    modified_ns: ns(found.stx_mtime),
                    created_ns: has_created.then(|| ns(found.stx_btime)),
                },
            }))
        }
        // Some sandboxes and old kernels lack statx; there the plain question has to do.
        Err(Errno::NOSYS | Errno::PERM) => {
            Ok(missing_as_none(statat(parent, name, flags))?.map(|found| from_stat(&found)))
        }
        Err(errno) => missing_as_none(Err(errno)),
    }
}

/// Opens the folder `name` below `parent` for walking on (`OFlags::PATH`) or listing (`RDONLY`);
/// `None` as in [`stat_entry`].
pub(super) fn open(
    parent: BorrowedFd<'_>,
    name: &(impl Arg + Clone),
    access: OFlags,
) -> Result<Option<OwnedFd>, OpenError> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    missing_as_none(retry_on_intr(|| {
        openat(parent, name.clone(), flags, Mode::empty())
    }))
}

/// How a listing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// With the last entry.
    Whole,
    /// At the bound, with entries left.
    TooMany,
    /// The folder went away meanwhile, or is not ours to read.
    Absent,
}

/// Hands each name of a folder opened for listing, with its kind where the file server says it, to
/// `each`, and counts them in `entries`. `buffer` gives its spare capacity to the system call.
pub(super) fn list(
    folder: impl AsFd,
    buffer: &mut Vec<u8>,
    max: usize,
    entries: &mut usize,
    mut each: impl FnMut(&str, FileType),
) -> Result<Listed, OpenError> {
    buffer.clear();
    let mut listing = RawDir::new(folder, buffer.spare_capacity_mut());
    let mut left = max;
    while let Some(entry) = listing.next() {
        let Some(entry) = missing_as_none(entry)? else {
            return Ok(Listed::Absent);
        };
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        *entries += 1;
        let Some(fewer) = left.checked_sub(1) else {
            return Ok(Listed::TooMany);
        };
        left = fewer;
        if let Ok(name) = entry.file_name().to_str() {
            each(name, entry.file_type());
        }
    }
    Ok(Listed::Whole)
}

/// Passes over what is not there or not ours to read; fails where the file server does.
fn missing_as_none<T>(result: Result<T, Errno>) -> Result<Option<T>, OpenError> {
    match result.map_err(OpenError::from_walk) {
        Ok(value) => Ok(Some(value)),
        Err(OpenError::Unavailable(lost)) => Err(OpenError::Unavailable(lost)),
        Err(_) => Ok(None),
    }
}

fn from_stat(found: &Stat) -> EntryInfo {
    let times = [
        (found.st_mtime, found.st_mtime_nsec),
        (found.st_ctime, found.st_ctime_nsec),
    ]
    .map(|(seconds, ns)| (seconds, u32::try_from(ns).unwrap_or(0)));
    let [(seconds, ns), _] = times;
    EntryInfo {
        kind: FileType::from_raw_mode(found.st_mode),
        times,
        seen: FileInfo {
            size: u64::try_from(found.st_size).unwrap_or(0),
            modified_ns: nanoseconds(seconds, ns),
            created_ns: None,
        },
    }
}

fn nanoseconds(seconds: i64, ns: u32) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(ns.into())
}
