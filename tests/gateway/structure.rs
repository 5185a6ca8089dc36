//! The architecture of CONTRIBUTING.md: layers use only the layers below them, and the functions it
//! lists for a download exist.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with the layers it may use. Within a layer any module may use any other.
const LAYERS: [(&str, &[&str]); 8] = [
    ("ops", &[]),
    ("config", &["ops"]),
    ("session", &["config", "ops"]),
    ("recording", &["config", "ops"]),
    ("api", &["session", "recording", "config", "ops"]),
    ("http", &["api", "session", "recording", "config", "ops"]),
    (
        "front",
        &["http", "api", "session", "recording", "config", "ops"],
    ),
    (
        "commands",
        &["front", "api", "session", "recording", "config", "ops"],
    ),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
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
fn every_layer_uses_only_those_below_it() {
    let mut looked_at = 0;
    for (layer, below) in LAYERS {
        for path in sources(&root().join(layer)) {
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split("crate::").skip(1) {
                let used: String = part
                    .chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect();
                let is_layer = LAYERS.iter().any(|(name, _)| *name == used);
                assert!(
                    is_layer,
                    "{} uses {used}, which is not a layer",
                    path.display()
                );
                assert!(
                    used == layer || below.contains(&&*used),
                    "{} uses {used}",
                    path.display()
                );
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 50, "the test found only {looked_at} uses");
}

#[test]
fn every_folder_of_sources_is_in_a_layer() {
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        // A folder next to a file of the same name holds the submodules of that file.
        if entry.file_type().unwrap().is_dir() && !entry.path().with_extension("rs").exists() {
            let name = entry.file_name().into_string().unwrap();
            assert!(
                LAYERS.iter().any(|(layer, _)| *layer == name),
                "{name} is not in LAYERS"
            );
        }
    }
}

#[test]
fn only_http_knows_tiny_http_and_only_the_front_knows_tls() {
    for path in sources(&root()) {
        let text = fs::read_to_string(&path).unwrap();
        let layer = path
            .strip_prefix(root())
            .unwrap()
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_owned();
        for (name, owner) in [
            ("tiny_http::", "http"),
            ("rustls::", "front"),
            ("TcpStream", "front"),
        ] {
            assert!(
                !text.contains(name) || layer == owner,
                "{} uses {name}",
                path.display()
            );
        }
    }
}

#[test]
fn the_functions_on_the_way_of_a_download_are_where_contributing_has_them() {
    let text = crate::support::document("CONTRIBUTING.md");
    let (_, walk) = text.split_once("### How a download travels\n").unwrap();
    let steps = walk.lines().skip(1).take_while(|line| !line.is_empty());
    let steps: Vec<Vec<_>> = steps
        .map(|line| line.split('`').skip(1).step_by(2).take(2).collect())
        .collect();
    let files: std::collections::BTreeSet<_> = steps.iter().map(|step| step[0]).collect();
    assert!(
        (10..=12).contains(&steps.len()) && files.len() <= 10,
        "{} in {}",
        steps.len(),
        files.len()
    );
    for step in steps {
        assert!(
            crate::support::document(step[0]).contains(&format!("fn {}", step[1])),
            "{step:?}"
        );
    }
}
