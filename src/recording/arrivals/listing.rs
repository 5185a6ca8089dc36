//! The system calls of a scan: stat, open and list.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

use super::super::open_error::OpenError;
use super::super::resolve::{FileStat, stat_synced_at};
use super::folder::FileInfo;

/// Queries the file server for `name` in `parent`, or for `parent` itself with an empty name and
/// `AT_EMPTY_PATH`.
///
/// `None` if there is no such file or it is inaccessible. Does not follow links. Fails only if the
/// file server fails.
pub(super) fn stat_entry(
    parent: BorrowedFd<'_>,
    name: impl Arg + Clone,
    at: AtFlags,
) -> Result<Option<FileStat>, OpenError> {
    // The kernel may answer a plain stat from its cache; NFS caches directory times for half a
    // minute.
    let mask = StatxFlags::TYPE
        | StatxFlags::SIZE
        | StatxFlags::MTIME
        | StatxFlags::CTIME
        | StatxFlags::BTIME;
    let flags = at | AtFlags::SYMLINK_NOFOLLOW;
    missing_as_none(stat_synced_at(parent, name, flags, mask))
}

/// Opens the folder `name` in `parent`, for traversal (`OFlags::PATH`) or listing (`RDONLY`);
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
    /// All entries were read.
    Whole,
    /// There are more entries than `max`.
    TooMany,
    /// The folder disappeared or is unreadable.
    Absent,
}

/// Calls `each` with every name in a folder, and its type if the file server reports it, and counts
/// them in `entries`. `buffer` provides the memory for the system call.
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

/// Maps missing and inaccessible files to `None`; fails only if the file server fails.
fn missing_as_none<T>(result: Result<T, Errno>) -> Result<Option<T>, OpenError> {
    match result.map_err(OpenError::from_walk) {
        Ok(value) => Ok(Some(value)),
        Err(OpenError::Unavailable(lost)) => Err(OpenError::Unavailable(lost)),
        Err(_) => Ok(None),
    }
}

impl From<FileStat> for FileInfo {
    fn from(found: FileStat) -> FileInfo {
        FileInfo {
            size: found.length,
            modified_ns: nanoseconds(found.modified),
            created_ns: found.created.map(nanoseconds),
        }
    }
}

fn nanoseconds((seconds, ns): (i64, u32)) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(ns.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::resolve;
    use crate::recording::scratch::Scratch;
    use rustix::fs::statat;
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::collections::BTreeSet;
    use std::os::fd::AsFd;

    fn site() -> Scratch {
        let scratch = Scratch::new();
        scratch.file("folder/file", b"12345");
        scratch.link("link", &scratch.path().join("folder"));
        scratch.link("broken", std::path::Path::new("missing"));
        scratch
    }

    #[test]
    fn only_a_folder_is_opened_and_no_link_to_one() {
        let scratch = site();
        let root = resolve::open_root(scratch.path(), false).unwrap();
        for access in [OFlags::PATH, OFlags::RDONLY] {
            for (name, opens) in [
                ("folder", true),
                ("link", false),
                ("broken", false),
                ("folder/file", false),
                ("missing", false),
            ] {
                let opened = open(root.as_fd(), &name, access).unwrap();
                assert_eq!(opened.is_some(), opens, "{name}");
                if let Some(folder) = opened {
                    assert_eq!(fcntl_getfd(&folder).unwrap(), FdFlags::CLOEXEC);
                }
            }
        }
    }

    #[test]
    fn an_entry_has_its_own_kind_size_and_times() {
        let scratch = site();
        let root = resolve::open_root(scratch.path(), false).unwrap();
        let stat = |name: &str| stat_entry(root.as_fd(), name, AtFlags::empty()).unwrap();
        for (name, kind) in [
            ("folder", Some(FileType::Directory)),
            ("folder/file", Some(FileType::RegularFile)),
            ("link", Some(FileType::Symlink)),
            ("broken", Some(FileType::Symlink)),
            ("missing", None),
        ] {
            assert_eq!(stat(name).map(|found| found.kind), kind, "{name}");
        }
        let itself = stat_entry(root.as_fd(), "", AtFlags::EMPTY_PATH).unwrap();
        assert_eq!(itself.map(|found| found.kind), Some(FileType::Directory));
        let file = std::fs::File::options()
            .write(true)
            .open(scratch.path().join("folder/file"))
            .unwrap();
        let written = std::time::UNIX_EPOCH + std::time::Duration::new(1_606_867_200, 7);
        file.set_modified(written).unwrap();
        let found = stat("folder/file").unwrap();
        assert_eq!(found.modified, (1_606_867_200, 7));
        let seen = FileInfo::from(found);
        assert_eq!(
            (seen.size, seen.modified_ns),
            (5, 1_606_867_200_000_000_007)
        );
        // As on a kernel without statx(2).
        let plain = statat(root.as_fd(), "folder/file", AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let found = FileStat {
            created: None,
            ..found
        };
        assert_eq!(FileStat::from_stat(&plain), found);
    }

    #[test]
    fn a_listing_has_each_name_once_up_to_its_bound() {
        let scratch = Scratch::new();
        let names: BTreeSet<String> = (0..5).map(|number| format!("{number}.mp4")).collect();
        names.iter().for_each(|name| {
            scratch.file(name, b"");
        });
        for (max, ends) in [
            (7, Listed::Whole),
            (6, Listed::Whole),
            (5, Listed::Whole),
            (4, Listed::TooMany),
        ] {
            let root = resolve::open_root(scratch.path(), false).unwrap();
            let folder = open(root.as_fd(), &".", OFlags::RDONLY).unwrap().unwrap();
            let (mut seen, mut entries) = (BTreeSet::new(), 10);
            let listed = list(
                &folder,
                &mut Vec::with_capacity(4096),
                max,
                &mut entries,
                |name, kind| {
                    assert_eq!(kind, FileType::RegularFile);
                    assert!(seen.insert(name.to_owned()));
                },
            );
            assert_eq!(listed.unwrap(), ends, "{max}");
            if ends == Listed::Whole {
                assert_eq!((&seen, entries), (&names, 15));
            }
        }
    }

    #[test]
    fn a_time_beyond_what_nanoseconds_count_ends_there() {
        for (seconds, nanos, expected) in [
            (0, 0, 0),
            (2, 5, 2_000_000_005),
            (-1, 5, -999_999_995),
            (i64::MAX, 5, i64::MAX),
            (i64::MIN, 5, i64::MIN + 5),
        ] {
            assert_eq!(nanoseconds((seconds, nanos)), expected, "{seconds}");
        }
    }
}
