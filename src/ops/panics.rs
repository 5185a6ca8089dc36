//! Panics, told in one line each and not a thousand times.
//!
//! The standard hook writes several lines for every panic. A defect that a request can reach, or a
//! machine without threads, would fill a disk with them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{self, PanicHookInfo};
use std::sync::Mutex;
use std::time::Instant;

use super::latch::lock;
use super::log_lines::{self, Quoted};
use super::seldom::Seldom;

/// Replaces the hook of the process.
pub fn tell_in_one_line() {
    let places: Mutex<BTreeMap<String, Seldom>> = Mutex::default();
    panic::set_hook(Box::new(move |info| {
        // A line that stderr did not take is a panic of the logger; there is nowhere left to say so.
        if log_lines::is_writing() {
            return;
        }
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let due = lock(&places).entry(place.clone()).or_default().due(Instant::now());
        if let Some(left_out) = due {
            // Not through the log: it may panic, and a panic in here ends the process.
            let _ = writeln!(std::io::stderr(), "{}{}{left_out}", log_lines::error_prefix(), line(&place, info));
        }
    }));
}

fn line(place: &str, info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let thread = std::thread::current();
    format!(
        "ERROR [cc_gateway] a defect in thread {} at {place}: {}",
        thread.name().unwrap_or("-"),
        Quoted(text.unwrap_or("no message"))
    )
}
