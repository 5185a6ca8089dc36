//! The commands, one file each.

pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod hash_password;
mod reload;
pub(crate) mod serve;
