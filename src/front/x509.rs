//! The parts of a certificate (RFC 5280) that matter to operators: rustls serves a chain without
//! looking at most of it, and clients then reject it for reasons that only they know.
//!
//! This only reads a few facts and trusts none of them. rustls and the signatures decide whether a
//! certificate is valid.

use std::fmt;

use super::der::{self, Damage, Element, Reader, tag};

/// OIDs, as the content octets of their DER encoding.
pub(super) mod oid {
    pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    pub(crate) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
    pub(crate) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
    pub(crate) const ANY_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
    pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
}

/// The facts of one certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate<'a> {
    /// 1 to 3.
    pub(super) version: u8,
    /// The issuer's name, in DER.
    pub(super) issuer: &'a [u8],
    /// The subject's name, in DER.
    pub(super) subject: &'a [u8],
    /// The first moment of validity.
    pub(super) not_before: Time,
    /// The last moment of validity.
    pub(super) not_after: Time,
    /// The subject's key.
    pub(super) key: PublicKey<'a>,
    /// Whether it has a subjectAltName, the only name that clients compare (RFC 9525 6.3).
    pub(super) has_alt_name: bool,
    /// Whether servers may use it: it says so, or does not restrict its use.
    pub(super) is_for_servers: bool,
    /// The signed part.
    pub(super) signed: &'a [u8],
    /// Content of the signature's AlgorithmIdentifier.
    pub(super) signature_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// A SubjectPublicKeyInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// Content of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    /// The OID of the algorithm.
    pub(super) kind: &'a [u8],
    /// Its parameters, if there are any.
    pub(super) parameters: Option<Element<'a>>,
    /// The key itself.
    pub(super) bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Parses a SubjectPublicKeyInfo.
    pub(super) fn parse(der: &'a [u8]) -> Option<PublicKey<'a>> {
        PublicKey::from_content(der::whole_sequence(der).ok()?.content)
    }

    fn from_content(content: &'a [u8]) -> Option<PublicKey<'a>> {
        let mut info = Reader::new(content);
        let algorithm = info.expect(tag::SEQUENCE)?;
        let bits = der::bits(info.expect(tag::BIT_STRING)?)?;
        let mut parts = Reader::new(algorithm);
        Some(PublicKey {
            algorithm,
            kind: parts.expect(tag::OBJECT_ID)?,
            parameters: parts.next(),
            bits,
        })
    }
}

impl<'a> Certificate<'a> {
    /// Parses a certificate.
    ///
    /// # Errors
    /// How the certificate is damaged, as the predicate of a sentence.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Certificate<'a>, String> {
        let whole = der::whole_sequence(bytes).map_err(|damage| match damage {
            Damage::NoElement => "is damaged: its content is not a certificate".to_owned(),
            Damage::Missing(bytes) => {
                format!("is damaged: {bytes} bytes are missing, lines were lost")
            }
            Damage::Excess(bytes) => {
                format!("is damaged: {bytes} bytes are too many, lines were added")
            }
        })?;
        Certificate::facts(whole.content)
            .ok_or_else(|| "is damaged: its content is not a certificate".to_owned())
    }

    fn facts(content: &'a [u8]) -> Option<Certificate<'a>> {
        let mut outer = Reader::new(content);
        let signed = outer.optional(tag::SEQUENCE)?;
        let signature_algorithm = outer.expect(tag::SEQUENCE)?;
        let signature = der::bits(outer.expect(tag::BIT_STRING)?)?;

        let mut inner = Reader::new(signed.content);
        let version = match inner.expect(tag::context(0)) {
            Some(version) => match Reader::new(version).expect(tag::INTEGER)? {
                [number @ 0..=2] => number + 1,
                _ => return None,
            },
            None => 1,
        };
        let _serial = inner.expect(tag::INTEGER)?;
        let _algorithm = inner.expect(tag::SEQUENCE)?;
        let issuer = inner.expect(tag::SEQUENCE)?;
        let mut validity = Reader::new(inner.expect(tag::SEQUENCE)?);
        let not_before = Time::parse(validity.next()?)?;
        let not_after = Time::parse(validity.next()?)?;
        let subject = inner.expect(tag::SEQUENCE)?;
        let key = PublicKey::from_content(inner.expect(tag::SEQUENCE)?)?;

        let mut has_alt_name = false;
        let mut is_for_servers = true;
        // The unique identifiers [1] and [2] of version 2 may come before the extensions.
        while let Some(element) = inner.next() {
            if element.tag != tag::context(3) {
                continue;
            }
            let mut extensions = Reader::new(Reader::new(element.content).expect(tag::SEQUENCE)?);
            while let Some(extension) = extensions.expect(tag::SEQUENCE) {
                let mut extension = Reader::new(extension);
                let name = extension.expect(tag::OBJECT_ID)?;
                let _critical = extension.optional(tag::BOOLEAN);
                let value = extension.expect(tag::OCTET_STRING)?;
                if name == oid::SUBJECT_ALT_NAME {
                    has_alt_name = names_hosts(value)?;
                } else if name == oid::EXTENDED_KEY_USAGE {
                    is_for_servers = names_servers(value)?;
                }
            }
        }
        Some(Certificate {
            version,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            has_alt_name,
            is_for_servers,
            signed: signed.whole,
            signature_algorithm,
            signature,
        })
    }

    /// Whether it names itself as its issuer, as a root does.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// Whether a subjectAltName has a DNS name or an IP address (RFC 5280 4.2.1.6), the only kinds that
/// clients compare.
fn names_hosts(alt_name: &[u8]) -> Option<bool> {
    const DNS_NAME: u8 = 0x82;
    const IP_ADDRESS: u8 = 0x87;
    let mut names = Reader::new(Reader::new(alt_name).expect(tag::SEQUENCE)?);
    let mut names = std::iter::from_fn(|| names.next());
    Some(names.any(|name| [DNS_NAME, IP_ADDRESS].contains(&name.tag)))
}

fn names_servers(extended_key_usage: &[u8]) -> Option<bool> {
    let mut purposes = Reader::new(Reader::new(extended_key_usage).expect(tag::SEQUENCE)?);
    let mut purposes = std::iter::from_fn(|| purposes.expect(tag::OBJECT_ID));
    Some(purposes.any(|purpose| [oid::SERVER_AUTH, oid::ANY_KEY_USAGE].contains(&purpose)))
}

/// A time in a certificate, in UTC. Displayed as `2026-11-25 12:00:00 UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Time {
    /// Parses a UTCTime or GeneralizedTime, in the only form of each that RFC 5280 4.1.2.5 allows.
    fn parse(element: Element<'_>) -> Option<Time> {
        let digits = element
            .content
            .strip_suffix(b"Z")
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let (year, rest) = match (element.tag, digits.len()) {
            (tag::UTC_TIME, 12) => {
                let (year, rest) = digits.split_at_checked(2)?;
                let year = number(year);
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            (tag::GENERALIZED_TIME, 14) => {
                let (year, rest) = digits.split_at_checked(4)?;
                (number(year), rest)
            }
            _ => return None,
        };
        let pair = |index: usize| {
            rest.get(2 * index..2 * index + 2)
                .map(number)
                .and_then(|pair| u8::try_from(pair).ok())
        };
        let time = Time {
            year,
            month: pair(0)?,
            day: pair(1)?,
            hour: pair(2)?,
            minute: pair(3)?,
            second: pair(4)?,
        };
        let is_moment = (1..=12).contains(&time.month)
            && (1..=31).contains(&time.day)
            && time.hour < 24
            && time.minute < 60
            && time.second < 60;
        is_moment.then_some(time)
    }

    /// Seconds since 1970, negative before.
    pub(super) fn unix_seconds(self) -> i64 {
        // "Days from civil" (H. Hinnant): years begin in March, so that the leap day is the last
        // one.
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + day_of_year
            - 719_468;
        days * 86_400
            + i64::from(self.hour) * 3600
            + i64::from(self.minute) * 60
            + i64::from(self.second)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Time {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// The value of at most four digits.
fn number(digits: &[u8]) -> u16 {
    digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(tag: u8, text: &str) -> Option<Time> {
        Time::parse(Element {
            tag,
            content: text.as_bytes(),
            whole: &[],
        })
    }

    #[test]
    fn moments_are_read_and_counted_as_the_calendar_has_them() {
        for (tag, text, shown, seconds) in [
            (tag::UTC_TIME, "700101000000Z", "1970-01-01 00:00:00 UTC", 0),
            (
                tag::UTC_TIME,
                "691231235959Z",
                "1969-12-31 23:59:59 UTC",
                -1,
            ),
            (
                tag::UTC_TIME,
                "491231235959Z",
                "2049-12-31 23:59:59 UTC",
                2_524_607_999,
            ),
            (
                tag::UTC_TIME,
                "240229120000Z",
                "2024-02-29 12:00:00 UTC",
                1_709_208_000,
            ),
            (
                tag::GENERALIZED_TIME,
                "20000301000000Z",
                "2000-03-01 00:00:00 UTC",
                951_868_800,
            ),
            (
                tag::GENERALIZED_TIME,
                "99991231235959Z",
                "9999-12-31 23:59:59 UTC",
                253_402_300_799,
            ),
        ] {
            let time = time(tag, text).unwrap();
            assert_eq!(
                (time.to_string().as_str(), time.unix_seconds()),
                (shown, seconds),
                "{text}"
            );
        }
        for text in [
            "",
            "Z",
            "7001010000Z",
            "700101000000",
            "701301000000Z",
            "700132000000Z",
            "7001012400 0Z",
        ] {
            assert_eq!(time(tag::UTC_TIME, text), None, "{text}");
        }
        assert_eq!(time(tag::GENERALIZED_TIME, "20000301000000+0100"), None);
        assert_eq!(time(tag::INTEGER, "700101000000Z"), None);
    }

    fn made() -> (Vec<u8>, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (made.der().to_vec(), key.serialize_pem())
    }

    #[test]
    fn the_facts_of_a_certificate_are_those_it_was_made_with() {
        let (der, _) = made();
        let facts = Certificate::parse(&der).unwrap();
        assert_eq!(
            (facts.version, facts.has_alt_name, facts.is_for_servers),
            (3, true, true)
        );
        assert!(facts.is_self_issued());
        // The defaults of rcgen.
        assert_eq!(facts.not_before.to_string(), "1975-01-01 00:00:00 UTC");
        assert_eq!(facts.not_after.to_string(), "4096-01-01 00:00:00 UTC");
        assert_eq!(facts.key.kind, oid::EC);
    }

    #[test]
    fn the_purposes_and_names_of_a_certificate_are_told() {
        use rcgen::{ExtendedKeyUsagePurpose as Purpose, SanType};
        let key = rcgen::KeyPair::generate().unwrap();
        let email = SanType::Rfc822Name("a@example.org".try_into().unwrap());
        let address = SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        for (purposes, names, has_alt_name, is_for_servers) in [
            (vec![], vec![], false, true),
            (vec![Purpose::ServerAuth], vec![email.clone()], false, true),
            (
                vec![Purpose::ClientAuth],
                vec![address.clone()],
                true,
                false,
            ),
            (vec![Purpose::Any], vec![email, address], true, true),
            (
                vec![Purpose::ClientAuth, Purpose::ServerAuth],
                vec![],
                false,
                true,
            ),
        ] {
            let mut asked = rcgen::CertificateParams::default();
            asked.extended_key_usages.clone_from(&purposes);
            asked.subject_alt_names = names;
            let made = asked.self_signed(&key).unwrap();
            let facts = Certificate::parse(made.der()).unwrap();
            assert_eq!(
                (facts.has_alt_name, facts.is_for_servers),
                (has_alt_name, is_for_servers),
                "{purposes:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_is_refused_or_read_and_never_a_defect(
            at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>(),
        ) {
            let (mut der, _) = made();
            let length = der.len();
            der[at.index(length)] ^= 1 << bit;
            let _ = Certificate::parse(&der);
            prop_assert!(Certificate::parse(&der[..cut.index(length)]).is_err());
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Certificate::parse(&bytes);
            let _ = PublicKey::parse(&bytes);
        }
    }
}
