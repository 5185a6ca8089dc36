//! Decoding of chunked content.

use super::head::CONTENT_MAX_BYTES;
use super::http_error::HttpError;

/// Longest chunk size line, including extensions, and longest trailer field, in bytes.
const LINE_MAX_BYTES: usize = 256;
/// Longest trailer section, in bytes. Trailers are discarded, as RFC 9112 section 7.1.2 allows.
const TRAILERS_MAX_BYTES: usize = 2048;

/// The part of the chunked format that comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Data(usize),
    DataEnd,
    Trailer,
    Done,
}

/// Incremental decoder of chunked content (RFC 9112 section 7.1).
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: ChunkState,
    content: Vec<u8>,
    trailers: usize,
}

impl ChunkedDecoder {
    /// Consumes what it can from the start of `bytes` and returns how many bytes that was.
    ///
    /// # Errors
    /// The error to answer with. The connection must close after it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, HttpError> {
        let mut used = 0;
        while self.state != ChunkState::Done {
            let rest = bytes.get(used..).unwrap_or_default();
            let taken = match self.state {
                ChunkState::Size | ChunkState::Trailer => {
                    let Some(text) = line(rest)? else { break };
                    match self.state {
                        ChunkState::Size => self.size(text)?,
                        _ => self.trailer(text)?,
                    }
                    text.len() + 2
                }
                ChunkState::Data(remaining) => {
                    let part = rest.get(..remaining).unwrap_or(rest);
                    if part.is_empty() {
                        break;
                    }
                    self.content.extend_from_slice(part);
                    self.state = match remaining - part.len() {
                        0 => ChunkState::DataEnd,
                        rest => ChunkState::Data(rest),
                    };
                    part.len()
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        self.state = ChunkState::Size;
                        2
                    }
                    [] | [b'\r'] => break,
                    _ => return Err(HttpError::Malformed("a chunk longer than its size")),
                },
                ChunkState::Done => break,
            };
            used += taken;
        }
        Ok(used)
    }

    /// The content, once the last chunk and the trailers have been read.
    pub fn finished(&mut self) -> Option<Vec<u8>> {
        (self.state == ChunkState::Done).then(|| std::mem::take(&mut self.content))
    }

    fn size(&mut self, line: &[u8]) -> Result<(), HttpError> {
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, extension) = line.split_at(digits);
        // Extensions begin with a semicolon, after optional blanks, and are ignored.
        if digits.is_empty()
            || !(extension.is_empty() || extension.trim_ascii_start().starts_with(b";"))
        {
            return Err(HttpError::Malformed("a chunk size that is not hexadecimal"));
        }
        let size = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or(HttpError::ContentTooLarge)?;
        let limit = usize::try_from(CONTENT_MAX_BYTES).unwrap_or(usize::MAX);
        if size > limit.saturating_sub(self.content.len()) {
            return Err(HttpError::ContentTooLarge);
        }
        self.state = match size {
            0 => ChunkState::Trailer,
            _ => ChunkState::Data(size),
        };
        Ok(())
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), HttpError> {
        self.trailers += line.len();
        if self.trailers > TRAILERS_MAX_BYTES {
            return Err(HttpError::HeadTooLarge);
        }
        if line.is_empty() {
            self.state = ChunkState::Done;
        } else if !line.contains(&b':')
            || !is_token(line.split(|&byte| byte == b':').next().unwrap_or_default())
        {
            return Err(HttpError::Malformed("a trailer that is not a field"));
        }
        Ok(())
    }
}

/// Whether `name` is a token (RFC 9110 section 5.6.2), as field names must be.
pub(super) fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The line at the start of `bytes`, without its CRLF; `None` while it is incomplete.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, HttpError> {
    let within = bytes.get(..LINE_MAX_BYTES).unwrap_or(bytes);
    let end = within
        .iter()
        .position(|&byte| matches!(byte, b'\r' | b'\n' | 0..=8 | 11..=31 | 127));
    match end.map(|end| within.split_at(end)) {
        Some((line, [b'\r', b'\n', ..])) => Ok(Some(line)),
        Some((_, [b'\r'])) if bytes.len() < LINE_MAX_BYTES => Ok(None),
        None if bytes.len() < LINE_MAX_BYTES => Ok(None),
        _ => Err(HttpError::Malformed("a line of chunked content")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Result<(Option<Vec<u8>>, usize), HttpError> {
        let mut chunks = ChunkedDecoder::default();
        let used = chunks.feed(bytes)?;
        Ok((chunks.finished(), used))
    }

    #[test]
    fn whole_contents_are_decoded_and_the_next_request_left_alone() {
        for (bytes, content) in [
            (&b"0\r\n\r\n"[..], &b""[..]),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
            (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
            (b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
            (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            (b"3;ext=1\r\nabc\r\n0;last\r\n\r\n", b"abc"),
            (
                b"3 ; ext\r\nabc\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n",
                b"abc",
            ),
        ] {
            let mut followed = bytes.to_vec();
            followed.extend_from_slice(b"GET / HTTP/1.1\r\n");
            assert_eq!(
                decode(&followed).unwrap(),
                (Some(content.to_vec()), bytes.len())
            );
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]).unwrap().0, None, "{end}");
            }
        }
    }

    #[test]
    fn contents_that_could_be_read_two_ways_are_refused() {
        for bytes in [
            &b"\r\n"[..],
            b" 3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b"-3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"3_0\r\n",
            b"g\r\n",
            b"3\nabc\n0\n\n",
            b"3\rabc",
            b"3\r\nabcd\r\n",
            b"3\r\nab\r\n0\r\n\r\n",
            b"3\r\nabc0\r\n\r\n",
            b"3 x\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"3\t\r\nabc\r\n",
            b"3;a\nb\r\nabc\r\n",
            b"3;a\0\r\nabc\r\n",
            b"0\r\nnot a field\r\n\r\n",
            b"0\r\n folded: x\r\n\r\n",
            b"0\r\n: nameless\r\n\r\n",
            b"0\r\nspaced : x\r\n\r\n",
            b"0\r\nTrailer: x\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            assert!(
                matches!(decode(bytes), Err(HttpError::Malformed(_))),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert!(matches!(decode(&[b'0'; 300]), Err(HttpError::Malformed(_))));
    }

    #[test]
    fn contents_beyond_the_limit_are_refused_before_they_come() {
        let whole = format!("10000\r\n{}\r\n0\r\n\r\n", "x".repeat(65_536));
        assert_eq!(
            decode(whole.as_bytes()).unwrap().0,
            Some(vec![b'x'; 65_536])
        );
        for size in [
            "10001",
            "ffffffff",
            "ffffffffffffffff",
            "fffffffffffffffffff",
        ] {
            assert_eq!(
                decode(format!("{size}\r\n").as_bytes()),
                Err(HttpError::ContentTooLarge),
                "{size}"
            );
        }
        let mut bytes = format!("8000\r\n{}\r\n8001\r\n", "x".repeat(0x8000)).into_bytes();
        assert_eq!(decode(&bytes), Err(HttpError::ContentTooLarge));
        bytes = format!("0\r\n{}", format!("T: {}\r\n", "x".repeat(200)).repeat(20)).into_bytes();
        assert_eq!(decode(&bytes), Err(HttpError::HeadTooLarge));
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_makes_no_difference(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
            cuts in proptest::collection::vec(1..20_usize, 0..100),
        ) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let mut chunks = ChunkedDecoder::default();
            let mut pending = Vec::new();
            let mut cuts = cuts.into_iter();
            let mut at = 0;
            while at < bytes.len() {
                let end = (at + cuts.next().unwrap_or(usize::MAX - at)).min(bytes.len());
                pending.extend_from_slice(&bytes[at..end]);
                at = end;
                let used = chunks.feed(&pending).unwrap();
                pending.drain(..used);
            }
            prop_assert_eq!(chunks.finished(), Some(parts.concat()));
            prop_assert!(pending.is_empty());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_line_that_cannot_end_within_its_bound_is_refused_at_once() {
        let of = |length: usize, end: &str| {
            let mut bytes = vec![b'x'; length];
            bytes.extend_from_slice(end.as_bytes());
            bytes
        };
        for (bytes, expected) in [
            (of(LINE_MAX_BYTES - 2, "\r\n"), Some(true)),
            (of(LINE_MAX_BYTES - 2, "\r"), Some(false)),
            (of(LINE_MAX_BYTES - 1, ""), Some(false)),
            (of(LINE_MAX_BYTES, ""), None),
            (of(LINE_MAX_BYTES - 1, "\r"), None),
            (of(LINE_MAX_BYTES - 1, "\r\n"), None),
        ] {
            let end = String::from_utf8_lossy(&bytes[bytes.len() - 2..]).into_owned();
            assert_eq!(
                line(&bytes).ok().map(|found| found.is_some()),
                expected,
                "{end:?} {}",
                bytes.len()
            );
        }
    }
}
