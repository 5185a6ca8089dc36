//! Server names (RFC 6066 section 3) that rustls refuses.
//!
//! Some balancers and clients put something other than a DNS name into the server name: the Host
//! field with its port, a name in brackets, a wildcard, nothing. There is only one certificate, so
//! the name does not matter here, but rustls aborts the handshake with `illegal_parameter` or
//! `decode_error` (rustls 0.23.46: `msgs/handshake.rs`, `HostNamePayload::read`; `server/hs.rs`,
//! `process_client_hello`), before it asks the certificate resolver, and in `Acceptor::accept` as
//! well. Its switch for this, `InvalidSniPolicy`, will only come with 0.24.
//!
//! Removing the name from the ClientHello is not enough: client and server must agree on every byte
//! of it, because both hash the handshake messages (RFC 8446 section 4.4.1, RFC 5246 section
//! 7.4.9). So there are two parts:
//!
//! 1. [`examine`] parses the raw ClientHello. If rustls would refuse the name, [`BadName::hide`]
//!    changes the type of the extension, in place, to one reserved for private use. rustls ignores
//!    unknown extensions, as RFC 8446 section 4.1.2 demands, so it sees a client that sent no name.
//! 2. `tolerant_provider` has cipher suites that restore the type before they hash the ClientHello.
//!    So the transcript is of the bytes that the client sent, and the handshake is as well
//!    protected as ever.
//!
//! Only connections with such a name use this provider.

mod hello;
mod transcript;

use rustls::pki_types::ServerName;

use hello::{CLIENT_HELLO, HIDDEN, SERVER_NAME, extensions, message_length};
pub(crate) use transcript::tolerant_provider;

/// Longest ClientHello to examine, in bytes including record headers. One with post-quantum key
/// shares has some 2 KB. A longer one than this goes to rustls unchanged.
pub const HELLO_MAX: usize = 16 * 1024;
/// Longest name to keep for the log, in bytes; DNS names have at most 255.
const NAME_MAX: usize = 255;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const RECORD_FIXED: usize = 5;

/// The result of examining the first bytes of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// The ClientHello is incomplete. More bytes are needed, up to [`HELLO_MAX`] in all.
    Incomplete,
    /// The bytes go to rustls unchanged: a name it accepts, no name, or no ClientHello at all.
    Unchanged,
    /// rustls would refuse the name.
    BadName(BadName),
}

/// A server name that rustls refuses, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    /// The name, not escaped; empty if unreadable.
    pub(crate) name: String,
    type_offsets: [usize; 2],
}

impl BadName {
    /// Changes the extension into one that rustls ignores. `bytes` are those that were examined,
    /// possibly with more after them. They may then go to rustls, but only on a connection with
    /// `tolerant_provider`.
    pub fn hide(&self, bytes: &mut [u8]) {
        for (at, byte) in self.type_offsets.iter().zip(HIDDEN.to_be_bytes()) {
            if let Some(place) = bytes.get_mut(*at) {
                *place = byte;
            }
        }
    }
}

/// Examines the first bytes from a client, or those after a HelloRetryRequest, which contain
/// another ClientHello. rustls indicates the latter by
/// [`rustls::HandshakeKind::FullWithHelloRetryRequest`] while still handshaking.
pub fn examine(bytes: &[u8]) -> Examined {
    let bytes = bytes.get(..HELLO_MAX).unwrap_or(bytes);
    // A handshake message may span records, so the position of each byte of the message is needed.
    let mut message: Vec<u8> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    let mut at = 0;
    loop {
        if let Some(length) = message_length(&message) {
            if message.first() != Some(&CLIENT_HELLO) || length > HELLO_MAX {
                return Examined::Unchanged;
            }
            if message.len() >= length {
                message.truncate(length);
                return bad_name(&message, &places).map_or(Examined::Unchanged, Examined::BadName);
            }
        }
        let Some(&[kind, major, _, high, low]) = bytes.get(at..at + RECORD_FIXED) else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let content = at + RECORD_FIXED;
        at = content + length;
        match kind {
            // Sent before the second ClientHello for middlebox compatibility (RFC 8446 appendix
            // D.4).
            CHANGE_CIPHER_SPEC if message.is_empty() && length == 1 => {}
            HANDSHAKE if major == 3 && length > 0 => {
                let end = at.min(bytes.len());
                message.extend_from_slice(bytes.get(content..end).unwrap_or_default());
                places.extend(content..end);
            }
            _ => return Examined::Unchanged,
        }
    }
    let begins_otherwise = bytes
        .first()
        .is_some_and(|kind| ![CHANGE_CIPHER_SPEC, HANDSHAKE].contains(kind));
    if begins_otherwise || bytes.len() == HELLO_MAX {
        Examined::Unchanged
    } else {
        Examined::Incomplete
    }
}

fn bad_name(message: &[u8], places: &[usize]) -> Option<BadName> {
    let mut found = None;
    for extension in extensions(message) {
        match extension.kind {
            // A repeated name, or our own private type, is left to rustls.
            SERVER_NAME if found.is_some() => return None,
            HIDDEN => return None,
            SERVER_NAME => found = Some(extension),
            _ => {}
        }
    }
    let extension = found?;
    if is_taken(extension.content) {
        return None;
    }
    let type_offsets = [
        *places.get(extension.offset)?,
        *places.get(extension.offset + 1)?,
    ];
    Some(BadName {
        name: shown(extension.content),
        type_offsets,
    })
}

/// Whether rustls accepts the content of a server name extension; follows its steps.
fn is_taken(content: &[u8]) -> bool {
    let Some((length, mut list)) = content.split_first_chunk() else {
        return false;
    };
    if list.is_empty() || list.len() != usize::from(u16::from_be_bytes(*length)) {
        return false;
    }
    let mut names = 0;
    // Names of other types have an unknown format, so parsing stops at one.
    while let [0, rest @ ..] = list {
        let Some((name, rest)) = split_name(rest) else {
            return false;
        };
        names += 1;
        if names > 1 || ServerName::try_from(name).is_err() {
            return false;
        }
        list = rest;
    }
    names == 1
}

/// Splits off a name with a length prefix, which must not be 0.
fn split_name(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = list.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    rest.split_at_checked(length).filter(|_| length > 0)
}

/// The first name, as text.
fn shown(content: &[u8]) -> String {
    let first = content.get(3..).and_then(split_name);
    let name = first.map_or(&[][..], |(name, _)| name);
    String::from_utf8_lossy(name.get(..NAME_MAX).unwrap_or(name)).into_owned()
}

#[cfg(test)]
mod tests;
