//! Tests of the gateway with the real binary, real TLS and a local mount.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test that meets what it does not expect is to fail, and nobody outside reads it"
)]

mod agents_reload;
mod arrival_figures;
mod automounts;
mod balancers;
mod browser;
mod certificates;
mod check_order;
mod client_kinds;
mod commands;
mod compatibility;
mod completions;
mod corpora;
mod cors;
mod deadlines;
mod demo;
mod docs;
mod end_to_end;
mod events;
mod exhaustion;
mod hostile;
mod latest;
mod lifecycle;
mod listening;
mod lockout;
mod log_limits;
mod monitoring;
mod monitoring_files;
mod mount_faults;
mod mount_kinds;
mod mounts;
mod no_thread_per_client;
mod openapi;
mod paths;
mod polling;
mod presence;
mod ranges;
mod reload;
mod renewal;
mod resume;
mod server_names;
mod session_figures;
mod session_matrix;
mod sibling_downloads;
mod sign_in;
mod strangers;
mod structure;
mod support;
mod tls;
mod trail;
mod trusted_proxies;
mod url_paths;
