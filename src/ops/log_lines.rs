//! The log: simple_logger to stderr, made safe for a service that must not stop.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use log::{LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

/// simple_logger behind a guard: it prints with `eprintln!`, which panics once stderr is closed, and a
/// log line must never end the thread that serves a client.
struct Guarded(SimpleLogger);

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is writing a log line right now.
pub(super) fn is_writing() -> bool {
    WRITING.get()
}

impl Log for Guarded {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        WRITING.set(true);
        // A line that cannot be written is lost; there is nowhere left to say so.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.log(record)));
        WRITING.set(false);
    }

    fn flush(&self) {}
}

/// Starts logging to stderr at `level`.
///
/// Lines carry a UTC timestamp unless stderr is the journal, which keeps its own (`JOURNAL_STREAM`, see
/// systemd.exec(5)). tiny_http speaks of private sockets only, and of their ends as of errors: what matters
/// of it is told by those who use it.
pub fn start(level: LevelFilter) {
    let mut logger =
        SimpleLogger::new().with_level(LevelFilter::Trace).with_module_level("tiny_http", LevelFilter::Off);
    logger = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => logger.without_timestamps(),
        None => logger.with_utc_timestamps(),
    };
    if log::set_boxed_logger(Box::new(Guarded(logger))).is_ok() {
        set_level(level);
    }
}

/// Changes the level of the running log, as a reload does.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Client text as it may stand in a log line: quoted, everything but printable ASCII escaped, cut at 200
/// characters, so that no client can forge a line or steer a terminal.
pub struct Quoted<'a>(pub &'a str);

/// Longest client text in a log line, in characters.
const QUOTED_MAX: usize = 200;

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(QUOTED_MAX) {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                ' '..='~' => f.write_char(character)?,
                _ => write!(f, "{}", character.escape_unicode())?,
            }
        }
        f.write_str(if characters.next().is_some() { "\"..." } else { "\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_text_cannot_break_out_of_its_log_line() {
        for (text, shown) in [
            ("plain", r#""plain""#),
            ("two\nlines", r#""two\u{a}lines""#),
            ("\u{1b}[31mred", r#""\u{1b}[31mred""#),
            (r#"quo"te\"#, r#""quo\"te\\""#),
            ("Zoë", r#""Zo\u{eb}""#),
        ] {
            assert_eq!(Quoted(text).to_string(), shown);
        }
    }

    #[test]
    fn long_client_text_is_cut() {
        assert_eq!(Quoted(&"x".repeat(300)).to_string(), format!("\"{}\"...", "x".repeat(200)));
        assert_eq!(Quoted(&"x".repeat(200)).to_string(), format!("\"{}\"", "x".repeat(200)));
    }
}
