//! Strict parsing of request heads (RFC 9112), within limits.
//!
//! httparse does the parsing. Anything that it accepts but another parser might read differently is
//! refused first: request smuggling relies on two parsers disagreeing about where a request ends.

use std::borrow::Cow;

use crate::api::{HeaderName, Headers, Method};

use super::content::is_token;
use super::http_error::HttpError;

/// Longest head, in bytes, including the final empty line.
pub const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Most fields in a head.
pub const HEADERS_MAX: usize = 64;
/// Longest content, in bytes.
pub const CONTENT_MAX_BYTES: u64 = 64 * 1024;
/// Most empty lines before a request (RFC 9112 section 2.2 asks for at least one).
const LEADING_LINES_MAX: usize = 2;

/// How the content is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A length in bytes; 0 if there is no content.
    Length(usize),
    /// Chunks (RFC 9112 section 7.1).
    Chunked,
}

/// The head of one request.
#[derive(Debug)]
pub struct Head {
    pub(crate) method: Method,
    /// Path and query, in origin form.
    pub target: String,
    /// The fields that the interfaces use.
    pub headers: Headers,
    /// The `X-Forwarded-For` field, with several lines joined by commas in order (RFC 9110 section
    /// 5.3).
    pub(crate) forwarded_for: Option<String>,
    /// How the content is framed.
    pub framing: Framing,
    /// Whether the client wants another request on this connection.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the content.
    pub(crate) expects_continue: bool,
}

impl Head {
    /// Parses a head from the start of `bytes`. Returns the head and its length, or `None` if more
    /// bytes are needed.
    ///
    /// # Errors
    /// The error to answer with. The connection must close after it, because the start of the next
    /// request is unknown.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HttpError> {
        let blank = leading_lines(bytes)?;
        let rest = bytes.get(blank..).unwrap_or_default();
        let within = rest.get(..HEAD_MAX_BYTES).unwrap_or(rest);
        let Some(end) = within
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| at + 4)
        else {
            check_bytes(within)?;
            return match rest.len() >= HEAD_MAX_BYTES {
                // RFC 9112 section 3: a target that is too long gets 414.
                true if !within.contains(&b'\r') => Err(HttpError::TargetTooLong),
                true => Err(HttpError::HeadTooLarge),
                false => Ok(None),
            };
        };
        let head = within.get(..end).unwrap_or_default();
        check_bytes(head)?;
        let head = match check_request_line(head)? {
            MinorVersion::Known => Cow::Borrowed(head),
            MinorVersion::Newer(at) => {
                let mut as_1_1 = head.to_vec();
                if let Some(digit) = as_1_1.get_mut(at) {
                    *digit = b'1';
                }
                Cow::Owned(as_1_1)
            }
        };
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => {
                return Err(HttpError::Malformed("an incomplete head"));
            }
            Err(httparse::Error::TooManyHeaders) => return Err(HttpError::HeadTooLarge),
            Err(_) => return Err(HttpError::Malformed("a field or the request line")),
        }
        Ok(Some((Head::from_request(&request)?, blank + end)))
    }

    fn from_request(request: &httparse::Request<'_, '_>) -> Result<Head, HttpError> {
        let http_1_1 = request.version == Some(1);
        let method = Method::from_name(request.method.unwrap_or_default());
        let mut hosts = 0;
        let mut length = None;
        let mut chunked = false;
        let mut coding = Ok(());
        let mut keep_alive = http_1_1;
        let mut expects_continue = false;
        let mut headers = Headers::default();
        let mut forwarded_for: Option<String> = None;
        for field in request.headers.iter() {
            let value = field.value.trim_ascii();
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("Host") {
                hosts += 1;
                check_host(value)?;
            } else if is("Content-Length") {
                if length.replace(parse_length(value)?).is_some() {
                    return Err(HttpError::Malformed("two lengths"));
                }
            } else if is("Transfer-Encoding") {
                if chunked {
                    return Err(HttpError::Malformed("two transfer codings"));
                }
                coding = check_transfer_coding(value);
                chunked = true;
            } else if ["Content_Length", "Transfer_Encoding"].into_iter().any(is) {
                // CGI-style gateways cannot tell these from the names with a hyphen.
                return Err(HttpError::Malformed("a framing field with an underscore"));
            } else if is("Connection") {
                keep_alive = wants_keep_alive(value, keep_alive);
            } else if is("Expect") {
                // RFC 9110 section 10.1.1: ignored in HTTP/1.0. The value is a list that may have
                // empty and repeated elements.
                for expectation in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    if http_1_1 && !expectation.is_empty() {
                        expects_continue = expectation.eq_ignore_ascii_case(b"100-continue");
                        if !expects_continue {
                            return Err(HttpError::ExpectationFailed);
                        }
                    }
                }
            } else if is("X-Forwarded-For") {
                // A value that is not UTF-8 names no address.
                let text = std::str::from_utf8(value).unwrap_or("unknown");
                forwarded_for = Some(
                    forwarded_for
                        .map_or_else(|| text.to_owned(), |before| format!("{before},{text}")),
                );
            } else if let (Some(known), Ok(text)) = (
                HeaderName::from_name(field.name),
                std::str::from_utf8(value),
            ) && text.is_ascii()
            {
                headers.add(known, text);
            }
        }
        if hosts > 1 || (hosts == 0 && http_1_1) {
            return Err(HttpError::Malformed("not exactly one host"));
        }
        // RFC 9112 section 6.1: both together, or chunks in HTTP/1.0, indicate request smuggling.
        let framing = match (chunked, length) {
            (true, None) if http_1_1 => {
                coding?;
                Framing::Chunked
            }
            (true, _) => return Err(HttpError::Malformed("chunks with a length or in HTTP/1.0")),
            (false, Some(length)) if length > CONTENT_MAX_BYTES => {
                return Err(HttpError::ContentTooLarge);
            }
            (false, length) => {
                Framing::Length(usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX))
            }
        };
        let target = origin_form(request.path.unwrap_or_default(), method)?;
        Ok(Head {
            method,
            target,
            headers,
            forwarded_for,
            framing,
            keep_alive,
            expects_continue,
        })
    }
}

/// Whether a request has begun. Empty lines before it do not count (RFC 9112 section 2.2): a client
/// that sends an extra one after its content must not start the timeout.
pub(super) fn is_begun(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

/// Length of the empty lines before a request.
fn leading_lines(bytes: &[u8]) -> Result<usize, HttpError> {
    let mut blank = 0;
    while bytes.get(blank..).unwrap_or_default().starts_with(b"\r\n") {
        blank += 2;
        if blank > 2 * LEADING_LINES_MAX {
            return Err(HttpError::Malformed("empty lines instead of a request"));
        }
    }
    Ok(blank)
}

/// Refuses what RFC 9112 section 2.2 allows a recipient to repair: bare CR or LF, NUL and other
/// control characters, and folded lines (section 5.2).
fn check_bytes(head: &[u8]) -> Result<(), HttpError> {
    let mut before = b'\n';
    for &byte in head {
        match (before, byte) {
            (b'\r', b'\n') => {}
            (b'\r', _) | (_, b'\n') => return Err(HttpError::Malformed("CR or LF alone")),
            (b'\n', b' ' | b'\t') => return Err(HttpError::Malformed("a folded line")),
            (_, b'\r' | b'\t') => {}
            (_, 0..=31 | 127) => return Err(HttpError::Malformed("a control character")),
            _ => {}
        }
        before = byte;
    }
    Ok(())
}

/// Only `chunked` is supported. Any other coding, alone or in addition, is answered with 501 (RFC
/// 9112 section 6.1). Anything but a list of codings is malformed, as are repeated chunked codings
/// and parameters.
fn check_transfer_coding(value: &[u8]) -> Result<(), HttpError> {
    const MALFORMED: HttpError = HttpError::Malformed("not a transfer coding");
    let mut chunked = 0;
    let mut others = false;
    for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if !is_token(coding) {
            return Err(MALFORMED);
        }
        match coding.eq_ignore_ascii_case(b"chunked") {
            true => chunked += 1,
            false => others = true,
        }
    }
    match (chunked, others) {
        (1, false) => Ok(()),
        (0 | 1, true) => Err(HttpError::UnknownCoding),
        _ => Err(MALFORMED),
    }
}

/// The minor version of HTTP/1 in a request line.
enum MinorVersion {
    /// 0 or 1.
    Known,
    /// A later one, to be treated as 1 (RFC 9110 section 2.5); the position of its digit.
    Newer(usize),
}

/// Checks that the request line has three parts separated by single spaces, all printable ASCII,
/// and returns its version.
fn check_request_line(head: &[u8]) -> Result<MinorVersion, HttpError> {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    if !line.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(HttpError::Malformed(
            "a request line that is not printable ASCII",
        ));
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(_), Some(_), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HttpError::Malformed(
            "a request line that is not three parts",
        ));
    };
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(MinorVersion::Known),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            Ok(MinorVersion::Newer(line.len() - 1))
        }
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HttpError::VersionNotSupported)
        }
        _ => Err(HttpError::Malformed("not an HTTP version")),
    }
}

/// Checks that a host could be a name or an address with an optional port. It is not used
/// otherwise.
fn check_host(value: &[u8]) -> Result<(), HttpError> {
    let fine = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    if value.iter().all(fine) {
        Ok(())
    } else {
        Err(HttpError::Malformed("not a host"))
    }
}

/// Digits only: no sign, list or inner white space (RFC 9110 section 8.6).
fn parse_length(value: &[u8]) -> Result<u64, HttpError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::Malformed("a length that is not a decimal"));
    }
    // A number that does not fit a u64 is too large.
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(HttpError::ContentTooLarge)
}

/// `Connection` is a list of case-insensitive tokens (RFC 9110 section 7.6.1). `close` wins over
/// `keep-alive`.
fn wants_keep_alive(value: &[u8], before: bool) -> bool {
    let mut tokens = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    if tokens
        .clone()
        .any(|token| token.eq_ignore_ascii_case(b"close"))
    {
        return false;
    }
    before || tokens.any(|token| token.eq_ignore_ascii_case(b"keep-alive"))
}

/// Path and query. Servers must accept the absolute form, too (RFC 9112 section 3.2.2). `*` is for
/// OPTIONS.
fn origin_form(target: &str, method: Method) -> Result<String, HttpError> {
    if target.contains('#') {
        return Err(HttpError::Malformed("a target with a fragment"));
    }
    if target.starts_with('/') || (target == "*" && method == Method::Options) {
        return Ok(target.to_owned());
    }
    let after = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, after) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(after)
    });
    let after = after.ok_or(HttpError::Malformed("a target of no known form"))?;
    let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
    if authority.is_empty() {
        return Err(HttpError::Malformed("a target without host"));
    }
    // Also refuses userinfo (RFC 9110 section 4.2.4).
    check_host(authority.as_bytes())?;
    Ok(if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    })
}

#[cfg(test)]
mod tests;
