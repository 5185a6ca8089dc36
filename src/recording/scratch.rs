//! Helpers of tests of mounts: temporary directories, and waiting for other threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Waits until `condition` holds; fails after 60 s.
pub(crate) fn eventually(condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < limit);
        std::thread::yield_now();
    }
}

/// A temporary directory for one test.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty directory with a unique name.
    pub(crate) fn new() -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "cc-gateway-unit-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch(path.canonicalize().unwrap())
    }

    /// Its path, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a folder and its parents.
    pub(crate) fn folder(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file, and makes the folders above it.
    pub(crate) fn file(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Makes a symbolic link that leads to `target`.
    pub(crate) fn link(&self, path: &str, target: &Path) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
