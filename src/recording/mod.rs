//! Recordings: which file a recordId names, and its bytes from a file server that may fail at any time.

mod arrivals;
mod crew;
mod day;
mod disposition;
mod downloads;
mod mount;
mod mounts;
mod open_error;
mod pending;
mod range;
mod record_id;
mod rel_path;
#[cfg(test)]
mod scratch;
mod search;
mod validators;
mod video;
mod walk;
mod watch;

pub use arrivals::{Arrival, Figures, Limits, Look, MediaKind, Recording, Scope, Suffixes, WatchedAgent, Watcher};
pub use disposition::attachment;
pub use downloads::{Download, Downloads, Permit};
pub use mount::{ANSWER_WITHIN, Ask, Mount, THREADS, Wanted};
pub use mounts::Mounts;
pub use open_error::{Lost, OpenError, ReadError};
pub use pending::Pending;
pub use range::{ByteRange, Held, Selection, select};
pub use record_id::{Invalid, LONGEST, RecordId};
pub use rel_path::{RelPath, Segment};
pub use validators::{ETag, last_modified};
pub use video::{FIRST, Video};
pub use watch::{MountWatch, PROBE_EVERY, Standing};
