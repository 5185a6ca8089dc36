//! From a mount directory to an opened file, by descriptor only.
//!
//! Every step is one `openat` of one name below the descriptor of the step before, and follows no link, so
//! a path cannot leave its mount however the tree changes meanwhile. `openat2` would say the same in one
//! call, but systemd answers it with ENOSYS under `RestrictSUIDSGID=yes`.

use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags, fstat, openat, stat, statat, statx};
use rustix::io::{Errno, retry_on_intr};

use super::open_error::{Lost, OpenError};
use super::rel_path::{RelPath, Segment};

/// Opens a mount directory; with `check` it must be a mount point of its own (MOUNT_CHECK).
///
/// The directory is the operator's and may be reached over links. `O_DIRECTORY` makes an automount point
/// mount itself, which `O_PATH` alone would not.
pub(super) fn mount(directory: &Path, check: bool) -> Result<OwnedFd, Lost> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = retry_on_intr(|| rustix::fs::open(directory, flags, Mode::empty())).map_err(Lost::Failed)?;
    if check && !is_mount_point(mount.as_fd()).map_err(Lost::Failed)? {
        return Err(Lost::NotMounted);
    }
    Ok(mount)
}

/// Asks the file server itself, not the kernel's memory of it, whether the directory is there.
pub(super) fn refresh(mount: BorrowedFd<'_>) -> Result<(), Lost> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    match statx(mount, c"", flags, StatxFlags::BASIC_STATS) {
        Ok(_) => Ok(()),
        // Some sandboxes and old kernels lack statx; there the plain question has to do.
        Err(Errno::NOSYS | Errno::PERM) => fstat(mount).map(drop).map_err(Lost::Failed),
        Err(errno) => Err(Lost::Failed(errno)),
    }
}

/// Opens a folder below `parent` that is no link, for walking on (`OFlags::PATH`) or listing (`RDONLY`).
pub(super) fn folder(parent: BorrowedFd<'_>, name: &Segment, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(parent, name.as_str(), flags, Mode::empty()))
}

/// Opens the regular, non-empty file at `path` below `mount` and takes its size and times.
///
/// `O_NONBLOCK` keeps a FIFO from waiting for its writer; it means nothing to a regular file.
pub(super) fn file(mount: BorrowedFd<'_>, path: &RelPath) -> Result<(File, Metadata), OpenError> {
    let mut parent: Option<OwnedFd> = None;
    for name in path.folders() {
        let above = parent.as_ref().map_or(mount, AsFd::as_fd);
        parent = Some(folder(above, name, OFlags::PATH).map_err(OpenError::on_the_way)?);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let above = parent.as_ref().map_or(mount, AsFd::as_fd);
    let opened = retry_on_intr(|| openat(above, path.file().as_str(), flags, Mode::empty()));
    let file = File::from(opened.map_err(OpenError::on_the_way)?);
    let metadata = file.metadata().map_err(|error| OpenError::of_io(&error))?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(OpenError::Unreadable);
    }
    Ok((file, metadata))
}

fn is_mount_point(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    match statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE) {
        Ok(seen) if seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            Ok(seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => differs_from_parent(directory),
        Err(errno) => Err(errno),
    }
}

/// The mount point rule for kernels before 5.8, which misses a bind mount from the same file system.
fn differs_from_parent(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (own, above) = (fstat(directory)?, statat(directory, c"..", AtFlags::empty())?);
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

    fn open(scratch: &Scratch, id: &str) -> Result<(File, Metadata), OpenError> {
        let id = RecordId::parse(id, &["mp4".to_owned()]).unwrap();
        file(mount(scratch.path(), false).unwrap().as_fd(), id.path())
    }

    #[test]
    fn only_a_regular_file_with_bytes_is_opened() {
        let scratch = Scratch::new();
        scratch.file("1/good.mp4", b"video");
        scratch.file("1/empty.mp4", b"");
        scratch.folder("1/folder.mp4");
        let fifo = scratch.path().join("1/fifo.mp4");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RWXU).unwrap();
        let _socket = UnixListener::bind(scratch.path().join("1/socket.mp4")).unwrap();
        scratch.link("1/link.mp4", &scratch.path().join("1/good.mp4"));
        scratch.link("2", &scratch.path().join("1"));
        scratch.link("loop", &scratch.path().join("loop"));
        assert_eq!(open(&scratch, "Y:/1/good.mp4").unwrap().1.len(), 5);
        let table = [
            ("Y:/1/empty.mp4", OpenError::Unreadable),
            ("Y:/1/folder.mp4", OpenError::Unreadable),
            ("Y:/1/fifo.mp4", OpenError::Unreadable),
            ("Y:/1/socket.mp4", OpenError::Unreadable),
            ("Y:/1/link.mp4", OpenError::NotFound),
            ("Y:/2/good.mp4", OpenError::NotFound),
            ("Y:/loop/good.mp4", OpenError::NotFound),
            ("Y:/1/missing.mp4", OpenError::NotFound),
            ("Y:/missing/good.mp4", OpenError::NotFound),
            ("Y:/1/good.mp4/good.mp4", OpenError::NotFound),
            ("Y:/1/Good.mp4", OpenError::NotFound),
        ];
        for (id, error) in table {
            assert_eq!(open(&scratch, id).unwrap_err(), error, "{id}");
        }
    }

    #[test]
    fn a_mount_directory_is_checked_each_time() {
        let scratch = Scratch::new();
        assert_eq!(mount(scratch.path(), true).unwrap_err(), Lost::NotMounted);
        assert_eq!(mount(&scratch.path().join("missing"), false).unwrap_err(), Lost::Failed(Errno::NOENT));
        let file = scratch.file("file", b"x");
        assert_eq!(mount(&file, false).unwrap_err(), Lost::Failed(Errno::NOTDIR));
        for point in ["/proc", "/"] {
            let mounted = mount(Path::new(point), true).unwrap();
            assert_eq!(differs_from_parent(mounted.as_fd()), Ok(true), "{point}");
            assert_eq!(refresh(mounted.as_fd()), Ok(()), "{point}");
        }
        assert_eq!(differs_from_parent(mount(scratch.path(), false).unwrap().as_fd()), Ok(false));
    }

    /// Names that exist, that lead out, and that try to.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        const KNOWN: &[&str] =
            &["in", "a.mp4", "out", "out.mp4", "up", "..", ".", "", "%2e%2e", "secret.mp4", "\0", "proc"];
        prop_oneof![
            4 => proptest::sample::select(&KNOWN[..2]).prop_map(|name| name.as_bytes().to_vec()),
            5 => proptest::sample::select(KNOWN).prop_map(|name| name.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..6),
        ]
    }

    /// The bytes of a recordId: a drive, or something like it, and names between slashes of either kind.
    fn record_id() -> impl Strategy<Value = Vec<u8>> {
        let start = proptest::sample::select(&["Y:/", "y:\\", "Y:/", "Y:", "Y://", "/", ""][..]);
        let names = proptest::collection::vec((name(), any::<bool>()), 1..6);
        let whole = (start, names).prop_map(|(start, names)| {
            let slashed = names.into_iter().map(|(name, slash)| [&name[..], if slash { b"/" } else { b"\\" }].concat());
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
            inside.link(&format!("{folder}out.mp4"), &outside.path().join("secret.mp4"));
            inside.link(&format!("{folder}up"), Path::new(".."));
            inside.link(&format!("{folder}proc"), Path::new("/proc/self/cwd"));
        }
        let (opened, missing, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
        let mut runner = TestRunner::new(ProptestConfig::with_cases(5000));
        let result = runner.run(&record_id(), |bytes| {
            let Ok(id) = RecordId::parse(&String::from_utf8_lossy(&bytes), &["mp4".to_owned()]) else {
                count(&refused);
                return Ok(());
            };
            let Ok((mut file, _)) = file(mount(inside.path(), false).unwrap().as_fd(), id.path()) else {
                count(&missing);
                return Ok(());
            };
            count(&opened);
            let canonical = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            prop_assert_eq!(&canonical, &inside.path().join(id.path().to_string()));
            prop_assert_eq!(&canonical, &canonical.canonicalize().unwrap());
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            prop_assert_eq!(content, "video");
            Ok(())
        });
        result.unwrap();
        // Each of the three ends is met often, or the run would say little.
        let met = [opened.get(), missing.get(), refused.get()];
        assert!(met.iter().all(|&count| count > 100), "{met:?}");
    }
}
