//! Hashing of handshakes whose server name was hidden from rustls.

use std::sync::OnceLock;

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

use super::hello::{CLIENT_HELLO, HIDDEN, SERVER_NAME, extensions, message_length};

/// `provider` with cipher suites for connections whose server name was hidden. The suites are
/// created once, from the first provider passed, and live as long as the process.
pub(crate) fn tolerant_provider(provider: CryptoProvider) -> CryptoProvider {
    static SUITES: OnceLock<Vec<SupportedCipherSuite>> = OnceLock::new();
    let suites =
        SUITES.get_or_init(|| provider.cipher_suites.iter().map(restoring_suite).collect());
    CryptoProvider {
        cipher_suites: suites.clone(),
        ..provider
    }
}

/// The suite with a hash that restores the name. Leaks memory, since rustls wants `&'static`
/// suites.
fn restoring_suite(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: restoring(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: suite.quic,
            })))
        }
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: restoring(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            })))
        }
    }
}

fn restoring(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: common.suite,
        hash_provider: Box::leak(Box::new(Restoring(common.hash_provider))),
        confidentiality_limit: common.confidentiality_limit,
    }
}

/// A hash over what the client sent, where rustls sees a hidden name.
struct Restoring(&'static dyn Hash);

struct RestoringContext(Box<dyn Context>);

impl Hash for Restoring {
    fn start(&self) -> Box<dyn Context> {
        Box::new(RestoringContext(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        let mut context = self.start();
        context.update(data);
        context.finish()
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl Context for RestoringContext {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(RestoringContext(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        match hidden_type(data) {
            Some(at) => {
                let (before, rest) = data.split_at(at);
                self.0.update(before);
                self.0.update(&SERVER_NAME.to_be_bytes());
                self.0.update(rest.get(2..).unwrap_or_default());
            }
            None => self.0.update(data),
        }
    }
}

/// Offset of the type of a hidden name in hashed data: one or more handshake messages, the last of
/// which may be truncated.
pub(super) fn hidden_type(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = data.get(at..)?;
        let length = message_length(rest)?;
        let message = rest.get(..length).unwrap_or(rest);
        if message.first() == Some(&CLIENT_HELLO)
            && let Some(extension) = extensions(message).find(|extension| extension.kind == HIDDEN)
        {
            return Some(at + extension.offset);
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384,
    };

    #[test]
    fn a_hash_is_otherwise_that_of_its_suite() {
        for suite in [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384] {
            let hash = suite.tls13().unwrap().common.hash_provider;
            let restoring = Restoring(hash);
            assert_eq!(restoring.fips(), hash.fips());
            assert_eq!(restoring.output_len(), hash.output_len());
            assert_eq!(restoring.algorithm(), hash.algorithm());
            let hashed = |hash: &dyn Hash| hash.hash(b"video").as_ref().to_vec();
            assert_eq!(hashed(&restoring), hashed(hash));
            let mut context = restoring.start();
            context.update(b"vid");
            let fork = context.fork();
            context.update(b"eo");
            assert_eq!(context.fork_finish().as_ref(), hashed(hash));
            assert_eq!(fork.finish().as_ref(), hash.hash(b"vid").as_ref());
        }
    }
}
