//! Checks the private key: its kind, and the actual reason if rustls cannot use it.

use rustls::pki_types::PrivateKeyDer;
use rustls_pemfile::Item;

use super::der::{self, Damage, Element, Reader, tag};
use super::pem::{Block, Flaw};
use super::x509::oid;

/// OIDs of the curves that rustls can sign with.
const CURVES: [&[u8]; 3] = [
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
    &[0x2b, 0x81, 0x04, 0x00, 0x22],
    &[0x2b, 0x81, 0x04, 0x00, 0x23],
];

/// Names of kinds that clients or rustls do not accept.
const OTHER_KINDS: [(&[u8], &str); 7] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "a DSA key"),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01],
        "a Diffie-Hellman key",
    ),
    (&[0x2b, 0x65, 0x6e], "an X25519 key, which cannot sign"),
    (&[0x2b, 0x65, 0x6f], "an X448 key, which cannot sign"),
    (&[0x2b, 0x65, 0x71], "an Ed448 key"),
    (oid::RSA_PSS, "an RSA key for PSS alone"),
    (
        &[0x2b, 0x81, 0x04, 0x00, 0x0a],
        "an EC key of the curve secp256k1",
    ),
];

/// Advice for a key of an unusable kind.
const NEW_KEY: &str =
    "make a key of the curve P-256, or of RSA with 2048 bits, and have a certificate made for it";

/// A key that looks usable.
pub(super) struct FoundKey {
    pub(super) key: PrivateKeyDer<'static>,
    /// The likely reason if the crypto library rejects it.
    pub(super) likely_flaw: Flaw,
}

/// Finds the key among the blocks of a file, which may also hold certificates and parameters.
///
/// # Errors
/// Why no usable key was found. Never contains any part of a key.
pub(super) fn find(blocks: &[Block<'_>]) -> Result<FoundKey, Flaw> {
    let keys: Vec<_> = blocks
        .iter()
        .filter(|block| block.is_private_key())
        .collect();
    let block = match keys.as_slice() {
        [block] => block,
        [] => return Err(Flaw::whole_file(absence(blocks))),
        [first, second, ..] => {
            let text = format!(
                "is a second private key, after that of line {}; keep the one of the certificate",
                first.line
            );
            return Err(Flaw::at(second.line, text));
        }
    };
    if block.is_encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
        let text = "is encrypted, and nobody can type its passphrase when the service starts; remove the passphrase \
                    with: openssl pkey -in {file} -out NEW";
        return Err(Flaw::at(block.line, text));
    }
    if block.label == "OPENSSH PRIVATE KEY" {
        let text =
            "is a key in the form of OpenSSH; convert a copy with: ssh-keygen -p -m PEM -f COPY";
        return Err(Flaw::at(block.line, text));
    }
    let (key, kind): (PrivateKeyDer<'_>, fn(&[u8]) -> Kind) = match block.decode()? {
        Some(Item::Pkcs8Key(key)) => (key.into(), pkcs8),
        Some(Item::Pkcs1Key(key)) => (key.into(), pkcs1),
        Some(Item::Sec1Key(key)) => (key.into(), sec1),
        _ => {
            let text = format!(
                "is a {}, a kind that cannot be used; {NEW_KEY}",
                block.label
            );
            return Err(Flaw::at(block.line, text));
        }
    };
    match kind(key.secret_der()) {
        Ok(likely_flaw) => Ok(FoundKey {
            likely_flaw: Flaw::at(block.line, likely_flaw),
            key,
        }),
        Err(reason) => {
            let text = true_label(key.secret_der()).map_or(reason, |label| {
                format!(
                    "is marked {}, but is a key of the kind {label}; write {label} in both lines",
                    block.label
                )
            });
            Err(Flaw::at(block.line, text))
        }
    }
}

/// The label that fits the content of a key, if it has one of the three forms.
fn true_label(der: &[u8]) -> Option<&'static str> {
    let forms = [
        ("PRIVATE KEY", pkcs8(der)),
        ("RSA PRIVATE KEY", pkcs1(der)),
        ("EC PRIVATE KEY", sec1(der)),
    ];
    forms
        .into_iter()
        .find_map(|(label, kind)| kind.is_ok().then_some(label))
}

/// For a usable kind, what is probably wrong if rustls rejects the key anyway; else why the kind is
/// unusable.
type Kind = Result<&'static str, String>;

/// The likely flaw of a key of a usable kind.
const BROKEN: &str = "is damaged: its parts do not make a key; copy it again";

/// The likely flaw of a key with explicit curve parameters. aws-lc recognises the usual curves by
/// those, too.
const EXPLICIT: &str = "is an EC key with explicit parameters in place of a curve's name, which TLS does not have \
     (RFC 8422 5.1.1); name the curve with: openssl ec -in {file} -param_enc named_curve -out NEW";

fn absence(blocks: &[Block<'_>]) -> &'static str {
    let has = |label| blocks.iter().any(|block| block.label == label);
    if has("CERTIFICATE") {
        "holds a certificate but no private key; are the two settings swapped?"
    } else if has("PUBLIC KEY") || has("RSA PUBLIC KEY") {
        "holds a public key, not the private one"
    } else if has("EC PARAMETERS") {
        "holds the parameters of a key, but no private key"
    } else {
        "holds no private key"
    }
}

/// The kind of a PKCS #8 key (RFC 5958).
fn pkcs8(der: &[u8]) -> Kind {
    let whole = whole(der)?;
    let parts = || {
        let mut info = Reader::new(whole);
        info.expect(tag::INTEGER)?;
        let mut algorithm = Reader::new(info.expect(tag::SEQUENCE)?);
        Some((
            algorithm.expect(tag::OBJECT_ID)?,
            algorithm.next(),
            info.expect(tag::OCTET_STRING)?,
        ))
    };
    let (kind, parameters, inner) = parts().ok_or_else(damaged)?;
    match kind {
        oid::RSA => pkcs1(inner),
        oid::EC => curve(parameters.ok_or_else(damaged)?),
        oid::ED25519 => Ok(BROKEN),
        other => Err(unusable(other)),
    }
}

/// The kind of an RSA key (RFC 8017 A.1.2).
fn pkcs1(der: &[u8]) -> Kind {
    let mut key = Reader::new(whole(der)?);
    let _version = key.expect(tag::INTEGER);
    match der::bit_length(key.expect(tag::INTEGER).ok_or_else(damaged)?) {
        bits @ ..2048 => Err(format!(
            "is an RSA key of {bits} bits, and at least 2048 are needed; {NEW_KEY}"
        )),
        bits @ 8193.. => Err(format!(
            "is an RSA key of {bits} bits, and at most 8192 can be used; {NEW_KEY}"
        )),
        _ => Ok(BROKEN),
    }
}

/// The kind of an EC key (RFC 5915).
fn sec1(der: &[u8]) -> Kind {
    let mut key = Reader::new(whole(der)?);
    let head = (key.expect(tag::INTEGER), key.expect(tag::OCTET_STRING));
    let (Some(_), Some(_)) = head else {
        return Err(damaged());
    };
    // The curve may be omitted; rustls then tries each.
    match key
        .expect(tag::context(0))
        .and_then(|parameters| Reader::new(parameters).next())
    {
        Some(parameters) => curve(parameters),
        None => Ok(BROKEN),
    }
}

/// The kind of an EC key, by its curve.
fn curve(parameters: Element<'_>) -> Kind {
    match parameters.content {
        _ if parameters.tag == tag::SEQUENCE => Ok(EXPLICIT),
        name if CURVES.contains(&name) => Ok(BROKEN),
        name => Err(unusable(name)),
    }
}

fn unusable(kind: &[u8]) -> String {
    let name = OTHER_KINDS
        .iter()
        .find(|(oid, _)| *oid == kind)
        .map_or("a key of a kind that TLS does not use", |kind| kind.1);
    format!("is {name} and cannot be used; {NEW_KEY}")
}

fn damaged() -> String {
    "is damaged: its content is not a private key; copy it again".to_owned()
}

/// The content of the key, if it is complete.
fn whole(der: &[u8]) -> Result<&[u8], String> {
    match der::whole_sequence(der) {
        Ok(element) => Ok(element.content),
        Err(Damage::Missing(bytes)) => Err(format!(
            "is damaged: {bytes} bytes are missing, lines were lost; copy it again"
        )),
        Err(Damage::Excess(bytes)) => Err(format!(
            "is damaged: {bytes} bytes are too many, lines were added; copy it again"
        )),
        Err(Damage::NoElement) => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80);
        [&[tag, length], content].concat()
    }

    fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        element(tag::SEQUENCE, &parts.concat())
    }

    /// A key of PKCS #8 with these parameters of its algorithm and this content.
    fn key(kind: &[u8], parameters: Option<Vec<u8>>, inner: &[u8]) -> Vec<u8> {
        let algorithm: Vec<_> = [element(tag::OBJECT_ID, kind)]
            .into_iter()
            .chain(parameters)
            .collect();
        sequence(&[
            element(tag::INTEGER, &[0]),
            sequence(&algorithm),
            element(tag::OCTET_STRING, inner),
        ])
    }

    fn cannot(kind: &str) -> Kind {
        Err(format!("is {kind} and cannot be used; {NEW_KEY}"))
    }

    #[test]
    fn a_key_of_another_kind_is_named() {
        for (oid, name) in OTHER_KINDS {
            assert_eq!(pkcs8(&key(oid, None, b"")), cannot(name), "{name}");
        }
        assert_eq!(
            pkcs8(&key(&[1, 2, 3], None, b"")),
            cannot("a key of a kind that TLS does not use")
        );
    }

    #[test]
    fn a_curve_is_known_by_its_name() {
        let name = |curve: &[u8]| Some(element(tag::OBJECT_ID, curve));
        let k1 = &[0x2b, 0x81, 0x04, 0x00, 0x0a];
        for (parameters, kind) in [
            (name(CURVES[0]), Ok(BROKEN)),
            (name(CURVES[1]), Ok(BROKEN)),
            (name(CURVES[2]), Ok(BROKEN)),
            (name(k1), cannot("an EC key of the curve secp256k1")),
            (Some(sequence(&[])), Ok(EXPLICIT)),
        ] {
            assert_eq!(pkcs8(&key(oid::EC, parameters.clone(), b"")), kind);
            let parts = [
                element(tag::INTEGER, &[1]),
                element(tag::OCTET_STRING, b"x"),
            ];
            let parameters = parameters.map(|curve| element(tag::context(0), &curve));
            let parts: Vec<_> = parts.into_iter().chain(parameters).collect();
            assert_eq!(sec1(&sequence(&parts)), kind);
        }
        let without = sequence(&[
            element(tag::INTEGER, &[1]),
            element(tag::OCTET_STRING, b"x"),
        ]);
        assert_eq!(sec1(&without), Ok(BROKEN));
        assert_eq!(sec1(&sequence(&[])), Err(damaged()));
    }

    #[test]
    fn what_is_not_whole_is_told_by_its_bytes() {
        let whole_key = key(oid::EC, Some(element(tag::OBJECT_ID, CURVES[0])), b"");
        for (der, told) in [
            (
                whole_key[..whole_key.len() - 3].to_vec(),
                "3 bytes are missing",
            ),
            ([&*whole_key, b"ab"].concat(), "2 bytes are too many"),
            (vec![0; 5], "its content is not a private key"),
            (sequence(&[]), "its content is not a private key"),
        ] {
            let text = pkcs8(&der).unwrap_err();
            assert!(text.starts_with(&format!("is damaged: {told}")), "{text}");
        }
    }

    #[test]
    fn a_file_without_a_key_is_told_what_it_holds() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
        for (labels, told) in [
            (&[][..], "holds no private key"),
            (
                &["EC PARAMETERS"],
                "holds the parameters of a key, but no private key",
            ),
            (&["PUBLIC KEY"], "holds a public key, not the private one"),
            (
                &["RSA PUBLIC KEY"],
                "holds a public key, not the private one",
            ),
            (
                &["EC PARAMETERS", "PUBLIC KEY", "CERTIFICATE"],
                "holds a certificate but no private key; are the two settings swapped?",
            ),
        ] {
            let text: String = labels.iter().map(|label| block(label)).collect();
            let blocks = super::super::pem::blocks(text.as_bytes()).unwrap();
            let Err(flaw) = find(&blocks) else {
                panic!("a key in {text}");
            };
            assert_eq!((flaw.line, &*flaw.text), (None, told));
        }
        for (label, told) in [
            ("ENCRYPTED PRIVATE KEY", "is encrypted, and nobody can type"),
            ("OPENSSH PRIVATE KEY", "is a key in the form of OpenSSH"),
            (
                "DSA PRIVATE KEY",
                "is a DSA PRIVATE KEY, a kind that cannot be used",
            ),
        ] {
            let text = block(label);
            let blocks = super::super::pem::blocks(text.as_bytes()).unwrap();
            let Err(flaw) = find(&blocks) else {
                panic!("a key in {text}");
            };
            assert_eq!(flaw.line, Some(1));
            assert!(flaw.text.starts_with(told), "{}", flaw.text);
        }
        let two = block("PRIVATE KEY").repeat(2);
        let blocks = super::super::pem::blocks(two.as_bytes()).unwrap();
        let flaw = find(&blocks).err().unwrap();
        assert_eq!(flaw.line, Some(4));
        assert!(flaw.text.contains("after that of line 1"), "{}", flaw.text);
    }

    #[test]
    fn a_key_with_the_label_of_another_kind_is_told_its_own() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/key_pair");
        for (file, label) in [
            ("leaf", "EC PRIVATE KEY"),
            ("rsa2048", "PRIVATE KEY"),
            ("ed25519", "PRIVATE KEY"),
        ] {
            let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
            for wrong in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
                let text = text
                    .replace(&format!("BEGIN {label}"), &format!("BEGIN {wrong}"))
                    .replace(&format!("END {label}"), &format!("END {wrong}"));
                let blocks = super::super::pem::blocks(text.as_bytes()).unwrap();
                let found = find(&blocks);
                if wrong == label {
                    assert!(found.is_ok());
                    continue;
                }
                let told = found.err().unwrap().text;
                assert_eq!(
                    told,
                    format!(
                        "is marked {wrong}, but is a key of the kind {label}; write {label} in both lines"
                    )
                );
            }
        }
    }
}
