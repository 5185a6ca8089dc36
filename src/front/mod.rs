//! The network side: the only code that touches a client's socket. Listener, TLS, the grammar of requests,
//! deadlines, and videos on their way to clients.
//!
//! Every client has a thread of its own, so that one that is slow, or hostile, holds that thread and
//! nothing else.

pub mod address_limits;
mod buffers;
pub mod client_address;
mod clients;
mod connection;
pub mod content;
mod deadlines;
pub mod fault;
pub mod head;
mod listener;
mod portions;
pub mod proxy_protocol;
mod secured;
pub mod server_name;
mod service;
mod shared;
mod threads;
mod tls;
mod transfer;

pub use deadlines::Deadlines;
pub use service::{Limits, Listeners, Service};
pub use tls::{KeyPairFiles, Tls};
