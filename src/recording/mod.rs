//! Recordings: which file a recordId names, and its bytes from a file server that may fail at any
//! time.

mod arrival_watch;
mod arrivals;
mod callback;
mod day;
mod disposition;
mod downloads;
mod errno;
mod mount;
mod mount_log;
mod mount_table;
mod mounts;
mod open_error;
mod open_files;
mod range;
mod record_id;
mod rel_path;
mod resolve;
#[cfg(test)]
pub(crate) mod scratch;
mod search;
mod validators;
mod video;
mod watch;

pub(crate) use arrival_watch::{ArrivalWatch, ScanCounters};
pub(crate) use arrivals::MediaKind;
#[cfg(test)]
pub(crate) use arrivals::Recording;
pub use arrivals::{Arrival, Limits, Scan, Scope, Suffixes, WatchedAgent, Watcher};
pub(crate) use disposition::attachment;
pub(crate) use downloads::{Download, Downloads};
pub(crate) use errno::errno_name;
pub(crate) use mount::{ANSWER_TIMEOUT, DESCRIPTORS, Mount, MountStatus, OpenRequest, Target};
pub(crate) use mounts::Mounts;
#[cfg(test)]
pub(crate) use open_error::Unreadable;
pub(crate) use open_error::{MountError, OpenError, ReadError};
pub(crate) use range::ByteRange;
pub use range::{Conditions, FileState, Selection, select};
pub(crate) use record_id::{Invalid, RecordKind};
pub use record_id::{MAX_LEN, RecordId};
pub(crate) use rel_path::RelPath;
#[cfg(test)]
pub(crate) use rel_path::Segment;
pub use validators::ETag;
pub(crate) use video::Video;
