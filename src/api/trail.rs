//! The audit trail: the part of a download's log line that names the recording.

use std::fmt;
use std::sync::OnceLock;

use crate::ops::log_lines::Quoted;
use crate::recording::{ByteRange, OpenError, RelPath, errno_name};

/// What a download's log line says about its recording. Each part is noted once, when it becomes
/// known; a failed download logs those known by then.
#[derive(Debug, Default)]
pub(super) struct Trail {
    record: OnceLock<String>,
    location: OnceLock<u32>,
    range: OnceLock<(u64, u64)>,
    errno: OnceLock<String>,
}

impl Trail {
    /// Notes the recording's path below the drive.
    pub(super) fn note_record(&self, path: &RelPath) {
        let _ = self.record.set(path.to_string());
    }

    /// Notes the requested node, in pool mode.
    pub(super) fn note_location(&self, location: u32) {
        let _ = self.location.set(location);
    }

    /// Notes the range sent.
    pub(super) fn note_range(&self, range: ByteRange) {
        let _ = self.range.set((range.start(), range.last()));
    }

    /// Notes the errno, if a system call failed.
    pub(super) fn note_failure(&self, error: &OpenError) {
        if let Some(errno) = error.errno() {
            let _ = self.errno.set(errno_name(errno));
        }
    }
}

impl fmt::Display for Trail {
    /// Writes the fields, each with a leading blank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record.get() {
            write!(f, " record={}", Quoted(record))?;
        }
        if let Some(location) = self.location.get() {
            write!(f, " locationId={location}")?;
        }
        if let Some((start, last)) = self.range.get() {
            write!(f, " range={start}-{last}")?;
        }
        if let Some(errno) = self.errno.get() {
            write!(f, " errno={errno}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{MountError, Segment, Unreadable};
    use rustix::io::Errno;

    fn path(folder: &str, file: &str) -> RelPath {
        RelPath::new(
            vec![Segment::parse(folder).unwrap()],
            Segment::parse(file).unwrap(),
        )
    }

    #[test]
    fn a_trail_has_what_is_known_and_keeps_what_came_first() {
        let trail = Trail::default();
        assert_eq!(trail.to_string(), "");
        trail.note_location(256);
        assert_eq!(trail.to_string(), " locationId=256");
        trail.note_record(&path("503", "a.mp4"));
        trail.note_record(&path("503", "b.mp4"));
        trail.note_failure(&OpenError::NotFound);
        assert_eq!(trail.to_string(), r#" record="503/a.mp4" locationId=256"#);
        trail.note_failure(&OpenError::Unreadable(Unreadable::Failed(Errno::ACCESS)));
        assert_eq!(
            trail.to_string(),
            r#" record="503/a.mp4" locationId=256 errno=EACCES"#
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_field() {
        let trail = Trail::default();
        trail.note_record(&path("é", "a\" code=0 b.mp4"));
        trail.note_failure(&OpenError::Unavailable(MountError::Failed(Errno::XFULL)));
        assert_eq!(
            trail.to_string(),
            r#" record="\u{e9}/a\" code=0 b.mp4" errno=54"#
        );
    }
    #[test]
    fn a_part_is_named_by_its_first_and_last_byte() {
        use crate::recording::{ETag, FileState, Selection, select};
        let conditions = crate::recording::Conditions {
            range: Some("bytes=2-4".to_owned()),
            ..Default::default()
        };
        let (etag, now) = (ETag::new(9, 0, 0), std::time::SystemTime::now());
        let state = FileState {
            etag: &etag,
            modified: now,
            length: 9,
            now,
        };
        let Selection::Part(range) = select(&conditions, state) else {
            panic!("the whole");
        };
        let trail = Trail::default();
        trail.note_range(range);
        assert_eq!(trail.to_string(), " range=2-4");
    }
}
