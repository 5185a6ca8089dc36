//! Reads whole files of bounded size. A pipe, device or disk image named by mistake is an error and
//! never blocks.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::io::Errno;
use zeroize::Zeroizing;

use super::service_user;

/// A regular file with its content.
pub(crate) struct BoundedFile {
    /// The content, wiped on drop: it may be a private key.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    mode: u32,
    group: u32,
}

impl BoundedFile {
    /// Reads a regular file of at most `max` bytes.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for anything but a regular file, saying what
    /// it is; [`FileTooLarge`](io::ErrorKind::FileTooLarge); or the error of the system call.
    pub(crate) fn read(path: &Path, max: u64) -> io::Result<BoundedFile> {
        let file = open(path)?;
        // Of the open file: its name may be replaced at any moment.
        let metadata = file.metadata()?;
        if let Some(kind) = irregular_kind(metadata.file_type()) {
            return Err(not_a_regular_file(kind));
        }
        // Allocated up front, since a growing buffer would leave copies of a secret behind. Some
        // files in /proc report no size.
        let room = metadata.len().min(max).saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or(0)));
        file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is larger than {}", size(max)),
            ));
        }
        Ok(BoundedFile {
            bytes,
            mode: metadata.mode(),
            group: metadata.gid(),
        })
    }

    /// Who besides the service may read or change this file, as the predicate of a sentence; `None`
    /// if nobody. Meant for files with secrets. `root` and its group do not count.
    pub(crate) fn exposure(&self) -> Option<String> {
        match (self.mode & 0o006, self.mode & 0o060) {
            (0, 0) => None,
            (0, _) if self.group == 0 || service_user::groups().contains(&self.group) => None,
            (0, _) => Some(format!(
                "is open to group {}, which is not the service's",
                self.group
            )),
            (4, _) => Some("is world-readable".to_owned()),
            _ => Some("is world-writable".to_owned()),
        }
    }
}

/// Opens without blocking on a pipe or serial line, and without acquiring a controlling terminal.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| {
            // open(2): a socket cannot be opened, nor can a device without a driver.
            match Errno::from_io_error(&error) {
                Some(Errno::NXIO | Errno::NODEV) => not_a_regular_file("a socket or a device"),
                _ => error,
            }
        })
}

/// Names the type of a file that is not a regular one.
fn irregular_kind(kind: std::fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        return None;
    }
    let name = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "something else"
    };
    Some(name)
}

fn not_a_regular_file(kind: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {kind}, not a file"),
    )
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes >= MIB {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path =
                std::env::temp_dir().join(format!("cc-gateway-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn refusal(path: &Path) -> String {
        BoundedFile::read(path, 1024)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_not_a_file_is_refused_at_once() {
        let folder = Folder::new("bounded-kinds");
        let pipe = folder.0.join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let socket = folder.0.join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(refusal(&pipe), "it is a named pipe, not a file");
        assert_eq!(refusal(&socket), "it is a socket or a device, not a file");
        assert_eq!(refusal(&folder.0), "it is a directory, not a file");
        for device in ["/dev/zero", "/dev/null", "/dev/tty"] {
            let said = refusal(Path::new(device));
            assert!(said.ends_with("a device, not a file"), "{device}: {said}");
        }
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let folder = Folder::new("bounded-sizes");
        let path = folder.0.join("file");
        for (length, fits) in [
            (0, true),
            (1023, true),
            (1024, true),
            (1025, false),
            (1 << 20, false),
        ] {
            std::fs::write(&path, vec![b'x'; length]).unwrap();
            match BoundedFile::read(&path, 1024) {
                Ok(file) => assert!(fits && file.bytes.len() == length, "{length}"),
                Err(error) => assert!(
                    !fits && error.to_string() == "it is larger than 1 KiB",
                    "{length}: {error}"
                ),
            }
        }
        // Files of procfs have a size of 0, but have content.
        assert!(
            !BoundedFile::read(Path::new("/proc/self/status"), 1 << 20)
                .unwrap()
                .bytes
                .is_empty()
        );
    }

    #[test]
    fn who_else_may_read_a_file_is_said() {
        let folder = Folder::new("bounded-modes");
        let path = folder.0.join("key");
        std::fs::write(&path, "key").unwrap();
        let group = std::fs::metadata(&path).unwrap().gid();
        for (mode, exposure) in [
            (0o600, None),
            (0o640, None),
            (0o644, Some("is world-readable")),
            (0o604, Some("is world-readable")),
            (0o666, Some("is world-writable")),
            (0o602, Some("is world-writable")),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                BoundedFile::read(&path, 10).unwrap().exposure().as_deref(),
                exposure,
                "{mode:o}"
            );
        }
        // Only root may give a file to a group it is not in.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        if std::os::unix::fs::chown(&path, None, Some(group + 12_345)).is_ok() {
            let said = BoundedFile::read(&path, 10).unwrap().exposure().unwrap();
            assert_eq!(
                said,
                format!(
                    "is open to group {}, which is not the service's",
                    group + 12_345
                )
            );
        }
    }
}
