//! Errors of opening and reading recordings, and the errno policy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::errno::ErrnoText;

/// Why a recording cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The file server is absent, not mounted, or does not answer (108-012).
    Unavailable(MountError),
    /// There is no such recording (108-009).
    NotFound,
    /// It exists but cannot be read (108-013).
    Unreadable(Unreadable),
    /// Too many searches for a latest recording are queued, or one of this agent is unfinished
    /// (503).
    Busy,
}

/// Why an existing recording cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Opening or reading it failed.
    Failed(Errno),
    /// It is a folder, a FIFO, a socket or a device.
    Irregular,
    /// It is empty.
    Empty,
    /// It shrank while it was being opened.
    Shrunk,
}

impl OpenError {
    /// The meaning of `errno` on the way from the mount directory to the opened file, both
    /// exclusive.
    ///
    /// | errno | on the way | first read |
    /// | --- | --- | --- |
    /// | ENOENT, ENOTDIR, ELOOP: missing, or a link, which is never followed | `NotFound` | `Unreadable` |
    /// | ENAMETOOLONG, EINVAL, EILSEQ: a name this file system cannot hold | `NotFound` | `Unreadable` |
    /// | ESTALE, ENOTCONN, ETIMEDOUT and the other network errors: server gone | `Unavailable` | `Unavailable` |
    /// | EMFILE, ENFILE, ENOMEM, ENOBUFS: this process lacks something | `Unavailable` | `Unavailable` |
    /// | EIO, EREMOTEIO: a folder fails for all its files, a read for one | `Unavailable` | `Unreadable` |
    /// | EACCES, EPERM: not ours to read | `Unreadable` | `Unreadable` |
    /// | ENXIO, ENODEV: a socket or device; EAGAIN: leased to a writer; others | `Unreadable` | `Unreadable` |
    ///
    /// Any failure of the mount directory itself is `Unavailable`.
    pub(crate) fn from_walk(errno: Errno) -> OpenError {
        match errno {
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::ILSEQ => OpenError::NotFound,
            Errno::IO | Errno::REMOTEIO => OpenError::Unavailable(MountError::Failed(errno)),
            // A socket, or a device without a driver.
            Errno::NXIO => OpenError::Unreadable(Unreadable::Irregular),
            errno => OpenError::from_first_read(errno),
        }
    }

    /// The meaning of `errno` from the first stat or read of an opened file.
    pub(crate) fn from_first_read(errno: Errno) -> OpenError {
        match errno {
            Errno::STALE
            | Errno::NOTCONN
            | Errno::TIMEDOUT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NETRESET
            | Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::SHUTDOWN
            | Errno::PIPE
            | Errno::NOLINK
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::NOBUFS => OpenError::Unavailable(MountError::Failed(errno)),
            errno => OpenError::Unreadable(Unreadable::Failed(errno)),
        }
    }

    /// The errno of the failed system call, if any: a fault that the operator can fix.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            OpenError::Unavailable(MountError::Failed(errno))
            | OpenError::Unreadable(Unreadable::Failed(errno)) => Some(*errno),
            _ => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Unavailable(lost) => write!(f, "the file server is not available: {lost}"),
            OpenError::NotFound => f.write_str("no such recording"),
            OpenError::Unreadable(reason) => reason.fmt(f),
            OpenError::Busy => f.write_str("too many searches for a latest recording"),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Failed(errno) => ErrnoText(*errno).fmt(f),
            Unreadable::Irregular => f.write_str("not a regular file"),
            Unreadable::Empty => f.write_str("an empty file"),
            Unreadable::Shrunk => f.write_str("the file shrank while it was opened"),
        }
    }
}

/// Why a recording could not be sent completely. The response must be cut.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file has shrunk since it was opened.
    Shrunk,
    /// The file was written to since it was opened, so the response may mix old and new content.
    Changed,
    /// The agent has lost the right to it.
    Revoked,
    /// The file server failed.
    Failed(Errno),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Shrunk => f.write_str("the file shrank while it was sent"),
            ReadError::Changed => f.write_str("the file was changed while it was sent"),
            ReadError::Revoked => f.write_str("the agent may no longer have it"),
            ReadError::Failed(errno) => ErrnoText(*errno).fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> io::Error {
        match error {
            // Wrapped, so that the log names the errno and it is not mistaken for one of the
            // socket.
            ReadError::Failed(errno) => io::Error::new(errno.kind(), error),
            ReadError::Shrunk => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            ReadError::Changed | ReadError::Revoked => io::Error::other(error),
        }
    }
}

/// Why a mount is unavailable, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountError {
    /// Opening, entering or examining the directory failed.
    Failed(Errno),
    /// The directory exists, but nothing is mounted on it and MOUNT_CHECK is ON. Contains the mount
    /// point of its file system, unless that is `/`.
    NotMounted(Option<PathBuf>),
    /// The file server did not answer in time.
    TimedOut,
    /// The directory answers, but every opening thread hangs.
    Stuck,
    /// The directory answers, but files opened there cannot be closed.
    CloseHung,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountError::Failed(errno) => {
                ErrnoText(*errno).fmt(f)?;
                if matches!(*errno, Errno::ACCESS | Errno::PERM) {
                    f.write_str(": the user of this process may not enter it")?;
                }
                Ok(())
            }
            MountError::NotMounted(above) => {
                f.write_str("nothing is mounted there (MOUNT_CHECK is ON)")?;
                let Some(above) = above else { return Ok(()) };
                let above = above.display();
                write!(
                    f,
                    "; it is a folder of what is mounted on {above}: if that is the file server, set MOUNT_CHECK to OFF"
                )
            }
            MountError::TimedOut => f.write_str("no answer in time"),
            MountError::Stuck => {
                f.write_str("it answers, but every thread that opens recordings there hangs")
            }
            MountError::CloseHung => {
                f.write_str("it answers, but files opened there cannot be closed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variant without its reason.
    fn kind(error: &OpenError) -> &'static str {
        match error {
            OpenError::Unavailable(_) => "Unavailable",
            OpenError::NotFound => "NotFound",
            OpenError::Unreadable(_) => "Unreadable",
            OpenError::Busy => "Busy",
        }
    }

    #[test]
    fn an_errno_means_what_the_table_says() {
        let table = [
            (Errno::NOENT, "NotFound", "Unreadable"),
            (Errno::NOTDIR, "NotFound", "Unreadable"),
            (Errno::LOOP, "NotFound", "Unreadable"),
            (Errno::NAMETOOLONG, "NotFound", "Unreadable"),
            (Errno::INVAL, "NotFound", "Unreadable"),
            (Errno::STALE, "Unavailable", "Unavailable"),
            (Errno::NOTCONN, "Unavailable", "Unavailable"),
            (Errno::TIMEDOUT, "Unavailable", "Unavailable"),
            (Errno::HOSTDOWN, "Unavailable", "Unavailable"),
            (Errno::MFILE, "Unavailable", "Unavailable"),
            (Errno::IO, "Unavailable", "Unreadable"),
            (Errno::ACCESS, "Unreadable", "Unreadable"),
            (Errno::PERM, "Unreadable", "Unreadable"),
            (Errno::NXIO, "Unreadable", "Unreadable"),
            (Errno::AGAIN, "Unreadable", "Unreadable"),
        ];
        for (errno, walking, reading) in table {
            let found = (
                OpenError::from_walk(errno),
                OpenError::from_first_read(errno),
            );
            assert_eq!(
                (kind(&found.0), kind(&found.1)),
                (walking, reading),
                "{errno}"
            );
            assert_eq!(found.1.errno(), Some(errno));
        }
    }

    #[test]
    fn a_cut_answer_names_the_error_number() {
        let error = io::Error::from(ReadError::Failed(Errno::STALE));
        assert_eq!(error.to_string(), "Stale file handle (ESTALE)");
        assert_eq!(
            io::Error::from(ReadError::Shrunk).kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn an_operator_reads_what_is_wrong_with_a_mount() {
        for (lost, text) in [
            (
                MountError::Failed(Errno::NOENT),
                "No such file or directory (ENOENT)",
            ),
            (
                MountError::Failed(Errno::ACCESS),
                "Permission denied (EACCES): the user of this process may not enter it",
            ),
            (
                MountError::NotMounted(None),
                "nothing is mounted there (MOUNT_CHECK is ON)",
            ),
            (
                MountError::NotMounted(Some("/srv".into())),
                "nothing is mounted there (MOUNT_CHECK is ON); it is a folder of what is mounted on /srv: if that is the \
                 file server, set MOUNT_CHECK to OFF",
            ),
            (
                MountError::Failed(Errno::PERM),
                "Operation not permitted (EPERM): the user of this process may not enter it",
            ),
            (MountError::TimedOut, "no answer in time"),
            (
                MountError::Stuck,
                "it answers, but every thread that opens recordings there hangs",
            ),
            (
                MountError::CloseHung,
                "it answers, but files opened there cannot be closed",
            ),
        ] {
            assert_eq!(lost.to_string(), text);
        }
    }

    #[test]
    fn every_failure_has_a_text_for_the_log() {
        for (error, text) in [
            (
                OpenError::Unavailable(MountError::TimedOut).to_string(),
                "the file server is not available: no answer in time",
            ),
            (OpenError::NotFound.to_string(), "no such recording"),
            (
                OpenError::Busy.to_string(),
                "too many searches for a latest recording",
            ),
            (
                OpenError::Unreadable(Unreadable::Failed(Errno::IO)).to_string(),
                "Input/output error (EIO)",
            ),
            (Unreadable::Irregular.to_string(), "not a regular file"),
            (Unreadable::Empty.to_string(), "an empty file"),
            (
                Unreadable::Shrunk.to_string(),
                "the file shrank while it was opened",
            ),
            (
                ReadError::Shrunk.to_string(),
                "the file shrank while it was sent",
            ),
            (
                ReadError::Changed.to_string(),
                "the file was changed while it was sent",
            ),
            (
                ReadError::Revoked.to_string(),
                "the agent may no longer have it",
            ),
            (
                ReadError::Failed(Errno::IO).to_string(),
                "Input/output error (EIO)",
            ),
        ] {
            assert_eq!(text, error);
        }
    }

    #[test]
    fn only_a_failed_call_of_the_system_has_a_number() {
        for (error, errno) in [
            (
                OpenError::Unavailable(MountError::Failed(Errno::STALE)),
                Some(Errno::STALE),
            ),
            (OpenError::Unavailable(MountError::Stuck), None),
            (OpenError::NotFound, None),
            (OpenError::Busy, None),
            (OpenError::Unreadable(Unreadable::Empty), None),
        ] {
            assert_eq!(error.errno(), errno, "{error}");
        }
    }

    #[test]
    fn a_cut_answer_is_of_the_kind_of_its_cause() {
        for (error, kind) in [
            (ReadError::Failed(Errno::TIMEDOUT), io::ErrorKind::TimedOut),
            (ReadError::Shrunk, io::ErrorKind::UnexpectedEof),
            (ReadError::Changed, io::ErrorKind::Other),
            (ReadError::Revoked, io::ErrorKind::Other),
        ] {
            let text = error.to_string();
            let wrapped = io::Error::from(error);
            assert_eq!((wrapped.kind(), wrapped.to_string()), (kind, text));
        }
    }
}
