//! The house stands: imports run downwards.

use std::fs;
use std::path::{Path, PathBuf};

/// Each storey with those it may use; within a folder anything may use anything, in no circle of folders.
const STOREYS: [(&str, &[&str]); 7] = [
    ("ops", &[]),
    ("config", &["ops"]),
    ("session", &["config", "ops"]),
    ("recording", &["config", "ops"]),
    ("api", &["session", "recording", "config", "ops"]),
    ("http", &["api", "session", "recording", "config", "ops"]),
    ("front", &["http", "api", "session", "recording", "config", "ops"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "rs"))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_storey_uses_only_those_below_it() {
    let mut looked_at = 0;
    for (storey, below) in STOREYS {
        for path in sources(&root().join(storey)) {
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split("crate::").skip(1) {
                let used: String =
                    part.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                let is_storey = STOREYS.iter().any(|(name, _)| *name == used);
                assert!(is_storey, "{} uses {used}, which is above every storey", path.display());
                assert!(used == storey || below.contains(&&*used), "{} uses {used}", path.display());
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 50, "the test looks at too little: {looked_at}");
}

#[test]
fn every_folder_of_sources_is_a_storey() {
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        // A folder beside a file of its name holds the parts of that file.
        if entry.file_type().unwrap().is_dir() && !entry.path().with_extension("rs").exists() {
            let name = entry.file_name().into_string().unwrap();
            assert!(STOREYS.iter().any(|(storey, _)| *storey == name), "{name} is no storey");
        }
    }
}

#[test]
fn only_the_http_storey_knows_tiny_http_and_only_the_front_knows_tls() {
    for path in sources(&root()) {
        let text = fs::read_to_string(&path).unwrap();
        let storey = path.strip_prefix(root()).unwrap().components().next().unwrap().as_os_str().to_owned();
        for (name, owner) in [("tiny_http::", "http"), ("rustls::", "front"), ("TcpStream", "front")] {
            assert!(!text.contains(name) || storey == owner, "{} uses {name}", path.display());
        }
    }
}
