//! Behaviour of the gateway: the real binary, real TLS, a local mount.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test that meets what it does not expect is to fail, and nobody outside reads it"
)]

mod agents_reload;
mod commands;
mod compatibility;
mod corpora;
mod cors;
mod deadlines;
mod exhaustion;
mod hostile;
mod life;
mod polling;
mod readme_interfaces;
mod reload;
mod road;
mod session_figures;
mod session_matrix;
mod sign_in;
mod structure;
mod support;
