//! Lower-case hexadecimal, for Guids and stored password hashes.

/// Appends two lower-case digits per byte.
pub(super) fn push(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
}

/// Parses lower-case hex; `None` for an odd number of digits or any other character.
pub(super) fn parse(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?))
        .collect()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_whole_lower_case_bytes_are_read() {
        for (text, expected) in [
            ("", Some(vec![])),
            ("00ff7a", Some(vec![0, 0xff, 0x7a])),
            ("0", None),
            ("FF", None),
            ("0g", None),
            ("0x", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut text = String::new();
            push(&mut text, &bytes);
            prop_assert_eq!(parse(&text), Some(bytes));
        }
    }
}
