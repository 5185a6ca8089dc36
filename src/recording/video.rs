//! An opened recording and its bytes.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Advice, fadvise};

use super::open_error::{OpenError, ReadError};
use super::range::{Held, Selection, select};
use super::validators::{ETag, last_modified};

/// How much is read when a recording is opened, in bytes: enough to know that its file server answers, and
/// to go out with the head of the reply.
pub const FIRST: usize = 16 * 1024;

/// A recording opened for one answer: size, times and bytes all come from one descriptor, so they stay
/// those of one file when its name is given to another or to none.
pub struct Video {
    file: File,
    name: String,
    length: u64,
    modified: SystemTime,
    opened: SystemTime,
    etag: ETag,
    selection: Selection,
    /// Where the next read begins, and how much of the selection lies from there on.
    at: u64,
    left: u64,
    /// What was read when the recording was opened, until it is handed out.
    first: Vec<u8>,
    reading: Arc<AtomicUsize>,
}

impl Video {
    /// Selects what the request asks for and reads the first chunk of it, so that a file server that hangs
    /// or fails does so before the head of an answer is sent.
    ///
    /// `reading` counts the threads that are inside a read of this file.
    pub(super) fn begin(
        file: File,
        metadata: &Metadata,
        name: String,
        (range, if_range): (Option<&str>, Option<&str>),
        reading: Arc<AtomicUsize>,
    ) -> Result<Video, OpenError> {
        let (length, etag, opened) = (metadata.len(), ETag::of(metadata), SystemTime::now());
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let selection = select(range, if_range, Held { etag: &etag, modified, length, now: opened });
        let (at, left) = match selection {
            Selection::Whole => (0, length),
            Selection::Part(range) => (range.start(), range.length()),
            Selection::Unsatisfiable => (0, 0),
        };
        // Only advice: read-ahead doubles on Linux, and a file system that knows none may refuse.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        let mut first = vec![0; usize::try_from(left).map_or(FIRST, |left| left.min(FIRST))];
        let mut video =
            Video { file, name, length, modified, opened, etag, selection, at, left, first: Vec::new(), reading };
        let read = video.read(&mut first).map_err(|error| match error {
            ReadError::Shrunk => OpenError::Unreadable,
            ReadError::Failed(error) => OpenError::of_io(&error),
        })?;
        first.truncate(read);
        video.first = first;
        Ok(video)
    }

    /// The name of the file, without folders.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of the whole file in bytes, at least 1.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// When the file was last changed, as the file server says.
    pub fn modified(&self) -> SystemTime {
        self.modified
    }

    /// The value of the Last-Modified field.
    pub fn last_modified(&self) -> String {
        last_modified(self.modified, self.opened)
    }

    /// The strong entity tag of this state of the file.
    pub fn etag(&self) -> &ETag {
        &self.etag
    }

    /// Which of its bytes the answer carries.
    pub fn selection(&self) -> Selection {
        self.selection
    }

    /// How many bytes the answer carries: 0 when the range is unsatisfiable.
    pub fn selected(&self) -> u64 {
        match self.selection {
            Selection::Whole => self.length,
            Selection::Part(range) => range.length(),
            Selection::Unsatisfiable => 0,
        }
    }

    /// Puts the next bytes of the selection into `buffer`, from its beginning, and says how many they are; 0
    /// once all have been given. The first ones, at most [`FIRST`], are there already.
    ///
    /// Blocks for as long as the file server does.
    pub fn next_chunk(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let first = std::mem::take(&mut self.first);
        match buffer.get_mut(..first.len()).filter(|place| !place.is_empty()) {
            Some(place) => {
                place.copy_from_slice(&first);
                Ok(first.len())
            }
            None => self.read(buffer),
        }
    }

    /// Reads on into `buffer`; 0 when there is nothing left to read.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(room) = buffer.get_mut(..most).filter(|room| !room.is_empty()) else { return Ok(0) };
        self.reading.fetch_add(1, Ordering::Relaxed);
        let read = loop {
            match self.file.read_at(room, self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.reading.fetch_sub(1, Ordering::Relaxed);
        match read {
            Ok(0) => Err(ReadError::Shrunk),
            Ok(count) => {
                self.at += count as u64;
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => Err(ReadError::Failed(error)),
        }
    }
}

impl fmt::Debug for Video {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Video")
            .field("name", &self.name)
            .field("length", &self.length)
            .field("selection", &self.selection)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::Scratch;
    use std::path::Path;

    fn open(path: &Path, range: Option<&str>) -> Result<Video, OpenError> {
        let file = File::open(path).unwrap();
        let metadata = file.metadata().unwrap();
        Video::begin(file, &metadata, "a.mp4".to_owned(), (range, None), Arc::default())
    }

    /// Not a multiple of anything.
    const BUFFER: usize = FIRST + 1000;

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
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_selected_is_given_in_chunks() {
        let scratch = Scratch::new();
        for length in [1, 2, FIRST - 1, FIRST, FIRST + 1, BUFFER, FIRST + BUFFER, 3 * BUFFER + 7] {
            let bytes = content(length);
            let path = scratch.file("a.mp4", &bytes);
            let last = length - 1;
            let table = [
                (None, &bytes[..]),
                (Some("bytes=0-0".to_owned()), &bytes[..1]),
                (Some(format!("bytes={last}-")), &bytes[last..]),
                (Some(format!("bytes={}-", length / 2)), &bytes[length / 2..]),
                (Some(format!("bytes=-{}", length / 2 + 1)), &bytes[length - length / 2 - 1..]),
                (Some(format!("bytes={length}-")), &[]),
            ];
            for (range, expected) in table {
                let mut video = open(&path, range.as_deref()).unwrap();
                assert_eq!(video.selected(), expected.len() as u64, "{range:?} of {length}");
                assert!(rest(&mut video).unwrap() == expected, "{range:?} of {length}");
                assert_eq!(video.next_chunk(&mut [0; 9]).unwrap(), 0);
                assert_eq!(video.reading.load(Ordering::Relaxed), 0);
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
        file.set_len(FIRST as u64 + 5).unwrap();
        let mut buffer = vec![0; BUFFER];
        assert_eq!(video.next_chunk(&mut buffer).unwrap(), FIRST);
        assert_eq!(video.next_chunk(&mut buffer).unwrap(), 5);
        assert!(matches!(video.next_chunk(&mut buffer), Err(ReadError::Shrunk)));
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

    #[test]
    fn a_failing_first_read_is_told_before_the_answer_begins() {
        let file = File::options().read(true).open(std::env::temp_dir()).unwrap();
        let scratch = Scratch::new();
        let metadata = std::fs::metadata(scratch.file("a.mp4", b"video")).unwrap();
        // Reading a directory gives EISDIR, the one read error that needs no broken disk.
        let error = Video::begin(file, &metadata, String::new(), (None, None), Arc::default()).unwrap_err();
        assert_eq!(error, OpenError::Unreadable);
    }
}
