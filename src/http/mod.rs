//! tiny_http on a private Unix socket, its worker pool, and the requests in flight.
//!
//! tiny_http is never exposed to the network: its own network side has no limits and no timeouts.
//! The front reads and checks each request, and forwards only the parts that the interfaces use.
//! Meanwhile the client waits in a slot. A worker takes the client out of the slot, lets the
//! interfaces answer, and sends the answer. Each request moves in one direction, and no thread
//! waits for another.

mod backend;
mod forwarded_request;
mod in_flight;
mod worker;

pub(crate) use backend::{BackendConnection, Http};
pub(crate) use forwarded_request::ForwardedRequest;
pub(crate) use in_flight::{PendingClient, Response};
