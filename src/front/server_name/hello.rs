//! The structure of a ClientHello, as far as needed. rustls does the validation.

/// The message type of a ClientHello.
pub(super) const CLIENT_HELLO: u8 = 1;
/// The extension type of the server name.
pub(super) const SERVER_NAME: u16 = 0;
/// The type that hides it: reserved for private use (IANA, TLS ExtensionType Values: 0xff00 and
/// above), and not used by any known client.
pub(super) const HIDDEN: u16 = 0xff53;
/// Length of the header of a handshake message: type and length.
pub(super) const MESSAGE_FIXED: usize = 4;

/// The length of the message that starts here, including its header.
pub(super) fn message_length(message: &[u8]) -> Option<usize> {
    let [_, high, middle, low] = *message.first_chunk()?;
    usize::try_from(u32::from_be_bytes([0, high, middle, low]))
        .ok()
        .map(|length| MESSAGE_FIXED + length)
}

/// An extension of a ClientHello.
pub(super) struct Extension<'a> {
    /// Its offset in the message.
    pub(super) offset: usize,
    pub(super) kind: u16,
    /// Its content, possibly truncated.
    pub(super) content: &'a [u8],
}

/// The extensions of a ClientHello, which may be truncated: the binders of a resumption hash it
/// without its end.
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

/// Offset of the first extension: after version, random, session id, cipher suites, compression
/// methods and the length of the extensions (RFC 8446 section 4.1.2).
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
