//! The demo: the commands it prints work, its samples play, and it removes its files at the end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Scratch, eventually};

/// A running demo, and its directory for temporary files.
struct Demo {
    scratch: Scratch,
    /// The directory of its log file.
    log: Scratch,
    child: Child,
    /// The commands it prints, beginning with the first step.
    lines: String,
}

impl Demo {
    fn start() -> Demo {
        let (scratch, log) = (Scratch::new(), Scratch::new());
        let mut child = Command::new(env!("CARGO_BIN_EXE_cc-gateway"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let printed = BufReader::new(child.stdout.as_mut().unwrap())
            .lines()
            .map(Result::unwrap);
        let steps = printed.take_while(|line| !line.starts_with("Ctrl-C"));
        let lines = steps
            .skip_while(|line| !line.starts_with("# Sign in"))
            .map(|line| line + "\n")
            .collect();
        Demo {
            scratch,
            log,
            child,
            lines,
        }
    }

    /// The contents of the recordings on its mount, including unfinished ones.
    fn recordings(&self) -> Vec<Vec<u8>> {
        fn files(folder: &Path) -> Vec<PathBuf> {
            let entries = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            entries
                .flat_map(|path| {
                    if path.is_dir() {
                        files(&path)
                    } else {
                        vec![path]
                    }
                })
                .collect()
        }
        // The directory of the inner socket may be next to that of the demo.
        let mut directories = fs::read_dir(self.scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().path().join("mount"));
        files(&directories.find(|mount| mount.is_dir()).unwrap())
            .iter()
            .map(|path| fs::read(path).unwrap())
            .collect()
    }

    /// Ends it as Ctrl-C does.
    fn end(mut self) {
        assert!(
            Command::new("kill")
                .args(["-INT", &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        eventually("the end of the demo", || {
            self.child.try_wait().unwrap().is_some()
        });
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(
            fs::read_dir(self.scratch.path()).unwrap().count(),
            0,
            "the demo must remove its files"
        );
        let log = fs::read_to_string(self.log.path().join("log")).unwrap();
        assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn samples() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/demo");
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "mp4"))
        .map(|path| fs::read(path).unwrap())
        .collect()
}

#[test]
fn the_lines_the_demo_prints_work_as_they_are() {
    let demo = Demo::start();
    let downloads = Scratch::new();
    let pasted = Command::new("bash")
        .args(["-e", "-c", &demo.lines])
        .current_dir(downloads.path())
        .output()
        .unwrap();
    let said = String::from_utf8(pasted.stdout).unwrap();
    assert!(
        pasted.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&pasted.stderr)
    );
    // The three samples, and the recording named by an event.
    assert!(said.contains("AgentMediaEvent_StopRecordDone"), "{said}");
    assert_eq!(said.matches(": OK").count(), 4, "{said}");
    assert!(
        said.trim_end().ends_with(r#"{"message":"","retcode":"0"}"#),
        "{said}"
    );
    demo.end();
}

#[test]
fn the_demo_goes_on_recording_until_it_ends() {
    let (demo, samples) = (Demo::start(), samples());
    let whole = |demo: &Demo| {
        demo.recordings()
            .iter()
            .filter(|&content| samples.contains(content))
            .count()
    };
    assert_eq!(whole(&demo), samples.len());
    eventually("a recording that is not complete", || {
        demo.recordings().len() > whole(&demo)
    });
    eventually("the completion of that recording", || {
        whole(&demo) > samples.len()
    });
    demo.end();
    let demo = Demo::start();
    eventually("a recording that is not complete", || {
        demo.recordings().len() > whole(&demo)
    });
    demo.end();
}

#[test]
fn every_sample_plays() {
    if Command::new("ffprobe").arg("-version").output().is_err() {
        eprintln!("skipped: ffprobe is not installed, so no sample was read");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/demo");
    let scratch = Scratch::new();
    assert!(samples().len() >= 3, "{}", folder.display());
    for (number, sample) in samples().iter().enumerate() {
        let path = scratch.file(&format!("{number}.mp4"), sample);
        let probe = Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-count_frames",
                "-of",
                "csv=p=0",
                "-show_entries",
            ])
            .arg("stream=codec_name,nb_read_frames:format=duration")
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8(probe.stdout).unwrap();
        assert!(probe.status.success() && probe.stderr.is_empty(), "{said}");
        let mut fields = said.split([',', '\n']);
        assert_eq!(fields.next(), Some("h264"), "{said}");
        assert!(
            fields.next().unwrap().parse::<u32>().unwrap() > 10,
            "{said}"
        );
        assert!(
            (2.0..10.0).contains(&fields.next().unwrap().parse::<f64>().unwrap()),
            "{said}"
        );
    }
}
