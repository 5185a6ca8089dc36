//! Strict PEM (RFC 7468): whatever looks like a block must be one. rustls-pemfile silently skips
//! malformed ones, such as a certificate after a byte order mark, and then only clients would
//! notice that it is missing.

use rustls_pemfile::Item;
use zeroize::Zeroizing;

use super::der::{self, Reader, tag};
use crate::config::is_utf16;

/// One PEM block.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// The line of its BEGIN, counted from 1.
    pub(super) line: u32,
    /// Its label, such as `CERTIFICATE`.
    pub(super) label: &'a str,
    /// Whether its header declares it encrypted (RFC 1421 4.6.1.1).
    pub(super) is_encrypted: bool,
    base64: Zeroizing<String>,
}

/// A flaw in a file. `{file}` in the text stands for its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The line, counted from 1; `None` for the whole file.
    pub(super) line: Option<u32>,
    /// What is wrong and what to do about it.
    pub(super) text: String,
}

impl Flaw {
    /// A flaw in a line, or in the block that begins there.
    pub(super) fn at(line: u32, text: impl Into<String>) -> Flaw {
        Flaw {
            line: Some(line),
            text: text.into(),
        }
    }

    /// A flaw of the whole file.
    pub(super) fn whole_file(text: impl Into<String>) -> Flaw {
        Flaw {
            line: None,
            text: text.into(),
        }
    }
}

impl Block<'_> {
    /// Whether its label is that of a private key of any kind.
    pub(super) fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    /// The decoded item; `None` for kinds that rustls does not use.
    pub(super) fn decode(&self) -> Result<Option<Item>, Flaw> {
        const DAMAGED: &str =
            "is damaged: characters of its base64 text are missing or too many; copy it again";
        let Block { label, base64, .. } = self;
        // rustls-pemfile would add missing padding (RFC 4648 4 has groups of four).
        if base64.len() % 4 != 0 {
            return Err(Flaw::at(self.line, DAMAGED));
        }
        let text = Zeroizing::new(format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            base64.as_str()
        ));
        rustls_pemfile::read_one_from_slice(text.as_bytes())
            .map(|item| item.map(|(item, _)| item))
            .map_err(|_| Flaw::at(self.line, DAMAGED))
    }
}

const NOT_BASE64: &str = "holds characters that do not belong in a PEM block; copy it again";

/// The role of a line in the file.
enum LineKind<'a> {
    Begin(&'a str),
    End(&'a str),
    /// Meant to be one of these, but malformed.
    Malformed(&'static str),
    Other,
}

/// The blocks of a file, in order. Other text may come between them, as openssl writes it.
///
/// # Errors
/// The first flaw.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Block<'_>>, Flaw> {
    let bytes = content(bytes)?;
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in (1_u32..).zip(lines(bytes)) {
        let Some(line) = line else {
            match open {
                Some(_) => return Err(Flaw::at(number, NOT_BASE64)),
                None => continue,
            }
        };
        match (line_kind(line), open.as_mut()) {
            (LineKind::Malformed(reason), _) => return Err(Flaw::at(number, reason)),
            (LineKind::Begin(label), None) => {
                open = Some(Block {
                    line: number,
                    label,
                    is_encrypted: false,
                    base64: Zeroizing::default(),
                });
            }
            (LineKind::Begin(_), Some(before)) => {
                let text = format!(
                    "begins inside the block of line {}, whose END line is missing; copy it again",
                    before.line
                );
                return Err(Flaw::at(number, text));
            }
            (LineKind::End(label), Some(block)) if block.label == label => {
                if block.base64.is_empty() {
                    return Err(Flaw::at(
                        block.line,
                        "is empty: there is nothing between BEGIN and END",
                    ));
                }
                blocks.extend(open.take());
            }
            (LineKind::End(_), Some(block)) => {
                let text = format!(
                    "does not end what begins in line {}, BEGIN {}; copy it again",
                    block.line, block.label
                );
                return Err(Flaw::at(number, text));
            }
            (LineKind::End(_), None) => {
                return Err(Flaw::at(
                    number,
                    "ends a block whose BEGIN line is missing; copy it again",
                ));
            }
            (LineKind::Other, Some(block)) => block.add(number, line)?,
            (LineKind::Other, None) => {
                if is_stray_base64(line) {
                    return Err(Flaw::at(
                        number,
                        "is part of a block whose BEGIN line is missing; copy it again",
                    ));
                }
            }
        }
    }
    match open {
        Some(block) => Err(Flaw::at(
            block.line,
            "has no END line: the file is cut off, copy it again",
        )),
        None => Ok(blocks),
    }
}

impl Block<'_> {
    fn add(&mut self, number: u32, line: &str) -> Result<(), Flaw> {
        let line = line.trim();
        if self.base64.is_empty() && line.contains(':') {
            self.is_encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
            return Ok(());
        }
        if !line.bytes().all(is_base64) {
            return Err(Flaw::at(number, NOT_BASE64));
        }
        self.base64.push_str(line);
        Ok(())
    }
}

/// The bytes without a leading byte order mark, or an error if the file is not text.
fn content(bytes: &[u8]) -> Result<&[u8], Flaw> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    other_format(bytes).map_or(Ok(bytes), |kind| Err(Flaw::whole_file(kind)))
}

/// What a file is that is not PEM, and how to convert it.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    if is_utf16(bytes) {
        return Some("is UTF-16 text; save it as UTF-8");
    }
    if bytes.starts_with(b"PuTTY-User-Key-File-") {
        return Some(
            "is a key in the form of PuTTY; convert it with: puttygen {file} -O private-openssh -o NEW, and that with \
             ssh-keygen -p -m PEM -f NEW",
        );
    }
    if let [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] = bytes {
        return Some(
            "is a Java key store, not PEM; convert it with: keytool -importkeystore -srckeystore {file} \
             -destkeystore NEW.p12 -deststoretype PKCS12, and that with openssl pkcs12",
        );
    }
    if let Ok(sequence) = der::whole_sequence(bytes) {
        let first = Reader::new(sequence.content).next();
        return Some(match first.map(|element| (element.tag, element.content)) {
            Some((tag::INTEGER, [3])) => {
                "is a PKCS #12 key store, not PEM; take it apart with: openssl pkcs12 -in {file} -nodes -nocerts -out KEY, \
                 and -nokeys -out CERTIFICATE"
            }
            Some((tag::INTEGER, _)) => {
                "is a key in DER, not PEM; convert it with: openssl pkey -inform der -in {file} -out NEW"
            }
            Some((tag::OBJECT_ID, _)) => {
                "is PKCS #7 in DER, not PEM; convert it with: openssl pkcs7 -inform der -in {file} -print_certs -out NEW"
            }
            _ => {
                "is DER, not PEM; convert a certificate with: openssl x509 -inform der -in {file} -out NEW, \
                 a key with: openssl pkey -inform der -in {file} -out NEW"
            }
        });
    }
    bytes
        .contains(&0)
        .then_some("is not a PEM file: it holds NUL bytes")
}

/// The lines, ended by LF, CR LF or, in old files, CR alone; `None` for a line that is not UTF-8,
/// which may occur in names between blocks.
fn lines(bytes: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let end = if bytes.contains(&b'\n') { b'\n' } else { b'\r' };
    bytes
        .split(move |byte| *byte == end)
        .map(|line| std::str::from_utf8(line).ok().map(str::trim_end))
}

fn line_kind(line: &str) -> LineKind<'_> {
    if let Some(kind) = boundary(line) {
        return kind;
    }
    if !looks_like_boundary(line) {
        return LineKind::Other;
    }
    let bare =
        line.trim_start_matches(|letter: char| letter == '\u{feff}' || letter.is_whitespace());
    LineKind::Malformed(
        if bare.starts_with("-----BEGIN ") && bare.contains("-----END ") {
            "holds a whole block, whose line ends were lost: copy it again"
        } else if line.contains("END ") && line.contains("BEGIN ") {
            "holds the end of one block and the beginning of the next: put a line end between the two"
        } else if bare != line && boundary(bare).is_some() {
            "has blanks or a byte order mark before its dashes: remove them"
        } else {
            "is not a proper BEGIN or END line: it needs five hyphens, BEGIN or END, the label, five hyphens, and nothing else"
        },
    )
}

/// Parses a well-formed BEGIN or END line.
fn boundary(line: &str) -> Option<LineKind<'_>> {
    const DASHES: &str = "-----";
    let framed = line.strip_prefix(DASHES)?.strip_suffix(DASHES)?;
    let (label, kind) = match framed.strip_prefix("BEGIN ") {
        Some(label) => (label, LineKind::Begin(label)),
        None => {
            let label = framed.strip_prefix("END ")?;
            (label, LineKind::End(label))
        }
    };
    (!label.contains(DASHES) && !label.starts_with('-') && !label.ends_with('-')).then_some(kind)
}

/// Whether this was meant as a BEGIN or END line: hyphens, or the dashes that word processors turn
/// them into, precede one of the words.
fn looks_like_boundary(line: &str) -> bool {
    let is_dash = |letter: char| matches!(letter, '\u{2010}'..='\u{2015}' | '\u{2212}');
    ["BEGIN ", "END "].iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            let before = line.get(..at).unwrap_or_default();
            before.ends_with("--") || before.ends_with(is_dash)
        })
    })
}

/// Whether a line outside of blocks can only come from within one.
fn is_stray_base64(line: &str) -> bool {
    line.len() >= 40 && line.bytes().all(is_base64)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str) -> Result<Vec<(u32, String)>, Flaw> {
        blocks(text.as_bytes()).map(|blocks| {
            blocks
                .iter()
                .map(|block| (block.line, block.label.to_owned()))
                .collect()
        })
    }

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    #[test]
    fn blocks_are_found_between_text_with_any_line_end_and_after_a_byte_order_mark() {
        let one = vec![(1, "CERTIFICATE".to_owned())];
        let two = vec![(1, "CERTIFICATE".to_owned()), (4, "CERTIFICATE".to_owned())];
        for (text, found) in [
            (String::new(), vec![]),
            (ONE.to_owned(), one.clone()),
            (ONE.trim_end().to_owned(), one.clone()),
            (format!("\u{feff}{ONE}"), one.clone()),
            (ONE.replace('\n', "\r\n"), one.clone()),
            (ONE.replace('\n', "\r"), one.clone()),
            (ONE.replace('\n', "  \t\n"), one.clone()),
            (format!("{ONE}{ONE}"), two),
            (
                format!("Bag Attributes\n    localKeyID: 54 69\n{ONE}"),
                vec![(3, "CERTIFICATE".to_owned())],
            ),
            (
                format!("# BEGIN of the chain, the END follows\n{ONE}"),
                vec![(2, "CERTIFICATE".to_owned())],
            ),
        ] {
            assert_eq!(told(&text), Ok(found), "{text:?}");
        }
        let latin = [b"friendlyName: Gr\xfc\xdfe\n", ONE.as_bytes()].concat();
        assert_eq!(
            blocks(&latin)
                .unwrap()
                .iter()
                .map(|block| block.line)
                .collect::<Vec<_>>(),
            [2]
        );
        let latin = ONE
            .replace("MIIB", "MIxxB")
            .replace("xx", "\u{fffd}")
            .into_bytes();
        assert_eq!(blocks(&latin).unwrap_err().line, Some(2));
    }

    #[test]
    fn whatever_looks_like_a_block_and_is_not_one_is_told_with_its_line() {
        let long = "A".repeat(64);
        for (text, line, part) in [
            (
                format!("{}{ONE}", ONE.trim_end()),
                3,
                "put a line end between the two",
            ),
            (
                format!("{ONE}\u{feff}{ONE}"),
                4,
                "has blanks or a byte order mark before its dashes",
            ),
            (
                format!("{ONE}  {ONE}"),
                4,
                "has blanks or a byte order mark before its dashes",
            ),
            (
                format!("\u{feff} {ONE}"),
                1,
                "has blanks or a byte order mark before its dashes",
            ),
            (
                ONE.replace("-----BEGIN", "----BEGIN"),
                1,
                "is not a proper BEGIN or END line",
            ),
            (
                ONE.replace("-----BEGIN", "\u{2014}BEGIN"),
                1,
                "is not a proper BEGIN or END line",
            ),
            (
                ONE.replace("CERTIFICATE-----\nMI", "CERTIFICATE-----\\nMI"),
                1,
                "is not a proper BEGIN or END line",
            ),
            (
                ONE.replace("-----BEGIN CERTIFICATE-----\n", ""),
                2,
                "whose BEGIN line is missing",
            ),
            (format!("{long}\n"), 1, "whose BEGIN line is missing"),
            (format!("{ONE}{long}\n"), 4, "whose BEGIN line is missing"),
            (
                ONE.replace("-----END CERTIFICATE-----\n", ""),
                1,
                "has no END line",
            ),
            (
                format!("{}{ONE}", ONE.replace("-----END CERTIFICATE-----\n", "")),
                3,
                "inside the block of line 1",
            ),
            (
                ONE.replace("END CERTIFICATE", "END PRIVATE KEY"),
                3,
                "does not end what begins in line 1, BEGIN CERTIF",
            ),
            (ONE.replace("MIIB\n", ""), 1, "is empty"),
            (
                ONE.replace("MIIB", "MI\u{e9}B"),
                2,
                "holds characters that do not belong",
            ),
            (
                ONE.replace("MIIB", "MI IB"),
                2,
                "holds characters that do not belong",
            ),
            (
                ONE.replace("MIIB", "MIIB\nX: y"),
                3,
                "holds characters that do not belong",
            ),
        ] {
            let flaw = told(&text).unwrap_err();
            assert!(
                flaw.line == Some(line) && flaw.text.contains(part),
                "{text:?}: {flaw:?}"
            );
        }
    }

    #[test]
    fn a_file_in_another_form_is_called_by_its_name() {
        for (bytes, part) in [
            (&b"\xff\xfe-\0-\0"[..], "is UTF-16 text"),
            (b"\xfe\xed\xfe\xed\0\0\0\x02", "is a Java key store"),
            (b"\xce\xce\xce\xce\0\0\0\x02", "is a Java key store"),
            (b"0\x03\x02\x01\x03", "is a PKCS #12 key store"),
            (b"0\x03\x02\x01\0", "is a key in DER"),
            (b"0\x03\x06\x01\0", "is PKCS #7 in DER"),
            (b"0\x020\0", "is DER, not PEM"),
            (b"a\0b", "it holds NUL bytes"),
        ] {
            let flaw = blocks(bytes).unwrap_err();
            assert!(
                flaw.line.is_none() && flaw.text.contains(part),
                "{bytes:?}: {}",
                flaw.text
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(-----BEGIN A-----|-----END A-----|[ -~\u{e9}\\n\\r]{0,5}|\\n){0,12}") {
            for block in blocks(text.as_bytes()).unwrap_or_default() {
                let _ = block.decode();
            }
        }
    }

    #[test]
    fn a_header_says_whether_its_block_is_encrypted() {
        for (header, is_encrypted) in [
            ("", false),
            ("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", true),
            ("DEK-Info: AES-256-CBC,00\nProc-Type: 4,ENCRYPTED\n\n", true),
            ("Proc-Type: 4,MIC-ONLY\n\n", false),
            ("Comment: ENCRYPTED\n\n", false),
        ] {
            let text = ONE.replacen("MIIB", &format!("{header}MIIB"), 1);
            let blocks = blocks(text.as_bytes()).unwrap();
            assert_eq!(blocks.len(), 1);
            assert_eq!(blocks[0].is_encrypted, is_encrypted, "{header}");
        }
    }
}
