//! Reading tiny_http's reply and turning its head into the one a client gets.

use std::cmp::Ordering;
use std::io::{self, Read};

/// tiny_http's reply, its head rewritten for the client.
#[derive(Debug)]
pub(super) struct InnerReply {
    /// HTTP status.
    pub(super) status: u16,
    /// Status line and fields, each with its CRLF; without `Content-Length`, `Connection`, `Server` and the
    /// final empty line, which are the front's to write.
    pub(super) head: Vec<u8>,
    /// Length of the content as announced, in bytes; for HEAD nothing of it follows.
    pub(super) length: usize,
    /// The content.
    pub(super) body: Vec<u8>,
}

/// Most fields a reply of our own has.
const FIELDS_MAX: usize = 32;
/// Longest reply of our own, in bytes; the metrics are the largest.
const REPLY_MAX: usize = 1024 * 1024;

/// Reads one reply; `buffer` is scratch space that is kept between replies.
///
/// # Errors
/// When the connection ends before the reply does, or it is none: then the line is not to be used again.
pub(super) fn read(mut from: impl Read, bodyless: bool, buffer: &mut Vec<u8>) -> io::Result<InnerReply> {
    buffer.clear();
    let mut head: Option<(InnerReply, usize)> = None;
    loop {
        if let Some((reply, head_end)) = head.take() {
            let end = head_end + if bodyless { 0 } else { reply.length };
            match buffer.len().cmp(&end) {
                Ordering::Less => head = Some((reply, head_end)),
                Ordering::Equal => {
                    let body = buffer.get(head_end..).unwrap_or_default().to_vec();
                    return Ok(InnerReply { body, ..reply });
                }
                Ordering::Greater => return Err(invalid("more bytes than the reply announces")),
            }
        }
        if buffer.len() > REPLY_MAX {
            return Err(invalid("a reply of more than 1 MiB"));
        }
        let mut chunk = [0; 2048];
        let count = match from.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if head.is_none() {
            head = translate(buffer)?;
        }
    }
}

/// The reply without its content, and where its head ends; `None` while the head is incomplete.
fn translate(bytes: &[u8]) -> io::Result<Option<(InnerReply, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut reply = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = reply.parse(bytes).map_err(|_| invalid("not an HTTP reply"))? else {
        return Ok(None);
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
    Ok(Some((InnerReply { status, head, length, body: Vec::new() }, end)))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields its bytes one at a time, as a socket may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1);
            to[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn the_head_is_rewritten_and_the_content_kept() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: now\r\nSet-GUID: JSESSIONID=a\r\nContent-Length: 4\r\n\r\nbody";
        for bodyless in [false, true] {
            let bytes = if bodyless { &bytes[..bytes.len() - 4] } else { &bytes[..] };
            let reply = read(Trickle(bytes), bodyless, &mut Vec::new()).unwrap();
            assert_eq!(reply.status, 200);
            assert_eq!(reply.head, b"HTTP/1.1 200 OK\r\nDate: now\r\nSet-GUID: JSESSIONID=a\r\n");
            assert_eq!(reply.length, 4);
            assert_eq!(reply.body, if bodyless { &b""[..] } else { b"body" });
        }
    }

    #[test]
    fn a_reply_without_content_needs_no_length() {
        let reply = read(&b"HTTP/1.1 204 No Content\r\n\r\n"[..], false, &mut Vec::new()).unwrap();
        assert_eq!((reply.status, reply.length), (204, 0));
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
            assert!(read(bytes, false, &mut Vec::new()).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
