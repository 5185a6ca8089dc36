//! Certificate and key files as operators have them: `check` and a reload accept each of them, or
//! refuse it with the actual reason.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::support::{Client, Scratch, Server, Setup, eventually, stdout_of};

/// The files that `certificates/make` makes, by name.
fn files() -> &'static HashMap<String, Vec<u8>> {
    static FILES: OnceLock<HashMap<String, Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let scratch = Scratch::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/certificates/make");
        stdout_of(Command::new("sh").arg(script).current_dir(scratch.path()));
        let entries = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    fs::read(entry.path()).unwrap(),
                )
            })
            .collect()
    })
}

fn file(name: &str) -> Vec<u8> {
    files()
        .get(name)
        .unwrap_or_else(|| panic!("there is no {name}"))
        .clone()
}

/// The files, concatenated.
fn joined(names: &str) -> Vec<u8> {
    names.split(' ').flat_map(file).collect()
}

/// The same as text, for tests that damage it.
fn text(names: &str) -> String {
    String::from_utf8(joined(names)).unwrap()
}

/// Removes the second and third base64 line of the block whose BEGIN is on `line`, counted from 1.
fn without_lines(text: &str, line: usize) -> String {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(index, _)| !(line + 1..line + 3).contains(index));
    lines.map(|(_, line)| format!("{line}\n")).collect()
}

/// The numbers of the BEGIN lines, counted from 1.
fn begins(text: &[u8]) -> Vec<usize> {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.contains("-BEGIN "))
        .map(|(index, _)| index + 1)
        .collect()
}

fn utf16(text: &str) -> Vec<u8> {
    [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn block(label: &str) -> Vec<u8> {
    format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n").into_bytes()
}

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "private-key.pem";
const COPY: &str = "copy it again";
const NEW_KEY: &str =
    "make a key of the curve P-256, or of RSA with 2048 bits, and have a certificate made for it";

/// The content of the two files, and what is reported: the line, as a number or as `#` and the
/// number of a BEGIN line, and the message. An empty message stands for any damage to a
/// certificate. See [`message`] for the other forms of the line.
type Case = (Vec<u8>, Vec<u8>, &'static str, String);

/// Chains that no client could use, with the key of `leaf` except where a case needs another one.
fn broken_chains() -> Vec<Case> {
    let chain = text("leaf.pem int.pem root.pem");
    let second = begins(chain.as_bytes())[1];
    let [leaf, int, root] = ["leaf.pem", "int.pem", "root.pem"].map(text);
    let begin = "-----BEGIN CERTIFICATE-----";
    let mut flipped = text("leaf.pem");
    // In the subject's name, which the issuer's signature covers.
    let at = flipped
        .find("Y2MtZ2F0ZXdheSB0ZXN0cw")
        .unwrap_or(flipped.len() / 3);
    let other = if flipped.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    flipped.replace_range(at..=at, other);
    let damaged =
        |position: usize, what: &str| format!("certificate {position} is damaged: {what}; {COPY}");
    let blanks = "has blanks or a byte order mark before its dashes: remove them";
    let place = |label: &str| {
        format!("is a block {label}, which does not belong among certificates; remove it")
    };
    let told = |text: &str| text.to_owned();
    let with_leaf_key = [
        (
            without_lines(&chain, second),
            "#2",
            damaged(2, "96 bytes are missing, lines were lost"),
        ),
        (
            without_lines(&chain, 1),
            "#1",
            damaged(1, "96 bytes are missing, lines were lost"),
        ),
        (
            chain.replacen(&int, &int.replacen("\nMII", "\nMIIA\nMII", 1), 1),
            "#2",
            String::new(),
        ),
        (
            format!("{leaf}{begin}\nAAAA\n-----END CERTIFICATE-----\n"),
            "#2",
            damaged(2, "its content is not a certificate"),
        ),
        (
            leaf.replacen("\nMII", "\nMI", 1),
            "#1",
            told(
                "certificate 1 is damaged: characters of its base64 text are missing or too many; copy it again",
            ),
        ),
        (
            format!("{}{int}", leaf.trim_end()),
            "0",
            told(
                "holds the end of one block and the beginning of the next: put a line end between the two",
            ),
        ),
        (format!("{leaf}\u{feff}{int}"), "#2", told(blanks)),
        (format!("{leaf} {int}"), "#2", told(blanks)),
        (format!("\t{leaf}"), "#1", told(blanks)),
        (
            format!("{leaf}{}", int.replacen("-----BEGIN", "----BEGIN", 1)),
            "#2",
            told(
                "is not a proper BEGIN or END line: it needs five hyphens, BEGIN or END, the label, five hyphens, and nothing else",
            ),
        ),
        (
            format!("{leaf}{}", int.replacen(&format!("{begin}\n"), "", 1)),
            "end+1",
            told("is part of a block whose BEGIN line is missing; copy it again"),
        ),
        (
            format!("{leaf}{}", int.split_at(int.len() - 60).0),
            "#2",
            told("has no END line: the file is cut off, copy it again"),
        ),
        (
            format!("{}{int}", leaf.replace("-----END CERTIFICATE-----\n", "")),
            "#2",
            told("begins inside the block of line 1, whose END line is missing; copy it again"),
        ),
        (
            format!("{leaf}{begin}\n-----END CERTIFICATE-----\n"),
            "#2",
            told("is empty: there is nothing between BEGIN and END"),
        ),
        (
            leaf.replacen("MII", "M\u{201c}I", 1),
            "2",
            told("holds characters that do not belong in a PEM block; copy it again"),
        ),
        (
            format!("{leaf}{}", text("trusted.pem")),
            "#2",
            told(
                "is a TRUSTED CERTIFICATE, which only openssl reads; convert it with: openssl x509 -in OLD -out NEW",
            ),
        ),
        (
            leaf.replace("CERTIFICATE-", "X509 CERTIFICATE-"),
            "#1",
            told("has the outdated label X509 CERTIFICATE; write CERTIFICATE in both lines"),
        ),
        (
            text("leaf.csr"),
            "#1",
            told("is a certificate request; use the certificate that the authority issued for it"),
        ),
        (
            text("leaf.p7"),
            "#1",
            told(
                "is PKCS #7; take the certificates out with: openssl pkcs7 -in {file} -print_certs -out NEW",
            ),
        ),
        (
            format!("{leaf}{}", String::from_utf8(block("X509 CRL")).unwrap()),
            "#2",
            place("X509 CRL"),
        ),
        (
            format!("{root}{leaf}{int}"),
            "#2",
            told(
                "certificate 2 belongs to the private key and must be first, each issuer after what it issued",
            ),
        ),
        (
            format!("{leaf}{root}{int}"),
            "#2",
            told(
                "certificate 2 stands before certificate 3, which it issued; put each issuer after what it issued",
            ),
        ),
        (
            format!("{leaf}{int}{leaf}"),
            "#3",
            told("certificate 3 is the same as certificate 1; remove one of them"),
        ),
        (
            format!("{leaf}{int}{int}"),
            "#3",
            told("certificate 3 is the same as certificate 2; remove one of them"),
        ),
        (
            format!("{leaf}{}", text("namesake.pem")),
            "#2",
            told(
                "certificate 2 has the name of the issuer of certificate 1, but its key did not sign that one: one of them is \
             damaged, or another authority has the same name; put the issuer's own certificate here",
            ),
        ),
        (format!("{flipped}{int}"), "", String::new()),
        (
            text("stranger.pem"),
            "",
            told(
                "its certificates and TLS_PRIVATE_KEY do not belong together: none of them is for that key; \
             name the key the certificate was requested with",
            ),
        ),
        (
            text("leaf.key"),
            "",
            told("holds a private key but no certificate; are the two settings swapped?"),
        ),
        (String::new(), "", told("holds no certificate")),
        (
            "no certificate at all\n".to_owned(),
            "",
            told("holds no certificate"),
        ),
    ];
    let mut cases: Vec<Case> = with_leaf_key
        .into_iter()
        .map(|(chain, line, told)| (chain.into_bytes(), file("leaf.key"), line, told))
        .collect();
    let version_1 = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/certificates");
    cases.extend([
        (utf16(&leaf), file("leaf.key"), "", told("is UTF-16 text; save it as UTF-8")),
        (utf16(&leaf)[2..].to_vec(), file("leaf.key"), "", told("is UTF-16 text; save it as UTF-8")),
        (leaf.replace('\n', "").into_bytes(), file("leaf.key"), "1", told("holds a whole block, whose line ends were lost: copy it again")),
        (critical(), file("leaf.key"), "#1", told(
            "certificate 1 has a critical extension that is not known here, so that it cannot be served; have it reissued \
             without it")),
        (file("leaf.der"), file("leaf.key"), "", told(
            "is DER, not PEM; convert a certificate with: openssl x509 -inform der -in {file} -out NEW, \
             a key with: openssl pkey -inform der -in {file} -out NEW")),
        (file("leaf.p12"), file("leaf.key"), "", told(
            "is a PKCS #12 key store, not PEM; take it apart with: openssl pkcs12 -in {file} -nodes -nocerts -out KEY, \
             and -nokeys -out CERTIFICATE")),
        (file("leaf.p7.der"), file("leaf.key"), "", told(
            "is PKCS #7 in DER, not PEM; convert it with: openssl pkcs7 -inform der -in {file} -print_certs -out NEW")),
        (fs::read(version_1.join("version-1.pem")).unwrap(), fs::read(version_1.join("version-1.key")).unwrap(), "#1", told(
            "certificate 1 has version 1 of X.509, which cannot hold the names of the server, so clients refuse it; \
             have it reissued as version 3 with a subjectAltName (openssl x509 -req with -extfile)")),
        (file("explicit.pem"), file("leaf.key"), "#1", told(
            "certificate 1 has an EC key with explicit parameters in place of a curve's name, which TLS does not have \
             (RFC 8422 5.1.1); name the curve in the key with openssl ec -param_enc named_curve, and have the certificate \
             reissued for it")),
    ]);
    cases
}

/// Keys that cannot be used, each with the certificate of `leaf`.
fn broken_keys() -> Vec<Case> {
    let key = text("leaf.key");
    let kind = |name: &str| format!("is {name} and cannot be used; {NEW_KEY}");
    let encrypted = "is encrypted, and nobody can type its passphrase when the service starts; remove the passphrase with: \
                     openssl pkey -in {file} -out NEW";
    let cases = [
        (file("leaf.key.encrypted"), "#1", encrypted.to_owned()),
        (file("leaf.key.traditional"), "#1", encrypted.to_owned()),
        (file("rsa1024.key"), "#1", format!("is an RSA key of 1024 bits, and at least 2048 are needed; {NEW_KEY}")),
        (
            file("koblitz.explicit"),
            "#1",
            "is an EC key with explicit parameters in place of a curve's name, which TLS does \
            not have (RFC 8422 5.1.1); name the curve with: openssl ec -in {file} -param_enc named_curve -out NEW"
                .to_owned(),
        ),
        (file("ed448.key"), "#1", kind("an Ed448 key")),
        (file("x25519.key"), "#1", kind("an X25519 key, which cannot sign")),
        (file("koblitz.key"), "#1", kind("an EC key of the curve secp256k1")),
        (file("pss.key"), "#1", kind("an RSA key for PSS alone")),
        (block("DSA PRIVATE KEY"), "#1", format!("is a DSA PRIVATE KEY, a kind that cannot be used; {NEW_KEY}")),
        (
            block("OPENSSH PRIVATE KEY"),
            "#1",
            "is a key in the form of OpenSSH; convert a copy with: \
            ssh-keygen -p -m PEM -f COPY"
                .to_owned(),
        ),
        (block("PRIVATE KEY"), "#1", "is damaged: its content is not a private key; copy it again".to_owned()),
        (
            key.replacen("\nMHcCAQEE", "\nMHcCAQE", 1).into_bytes(),
            "#1",
            "is damaged: characters of its base64 text are missing or too many; copy it again".to_owned(),
        ),
        (
            without_lines(&key, 1).into_bytes(),
            "#1",
            "is damaged: 73 bytes are missing, lines were lost; copy it again".to_owned(),
        ),
        (
            joined("leaf.key rsa2048.key"),
            "#2",
            "is a second private key, after that of line 1; keep the one of the certificate".to_owned(),
        ),
        (file("leaf.pem"), "", "holds a certificate but no private key; are the two settings swapped?".to_owned()),
        (file("leaf.public"), "", "holds a public key, not the private one".to_owned()),
        (file("leaf.parameters"), "", "holds the parameters of a key, but no private key".to_owned()),
        (Vec::new(), "", "holds no private key".to_owned()),
        (
            file("leaf.key.der"),
            "",
            "is a key in DER, not PEM; convert it with: openssl pkey -inform der -in {file} -out NEW".to_owned(),
        ),
        (
            key.replace("EC PRIVATE", "PRIVATE").into_bytes(),
            "#1",
            "is marked PRIVATE KEY, but is a key of the kind EC PRIVATE KEY; write EC PRIVATE KEY in both lines"
                .to_owned(),
        ),
        (
            text("leaf.key.pkcs8").replace("PRIVATE KEY", "RSA PRIVATE KEY").into_bytes(),
            "#1",
            "is marked RSA PRIVATE KEY, but is a key of the kind PRIVATE KEY; write PRIVATE KEY in both lines"
                .to_owned(),
        ),
        (
            b"PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\nEncryption: none\n".to_vec(),
            "",
            "is a key in the form of PuTTY; convert it with: puttygen {file} -O private-openssh -o NEW, and that with \
             ssh-keygen -p -m PEM -f NEW"
                .to_owned(),
        ),
        (
            b"\xfe\xed\xfe\xed\0\0\0\x02".to_vec(),
            "",
            "is a Java key store, not PEM; convert it with: keytool -importkeystore \
            -srckeystore {file} -destkeystore NEW.p12 -deststoretype PKCS12, and that with openssl pkcs12"
                .to_owned(),
        ),
        (utf16(&key), "", "is UTF-16 text; save it as UTF-8".to_owned()),
    ];
    cases
        .into_iter()
        .map(|(key, line, told)| (file("leaf.pem"), key, line, told))
        .collect()
}

/// The full message for a case in `folder`.
fn message(folder: &Path, (certificate, key, line, told): &Case, is_chain: bool) -> String {
    let (name, setting, content) = if is_chain {
        (CERTIFICATE, "TLS_CERTIFICATE", certificate)
    } else {
        (KEY, "TLS_PRIVATE_KEY", key)
    };
    let path = folder.join(name).display().to_string();
    let line = match line.strip_prefix('#') {
        Some(which) => format!(":{}", begins(content)[which.parse::<usize>().unwrap() - 1]),
        None if line.is_empty() => String::new(),
        // Where the flaw is not at a proper BEGIN line: in the last line of the leaf, or in the one
        // after it.
        None if *line == "0" => format!(":{}", text("leaf.pem").lines().count()),
        None if *line == "end+1" => format!(":{}", text("leaf.pem").lines().count() + 1),
        None => format!(":{line}"),
    };
    format!("{path}{line}: {setting}: {}", told.replace("{file}", &path))
}

fn write(server: &Server, certificate: &[u8], key: &[u8]) {
    for (name, content) in [(CERTIFICATE, certificate), (KEY, key)] {
        let path = server.scratch().file(name, content);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn check(server: &Server) -> Output {
    let config = server.scratch().path().join("basic.properties");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    command
        .args(["check", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Starts a second server with the same files, which must refuse to start.
fn start(server: &Server) -> Output {
    let config = server.scratch().path().join("basic.properties");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    command
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Reloads, and waits for a new log line that ends with `told`.
fn reload(server: &Server, told: &str) {
    let lines = || {
        server
            .log()
            .iter()
            .filter(|line| line.ends_with(told))
            .count()
    };
    let before = lines();
    server.signal("HUP");
    eventually(&format!("a log line with {told}"), || lines() > before);
}

/// Whether a new client that trusts the certificate of the start is served.
fn serves_the_old_pair(server: &Server, trusted: &Path) -> bool {
    Client::connect(server.address(), trusted)
        .get("/health", None)
        .status
        == 200
}

#[test]
fn what_no_client_could_use_is_refused_with_its_reason_and_the_old_pair_stays() {
    let server = Setup::new()
        .expect_log("certificate not reloaded: ")
        .start();
    let trusted = server.scratch().file(
        "trusted.pem",
        fs::read(server.scratch().path().join(CERTIFICATE)).unwrap(),
    );
    let chains = broken_chains();
    let keys = broken_keys();
    assert!(chains.len() + keys.len() >= 50);
    for (case, is_chain) in chains
        .iter()
        .map(|case| (case, true))
        .chain(keys.iter().map(|case| (case, false)))
    {
        write(&server, &case.0, &case.1);
        let told = message(server.scratch().path(), case, is_chain);
        let output = check(&server);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{told}: {said}");
        if case.3.is_empty() {
            // The exact message depends on where the damage is.
            assert!(
                said.contains("certificate ") && said.contains("damaged"),
                "{said}"
            );
            continue;
        }
        assert!(
            said.lines()
                .any(|line| line.trim_start_matches("cc-gateway: ") == told),
            "expected: {told}\nstderr: {said}"
        );
        reload(&server, &format!("certificate not reloaded: {told}"));
    }
    assert!(serves_the_old_pair(&server, &trusted));
}

#[test]
fn what_is_unusual_but_whole_is_served_without_a_word() {
    let server = Setup::new().start();
    let bom = |name: &str| [b"\xef\xbb\xbf", &file(name)[..]].concat();
    let crlf = |names: &str| text(names).replace('\n', "\r\n").into_bytes();
    for (certificate, key) in [
        (file("leaf.pem"), file("leaf.key")),
        (joined("leaf.pem int.pem"), file("leaf.key.pkcs8")),
        (
            joined("leaf.pem int.pem root.pem"),
            joined("leaf.parameters leaf.key"),
        ),
        (bom("leaf.pem"), bom("leaf.key")),
        (crlf("leaf.pem int.pem"), crlf("leaf.key")),
        (
            text("leaf.pem int.pem").replace('\n', "\r").into_bytes(),
            text("leaf.key").replace('\n', "\r").into_bytes(),
        ),
        (
            text("leaf.pem int.pem").replace('\n', " \n\n").into_bytes(),
            file("leaf.key"),
        ),
        (joined("leaf.text int.pem"), file("leaf.key")),
        (file("leaf.bags"), file("leaf.bags")),
        (file("leaf.pem"), file("leaf.key.explicit")),
        (
            joined("leaf.pem int.pem leaf.key"),
            joined("leaf.pem int.pem leaf.key"),
        ),
        (joined("leaf.pem int.pem leaf.parameters"), file("leaf.key")),
        (joined("rsa2048.pem int.pem root.pem"), file("rsa2048.key")),
        (joined("ed25519.pem int.pem"), file("ed25519.key")),
        (joined("p384.pem int.pem"), file("p384.key")),
    ] {
        write(&server, &certificate, &key);
        let output = check(&server);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !said.contains("TLS_"), "{said}");
        let reloads = || {
            server
                .log()
                .iter()
                .filter(|line| line.contains("reloaded"))
                .count()
        };
        let before = reloads();
        server.signal("HUP");
        eventually("the reload", || reloads() > before);
    }
    reload(&server, "nothing has changed");
}

/// A self-signed certificate for the key of `leaf`; `change` edits its parameters before it is
/// signed.
fn made(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
    let key = rcgen::KeyPair::from_pem(&text("leaf.key.pkcs8")).unwrap();
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut parameters);
    parameters.self_signed(&key).unwrap().pem().into_bytes()
}

/// A certificate with an unknown critical extension.
fn critical() -> Vec<u8> {
    made(|parameters| {
        let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        parameters.custom_extensions.push(extension);
    })
}

/// A certificate whose only subjectAltName is a mailbox.
fn mail_only() -> Vec<u8> {
    made(|parameters| {
        let mailbox = rcgen::string::Ia5String::try_from("operator@gw.example").unwrap();
        parameters.subject_alt_names = vec![rcgen::SanType::Rfc822Name(mailbox)];
    })
}

/// The time so many days from now, and a minute further away, since the warnings round down to
/// whole days.
fn moment(days: i64) -> SystemTime {
    let span = Duration::from_secs(days.unsigned_abs() * 86_400 + 60);
    let now = SystemTime::now();
    if days < 0 { now - span } else { now + span }
}

/// A certificate with this start and end of validity, in days from now.
fn dated(from: i64, to: i64) -> Vec<u8> {
    made(|parameters| {
        parameters.not_before = moment(from).into();
        parameters.not_after = moment(to).into();
    })
}

/// A certificate valid for `days` with the root that issued it, which is valid for `root_days`.
fn below_a_root(days: i64, root_days: i64) -> Vec<u8> {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::default();
    root.distinguished_name
        .push(rcgen::DnType::CommonName, "root");
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.not_after = moment(root_days).into();
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::from_pem(&text("leaf.key.pkcs8")).unwrap();
    let mut leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    leaf.not_after = moment(days).into();
    let leaf_pem = leaf.signed_by(&key, &issuer).unwrap().pem();
    (leaf_pem + &root_pem).into_bytes()
}

#[test]
fn what_clients_will_not_like_is_a_warning_of_start_check_and_reload() {
    let cases = [
        (
            dated(-9, -1),
            "leaf.key",
            "certificate 1 has expired: it was valid until ",
            1,
        ),
        (
            dated(1, 9),
            "leaf.key",
            "certificate 1 is not yet valid: it will be from ",
            1,
        ),
        (
            dated(-1, 20),
            "leaf.key",
            "certificate 1 expires in 20 days: it is valid until ",
            1,
        ),
        (
            dated(-1, 0),
            "leaf.key",
            "certificate 1 expires in 0 days: it is valid until ",
            1,
        ),
        (
            dated(-1, 29),
            "leaf.key",
            "certificate 1 expires in 29 days: it is valid until ",
            1,
        ),
        (dated(-1, 31), "leaf.key", "", 0),
        (
            joined("leaf.pem stranger.pem"),
            "leaf.key",
            "certificate 2 did not issue any certificate before it",
            1,
        ),
        (
            joined("leaf.pem root.pem"),
            "leaf.key",
            "certificate 2 did not issue any certificate before it",
            1,
        ),
        (
            joined("bare.pem int.pem"),
            "bare.key",
            "certificate 1 has no subjectAltName",
            1,
        ),
        (
            mail_only(),
            "leaf.key",
            "certificate 1 has no subjectAltName with a host name or an address",
            1,
        ),
        (
            joined("client.pem int.pem"),
            "client.key",
            "certificate 1 is not for servers",
            1,
        ),
        (
            joined("stranger.pem root.pem"),
            "stranger.key",
            "certificate 1 has no subjectAltName",
            2,
        ),
    ];
    let setup = Setup::new();
    setup.write_files();
    let server = setup.expect_log(": TLS_CERTIFICATE: certificate ").start();
    for (certificate, key, told, warnings) in &cases {
        write(&server, certificate, &file(key));
        let output = check(&server);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let of_pair: Vec<_> = said
            .lines()
            .filter(|line| line.contains("TLS_CERTIFICATE: "))
            .collect();
        assert_eq!(of_pair.len(), *warnings, "{told}: {said}");
        assert!(
            *warnings == 0 || of_pair.iter().any(|line| line.contains(told)),
            "{said}"
        );
        server.signal("HUP");
        let logged = || {
            server
                .log()
                .iter()
                .filter(|line| line.contains("certificate reloaded"))
                .count()
        };
        let reloads = cases
            .iter()
            .position(|case| std::ptr::eq(&case.0, certificate))
            .unwrap()
            + 1;
        eventually("the reload", || logged() == reloads);
        let warned = server
            .log()
            .iter()
            .filter(|line| line.contains(" WARN ") && line.contains(told))
            .count();
        assert!(*warnings == 0 || warned > 0, "{:?}", server.log());
    }
    let started = Setup::new().expect_log("certificate 1 has expired");
    fs::write(started.directory().join(CERTIFICATE), dated(-9, -1)).unwrap();
    fs::write(started.directory().join(KEY), file("leaf.key")).unwrap();
    fs::set_permissions(
        started.directory().join(KEY),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    started.start().log_line(" WARN ");
}

#[test]
fn the_end_of_the_certificate_follows_a_reload_only_when_it_is_taken() {
    let files = |scratch: &Scratch| cc_gateway::front::KeyPairFiles {
        certificate: scratch.path().join(CERTIFICATE),
        private_key: scratch.path().join(KEY),
    };
    let scratch = Scratch::new();
    scratch.file(CERTIFICATE, dated(-1, 10));
    scratch.file(KEY, file("leaf.key"));
    let expires_first = files(&scratch).load().unwrap();
    let tls = cc_gateway::front::Tls::new(expires_first.clone()).unwrap();
    let now = i64::try_from(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap();
    let days = |expiry: i64| (expiry - now) / 86_400;
    assert_eq!(days(expires_first.expiry()), 10);
    // The earliest expiry counts, except that of a root, which clients do not check.
    scratch.file(CERTIFICATE, joined("leaf.pem int.pem root.pem"));
    let pair = files(&scratch).load().unwrap();
    assert!((363..=365).contains(&days(pair.expiry())));
    assert!(tls.replace(pair));
    scratch.file(CERTIFICATE, below_a_root(20, 5));
    assert_eq!(days(files(&scratch).load().unwrap().expiry()), 20);
}

#[test]
fn the_metric_follows_the_pair_in_force() {
    let server = Setup::new()
        .expect_log("certificate 1 expires in 9 days")
        .expect_log("certificate not reloaded")
        .start();
    let value = |server: &Server| -> u64 {
        let metrics = server.client().get("/metrics", None).text().to_owned();
        let name = "cc_gateway_certificate_expiry_timestamp_seconds ";
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .parse()
            .unwrap()
    };
    let days = |seconds: u64| {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        (seconds - now) / 86_400
    };
    assert_eq!(days(value(&server)), 823);
    write(&server, &dated(-1, 9), &file("leaf.key"));
    let reloads = |told: &str| {
        server.signal("HUP");
        server.log_line(told);
    };
    reloads("certificate reloaded");
    let before = value(&server);
    assert_eq!(days(before), 9);
    // Only the key is removed, because the clients of the test trust the certificate file.
    fs::remove_file(server.scratch().path().join(KEY)).unwrap();
    reloads("certificate not reloaded");
    assert_eq!(value(&server), before);
}

#[test]
fn a_key_that_others_may_read_is_a_warning() {
    let server = Setup::new().expect_log("the private key is ").start();
    let path = server.scratch().path().join(KEY);
    let said = |server: &Server| String::from_utf8(check(server).stderr).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(
        !said(&server).contains("the private key"),
        "{}",
        said(&server)
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let told = format!(
        "{0}: TLS_PRIVATE_KEY: the private key is world-readable; run: chgrp cc-gateway {0} && chmod 0640 {0}",
        path.display()
    );
    assert!(
        said(&server).lines().any(|line| line == told),
        "{}",
        said(&server)
    );
    reload(&server, &told);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    if chown(&path, None, Some(54_321)).is_ok() {
        assert!(
            said(&server)
                .contains("the private key is open to group 54321, which is not the service's")
        );
    }
    // A certificate file that also holds the key must be as secret as the key file.
    let pair = [CERTIFICATE, KEY]
        .map(|name| fs::read(server.scratch().path().join(name)).unwrap())
        .concat();
    server.scratch().file(CERTIFICATE, pair);
    assert!(
        said(&server)
            .contains("certificate.pem: TLS_CERTIFICATE: the private key is world-readable")
    );
}

#[test]
fn what_is_not_a_file_stops_a_start_and_no_reload_waits_for_it() {
    let setup = Setup::new()
        .expect_log("certificate not reloaded: ")
        .expect_log("settings not reloaded: ");
    let server = setup.expect_log("agents not reloaded: ").start();
    let folder = server.scratch().path();
    let trusted = server
        .scratch()
        .file("trusted.pem", fs::read(folder.join(CERTIFICATE)).unwrap());
    let pipe = folder.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let large = server.scratch().sparse("large", 1 << 40);
    for (target, reason) in [
        (pipe.as_path(), "it is a named pipe, not a file"),
        (Path::new("/dev/zero"), "it is a device, not a file"),
        (Path::new("/dev/null"), "it is a device, not a file"),
        (Path::new("/"), "it is a directory, not a file"),
        (&large, "it is larger than "),
    ] {
        for name in [CERTIFICATE, KEY, "basic.properties", "agents.properties"] {
            let path = folder.join(name);
            let before = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(target, &path).unwrap();
            for output in [check(&server), start(&server)] {
                let said = String::from_utf8(output.stderr).unwrap();
                assert!(
                    output.status.code() == Some(78)
                        && said.contains(&format!("cannot be read: {reason}")),
                    "{name}: {said}"
                );
            }
            let lines = || {
                server
                    .log()
                    .iter()
                    .filter(|line| line.contains(name) && line.contains(reason))
                    .count()
            };
            let had = lines();
            server.signal("HUP");
            eventually("the reload", || lines() > had);
            fs::remove_file(&path).unwrap();
            fs::write(&path, before).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    assert!(serves_the_old_pair(&server, &trusted));
    reload(&server, "nothing has changed");
}
