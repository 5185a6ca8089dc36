//! A simulated recorder: writes a new recording of the agent every 30 s, piece by piece.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ops::sync::Latch;

/// VDN and media folder of the demo's recordings; day and agent follow.
const VDN_AND_MEDIA: &str = "1/0";

/// Small but real videos, made by packaging/demo/make-samples.
pub(super) const SAMPLES: [&[u8]; 3] = [
    include_bytes!("bars.mp4"),
    include_bytes!("counter.mp4"),
    include_bytes!("shapes.mp4"),
];

/// Delay before the first new recording: leaves time for a poll without an event.
const FIRST_AFTER: Duration = Duration::from_secs(5);

/// Time between new recordings.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);

/// A recording is written in pieces, slowly enough for scans to see it grow.
const PIECES: usize = 6;
const PIECE_INTERVAL: Duration = Duration::from_millis(600);

/// Writes recordings until dropped; the drop waits for the current piece.
#[derive(Debug)]
pub(super) struct Recorder {
    stop: Arc<Latch>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts recording `agent` on `mount`. Fails if no thread can be spawned.
    pub(super) fn start(mount: PathBuf, agent: &'static str) -> io::Result<Recorder> {
        let stop = Arc::new(Latch::default());
        let until = Arc::clone(&stop);
        let record = move || {
            let mut next = Instant::now() + FIRST_AFTER;
            for sample in SAMPLES.iter().cycle() {
                if until.wait_until(next) {
                    return;
                }
                next += INTERVAL;
                if let Err(error) = write(&mount, agent, sample, &until) {
                    log::warn!(
                        "the recorder of the demo cannot write below {}: {error}",
                        mount.display()
                    );
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("demo-recorder".into())
            .spawn(record)?;
        Ok(Recorder {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Folder, relative to the mount, and file name of a recording of `agent` that begins at `time`.
///
/// Uses UTC; real recorders may use local time.
pub(super) fn recording_path(agent: &str, time: SystemTime) -> (String, String) {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let folder = format!("{VDN_AND_MEDIA}/{}/{agent}", day(days));
    (
        folder,
        format!(
            "{:02}{:02}{:02}1.mp4",
            second / 3600,
            second / 60 % 60,
            second % 60
        ),
    )
}

/// The date `days` after 1970-01-01, as `yyyymmdd`.
fn day(days: u64) -> String {
    // Days from 0000-03-01, in eras of 400 years (H. Hinnant, "chrono-compatible low-level date
    // algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}")
}

/// Writes one recording piece by piece, stopping early once `stop` is set.
fn write(mount: &Path, agent: &str, sample: &[u8], stop: &Latch) -> io::Result<()> {
    let (folder, name) = recording_path(agent, SystemTime::now());
    let folder = mount.join(folder);
    fs::create_dir_all(&folder)?;
    let mut file = File::create(folder.join(name))?;
    for piece in sample.chunks(sample.len().div_ceil(PIECES).max(1)) {
        file.write_all(piece)?;
        if stop.wait_until(Instant::now() + PIECE_INTERVAL) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_lies_under_the_day_and_the_time_at_which_it_began() {
        let table = [
            (0, "1/0/19700101/1001", "0000001.mp4"),
            (951_827_696, "1/0/20000229/1001", "1234561.mp4"),
            (1_606_929_282, "1/0/20201202/1001", "1714421.mp4"),
            (1_740_787_199, "1/0/20250228/1001", "2359591.mp4"),
            (1_795_478_399, "1/0/20261123/1001", "2359591.mp4"),
            (4_107_542_400, "1/0/21000301/1001", "0000001.mp4"),
        ];
        for (seconds, folder, name) in table {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(
                recording_path("1001", time),
                (folder.to_owned(), name.to_owned()),
                "{seconds}"
            );
        }
    }

    #[test]
    fn the_samples_are_small_and_play_from_their_first_bytes() {
        assert!(SAMPLES.iter().map(|sample| sample.len()).sum::<usize>() <= 60 * 1024);
        for sample in SAMPLES {
            let position =
                |name: &[u8; 4]| sample.windows(4).position(|bytes| bytes == name).unwrap();
            assert!(position(b"ftyp") < position(b"moov") && position(b"moov") < position(b"mdat"));
            assert!(sample.windows(4).any(|bytes| bytes == b"avc1"), "H.264");
        }
    }
}
