//! tiny_http on a private Unix socket, its worker pool, and the requests in flight.
//!
//! tiny_http is never on the network: its own network side has no limits and no timeouts. What
//! reaches it is a request that the front has read whole and checked, rewritten with nothing but
//! what the interfaces read. The request's client waits in a slot meanwhile. A worker takes it out
//! of there, has the interfaces answer, and gives it the answer. So each request goes one way, and
//! nobody waits for anybody.

mod backend;
mod forwarded_request;
mod in_flight;
mod worker;

pub(crate) use backend::{BackendConnection, Http};
pub(crate) use forwarded_request::ForwardedRequest;
pub(crate) use in_flight::{PendingClient, Response};
