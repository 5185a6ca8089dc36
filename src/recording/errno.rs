//! Names of error numbers, for log lines.

use std::fmt;

use rustix::io::Errno;

/// Text and name of an error number, such as `Permission denied (EACCES)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ErrnoText(pub Errno);

impl fmt::Display for ErrnoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        match NAMES.iter().find(|(errno, _)| *errno == self.0) {
            Some((_, name)) => write!(f, "{text} ({name})"),
            None => write!(f, "{text} (errno {})", self.0.raw_os_error()),
        }
    }
}

/// The name of an error number, such as `EACCES`, or its digits if not in [`NAMES`].
pub(crate) fn errno_name(errno: Errno) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == errno);
    known.map_or_else(
        || errno.raw_os_error().to_string(),
        |(_, name)| (*name).to_owned(),
    )
}

macro_rules! names {
    ($($name:ident)*) => {
        /// Error numbers that file systems are known to return.
        const NAMES: &[(Errno, &str)] = &[
            (Errno::ACCESS, "EACCES"),
            $((Errno::$name, concat!("E", stringify!($name)))),*
        ];
    };
}

names! {
    PERM NOENT INTR IO NXIO BADF AGAIN NOMEM BUSY NODEV NOTDIR ISDIR INVAL NFILE MFILE FBIG PIPE
    NAMETOOLONG NOSYS LOOP NODATA NOLINK PROTO BADMSG OVERFLOW ILSEQ OPNOTSUPP NETDOWN NETUNREACH
    NETRESET CONNABORTED CONNRESET NOBUFS NOTCONN SHUTDOWN TIMEDOUT CONNREFUSED HOSTDOWN HOSTUNREACH
    STALE UCLEAN REMOTEIO DQUOT NOMEDIUM NOKEY KEYEXPIRED KEYREVOKED KEYREJECTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_is_shown_with_its_text_and_name() {
        for (errno, shown) in [
            (Errno::ACCESS, "Permission denied (EACCES)"),
            (Errno::STALE, "Stale file handle (ESTALE)"),
            (Errno::NOKEY, "Required key not available (ENOKEY)"),
            (Errno::XFULL, "Exchange full (errno 54)"),
        ] {
            assert_eq!(ErrnoText(errno).to_string(), shown);
        }
    }
}
