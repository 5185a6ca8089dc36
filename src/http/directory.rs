//! The private directory of the inner socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ops::failure::{Exit, Failure};

/// Nobody but this user may enter.
const PRIVATE: u32 = 0o700;

/// A directory only this process's user can enter, and with it the sockets inside.
#[derive(Debug)]
pub(super) struct PrivateDirectory {
    path: PathBuf,
    /// Whether it was made here and is removed at the end.
    ours: bool,
}

impl PrivateDirectory {
    /// systemd's RuntimeDirectory where there is one, else a fresh directory below the temporary one.
    pub(super) fn open() -> Result<PrivateDirectory, Failure> {
        match std::env::var_os("RUNTIME_DIRECTORY") {
            Some(paths) => PrivateDirectory::given(&paths.to_string_lossy()),
            None => PrivateDirectory::fresh(&std::env::temp_dir()),
        }
    }

    /// The first of the directories the service manager made (systemd.exec(5) separates them by colons).
    fn given(paths: &str) -> Result<PrivateDirectory, Failure> {
        let path = PathBuf::from(paths.split(':').next().unwrap_or_default());
        match check(&path) {
            Ok(()) => Ok(PrivateDirectory { path, ours: false }),
            Err(error) => Err(Failure::new(
                Exit::Config,
                format!("RUNTIME_DIRECTORY {}: {error}; set RuntimeDirectoryMode=0700", path.display()),
            )),
        }
    }

    fn fresh(parent: &Path) -> Result<PrivateDirectory, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // mkdir fails on a name that exists, so nobody can prepare the directory for us.
        for _ in 0..100 {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("cc-gateway-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(PRIVATE).create(&path) {
                Ok(()) => return Ok(PrivateDirectory { path, ours: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(Failure::new(
                        Exit::of_io(&error, Exit::Io),
                        format!("no private directory can be made in {}: {error}", parent.display()),
                    ));
                }
            }
        }
        Err(Failure::new(Exit::Io, format!("{} is full of left-over directories", parent.display())))
    }

    /// The path of the socket of a generation of the inner server. The directory is made again if
    /// somebody cleaned it away, unless somebody else's is there meanwhile.
    pub(super) fn socket(&self, generation: u64) -> io::Result<PathBuf> {
        match DirBuilder::new().mode(PRIVATE).create(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check(&self.path)?,
            Err(error) => return Err(error),
        }
        let path = self.path.join(format!("inner-{generation}.socket"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(path),
        }
    }

    /// Removes the directory, if it was made here.
    pub(super) fn remove(&self) {
        if self.ours {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Refuses what is no directory of this user's alone.
fn check(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it must be a directory of the service's own user"));
    }
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!("its mode is {mode:04o} and must be 0700")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_directory_is_private_and_goes_with_its_owner() {
        let directory = PrivateDirectory::fresh(&std::env::temp_dir()).unwrap();
        let path = directory.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir(&path).unwrap();
        fs::write(directory.socket(1).unwrap(), "").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_others_may_enter_gets_no_socket() {
        let directory = PrivateDirectory::fresh(&std::env::temp_dir()).unwrap();
        fs::set_permissions(&directory.path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(directory.socket(1).unwrap_err().to_string().contains("0700"));
        fs::remove_dir(&directory.path).unwrap();
        std::os::unix::fs::symlink("/", &directory.path).unwrap();
        assert!(directory.socket(1).is_err());
        fs::remove_file(&directory.path).unwrap();
        assert!(directory.socket(1).is_ok());
    }

    #[test]
    fn a_given_directory_must_be_private() {
        let fresh = PrivateDirectory::fresh(&std::env::temp_dir()).unwrap();
        let path = fresh.path.to_str().unwrap().to_owned();
        assert!(PrivateDirectory::given(&format!("{path}:/elsewhere")).is_ok());
        fs::set_permissions(&fresh.path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(PrivateDirectory::given(&path).unwrap_err().to_string().contains("RuntimeDirectoryMode=0700"));
        assert!(PrivateDirectory::given("/nowhere/at/all").is_err());
    }
}
