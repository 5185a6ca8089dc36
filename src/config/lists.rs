//! Comma-separated lists: suffixes, addresses, origins.

use super::ip_prefix::IpPrefix;
use super::values::{bounded, quoted};
use std::net::{Ipv6Addr, SocketAddr};

/// Most entries in a list: far more than anyone writes by hand, few enough for a linear search.
const LIST_MAX: usize = 64;

/// File name suffixes, converted to lower case and stripped of a leading dot.
pub(super) fn suffixes(value: &str) -> Result<Vec<String>, String> {
    list(value, |entry| {
        let suffix = entry.strip_prefix('.').unwrap_or(entry);
        let is_plain =
            !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let suffix = (is_plain && suffix.len() <= 16).then(|| suffix.to_ascii_lowercase());
        suffix.ok_or("not a suffix of letters and digits; write for example mp4,webm")
    })
}

/// Addresses with ports to listen on. No names: the static binary has no name service.
pub(super) fn addresses(value: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = list(value, |entry| {
        entry
            .parse()
            .map_err(|_| "not an address with a port; write for example 0.0.0.0:8043,[::]:8043")
    })?;
    for all in addresses
        .iter()
        .filter(|address: &&SocketAddr| address.ip().is_unspecified() && address.port() != 0)
    {
        let is_part = |other: &&SocketAddr| {
            *other != all && other.is_ipv4() == all.is_ipv4() && other.port() == all.port()
        };
        if let Some(part) = addresses.iter().find(is_part) {
            return Err(format!(
                "{part} is part of {all} already; remove one of the two"
            ));
        }
    }
    Ok(addresses)
}

/// Addresses and prefixes of proxies.
pub(super) fn prefixes(value: &str) -> Result<Vec<IpPrefix>, String> {
    let read = |written: &str| {
        IpPrefix::parse(written).map_err(|reason| format!("{} {reason}", quoted(written)))
    };
    entries(value, read)
}

/// Origins as browsers send them: `scheme://host` or `scheme://host:port`, in lower case, without
/// the default port of the scheme.
///
/// `*` is not allowed: agents may have an empty password, so any page that an agent visits could
/// sign in as one of them.
pub(super) fn origins(value: &str) -> Result<Vec<String>, String> {
    list(value, |entry| {
        origin(&entry.to_ascii_lowercase())
            .ok_or("not an origin; write for example https://crm.example.com")
    })
}

fn origin(value: &str) -> Option<String> {
    let (scheme, authority) = value.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    // Only an IPv6 address contains other colons than the one before the port, and it is in
    // brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host = match host.strip_prefix('[') {
        Some(address) => format!("[{}]", address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?),
        None => host.to_owned(),
    };
    let is_host = host.starts_with('[')
        || !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let port = port
        .map(|port| bounded(port, "a port", &(1..=u16::MAX)))
        .transpose()
        .ok()?;
    let port = match (scheme, port) {
        ("https", Some(443)) | ("http", Some(80)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    (is_scheme && is_host).then(|| format!("{scheme}://{host}{port}"))
}

/// A comma-separated list. If `read` refuses an entry, it says what the entry is not.
fn list<T: PartialEq>(
    value: &str,
    read: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, String> {
    entries(value, |written| {
        read(written).map_err(|reason| format!("{} is {reason}", quoted(written)))
    })
}

/// A comma-separated list without duplicates.
fn entries<T: PartialEq>(
    value: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut entries = Vec::new();
    for written in value.split(',').map(str::trim) {
        let entry = read(written)?;
        if !entries.contains(&entry) {
            entries.push(entry);
        }
        if entries.len() > LIST_MAX {
            return Err(format!("holds more than {LIST_MAX} entries; remove some"));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_lose_their_dot_and_case_and_doubles() {
        assert_eq!(suffixes("MP4, .webm ,mp4").unwrap(), ["mp4", "webm"]);
        for value in [
            "mp4,",
            ",",
            ".",
            "*.mp4",
            "tar.gz",
            "mp4;mov",
            "a/b",
            "aaaaaaaaaaaaaaaaa",
        ] {
            assert!(suffixes(value).is_err(), "{value}");
        }
    }

    #[test]
    fn addresses_are_literals_with_a_port() {
        assert_eq!(
            addresses("127.0.0.1:0, [::1]:1,127.0.0.1:0").map(|addresses| addresses.len()),
            Ok(2)
        );
        for value in [
            "8043",
            ":8043",
            "*:8043",
            "127.0.0.1",
            "localhost:1",
            "::1:1",
            "127.0.0.1:65536",
            "1.2.3.4:1,",
        ] {
            assert!(addresses(value).is_err(), "{value}");
        }
        // The kernel would refuse the second address of each pair as in use.
        for (value, told) in [
            (
                "0.0.0.0:8043,127.0.0.1:8043",
                Some("127.0.0.1:8043 is part of 0.0.0.0:8043 already; remove one of the two"),
            ),
            (
                "[::1]:1, [::]:1",
                Some("[::1]:1 is part of [::]:1 already; remove one of the two"),
            ),
            ("0.0.0.0:1,[::]:1,[::1]:2,127.0.0.1:2", None),
            ("0.0.0.0:0,127.0.0.1:0", None),
        ] {
            assert_eq!(addresses(value).err().as_deref(), told, "{value}");
        }
        let many: Vec<_> = (1..=LIST_MAX + 1)
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        assert!(addresses(&many.join(",")).is_err());
    }

    #[test]
    fn origins_are_spelt_as_browsers_spell_them() {
        for (value, read) in [
            ("https://crm.example.com", Some("https://crm.example.com")),
            (
                "HTTPS://CRM.example.com:443",
                Some("https://crm.example.com"),
            ),
            ("http://desk:80", Some("http://desk")),
            ("http://desk:443", Some("http://desk:443")),
            ("https://[::1]:8443", Some("https://[::1]:8443")),
            ("https://[0::0:1]", Some("https://[::1]")),
            (
                "chrome-extension://abcdef",
                Some("chrome-extension://abcdef"),
            ),
            ("*", None),
            ("null", None),
            ("crm.example.com", None),
            ("https://", None),
            ("https://a/", None),
            ("https://a/b", None),
            ("https://*.example.com", None),
            ("https://user@a", None),
            ("https://a:", None),
            ("https://a:0", None),
            ("https://a:65536", None),
            ("https://a:b:1", None),
            ("https://[::g]", None),
            ("https://[::1", None),
            ("://a", None),
            ("1a://b", None),
            ("https://\u{e9}.example", None),
        ] {
            assert_eq!(
                origins(value)
                    .ok()
                    .and_then(|origins| origins.into_iter().next())
                    .as_deref(),
                read,
                "{value}"
            );
        }
    }
}
