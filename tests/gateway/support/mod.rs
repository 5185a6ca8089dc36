//! What every test stands on: a real server on a port of its own, a mount of its own, a client that sees
//! every byte.

mod client;
mod footprint;
mod inside;
mod manager;
mod scratch;
mod server;
mod shape;
mod sockets;

pub use client::{BASE, Client, Reply};
pub use footprint::Footprint;
pub use inside::{Inside, PATIENT};
pub use manager::Manager;
pub use scratch::Scratch;
pub use server::{Server, Setup, eventually};
pub use shape::{EMPTY_POLL, JSON, SIGN_IN};
pub use sockets::{connect_from, drain, has_ended, unsent_from};

/// The bytes of a mock recording: every place differs from its neighbours and from other recordings.
pub fn recording_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// SHA-256 as lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
