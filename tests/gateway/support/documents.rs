//! The documents of the project, as tests read them.

/// A file of the project.
pub fn document(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The tables of a section of the README: the cells of each row, with heads and rules.
pub fn readme_rows(section: &str) -> Vec<Vec<String>> {
    let text = document("README.md");
    let (_, after) = text.split_once(&format!("\n{section}\n")).unwrap();
    let lines = after.lines().take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| "));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}
