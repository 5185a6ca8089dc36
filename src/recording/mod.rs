//! Recordings: which file a recordId names, and its bytes from a file server that may fail at any time.

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
mod scratch;
mod search;
mod searches;
mod validators;
mod video;
mod watch;

pub use arrival_watch::{ArrivalWatch, ScanCounters};
pub use arrivals::{Arrival, Figures, Limits, MediaKind, Recording, Scan, Scope, Suffixes, WatchedAgent, Watcher};
pub use disposition::attachment;
pub use downloads::{Download, Downloads, Permit};
pub use errno::errno_name;
pub use mount::{
    ANSWER_TIMEOUT, DESCRIPTORS, Mount, MountStatus, OPENING_THREADS, OpenRequest, SEARCH_QUEUE_TIMEOUT,
    SEARCHING_THREADS, Target,
};
pub use mounts::Mounts;
pub use open_error::{MountError, OpenError, ReadError, Unreadable};
pub use range::{ByteRange, Conditions, FileState, Selection, select};
pub use record_id::{Invalid, MAX_LEN, RecordId, RecordKind};
pub use rel_path::{RelPath, Segment};
pub use validators::{ETag, last_modified};
pub use video::{PREFETCH_LEN, Video};
pub use watch::{MountWatch, PROBE_INTERVAL};
