//! `cc-gateway certificate`: a self-signed pair for a first start.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use crate::ops::console::print;
use crate::ops::failure::{Exit, Failure};

/// The file of the certificate.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
/// The file of its key.
pub(crate) const PRIVATE_KEY: &str = "private-key.pem";

/// How long the certificate is good for. Clients of a self-signed one trust it by itself, and nobody looks
/// after it, so it must not end while the appliance lives.
const VALID_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far a client's clock may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);

/// Writes the pair and says what to set.
pub(crate) fn run(out: &Path, names: &[String]) -> Result<(), Failure> {
    let names = if names.is_empty() { own_names() } else { names.to_vec() };
    write_pair(out, &names)?;
    print(&format!(
        "made a self-signed certificate for {}\n\nTLS_CERTIFICATE = {}\nTLS_PRIVATE_KEY = {}\n",
        names.join(", "),
        out.join(CERTIFICATE).display(),
        out.join(PRIVATE_KEY).display(),
    ))
}

/// Writes a pair for `names` into the directory `out`.
///
/// # Errors
/// When one of the files is there already: a pair in use is never replaced by accident.
pub(crate) fn write_pair(out: &Path, names: &[String]) -> Result<(), Failure> {
    let (certificate, key) = make(names)
        .map_err(|error| Failure::new(Exit::Usage, format!("no certificate for {}: {error}", names.join(", "))))?;
    for name in [PRIVATE_KEY, CERTIFICATE] {
        let path = out.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(exists(&path));
        }
    }
    write_new(&out.join(PRIVATE_KEY), 0o640, &key)?;
    write_new(&out.join(CERTIFICATE), 0o644, &certificate)
}

fn make(names: &[String]) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, names.first().map_or("cc-gateway", String::as_str));
    let now = SystemTime::now();
    parameters.not_before = (now - CLOCK_SKEW).into();
    parameters.not_after = (now + VALID_FOR).into();
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok((parameters.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// This machine by its own account. No name service is asked, so that the binary needs none.
fn own_names() -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    let mut names: Vec<String> = Some(host).filter(is_name).into_iter().collect();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.dedup();
    names
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::new(Exit::of_io(&error, Exit::Io), format!("{} cannot be written: {error}", path.display())),
    })
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Io, format!("{} is there already and stays; move it away first", path.display()))
}
