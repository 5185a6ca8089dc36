//! tiny_http on a private Unix socket with its worker pool, and the exchange that a client's thread and a
//! worker share.
//!
//! tiny_http is never on the network: its own network side has no limits and no deadlines. What reaches it
//! is the front's canonical copy of a request that has been checked already, over a fixed number of
//! connections made at the start, so that its threads follow the workers and not the clients. What comes of
//! a request goes back through the exchange.

mod canonical;
mod directory;
mod exchange;
mod inner;
mod inner_reply;
mod line;
mod service;
mod shared;
mod worker;

pub use canonical::Canonical;
pub use service::{Http, Lost, Performed};
