//! What a failed system call on a file server means for the one who asked.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why a recording cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// The file server is absent, not mounted, or does not answer (108-012).
    Unavailable,
    /// There is no such recording (108-009).
    NotFound,
    /// It is there but cannot be read, is no regular file, or is empty (108-013).
    Unreadable,
}

impl OpenError {
    /// The meaning of `errno` between the mount directory and the opened file, both exclusive.
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
    /// Any failure of the mount directory itself, whatever its errno, is `Unavailable`.
    pub fn on_the_way(errno: Errno) -> OpenError {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => {
                OpenError::NotFound
            }
            Errno::IO | Errno::REMOTEIO => OpenError::Unavailable,
            errno => OpenError::of_first_read(errno),
        }
    }

    /// The meaning of `errno` when the opened file is asked for its size or its first bytes.
    pub fn of_first_read(errno: Errno) -> OpenError {
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
            | Errno::NOBUFS => OpenError::Unavailable,
            _ => OpenError::Unreadable,
        }
    }

    /// [`OpenError::of_first_read`] for an error of the standard library.
    pub fn of_io(error: &io::Error) -> OpenError {
        Errno::from_io_error(error).map_or(OpenError::Unreadable, OpenError::of_first_read)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::Unavailable => "the file server is not available",
            OpenError::NotFound => "no such recording",
            OpenError::Unreadable => "the recording cannot be read",
        })
    }
}

impl std::error::Error for OpenError {}

/// Why a recording ends before its selection does. The answer then has to be cut.
#[derive(Debug)]
pub enum ReadError {
    /// The file has become shorter than it was when it was opened.
    Shrunk,
    /// The file server failed.
    Failed(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Shrunk => f.write_str("the file has become shorter"),
            ReadError::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

/// Why a mount does not serve, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Opening or examining the directory failed.
    Failed(Errno),
    /// The directory is there, but nothing is mounted on it and MOUNT_CHECK is ON.
    NotMounted,
    /// There was no answer in time.
    Silent,
    /// The directory answers, but every thread that opens recordings below it hangs.
    Stuck,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Failed(errno) => errno.fmt(f),
            Lost::NotMounted => f.write_str("nothing is mounted there (MOUNT_CHECK is ON)"),
            Lost::Silent => f.write_str("no answer in time"),
            Lost::Stuck => f.write_str("it answers, but every thread that opens recordings there hangs"),
        }
    }
}

impl std::error::Error for Lost {}

#[cfg(test)]
mod tests {
    use super::OpenError::{NotFound, Unavailable, Unreadable};
    use super::*;

    #[test]
    fn an_errno_means_what_the_table_says() {
        let table = [
            (Errno::NOENT, NotFound, Unreadable),
            (Errno::NOTDIR, NotFound, Unreadable),
            (Errno::LOOP, NotFound, Unreadable),
            (Errno::NAMETOOLONG, NotFound, Unreadable),
            (Errno::INVAL, NotFound, Unreadable),
            (Errno::STALE, Unavailable, Unavailable),
            (Errno::NOTCONN, Unavailable, Unavailable),
            (Errno::TIMEDOUT, Unavailable, Unavailable),
            (Errno::HOSTDOWN, Unavailable, Unavailable),
            (Errno::MFILE, Unavailable, Unavailable),
            (Errno::IO, Unavailable, Unreadable),
            (Errno::ACCESS, Unreadable, Unreadable),
            (Errno::PERM, Unreadable, Unreadable),
            (Errno::NXIO, Unreadable, Unreadable),
            (Errno::AGAIN, Unreadable, Unreadable),
        ];
        for (errno, walking, reading) in table {
            assert_eq!((OpenError::on_the_way(errno), OpenError::of_first_read(errno)), (walking, reading), "{errno}");
        }
    }
}
