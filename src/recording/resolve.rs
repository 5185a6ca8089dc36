//! Opens files below a mount directory, descriptor by descriptor.
//!
//! Each step is an `openat` of one name relative to the previous descriptor, without following
//! links, so a path cannot leave its mount even if the tree changes meanwhile. `openat2` would do
//! this in one call, but systemd makes it fail with ENOSYS under `RestrictSUIDSGID=yes`.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags, fstat, openat, stat,
    statat, statx,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

use super::mount_table;
use super::open_error::MountError;
use super::rel_path::{RelPath, Segment};

/// Opens a mount directory; with `check` it must be a mount point (MOUNT_CHECK).
///
/// The operator's path may contain links. `O_DIRECTORY` triggers an automount, which `O_PATH` alone
/// would not.
pub(super) fn open_root(directory: &Path, check: bool) -> Result<OwnedFd, MountError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = retry_on_intr(|| rustix::fs::open(directory, flags, Mode::empty()))
        .map_err(MountError::Failed)?;
    if check {
        check_mounted(directory, root.as_fd())?;
    }
    Ok(root)
}

/// Checks that the opened mount directory is a mount point.
pub(super) fn check_mounted(directory: &Path, root: BorrowedFd<'_>) -> Result<(), MountError> {
    match is_mount_point(root).map_err(MountError::Failed)? {
        true => Ok(()),
        false => Err(MountError::NotMounted(mount_table::mount_above(directory))),
    }
}

/// Checks with the file server, bypassing the kernel's cache, that the directory exists and can be
/// entered.
pub(super) fn probe(root: BorrowedFd<'_>) -> Result<(), MountError> {
    stat_synced(root).map_err(MountError::Failed)?;
    // Unlike opening with O_PATH, looking up a name requires search permission, even for `.`.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| openat(root, c".", flags, Mode::empty()))
        .map(drop)
        .map_err(MountError::Failed)
}

/// Type, size and times of a file. Times are seconds since 1970, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStat {
    pub(crate) kind: FileType,
    /// Size in bytes.
    pub(crate) length: u64,
    /// The mtime.
    pub(crate) modified: (i64, u32),
    /// The ctime.
    pub(crate) changed: (i64, u32),
    /// The creation time, if requested and known to the file system.
    pub(crate) created: Option<(i64, u32)>,
}

impl FileStat {
    pub(super) fn from_stat(seen: &Stat) -> FileStat {
        let [modified, changed] = [
            (seen.st_mtime, seen.st_mtime_nsec),
            (seen.st_ctime, seen.st_ctime_nsec),
        ]
        .map(|(seconds, ns)| (seconds, u32::try_from(ns).unwrap_or_default()));
        FileStat {
            kind: FileType::from_raw_mode(seen.st_mode),
            length: u64::try_from(seen.st_size).unwrap_or_default(),
            modified,
            changed,
            created: None,
        }
    }

    /// The mtime, clamped to the range of [`SystemTime`].
    pub(super) fn modified_time(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.modified;
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            UNIX_EPOCH.checked_sub(whole)
        } else {
            UNIX_EPOCH.checked_add(whole)
        };
        time.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// Queries size and times from the file server, bypassing the kernel's cache.
///
/// `AT_STATX_FORCE_SYNC` makes NFS send GETATTR, and CIFS and FUSE ignore their attribute caches;
/// local file systems are always current. Samba is not: while a file is open it reports the old
/// mtime, also as the ctime, whatever programs on the server write to it (docs/operations.md,
/// Reliability).
pub(super) fn stat_synced(file: impl AsFd) -> Result<FileStat, Errno> {
    let mask = StatxFlags::BASIC_STATS;
    stat_synced_at(file.as_fd(), c"", AtFlags::EMPTY_PATH, mask)
}

/// [`stat_synced`] for `name` in `parent`.
pub(super) fn stat_synced_at(
    parent: BorrowedFd<'_>,
    name: impl Arg + Clone,
    flags: AtFlags,
    mask: StatxFlags,
) -> Result<FileStat, Errno> {
    let synced = flags | AtFlags::STATX_FORCE_SYNC;
    match statx(parent, name.clone(), synced, mask) {
        Ok(seen) => {
            let [modified, changed, created] = [seen.stx_mtime, seen.stx_ctime, seen.stx_btime]
                .map(|time| (time.tv_sec, time.tv_nsec));
            let has_created = seen.stx_mask & StatxFlags::BTIME.bits() != 0;
            Ok(FileStat {
                kind: FileType::from_raw_mode(seen.stx_mode.into()),
                length: seen.stx_size,
                modified,
                changed,
                created: has_created.then_some(created),
            })
        }
        // Some sandboxes and old kernels lack statx.
        Err(Errno::NOSYS | Errno::PERM) => {
            statat(parent, name, flags).map(|seen| FileStat::from_stat(&seen))
        }
        Err(errno) => Err(errno),
    }
}

/// Why a path below a mount could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WalkError {
    /// The error of the system call.
    pub(crate) errno: Errno,
    /// Whether the name is a symbolic link, which is not followed.
    pub(crate) is_link: bool,
}

/// Opens the last of `folders`, or `root` if there are none, for listing.
pub(super) fn open_dir(root: BorrowedFd<'_>, folders: &[Segment]) -> Result<OwnedFd, WalkError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match folders.split_last() {
        Some((name, above)) => open_below(root, above, name.as_str(), flags),
        None => open_below(root, &[], ".", flags),
    }
}

/// Opens the file at `path` below `root`, whatever its type.
///
/// `O_NONBLOCK` keeps a FIFO from waiting for a writer; it has no effect on regular files.
pub(super) fn open_file(root: BorrowedFd<'_>, path: &RelPath) -> Result<File, WalkError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    open_below(root, path.folders(), path.file().as_str(), flags).map(File::from)
}

/// Opens `name` in the last of `folders` below `root`, without following links.
fn open_below(
    root: BorrowedFd<'_>,
    folders: &[Segment],
    name: &str,
    flags: OFlags,
) -> Result<OwnedFd, WalkError> {
    let mut parent: Option<OwnedFd> = None;
    for folder in folders {
        let above = parent.as_ref().map_or(root, AsFd::as_fd);
        parent = Some(open_name(
            above,
            folder.as_str(),
            OFlags::PATH | OFlags::DIRECTORY,
        )?);
    }
    open_name(parent.as_ref().map_or(root, AsFd::as_fd), name, flags)
}

fn open_name(parent: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd, WalkError> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(parent, name, flags, Mode::empty())).map_err(|errno| {
        // A link fails with ELOOP as a file, and with ENOTDIR as a folder.
        let is_link = matches!(errno, Errno::LOOP | Errno::NOTDIR)
            && kind(parent, name).is_ok_and(|kind| kind == FileType::Symlink);
        WalkError { errno, is_link }
    })
}

/// The type of a file, without following links.
pub(super) fn kind(folder: BorrowedFd<'_>, name: &str) -> Result<FileType, Errno> {
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

fn is_mount_point(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    match statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE) {
        Ok(seen)
            if seen
                .stx_attributes_mask
                .contains(StatxAttributes::MOUNT_ROOT) =>
        {
            Ok(seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => differs_from_parent(directory),
        Err(errno) => Err(errno),
    }
}

/// The check for kernels before 5.8, which misses bind mounts from the same file system.
fn differs_from_parent(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (own, above) = (
        fstat(directory)?,
        statat(directory, c"..", AtFlags::empty())?,
    );
    let root = || stat(c"/").map(|root| (root.st_dev, root.st_ino) == (own.st_dev, own.st_ino));
    Ok(own.st_dev != above.st_dev || root()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::record_id::RecordId;
    use crate::recording::scratch::Scratch;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    use std::cell::Cell;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    fn open(scratch: &Scratch, id: &str) -> Result<File, WalkError> {
        let id = RecordId::parse(id, &["mp4".to_owned()]).unwrap();
        open_file(open_root(scratch.path(), false).unwrap().as_fd(), id.path())
    }

    #[test]
    fn a_file_is_opened_over_folders_only_and_a_link_is_told_from_what_is_missing() {
        let scratch = Scratch::new();
        scratch.file("1/good.mp4", b"video");
        scratch.folder("1/folder.mp4");
        let fifo = scratch.path().join("1/fifo.mp4");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RWXU).unwrap();
        let _socket = UnixListener::bind(scratch.path().join("1/socket.mp4")).unwrap();
        scratch.link("1/link.mp4", &scratch.path().join("1/good.mp4"));
        scratch.link("2", &scratch.path().join("1"));
        scratch.link("loop", &scratch.path().join("loop"));
        for (id, length) in [
            ("Y:/1/good.mp4", Some(5)),
            ("Y:/1/folder.mp4", None),
            ("Y:/1/fifo.mp4", None),
        ] {
            let stat = stat_synced(open(&scratch, id).unwrap()).unwrap();
            let is_regular = stat.kind == FileType::RegularFile;
            assert_eq!(is_regular.then_some(stat.length), length, "{id}");
        }
        let table = [
            ("Y:/1/socket.mp4", Errno::NXIO, false),
            ("Y:/1/link.mp4", Errno::LOOP, true),
            ("Y:/2/good.mp4", Errno::NOTDIR, true),
            ("Y:/loop/good.mp4", Errno::NOTDIR, true),
            ("Y:/1/missing.mp4", Errno::NOENT, false),
            ("Y:/missing/good.mp4", Errno::NOENT, false),
            ("Y:/1/good.mp4/good.mp4", Errno::NOTDIR, false),
            ("Y:/1/Good.mp4", Errno::NOENT, false),
        ];
        for (id, errno, is_link) in table {
            assert_eq!(
                open(&scratch, id).unwrap_err(),
                WalkError { errno, is_link },
                "{id}"
            );
        }
    }

    #[test]
    fn the_time_of_a_file_is_given_whatever_its_server_says() {
        let stat = |seconds, nanoseconds| FileStat {
            length: 1,
            modified: (seconds, nanoseconds),
            changed: (0, 0),
            created: None,
            kind: FileType::RegularFile,
        };
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(stat(5, 7).modified_time(), at(5) + Duration::from_nanos(7));
        assert_eq!(
            stat(-5, 500_000_000).modified_time(),
            UNIX_EPOCH - Duration::from_millis(4500)
        );
        for seconds in [i64::MIN, i64::MAX] {
            let _ = stat(seconds, u32::MAX).modified_time();
        }
        let scratch = Scratch::new();
        let file = File::create(scratch.path().join("a")).unwrap();
        file.set_modified(at(1_606_867_200)).unwrap();
        assert_eq!(stat_synced(&file).unwrap().modified, (1_606_867_200, 0));
    }

    #[test]
    fn a_mount_directory_is_checked_each_time() {
        let scratch = Scratch::new();
        assert!(matches!(
            open_root(scratch.path(), true),
            Err(MountError::NotMounted(_))
        ));
        assert_eq!(
            open_root(&scratch.path().join("missing"), false).unwrap_err(),
            MountError::Failed(Errno::NOENT)
        );
        let file = scratch.file("file", b"x");
        assert_eq!(
            open_root(&file, false).unwrap_err(),
            MountError::Failed(Errno::NOTDIR)
        );
        assert_eq!(
            open_root(Path::new("/proc/self"), true).unwrap_err(),
            MountError::NotMounted(Some("/proc".into()))
        );
        for point in ["/proc", "/"] {
            let mounted = open_root(Path::new(point), true).unwrap();
            assert_eq!(differs_from_parent(mounted.as_fd()), Ok(true), "{point}");
            assert_eq!(probe(mounted.as_fd()), Ok(()), "{point}");
        }
        assert_eq!(
            differs_from_parent(open_root(scratch.path(), false).unwrap().as_fd()),
            Ok(false)
        );
    }

    /// Names that exist, links that lead out of the mount, and names that try to.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        const KNOWN: &[&str] = &[
            "in",
            "a.mp4",
            "out",
            "out.mp4",
            "up",
            "..",
            ".",
            "",
            "%2e%2e",
            "secret.mp4",
            "\0",
            "proc",
        ];
        prop_oneof![
            4 => proptest::sample::select(&KNOWN[..2]).prop_map(|name| name.as_bytes().to_vec()),
            5 => proptest::sample::select(KNOWN).prop_map(|name| name.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..6),
        ]
    }

    /// The bytes of a recordId: a drive, or something like it, and names between slashes of either
    /// kind.
    fn record_id() -> impl Strategy<Value = Vec<u8>> {
        let start = proptest::sample::select(&["Y:/", "y:\\", "Y:/", "Y:", "Y://", "/", ""][..]);
        let names = proptest::collection::vec((name(), any::<bool>()), 1..6);
        let whole = (start, names).prop_map(|(start, names)| {
            let slashed = names
                .into_iter()
                .map(|(name, slash)| [&name[..], if slash { b"/" } else { b"\\" }].concat());
            let path: Vec<u8> = slashed.flatten().collect();
            [start.as_bytes(), &path[..path.len() - 1]].concat()
        });
        prop_oneof![9 => whole, 1 => any::<Vec<u8>>()]
    }

    #[test]
    fn no_record_id_leads_out_of_its_mount() {
        let (inside, outside) = (Scratch::new(), Scratch::new());
        outside.file("secret.mp4", b"secret");
        outside.file("in/a.mp4", b"secret");
        inside.file("a.mp4", b"video");
        inside.file("in/in/a.mp4", b"video");
        inside.file("in/a.mp4", b"video");
        for folder in ["", "in/", "in/in/"] {
            inside.link(&format!("{folder}out"), outside.path());
            inside.link(
                &format!("{folder}out.mp4"),
                &outside.path().join("secret.mp4"),
            );
            inside.link(&format!("{folder}up"), Path::new(".."));
            inside.link(&format!("{folder}proc"), Path::new("/proc/self/cwd"));
        }
        let (opened, missing, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
        let mut runner = TestRunner::new(ProptestConfig::with_cases(5000));
        let result = runner.run(&record_id(), |bytes| {
            let Ok(id) = RecordId::parse(&String::from_utf8_lossy(&bytes), &["mp4".to_owned()])
            else {
                count(&refused);
                return Ok(());
            };
            let Ok(mut file) =
                open_file(open_root(inside.path(), false).unwrap().as_fd(), id.path())
            else {
                count(&missing);
                return Ok(());
            };
            count(&opened);
            let canonical =
                std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            prop_assert_eq!(&canonical, &inside.path().join(id.path().to_string()));
            prop_assert_eq!(&canonical, &canonical.canonicalize().unwrap());
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            prop_assert_eq!(content, "video");
            Ok(())
        });
        result.unwrap();
        // Each outcome must be frequent, or the run would show little. About 130 of 5000 open a
        // file.
        let met = [opened.get(), missing.get(), refused.get()];
        assert!(met.iter().all(|&count| count > 50), "{met:?}");
    }
}
