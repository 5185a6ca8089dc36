//! Taking tiny_http's reply apart, and turning its head into the one a client gets.

use std::io;

/// tiny_http's reply, its head rewritten for the client.
#[derive(Debug)]
pub(super) struct InnerReply {
    /// HTTP status.
    pub(super) status: u16,
    /// Status line and fields, each with its CRLF; without `Content-Length`, `Connection`, `Server` and the
    /// final empty line, which are the front's to write.
    pub(super) head: Vec<u8>,
    /// The content.
    pub(super) body: Vec<u8>,
}

/// Most fields a reply of our own has.
const FIELDS_MAX: usize = 32;

/// Takes the bytes of a reply apart.
///
/// # Errors
/// When they are not one whole reply.
pub(super) fn read(bytes: &[u8]) -> io::Result<InnerReply> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut reply = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = reply.parse(bytes).map_err(|_| invalid("not an HTTP reply"))? else {
        return Err(invalid("a reply that ends in its head"));
    };
    let status = reply.code.ok_or_else(|| invalid("a reply without status"))?;
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reply.reason.unwrap_or_default()).as_bytes());
    let mut length = None;
    for field in reply.headers.iter() {
        if field.name.eq_ignore_ascii_case("Content-Length") {
            length = std::str::from_utf8(field.value).ok().and_then(|text| text.parse().ok());
        } else if !["Connection", "Server", "Transfer-Encoding"].iter().any(|own| field.name.eq_ignore_ascii_case(own))
        {
            for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
    // 204 has neither content nor length (RFC 9110 section 8.6).
    let length = if status == 204 { 0 } else { length.ok_or_else(|| invalid("a reply without length"))? };
    let body = bytes.get(end..).unwrap_or_default();
    if body.len() != length {
        return Err(invalid("a reply of another length than it announces"));
    }
    Ok(InnerReply { status, head, body: body.to_vec() })
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_rewritten_and_the_content_kept() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: now\r\nSet-GUID: JSESSIONID=a\r\nContent-Length: 4\r\n\r\nbody";
        let reply = read(bytes).unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.head, b"HTTP/1.1 200 OK\r\nDate: now\r\nSet-GUID: JSESSIONID=a\r\n");
        assert_eq!(reply.body, b"body");
    }

    #[test]
    fn a_reply_without_content_needs_no_length() {
        let reply = read(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!((reply.status, reply.body.len()), (204, 0));
    }

    #[test]
    fn what_is_not_one_whole_reply_is_an_error() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"garbage\r\n\r\n",
        ] {
            assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
