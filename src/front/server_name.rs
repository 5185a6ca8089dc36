//! Server names (RFC 6066 section 3) that rustls refuses.
//!
//! Some balancers and clients put something other than a DNS name into the server name: the Host
//! field with its port, a name in brackets, a wildcard, nothing. There is one certificate here, so
//! the name decides nothing, but rustls ends the handshake with `illegal_parameter` or
//! `decode_error` (rustls 0.23.46: `msgs/handshake.rs`, `HostNamePayload::read`; `server/hs.rs`,
//! `process_client_hello`), before a resolver of certificates is asked and within
//! `Acceptor::accept` as well. Its switch for this, `InvalidSniPolicy`, exists on the way to 0.24
//! only.
//!
//! To take the name out of the ClientHello is not enough: client and server must agree on every
//! byte of it, because both hash the handshake's messages (RFC 8446 section 4.4.1, RFC 5246 section
//! 7.4.9). Hence two halves:
//!
//! 1. [`examine`] looks at the raw ClientHello. If rustls would refuse the name, the type of the
//!    extension is to be replaced, in place, by one that is reserved for private use. rustls
//!    ignores extensions it does not know (RFC 8446 section 4.1.2 demands it), so it sees a client
//!    that sent no name.
//! 2. `tolerant_provider` gives cipher suites that hash the ClientHello with the type put back. So
//!    the transcript is that of the bytes the client has sent, and everything that protects the
//!    handshake stays as it is.
//!
//! Only connections with such a name get this provider; all others never meet any of it.

mod hello;
mod transcript;

use rustls::pki_types::ServerName;

use hello::{CLIENT_HELLO, HIDDEN, SERVER_NAME, extensions, message_length};
pub(crate) use transcript::tolerant_provider;

/// Longest ClientHello that is looked at, in bytes with its records. One with post-quantum key
/// shares has some 2 KB; a longer one than this goes to rustls as it is.
pub const HELLO_MAX: usize = 16 * 1024;
/// Longest name that is kept for the log, in bytes; a DNS name has no more than 255.
const NAME_MAX: usize = 255;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const RECORD_FIXED: usize = 5;

/// What the first bytes of a TLS connection ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// The ClientHello is not complete; no more than [`HELLO_MAX`] bytes are ever asked for.
    Incomplete,
    /// rustls is to judge the bytes as they are: a name it takes, no name, or no ClientHello at
    /// all.
    Unchanged,
    /// rustls would refuse the name.
    BadName(BadName),
}

/// A server name that rustls refuses, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    /// The name for the log, to be escaped; empty if unreadable.
    pub(crate) name: String,
    type_offsets: [usize; 2],
}

impl BadName {
    /// Makes the extension one that rustls ignores. `bytes` are those that were examined, in full
    /// or with more behind them; they may go to rustls then, on a connection with
    /// `tolerant_provider` and no other.
    pub fn hide(&self, bytes: &mut [u8]) {
        for (at, byte) in self.type_offsets.iter().zip(HIDDEN.to_be_bytes()) {
            if let Some(place) = bytes.get_mut(*at) {
                *place = byte;
            }
        }
    }
}

/// Looks at the first bytes a client sends, or at those after a HelloRetryRequest, when it sends
/// its ClientHello again: rustls says so by [`rustls::HandshakeKind::FullWithHelloRetryRequest`]
/// while still handshaking.
pub fn examine(bytes: &[u8]) -> Examined {
    let bytes = bytes.get(..HELLO_MAX).unwrap_or(bytes);
    // Handshake messages may be spread over records; where each byte of the message stands has to
    // be known.
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
            // Sent before the second ClientHello for the sake of middleboxes (RFC 8446 appendix
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
            // What a client must not send twice, or sends of our own, is left to rustls.
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

/// Whether rustls takes the content of a server name extension; the same steps as its own.
fn is_taken(content: &[u8]) -> bool {
    let Some((length, mut list)) = content.split_first_chunk() else {
        return false;
    };
    if list.is_empty() || list.len() != usize::from(u16::from_be_bytes(*length)) {
        return false;
    }
    let mut names = 0;
    // The form of a name of another type is unknown, and so is what follows it.
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

/// A name with its length before it, which must not be 0.
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
