//! Connection limits per network.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv6 site has at least a /64, often a /56 or /48 (RFC 6177), and any number of addresses in
/// it.
const V6_PREFIXES: [u8; 3] = [64, 56, 48];
/// Tables are not shrunk below this capacity, some 2 KB.
const CAPACITY_MIN: usize = 64;

/// Counts connections by network, and enforces a limit for each.
///
/// With a limit of L for an address and M connections in all:
///
/// | network | limit |
/// | --- | --- |
/// | IPv4 address, IPv6 /64 | L |
/// | IPv6 /56 | twice L, at most halfway from L to M |
/// | IPv6 /48 | four times L, at most three quarters of the way from L to M |
///
/// A larger network may have more connections, since there are more people behind it, but no
/// network can take all of them as long as L is below M. Each operation costs one table lookup for
/// IPv4, three for IPv6. Memory is proportional to the current connections.
///
/// The connection of a trusted proxy must not be counted before its client is known.
#[derive(Debug)]
pub(super) struct AddressLimits {
    limits: [u32; V6_PREFIXES.len()],
    counts: HashMap<Network, u32>,
}

/// A network whose connections are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network {
    base: IpAddr,
    prefix: u8,
}

/// A network that has reached its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NetworkFull {
    /// The smallest such network.
    pub(super) network: Network,
    /// Its limit, in connections.
    pub(super) limit: u32,
}

impl fmt::Display for Network {
    /// An IPv4 address, or an IPv6 prefix with its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/{}", self.prefix),
        }
    }
}

impl AddressLimits {
    /// Without connections. `per_address` is MAX_CONNECTIONS_PER_ADDRESS, `max` is MAX_CONNECTIONS.
    pub(super) fn new(per_address: u32, max: u32) -> AddressLimits {
        let address = per_address.min(max);
        let rest = max - address;
        let site = address.saturating_mul(2).min(address + rest / 2);
        let sites = address.saturating_mul(4).min(address + rest / 4 * 3);
        // Rounding must not lower the limit of the larger network.
        AddressLimits {
            limits: [address, site, sites.max(site)],
            counts: HashMap::new(),
        }
    }

    /// Counts a connection from this address.
    ///
    /// # Errors
    /// The smallest network of the address that is full. Nothing is counted then.
    pub(super) fn insert(&mut self, address: IpAddr) -> Result<(), NetworkFull> {
        for (network, limit) in networks(address).zip(self.limits) {
            if self.count(network) >= limit {
                return Err(NetworkFull { network, limit });
            }
        }
        for network in networks(address) {
            *self.counts.entry(network).or_default() += 1;
        }
        Ok(())
    }

    /// Undoes [`AddressLimits::insert`] for a connection from this address; no effect if none was
    /// counted.
    pub(super) fn remove(&mut self, address: IpAddr) {
        for network in networks(address) {
            if let Some(count) = self.counts.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&network);
                }
            }
        }
        // Releases memory after a flood, in large steps, so that the cost stays proportional to the
        // removals.
        if self.counts.capacity() > CAPACITY_MIN && self.counts.len() < self.counts.capacity() / 8 {
            self.counts
                .shrink_to((self.counts.len() * 2).max(CAPACITY_MIN / 2));
        }
    }

    fn count(&self, network: Network) -> u32 {
        self.counts.get(&network).copied().unwrap_or(0)
    }
}

/// The networks that an address counts towards, smallest first.
fn networks(address: IpAddr) -> impl Iterator<Item = Network> {
    let address = address.to_canonical();
    let prefixes = if address.is_ipv4() {
        &[32][..]
    } else {
        &V6_PREFIXES[..]
    };
    prefixes.iter().map(move |&prefix| {
        let base = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
                address.to_bits() & (u128::MAX << (128 - u32::from(prefix))),
            )),
        };
        Network { base, prefix }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(limits: &mut AddressLimits, address: &str, count: usize) -> Result<(), NetworkFull> {
        (0..count).try_for_each(|_| limits.insert(address.parse().unwrap()))
    }

    #[test]
    fn larger_networks_may_have_more_and_none_all() {
        for (per_address, max, expected) in [
            (5_000, 10_000, [5_000, 7_500, 8_750]),
            (128, 1_024, [128, 256, 512]),
            (1, 10, [1, 2, 4]),
            (1, 2, [1, 1, 1]),
            (1, 1, [1, 1, 1]),
            (9, 10, [9, 9, 9]),
            (7, 10, [7, 8, 8]),
            (10, 10, [10, 10, 10]),
            (20, 10, [10, 10, 10]),
            (u32::MAX, u32::MAX, [u32::MAX; 3]),
        ] {
            assert_eq!(
                AddressLimits::new(per_address, max).limits,
                expected,
                "{per_address} {max}"
            );
        }
    }

    #[test]
    fn the_smallest_full_network_is_named() {
        let mut limits = AddressLimits::new(2, 100);
        fill(&mut limits, "192.0.2.1", 2).unwrap();
        for (address, full) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.2", None),
            ("2001:db8:0:1::1", None),
            ("2001:db8:0:1:2:3:4:5", None),
            ("2001:db8:0:1::9", Some("2001:db8:0:1::/64")),
            ("2001:db8:0:2::1", None),
            ("2001:db8:0:ff::1", None),
            ("2001:db8:0:ff::1", Some("2001:db8::/56")),
            ("2001:db8:0:100::1", None),
            ("2001:db8:0:200::1", None),
            ("2001:db8:0:300::1", None),
            ("2001:db8:0:400::1", None),
            ("2001:db8:0:500::1", Some("2001:db8::/48")),
            ("2001:db8:1::1", None),
        ] {
            let refused = limits.insert(address.parse().unwrap()).err();
            assert_eq!(
                refused.map(|full| full.network.to_string()).as_deref(),
                full,
                "{address}"
            );
        }
    }

    #[test]
    fn a_refusal_counts_nothing_and_memory_goes_back() {
        let mut limits = AddressLimits::new(1, 1_000_000);
        let address = |n: u32| IpAddr::V4(n.into());
        for n in 0..50_000 {
            limits.insert(address(n)).unwrap();
            assert!(limits.insert(address(n)).is_err());
        }
        for n in 0..50_000 {
            limits.remove(address(n));
        }
        assert!(limits.counts.is_empty());
        assert!(
            limits.counts.capacity() <= 2 * CAPACITY_MIN,
            "{}",
            limits.counts.capacity()
        );
        limits.remove(address(1));
        assert!(limits.insert(address(1)).is_ok());
    }

    /// Addresses that often share a prefix of each length.
    fn addresses() -> impl Strategy<Value = IpAddr> {
        let v6 = (0..2u16, 0..3u16, 0..3u16, any::<u16>()).prop_map(|(site, high, low, host)| {
            IpAddr::V6(Ipv6Addr::new(
                0x2001,
                0xdb8,
                site,
                high << 8 | low,
                0,
                0,
                0,
                host,
            ))
        });
        prop_oneof![
            v6,
            (0..4u8).prop_map(|host| IpAddr::from([192, 0, 2, host]))
        ]
    }

    /// A naive count: those of `present` in the same network.
    fn fits(present: &[IpAddr], address: IpAddr, per_address: u32, max: u32) -> bool {
        let limits = AddressLimits::new(per_address, max).limits;
        let same = |bits: u32, other: &IpAddr| match (address, *other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => one == other,
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                one.to_bits() >> (128 - bits) == other.to_bits() >> (128 - bits)
            }
            _ => false,
        };
        let count =
            |bits| u32::try_from(present.iter().filter(|other| same(bits, other)).count()).unwrap();
        count(64) < limits[0]
            && (address.is_ipv4() || count(56) < limits[1] && count(48) < limits[2])
    }

    proptest! {
        #[test]
        fn it_counts_as_one_would_by_hand(
            per_address in 1..6u32,
            max in 1..40u32,
            steps in proptest::collection::vec((addresses(), any::<Option<proptest::sample::Index>>()), 0..200),
        ) {
            let mut limits = AddressLimits::new(per_address, max);
            let mut present: Vec<IpAddr> = Vec::new();
            for (address, leaves) in steps {
                match leaves {
                    Some(index) if !present.is_empty() => {
                        let gone = present.swap_remove(index.index(present.len()));
                        limits.remove(gone);
                    }
                    _ => {
                        let fits = fits(&present, address, per_address, max);
                        prop_assert_eq!(limits.insert(address).is_ok(), fits, "{}", address);
                        if fits {
                            present.push(address);
                        }
                    }
                }
            }
            for address in present {
                limits.remove(address);
            }
            prop_assert!(limits.counts.is_empty());
        }
    }
}
