//! The client's address behind proxies, from `X-Forwarded-For`, to which each proxy appends the
//! address of its peer.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Most entries to read. A chain of trusted proxies has a few; a longer list is deliberate.
const ENTRIES_MAX: usize = 32;

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress {
    /// The client, for limits, throttle and log; never an IPv4-mapped address.
    pub(super) client: IpAddr,
    /// The trusted proxy that the connection comes from, if any; same as `client` if it acts for
    /// itself or names nobody. What is reserved for this machine must be refused if this is `Some`,
    /// whatever the client's address.
    pub(super) via: Option<IpAddr>,
}

/// Finds the client of a request on a connection from `peer`. `source` is the client named by a
/// PROXY header; `forwarded_for` is the `X-Forwarded-For` field, with several lines joined by
/// commas in order (RFC 9110 section 5.3).
///
/// From the connection outwards, each hop is believed as long as every hop before it is a trusted
/// proxy. So the field is read from the right: only its right end was written by trusted proxies,
/// and a client may have made up anything further left.
///
/// - A peer that is not trusted is the client, whatever it sends.
/// - Otherwise the first hop that is not a trusted proxy is the client.
/// - An entry that is not an address (`unknown`, an obfuscated name, garbage, empty) was written by
///   the hop to its right, which could not or would not say more. Nothing to the left of it can be
///   trusted, so that hop, the last trusted address, is the client.
/// - If all hops are trusted proxies, the outermost is the client: the proxy's own request, such as
///   a health check.
///
/// Entries may have a port, brackets around IPv6, and quotes, as some proxies write them.
pub(super) fn client_address(
    peer: IpAddr,
    source: Option<IpAddr>,
    forwarded_for: Option<&str>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> ClientAddress {
    let peer = peer.to_canonical();
    let named = source.map(|source| Some(source.to_canonical()));
    let entries = forwarded_for
        .unwrap_or_default()
        .rsplit(',')
        .take(ENTRIES_MAX)
        .map(address);
    let mut client = peer;
    for hop in named.into_iter().chain(entries) {
        match hop {
            Some(hop) if is_trusted(client) => client = hop,
            _ => break,
        }
    }
    ClientAddress {
        client,
        via: is_trusted(peer).then_some(peer),
    }
}

/// The address of an entry.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches([' ', '\t']);
    let unquoted = entry
        .strip_prefix('"')
        .and_then(|entry| entry.strip_suffix('"'));
    let entry = unquoted.unwrap_or(entry);
    let plain = || entry.parse::<IpAddr>().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || {
        entry
            .strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::V6)
    };
    // The unspecified address cannot be a client's; it means unknown.
    let address = plain()
        .or_else(with_port)
        .or_else(bracketed)?
        .to_canonical();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 10.0.0.0/8 and fd00::/8 are proxies.
    fn is_trusted(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.octets()[0] == 0xfd,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn entries() {
        for (entry, expected) in [
            ("192.0.2.7", Some("192.0.2.7")),
            (" 192.0.2.7\t", Some("192.0.2.7")),
            ("192.0.2.7:49152", Some("192.0.2.7")),
            ("\"192.0.2.7:49152\"", Some("192.0.2.7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("[2001:db8::7]:49152", Some("2001:db8::7")),
            ("\"[2001:db8::7]:49152\"", Some("2001:db8::7")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("[::ffff:192.0.2.7]:1", Some("192.0.2.7")),
            ("", None),
            (" ", None),
            ("unknown", None),
            ("_hidden", None),
            ("for=192.0.2.7", None),
            ("192.0.2.7:", None),
            ("192.0.2.7:65536", None),
            ("192.0.2.07", None),
            ("192.0.2", None),
            ("192.0.2.7 192.0.2.8", None),
            ("[192.0.2.7]", None),
            ("[2001:db8::7", None),
            ("fe80::1%eth0", None),
            ("\"192.0.2.7", None),
            ("\"\"192.0.2.7\"\"", None),
            ("0.0.0.0", None),
            ("::", None),
            ("127.1", None),
            ("localhost", None),
        ] {
            assert_eq!(address(entry), expected.map(ip), "{entry:?}");
        }
    }

    #[test]
    fn chains() {
        let long = format!("198.51.100.9,{}", "10.0.0.3,".repeat(ENTRIES_MAX));
        for (peer, forwarded_for, client, via) in [
            // An untrusted peer is the client itself.
            ("192.0.2.1", None, "192.0.2.1", None),
            ("192.0.2.1", Some("198.51.100.9"), "192.0.2.1", None),
            ("::ffff:192.0.2.1", Some("198.51.100.9"), "192.0.2.1", None),
            // Without the header, or with an empty one, the proxy is the client.
            ("10.0.0.1", None, "10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1", Some(""), "10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1", Some(","), "10.0.0.1", Some("10.0.0.1")),
            (
                "10.0.0.1",
                Some("198.51.100.9"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            (
                "::ffff:10.0.0.1",
                Some("198.51.100.9"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            (
                "fd00::1",
                Some("[2001:db8::9]:5"),
                "2001:db8::9",
                Some("fd00::1"),
            ),
            // Through several proxies.
            (
                "10.0.0.1",
                Some("198.51.100.9, 10.0.0.2"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            (
                "10.0.0.1",
                Some("198.51.100.9, fd00::2,10.0.0.2"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            // Entries that the client sent are to the left of those that the proxies added.
            (
                "10.0.0.1",
                Some("127.0.0.1, 198.51.100.9"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            (
                "10.0.0.1",
                Some("10.0.0.2, 198.51.100.9"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            (
                "10.0.0.1",
                Some("127.0.0.1, 10.0.0.2, 198.51.100.9, 10.0.0.2"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            (
                "10.0.0.1",
                Some("\"; x, 198.51.100.9"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            // Entries to the left of an invalid one are not trusted.
            ("10.0.0.1", Some("unknown"), "10.0.0.1", Some("10.0.0.1")),
            (
                "10.0.0.1",
                Some("127.0.0.1, unknown"),
                "10.0.0.1",
                Some("10.0.0.1"),
            ),
            (
                "10.0.0.1",
                Some("127.0.0.1, unknown, 10.0.0.2"),
                "10.0.0.2",
                Some("10.0.0.1"),
            ),
            ("10.0.0.1", Some("127.0.0.1,"), "10.0.0.1", Some("10.0.0.1")),
            (
                "10.0.0.1",
                Some("127.0.0.1, , 10.0.0.2"),
                "10.0.0.2",
                Some("10.0.0.1"),
            ),
            // All entries are proxies: the leftmost one is the client.
            (
                "10.0.0.1",
                Some("10.0.0.3, 10.0.0.2"),
                "10.0.0.3",
                Some("10.0.0.1"),
            ),
            ("10.0.0.1", Some("10.0.0.1"), "10.0.0.1", Some("10.0.0.1")),
            // A chain longer than ENTRIES_MAX.
            (
                "10.0.0.1",
                Some(long.trim_end_matches(',')),
                "10.0.0.3",
                Some("10.0.0.1"),
            ),
        ] {
            let expected = ClientAddress {
                client: ip(client),
                via: via.map(ip),
            };
            assert_eq!(
                client_address(ip(peer), None, forwarded_for, is_trusted),
                expected,
                "{peer} {forwarded_for:?}"
            );
        }
    }

    #[test]
    fn a_proxy_header_comes_before_the_field() {
        for (peer, source, forwarded_for, client, via) in [
            (
                "10.0.0.1",
                "198.51.100.9",
                None,
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            // Behind a proxy that passes TLS through, the client itself writes the header.
            (
                "10.0.0.1",
                "198.51.100.9",
                Some("127.0.0.1"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            // One proxy passes TLS through for another proxy, which terminates it and adds the
            // header.
            (
                "10.0.0.1",
                "10.0.0.2",
                Some("127.0.0.1, 198.51.100.9"),
                "198.51.100.9",
                Some("10.0.0.1"),
            ),
            (
                "10.0.0.1",
                "::ffff:10.0.0.2",
                None,
                "10.0.0.2",
                Some("10.0.0.1"),
            ),
            // The PROXY header of an untrusted peer is not read; if it were, it would be ignored.
            (
                "192.0.2.1",
                "127.0.0.1",
                Some("127.0.0.1"),
                "192.0.2.1",
                None,
            ),
        ] {
            let expected = ClientAddress {
                client: ip(client),
                via: via.map(ip),
            };
            assert_eq!(
                client_address(ip(peer), Some(ip(source)), forwarded_for, is_trusted),
                expected,
                "{source}"
            );
        }
    }

    fn trusted() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
            any::<u64>()
                .prop_map(|low| IpAddr::V6(Ipv6Addr::from_bits(0xfd << 120 | u128::from(low)))),
        ]
    }

    fn untrusted() -> impl Strategy<Value = IpAddr> {
        any::<IpAddr>()
            .prop_map(|address| address.to_canonical())
            .prop_filter("a client", |address| {
                !is_trusted(*address) && !address.is_unspecified()
            })
    }

    /// The forms in which an address is written.
    fn written(address: IpAddr, form: u8, port: u16) -> String {
        match (form % 4, address) {
            (1, address) => SocketAddr::new(address, port).to_string(),
            (2, address) => format!(" \"{}\"", SocketAddr::new(address, port)),
            (3, IpAddr::V6(address)) => format!("\t[{address}] "),
            _ => format!(" {address}"),
        }
    }

    proptest! {
        /// The entries that the proxies add decide, whatever the client sends.
        #[test]
        fn a_spoofed_chain_ends_at_the_last_untrusted_hop(
            spoofed in "[ -~]{0,40}|((10\\.0\\.0\\.1|127\\.0\\.0\\.1|unknown|::1),){0,5}",
            client in untrusted(),
            proxies in proptest::collection::vec(trusted(), 1..6),
            form: u8,
            port: u16,
        ) {
            // Each proxy appends its peer; the last proxy is the peer of the connection.
            let (peer, others) = proxies.split_last().unwrap();
            let mut chain = vec![spoofed, written(client, form, port)];
            chain.extend(others.iter().map(|proxy| written(*proxy, form.wrapping_add(1), port)));
            let found = client_address(*peer, None, Some(&chain.join(",")), is_trusted);
            prop_assert_eq!(found, ClientAddress { client, via: Some(*peer) });
        }

        #[test]
        fn the_field_of_an_untrusted_peer_changes_nothing(peer in untrusted(), field in "\\PC{0,80}") {
            let found = client_address(peer, None, Some(&field), is_trusted);
            prop_assert_eq!(found, ClientAddress { client: peer, via: None });
        }

        #[test]
        fn any_text_names_the_peer_or_an_address_in_it(peer in trusted(), field in "[0-9a-f:., \\[\\]\"x]{0,60}") {
            let found = client_address(peer, None, Some(&field), is_trusted);
            let named = field.split(',').filter_map(address).any(|address| address == found.client);
            prop_assert!(named || found.client == peer);
            prop_assert_eq!(found.via, Some(peer));
        }
    }
}
