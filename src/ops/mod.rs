//! Operating the service: errors for the operator, synchronisation, the log, the service manager,
//! counters, limits.

pub(crate) mod bounded_file;
pub(crate) mod client_prefix;
pub mod console;
pub mod counters;
pub mod descriptors;
pub mod fatal_error;
pub(crate) mod in_progress;
#[cfg(test)]
pub(crate) mod log_capture;
pub(crate) mod log_lines;
pub mod notify;
pub(crate) mod panics;
pub(crate) mod rate_limited_log;
pub(crate) mod service_user;
mod spawn;
pub(crate) mod sync;
mod thread_pool;

pub(crate) use spawn::spawn;
pub(crate) use thread_pool::ThreadPool;
