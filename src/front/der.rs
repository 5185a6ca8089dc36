//! The subset of DER (X.690) that certificates and keys need: a sequence of elements, each with
//! tag, definite length and content.

/// The tags used in certificates and keys.
pub(super) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OBJECT_ID: u8 = 0x06;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;

    /// The context-specific constructed tag `[number]`.
    pub(crate) const fn context(number: u8) -> u8 {
        0xa0 | number
    }
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// The identifier octet. Tag numbers above 30 do not occur here.
    pub(super) tag: u8,
    /// Its content.
    pub(super) content: &'a [u8],
    /// All of it, including tag and length.
    pub(super) whole: &'a [u8],
}

/// How the bytes of a block differ from one whole element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// They do not start with the header of an element.
    NoElement,
    /// This many bytes are missing at the end.
    Missing(usize),
    /// This many bytes follow the end.
    Excess(usize),
}

/// Parses `bytes` as exactly one sequence.
///
/// # Errors
/// How the bytes differ from one.
pub(super) fn whole_sequence(bytes: &[u8]) -> Result<Element<'_>, Damage> {
    let (tag, length, content) = header(bytes).ok_or(Damage::NoElement)?;
    if tag != tag::SEQUENCE {
        return Err(Damage::NoElement);
    }
    match content.len() {
        found if found < length => Err(Damage::Missing(length - found)),
        found if found > length => Err(Damage::Excess(found - length)),
        _ => Ok(Element {
            tag,
            content,
            whole: bytes,
        }),
    }
}

/// Tag, content length, and the bytes after the header, which may be fewer than that.
fn header(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if first < 0x80 {
        return Some((tag, usize::from(first), rest));
    }
    // 0x80 is the indefinite form. Four octets can express more than any file to be read.
    let octets = usize::from(first & 0x7f);
    if !(1..=4).contains(&octets) {
        return None;
    }
    let (length, rest) = rest.split_at_checked(octets)?;
    let length = length
        .iter()
        .fold(0_u32, |sum, &octet| sum << 8 | u32::from(octet));
    Some((tag, usize::try_from(length).ok()?, rest))
}

/// Reads elements in sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the elements of `content`.
    pub(super) fn new(content: &'a [u8]) -> Reader<'a> {
        Reader(content)
    }

    /// The next element, if it is complete.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (tag, length, rest) = header(self.0)?;
        let (content, after) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - after.len())?;
        self.0 = after;
        Some(Element {
            tag,
            content,
            whole,
        })
    }

    /// The content of the next element, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag).map(|element| element.content)
    }

    /// The next element, if it has this tag. Otherwise it stays the next one.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.next().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }
}

/// The bits in the content of a BIT STRING, which must be whole octets.
pub(super) fn bits(content: &[u8]) -> Option<&[u8]> {
    content.strip_prefix(&[0])
}

/// The bit length of a non-negative INTEGER, without leading zeros.
pub(super) fn bit_length(content: &[u8]) -> usize {
    let zeros = content.iter().take_while(|octet| **octet == 0).count();
    let significant = content.get(zeros..).unwrap_or_default();
    let leading = significant
        .first()
        .map_or(0, |octet| octet.leading_zeros() as usize);
    significant.len() * 8 - leading
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sequence_that_is_cut_or_has_more_behind_it_says_by_how_much() {
        for (bytes, told) in [
            (&[0x30, 0][..], Ok(&[][..])),
            (&[0x30, 2, 5, 0], Ok(&[5, 0])),
            (&[0x30, 0x81, 2, 5, 0], Ok(&[5, 0])),
            (&[0x30, 2, 5], Err(Damage::Missing(1))),
            (&[0x30, 0x82, 1, 0], Err(Damage::Missing(256))),
            (&[0x30, 0, 1, 2, 3], Err(Damage::Excess(3))),
            (&[0x31, 0], Err(Damage::NoElement)),
            (&[0x30, 0x80, 0, 0], Err(Damage::NoElement)),
            (&[0x30, 0x85, 0, 0, 0, 0, 0], Err(Damage::NoElement)),
            (&[0x30, 0x82, 1], Err(Damage::NoElement)),
            (&[0x30], Err(Damage::NoElement)),
            (&[], Err(Damage::NoElement)),
        ] {
            assert_eq!(
                whole_sequence(bytes).map(|element| element.content),
                told,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn the_bits_of_a_number_are_counted_without_its_sign() {
        for (content, bits) in [
            (&[][..], 0),
            (&[0], 0),
            (&[1], 1),
            (&[0, 0x80], 8),
            (&[0x7f, 0xff], 15),
        ] {
            assert_eq!(bit_length(content), bits, "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end_and_no_further(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new(&bytes);
            let mut length = 0;
            while let Some(element) = reader.next() {
                prop_assert!(element.whole.ends_with(element.content));
                prop_assert_eq!(&bytes[length..length + element.whole.len()], element.whole);
                length += element.whole.len();
            }
            prop_assert!(length <= bytes.len());
        }
    }
}
