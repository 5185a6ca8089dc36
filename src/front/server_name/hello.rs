//! The structure of a ClientHello, as far as needed. It is validated by rustls.

/// The type of the message.
pub(super) const CLIENT_HELLO: u8 = 1;
/// The type of the extension.
pub(super) const SERVER_NAME: u16 = 0;
/// The type it gets instead: reserved for private use (IANA, TLS ExtensionType Values: 0xff00 and
/// above), and sent by nobody known.
pub(super) const HIDDEN: u16 = 0xff53;
/// Type and length of a handshake message.
pub(super) const MESSAGE_FIXED: usize = 4;

/// The whole length of the message that begins here.
pub(super) fn message_length(message: &[u8]) -> Option<usize> {
    let [_, high, middle, low] = *message.first_chunk()?;
    usize::try_from(u32::from_be_bytes([0, high, middle, low]))
        .ok()
        .map(|length| MESSAGE_FIXED + length)
}

/// An extension of a ClientHello.
pub(super) struct Extension<'a> {
    /// Where it begins in the message.
    pub(super) offset: usize,
    pub(super) kind: u16,
    /// As much of it as there is.
    pub(super) content: &'a [u8],
}

/// The extensions of a ClientHello, as far as the message goes: for the binders of a resumption its
/// end is left out.
pub(super) fn extensions(message: &[u8]) -> impl Iterator<Item = Extension<'_>> {
    let mut at = first_extension(message).unwrap_or(message.len());
    std::iter::from_fn(move || {
        let [kind_high, kind_low, high, low] = *message.get(at..)?.first_chunk()?;
        let start = at + 4;
        let end = start + usize::from(u16::from_be_bytes([high, low]));
        let content = message.get(start..end.min(message.len()))?;
        let extension = Extension {
            offset: at,
            kind: u16::from_be_bytes([kind_high, kind_low]),
            content,
        };
        at = end;
        Some(extension)
    })
}

/// Where the extensions begin: behind version, random, session id, cipher suites, compression
/// methods and their own length (RFC 8446 section 4.1.2).
pub(super) fn first_extension(message: &[u8]) -> Option<usize> {
    let short = |at: usize| message.get(at).map(|&length| at + 1 + usize::from(length));
    let long = |at: usize| {
        let length: &[u8; 2] = message.get(at..)?.first_chunk()?;
        Some(at + 2 + usize::from(u16::from_be_bytes(*length)))
    };
    let session_id = MESSAGE_FIXED + 2 + 32;
    let compression = long(short(session_id)?)?;
    Some(short(compression)? + 2)
}
