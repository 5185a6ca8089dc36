//! `cc-gateway certificate`: a self-signed pair for a first start.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use crate::ops::console::print;
use crate::ops::fatal_error::{Exit, FatalError};

/// The file of the certificate.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
/// The file of its key.
pub(crate) const PRIVATE_KEY: &str = "private-key.pem";

/// Validity, including the last second. macOS and iOS reject any certificate valid for more than
/// 825 days, whoever issued it (Apple, HT210176).
const VALIDITY: Duration = Duration::from_secs(825 * 24 * 3600 - 1);
/// How far a client's clock may lag behind.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);

/// Build time in seconds since 1970: the commit date if the build provides it
/// (reproducible-builds.org/specs/source-date-epoch), else 2026-11-22, the day before this line was
/// written.
const BUILD_TIME: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(seconds) => match u64::from_str_radix(seconds, 10) {
        Ok(seconds) => seconds,
        Err(_) => BUILD_TIME_FALLBACK,
    },
    None => BUILD_TIME_FALLBACK,
};
const BUILD_TIME_FALLBACK: u64 = 1_795_305_600;

/// Writes the pair and prints the settings that use it.
pub(crate) fn run(out: &Path, names: &[String]) -> Result<(), FatalError> {
    let names = if names.is_empty() {
        local_names()
    } else {
        names.to_vec()
    };
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
/// Fails if either file exists, so that a pair in use is never replaced by accident.
pub(crate) fn write_pair(out: &Path, names: &[String]) -> Result<(), FatalError> {
    let now = SystemTime::now();
    check_clock(
        now,
        SystemTime::UNIX_EPOCH + Duration::from_secs(BUILD_TIME),
    )?;
    let (certificate, key) = make(names, now).map_err(|error| {
        FatalError::new(
            Exit::Usage,
            format!(
                "cannot make a certificate for {}: {error}",
                names.join(", ")
            ),
        )
    })?;
    for name in [PRIVATE_KEY, CERTIFICATE] {
        let path = out.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(already_exists(&path));
        }
    }
    write_new(&out.join(PRIVATE_KEY), 0o640, &key)?;
    write_new(&out.join(CERTIFICATE), 0o644, &certificate)
}

/// Rejects a clock that is certainly wrong. Appliances without a battery start in 1970, and clients
/// would consider a certificate from then expired.
fn check_clock(now: SystemTime, built: SystemTime) -> Result<(), FatalError> {
    if now >= built {
        return Ok(());
    }
    let text = format!(
        "the clock of this machine says {}, which is before this program was built ({}); set it and try again",
        httpdate::fmt_http_date(now),
        httpdate::fmt_http_date(built),
    );
    Err(FatalError::new(Exit::Unavailable, text))
}

fn make(names: &[String], now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(
        DnType::CommonName,
        names.first().map_or("cc-gateway", String::as_str),
    );
    parameters.not_before = (now - CLOCK_SKEW).into();
    parameters.not_after = (now - CLOCK_SKEW + VALIDITY).into();
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok((parameters.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Host name and loopback addresses. The static binary has no name service to ask for more.
fn local_names() -> Vec<String> {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let is_name = |name: &String| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    let mut names: Vec<String> = Some(host).filter(is_name).into_iter().collect();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.dedup();
    names
}

/// Creates a file with `mode`; fails if it exists.
pub(crate) fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), FatalError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => already_exists(path),
        _ => FatalError::from_io(
            &error,
            format!("{} cannot be written: {error}", path.display()),
        ),
    })
}

fn already_exists(path: &Path) -> FatalError {
    FatalError::new(
        Exit::Io,
        format!(
            "{} already exists, not overwritten; move it away first",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_this_program_was_made_is_refused() {
        let built = SystemTime::UNIX_EPOCH + Duration::from_secs(BUILD_TIME);
        assert!(check_clock(built, built).is_ok() && check_clock(SystemTime::now(), built).is_ok());
        for now in [SystemTime::UNIX_EPOCH, built - Duration::from_secs(1)] {
            let failure = check_clock(now, built).unwrap_err();
            assert_eq!(failure.exit(), Exit::Unavailable);
            assert!(failure.to_string().contains("set it"), "{failure}");
        }
    }
}
