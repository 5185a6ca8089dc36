//! The network side: the only code that touches a client's socket. Listener, TLS, the grammar of requests,
//! deadlines, and videos on their way to clients.
//!
//! Every client has a thread of its own, so that one that is slow, or hostile, holds that thread and
//! nothing else.

mod bind;
mod buffers;
mod certificates;
mod clients;
mod connection;
pub mod content;
mod deadlines;
mod der;
pub mod fault;
pub mod head;
mod key_pair;
mod listener;
mod pem;
mod portions;
mod private_key;
mod secured;
mod service;
mod shared;
mod threads;
mod tls;
mod transfer;
mod x509;

pub use bind::{BindError, Listeners, try_addresses};
pub use deadlines::Deadlines;
pub use key_pair::{KeyPair, KeyPairFiles};
pub use service::{Limits, Service};
pub use tls::Tls;
