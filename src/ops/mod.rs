//! What a service needs to live on a machine: failures the operator reads, waiting and waking.

pub mod failure;
pub mod latch;
