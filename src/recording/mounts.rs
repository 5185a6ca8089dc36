//! The configured mounts, by node and drive.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::arrival_watch::ArrivalWatch;
use super::arrivals::Suffixes;
use super::mount::{Mount, MountStatus};
use super::watch::MountWatch;
use crate::config::{Drive, MountPoint};

/// The mounts of a gateway. Without any, every download ends with 108-011.
#[derive(Default)]
pub(crate) struct Mounts {
    by_point: BTreeMap<MountPoint, Arc<Mount>>,
    watches: Vec<MountWatch>,
}

impl Mounts {
    /// The mounts of these directories; with `check` each must be a mount point (MOUNT_CHECK).
    ///
    /// In `pool_mode` only points with a node are used, otherwise only those without. A directory
    /// that serves several points is one mount with one set of threads. Does not access the
    /// directories yet.
    pub(crate) fn new(
        directories: &BTreeMap<MountPoint, PathBuf>,
        pool_mode: bool,
        check: bool,
    ) -> Mounts {
        let mut by_directory: BTreeMap<&PathBuf, Arc<Mount>> = BTreeMap::new();
        let mut by_point = BTreeMap::new();
        for (point, directory) in directories
            .iter()
            .filter(|(point, _)| point.location.is_some() == pool_mode)
        {
            let mount = by_directory
                .entry(directory)
                .or_insert_with(|| Mount::new(directory.clone(), check));
            by_point.insert(*point, Arc::clone(mount));
        }
        Mounts {
            by_point,
            watches: Vec::new(),
        }
    }

    /// Starts watching every mount, until dropped. Fails if a thread cannot be spawned.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.watches = self
            .each()
            .into_iter()
            .map(MountWatch::start)
            .collect::<io::Result<_>>()?;
        Ok(())
    }

    /// The mount of a drive, and in pool mode of a node.
    pub(crate) fn find(&self, location: Option<u32>, drive: Drive) -> Option<&Arc<Mount>> {
        self.by_point.get(&MountPoint { location, drive })
    }

    /// Whether a node has any mount.
    pub(crate) fn has_location(&self, location: u32) -> bool {
        self.by_point
            .keys()
            .any(|point| point.location == Some(location))
    }

    /// The mount of each point, by node and drive.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&MountPoint, &Arc<Mount>)> {
        self.by_point.iter()
    }

    /// The status of each watched mount.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (&Arc<Mount>, MountStatus)> {
        self.watches
            .iter()
            .map(|watch| (&watch.mount, watch.mount.status()))
    }

    /// Whether any mount is lost.
    pub(crate) fn any_lost(&self) -> bool {
        self.statuses()
            .any(|(_, status)| status == MountStatus::Lost)
    }

    /// Downloads stuck in a read of a lost mount.
    pub(crate) fn stalled(&self) -> usize {
        self.statuses()
            .filter(|(_, status)| *status == MountStatus::Lost)
            .map(|(mount, _)| mount.reading())
            .sum()
    }

    /// A watch for new recordings on each mount, with its first point.
    pub(crate) fn arrival_watches(&self, suffixes: &Suffixes) -> Vec<ArrivalWatch> {
        let watch = |mount: Arc<Mount>| {
            let (point, _) = self
                .by_point
                .iter()
                .find(|(_, other)| Arc::ptr_eq(other, &mount))?;
            Some(ArrivalWatch::new(
                Arc::clone(&mount),
                *point,
                suffixes.clone(),
            ))
        };
        self.each().into_iter().filter_map(watch).collect()
    }

    /// Every mount once, however many points it serves.
    fn each(&self) -> Vec<Arc<Mount>> {
        let mut mounts: Vec<&Arc<Mount>> = self.by_point.values().collect();
        mounts.sort_by_key(|mount| mount.directory());
        mounts.dedup_by(|a, b| Arc::ptr_eq(a, b));
        mounts.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::{Scratch, eventually};

    fn point(location: Option<u32>, drive: char) -> MountPoint {
        MountPoint {
            location,
            drive: Drive::new(drive).unwrap(),
        }
    }

    #[test]
    fn a_mount_is_found_by_node_and_drive_only() {
        let points = [
            (point(None, 'Y'), "/a"),
            (point(Some(255), 'Y'), "/b"),
            (point(Some(256), 'Y'), "/a"),
            (point(Some(256), 'Z'), "/a"),
        ];
        let directories = points
            .map(|(point, path)| (point, PathBuf::from(path)))
            .into();
        let found = |mounts: &Mounts, location, drive| {
            let mount = mounts.find(location, Drive::new(drive).unwrap());
            mount.map(|mount| mount.directory().to_str().unwrap().to_owned())
        };
        let single = Mounts::new(&directories, false, true);
        assert_eq!(found(&single, None, 'y').as_deref(), Some("/a"));
        assert_eq!(found(&single, None, 'Z'), None);
        assert_eq!(found(&single, Some(255), 'Y'), None);
        let pool = Mounts::new(&directories, true, true);
        assert_eq!(found(&pool, None, 'Y'), None);
        assert_eq!(found(&pool, Some(255), 'Y').as_deref(), Some("/b"));
        assert_eq!(found(&pool, Some(256), 'Z').as_deref(), Some("/a"));
        assert_eq!(found(&pool, Some(255), 'Z'), None);
        assert!(pool.has_location(255) && pool.has_location(256) && !pool.has_location(1));
        assert_eq!((pool.iter().count(), pool.each().len()), (3, 2));
        let watches = pool.arrival_watches(&Suffixes::default());
        let points: Vec<_> = watches.iter().map(|watch| watch.point).collect();
        assert_eq!(points, [point(Some(256), 'Y'), point(Some(255), 'Y')]);
    }

    #[test]
    fn one_lost_mount_is_told_from_the_others() {
        let scratch = Scratch::new();
        let missing = scratch.path().join("missing");
        let directories = [
            (point(None, 'Y'), scratch.path().to_owned()),
            (point(None, 'Z'), missing.clone()),
        ];
        let mut mounts = Mounts::new(&directories.into(), false, false);
        mounts.watch().unwrap();
        eventually(|| {
            mounts
                .statuses()
                .all(|(_, status)| status != MountStatus::Unknown)
        });
        let lost: Vec<_> = mounts
            .statuses()
            .filter(|(_, status)| *status == MountStatus::Lost)
            .collect();
        assert!(mounts.any_lost());
        assert_eq!(mounts.stalled(), 0);
        for (drive, stalled) in [('Y', 0), ('Z', 1), ('Z', 2)] {
            let mount = mounts.find(None, Drive::new(drive).unwrap()).unwrap();
            mount.pretend_to_read();
            assert_eq!(mounts.stalled(), stalled);
        }
        assert_eq!(
            lost.iter()
                .map(|(mount, _)| mount.directory())
                .collect::<Vec<_>>(),
            [missing]
        );
    }
}
