//! The CC-Gateway interfaces: a request in, a reply out. Nothing here knows of sockets or TLS.

mod access;
mod code;
mod cors;
mod dispatch;
mod download;
mod gateway;
mod health;
mod keep_alive;
mod later;
mod metrics;
mod poll;
mod reply;
mod request;
pub mod router;
mod sign_in;
pub mod sign_in_body;
mod sign_out;

pub use code::ResultCode;
pub use gateway::{Call, Gateway};
pub use later::{Answer, Later};
pub use metrics::NAMES as METRICS;
pub use reply::{FieldValue, Reply};
pub use request::{Field, Fields, Method, Request};
pub use router::Interface;
