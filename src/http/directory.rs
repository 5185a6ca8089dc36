//! The private directory of the inner socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

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
        let refused = |why: String| Failure::new(Exit::Config, format!("RUNTIME_DIRECTORY {}: {why}", path.display()));
        let metadata = fs::symlink_metadata(&path).map_err(|error| refused(error.to_string()))?;
        let mode = metadata.permissions().mode() & 0o777;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(refused("must be a directory of the service's own user".to_owned()));
        }
        if mode & 0o077 != 0 {
            return Err(refused(format!("mode is {mode:04o}, set RuntimeDirectoryMode=0700")));
        }
        Ok(PrivateDirectory { path, ours: false })
    }

    fn fresh(parent: &Path) -> Result<PrivateDirectory, Failure> {
        // mkdir fails on a name that exists, so nobody can prepare the directory for us.
        for attempt in 0..100 {
            let path = parent.join(format!("cc-gateway-{}-{attempt}", std::process::id()));
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
    /// somebody cleaned it away.
    pub(super) fn socket(&self, generation: u64) -> io::Result<PathBuf> {
        match DirBuilder::new().mode(PRIVATE).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
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
    fn a_given_directory_must_be_private() {
        let fresh = PrivateDirectory::fresh(&std::env::temp_dir()).unwrap();
        let path = fresh.path.to_str().unwrap().to_owned();
        assert!(PrivateDirectory::given(&format!("{path}:/elsewhere")).is_ok());
        fs::set_permissions(&fresh.path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(PrivateDirectory::given(&path).unwrap_err().to_string().contains("RuntimeDirectoryMode=0700"));
        assert!(PrivateDirectory::given("/nowhere/at/all").is_err());
    }
}
