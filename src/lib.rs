//! cc-gateway: agents sign in, poll and download the video recordings of their calls over HTTPS.
//!
//! Each layer uses only those below it. [`front`] reads requests from clients and writes responses,
//! [`http`] passes requests to workers, [`api`] answers them using [`session`] and [`recording`],
//! [`config`] holds the settings, and [`ops`] covers logging, the service manager, counters and
//! threads. CONTRIBUTING.md has a diagram.

pub mod api;
pub mod cli;
mod commands;
pub mod config;
pub mod front;
pub mod http;
pub mod ops;
pub mod recording;
pub mod session;

use std::ffi::OsString;

use cli::Command;
use commands::{certificate, check, demo, hash_password, serve};
use ops::console::print;
use ops::fatal_error::FatalError;

/// The version, including the commit if the build knew it.
pub const VERSION: &str = match option_env!("CC_GATEWAY_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Runs the command named on the command line.
///
/// # Errors
/// The error that ends the program, with its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), FatalError> {
    match cli::parse(arguments)? {
        Command::Serve(config) => serve::run(&config, |_| ()),
        Command::Check { config, quiet } => check::run(&config, quiet),
        Command::HashPassword => hash_password::run(),
        Command::Certificate { out, names } => certificate::run(&out, &names),
        Command::Demo(listen) => demo::run(listen),
        Command::Help => print(&cli::help()),
        Command::Version => print(&format!("cc-gateway {VERSION}\n")),
    }
}
