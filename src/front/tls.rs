//! TLS: the configuration for all clients, and the certificate, which a reload may replace.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::key_pair::KeyPair;
use super::server_name::tolerant_provider;
use crate::ops::fatal_error::{Exit, FatalError};

/// The TLS configuration of all connections.
#[derive(Debug, Clone)]
pub struct Tls {
    pair: Arc<CurrentKeyPair>,
    /// For a new connection.
    pub(super) config: Arc<ServerConfig>,
    /// For a connection whose server name has been hidden from rustls.
    pub(super) tolerant_config: Arc<ServerConfig>,
}

impl Tls {
    /// TLS 1.2 and 1.3 with this certificate.
    ///
    /// # Errors
    /// When the crypto library fails, which no input can cause.
    pub fn new(pair: KeyPair) -> Result<Tls, FatalError> {
        let pair = Arc::new(CurrentKeyPair(RwLock::new(pair.certified)));
        let provider = aws_lc_rs::default_provider();
        Ok(Tls {
            tolerant_config: server_config(tolerant_provider(provider.clone()), &pair)?,
            config: server_config(provider, &pair)?,
            pair,
        })
    }

    /// Replaces the certificate for new connections; false if it is the current one.
    pub fn replace(&self, pair: KeyPair) -> bool {
        let mut in_force = self.pair.0.write().unwrap_or_else(PoisonError::into_inner);
        // The key belongs to the certificate, so the same certificate means the same key.
        let is_other = in_force.cert != pair.certified.cert;
        *in_force = pair.certified;
        is_other
    }
}

fn server_config(
    provider: CryptoProvider,
    pair: &Arc<CurrentKeyPair>,
) -> Result<Arc<ServerConfig>, FatalError> {
    let broken = |error: rustls::Error| {
        FatalError::new(Exit::Unavailable, format!("cannot set up TLS: {error}"))
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(broken)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(pair) as Arc<dyn ResolvesServerCert>);
    // Two vendor clients would use HTTP/2 if offered, and lose the case of our field names. Old
    // clients offer only HTTP/1.0.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    // Sessions resume by ticket only, which costs no memory for clients that may never return.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(broken)?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The certificate and key in force.
#[derive(Debug)]
struct CurrentKeyPair(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentKeyPair {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let in_force = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&in_force))
    }
}
