//! The CC-Gateway interfaces: a request in, a reply out. Nothing here knows of sockets or TLS.

mod access;
mod agent_queries;
mod agent_state;
mod code;
mod cors;
mod deferred;
mod dispatch;
mod download;
mod download_query;
mod gateway;
mod header_value;
mod health;
pub mod interfaces;
mod keep_alive;
mod local_record;
mod metrics;
mod parameters;
mod poll;
mod recording_events;
mod reply;
mod request;
pub mod router;
mod sign_in;
pub mod sign_in_body;
mod sign_out;
#[cfg(test)]
mod tests;
mod trail;

pub use code::ResultCode;
pub(crate) use deferred::{Answer, Deferred, Finish, SlotId, Slots, Ticket};
pub use gateway::Gateway;
pub(crate) use gateway::RequestContext;
pub use interfaces::{INTERFACES, Interface, InterfaceSpec};
pub use metrics::METRICS;
pub(crate) use recording_events::EventThread;
pub(crate) use reply::{Reply, Undelivered};
pub(crate) use request::{HeaderName, Headers, Method, Request};
