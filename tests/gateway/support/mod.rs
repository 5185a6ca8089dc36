//! Test support: a real server on its own port and mount, and a client that sees every byte.

mod agent;
mod autofs;
mod balancer;
mod client;
mod documents;
mod footprint;
mod fuse;
mod fuse_wire;
mod in_process;
mod interfaces;
mod manager;
mod metrics;
mod relay;
mod scratch;
mod server;
mod shape;
mod sockets;

pub use agent::Agent;
pub use autofs::Autofs;
pub use balancer::{Kind, Seat, Site, check_example, with_agents};
pub use client::{BASE, Client, Reply};
pub use documents::{document, is_current, part_is_current, table_rows};
pub use footprint::Footprint;
pub use fuse::{Fuse, Hang, Tree};
pub use fuse_wire::Opcode;
pub use in_process::{InProcess, NO_TIMEOUTS};
pub use interfaces::{INTERFACES, Interface};
pub use manager::Manager;
pub use metrics::Metrics;
pub use relay::Relay;
pub use scratch::Scratch;
pub use server::{Server, Setup, eventually, stdout_of};
pub use shape::{EMPTY_POLL, JSON, SIGN_IN, let_guids_age};
pub use sockets::{connect_from, drain, has_ended, reset, unsent_from};

/// The bytes of a mock recording; pseudo-random, so that shifted or foreign bytes are detected.
pub fn recording_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&xorshift(&mut state).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// SHA-256 as lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A random seed, or the one in `CC_GATEWAY_TEST_SEED`. Printed to stderr, to reproduce failures.
pub fn seed() -> u64 {
    let seed = std::env::var("CC_GATEWAY_TEST_SEED").ok().map_or_else(
        || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
        |text| text.parse().unwrap(),
    );
    eprintln!("CC_GATEWAY_TEST_SEED={seed}");
    seed
}

/// Pseudo-random numbers, each below its limit.
pub fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |limit| xorshift(&mut state).wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
