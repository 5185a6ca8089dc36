//! TLS: one configuration for all clients, and the certificate that a reload may replace.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::config::Settings;
use crate::ops::failure::{Exit, Failure};

/// The files of the certificate and its key.
#[derive(Debug, Clone)]
pub struct KeyPairFiles {
    /// PEM file of the certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// PEM file of the private key (PKCS #8, PKCS #1 or SEC1).
    pub private_key: PathBuf,
}

impl KeyPairFiles {
    /// The files the settings name.
    pub fn of(settings: &Settings) -> KeyPairFiles {
        KeyPairFiles { certificate: settings.tls_certificate.clone(), private_key: settings.tls_private_key.clone() }
    }

    /// Reads both files and checks that they belong together.
    ///
    /// # Errors
    /// Which file, what is wrong with it and what to do.
    pub fn load(&self) -> Result<Arc<CertifiedKey>, Failure> {
        let chain = certificates(&self.certificate)?;
        let key = private_key(&self.private_key)?;
        let provider = aws_lc_rs::default_provider();
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            let files = format!("{} and {}", self.certificate.display(), self.private_key.display());
            Failure::new(
                Exit::Config,
                match error {
                    rustls::Error::InconsistentKeys(_) => {
                        format!("TLS_CERTIFICATE and TLS_PRIVATE_KEY, {files}, do not belong together")
                    }
                    other => format!("TLS_CERTIFICATE or TLS_PRIVATE_KEY, {files}, cannot be used: {other}"),
                },
            )
        })?;
        Ok(Arc::new(pair))
    }

    /// A warning about a key that others can read, if they can.
    pub fn exposed_key(&self) -> Option<String> {
        let mode = fs::metadata(&self.private_key).ok()?.permissions().mode();
        (mode & 0o007 != 0)
            .then(|| format!("TLS_PRIVATE_KEY {} can be read by everybody, chmod 0640 it", self.private_key.display()))
    }
}

fn open(key: &str, path: &Path) -> Result<BufReader<File>, Failure> {
    File::open(path).map(BufReader::new).map_err(|error| {
        Failure::new(Exit::of_io(&error, Exit::Config), format!("{key} {} cannot be read: {error}", path.display()))
    })
}

fn not_pem(key: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Config, format!("{key} {} is no PEM file: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    const KEY: &str = "TLS_CERTIFICATE";
    let chain: Vec<_> = rustls_pemfile::certs(&mut open(KEY, path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(KEY, path, &error))?;
    if chain.is_empty() {
        return Err(Failure::new(Exit::Config, format!("{KEY} {} holds no certificate", path.display())));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    const KEY: &str = "TLS_PRIVATE_KEY";
    rustls_pemfile::private_key(&mut open(KEY, path)?)
        .map_err(|error| not_pem(KEY, path, &error))?
        .ok_or_else(|| Failure::new(Exit::Config, format!("{KEY} {} holds no private key", path.display())))
}

/// The configuration every connection is made with.
#[derive(Debug, Clone)]
pub struct Tls {
    pair: Arc<Pair>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// TLS 1.2 and 1.3 with this certificate.
    ///
    /// # Errors
    /// When the crypto library cannot give what it promises, which no input can bring about.
    pub fn new(pair: Arc<CertifiedKey>) -> Result<Tls, Failure> {
        let broken = |error: rustls::Error| Failure::new(Exit::Unavailable, format!("TLS cannot be set up: {error}"));
        let pair = Arc::new(Pair(RwLock::new(pair)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(broken)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&pair) as Arc<dyn ResolvesServerCert>);
        // Two vendor clients would take HTTP/2 if it were offered, and lose the case of our field names.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Tickets alone resume a session: no memory is spent on clients who may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(broken)?;
        config.send_tls13_tickets = 1;
        Ok(Tls { pair, config: Arc::new(config) })
    }

    /// Puts a certificate in force for new connections; false if it is the one in force already.
    pub fn replace(&self, pair: Arc<CertifiedKey>) -> bool {
        let mut in_force = self.pair.0.write().unwrap_or_else(PoisonError::into_inner);
        // The key belongs to the certificate, so it is the same where the certificate is.
        let is_other = in_force.cert != pair.cert;
        *in_force = pair;
        is_other
    }

    /// The configuration for a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The certificate in force.
#[derive(Debug)]
struct Pair(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Pair {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
