//! Checks the certificate chain, to report what clients would reject before they do.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use rustls_pemfile::Item;

use super::der::{self, Reader, tag};
use super::pem::{Block, Flaw};
use super::x509::{Certificate, PublicKey, oid};

/// How long before expiry to warn, in seconds: 30 days, a third of the shortest usual lifetime.
const EXPIRES_SOON: i64 = 30 * DAY;
const DAY: i64 = 24 * 3600;

/// Advice for an incomplete certificate.
const COPY_AGAIN: &str = "copy it again";

/// The certificates in a file, each with its line.
///
/// # Errors
/// The first block that does not belong there, or a file without certificates.
pub(super) fn find(blocks: &[Block<'_>]) -> Result<Vec<(u32, CertificateDer<'static>)>, Flaw> {
    let mut certificates = Vec::new();
    for block in blocks {
        let position = certificates.len() + 1;
        match block.label {
            "CERTIFICATE" => {
                let item = block.decode().map_err(|flaw| Flaw {
                    text: format!("certificate {position} {}", flaw.text),
                    ..flaw
                })?;
                let Some(Item::X509Certificate(der)) = item else {
                    return Err(Flaw::at(
                        block.line,
                        format!("certificate {position} is damaged; {COPY_AGAIN}"),
                    ));
                };
                certificates.push((block.line, der));
            }
            // Some servers want everything in one file, so this file may have it all.
            _ if block.is_private_key() => {}
            "DH PARAMETERS" | "EC PARAMETERS" => {}
            label => return Err(Flaw::at(block.line, misplaced(label))),
        }
    }
    if certificates.is_empty() {
        return Err(Flaw::whole_file(
            match blocks.iter().any(Block::is_private_key) {
                true => "holds a private key but no certificate; are the two settings swapped?",
                false => "holds no certificate",
            },
        ));
    }
    Ok(certificates)
}

fn misplaced(label: &str) -> String {
    match label {
        "TRUSTED CERTIFICATE" => "is a TRUSTED CERTIFICATE, which only openssl reads; convert it with: \
                                  openssl x509 -in OLD -out NEW"
            .to_owned(),
        "X509 CERTIFICATE" => "has the outdated label X509 CERTIFICATE; write CERTIFICATE in both lines".to_owned(),
        "PKCS7" | "CMS" => {
            "is PKCS #7; take the certificates out with: openssl pkcs7 -in {file} -print_certs -out NEW".to_owned()
        }
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            "is a certificate request; use the certificate that the authority issued for it".to_owned()
        }
        other => format!("is a block {}, which does not belong among certificates; remove it", other.escape_debug()),
    }
}

/// What was found in a chain that can be served.
#[derive(Debug)]
pub(super) struct Findings {
    /// Problems that some clients will have.
    pub(super) warnings: Vec<Flaw>,
    /// When the first of the certificates that clients check expires, in seconds since 1970.
    pub(super) expiry: i64,
}

/// Checks that every certificate is complete, that the first one belongs to the private key, that
/// each other one issued one before it, and that all are valid at `now`, in seconds since 1970.
/// `key` has the bits of the public key, if known.
///
/// # Errors
/// The first flaw for which clients would reject the chain regardless of their clock.
pub(super) fn examine(
    chain: &[(u32, CertificateDer<'_>)],
    key: Option<&[u8]>,
    now: i64,
) -> Result<Findings, Flaw> {
    let mut certificates = Vec::new();
    for (position, (line, der)) in (1..).zip(chain) {
        let facts = Certificate::parse(der).map_err(|reason| {
            Flaw::at(
                *line,
                format!("certificate {position} {reason}; {COPY_AGAIN}"),
            )
        })?;
        certificates.push(Numbered {
            position,
            line: *line,
            facts,
        });
    }
    no_duplicates(chain)?;
    let Some((leaf, issuers)) = certificates.split_first() else {
        return Err(Flaw::whole_file("holds no certificate"));
    };
    if let Some(key) = key {
        belongs_to_key(&certificates, key)?;
    }
    can_be_served(leaf)?;
    if let Some((_, der)) = chain.first() {
        // rustls parses this one only at the first handshake.
        ParsedCertificate::try_from(der).map_err(|error| leaf.flaw(unservable(&error)))?;
    }
    let mut warnings = Vec::new();
    for issuer in issuers {
        if issuer.facts.version != 3 && !issuer.facts.is_self_issued() {
            return Err(issuer.flaw(version(issuer.facts.version)));
        }
        warnings.extend(has_its_place(issuer, &certificates)?);
    }
    if leaf.facts.is_self_issued() && is_signed_by(&leaf.facts, &leaf.facts.key) == Some(false) {
        return Err(leaf.flaw(format!(
            "is damaged: its signature does not fit its content; {COPY_AGAIN}"
        )));
    }
    warnings.extend(usage(leaf));
    warnings.extend(
        certificates
            .iter()
            .filter_map(|certificate| validity(certificate, now)),
    );
    let looked_at = certificates
        .iter()
        .filter(|one| one.position == 1 || !one.facts.is_self_issued());
    let expiry = looked_at
        .map(|one| one.facts.not_after.unix_seconds())
        .min()
        .unwrap_or(i64::MAX);
    Ok(Findings { warnings, expiry })
}

/// Why rustls rejects a certificate.
fn unservable(error: &rustls::Error) -> String {
    // The specific error type belongs to webpki, not to rustls.
    match error.to_string() {
        text if text.contains("UnsupportedCriticalExtension") => {
            "has a critical extension that is not known here, so that it cannot be served; have it reissued without it"
                .to_owned()
        }
        text => format!("cannot be served: {text}; have it reissued"),
    }
}

/// A certificate and its position in the file.
struct Numbered<'a> {
    /// Counted from 1.
    position: usize,
    line: u32,
    facts: Certificate<'a>,
}

impl Numbered<'_> {
    fn flaw(&self, text: impl AsRef<str>) -> Flaw {
        Flaw::at(
            self.line,
            format!("certificate {} {}", self.position, text.as_ref()),
        )
    }
}

fn no_duplicates(chain: &[(u32, CertificateDer<'_>)]) -> Result<(), Flaw> {
    for (position, (line, der)) in (1..).zip(chain) {
        let before = chain
            .iter()
            .take(position - 1)
            .position(|(_, other)| other == der);
        if let Some(before) = before {
            let text = format!(
                "certificate {position} is the same as certificate {}; remove one of them",
                before + 1
            );
            return Err(Flaw::at(*line, text));
        }
    }
    Ok(())
}

fn belongs_to_key(certificates: &[Numbered<'_>], key: &[u8]) -> Result<(), Flaw> {
    match certificates
        .iter()
        .find(|certificate| certificate.facts.key.bits == key)
    {
        Some(leaf) if leaf.position == 1 => Ok(()),
        Some(leaf) => Err(leaf.flaw(
            "belongs to the private key and must be first, each issuer after what it issued",
        )),
        None => Err(Flaw::whole_file(
            "its certificates and TLS_PRIVATE_KEY do not belong together: none of them is for that key; \
             name the key the certificate was requested with",
        )),
    }
}

fn can_be_served(leaf: &Numbered<'_>) -> Result<(), Flaw> {
    let key = &leaf.facts.key;
    if leaf.facts.version != 3 {
        return Err(leaf.flaw(version(leaf.facts.version)));
    }
    if key.kind == oid::EC
        && key
            .parameters
            .is_some_and(|parameters| parameters.tag == tag::SEQUENCE)
    {
        return Err(leaf.flaw(
            "has an EC key with explicit parameters in place of a curve's name, which TLS does not have (RFC 8422 5.1.1); \
             name the curve in the key with openssl ec -param_enc named_curve, and have the certificate reissued for it",
        ));
    }
    if key.kind == oid::RSA_PSS {
        return Err(leaf
            .flaw("is for an RSA key restricted to PSS, which cannot be served; have it issued for a plain RSA key"));
    }
    Ok(())
}

fn version(version: u8) -> String {
    format!(
        "has version {version} of X.509, which cannot hold the names of the server, so clients refuse it; \
         have it reissued as version 3 with a subjectAltName (openssl x509 -req with -extfile)"
    )
}

/// Checks that an issuer follows a certificate that it issued; a warning if it issued none.
fn has_its_place(
    issuer: &Numbered<'_>,
    certificates: &[Numbered<'_>],
) -> Result<Option<Flaw>, Flaw> {
    let issued = |other: &&Numbered<'_>| {
        other.position != issuer.position
            && !other.facts.is_self_issued()
            && other.facts.issuer == issuer.facts.subject
    };
    let (before, after): (Vec<_>, Vec<_>) = certificates
        .iter()
        .filter(issued)
        .partition(|other| other.position < issuer.position);
    let is_bad =
        |other: &&Numbered<'_>| is_signed_by(&other.facts, &issuer.facts.key) == Some(false);
    match (before.first(), after.first()) {
        (Some(_), _) if before.iter().any(|other| !is_bad(other)) => Ok(None),
        (Some(other), _) => Err(issuer.flaw(format!(
            "has the name of the issuer of certificate {}, but its key did not sign that one: one of them is damaged, or \
             another authority has the same name; put the issuer's own certificate here",
            other.position
        ))),
        (None, Some(other)) => Err(issuer.flaw(format!(
            "stands before certificate {}, which it issued; put each issuer after what it issued",
            other.position
        ))),
        (None, None) => Ok(Some(issuer.flaw("did not issue any certificate before it and does not help clients; remove it"))),
    }
}

/// Whether a certificate was signed with a key; `None` if rustls does not support the algorithm.
fn is_signed_by(certificate: &Certificate<'_>, key: &PublicKey<'_>) -> Option<bool> {
    // rustls rejects RSA keys of other sizes, whatever the signature.
    if key.kind == oid::RSA {
        let modulus =
            Reader::new(Reader::new(key.bits).expect(tag::SEQUENCE)?).expect(tag::INTEGER)?;
        if !(2048..=8192).contains(&der::bit_length(modulus)) {
            return None;
        }
    }
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let mut fitting = algorithms
        .all
        .iter()
        .filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                && algorithm.public_key_alg_id().as_ref() == key.algorithm
        })
        .peekable();
    fitting.peek()?;
    Some(fitting.any(|algorithm| {
        algorithm
            .verify_signature(key.bits, certificate.signed, certificate.signature)
            .is_ok()
    }))
}

/// What clients require of a server certificate that this one lacks.
fn usage(leaf: &Numbered<'_>) -> Option<Flaw> {
    if !leaf.facts.has_alt_name {
        let text = "has no subjectAltName with a host name or an address, the only place where clients look for the name of \
                    the server: many refuse it; have it reissued with one";
        return Some(leaf.flaw(text));
    }
    (!leaf.facts.is_for_servers).then(|| {
        leaf.flaw("is not for servers (its extendedKeyUsage lacks serverAuth): clients refuse it")
    })
}

fn validity(certificate: &Numbered<'_>, now: i64) -> Option<Flaw> {
    let (first, last) = (certificate.facts.not_before, certificate.facts.not_after);
    let left = last.unix_seconds() - now;
    let text = if left < 0 {
        format!("has expired: it was valid until {last}; clients refuse it, renew it")
    } else if first.unix_seconds() > now {
        format!(
            "is not yet valid: it will be from {first} on; clients refuse it until then, if this machine's clock is right"
        )
    } else if left < EXPIRES_SOON {
        format!(
            "expires in {} days: it is valid until {last}; renew it",
            left / DAY
        )
    } else {
        return None;
    };
    Some(certificate.flaw(text))
}
