//! What `cc-gateway` does, a file for each command.

pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod hash_password;
mod reload;
pub(crate) mod serve;
