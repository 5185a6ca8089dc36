//! Temporary directories.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new directory, removed on drop.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::below(&std::env::temp_dir())
    }

    /// A directory in memory if possible, for tests with very many files.
    pub fn light() -> Scratch {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Scratch::below(memory)
        } else {
            Scratch::new()
        }
    }

    fn below(place: &Path) -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("cc-gateway-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Scratch { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, creating its folders.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        if ["agents.properties", "others.properties"].contains(&name) {
            // As in the packages; the service warns of a readable one.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        path
    }

    /// Makes a sparse file of `length` zeros.
    pub fn sparse(&self, name: &str, length: u64) -> PathBuf {
        let path = self.file(name, "");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length)
            .unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
