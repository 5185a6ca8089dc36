//! The project's documents, and their parts that are generated from tables in code.

use std::sync::{Mutex, PoisonError};

/// Serialises rewriting, since a document may have several generated parts.
static REWRITING: Mutex<()> = Mutex::new(());

/// A file of the project.
pub fn document(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The cells of the tables below a heading, including header and rule rows.
pub fn table_rows(name: &str, heading: &str) -> Vec<Vec<String>> {
    let text = document(name);
    let (_, after) = text.split_once(&format!("\n{heading}\n")).unwrap();
    let lines = after
        .lines()
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| "));
    lines
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

/// Fails unless the document is `wanted`; with `CC_GATEWAY_UPDATE_DOCS=1` in the environment
/// rewrites it first.
pub fn is_current(name: &str, wanted: &str) {
    if std::env::var_os("CC_GATEWAY_UPDATE_DOCS").is_some() {
        std::fs::write(path(name), wanted).unwrap();
    }
    let text = document(name);
    let differs = text
        .lines()
        .zip(wanted.lines())
        .find(|(is, wanted)| is != wanted);
    assert!(
        text == wanted,
        "{name} is out of date; CC_GATEWAY_UPDATE_DOCS=1 cargo test --test gateway current rewrites it: {differs:?}"
    );
}

/// Like [`is_current`], for the part between the lines that hold `begin PART` and `end PART`.
pub fn part_is_current(name: &str, part: &str, wanted: &str) {
    let _alone = REWRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let text = document(name);
    let (begin, end) = (format!("begin {part}:"), format!("end {part}"));
    let lines: Vec<_> = text.lines().collect();
    let line = |mark: &str| {
        lines
            .iter()
            .position(|line| line.contains(mark))
            .unwrap_or_else(|| panic!("{name}: {mark}"))
    };
    let (before, after) = (&lines[..=line(&begin)], &lines[line(&end)..]);
    is_current(
        name,
        &format!("{}\n{wanted}{}\n", before.join("\n"), after.join("\n")),
    );
}
