//! The copy of a client's request that is forwarded to tiny_http, which reads nothing else.

use std::io::Write as _;

use crate::api::{Headers, Method, SlotId};

/// The header that names the client's slot.
pub(super) const SLOT_HEADER: &str = "X-Slot";

/// A request that the front has read completely and checked, reduced to what is forwarded.
#[derive(Debug)]
pub(crate) struct ForwardedRequest {
    pub(crate) method: Method,
    /// Path and query in origin form; printable ASCII without spaces.
    pub(crate) target: String,
    /// The headers the interfaces read; printable ASCII.
    pub(crate) headers: Headers,
    /// The content, at most 64 KiB, however the client framed it.
    pub(crate) body: Vec<u8>,
}

impl ForwardedRequest {
    /// Appends the request of the client in `slot` to `out`.
    pub(super) fn write(&self, slot: SlotId, out: &mut Vec<u8>) {
        let SlotId { index, generation } = slot;
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "{} {} HTTP/1.1\r\n{SLOT_HEADER}: {index}.{generation}\r\n",
            self.method.name(),
            self.target
        );
        for (header, value) in self.headers.present() {
            let _ = write!(out, "{}: {value}\r\n", header.name());
        }
        if !self.body.is_empty() {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }
}

/// Parses the value of [`SLOT_HEADER`].
pub(super) fn parse_slot(text: &str) -> Option<SlotId> {
    let (index, generation) = text.split_once('.')?;
    Some(SlotId {
        index: index.parse().ok()?,
        generation: generation.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::HeaderName;

    #[test]
    fn only_the_known_headers_and_one_length_are_written() {
        let mut headers = Headers::default();
        headers.add(HeaderName::Guid, "abc.AgentGateway0");
        let request = ForwardedRequest {
            method: Method::Put,
            target: "/a?b=c".into(),
            headers,
            body: b"{}".to_vec(),
        };
        let mut out = b"before".to_vec();
        request.write(
            SlotId {
                index: 3,
                generation: 9,
            },
            &mut out,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "beforePUT /a?b=c HTTP/1.1\r\nX-Slot: 3.9\r\nGuid: abc.AgentGateway0\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn a_request_without_content_carries_no_length() {
        let request = ForwardedRequest {
            method: Method::Get,
            target: "/".into(),
            headers: Headers::default(),
            body: Vec::new(),
        };
        let mut out = Vec::new();
        request.write(
            SlotId {
                index: 0,
                generation: 1,
            },
            &mut out,
        );
        assert_eq!(out, b"GET / HTTP/1.1\r\nX-Slot: 0.1\r\n\r\n");
    }

    #[test]
    fn only_two_numbers_are_a_slot() {
        assert_eq!(
            parse_slot("7.123"),
            Some(SlotId {
                index: 7,
                generation: 123
            })
        );
        for nonsense in ["", ".", "1", "1.", "a.b", "-1.2", "1.2.3", "4294967296.1"] {
            assert_eq!(parse_slot(nonsense), None, "{nonsense}");
        }
    }
}
