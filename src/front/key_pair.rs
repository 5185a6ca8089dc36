//! Loading of the certificate and its private key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SigningKey};

use super::certificates;
use super::pem::{self, Flaw};
use super::private_key;
use super::x509::PublicKey;
use crate::config::{Notice, Problem, Settings, Severity};
use crate::ops::bounded_file::BoundedFile;

const CERTIFICATE: &str = "TLS_CERTIFICATE";
const PRIVATE_KEY: &str = "TLS_PRIVATE_KEY";

/// The largest file that is read, in bytes; chains and keys have a few thousand.
const FILE_MAX: u64 = 1 << 20;

/// The files of the certificate and its key.
#[derive(Debug, Clone)]
pub struct KeyPairFiles {
    /// PEM file of the certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// PEM file of the private key (PKCS #8, PKCS #1 or SEC1).
    pub private_key: PathBuf,
}

/// A certificate with its issuers and its key, ready to be served.
#[derive(Debug, Clone)]
pub struct KeyPair {
    pub(super) certified: Arc<CertifiedKey>,
    expiry: i64,
    warnings: Vec<Notice>,
}

impl From<&Settings> for KeyPairFiles {
    fn from(settings: &Settings) -> KeyPairFiles {
        KeyPairFiles {
            certificate: settings.tls_certificate.clone(),
            private_key: settings.tls_private_key.clone(),
        }
    }
}

impl KeyPairFiles {
    /// Reads both files, at most 1 MiB of each, and checks that clients can do something with them.
    ///
    /// # Errors
    /// What is wrong with each file, and what to do; never empty.
    pub fn load(&self) -> Result<KeyPair, Vec<Problem>> {
        let certificate = read(&self.certificate, CERTIFICATE);
        let private_key = read(&self.private_key, PRIVATE_KEY);
        let (certificate, private_key) = match (certificate, private_key) {
            (Ok(certificate), Ok(private_key)) => (certificate, private_key),
            (certificate, private_key) => {
                return Err(certificate
                    .err()
                    .into_iter()
                    .chain(private_key.err())
                    .collect());
            }
        };
        let mut pair = self.from_pem(&certificate.bytes, &private_key.bytes, SystemTime::now())?;
        pair.warnings
            .extend(exposure(&private_key, &self.private_key, PRIVATE_KEY));
        // A file that holds both is a secret, whichever setting names it.
        let has_key = pem::blocks(&certificate.bytes).is_ok_and(|blocks| {
            blocks
                .iter()
                .any(|block| block.label.ends_with("PRIVATE KEY"))
        });
        if has_key && self.certificate != self.private_key {
            pair.warnings
                .extend(exposure(&certificate, &self.certificate, CERTIFICATE));
        }
        Ok(pair)
    }

    /// Makes a pair of what the files hold, as of `now`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_pem(
        &self,
        certificate: &[u8],
        private_key: &[u8],
        now: SystemTime,
    ) -> Result<KeyPair, Vec<Problem>> {
        let now = match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        let key =
            signing_key(private_key).map_err(|flaw| problem(&flaw, &self.private_key, PRIVATE_KEY));
        let chain = pem::blocks(certificate)
            .and_then(|blocks| certificates::find(&blocks))
            .and_then(|chain| {
                let public = key.as_ref().ok().and_then(|key| key.public_key());
                let bits = public
                    .as_ref()
                    .and_then(|der| PublicKey::parse(der))
                    .map(|key| key.bits);
                certificates::examine(&chain, bits, now).map(|findings| (chain, findings))
            });
        let chain = chain.map_err(|flaw| problem(&flaw, &self.certificate, CERTIFICATE));
        let ((chain, findings), key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
        };
        let certified = CertifiedKey::new(chain.into_iter().map(|(_, der)| der).collect(), key);
        // The keys were compared already; this is rustls's own word on it.
        if let Err(error @ rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) =
            certified.keys_match()
        {
            let flaw = Flaw::whole_file(format!(
                "its certificate and TLS_PRIVATE_KEY do not belong together: {error}"
            ));
            return Err(vec![problem(&flaw, &self.certificate, CERTIFICATE)]);
        }
        let warnings = findings.warnings.into_iter().map(|flaw| {
            let text = shown(&flaw.text, &self.certificate);
            warning(flaw.line, text, &self.certificate, CERTIFICATE)
        });
        Ok(KeyPair {
            certified: Arc::new(certified),
            expiry: findings.expiry,
            warnings: warnings.collect(),
        })
    }
}

impl KeyPair {
    /// Warnings for the operator: dates, superfluous certificates, files that others may read.
    pub fn warnings(&self) -> &[Notice] {
        &self.warnings
    }

    /// When the first of the certificates that clients look at ends, in seconds since 1970.
    pub(crate) fn expiry(&self) -> i64 {
        self.expiry
    }
}

fn signing_key(bytes: &[u8]) -> Result<Arc<dyn SigningKey>, Flaw> {
    let blocks = pem::blocks(bytes)?;
    let private_key::FoundKey { key, likely_flaw } = private_key::find(&blocks)?;
    // The provider does not say why it refuses a key.
    aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| likely_flaw)
}

fn read(path: &Path, key: &str) -> Result<BoundedFile, Problem> {
    BoundedFile::read(path, FILE_MAX).map_err(|error| Problem {
        key: Some(key.to_owned()),
        ..Problem::from_io(path, &error, "name a PEM file")
    })
}

fn exposure(file: &BoundedFile, path: &Path, key: &str) -> Option<Notice> {
    let exposure = file.exposure()?;
    let text = format!(
        "the private key {exposure}; run: chgrp cc-gateway {0} && chmod 0640 {0}",
        path.display()
    );
    Some(warning(None, text, path, key))
}

fn problem(flaw: &Flaw, path: &Path, key: &str) -> Problem {
    Problem::in_config(path, flaw.line, Some(key), shown(&flaw.text, path))
}

fn warning(line: Option<u32>, text: String, path: &Path, key: &str) -> Notice {
    Notice {
        severity: Severity::Warn,
        file: path.to_owned(),
        line,
        key: Some(key.to_owned()),
        text,
    }
}

fn shown(text: &str, path: &Path) -> String {
    text.replace("{file}", &path.display().to_string())
}
