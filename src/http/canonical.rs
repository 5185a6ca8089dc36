//! The canonical copy of a request: the only thing tiny_http ever reads.

use std::io::Write as _;

use crate::api::{Fields, Method};

use super::exchange::Id;

/// The field that names the exchange a request belongs to.
pub(super) const EXCHANGE: &str = "X-Exchange";

/// A request the front has read whole and checked, in the only form that travels on.
#[derive(Debug)]
pub struct Canonical {
    /// The method.
    pub method: Method,
    /// Path and query in origin form; printable ASCII without blanks.
    pub target: String,
    /// The fields the interfaces read; printable ASCII.
    pub fields: Fields,
    /// The content, at most 64 KiB, whatever framing the client used.
    pub body: Vec<u8>,
}

impl Canonical {
    /// Writes the request for the exchange `id`, replacing what `out` held.
    pub(super) fn write(&self, id: Id, out: &mut Vec<u8>) {
        out.clear();
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{} {} HTTP/1.1\r\n{EXCHANGE}: {id}\r\n", self.method.name(), self.target);
        for (field, value) in self.fields.present() {
            let _ = write!(out, "{}: {value}\r\n", field.name());
        }
        if !self.body.is_empty() {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }
}

/// Writes the request of an exchange that a client's request has nothing to add to: a greeting, or one that is carried
/// on with once what it waited for is there.
pub(super) fn write_bare(id: Id, out: &mut Vec<u8>) {
    out.clear();
    let _ = write!(out, "GET / HTTP/1.1\r\n{EXCHANGE}: {id}\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Field;

    #[test]
    fn only_the_known_fields_and_one_length_are_written() {
        let mut fields = Fields::default();
        fields.add(Field::Guid, "abc.AgentGateway0");
        let request = Canonical { method: Method::Put, target: "/a?b=c".into(), fields, body: b"{}".to_vec() };
        let mut out = b"old".to_vec();
        request.write(Id { place: 3, serial: 9 }, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PUT /a?b=c HTTP/1.1\r\nX-Exchange: 3.9\r\nGuid: abc.AgentGateway0\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn a_request_without_content_carries_no_length() {
        let request =
            Canonical { method: Method::Get, target: "/".into(), fields: Fields::default(), body: Vec::new() };
        let mut out = Vec::new();
        request.write(Id { place: 0, serial: 1 }, &mut out);
        assert_eq!(out, b"GET / HTTP/1.1\r\nX-Exchange: 0.1\r\n\r\n");
    }
}
