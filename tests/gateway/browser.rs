//! A real browser as a client of another origin. Skipped if Chromium is not installed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::support::{Scratch, Setup, eventually, recording_bytes};

/// Timeout for the browser, which may take long to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The browser, which consists of many processes.
struct Chromium(Child);

impl Drop for Chromium {
    fn drop(&mut self) {
        // The process group holds only the browser and its children.
        let _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.0.id())])
            .status();
        let _ = self.0.wait();
    }
}

/// Serves the page to one browser, and passes on the path and the body of each request it sends.
fn serve(listener: &TcpListener, told: &Sender<(String, Vec<u8>)>) {
    for stream in listener.incoming() {
        let Some((path, content)) = read(&stream.unwrap()) else {
            continue;
        };
        if path != "/" && told.send((path, content)).is_err() {
            return;
        }
    }
}

fn read(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|&count| count > 0)?;
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let length = lines.iter().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let mut content = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut content).ok()?;
    let target = lines.first()?.split(' ').nth(1)?.to_owned();
    let path = target.split('?').next()?.to_owned();
    let (kind, body) = match &*path {
        "/" => (
            "text/html; charset=utf-8",
            include_str!("../browser/page.html"),
        ),
        _ => ("text/plain", ""),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n",
        body.len()
    );
    let mut stream = stream;
    stream
        .write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())
        .ok()?;
    Some((path, content)).filter(|(path, _)| path != "/favicon.ico")
}

#[test]
fn a_browser_signs_in_polls_over_renewals_and_downloads_what_an_event_names() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/run-chromium");
    let is_there = |name| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    };
    if !is_there("chromium") && !is_there("chromium-browser") {
        eprintln!("skipped: chromium is not installed");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || serve(&listener, &tell));
    let server = Setup::new()
        .set("CORS_ALLOW_ORIGIN", &origin)
        .set("RECORD_SCAN_INTERVAL", "100")
        .set("AGENT_POLL_WAIT_FLAG", "ON")
        .set("AGENT_POLL_WAIT_TIMES", "3")
        .set("GUIDINTERVAL", "200")
        .recording("1/0/20261124/900/0900001.mp4", "old")
        .start();
    let profile = Scratch::new();
    let page = format!("{origin}/?gateway=https://{}", server.address());
    let mut command = Command::new(script);
    command
        .args([&page, profile.path().to_str().unwrap()])
        .env("HOME", profile.path())
        .process_group(0);
    let browser = Chromium(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    assert_eq!(
        told.recv_timeout(PATIENCE).unwrap(),
        ("/signed-in".to_owned(), Vec::new())
    );
    let directory = server.scratch().path().join("mount");
    let looks = || {
        server.metric(&format!(
            "cc_gateway_looks_total{{directory=\"{}\"}}",
            directory.display()
        ))
    };
    let before = looks();
    eventually("two scans after the sign-in", || looks() >= before + 2);
    let video = recording_bytes(503, 3_000_000);
    let written = server.scratch().file("written", &video);
    let folder = directory.join("1/0/20261125/503");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(written, folder.join("1714442.mp4")).unwrap();
    let (path, content) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(path, "/video", "{}", String::from_utf8_lossy(&content));
    assert!(content == video);
    drop(browser);
}
