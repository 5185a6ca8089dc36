//! The network prefix that identifies one client.

use std::net::{IpAddr, Ipv6Addr};

/// The prefix that identifies one client: the /64 of an IPv6 address, since a subscriber gets at
/// least that (RFC 6177), or the IPv4 address. IPv4-mapped addresses count as IPv4.
pub(crate) fn client_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_address() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
            ("2001:db8:0:1::1", "2001:db8::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            assert_eq!(
                client_prefix(one.parse().unwrap()) == client_prefix(other.parse().unwrap()),
                same,
                "{one}"
            );
        }
    }
}
