//! IP prefixes as in RFC 4632 and RFC 4291: `10.0.0.0/8`, `fd00::/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All addresses of one family that begin with the same bits. A single address is a prefix of full
/// length.
///
/// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`, RFC 4291 2.5.5.2) counts as the IPv4 address,
/// here and in [`contains`](Self::contains): which form the kernel reports depends only on the
/// socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpPrefix {
    network: IpAddr,
    length: u32,
}

impl IpPrefix {
    /// Reads `ADDRESS` or `ADDRESS/LENGTH`.
    ///
    /// # Errors
    /// What is wrong and what to write instead, as the predicate of a sentence about the quoted
    /// text. Bits set beyond the length are an error: either they or the length are not what was
    /// meant.
    pub(crate) fn parse(text: &str) -> Result<IpPrefix, String> {
        const NO_PREFIX: &str =
            "is not an address or a prefix; write for example 192.0.2.7 or 10.0.0.0/8";
        let (address, length) = text
            .split_once('/')
            .map_or((text, None), |(address, length)| (address, Some(length)));
        let written: IpAddr = address.parse().map_err(|_| NO_PREFIX)?;
        let bits = width(written);
        let length = match length {
            // The standard library would accept a plus sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|&length| length <= bits)
            }
            Some(_) => None,
            None => Some(bits),
        };
        let length =
            length.ok_or_else(|| format!("has no prefix length of 0 to {bits} after its slash"))?;
        let network = first(written, length);
        if network != written {
            return Err(format!(
                "has bits set beyond its length; write {network}/{length}"
            ));
        }
        // A prefix shorter than /96 also covers IPv6 addresses that are not mapped ones.
        let (network, length) = match network.to_canonical() {
            mapped if mapped != network && length >= 96 => (mapped, length - 96),
            _ => (network, length),
        };
        Ok(IpPrefix { network, length })
    }

    /// Whether the prefix covers the address. No IPv6 prefix covers an IPv4 address, not even
    /// `::/0`.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && first(address, self.length) == self.network
    }

    /// Whether it covers every address of its family.
    pub(crate) fn is_everyone(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.network)?;
        if self.length < width(self.network) {
            write!(f, "/{}", self.length)?;
        }
        Ok(())
    }
}

/// Length in bits of an address of this family.
fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() {
        Ipv4Addr::BITS
    } else {
        Ipv6Addr::BITS
    }
}

/// The address with all but its first `length` bits cleared.
fn first(address: IpAddr, length: u32) -> IpAddr {
    // In Rust a shift by the full width overflows; here it means an empty mask.
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(Ipv4Addr::BITS - length).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(Ipv6Addr::BITS - length).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_prefix_is_an_address_with_at_most_its_bits() {
        for (text, read) in [
            ("192.0.2.7", Ok("192.0.2.7")),
            ("192.0.2.7/32", Ok("192.0.2.7")),
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("FD00::/8", Ok("fd00::/8")),
            ("::1/128", Ok("::1")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("::ffff:192.0.2.7", Ok("192.0.2.7")),
            ("::ffff:0:0/96", Ok("0.0.0.0/0")),
            (
                "10.1.2.3/8",
                Err("has bits set beyond its length; write 10.0.0.0/8"),
            ),
            (
                "fd00::1/64",
                Err("has bits set beyond its length; write fd00::/64"),
            ),
            (
                "10.0.0.0/33",
                Err("has no prefix length of 0 to 32 after its slash"),
            ),
            (
                "10.0.0.0/",
                Err("has no prefix length of 0 to 32 after its slash"),
            ),
            (
                "10.0.0.0/+8",
                Err("has no prefix length of 0 to 32 after its slash"),
            ),
            (
                "10.0.0.0/255.0.0.0",
                Err("has no prefix length of 0 to 32 after its slash"),
            ),
            (
                "::/129",
                Err("has no prefix length of 0 to 128 after its slash"),
            ),
            (
                "balancer",
                Err("is not an address or a prefix; write for example 192.0.2.7 or 10.0.0.0/8"),
            ),
            (
                "10.0.0.0:8043",
                Err("is not an address or a prefix; write for example 192.0.2.7 or 10.0.0.0/8"),
            ),
            (
                "[::1]",
                Err("is not an address or a prefix; write for example 192.0.2.7 or 10.0.0.0/8"),
            ),
            (
                "",
                Err("is not an address or a prefix; write for example 192.0.2.7 or 10.0.0.0/8"),
            ),
        ] {
            let prefix = IpPrefix::parse(text).map(|prefix| prefix.to_string());
            assert_eq!(prefix.as_deref().map_err(String::as_str), read, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_holds_the_addresses_that_begin_with_its_bits_in_either_form() {
        for (prefix, address, contained) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("192.0.2.128/25", "192.0.2.128", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "192.0.2.1", false),
            ("::/0", "::ffff:192.0.2.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::", false),
            ("::1", "::1", true),
            ("::1", "::2", false),
        ] {
            let (prefix, address) = (IpPrefix::parse(prefix).unwrap(), address.parse().unwrap());
            assert_eq!(prefix.contains(address), contained, "{prefix} {address}");
        }
    }

    #[test]
    fn only_a_prefix_of_no_bits_is_everyone() {
        for (text, is_everyone) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("::ffff:0:0/96", true),
            ("0.0.0.0/1", false),
            ("::1", false),
        ] {
            let prefix = IpPrefix::parse(text).unwrap();
            assert_eq!(prefix.is_everyone(), is_everyone, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same_and_holds_its_own(bits: u128, length in 0_u32..=128, is_v4: bool) {
            let address = match is_v4 {
                true => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
                false => IpAddr::V6(Ipv6Addr::from_bits(bits)),
            };
            let length = length.min(width(address));
            let prefix = IpPrefix::parse(&format!("{}/{length}", first(address, length))).unwrap();
            prop_assert_eq!(IpPrefix::parse(&prefix.to_string()), Ok(prefix));
            prop_assert!(prefix.contains(address) || address.to_canonical().is_ipv4() != address.is_ipv4());
        }
    }
}
