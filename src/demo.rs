//! `cc-gateway demo`: the main job at once, with sample recordings, and the lines to try it.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::certificate::{self, CERTIFICATE, PRIVATE_KEY};
use crate::ops::console::print;
use crate::ops::failure::{Exit, Failure};
use crate::session::PasswordHash;

const AGENT: &str = "1001";
const PASSWORD: &str = "demo-password";
const DAY: &str = "1/0/20201202/1001";
/// The samples and their sizes in bytes. A real player would not like them, a download does.
const SAMPLES: [(&str, usize); 3] = [("0914442.mp4", 1024 * 1024), ("1030007.mp4", 5_000_000), ("1105123.mp4", 16_385)];

/// Has samples served on `listen` by `serve`, which is given the settings and whom to tell the addresses;
/// leaves nothing behind.
pub(crate) fn run(
    listen: SocketAddr,
    serve: impl FnOnce(&Path, &dyn Fn(&[SocketAddr])) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let stage = Stage::build(listen)
        .map_err(|error| Failure::new(Exit::of_io(&error, Exit::Io), format!("the demo cannot be set up: {error}")))?;
    let names = [listen.ip().to_string(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    certificate::write_pair(&stage.directory, &names)?;
    serve(&stage.config(), &|addresses| {
        if let Some(address) = addresses.first() {
            // Without its lines the demo is still a server.
            let _ = print(&stage.tour(*address));
        }
    })
}

/// The demo's directory; it goes when this is dropped.
struct Stage {
    directory: PathBuf,
}

impl Stage {
    fn build(listen: SocketAddr) -> io::Result<Stage> {
        let directory = std::env::temp_dir().join(format!("cc-gateway-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let stage = Stage { directory };
        let day = stage.directory.join("mount").join(DAY);
        fs::create_dir_all(&day)?;
        for (name, size) in SAMPLES {
            write_sample(&day.join(name), size)?;
        }
        let hash = PasswordHash::derive(PASSWORD).map_err(io::Error::other)?;
        fs::write(stage.directory.join("agents.properties"), format!("{AGENT} = {hash}\n"))?;
        let mount = stage.directory.join("mount");
        fs::write(
            stage.config(),
            format!(
                "VIDEO_DOWNLOAD_FLAG = ON\nIF_SUPPORT_VIDEO = ON\nMOUNT_DIR = {}\nMOUNT_CHECK = OFF\nLISTEN = {listen}\n\
                 TLS_CERTIFICATE = {CERTIFICATE}\nTLS_PRIVATE_KEY = {PRIVATE_KEY}\n",
                mount.display(),
            ),
        )?;
        Ok(stage)
    }

    fn config(&self) -> PathBuf {
        self.directory.join("basic.properties")
    }

    fn tour(&self, address: SocketAddr) -> String {
        let base = format!("https://{address}/agentgateway/resource");
        let curl = format!("curl -sS --cacert {}", self.directory.join(CERTIFICATE).display());
        let json = "-H 'Content-Type: application/json; charset=UTF-8'";
        let mount = self.directory.join("mount");
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\nThe recordings are in {mount}/{DAY}; put others beside them and they are served too.\n\
             Paste these lines into another terminal:\n\n\
             # Sign in, and keep the Guid\n\
             GUID=$({curl} -D - -o /dev/null -X PUT {json} \\\n  -d '{{\"password\":\"{PASSWORD}\",\"phonenum\":\"40038\"}}' \\\n  \
             {base}/onlineagent/{AGENT} | tr -d '\\r' | sed -n 's/^Set-GUID: JSESSIONID=//p'); echo \"$GUID\"\n\n\
             # Poll, which keeps the session alive (answers after 10 seconds)\n\
             {curl} -H \"Guid: $GUID\" {base}/agentevent/{AGENT}; echo\n\n\
             # Download\n",
            mount = mount.display(),
        );
        for (name, _) in SAMPLES {
            let _ = write!(
                text,
                "{curl} -H \"Guid: $GUID\" {json} -o {name} \\\n  '{base}/recordfile/{AGENT}/videofiledownloadEx?recordId=Y:/{DAY}/{name}'\n",
            );
        }
        let _ = write!(
            text,
            "(cd {mount}/{DAY} && sha256sum *) | sha256sum -c\n\n\
             # Sign out\n\
             {curl} -X DELETE -H \"Guid: $GUID\" {base}/onlineagent/{AGENT}/logout; echo\n\n\
             Ctrl-C ends the demo and removes everything.\n\n",
            mount = mount.display(),
        );
        text
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Bytes that differ from place to place, so that a download with a gap or a swap shows.
fn write_sample(path: &Path, size: usize) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(size)
    .collect();
    File::create(path)?.write_all(&bytes)
}
