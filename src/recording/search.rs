//! Finds the recording for a download without recordId: the first by name of the agent's latest
//! day.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::day::Day;
use super::mount_log::MountLog;
use super::open_error::{MountError, OpenError};
use super::rel_path::{RelPath, Segment, has_suffix};
use super::resolve;

/// Limits of one search.
#[derive(Debug, Clone, Copy)]
pub(super) struct SearchLimits {
    /// Days searched, the latest first.
    pub(crate) days: usize,
    /// Directory entries read in total.
    pub(crate) entries: usize,
}

/// Enough for over two years of days, and an agent with a full day.
pub(super) const SEARCH_LIMITS: SearchLimits = SearchLimits {
    days: 1000,
    entries: 200_000,
};

/// Directory entries read between two checks of the clock.
const ENTRIES_PER_CHECK: usize = 256;

/// Finds the recording below `root` in the layout `<vdn>/<media>/<yyyymmdd>/<agent>/<file>`.
///
/// Searches every VDN and media folder for the latest day on which the agent has a regular file
/// with one of `suffixes`, and takes the first file of that day by name, then by path. Links are
/// not followed, and unreadable folders below `root` count as absent; both are logged. A limit ends
/// the search with `NotFound`, `deadline` with `Unavailable`, both logged. Only one file is kept,
/// so memory is bounded by the number of folders.
pub(super) fn latest(
    root: BorrowedFd<'_>,
    agent: u32,
    suffixes: &[String],
    bounds: SearchLimits,
    deadline: Instant,
    log: &MountLog,
) -> Result<RelPath, OpenError> {
    let mut search = Search {
        root,
        suffixes,
        entries: bounds.entries,
        deadline,
        log,
    };
    match search.run(agent, bounds.days) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(OpenError::NotFound),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Bound) => {
            log.gave_up(&format_args!(
                "{} entries, {} days",
                bounds.entries, bounds.days
            ));
            Err(OpenError::NotFound)
        }
        Err(Stop::Late) => {
            log.gave_up(&format_args!(
                "{} entries, as its time was over",
                bounds.entries - search.entries
            ));
            Err(OpenError::Unavailable(MountError::TimedOut))
        }
    }
}

struct Search<'a> {
    root: BorrowedFd<'a>,
    suffixes: &'a [String],
    /// Directory entries that may still be read.
    entries: usize,
    deadline: Instant,
    log: &'a MountLog,
}

enum Stop {
    Bound,
    Late,
    Failed(OpenError),
}

impl Search<'_> {
    fn run(&mut self, agent: u32, days: usize) -> Result<Option<RelPath>, Stop> {
        let agent = Segment::from_number(agent);
        for (tried, (day, places)) in self.days()?.into_iter().rev().enumerate() {
            if tried >= days {
                return Err(Stop::Bound);
            }
            let day = Segment::from(day);
            let mut first: Option<RelPath> = None;
            for [vdn, media] in places {
                let folders = vec![vdn, media, day.clone(), agent.clone()];
                let Some(file) = self.first_file(&folders)? else {
                    continue;
                };
                let found = RelPath::new(folders, file);
                let is_less = |kept: &RelPath| (found.file(), &found) < (kept.file(), kept);
                if first.as_ref().is_none_or(is_less) {
                    first = Some(found);
                }
            }
            if first.is_some() {
                return Ok(first);
            }
        }
        Ok(None)
    }

    /// All days, with the VDN and media folders that contain them.
    fn days(&mut self) -> Result<BTreeMap<Day, Vec<[Segment; 2]>>, Stop> {
        let mut days: BTreeMap<Day, Vec<[Segment; 2]>> = BTreeMap::new();
        for vdn in self.subfolders(&[])? {
            for media in self.subfolders(std::slice::from_ref(&vdn))? {
                let place = [vdn.clone(), media];
                let mut found = Vec::new();
                self.for_each_entry(&place, FileType::Directory, |name| {
                    found.extend(Day::parse(name.as_str()))
                })?;
                for day in found {
                    days.entry(day).or_default().push(place.clone());
                }
            }
        }
        Ok(days)
    }

    fn subfolders(&mut self, folders: &[Segment]) -> Result<Vec<Segment>, Stop> {
        let mut names = Vec::new();
        self.for_each_entry(folders, FileType::Directory, |name| names.push(name))?;
        Ok(names)
    }

    /// The first recording of a folder by name.
    ///
    /// Skips names that are not valid in a recordId, as they could not be requested either.
    fn first_file(&mut self, folders: &[Segment]) -> Result<Option<Segment>, Stop> {
        let suffixes = self.suffixes;
        let mut first: Option<Segment> = None;
        self.for_each_entry(folders, FileType::RegularFile, |name| {
            if has_suffix(name.as_str(), suffixes) && first.as_ref().is_none_or(|kept| name < *kept)
            {
                first = Some(name);
            }
        })?;
        Ok(first)
    }

    /// Calls `take` with every name of one file type in a folder below the root, if the folder
    /// exists.
    fn for_each_entry(
        &mut self,
        folders: &[Segment],
        kind: FileType,
        mut take: impl FnMut(Segment),
    ) -> Result<(), Stop> {
        self.check_time()?;
        let Some(folder) = self.open(folders)? else {
            return Ok(());
        };
        let Some(mut listing) = self.missing_as_none(Dir::new(folder), folders)? else {
            return Ok(());
        };
        let mut until_check = ENTRIES_PER_CHECK;
        while let Some(entry) = listing.read() {
            let Some(entry) = self.missing_as_none(entry, folders)? else {
                break;
            };
            self.entries = self.entries.checked_sub(1).ok_or(Stop::Bound)?;
            until_check -= 1;
            if until_check == 0 {
                self.check_time()?;
                until_check = ENTRIES_PER_CHECK;
            }
            let Some(name) = entry.file_name().to_str().ok().and_then(Segment::parse) else {
                continue;
            };
            let found = match entry.file_type() {
                // Some file servers do not report types in listings, and each stat takes time.
                FileType::Unknown => {
                    self.check_time()?;
                    let kind = listing
                        .fd()
                        .and_then(|folder| resolve::kind(folder, name.as_str()));
                    self.missing_as_none(kind, folders)?
                }
                known => Some(known),
            };
            match found {
                Some(found) if found == kind => take(name),
                Some(FileType::Symlink) => self.log.link(&below(folders, Some(name.as_str()))),
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&self, folders: &[Segment]) -> Result<Option<OwnedFd>, Stop> {
        let opened = resolve::open_dir(self.root, folders);
        if opened.as_ref().is_err_and(|error| error.is_link) {
            self.log.link(&below(folders, None));
        }
        self.missing_as_none(opened.map_err(|error| error.errno), folders)
    }

    /// Maps missing and unreadable files to `None`; stops if the file server fails.
    fn missing_as_none<T>(
        &self,
        result: Result<T, Errno>,
        folders: &[Segment],
    ) -> Result<Option<T>, Stop> {
        let errno = match result {
            Ok(value) => return Ok(Some(value)),
            Err(errno) => errno,
        };
        match OpenError::from_walk(errno) {
            OpenError::NotFound => Ok(None),
            // If the mount directory itself cannot be listed, nothing is known.
            OpenError::Unreadable(reason) if !folders.is_empty() => {
                self.log.failed(&below(folders, None), &reason);
                Ok(None)
            }
            error => Err(Stop::Failed(error)),
        }
    }

    fn check_time(&self) -> Result<(), Stop> {
        if Instant::now() >= self.deadline {
            Err(Stop::Late)
        } else {
            Ok(())
        }
    }
}

/// The path below the mount of a folder, or of a name in it.
fn below(folders: &[Segment], name: Option<&str>) -> String {
    let names: Vec<&str> = folders.iter().map(Segment::as_str).chain(name).collect();
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::Scratch;
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn find(scratch: &Scratch, agent: u32, bounds: SearchLimits) -> Result<String, OpenError> {
        find_until(
            scratch,
            agent,
            bounds,
            Instant::now() + Duration::from_secs(60),
        )
    }

    fn find_until(
        scratch: &Scratch,
        agent: u32,
        bounds: SearchLimits,
        deadline: Instant,
    ) -> Result<String, OpenError> {
        let root = resolve::open_root(scratch.path(), false).unwrap();
        let (suffixes, log) = (
            ["mp4".to_owned(), "avi".to_owned()],
            MountLog::new(scratch.path()),
        );
        latest(root.as_fd(), agent, &suffixes, bounds, deadline, &log).map(|path| path.to_string())
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
        assert_eq!(
            find(&scratch, 503, SEARCH_LIMITS).unwrap(),
            "1/7/20201202/503/0800000.mp4"
        );
        assert_eq!(
            find(&scratch, 504, SEARCH_LIMITS).unwrap(),
            "1/0/20201204/504/1200000.mp4"
        );
        assert_eq!(find(&scratch, 50, SEARCH_LIMITS), Err(OpenError::NotFound));
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
        scratch.link(
            "1/0/20301230/503/1.mp4",
            &outside.path().join("0/20301231/503/1.mp4"),
        );
        assert_eq!(
            find(&scratch, 503, SEARCH_LIMITS).unwrap(),
            "1/0/20201201/503/1.mp4"
        );
    }

    #[test]
    fn an_empty_mount_has_no_recording() {
        assert_eq!(
            find(&Scratch::new(), 503, SEARCH_LIMITS),
            Err(OpenError::NotFound)
        );
    }

    #[test]
    fn both_bounds_end_a_search() {
        let scratch = Scratch::new();
        for day in 10..20 {
            scratch.folder(&format!("1/0/202012{day}/504"));
        }
        scratch.file("1/0/20201201/503/1.mp4", b"video");
        assert!(find(&scratch, 503, SEARCH_LIMITS).is_ok());
        assert_eq!(
            find(
                &scratch,
                503,
                SearchLimits {
                    days: 10,
                    ..SEARCH_LIMITS
                }
            ),
            Err(OpenError::NotFound)
        );
        assert!(
            find(
                &scratch,
                503,
                SearchLimits {
                    days: 11,
                    ..SEARCH_LIMITS
                }
            )
            .is_ok()
        );
        assert_eq!(
            find(
                &scratch,
                503,
                SearchLimits {
                    entries: 12,
                    ..SEARCH_LIMITS
                }
            ),
            Err(OpenError::NotFound)
        );
    }

    #[test]
    fn a_search_whose_time_is_over_ends_at_once() {
        let scratch = Scratch::new();
        scratch.file("1/0/20201201/503/1.mp4", b"video");
        assert_eq!(
            find_until(&scratch, 503, SEARCH_LIMITS, Instant::now()),
            Err(OpenError::Unavailable(MountError::TimedOut))
        );
    }

    #[test]
    fn of_a_full_folder_the_least_name_is_found() {
        let scratch = Scratch::new();
        for number in (100..2000).rev() {
            scratch.file(&format!("1/0/20201201/503/{number:07}.mp4"), b"v");
        }
        scratch.file("1/0/20201201/503/0000001.mp3", b"v");
        scratch.file("1/0/20201201/503/0000000:.mp4", b"v");
        assert_eq!(
            find(&scratch, 503, SEARCH_LIMITS).unwrap(),
            "1/0/20201201/503/0000100.mp4"
        );
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
        // 1 + 1 + 400 folders and 5 files, plus `.` and `..` in each listed folder, but not the
        // folders of the 200 agents.
        let frugal = SearchLimits {
            entries: 420,
            days: 400,
        };
        assert_eq!(
            find(&scratch, 300, frugal).unwrap(),
            "1/0/20190101/300/0.mp4"
        );
    }

    #[test]
    fn a_link_at_any_depth_is_told() {
        use crate::ops::log_capture::logged;
        let outside = Scratch::new();
        outside.file("20201202/503/1.mp4", b"video");
        for path in [
            "1",
            "1/0",
            "1/0/20201202",
            "1/0/20201202/503",
            "1/0/20201202/503/1.mp4",
        ] {
            let scratch = Scratch::new();
            scratch.file("2/0/20201201/503/2.mp4", b"video");
            scratch.link(path, outside.path());
            let lines = logged(|| {
                assert_eq!(
                    find(&scratch, 503, SEARCH_LIMITS).unwrap(),
                    "2/0/20201201/503/2.mp4"
                );
            });
            let told = lines
                .iter()
                .filter(|line| line.contains("is a symbolic link"));
            assert!(
                told.count() == 1 && lines[0].contains(path),
                "{path} {lines:?}"
            );
        }
    }
}
