//! Which recording a download without a recordId means: the agent's latest day, its first file by name.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use log::warn;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, statat};
use rustix::io::Errno;

use super::day::Day;
use super::open_error::OpenError;
use super::rel_path::{RelPath, Segment, has_suffix};
use super::walk;

/// How far a search goes before it gives up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Recording days looked at, the latest first.
    pub days: usize,
    /// Directory entries read in all.
    pub entries: usize,
}

/// The bounds in force: over two years of days with their folders, and an agent with a full day.
pub(super) const BOUNDS: Bounds = Bounds { days: 1000, entries: 200_000 };

/// Finds the recording below `mount` in the layout `<vdn>/<media>/<yyyymmdd>/<agent>/<file>`.
///
/// Looks into every VDN and media folder, takes the latest day on which the agent has a regular file with
/// one of `suffixes` in any of them, and of all its files of that day the first by name, then by path.
/// Links are never followed, a folder that may not be read counts as absent. When a bound is met the answer
/// is `NotFound` with a line in the log; at `deadline` nobody waits any more and the search ends.
pub(super) fn latest(
    mount: BorrowedFd<'_>,
    agent: u32,
    suffixes: &[String],
    bounds: Bounds,
    deadline: Instant,
) -> Result<RelPath, OpenError> {
    let mut search = Search { mount, suffixes, entries: bounds.entries, deadline };
    match search.run(agent, bounds.days) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(OpenError::NotFound),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Bound) => {
            warn!(
                "a search for an agent's latest recording was given up at {} entries, {} days",
                bounds.entries, bounds.days
            );
            Err(OpenError::NotFound)
        }
    }
}

struct Search<'a> {
    mount: BorrowedFd<'a>,
    suffixes: &'a [String],
    /// Directory entries that may still be read.
    entries: usize,
    deadline: Instant,
}

enum Stop {
    Bound,
    Failed(OpenError),
}

impl Search<'_> {
    fn run(&mut self, agent: u32, days: usize) -> Result<Option<RelPath>, Stop> {
        let Some(agent) = Segment::parse(&agent.to_string()) else { return Ok(None) };
        for (tried, (day, places)) in self.days()?.into_iter().rev().enumerate() {
            if tried >= days {
                return Err(Stop::Bound);
            }
            let Some(day) = Segment::parse(&day.to_string()) else { continue };
            let mut files = Vec::new();
            for [vdn, media] in places {
                let folders = vec![vdn, media, day.clone(), agent.clone()];
                let names = self.list(&folders, FileType::RegularFile)?;
                let videos = names.into_iter().filter(|name| has_suffix(name.as_str(), self.suffixes));
                files.extend(videos.map(|name| RelPath::new(folders.clone(), name)));
            }
            if let Some(first) = files.into_iter().min_by(|a, b| a.file().cmp(b.file()).then_with(|| a.cmp(b))) {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// Every day folder, with the VDN and media folders that hold one of that day.
    fn days(&mut self) -> Result<BTreeMap<Day, Vec<[Segment; 2]>>, Stop> {
        let mut days: BTreeMap<Day, Vec<[Segment; 2]>> = BTreeMap::new();
        for vdn in self.list(&[], FileType::Directory)? {
            for media in self.list(std::slice::from_ref(&vdn), FileType::Directory)? {
                for name in self.list(&[vdn.clone(), media.clone()], FileType::Directory)? {
                    if let Some(day) = Day::parse(name.as_str()) {
                        days.entry(day).or_default().push([vdn.clone(), media.clone()]);
                    }
                }
            }
        }
        Ok(days)
    }

    /// The entries of one kind in a folder below the mount; none if there is no such folder.
    ///
    /// Names that no recordId could spell are passed over, as they could not be asked for either.
    fn list(&mut self, folders: &[Segment], kind: FileType) -> Result<Vec<Segment>, Stop> {
        if Instant::now() >= self.deadline {
            return Err(Stop::Failed(OpenError::Unavailable));
        }
        let Some(folder) = self.open(folders)? else { return Ok(Vec::new()) };
        let Some(mut listing) = absent(Dir::new(folder))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        while let Some(entry) = listing.read() {
            let Some(entry) = absent(entry)? else { break };
            self.entries = self.entries.checked_sub(1).ok_or(Stop::Bound)?;
            let Some(name) = entry.file_name().to_str().ok().and_then(Segment::parse) else { continue };
            // Some file servers do not say in the listing what an entry is.
            let found = match entry.file_type() {
                FileType::Unknown => listing.fd().and_then(|folder| kind_of(folder, &name)),
                known => Ok(known),
            };
            if absent(found)? == Some(kind) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, folders: &[Segment]) -> Result<Option<OwnedFd>, Stop> {
        let Some((last, above)) = folders.split_last() else {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            return absent(rustix::fs::openat(self.mount, c".", flags, rustix::fs::Mode::empty()));
        };
        let mut parent: Option<OwnedFd> = None;
        for name in above {
            let from = parent.as_ref().map_or(self.mount, AsFd::as_fd);
            parent = absent(walk::folder(from, name, OFlags::PATH))?;
            if parent.is_none() {
                return Ok(None);
            }
        }
        absent(walk::folder(parent.as_ref().map_or(self.mount, AsFd::as_fd), last, OFlags::RDONLY))
    }
}

fn kind_of(folder: BorrowedFd<'_>, name: &Segment) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(statat(folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
}

/// Passes over what is not there or not ours to read, and stops where the file server fails.
fn absent<T>(result: Result<T, Errno>) -> Result<Option<T>, Stop> {
    match result.map_err(OpenError::on_the_way) {
        Ok(value) => Ok(Some(value)),
        Err(OpenError::Unavailable) => Err(Stop::Failed(OpenError::Unavailable)),
        Err(OpenError::NotFound | OpenError::Unreadable) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::Scratch;
    use std::time::Duration;

    fn find(scratch: &Scratch, agent: u32, bounds: Bounds) -> Result<String, OpenError> {
        let mount = walk::mount(scratch.path(), false).unwrap();
        let suffixes = ["mp4".to_owned(), "avi".to_owned()];
        let deadline = Instant::now() + Duration::from_secs(60);
        latest(mount.as_fd(), agent, &suffixes, bounds, deadline).map(|path| path.to_string())
    }

    #[test]
    fn the_first_file_of_the_latest_day_with_a_video_is_found() {
        let scratch = Scratch::new();
        for path in [
            "1/0/20201201/503/0000001.mp4",
            "1/0/20201202/503/1714442.mp4",
            "1/0/20201202/503/0900000.AVI",
            "2/7/20201202/503/0800000.mp4",
            "1/7/20201202/503/0800000.mp4",
            "1/0/20201203/503/1200000.V3",
            "1/0/20201204/504/1200000.mp4",
            "1/0/20201399/503/1200000.mp4",
            "1/0/latest/503/1200000.mp4",
            "1/20201231/503/1200000.mp4",
        ] {
            scratch.file(path, b"video");
        }
        scratch.folder("1/0/20201205/503/folder.mp4");
        assert_eq!(find(&scratch, 503, BOUNDS).unwrap(), "1/7/20201202/503/0800000.mp4");
        assert_eq!(find(&scratch, 504, BOUNDS).unwrap(), "1/0/20201204/504/1200000.mp4");
        assert_eq!(find(&scratch, 50, BOUNDS), Err(OpenError::NotFound));
    }

    #[test]
    fn links_are_not_followed_at_any_depth() {
        let (outside, scratch) = (Scratch::new(), Scratch::new());
        outside.file("0/20301231/503/1.mp4", b"secret");
        scratch.file("1/0/20201201/503/1.mp4", b"video");
        scratch.folder("1/0/20301230/503");
        scratch.link("2", outside.path());
        scratch.link("1/1", &outside.path().join("0"));
        scratch.link("1/0/20301231", &outside.path().join("0/20301231"));
        scratch.folder("1/0/20301229");
        scratch.link("1/0/20301229/503", &outside.path().join("0/20301231/503"));
        scratch.link("1/0/20301230/503/1.mp4", &outside.path().join("0/20301231/503/1.mp4"));
        assert_eq!(find(&scratch, 503, BOUNDS).unwrap(), "1/0/20201201/503/1.mp4");
    }

    #[test]
    fn an_empty_mount_has_no_recording() {
        assert_eq!(find(&Scratch::new(), 503, BOUNDS), Err(OpenError::NotFound));
    }

    #[test]
    fn both_bounds_end_a_search() {
        let scratch = Scratch::new();
        for day in 10..20 {
            scratch.folder(&format!("1/0/202012{day}/504"));
        }
        scratch.file("1/0/20201201/503/1.mp4", b"video");
        assert!(find(&scratch, 503, BOUNDS).is_ok());
        assert_eq!(find(&scratch, 503, Bounds { days: 10, ..BOUNDS }), Err(OpenError::NotFound));
        assert!(find(&scratch, 503, Bounds { days: 11, ..BOUNDS }).is_ok());
        assert_eq!(find(&scratch, 503, Bounds { entries: 12, ..BOUNDS }), Err(OpenError::NotFound));
    }

    #[test]
    fn four_hundred_days_of_two_hundred_agents_are_searched_by_their_day_folders() {
        let scratch = Scratch::new();
        for day in 0..400 {
            let (year, month, day) = (2019 + day / 336, day / 28 % 12 + 1, day % 28 + 1);
            scratch.folder(&format!("1/0/{year}{month:02}{day:02}"));
        }
        for agent in 101..301 {
            for file in 0..5 {
                scratch.file(&format!("1/0/20190101/{agent}/{file}.mp4"), b"v");
            }
        }
        // 1 + 1 + 400 folders and 5 files, each folder with its `.` and `..`, but never the 200 agents.
        let frugal = Bounds { entries: 420, days: 400 };
        assert_eq!(find(&scratch, 300, frugal).unwrap(), "1/0/20190101/300/0.mp4");
    }
}
