//! An opened recording.

use std::fmt;
use std::time::SystemTime;

use rustix::fs::{Advice, FileType, fadvise};

use super::open_error::{OpenError, ReadError, Unreadable};
use super::open_files::MountFile;
use super::range::{Conditions, FileState, Selection, select};
use super::rel_path::RelPath;
use super::resolve::FileStat;
use super::validators::{ETag, last_modified};

/// Bytes read when a recording is opened: shows that the file server answers, and can be sent with
/// the response head.
pub(crate) const PREFETCH_LEN: usize = 16 * 1024;

/// A recording opened for one response. Size, times and bytes come from one descriptor, so they
/// belong to the same file even if it is renamed or replaced.
///
/// Dropping it never blocks, as a thread of the mount closes the descriptor.
pub(crate) struct Video {
    file: MountFile,
    path: RelPath,
    stat: FileStat,
    opened: SystemTime,
    etag: ETag,
    selection: Selection,
    /// Where the next read begins, and how much of the selection remains.
    offset: u64,
    remaining: u64,
    /// The bytes read at opening, until they are returned.
    prefetched: Vec<u8>,
}

impl Video {
    /// Selects the requested part and reads its first chunk, so that failures of the file server
    /// show before the response head is sent.
    pub(super) fn begin(
        file: MountFile,
        path: RelPath,
        conditions: &Conditions,
    ) -> Result<Video, OpenError> {
        let stat = file.stat().map_err(OpenError::from_first_read)?;
        if stat.kind != FileType::RegularFile {
            return Err(OpenError::Unreadable(Unreadable::Irregular));
        }
        if stat.length == 0 {
            return Err(OpenError::Unreadable(Unreadable::Empty));
        }
        let (etag, opened) = (ETag::from_stat(&stat), SystemTime::now());
        let state = FileState {
            etag: &etag,
            modified: stat.modified_time(),
            length: stat.length,
            now: opened,
        };
        let selection = select(conditions, state);
        let (offset, remaining) = match selection {
            Selection::Whole => (0, stat.length),
            Selection::Part(range) => (range.start(), range.length()),
            Selection::Unsatisfiable | Selection::PreconditionFailed => (0, 0),
        };
        if let Some(file) = file.file() {
            // Doubles the read-ahead on Linux. Only advice, which some file systems refuse.
            let _ = fadvise(file, 0, None, Advice::Sequential);
        }
        let mut prefetched =
            vec![0; usize::try_from(remaining).map_or(PREFETCH_LEN, |all| all.min(PREFETCH_LEN))];
        let mut video = Video {
            file,
            path,
            stat,
            opened,
            etag,
            selection,
            offset,
            remaining,
            prefetched: Vec::new(),
        };
        let count = video.read(&mut prefetched).map_err(|error| match error {
            ReadError::Failed(errno) => OpenError::from_first_read(errno),
            _ => OpenError::Unreadable(Unreadable::Shrunk),
        })?;
        prefetched.truncate(count);
        video.prefetched = prefetched;
        Ok(video)
    }

    /// The name of the file, without folders.
    pub(crate) fn name(&self) -> &str {
        self.path.file().as_str()
    }

    /// The path below the mount, such as `1/0/20201202/503/1714442.mp4`.
    pub(crate) fn path(&self) -> &RelPath {
        &self.path
    }

    /// The file size in bytes, at least 1.
    pub(crate) fn length(&self) -> u64 {
        self.stat.length
    }

    /// The file's mtime.
    pub(crate) fn modified(&self) -> SystemTime {
        self.stat.modified_time()
    }

    /// The value of Last-Modified.
    pub(crate) fn last_modified(&self) -> String {
        last_modified(self.modified(), self.opened)
    }

    /// The strong entity tag.
    pub(crate) fn etag(&self) -> &ETag {
        &self.etag
    }

    /// The part of the file to send.
    pub(crate) fn selection(&self) -> Selection {
        self.selection
    }

    /// The number of bytes to send; 0 for an error.
    pub(crate) fn selected(&self) -> u64 {
        match self.selection {
            Selection::Whole => self.stat.length,
            Selection::Part(range) => range.length(),
            Selection::Unsatisfiable | Selection::PreconditionFailed => 0,
        }
    }

    /// Reads the next bytes of the selection into `buffer` and returns their number; 0 at the end.
    /// The first [`PREFETCH_LEN`] have been read already.
    ///
    /// Before returning the last bytes, checks that the file has not been modified: otherwise the
    /// response must be cut, as it might mix two versions. A file that has only grown is sent as
    /// announced. May block for as long as the file server does.
    ///
    /// # Errors
    /// If the rest cannot be read. The response must then be cut.
    pub(crate) fn next_chunk(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let prefetched = std::mem::take(&mut self.prefetched);
        let count = match buffer
            .get_mut(..prefetched.len())
            .filter(|place| !place.is_empty())
        {
            Some(place) => {
                place.copy_from_slice(&prefetched);
                prefetched.len()
            }
            None => self.read(buffer)?,
        };
        if count > 0 && self.remaining == 0 {
            self.verify()?;
        }
        Ok(count)
    }

    /// Reads the next bytes of the file; 0 at the end of the selection.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let room = usize::try_from(self.remaining)
            .map_or(buffer.len(), |remaining| remaining.min(buffer.len()));
        let Some(room) = buffer.get_mut(..room).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        match self.file.read_at(room, self.offset) {
            Ok(0) => Err(ReadError::Shrunk),
            Ok(count) => {
                self.offset += count as u64;
                self.remaining -= count as u64;
                Ok(count)
            }
            Err(errno) => Err(ReadError::Failed(errno)),
        }
    }

    /// Compares size and mtime with those at opening. Some file servers return zeros where a file
    /// was truncated, and a file overwritten in place would be sent as a mixture.
    fn verify(&self) -> Result<(), ReadError> {
        let now = self.file.stat().map_err(ReadError::Failed)?;
        if now.length < self.stat.length {
            return Err(ReadError::Shrunk);
        }
        if now.length == self.stat.length && now.modified != self.stat.modified {
            return Err(ReadError::Changed);
        }
        Ok(())
    }
}

impl fmt::Debug for Video {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Video")
            .field("path", &self.path)
            .field("length", &self.stat.length)
            .field("selection", &self.selection)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::open_files::OpenFiles;
    use crate::recording::rel_path::Segment;
    use crate::recording::scratch::Scratch;
    use rustix::io::Errno;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    fn begin(file: File, range: Option<&str>) -> Result<Video, OpenError> {
        let file = OpenFiles::new(Duration::from_secs(60)).track(file);
        let path = RelPath::new(Vec::new(), Segment::parse("a.mp4").unwrap());
        Video::begin(
            file,
            path,
            &Conditions {
                range: range.map(str::to_owned),
                ..Conditions::default()
            },
        )
    }

    fn open(path: &Path, range: Option<&str>) -> Result<Video, OpenError> {
        begin(File::open(path).unwrap(), range)
    }

    /// Not a multiple of any block size.
    const BUFFER: usize = PREFETCH_LEN + 1000;

    fn rest(video: &mut Video) -> Result<Vec<u8>, ReadError> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; BUFFER]);
        loop {
            match video.next_chunk(&mut buffer)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect()
    }

    #[test]
    fn what_is_selected_is_given_in_chunks() {
        assert_eq!(PREFETCH_LEN, 16_384);
        let scratch = Scratch::new();
        for length in [
            1,
            2,
            PREFETCH_LEN - 1,
            PREFETCH_LEN,
            PREFETCH_LEN + 1,
            BUFFER,
            PREFETCH_LEN + BUFFER,
            3 * BUFFER + 7,
        ] {
            let bytes = content(length);
            let path = scratch.file("a.mp4", &bytes);
            let last = length - 1;
            let table = [
                (None, &bytes[..]),
                (Some("bytes=0-0".to_owned()), &bytes[..1]),
                (Some(format!("bytes={last}-")), &bytes[last..]),
                (Some(format!("bytes={}-", length / 2)), &bytes[length / 2..]),
                (
                    Some(format!("bytes=-{}", length / 2 + 1)),
                    &bytes[length - length / 2 - 1..],
                ),
                (Some(format!("bytes={length}-")), &[]),
            ];
            for (range, expected) in table {
                let mut video = open(&path, range.as_deref()).unwrap();
                assert_eq!(
                    video.selected(),
                    expected.len() as u64,
                    "{range:?} of {length}"
                );
                assert!(
                    rest(&mut video).unwrap() == expected,
                    "{range:?} of {length}"
                );
                assert_eq!(video.next_chunk(&mut [0; 9]).unwrap(), 0);
            }
        }
    }

    #[test]
    fn bytes_beyond_four_gigabytes_are_reached() {
        let scratch = Scratch::new();
        let path = scratch.file("a.mp4", b"");
        let length = (5 << 30) + 3;
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(length).unwrap();
        file.write_all_at(b"end", length - 3).unwrap();
        let mut video = open(&path, Some("bytes=5368709120-")).unwrap();
        assert_eq!((video.length(), video.selected()), (length, 3));
        assert_eq!(rest(&mut video).unwrap(), b"end");
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_one_that_grows_gives_what_was_announced() {
        let scratch = Scratch::new();
        let bytes = content(3 * BUFFER);
        let path = scratch.file("a.mp4", &bytes);
        let file = File::options().write(true).open(&path).unwrap();
        let mut video = open(&path, None).unwrap();
        file.write_all_at(b"more", bytes.len() as u64).unwrap();
        assert!(rest(&mut video).unwrap() == bytes);
        let mut video = open(&path, None).unwrap();
        file.set_len(PREFETCH_LEN as u64 + 5).unwrap();
        let mut buffer = vec![0; BUFFER];
        assert_eq!(video.next_chunk(&mut buffer).unwrap(), PREFETCH_LEN);
        assert_eq!(video.next_chunk(&mut buffer).unwrap(), 5);
        assert!(matches!(
            video.next_chunk(&mut buffer),
            Err(ReadError::Shrunk)
        ));
    }

    #[test]
    fn a_file_replaced_or_deleted_while_open_is_given_as_it_was() {
        let scratch = Scratch::new();
        let bytes = content(2 * BUFFER + 1);
        let path = scratch.file("a.mp4", &bytes);
        let mut video = open(&path, None).unwrap();
        std::fs::rename(scratch.file("new.mp4", b"another"), &path).unwrap();
        let mut other = open(&path, None).unwrap();
        assert_ne!(video.etag(), other.etag());
        std::fs::remove_file(&path).unwrap();
        assert!(rest(&mut video).unwrap() == bytes);
        assert_eq!(rest(&mut other).unwrap(), b"another");
    }

    /// Reads the first of several chunks of a file, applies `change` to the file, and reads the
    /// rest.
    fn changed(change: impl FnOnce(&File)) -> Result<Vec<u8>, ReadError> {
        let scratch = Scratch::new();
        let path = scratch.file("a.mp4", &content(3 * BUFFER));
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_606_867_200))
            .unwrap();
        let mut video = open(&path, None).unwrap();
        let mut buffer = vec![0; BUFFER];
        let count = video.next_chunk(&mut buffer).unwrap();
        let mut all = buffer[..count].to_vec();
        change(&file);
        all.extend(rest(&mut video)?);
        Ok(all)
    }

    #[test]
    fn what_looks_complete_is_the_file_as_it_was_announced() {
        let whole = content(3 * BUFFER);
        assert!(changed(|_| ()).unwrap() == whole);
        let grown = |file: &File| file.write_all_at(b"more", whole.len() as u64).unwrap();
        assert!(changed(grown).unwrap() == whole);
        let overwritten = |file: &File| file.write_all_at(b"other", 2 * BUFFER as u64).unwrap();
        assert!(matches!(changed(overwritten), Err(ReadError::Changed)));
        // A change of bytes that have been sent already must be detected, too.
        let overwritten = |file: &File| file.write_all_at(b"other", 0).unwrap();
        assert!(matches!(changed(overwritten), Err(ReadError::Changed)));
        // Some file servers return zeros for bytes that are gone. Here the file is cut and then
        // extended with zeros.
        let shortened = |file: &File| {
            file.set_len(10).unwrap();
            file.set_len(whole.len() as u64).unwrap();
        };
        assert!(matches!(changed(shortened), Err(ReadError::Changed)));
    }

    #[test]
    fn one_that_fits_into_the_first_chunk_is_held_against_what_was_announced_too() {
        let scratch = Scratch::new();
        let path = scratch.file("a.mp4", b"video");
        let mut video = open(&path, None).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(4)
            .unwrap();
        assert!(matches!(
            video.next_chunk(&mut [0; 9]),
            Err(ReadError::Shrunk)
        ));
    }

    #[test]
    fn what_has_no_bytes_to_give_is_refused_before_the_answer_begins() {
        let scratch = Scratch::new();
        let refused = |file: File| match begin(file, None) {
            Err(OpenError::Unreadable(reason)) => Some(reason),
            _ => None,
        };
        assert_eq!(
            refused(File::open(scratch.file("a.mp4", b"")).unwrap()),
            Some(Unreadable::Empty)
        );
        assert_eq!(
            refused(File::open(scratch.path()).unwrap()),
            Some(Unreadable::Irregular)
        );
        // A descriptor opened for writing only is the one read error that needs no broken disk.
        let path = scratch.file("a.mp4", b"video");
        let file = File::options().write(true).open(path).unwrap();
        assert_eq!(refused(file), Some(Unreadable::Failed(Errno::BADF)));
    }

    #[test]
    fn a_video_is_logged_with_its_path_and_what_is_left_of_it() {
        let scratch = Scratch::new();
        let path = scratch.file("a.mp4", b"0123456789");
        let video = open(&path, Some("bytes=2-4")).unwrap();
        let shown = format!("{video:?}");
        assert!(shown.starts_with("Video { path: "), "{shown}");
        assert!(shown.contains("length: 10, selection: Part("), "{shown}");
        assert!(shown.ends_with("remaining: 0, .. }"), "{shown}");
        let Selection::Part(range) = video.selection() else {
            panic!("not a part");
        };
        assert_eq!((range.start(), range.last(), video.selected()), (2, 4, 3));
    }
}
