//! What a service needs to live on a machine: failures the operator reads, waiting and waking, the log,
//! the service manager, counters, descriptors.

pub mod bounded_file;
pub mod client_prefix;
pub mod console;
pub mod counters;
pub mod descriptors;
pub mod fatal_error;
pub mod log_lines;
pub mod notify;
pub mod panics;
pub mod rate_limited_log;
pub mod service_user;
pub mod sync;
mod thread_pool;

pub use thread_pool::{Job, ThreadPool};
