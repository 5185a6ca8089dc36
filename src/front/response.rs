//! Serialisation of responses.

use std::io::Write as _;
use std::time::SystemTime;

use crate::api::Reply;

/// Room for a usual response head, in bytes.
const HEAD_USUAL_BYTES: usize = 512;

/// The parts of a response that the connection decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framing {
    /// Length of the content, in bytes.
    pub(super) length: u64,
    /// Whether to append the content: not for HEAD, nor for a download, which sends it separately.
    pub(super) with_body: bool,
    /// Whether another request may follow.
    pub(super) keep_alive: bool,
}

/// Status line, headers and content of an answer.
pub(super) fn render(reply: &Reply, framing: Framing) -> Vec<u8> {
    let body = if framing.with_body {
        reply.body.as_bytes()
    } else {
        b""
    };
    let mut bytes = Vec::with_capacity(HEAD_USUAL_BYTES + body.len());
    let date = httpdate::fmt_http_date(SystemTime::now());
    // Writing to a Vec cannot fail.
    let _ = write!(
        bytes,
        "HTTP/1.1 {} {}\r\nDate: {date}\r\n",
        reply.status,
        reason_phrase(reply.status)
    );
    for (name, value) in &reply.headers {
        let _ = write!(bytes, "{name}: {}\r\n", value.as_str());
    }
    // 204 has neither content nor length (RFC 9110 section 8.6).
    if reply.status != 204 {
        let _ = write!(bytes, "Content-Length: {}\r\n", framing.length);
    }
    bytes.extend_from_slice(match framing.keep_alive {
        true => b"Connection: keep-alive\r\n\r\n",
        false => b"Connection: close\r\n\r\n",
    });
    bytes.extend_from_slice(body);
    bytes
}

/// Reason phrases of RFC 9110 section 15 and RFC 6585.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ResultCode;

    fn text(reply: &Reply, framing: Framing) -> String {
        let text = String::from_utf8(render(reply, framing)).unwrap();
        let (before, rest) = text.split_once("Date: ").unwrap();
        format!("{before}{}", rest.split_once("\r\n").unwrap().1)
    }

    #[test]
    fn an_answer_is_framed_once() {
        let reply = Reply::new(200, ResultCode::SUCCESS, "text/plain", "body".into());
        let framing = Framing {
            length: 4,
            with_body: true,
            keep_alive: true,
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: 4\r\n";
        assert_eq!(
            text(&reply, framing),
            format!("{head}Connection: keep-alive\r\n\r\nbody")
        );
        let head_only = Framing {
            with_body: false,
            keep_alive: false,
            ..framing
        };
        assert_eq!(
            text(&reply, head_only),
            format!("{head}Connection: close\r\n\r\n")
        );
    }

    #[test]
    fn no_content_has_no_length() {
        let reply = Reply::new(204, ResultCode::SUCCESS, "text/plain", String::new());
        assert!(
            !text(
                &reply,
                Framing {
                    length: 0,
                    with_body: true,
                    keep_alive: true
                }
            )
            .contains("Content-Length")
        );
    }
}
