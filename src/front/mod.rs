//! The network side: the only code that touches a client's socket. Listener, TLS, the grammar of requests, timeouts,
//! responses, and recordings on their way to clients.
//!
//! A few I/O threads wait for all clients at once. A client that is slow, silent or hostile costs memory, no thread.

mod accept;
mod bind;
mod buffer_pool;
mod chunk_budget;
mod connection;
mod connections;
pub mod content;
mod context;
pub mod head;
mod home;
pub mod http_error;
mod io_thread;
mod request_log;
mod response;
mod service;
mod timeouts;
mod timers;
mod tls;
mod tls_stream;
mod transfer;

pub use service::{Limits, Listeners, Service};
pub use timeouts::Timeouts;
pub use tls::{KeyPairFiles, Tls};
