//! Loads the certificate and its private key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use log::Level;
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SigningKey};

use super::certificates;
use super::pem::{self, Block, Flaw};
use super::private_key;
use super::x509::PublicKey;
use crate::config::{Notice, Problem, Settings};
use crate::ops::bounded_file::BoundedFile;

const CERTIFICATE: &str = "TLS_CERTIFICATE";
const PRIVATE_KEY: &str = "TLS_PRIVATE_KEY";

/// Largest file to read, in bytes. Chains and keys have a few thousand.
const FILE_MAX: u64 = 1 << 20;

/// The files of the certificate and its key.
#[derive(Debug, Clone)]
pub struct KeyPairFiles {
    /// PEM file of the certificate, followed by its issuers.
    pub certificate: PathBuf,
    /// PEM file of the private key (PKCS #8, PKCS #1 or SEC1).
    pub private_key: PathBuf,
}

/// A certificate with its issuers and its key, ready to serve.
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
    /// Reads both files, at most 1 MiB each, and checks that clients will accept them.
    ///
    /// # Errors
    /// What is wrong with either file and what to do; never empty.
    pub fn load(&self) -> Result<KeyPair, Vec<Problem>> {
        let (certificate, private_key) = both(
            read(&self.certificate, CERTIFICATE),
            read(&self.private_key, PRIVATE_KEY),
        )?;
        let mut pair = self.from_pem(&certificate.bytes, &private_key.bytes, SystemTime::now())?;
        pair.warnings
            .extend(exposure(&private_key, &self.private_key, PRIVATE_KEY));
        // A file with both is secret, whichever setting names it.
        let has_key = pem::blocks(&certificate.bytes)
            .is_ok_and(|blocks| blocks.iter().any(Block::is_private_key));
        if has_key && self.certificate != self.private_key {
            pair.warnings
                .extend(exposure(&certificate, &self.certificate, CERTIFICATE));
        }
        Ok(pair)
    }

    /// Makes a pair from the content of the files, as of `now`.
    ///
    /// # Errors
    /// As with [`load`](Self::load).
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
        let ((chain, findings), key) = both(chain, key)?;
        let certified = CertifiedKey::new(chain.into_iter().map(|(_, der)| der).collect(), key);
        // The keys have been compared above; lets rustls check as well.
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
    /// Warnings for the operator: expiry, superfluous certificates, files that others may read.
    pub fn warnings(&self) -> &[Notice] {
        &self.warnings
    }

    /// When the first of the certificates that clients check expires, in seconds since 1970.
    pub fn expiry(&self) -> i64 {
        self.expiry
    }
}

/// Both values, or the problems of both.
fn both<A, B>(a: Result<A, Problem>, b: Result<B, Problem>) -> Result<(A, B), Vec<Problem>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err(a.err().into_iter().chain(b.err()).collect()),
    }
}

fn signing_key(bytes: &[u8]) -> Result<Arc<dyn SigningKey>, Flaw> {
    let blocks = pem::blocks(bytes)?;
    let private_key::FoundKey { key, likely_flaw } = private_key::find(&blocks)?;
    // The provider does not say why it rejects a key.
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
        level: Level::Warn,
        file: path.to_owned(),
        line,
        key: Some(key.to_owned()),
        text,
    }
}

fn shown(text: &str, path: &Path) -> String {
    text.replace("{file}", &path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::Scratch;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    /// A certificate and its key.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    /// Writes the files, readable by their owner only.
    fn files(scratch: &Scratch, certificate: &str, key: &str) -> KeyPairFiles {
        let write = |name: &str, text: &str| {
            let path = scratch.file(name, text.as_bytes());
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            path
        };
        KeyPairFiles {
            certificate: write("certificate.pem", certificate),
            private_key: write("key.pem", key),
        }
    }

    /// The problems, without the folder of the files.
    fn problems(scratch: &Scratch, outcome: Result<KeyPair, Vec<Problem>>) -> Vec<String> {
        let folder = format!("{}/", scratch.path().display());
        let problems = outcome.unwrap_err();
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&folder, ""))
            .collect()
    }

    fn warnings(scratch: &Scratch, pair: &KeyPair) -> Vec<String> {
        let folder = format!("{}/", scratch.path().display());
        let warnings = pair.warnings().iter();
        warnings
            .map(|notice| {
                assert_eq!(notice.level, Level::Warn);
                notice.to_string().replace(&folder, "")
            })
            .collect()
    }

    #[test]
    fn a_pair_is_read_with_its_end_and_without_remarks() {
        let scratch = Scratch::new();
        let (certificate, key) = pair();
        let pair = files(&scratch, &certificate, &key).load().unwrap();
        assert_eq!(warnings(&scratch, &pair), [""; 0]);
        // The default of rcgen: the beginning of the year 4096.
        assert_eq!(pair.expiry(), 67_090_118_400);
        assert_eq!(pair.certified.cert.len(), 1);
    }

    #[test]
    fn a_file_that_holds_a_key_is_for_the_service_alone_whichever_setting_names_it() {
        let scratch = Scratch::new();
        let (certificate, key) = pair();
        let open = |path: &Path| {
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        };
        let remark = |file: &str, setting: &str| {
            let advice = format!("run: chgrp cc-gateway {file} && chmod 0640 {file}");
            (format!("{file}: {setting}: the private key "), advice)
        };
        let both = format!("{certificate}{key}");
        for (certificate, open_certificate, open_key, same, remarks) in [
            (&certificate, true, false, false, vec![]),
            (
                &certificate,
                false,
                true,
                false,
                vec![remark("key.pem", "TLS_PRIVATE_KEY")],
            ),
            (
                &both,
                true,
                true,
                false,
                vec![
                    remark("key.pem", "TLS_PRIVATE_KEY"),
                    remark("certificate.pem", "TLS_CERTIFICATE"),
                ],
            ),
            (
                &both,
                true,
                false,
                true,
                vec![remark("certificate.pem", "TLS_PRIVATE_KEY")],
            ),
        ] {
            let mut files = files(&scratch, certificate, &key);
            if same {
                files.private_key.clone_from(&files.certificate);
            }
            if open_certificate {
                open(&files.certificate);
            }
            if open_key {
                open(&files.private_key);
            }
            let told = warnings(&scratch, &files.load().unwrap());
            assert_eq!(told.len(), remarks.len(), "{told:?}");
            for (told, (start, end)) in told.iter().zip(remarks) {
                assert!(told.starts_with(&start) && told.ends_with(&end), "{told}");
            }
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_file_and_setting() {
        let scratch = Scratch::new();
        let ((certificate, key), (_, other)) = (pair(), pair());
        let gone = KeyPairFiles {
            certificate: scratch.path().join("a"),
            private_key: scratch.path().join("b"),
        };
        let told = problems(&scratch, gone.load());
        assert!(told.len() == 2, "{told:?}");
        assert!(told[0].starts_with("a: TLS_CERTIFICATE: "), "{told:?}");
        assert!(told[1].starts_with("b: TLS_PRIVATE_KEY: "), "{told:?}");
        assert!(told[0].contains("name a PEM file"), "{told:?}");

        let exchanged = files(&scratch, &key, &certificate);
        let told = problems(&scratch, exchanged.load());
        assert!(told.len() == 2, "{told:?}");
        assert!(told[0].starts_with("certificate.pem: TLS_CERTIFICATE: "));
        assert!(told[1].starts_with("key.pem: TLS_PRIVATE_KEY: "));

        let mixed = files(&scratch, &certificate, &other);
        let told = problems(&scratch, mixed.load());
        assert!(told.len() == 1, "{told:?}");
        assert!(told[0].contains("do not belong together"), "{told:?}");
    }

    #[test]
    fn files_of_a_mebibyte_are_read_and_larger_ones_are_not() {
        let scratch = Scratch::new();
        let (certificate, key) = pair();
        for (size, fits) in [(1 << 20, true), ((1 << 20) + 1, false)] {
            let filled = format!("{certificate}{}", "\n".repeat(size - certificate.len()));
            let outcome = files(&scratch, &filled, &key).load();
            assert_eq!(outcome.is_ok(), fits, "{size}");
        }
    }

    #[test]
    fn the_dates_are_held_against_the_clock() {
        let (certificate, key) = pair();
        let scratch = Scratch::new();
        let files = files(&scratch, &certificate, &key);
        let at = |now| {
            files
                .from_pem(certificate.as_bytes(), key.as_bytes(), now)
                .unwrap()
        };
        let epoch = SystemTime::UNIX_EPOCH;
        for (now, remarks) in [
            (epoch + Duration::from_secs(1_800_000_000), 0),
            // By default rcgen makes certificates valid from 1975 on.
            (epoch + Duration::from_secs(1), 1),
            (epoch - Duration::from_secs(1), 1),
            (epoch + Duration::from_secs(68_000_000_000), 1),
        ] {
            let told = warnings(&scratch, &at(now));
            assert_eq!(told.len(), remarks, "{told:?}");
            assert!(told.iter().all(|line| line.starts_with("certificate.pem:")));
        }
    }

    #[test]
    fn the_files_are_those_of_the_settings() {
        let file = Path::new("/etc/cc-gateway/basic.properties");
        let text = "TLS_CERTIFICATE=/c\nTLS_PRIVATE_KEY=/k";
        let (settings, _) = crate::config::from_text(text, file).unwrap();
        let files = KeyPairFiles::from(&settings);
        assert_eq!(
            (files.certificate, files.private_key),
            ("/c".into(), "/k".into())
        );
    }

    #[test]
    fn each_file_of_the_corpus_is_told_what_it_is() {
        const NO_NAME: &str = "certificate 1 has no subjectAltName with a host name or an address";
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/key_pair");
        let files = KeyPairFiles {
            certificate: "c".into(),
            private_key: "k".into(),
        };
        // A time at which every certificate of the corpus is valid.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_737_600);
        for (name, of_certificate, of_key) in [
            ("bom", None, None),
            ("chain", None, None),
            ("ed25519", None, None),
            ("explicit_key", None, None),
            ("leaf", None, None),
            ("leaf.bags", None, None),
            ("p384", None, None),
            ("rsa2048", None, None),
            ("text", None, None),
            ("bare", Some((":1", NO_NAME)), None),
            ("root", Some((":1", NO_NAME)), None),
            (
                "cut",
                Some((
                    ":1",
                    "certificate 1 is damaged: 48 bytes are missing, lines were lost",
                )),
                None,
            ),
            (
                "empty_block",
                Some((":1", "is empty: there is nothing between BEGIN and END")),
                Some((":1", "is empty: there is nothing between BEGIN and END")),
            ),
            (
                "encrypted",
                None,
                Some((":13", "is encrypted, and nobody can type")),
            ),
            (
                "traditional",
                None,
                Some((":13", "is encrypted, and nobody can type")),
            ),
            (
                "explicit",
                Some((":1", "certificate 1 has an EC key with explicit parameters")),
                None,
            ),
            (
                "leaf.der",
                Some((
                    "",
                    "is DER, not PEM; convert a certificate with: openssl x509 -inform der -in c ",
                )),
                Some((
                    "",
                    "is DER, not PEM; convert a certificate with: openssl x509 -inform der -in k ",
                )),
            ),
            (
                "leaf.key.der",
                Some((
                    "",
                    "is a key in DER, not PEM; convert it with: openssl pkey -inform der -in c ",
                )),
                Some((
                    "",
                    "is a key in DER, not PEM; convert it with: openssl pkey -inform der -in k ",
                )),
            ),
            (
                "leaf.p12",
                Some(("", "is a PKCS #12 key store, not PEM")),
                Some(("", "is a PKCS #12 key store, not PEM")),
            ),
            (
                "leaf.p7",
                Some((":1", "is PKCS #7; take the certificates out")),
                Some(("", "holds no private key")),
            ),
            (
                "leaf.p7.der",
                Some(("", "is PKCS #7 in DER, not PEM")),
                Some(("", "is PKCS #7 in DER, not PEM")),
            ),
            (
                "leaf.parameters",
                Some(("", "holds no certificate")),
                Some(("", "holds the parameters of a key, but no private key")),
            ),
            (
                "namesake",
                Some((
                    ":13",
                    "certificate 2 has the name of the issuer of certificate 1, but its key did not",
                )),
                None,
            ),
            (
                "pss",
                Some((":1", "certificate 1 is for an RSA key restricted to PSS")),
                Some((":17", "is an RSA key for PSS alone and cannot be used")),
            ),
            (
                "root_first",
                Some((
                    ":12",
                    "certificate 2 belongs to the private key and must be first",
                )),
                None,
            ),
            (
                "rsa1024",
                None,
                Some((
                    ":14",
                    "is an RSA key of 1024 bits, and at least 2048 are needed",
                )),
            ),
            (
                "stranger",
                Some((
                    ":13",
                    "certificate 2 did not issue any certificate before it",
                )),
                None,
            ),
            (
                "trusted",
                Some((":13", "is a TRUSTED CERTIFICATE, which only openssl reads")),
                None,
            ),
            (
                "version_1",
                Some((":1", "certificate 1 has version 1 of X.509")),
                None,
            ),
        ] {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            let told: Vec<_> = match files.from_pem(&bytes, &bytes, now) {
                Ok(pair) => pair.warnings().iter().map(Notice::to_string).collect(),
                Err(problems) => problems.iter().map(Problem::to_string).collect(),
            };
            let expected: Vec<_> = [
                ("c", CERTIFICATE, of_certificate),
                ("k", PRIVATE_KEY, of_key),
            ]
            .into_iter()
            .filter_map(|(file, setting, flaw)| {
                let (line, text) = flaw?;
                Some(format!("{file}{line}: {setting}: {text}"))
            })
            .collect();
            assert_eq!(told.len(), expected.len(), "{name} {told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.starts_with(&expected), "{name} {told}");
            }
        }
    }
}
