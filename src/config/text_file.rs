//! Reads configuration files in any common encoding.

use std::path::Path;

use super::problem::Problem;
use super::properties;
use crate::ops::bounded_file::BoundedFile;

/// Reads a properties file of at most `max` bytes; `advice` says what to do if it is missing.
///
/// # Errors
/// Why it cannot be read. Anything but a regular file is an error, so a pipe or device cannot
/// block.
pub(super) fn read_text(path: &Path, max: u64, advice: &str) -> Result<String, Problem> {
    read_secret_text(path, max, advice).map(|(text, _)| text)
}

/// Like [`read_text`], for a file that holds secrets: also returns a warning if anybody but the
/// service may read or change it.
///
/// # Errors
/// As with [`read_text`].
pub(crate) fn read_secret_text(
    path: &Path,
    max: u64,
    advice: &str,
) -> Result<(String, Option<Problem>), Problem> {
    let file =
        BoundedFile::read(path, max).map_err(|error| Problem::from_io(path, &error, advice))?;
    let problem = |text: &str| Problem::in_config(path, None, None, text);
    if is_utf16(&file.bytes) {
        return Err(problem("is UTF-16 text; save it as UTF-8 or ISO 8859-1"));
    }
    // UTF-32, a compressed file, or zeros left behind by a power failure.
    if file.bytes.contains(&0) {
        return Err(problem(
            "is not text: it contains NUL bytes; save it as UTF-8 or ISO 8859-1",
        ));
    }
    let warning = file.exposure().map(|exposure| {
        problem(&format!(
            "{exposure}; run: chgrp cc-gateway {0} && chmod 0640 {0}",
            path.display()
        ))
    });
    Ok((properties::decode(file.bytes.to_vec()), warning))
}

/// Whether this is UTF-16, which Windows editors call Unicode: it has a byte order mark, or every
/// other byte at the start is zero, as with ASCII text.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    /// Byte pairs to check: fewer than any entry has.
    const PAIRS: usize = 4;
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let (pairs, _) = bytes.as_chunks::<2>();
    let beginning = pairs.get(..PAIRS).unwrap_or_default();
    let has_zeros = |at: usize| {
        !beginning.is_empty()
            && beginning
                .iter()
                .all(|pair| pair.get(at) == Some(&0) && pair.get(1 - at) != Some(&0))
    };
    marked || has_zeros(0) || has_zeros(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_two_bytes_a_letter_is_recognised_in_either_order_and_without_a_mark() {
        let text = "MAXTIME = 1\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, is_one) in [
            (little.clone(), true),
            (big.clone(), true),
            ([&[0xff, 0xfe][..], &little].concat(), true),
            ([&[0xfe, 0xff][..], &big].concat(), true),
            (text.as_bytes().to_vec(), false),
            (b"a\0b".to_vec(), false),
            (vec![0; 64], false),
            (Vec::new(), false),
            (b"a".to_vec(), false),
            ("\u{feff}MAXTIME = 1".as_bytes().to_vec(), false),
        ] {
            assert_eq!(is_utf16(&bytes), is_one, "{bytes:?}");
        }
    }
}
