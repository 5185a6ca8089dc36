//! The README names every interface and every result code.

use cc_gateway::api::interfaces::Entry;
use cc_gateway::api::{INTERFACES, ResultCode};

use crate::support::readme_rows;

/// The row of an interface.
fn row(entry: &Entry) -> Vec<String> {
    let codes: Vec<_> = entry.codes.iter().map(|code| code.wire()).collect();
    let path = format!("`{} /{}`", entry.method.name(), entry.path);
    vec![path, entry.log_name.to_owned(), entry.does.to_owned(), codes.join(", ")]
}

#[test]
fn the_table_of_interfaces_is_the_one_of_the_program() {
    let told = readme_rows("## Interfaces");
    let known: Vec<_> = INTERFACES.iter().map(row).collect();
    let lines =
        |rows: &[Vec<String>]| -> String { rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect() };
    assert!(told[2..] == known, "the table should be\n{}", lines(&known));
}

#[test]
fn every_result_code_is_explained() {
    let rows = readme_rows("### Result codes");
    for code in ResultCode::ALL {
        assert!(rows.iter().any(|row| row[0] == code.wire()), "{} is missing", code.wire());
    }
}
