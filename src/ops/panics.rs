//! The panic hook: one rate-limited log line per panic.
//!
//! The standard hook writes several lines per panic. A bug that requests can trigger, or a machine
//! out of threads, would fill the disk with them.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic;
use std::sync::Mutex;
use std::time::Instant;

use super::log_lines::{self, Quoted};
use super::rate_limited_log::RateLimitedLog;
use super::sync::lock;

/// Replaces the panic hook of the process.
pub(crate) fn install_panic_hook() {
    let places: Mutex<BTreeMap<String, RateLimitedLog>> = Mutex::default();
    panic::set_hook(Box::new(move |info| {
        // The logger itself panics if stderr rejects a line; there is nowhere left to say so.
        if log_lines::is_writing() {
            return;
        }
        let place = info
            .location()
            .map_or_else(String::new, ToString::to_string);
        let permitted = lock(&places)
            .entry(place.clone())
            .or_default()
            .permit(Instant::now());
        if let Some(suppressed) = permitted {
            let thread = std::thread::current();
            let line = line(thread.name().unwrap_or("-"), &place, text(info.payload()));
            // The log neither blocks nor panics on this thread.
            log::error!(target: "cc_gateway", "{line}{suppressed}");
        }
    }));
}

fn line(thread: &str, place: &str, text: &str) -> String {
    format!("thread '{thread}' panicked at {place}: {}", Quoted(text))
}

/// The message of the panic, if it is text.
fn text(payload: &(dyn Any + Send)) -> &str {
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(owned)
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_line_whatever_it_says() {
        let line = line("worker-3", "src/a.rs:1:2", text(&"two\nlines".to_owned()));
        assert_eq!(
            line,
            r#"thread 'worker-3' panicked at src/a.rs:1:2: "two\u{a}lines""#
        );
    }

    #[test]
    fn every_kind_of_payload_has_a_text() {
        assert_eq!(text(&"borrowed"), "borrowed");
        assert_eq!(text(&"owned".to_owned()), "owned");
        assert_eq!(text(&5), "no message");
    }
}
