//! The PROXY protocol header, versions 1 and 2, in which a load balancer names its client ahead of
//! everything else. Follows haproxy's `doc/proxy-protocol.txt`.
//!
//! Use this only on connections from trusted proxies: the header is an unproven claim.
//!
//! No crate follows that document. ppp 2.3, proxy-header 0.1, proxy-protocol 0.5 and
//! haproxy-protocol 0.0.4 ignore the checksum, accept extensions that run past the header, and
//! refuse LOCAL with an unassigned family. All but the first also misread version 1 lines, and
//! proxy-protocol panics on a wrong length.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Longest line of version 1, including CRLF (section 2.1).
pub(crate) const V1_MAX: usize = 107;

/// Longest header of version 2 to read. The length field allows 65 551 bytes, but the document
/// promises a single segment. 4096, the limit of nginx, leaves room for addresses and a client
/// certificate.
pub const V2_MAX: usize = 4096;

const V1_START: &[u8] = b"PROXY";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;
const TLV_CRC32C: u8 = 0x03;
const TLV_FIXED: usize = 3;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed, up to `V2_MAX` in all.
    Incomplete,
    /// Something else, for instance a ClientHello; all bytes belong to it.
    NotProxy,
    /// A complete header; TLS follows it.
    Header(Header),
}

/// A complete header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The client. `None` if the proxy acts for itself (LOCAL, as in a health check), or names
    /// nobody in terms of TCP (UNKNOWN, UNSPEC, Unix sockets, datagrams); then the addresses of the
    /// connection itself apply.
    pub source: Option<SocketAddr>,
    /// Length of the header, in bytes, to skip.
    pub len: usize,
}

/// Why a header is malformed. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// No CRLF within `V1_MAX` bytes, or a length above `V2_MAX`.
    TooLong,
    /// Bare CR or LF in a version 1 line.
    LineEnd,
    /// A version 1 line of another form.
    Line,
    /// A version 1 address or port in another notation than the document demands.
    Address,
    /// A version other than 2 after the signature, or an unassigned command.
    Command,
    /// An unassigned address family or transport.
    Family,
    /// Fewer bytes than the addresses of the family need.
    Length,
    /// Extensions that do not end with the header.
    Extension,
    /// The checksum does not match.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::TooLong => "longer than the protocol allows",
            Malformed::LineEnd => "CR or LF alone",
            Malformed::Line => "not of the form PROXY TCP4 source destination port port",
            Malformed::Address => "an address or a port that cannot be read",
            Malformed::Command => "an unknown version or command",
            Malformed::Family => "an unknown address family or transport",
            Malformed::Length => "too short for its addresses",
            Malformed::Extension => "extensions of wrong length",
            Malformed::Checksum => "a wrong checksum",
        })
    }
}

/// Parses the header at the start of `bytes`, the bytes received so far. Parsing again with more
/// bytes changes no answer other than [`Parsed::Incomplete`].
///
/// # Errors
/// When the bytes begin like a header but are malformed. The connection must be closed.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if bytes.starts_with(V2_SIGNATURE) {
        return v2(bytes);
    }
    if bytes.starts_with(V1_START) {
        return v1(bytes);
    }
    let may_become_one = V2_SIGNATURE.starts_with(bytes) || V1_START.starts_with(bytes);
    Ok(if may_become_one {
        Parsed::Incomplete
    } else {
        Parsed::NotProxy
    })
}

fn v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let window = bytes.get(..V1_MAX).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() < V1_MAX {
            Ok(Parsed::Incomplete)
        } else {
            Err(Malformed::TooLong)
        };
    };
    let (line, rest) = window.split_at(end);
    match rest {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if end + 1 < V1_MAX => return Ok(Parsed::Incomplete),
        [b'\r'] => return Err(Malformed::TooLong),
        _ => return Err(Malformed::LineEnd),
    }
    let line = line.strip_prefix(V1_START).unwrap_or_default();
    Ok(Parsed::Header(Header {
        source: v1_source(line)?,
        len: end + 2,
    }))
}

/// The client in the part of a line after `PROXY`.
fn v1_source(line: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    // Anything after UNKNOWN must be ignored, even if it is not text.
    if let Some([] | [b' ', ..]) = line.strip_prefix(b" UNKNOWN") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(Malformed::Line);
    if !word()?.is_empty() {
        return Err(Malformed::Line);
    }
    let family = word()?;
    let address = |text: &str| {
        let read = match family {
            "TCP4" => text.parse().map(IpAddr::V4),
            "TCP6" => text.parse().map(IpAddr::V6),
            _ => return Err(Malformed::Line),
        };
        read.map_err(|_| Malformed::Address)
    };
    let source = address(word()?)?;
    address(word()?)?;
    let source_port = port(word()?)?;
    port(word()?)?;
    match words.next() {
        None => Ok(Some(SocketAddr::new(source.to_canonical(), source_port))),
        Some(_) => Err(Malformed::Line),
    }
}

fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text == "0" || text.starts_with(|c: char| c.is_ascii_digit() && c != '0');
    text.parse()
        .ok()
        .filter(|_| is_plain)
        .ok_or(Malformed::Address)
}

fn v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    // Checks each byte as soon as it is there, to close a bad connection early.
    let Some(&command) = bytes.get(12) else {
        return Ok(Parsed::Incomplete);
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Command),
    };
    let Some(&family) = bytes.get(13) else {
        return Ok(Parsed::Incomplete);
    };
    if !is_local && (family >> 4 > 3 || family & 0xf > 2) {
        return Err(Malformed::Family);
    }
    let Some(&[high, low]) = bytes.get(14..V2_FIXED) else {
        return Ok(Parsed::Incomplete);
    };
    let len = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > V2_MAX {
        return Err(Malformed::TooLong);
    }
    // LOCAL ignores the family, and an unspecified family has addresses of unknown length.
    let addresses = match family >> 4 {
        _ if is_local => None,
        1 => Some(12),
        2 => Some(36),
        3 => Some(216),
        _ => None,
    };
    if addresses.is_some_and(|needed| len < V2_FIXED + needed) {
        return Err(Malformed::Length);
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(Parsed::Incomplete);
    };
    let Some(addresses) = addresses else {
        return Ok(Parsed::Header(Header { source: None, len }));
    };
    check_extensions(header, V2_FIXED + addresses)?;
    Ok(Parsed::Header(Header {
        source: v2_source(header, family),
        len,
    }))
}

fn v2_source(header: &[u8], family: u8) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes(*header.get(at..)?.first_chunk()?));
    let addresses = header.get(V2_FIXED..)?;
    // Source and destination address come first, then the ports in the same order.
    let (source, port) = match family {
        0x11 => (
            IpAddr::from(*addresses.first_chunk::<4>()?),
            port(V2_FIXED + 8)?,
        ),
        0x21 => (
            IpAddr::from(*addresses.first_chunk::<16>()?),
            port(V2_FIXED + 32)?,
        ),
        _ => return None,
    };
    Some(SocketAddr::new(source.to_canonical(), port))
}

/// Walks the extensions from `start` to the end of the header. None of them is used here, but a
/// checksum must be verified (section 2.2.3), and inconsistent lengths mean that sender and
/// receiver disagree about the end of the header.
fn check_extensions(header: &[u8], start: usize) -> Result<(), Malformed> {
    let mut at = start;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + TLV_FIXED) else {
            return Err(Malformed::Extension);
        };
        let value = at + TLV_FIXED;
        at = value + usize::from(u16::from_be_bytes([high, low]));
        let value = header.get(value..at).ok_or(Malformed::Extension)?;
        if kind == TLV_CRC32C {
            let sent: [u8; 4] = value.try_into().map_err(|_| Malformed::Extension)?;
            if u32::from_be_bytes(sent) != crc32c(header, at - 4..at) {
                return Err(Malformed::Checksum);
            }
        }
    }
    Ok(())
}

/// CRC32c (RFC 3720 appendix B.4) of `bytes`, with those in `zeroed` taken as zeros. Bit by bit,
/// since headers are short and checksums rare.
fn crc32c(bytes: &[u8], zeroed: std::ops::Range<usize>) -> u32 {
    let mut crc = u32::MAX;
    for (at, &byte) in bytes.iter().enumerate() {
        if !zeroed.contains(&at) {
            crc ^= u32::from(byte);
        }
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(source: Option<&str>, len: usize) -> Result<Parsed, Malformed> {
        Ok(Parsed::Header(Header {
            source: source.map(|source| source.parse().unwrap()),
            len,
        }))
    }

    fn v2_header(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &len, content].concat()
    }

    /// Addresses of version 2: source and destination in their order, then the ports.
    fn addresses(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        [
            octets(source.ip()),
            octets(destination.ip()),
            source.port().to_be_bytes().to_vec(),
            destination.port().to_be_bytes().to_vec(),
        ]
        .concat()
    }

    fn v4() -> Vec<u8> {
        addresses(
            "192.0.2.7:49152".parse().unwrap(),
            "198.51.100.1:8043".parse().unwrap(),
        )
    }

    fn v6() -> Vec<u8> {
        addresses(
            "[2001:db8::7]:49152".parse().unwrap(),
            "[2001:db8::1]:8043".parse().unwrap(),
        )
    }

    #[test]
    fn lines_of_version_1() {
        use Malformed::{Address, Line, LineEnd, TooLong};
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        assert_eq!(longest.len(), V1_MAX);
        for (line, expected) in [
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 49152 8043\r\n",
                header(Some("192.0.2.7:49152"), 46),
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                header(Some("255.255.255.255:65535"), 56),
            ),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 0 0\r\n",
                header(Some("192.0.2.7:0"), 39),
            ),
            (
                "PROXY TCP6 2001:DB8::7 ::1 1 2\r\n",
                header(Some("[2001:db8::7]:1"), 32),
            ),
            // inet_ntop writes mapped addresses like this.
            (
                "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n",
                header(Some("192.0.2.7:1"), 37),
            ),
            ("PROXY UNKNOWN\r\n", header(None, 15)),
            ("PROXY UNKNOWN \r\n", header(None, 16)),
            ("PROXY UNKNOWN what ever \u{e9}\r\n", header(None, 28)),
            (&longest, header(None, 107)),
            (&longest.replace("\r\n", "f\r\n"), Err(TooLong)),
            (&"PROXY TCP4 ".repeat(10), Err(TooLong)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n", Err(LineEnd)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\rx", Err(LineEnd)),
            ("PROXY UNKNOWN \n\r\n", Err(LineEnd)),
            ("PROXY\r\n", Err(Line)),
            ("PROXY \r\n", Err(Line)),
            ("PROXYTCP4 192.0.2.7 198.51.100.1 1 2\r\n", Err(Line)),
            ("PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n", Err(Line)),
            ("PROXY UNKNOWNS\r\n", Err(Line)),
            ("PROXY unknown\r\n", Err(Line)),
            ("PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", Err(Line)),
            ("PROXY TCP4\r\n", Err(Line)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n", Err(Line)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n", Err(Line)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n", Err(Line)),
            ("PROXY TCP4 192.0.2.7  198.51.100.1 1 2\r\n", Err(Address)),
            ("PROXY TCP4\t192.0.2.7 198.51.100.1 1 2\r\n", Err(Line)),
            ("PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", Err(Address)),
            ("PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n", Err(Address)),
            ("PROXY TCP4 192.0.2.7 198.51.100.256 1 2\r\n", Err(Address)),
            ("PROXY TCP4 2001:db8::7 ::1 1 2\r\n", Err(Address)),
            ("PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", Err(Address)),
            ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Err(Address)),
            ("PROXY TCP6 [::1] ::1 1 2\r\n", Err(Address)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", Err(Address)),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
                Err(Address),
            ),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n", Err(Address)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n", Err(Address)),
            ("PROXY TCP4 192.0.2.7 198.51.100.1  2\r\n", Err(Address)),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn blocks_of_version_2() {
        use Malformed::{Command, Extension, Family, Length, TooLong};
        let tlv = |content: &[u8]| [v4(), content.to_vec()].concat();
        let long = vec![0; V2_MAX - V2_FIXED];
        for (command, family, content, expected) in [
            (0x21, 0x11, v4(), header(Some("192.0.2.7:49152"), 28)),
            (0x21, 0x21, v6(), header(Some("[2001:db8::7]:49152"), 52)),
            // Datagram, Unix and unspecified addresses cannot be those of a TCP client, so the
            // header is accepted without an address.
            (0x21, 0x12, v4(), header(None, 28)),
            (0x21, 0x22, v6(), header(None, 52)),
            (0x21, 0x10, v4(), header(None, 28)),
            (0x21, 0x31, vec![b'/'; 216], header(None, 232)),
            (0x21, 0x32, vec![b'/'; 216], header(None, 232)),
            (0x21, 0x00, vec![], header(None, 16)),
            (0x21, 0x00, vec![9; 40], header(None, 56)),
            (0x21, 0x01, vec![9; 5], header(None, 21)),
            // LOCAL: the family is ignored, the length is not.
            (0x20, 0x00, vec![], header(None, 16)),
            (0x20, 0x11, v4(), header(None, 28)),
            (0x20, 0xff, vec![9; 3], header(None, 19)),
            (0x20, 0x00, long.clone(), header(None, V2_MAX)),
            (0x20, 0x00, [long.clone(), vec![0]].concat(), Err(TooLong)),
            (0x22, 0x11, v4(), Err(Command)),
            (0x2f, 0x00, vec![], Err(Command)),
            (0x11, 0x11, v4(), Err(Command)),
            (0x31, 0x11, v4(), Err(Command)),
            (0x00, 0x11, v4(), Err(Command)),
            (0x21, 0x41, v4(), Err(Family)),
            (0x21, 0xf0, v4(), Err(Family)),
            (0x21, 0x13, v4(), Err(Family)),
            (0x21, 0x11, v4()[..11].to_vec(), Err(Length)),
            (0x21, 0x11, vec![], Err(Length)),
            (0x21, 0x21, v6()[..35].to_vec(), Err(Length)),
            (0x21, 0x31, vec![b'/'; 215], Err(Length)),
            // Extensions: an ALPN, an authority, padding, and an unregistered type.
            (
                0x21,
                0x11,
                tlv(b"\x01\0\x08http/1.1"),
                header(Some("192.0.2.7:49152"), 39),
            ),
            (
                0x21,
                0x11,
                tlv(b"\x02\0\x05gw.la\x04\0\0\xee\0\x01x"),
                header(Some("192.0.2.7:49152"), 43),
            ),
            (0x21, 0x11, tlv(b"\x04"), Err(Extension)),
            (0x21, 0x11, tlv(b"\x04\0"), Err(Extension)),
            (0x21, 0x11, tlv(b"\x04\0\x01"), Err(Extension)),
            (0x21, 0x11, tlv(b"\x04\xff\xffxx"), Err(Extension)),
            (0x21, 0x11, tlv(b"\x03\0\x03abc"), Err(Extension)),
            (0x21, 0x11, tlv(b"\x03\0\x04abcd"), Err(Malformed::Checksum)),
        ] {
            let bytes = v2_header(command, family, &content);
            assert_eq!(
                parse(&bytes),
                expected,
                "{command:x} {family:x} {content:x?}"
            );
        }
    }

    #[test]
    fn a_checksum_that_fits_is_taken() {
        assert_eq!(crc32c(b"123456789", 0..0), 0xe306_9283);
        let mut bytes = v2_header(
            0x21,
            0x11,
            &[v4(), b"\x03\0\x04\0\0\0\0\x04\0\0".to_vec()].concat(),
        );
        let crc = crc32c(&bytes, 0..0);
        bytes[31..35].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(parse(&bytes), header(Some("192.0.2.7:49152"), 38));
        bytes[17] ^= 1;
        assert_eq!(parse(&bytes), Err(Malformed::Checksum));
    }

    #[test]
    fn what_begins_otherwise_is_not_for_us() {
        for (bytes, expected) in [
            (&b""[..], Parsed::Incomplete),
            (b"P", Parsed::Incomplete),
            (b"\r\n\r\n\0\r\nQUIT", Parsed::Incomplete),
            (b"\x16\x03\x01", Parsed::NotProxy),
            (b"\x16", Parsed::NotProxy),
            (b"POST / HTTP/1.1\r\n", Parsed::NotProxy),
            (b"proxy TCP4", Parsed::NotProxy),
            (b"GET / HTTP/1.1\r\n", Parsed::NotProxy),
            (b"\r\n\r\nGET", Parsed::NotProxy),
            (b" PROXY", Parsed::NotProxy),
            (b"\0", Parsed::NotProxy),
        ] {
            assert_eq!(parse(bytes), Ok(expected), "{bytes:x?}");
        }
    }

    /// Bytes similar to a header, and random ones.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let tail = || proptest::collection::vec(any::<u8>(), 0..64);
        let words = "(PROXY)?( (TCP4|TCP6|UNKNOWN|192.0.2.7|::1|0|65535|00|x)){0,7}(\r\n|\n|\r)?";
        let commands = prop_oneof![Just(0x20), Just(0x21), any::<u8>()];
        let families = prop_oneof![Just(0x11), Just(0x21), Just(0x31), Just(0), any::<u8>()];
        let block = (commands, families, tail()).prop_map(|(command, family, content)| {
            let longest = if family == 0x31 {
                [content.clone(), vec![0; 200]].concat()
            } else {
                content
            };
            v2_header(command, family, &longest)
        });
        let start = prop_oneof![words.prop_map(String::into_bytes), block, tail()];
        (start, tail()).prop_map(|(start, tail)| [start, tail].concat())
    }

    proptest! {
        #[test]
        fn the_answer_does_not_depend_on_how_the_bytes_come(bytes in bytes()) {
            let whole = parse(&bytes);
            let first = (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|read| *read != Ok(Parsed::Incomplete));
            prop_assert_eq!(first.unwrap_or(Ok(Parsed::Incomplete)), whole);
            if let Ok(Parsed::Header(header)) = whole {
                prop_assert!(header.len <= bytes.len() && header.len <= V2_MAX);
            }
            if whole == Ok(Parsed::Incomplete) {
                prop_assert!(bytes.len() < V2_MAX);
            }
        }

        #[test]
        fn what_is_written_is_read(
            source: (IpAddr, u16),
            destination: (IpAddr, u16),
            tail in proptest::collection::vec(any::<u8>(), 0..32),
        ) {
            let (source, destination) = (SocketAddr::from(source), SocketAddr::from(destination));
            let expected = SocketAddr::new(source.ip().to_canonical(), source.port());
            let family = if source.is_ipv4() { 4 } else { 6 };
            let same_family = source.is_ipv4() == destination.is_ipv4();
            let destination = if same_family { destination } else { source };
            let (from, to) = (source.ip(), destination.ip());
            let line = format!("PROXY TCP{family} {from} {to} {} {}\r\n", source.port(), destination.port());
            let block = v2_header(0x21, if family == 4 { 0x11 } else { 0x21 }, &addresses(source, destination));
            for header in [line.into_bytes(), block] {
                let read = parse(&[header.clone(), tail.clone()].concat());
                prop_assert_eq!(read, Ok(Parsed::Header(Header { source: Some(expected), len: header.len() })));
            }
        }
    }
}
