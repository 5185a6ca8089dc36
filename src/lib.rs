//! cc-gateway: agents sign in, poll and download the video recordings of their calls over HTTPS.

pub mod api;
pub mod config;
pub mod front;
pub mod http;
pub mod ops;
pub mod recording;
pub mod session;
