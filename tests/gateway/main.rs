//! Behaviour of the gateway: the real binary, real TLS, a local mount.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test that meets what it does not expect is to fail, and nobody outside reads it"
)]

mod commands;
mod life;
mod reload;
mod road;
mod structure;
mod support;
