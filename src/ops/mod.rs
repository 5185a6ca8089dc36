//! What a service needs to live on a machine: failures the operator reads, waiting and waking, the log,
//! the service manager, counters, descriptors.

pub mod bounded_file;
pub mod client_prefix;
pub mod console;
pub mod counters;
pub mod descriptors;
pub mod failure;
pub mod latch;
pub mod log_lines;
pub mod notify;
pub mod panics;
pub mod seldom;
pub mod service_user;
mod thread_pool;

pub use thread_pool::{Job, ThreadPool};
