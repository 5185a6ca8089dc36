//! `cc-gateway demo`: serves sample recordings and prints the commands to try it.

mod recorder;
mod tour;

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::certificate::{self, CERTIFICATE, PRIVATE_KEY};
use super::serve;
use crate::ops::console::print;
use crate::ops::fatal_error::FatalError;
use crate::session::PasswordHash;
use recorder::{Recorder, SAMPLES, recording_path};

const AGENT: &str = "1001";
const PASSWORD: &str = "demo-password";

/// Age of the oldest sample at the start.
const FIRST_SAMPLE_AGE: Duration = Duration::from_secs(180);
/// Time between one sample and the next.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(60);

/// Serves samples on `listen` while recording new ones; removes everything at the end.
pub(crate) fn run(listen: SocketAddr) -> Result<(), FatalError> {
    let fails =
        |error: io::Error| FatalError::from_io(&error, format!("cannot set up the demo: {error}"));
    let demo = DemoDirectory::build(listen).map_err(fails)?;
    let names = [
        listen.ip().to_string(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
    ];
    certificate::write_pair(&demo.directory, &names)?;
    let hash = PasswordHash::derive(PASSWORD)
        .map_err(io::Error::other)
        .map_err(fails)?;
    certificate::write_new(
        &demo.directory.join("agents.properties"),
        0o600,
        &format!("{AGENT} = {hash}\n"),
    )?;
    // Dropped before the directory, so that it writes nothing after that is removed.
    let _recorder = Recorder::start(demo.mount(), AGENT).map_err(fails)?;
    serve::run(&demo.config(), |addresses| {
        if let Some(address) = addresses.first() {
            // The demo still works if its instructions cannot be printed.
            let _ = print(&demo.tour(*address));
        }
    })
}

/// The directory of the demo, removed on drop.
struct DemoDirectory {
    directory: PathBuf,
    /// Folder of the samples, relative to the mount, and their file names.
    folder: String,
    names: Vec<String>,
}

impl DemoDirectory {
    fn build(listen: SocketAddr) -> io::Result<DemoDirectory> {
        let directory =
            std::env::temp_dir().join(format!("cc-gateway-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let (folder, _) = recording_path(AGENT, SystemTime::now());
        let mut demo = DemoDirectory {
            directory,
            folder,
            names: Vec::new(),
        };
        let day = demo.mount().join(&demo.folder);
        fs::create_dir_all(&day)?;
        let mut began = SystemTime::now() - FIRST_SAMPLE_AGE;
        for sample in SAMPLES {
            // Shortly after midnight the names are those of the evening before, which is harmless.
            let (_, name) = recording_path(AGENT, began);
            fs::write(day.join(&name), sample)?;
            demo.names.push(name);
            began += SAMPLE_INTERVAL;
        }
        fs::write(
            demo.config(),
            format!(
                "VIDEO_DOWNLOAD_FLAG = ON\nIF_SUPPORT_VIDEO = ON\nMOUNT_DIR = {}\nMOUNT_CHECK = OFF\nLISTEN = {listen}\n\
                 TLS_CERTIFICATE = {CERTIFICATE}\nTLS_PRIVATE_KEY = {PRIVATE_KEY}\n",
                demo.mount().display(),
            ),
        )?;
        Ok(demo)
    }

    fn mount(&self) -> PathBuf {
        self.directory.join("mount")
    }

    fn config(&self) -> PathBuf {
        self.directory.join("basic.properties")
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
