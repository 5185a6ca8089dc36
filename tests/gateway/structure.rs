//! The house stands: imports run downwards.

use std::collections::{BTreeMap, BTreeSet};
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

/// The names that follow `prefix` in `text`: one, or those of a group in braces.
fn names_after(text: &str, prefix: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let mut names = Vec::new();
    for rest in text.split(prefix).skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap();
                names.extend(group.split(',').map(|part| name(part.trim())));
            }
            None => names.push(name(rest)),
        }
    }
    names
}

/// Whether a file is compiled for tests alone.
fn is_for_tests(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let folder = path.parent().unwrap();
    [folder.join("mod.rs"), folder.with_extension("rs")]
        .iter()
        .filter_map(|parent| fs::read_to_string(parent).ok())
        .any(|parent| parent.contains(&format!("#[cfg(test)]\nmod {name};")))
}

/// Which files of a folder each of them uses; a file's own subfolder counts as the file.
fn uses(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let storey = folder.file_name().unwrap().to_str().unwrap();
    let of = |path: &Path| -> String {
        let first = path.strip_prefix(folder).unwrap().components().next().unwrap().as_os_str();
        first.to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let mut uses: BTreeMap<String, BTreeSet<String>> =
        sources(folder).iter().map(|path| (of(path), BTreeSet::new())).collect();
    let modules: Vec<String> = uses.keys().cloned().collect();
    for path in sources(folder) {
        let from = of(&path);
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let text: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let prefixes = match path.parent().unwrap() == folder {
            true => vec!["super::".to_owned(), format!("crate::{storey}::")],
            false => vec!["super::super::".to_owned(), format!("crate::{storey}::")],
        };
        if from == "mod" || is_for_tests(&path) {
            continue;
        }
        for name in prefixes.iter().flat_map(|prefix| names_after(&text, prefix)) {
            let is_item_of_mod = name.starts_with(char::is_uppercase);
            assert!(!is_item_of_mod, "{} uses {name} through its folder's mod.rs", path.display());
            if modules.contains(&name) && name != from {
                uses.get_mut(&from).unwrap().insert(name);
            }
        }
    }
    uses
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut edges = 0;
    for (storey, _) in STOREYS {
        let mut uses = uses(&root().join(storey));
        edges += uses.values().map(BTreeSet::len).sum::<usize>();
        // Take away files that use nothing that is left, until none is left, or a circle.
        while !uses.is_empty() {
            let free: Vec<String> =
                uses.iter().filter(|(_, used)| used.is_empty()).map(|(name, _)| name.clone()).collect();
            assert!(!free.is_empty(), "a circle in {storey}: {uses:#?}");
            for name in free {
                uses.remove(&name);
                uses.values_mut().for_each(|used| {
                    used.remove(&name);
                });
            }
        }
    }
    assert!(edges > 60, "the test looks at too little: {edges}");
}
