//! The log: simple_logger to stderr, made safe for a service that must not stop.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

/// simple_logger behind a guard: it prints with `eprintln!`, which panics once stderr is closed, and a
/// log line must never end the thread that serves a client.
struct Guarded {
    logger: SimpleLogger,
    journal: bool,
}

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is writing a log line right now.
pub(super) fn is_writing() -> bool {
    WRITING.get()
}

impl Log for Guarded {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        WRITING.set(true);
        // A line that cannot be written is lost; there is nowhere left to say so.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // Held until the line is written, so that no other gets between it and its priority.
            let mut stderr = std::io::stderr().lock();
            if self.journal && self.enabled(record.metadata()) {
                let _ = stderr.write_all(priority(record.level()).as_bytes());
            }
            self.logger.log(record);
        }));
        WRITING.set(false);
    }

    fn flush(&self) {}
}

/// Starts logging to stderr at `level`.
///
/// Lines carry a UTC timestamp, or for the journal, which keeps its own, their priority. tiny_http speaks of
/// private sockets only, and of their ends as of errors: what matters of it is told by those who use it.
pub fn start(level: LevelFilter) {
    let mut logger =
        SimpleLogger::new().with_level(LevelFilter::Trace).with_module_level("tiny_http", LevelFilter::Off);
    let journal = stderr_is_journal();
    logger = if journal { logger.without_timestamps() } else { logger.with_utc_timestamps() };
    if log::set_boxed_logger(Box::new(Guarded { logger, journal })).is_ok() {
        set_level(level);
    }
}

/// Prints why the process ends, whether or not the log was started.
pub fn last_words(failure: &impl fmt::Display) {
    let prefix = error_prefix();
    let mut stderr = std::io::stderr().lock();
    for (number, line) in failure.to_string().lines().enumerate() {
        let name = if number == 0 { "cc-gateway: " } else { "" };
        // There is nowhere left to say that this failed.
        let _ = writeln!(stderr, "{prefix}{name}{line}");
    }
}

/// What stands before an error that does not go through the log.
pub(super) fn error_prefix() -> &'static str {
    prefix(Level::Error)
}

/// What stands before a line of this level that does not go through the log: its priority, where stderr is the journal.
pub(super) fn prefix(level: Level) -> &'static str {
    if stderr_is_journal() { priority(level) } else { "" }
}

/// The priority as sd-daemon(3) wants it in front of a line.
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether stderr itself goes to the journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)), and
/// is inherited by programs that write elsewhere.
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(rustix::stdio::stderr())
        .is_ok_and(|stat| stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino)))
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
