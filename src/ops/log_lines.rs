//! The log: simple_logger on stderr behind a queue, so that a stalled reader of the log cannot stop
//! the service.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use super::spawn;

/// Capacity of the queue in lines, some 200 bytes each. Further lines are dropped and counted.
const QUEUE_LINES: usize = 4096;
/// How long the process waits for the last lines to be written when it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines dropped because the queue was full.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Log lines dropped so far because nobody read them.
pub(crate) fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// An item of the queue.
enum Entry {
    Line(Level, String, String),
    /// Acknowledged once everything before it has been written.
    Flush(SyncSender<()>),
}

/// The logger that all threads use: it never blocks.
struct QueuedLog {
    logger: SimpleLogger,
    queue: SyncSender<Entry>,
}

impl Log for QueuedLog {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            let line = Entry::Line(
                record.level(),
                record.target().to_owned(),
                record.args().to_string(),
            );
            if let Err(TrySendError::Full(_)) = self.queue.try_send(line) {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until everything logged so far has been written, at most [`FLUSH_TIMEOUT`].
    fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// The thread that writes; the only one that waits for the reader of the log.
struct Writer {
    logger: SimpleLogger,
    journal: bool,
    /// Dropped lines reported so far.
    reported: u64,
}

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is writing a log line right now.
pub(super) fn is_writing() -> bool {
    WRITING.get()
}

impl Writer {
    fn run(mut self, queue: &Receiver<Entry>) {
        // Reports dropped lines whenever the queue is empty.
        while let Ok(entry) = queue.try_recv().or_else(|_| {
            self.report_dropped();
            queue.recv()
        }) {
            match entry {
                Entry::Line(level, target, text) => self.write(level, &target, &text),
                Entry::Flush(done) => {
                    self.report_dropped();
                    let _ = done.send(());
                }
            }
        }
    }

    fn report_dropped(&mut self) {
        let dropped = dropped_lines();
        let more = dropped - self.reported;
        self.reported = dropped;
        if more > 0 {
            let text = format!("dropped {more} log lines: the reader of the log did not keep up");
            self.write(Level::Warn, "cc_gateway", &text);
        }
    }

    /// simple_logger prints with `eprintln!`, which panics once stderr is closed. Such a line is
    /// lost; there is nowhere left to say so.
    fn write(&self, level: Level, target: &str, text: &str) {
        WRITING.set(true);
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // Locked so that no other line gets between this one and its priority.
            let mut stderr = std::io::stderr().lock();
            if self.journal {
                let _ = stderr.write_all(priority(level).as_bytes());
            }
            self.logger.log(
                &Record::builder()
                    .level(level)
                    .target(target)
                    .args(format_args!("{text}"))
                    .build(),
            );
        }));
        WRITING.set(false);
    }
}

/// Starts logging to stderr at `level`.
///
/// Lines carry the UTC time at which they are written; for the journal, which keeps its own time,
/// they carry their priority instead. tiny_http is silenced: it reports the normal end of a private
/// socket as an error, and its callers log what matters.
///
/// # Errors
/// When the writer thread cannot be started.
pub(crate) fn start(level: LevelFilter) -> std::io::Result<()> {
    let journal = stderr_is_journal();
    let logger = || {
        let logger = SimpleLogger::new()
            .with_level(LevelFilter::Trace)
            .with_module_level("tiny_http", LevelFilter::Off);
        if journal {
            logger.without_timestamps()
        } else {
            logger.with_utc_timestamps()
        }
    };
    let (queue, entries) = sync_channel(QUEUE_LINES);
    let writer = Writer {
        logger: logger(),
        journal,
        reported: 0,
    };
    spawn("log", 128 * 1024, move || writer.run(&entries))?;
    if log::set_boxed_logger(Box::new(QueuedLog {
        logger: logger(),
        queue,
    }))
    .is_ok()
    {
        log::set_max_level(level);
    }
    Ok(())
}

/// The prefix of a line printed directly: its priority if stderr is the journal, else empty.
pub(super) fn priority_prefix(level: Level) -> &'static str {
    if stderr_is_journal() {
        priority(level)
    } else {
        ""
    }
}

/// The priority prefix of a line (sd-daemon(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether stderr is the journal. `JOURNAL_STREAM` names its device and inode (systemd.exec(5));
/// comparing them matters, since programs inherit the variable and write elsewhere.
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(rustix::stdio::stderr())
        .is_ok_and(|stat| stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino)))
}

/// Client text for a log line: quoted, cut at 200 characters, and escaped except for printable
/// ASCII, so that no client can forge a line or control a terminal.
pub(crate) struct Quoted<'a>(pub &'a str);

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
        f.write_str(if characters.next().is_some() {
            "\"..."
        } else {
            "\""
        })
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
        assert_eq!(
            Quoted(&"x".repeat(300)).to_string(),
            format!("\"{}\"...", "x".repeat(200))
        );
        assert_eq!(
            Quoted(&"x".repeat(200)).to_string(),
            format!("\"{}\"", "x".repeat(200))
        );
    }
}
