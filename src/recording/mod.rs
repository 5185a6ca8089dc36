//! Recordings: which file a recordId names, and its bytes from a file server that may fail at any time.

mod day;
mod disposition;
mod downloads;
mod range;
mod rel_path;
mod validators;

pub use day::Day;
pub use disposition::attachment;
pub use downloads::{Downloads, Permit};
pub use range::{ByteRange, Held, Selection, select};
pub use rel_path::{RelPath, Segment, has_suffix};
pub use validators::{ETag, is_exactly_modified, last_modified};
