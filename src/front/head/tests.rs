//! Request heads that are accepted, and those that are refused.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Option<(Head, usize)>, HttpError> {
    Head::parse(text.as_bytes())
}

/// A request with these header lines after Host.
fn with(lines: &str) -> String {
    format!("PUT /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
}

fn head(text: &str) -> Head {
    parse(text).unwrap().unwrap().0
}

fn is_malformed(text: &str) -> bool {
    matches!(parse(text), Err(HttpError::Malformed(_)))
}

#[test]
fn a_plain_request_is_read_with_its_length() {
    let text =
        "GET /a/b?c=d HTTP/1.1\r\nHost: gateway:8043\r\nguid: g\r\nCookie: \u{fc}\r\n\r\nrest";
    let (head, length) = parse(text).unwrap().unwrap();
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target, "/a/b?c=d");
    assert_eq!(head.headers.value(HeaderName::Guid), Some("g"));
    assert_eq!(head.framing, Framing::Length(0));
    assert!(head.keep_alive && !head.expects_continue);
    assert_eq!(&text[length..], "rest");
}

#[test]
fn an_incomplete_head_asks_for_more() {
    let whole = with("Content-Length: 5\r\n");
    for end in 0..whole.len() {
        assert!(matches!(parse(&whole[..end]), Ok(None)), "{end}");
    }
}

#[test]
fn up_to_two_empty_lines_may_come_first() {
    let text = with("");
    assert!(parse(&format!("\r\n{text}")).unwrap().is_some());
    assert_eq!(
        parse(&format!("\r\n\r\n{text}")).unwrap().unwrap().1,
        text.len() + 4
    );
    assert!(is_malformed(&format!("\r\n\r\n\r\n{text}")));
    assert!(is_malformed(&format!("\n{text}")));
}

#[test]
fn request_lines_that_are_none_are_refused() {
    for line in [
        "GET /a",
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET /a HTTP/1.1 ",
        " GET /a HTTP/1.1",
        "GET\t/a HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a http/1.1",
        "GET /a HTTP/1.1x",
        "GET /a HTTP/11",
        "GET /\u{e9} HTTP/1.1",
        "G@T /a HTTP/1.1",
        " /a HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT host:443 HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET ftp://host/a HTTP/1.1",
        "GET http://user@host/a HTTP/1.1",
        "GET http://a,b/ HTTP/1.1",
        "GET http://a\\b/ HTTP/1.1",
    ] {
        assert!(
            is_malformed(&format!("{line}\r\nHost: x\r\n\r\n")),
            "{line}"
        );
    }
}

#[test]
fn other_versions_are_not_supported() {
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"] {
        assert_eq!(
            parse(&format!("GET / {version}\r\nHost: x\r\n\r\n")).unwrap_err(),
            HttpError::VersionNotSupported
        );
    }
}

#[test]
fn later_minor_versions_are_read_as_the_known_one() {
    for version in ["HTTP/1.1", "HTTP/1.2", "HTTP/1.9"] {
        let text = format!("GET / {version}\r\nHost: x\r\n\r\n");
        let (head, length) = parse(&text).unwrap().unwrap();
        assert!(head.keep_alive && length == text.len(), "{version}");
        assert!(
            is_malformed(&format!("GET / {version}\r\n\r\n")),
            "{version} without a host"
        );
    }
}

#[test]
fn targets_come_in_their_four_forms() {
    for (target, origin) in [
        ("/", "/"),
        ("/a?b", "/a?b"),
        ("//a//", "//a//"),
        ("http://host/a?b", "/a?b"),
        ("HTTPS://host:1/", "/"),
        ("http://host", "/"),
        ("http://host?b=/", "/?b=/"),
    ] {
        assert_eq!(
            head(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).target,
            origin
        );
    }
    assert_eq!(head("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").target, "*");
}

#[test]
fn contradictory_framing_is_refused() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: \u{665}\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Content-Length : 5\r\n",
        "Content_Length: 5\r\n",
        "transfer_encoding: chunked\r\n",
    ] {
        assert!(is_malformed(&with(lines)), "{lines}");
    }
    assert!(is_malformed(
        "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
}

#[test]
fn codings_other_than_chunks_are_not_known() {
    for coding in [
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "xchunked",
    ] {
        let result = parse(&with(&format!("Transfer-Encoding: {coding}\r\n")));
        assert_eq!(result.unwrap_err(), HttpError::UnknownCoding, "{coding}");
    }
}

#[test]
fn framing_that_says_one_thing_is_read() {
    for (lines, framing) in [
        ("Content-Length: 5\r\n", Framing::Length(5)),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("Content-Length: 0005\r\n", Framing::Length(5)),
        ("content-length:5\r\n", Framing::Length(5)),
        ("Content-Length: 65536\r\n", Framing::Length(65536)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding: Chunked\r\n", Framing::Chunked),
    ] {
        assert_eq!(head(&with(lines)).framing, framing, "{lines}");
    }
}

#[test]
fn content_beyond_the_limit_is_too_large() {
    for length in [
        "65537",
        "4611686018427387904",
        "18446744073709551615",
        "18446744073709551616",
        &"9".repeat(99),
    ] {
        let result = parse(&with(&format!("Content-Length: {length}\r\n")));
        assert_eq!(result.unwrap_err(), HttpError::ContentTooLarge, "{length}");
    }
}

#[test]
fn fields_that_could_be_read_two_ways_are_refused() {
    for lines in [
        "A: b\n",
        "A: b\rC: d\r\n",
        "A: b\r\r\n",
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        " A: b\r\n",
        "A: b\0c\r\n",
        "A: b\u{1}c\r\n",
        "A: b\u{7f}c\r\n",
        "A\r\n",
        ": b\r\n",
        "A b: c\r\n",
        "A(: c\r\n",
        "\u{e9}: c\r\n",
        "Host: y\r\n",
    ] {
        assert!(is_malformed(&with(lines)), "{lines:?}");
    }
}

#[test]
fn one_host_that_is_a_host() {
    assert!(is_malformed("GET / HTTP/1.1\r\n\r\n"));
    assert!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
    for (host, fine) in [
        ("", true),
        ("gateway", true),
        ("gateway:8043", true),
        ("[::1]:8043", true),
        ("a b", false),
        ("a,b", false),
        ("a/b", false),
        ("a@b", false),
        ("a?b", false),
        ("\u{e9}", false),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(parse(&text).is_ok(), fine, "{host}");
    }
}

#[test]
fn a_head_has_bounds() {
    assert_eq!(
        (HEAD_MAX_BYTES, HEADERS_MAX, CONTENT_MAX_BYTES),
        (16_384, 64, 65_536)
    );
    let fields = |count: usize| "A: b\r\n".repeat(count);
    assert!(parse(&with(&fields(HEADERS_MAX - 1))).unwrap().is_some());
    assert_eq!(
        parse(&with(&fields(HEADERS_MAX))).unwrap_err(),
        HttpError::HeadTooLarge
    );
    let filler = |length: usize| with(&format!("A: {}\r\n", "x".repeat(length)));
    let frame = filler(0).len();
    assert!(parse(&filler(HEAD_MAX_BYTES - frame)).unwrap().is_some());
    assert_eq!(
        parse(&filler(HEAD_MAX_BYTES - frame + 1)).unwrap_err(),
        HttpError::HeadTooLarge
    );
    let unfinished = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(HEAD_MAX_BYTES));
    assert_eq!(parse(&unfinished).unwrap_err(), HttpError::HeadTooLarge);
    assert!(matches!(parse(&"x".repeat(HEAD_MAX_BYTES - 1)), Ok(None)));
    assert_eq!(
        parse(&"x".repeat(HEAD_MAX_BYTES)).unwrap_err(),
        HttpError::TargetTooLong
    );
}

#[test]
fn connections_stay_or_close_as_their_version_and_field_say() {
    for (version, line, stays) in [
        ("1.1", "", true),
        ("1.0", "", false),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: x, close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive, x\r\n", true),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", true),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: x\r\n{line}\r\n");
        assert_eq!(head(&text).keep_alive, stays, "{version} {line}");
    }
}

#[test]
fn only_one_expectation_is_known() {
    for one in [
        "100-Continue",
        ", 100-continue",
        "100-continue,",
        "100-continue, 100-continue",
    ] {
        assert!(
            head(&with(&format!("Expect: {one}\r\n"))).expects_continue,
            "{one}"
        );
    }
    assert!(!head(&with("Expect: \r\n")).expects_continue);
    for other in [
        "200-ok",
        "100-continue, a",
        "a, 100-continue",
        "100-continue;a",
    ] {
        assert_eq!(
            parse(&with(&format!("Expect: {other}\r\n"))).unwrap_err(),
            HttpError::ExpectationFailed,
            "{other}"
        );
    }
    assert!(!head("PUT / HTTP/1.0\r\nExpect: anything\r\n\r\n").expects_continue);
}

#[test]
fn fields_beyond_ascii_count_as_absent() {
    let head = head(&with("Guid: \u{e9}\r\n"));
    assert_eq!(head.headers.value(HeaderName::Guid), None);
}

#[test]
fn fields_of_forwarded_addresses_are_one_list() {
    let lines = "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nx-forwarded-for: 192.0.2.3\r\nX-Forwarded-For: \u{fc}\r\n";
    assert_eq!(
        head(&with(lines)).forwarded_for.as_deref(),
        Some("192.0.2.1, 192.0.2.2,192.0.2.3,\u{fc}")
    );
    assert_eq!(head(&with("")).forwarded_for, None);
}

#[test]
fn empty_lines_begin_no_request() {
    assert!(!is_begun(b"") && !is_begun(b"\r\n\r\n") && !is_begun(b"\r"));
    assert!(is_begun(b"\r\nG") && is_begun(b"\0"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Head::parse(&bytes);
    }

    #[test]
    fn what_is_read_is_canonical(
        noise in "[ -~\t\r\n\0\u{80}]{0,40}",
        place in 0..60_usize,
    ) {
        let mut text = "PUT /agent HTTP/1.1\r\nHost: x\r\nGuid: a\r\nContent-Length: 3\r\n\r\nabc".to_owned();
        let place = (0..=place.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(place, &noise);
        if let Ok(Some((head, length))) = Head::parse(text.as_bytes()) {
            prop_assert!(length <= text.len());
            prop_assert!(head.target.bytes().all(|byte| matches!(byte, b'!'..=b'~')));
            for (_, value) in head.headers.present() {
                prop_assert!(value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')));
            }
        }
    }
}

#[test]
fn what_a_recipient_might_repair_is_named() {
    for (line, reason) in [
        ("A: b\r\n c", "a folded line"),
        ("A: b\r\n\tc", "a folded line"),
        ("A: b\nC: d", "CR or LF alone"),
        ("A: b\rc", "CR or LF alone"),
        ("A: b\0c", "a control character"),
        ("A: b\u{7f}c", "a control character"),
    ] {
        assert_eq!(
            parse(&with(&format!("{line}\r\n"))).unwrap_err(),
            HttpError::Malformed(reason),
            "{line:?}"
        );
    }
}
