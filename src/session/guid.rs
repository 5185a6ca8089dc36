//! Guids, the secrets that identify a signed-in agent, and the fingerprints kept in the table.

use std::fmt;

use aws_lc_rs::digest;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::hex;

/// Longest accepted Guid header, in characters; UUID and dot leave 91 for the suffix.
pub(crate) const GUID_CHARS_MAX: usize = 128;

/// The secret of one sign-in or renewal: `<uuid v4 in lower-case hex>.<suffix>`.
///
/// Lives only until the reply that carries it is made; the table keeps its [`Fingerprint`].
pub(crate) struct Guid {
    text: Zeroizing<String>,
}

impl Guid {
    /// A new Guid with 122 random bits from the system generator.
    ///
    /// `suffix` is `<SERVER_NAME><NODE_INDEX>` without the dot. It must be `[0-9a-zA-Z.-]` only:
    /// vendor clients strip `:` and `=` from a Guid and normalise the rest before sending it.
    pub(crate) fn generate(suffix: &str) -> Result<Guid, getrandom::Error> {
        let mut random = Zeroizing::new([0_u8; 16]);
        getrandom::fill(random.as_mut_slice())?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *random;
        // RFC 9562, section 5.4: four bits name the version, two the variant.
        let (g, i) = (g & 0x0f | 0x40, i & 0x3f | 0x80);
        let groups: [&[u8]; 5] = [
            &[a, b, c, d],
            &[e, f],
            &[g, h],
            &[i, j],
            &[k, l, m, n, o, p],
        ];
        // Full capacity: growing would leave copies of the secret in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(37 + suffix.len()));
        for (place, group) in groups.into_iter().enumerate() {
            if place > 0 {
                text.push('-');
            }
            hex::push(&mut text, group);
        }
        text.push('.');
        text.push_str(suffix);
        Ok(Guid { text })
    }

    /// The secret, only for the reply to its client.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_text(&self.text)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guid(secret)")
    }
}

/// SHA-256 of a Guid or download token, compared in constant time.
///
/// Both are random enough for a plain hash, and a leaked table does not reveal them.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a client's `Guid` header.
    ///
    /// `None`, to be treated as a missing header, if it is blank (vendor clients send `""` when
    /// they have no Guid), longer than [`GUID_CHARS_MAX`], or has a character outside
    /// `[0-9a-zA-Z.-]`.
    pub(crate) fn from_header(value: &str) -> Option<Fingerprint> {
        let text = value.trim_matches([' ', '\t']);
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
        (plain && (1..=GUID_CHARS_MAX).contains(&text.len())).then(|| Fingerprint::from_text(text))
    }

    /// The fingerprint of any secret text.
    pub(super) fn from_text(text: &str) -> Fingerprint {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Fingerprint(hash)
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Fingerprint) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Fingerprint {}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_guid_is_a_version_4_uuid_and_the_suffix() {
        for _ in 0..200 {
            let guid = Guid::generate("AgentGateway0").unwrap();
            let (uuid, suffix) = guid.expose().split_once('.').unwrap();
            assert_eq!(suffix, "AgentGateway0");
            assert_eq!(
                uuid.split('-').map(str::len).collect::<Vec<_>>(),
                [8, 4, 4, 4, 12]
            );
            assert!(
                uuid.bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')),
                "{uuid}"
            );
            assert_eq!(uuid.as_bytes()[14], b'4');
            assert!(
                matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
                "{uuid}"
            );
        }
    }

    #[test]
    fn guids_do_not_repeat() {
        let guids: HashSet<String> = (0..1000)
            .map(|_| Guid::generate("a").unwrap().expose().to_owned())
            .collect();
        assert_eq!(guids.len(), 1000);
    }

    #[test]
    fn the_header_of_a_guid_has_its_fingerprint() {
        let guid = Guid::generate("AgentGateway0").unwrap();
        let other = Guid::generate("AgentGateway0").unwrap();
        assert_eq!(
            Fingerprint::from_header(guid.expose()),
            Some(guid.fingerprint())
        );
        assert_eq!(
            Fingerprint::from_header(&format!(" \t{} ", guid.expose())),
            Some(guid.fingerprint())
        );
        assert_ne!(
            Fingerprint::from_header(&guid.expose().to_uppercase()),
            Some(guid.fingerprint())
        );
        assert_ne!(other.fingerprint(), guid.fingerprint());
    }

    #[test]
    fn a_header_that_can_be_no_guid_counts_as_missing() {
        let long = "a".repeat(GUID_CHARS_MAX + 1);
        for value in [
            "",
            " ",
            "\t \t",
            "JSESSIONID=a",
            "a b",
            "a;b",
            "a:b",
            "\"a\"",
            "a\u{e9}",
            "a\r\n",
            "a\0",
            &long,
        ] {
            assert_eq!(Fingerprint::from_header(value), None, "{value:?}");
        }
        assert!(Fingerprint::from_header(&long[1..]).is_some());
    }

    #[test]
    fn neither_a_guid_nor_its_fingerprint_shows_itself_in_logs() {
        let guid = Guid::generate("AgentGateway0").unwrap();
        assert_eq!(
            format!("{guid:?} {:?}", guid.fingerprint()),
            "Guid(secret) Fingerprint(..)"
        );
    }

    proptest! {
        #[test]
        fn any_header_is_survived(value in any::<String>()) {
            let _ = Fingerprint::from_header(&value);
        }
    }
}
