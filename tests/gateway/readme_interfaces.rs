//! The README names every interface and every result code.

use cc_gateway::api::{Interface, ResultCode};

use crate::support::readme_rows;

#[test]
fn every_interface_is_listed_with_its_method_and_with_codes_that_exist() {
    let rows = readme_rows("## Interfaces");
    for interface in Interface::ALL {
        let row = rows.iter().find(|row| row[1] == interface.log_name());
        let row = row.unwrap_or_else(|| panic!("{} is missing", interface.log_name()));
        assert!(row[0].starts_with(&format!("`{} /", interface.method().name())), "{row:?}");
        for code in row[3].split([',', ' ', ';']).filter(|word| word.contains('-') && word.len() == 7) {
            assert!(ResultCode::ALL.iter().any(|known| known.wire() == code), "{code} does not exist");
        }
    }
    assert_eq!(rows.len(), Interface::ALL.len() + 2, "with the head of the table and its rule");
}

#[test]
fn every_result_code_is_explained() {
    let rows = readme_rows("### Result codes");
    for code in ResultCode::ALL {
        assert!(rows.iter().any(|row| row[0] == code.wire()), "{} is missing", code.wire());
    }
}
