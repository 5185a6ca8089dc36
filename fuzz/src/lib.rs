//! Invariants of the parsers that read input of clients or operators. They hold for any input.
//!
//! The fuzz targets call these functions with generated inputs. `tests/gateway/corpora.rs` includes
//! this file and calls them with every file of `fuzz/corpus`, so that a failure that was found once
//! cannot come back unnoticed.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use cc_gateway::api::router;
use cc_gateway::api::sign_in_body::SignInBody;
use cc_gateway::config::{self, properties};
use cc_gateway::front::KeyPairFiles;
use cc_gateway::front::content::ChunkedDecoder;
use cc_gateway::front::head::{CONTENT_MAX_BYTES, Framing, HEAD_MAX_BYTES, HEADERS_MAX, Head};
use cc_gateway::front::http_error::HttpError;
use cc_gateway::front::proxy_protocol::{self, Parsed};
use cc_gateway::front::server_name::{self, Examined};
use cc_gateway::recording::{Conditions, ETag, FileState, MAX_LEN, RecordId, Selection, select};
use cc_gateway::session::Roster;

/// A `.properties` file: any bytes are read, entries have increasing line numbers within the file,
/// and entries that are written out are read back unchanged.
pub fn properties(input: &[u8]) {
    let text = properties::decode(input.to_vec());
    let (entries, malformed) = properties::parse(&text);
    let lines = 1 + text.matches(['\r', '\n']).count();
    for places in [
        entries.iter().map(|e| e.line).collect::<Vec<_>>(),
        malformed.iter().map(|m| m.line).collect(),
    ] {
        assert!(places.is_sorted_by(|a, b| a < b));
        assert!(
            places
                .iter()
                .all(|&line| (1..=lines).contains(&(line as usize)))
        );
    }
    let mut written = String::new();
    for entry in &entries {
        write_escaped(&entry.key, &mut written);
        written.push('=');
        write_escaped(&entry.value, &mut written);
        written.push('\n');
    }
    let (again, none) = properties::parse(&written);
    assert!(none.is_empty());
    let pairs = |entries: &[properties::Entry]| -> Vec<(String, String)> {
        entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.clone()))
            .collect()
    };
    assert_eq!(pairs(&entries), pairs(&again));
    // Both readers of such files must name each problem and never panic. They compare each key with
    // every known one; with long files that would leave time for few runs of the parser.
    if text.len() > 512 {
        return;
    }
    let file = Path::new("/etc/cc-gateway/basic.properties");
    if let Err(problems) = config::from_text(&text, file) {
        assert!(
            !problems.is_empty()
                && problems
                    .iter()
                    .all(|problem| !problem.to_string().is_empty())
        );
    }
    if let Err(problems) = Roster::from_text(&text, file, 59999) {
        assert!(!problems.is_empty());
    }
}

/// Writes every character as `\uXXXX`, so that no character has a meaning in the syntax.
fn write_escaped(text: &str, to: &mut String) {
    for unit in text.encode_utf16() {
        to.push_str("\\u");
        let digit = |place: u16| char::from_digit(u32::from(unit >> place & 0xf), 16).unwrap();
        to.extend([12, 8, 4, 0].map(digit));
    }
}

/// The bytes of a connection: a head that is read is canonical, and neither its end nor that of the
/// chunks after it depends on how the bytes are split.
pub fn request_head_and_chunks(input: &[u8]) {
    chunks(input);
    let (head, length) = match Head::parse(input) {
        Ok(Some(read)) => read,
        Ok(None) => return assert!(input.len() < HEAD_MAX_BYTES + 8),
        Err(error) => return assert!(error.reply().status >= 400),
    };
    assert!(input[..length].ends_with(b"\r\n\r\n") && length <= HEAD_MAX_BYTES + 4);
    for end in (0..length).rev().take(64).chain(0..length.min(64)) {
        // A part of a head is never read as a whole, shorter head.
        assert!(!matches!(Head::parse(&input[..end]), Ok(Some(_))));
    }
    let (alone, same) = Head::parse(&input[..length]).unwrap().unwrap();
    assert_eq!(
        (alone.target.as_str(), same, alone.framing),
        (head.target.as_str(), length, head.framing)
    );
    assert!(head.target == "*" || head.target.starts_with('/'));
    assert!(
        head.target
            .bytes()
            .all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#')
    );
    assert!(head.headers.present().count() <= HEADERS_MAX);
    for (_, value) in head.headers.present() {
        assert!(
            value
                .bytes()
                .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        );
    }
    let path = head.target.split('?').next().unwrap_or_default();
    if let Some(route) = router::route(path) {
        assert!(path.starts_with('/') && route.agent.len() <= path.len());
    }
    match head.framing {
        Framing::Length(length) => assert!(length as u64 <= CONTENT_MAX_BYTES),
        Framing::Chunked => chunks(&input[length..]),
    }
}

/// Chunks decode to the same content, or to the same error, whole and byte by byte.
fn chunks(input: &[u8]) {
    let mut whole = ChunkedDecoder::default();
    let (used, outcome) = match whole.feed(input) {
        Ok(used) => (Some(used), Ok(whole.finished())),
        Err(error) => (None, Err(error)),
    };
    if let Ok(Some(content)) = &outcome {
        assert!(content.len() as u64 <= CONTENT_MAX_BYTES && content.len() < input.len());
    }
    let mut piecewise = ChunkedDecoder::default();
    let mut pending = Vec::new();
    let mut taken = 0;
    for &byte in input {
        pending.push(byte);
        match piecewise.feed(&pending) {
            Ok(used) => {
                taken += used;
                pending.drain(..used);
            }
            Err(error) => {
                assert_eq!(outcome, Err(error));
                return;
            }
        }
        if let Some(content) = piecewise.finished() {
            assert_eq!(
                (Some(taken), Ok::<_, HttpError>(Some(content))),
                (used, outcome)
            );
            return;
        }
    }
    assert!(
        matches!(outcome, Ok(None)),
        "whole, the input is refused or complete; byte by byte, it is incomplete"
    );
}

/// A query with a recordId: an accepted path only leads downwards, and its text form is parsed to
/// the same recordId.
pub fn record_id(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let suffixes = ["mp4".to_owned(), "3gp".to_owned()];
    let decoded = router::parameter(text, "recordId");
    let values = [Some(text.to_owned()), decoded.ok().flatten()];
    for value in values.into_iter().flatten() {
        let Ok(read) = RecordId::parse(&value, &suffixes) else {
            continue;
        };
        assert!(value.chars().count() <= MAX_LEN);
        let names = read.path().folders().iter().chain([read.path().file()]);
        for name in names.map(|segment| segment.as_str()) {
            assert!(!name.is_empty() && !name.bytes().all(|byte| byte == b'.'));
            assert!(!name.chars().any(|c| c.is_control() || "/\\:".contains(c)));
        }
        let file = read.path().file().as_str().to_ascii_lowercase();
        assert!(
            suffixes
                .iter()
                .any(|suffix| file.ends_with(&format!(".{suffix}")))
        );
        assert_eq!(
            RecordId::parse(&read.to_string(), &suffixes).as_ref(),
            Ok(&read)
        );
        if let Some(owner) = read.owner() {
            assert!(value.contains(&owner.to_string()));
        }
    }
}

/// Up to five lines: Range, If-Range, the length of the file, If-Match and If-Unmodified-Since.
/// A selected part lies inside the file.
pub fn range(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut lines = text.splitn(5, '\n');
    let range = lines.next().unwrap_or_default();
    let if_range = lines.next().filter(|line| !line.is_empty());
    let length = lines
        .next()
        .and_then(|line| line.trim_end().parse().ok())
        .unwrap_or(1000);
    let [if_match, if_unmodified_since] = [(); 2].map(|()| lines.next().map(str::to_owned));
    let etag = ETag::new(length, 1_600_000_000, 0);
    let changed = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let state = FileState {
        etag: &etag,
        modified: changed,
        length,
        now: changed + Duration::from_secs(3600),
    };
    let ranged = |range: Option<&str>, if_range: Option<&str>| {
        let [range, if_range] = [range, if_range].map(|field| field.map(str::to_owned));
        select(
            &Conditions {
                range,
                if_range,
                ..Conditions::default()
            },
            state,
        )
    };
    let selection = ranged(Some(range), if_range);
    match selection {
        Selection::Whole => {}
        Selection::Part(part) => {
            assert!(part.start() <= part.last() && part.last() < length);
            assert_eq!(part.length(), part.last() - part.start() + 1);
            // A request for exactly the selected part selects it again.
            let exact = format!("bytes={}-{}", part.start(), part.last());
            assert_eq!(ranged(Some(&exact), None), selection);
            assert!(part.content_range(length).ends_with(&format!("/{length}")));
        }
        Selection::Unsatisfiable => assert!(range.to_ascii_lowercase().contains("bytes")),
        Selection::PreconditionFailed => panic!("a precondition failed, but there is none"),
    }
    assert_eq!(ranged(None, if_range), Selection::Whole);
    // With the ETag of another state of the file, the whole file is served.
    assert_eq!(ranged(Some(range), Some("\"another\"")), Selection::Whole);
    // A precondition that holds changes nothing; one that does not hold fails the request.
    let conditions = Conditions {
        if_match,
        if_unmodified_since,
        range: Some(range.to_owned()),
        if_range: if_range.map(str::to_owned),
    };
    assert!([selection, Selection::PreconditionFailed].contains(&select(&conditions, state)));
    let conditions = Conditions {
        if_match: Some(format!("\"another\", {etag}")),
        ..conditions
    };
    assert_eq!(select(&conditions, state), selection);
}

/// The body of a sign-in: an accepted body has a password of the documented length, the same that
/// serde_json reads.
pub fn sign_in_body(input: &[u8]) {
    if let Some(body) = SignInBody::parse(input) {
        assert!(body.password.chars().count() <= 32);
        // Some accepted bodies are not read by serde_json, such as those with a byte order mark.
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) {
            match &value["password"] {
                serde_json::Value::String(password) => assert_eq!(*password, *body.password),
                other => assert!(other.is_number() || other.is_boolean()),
            }
        }
    }
}

/// The start of a connection of a trusted proxy: the header depends neither on how the bytes are
/// split nor on what follows it, and is decided within the length of the longest header.
pub fn proxy_header(input: &[u8]) {
    let whole = proxy_protocol::parse(input);
    let prefixes = (0..=input.len()).map(|end| proxy_protocol::parse(&input[..end]));
    let mut decided = prefixes
        .enumerate()
        .skip_while(|(_, read)| *read == Ok(Parsed::Incomplete));
    let Some((end, first)) = decided.next() else {
        return assert!(input.len() < proxy_protocol::V2_MAX);
    };
    assert_eq!(first, whole);
    assert!(end <= proxy_protocol::V2_MAX);
    // Further bytes do not change the decision.
    assert!(decided.take(64).all(|(_, read)| read == whole));
    match whole {
        Ok(Parsed::Header(header)) => {
            assert!(header.len == end && end >= 15);
            assert!(
                header
                    .source
                    .is_none_or(|source| source.ip() == source.ip().to_canonical())
            );
        }
        Ok(Parsed::NotProxy) => assert!(!input.starts_with(b"PROXY") && end <= 12),
        Ok(Parsed::Incomplete) => unreachable!(),
        Err(malformed) => assert!(!malformed.to_string().is_empty()),
    }
}

/// The first bytes of a TLS connection: further bytes do not change a decision, and hiding a bad
/// name changes two bytes and leaves a hello that passes.
pub fn client_hello(input: &[u8]) {
    let whole = server_name::examine(input);
    let ends = (0..=input.len())
        .rev()
        .take(16)
        .chain(0..input.len().min(64));
    for part in ends.map(|end| server_name::examine(&input[..end])) {
        assert!(part == Examined::Incomplete || part == whole);
    }
    match whole {
        Examined::Incomplete => assert!(input.len() < server_name::HELLO_MAX),
        Examined::Unchanged => {}
        Examined::BadName(bad) => {
            let mut hidden = input.to_vec();
            bad.hide(&mut hidden);
            assert_eq!(
                hidden
                    .iter()
                    .zip(input)
                    .filter(|(one, other)| one != other)
                    .count(),
                2
            );
            assert_eq!(server_name::examine(&hidden), Examined::Unchanged);
        }
    }
}

/// A file with a certificate and a key: any bytes are read or refused, and every warning and
/// problem names a line that exists.
pub fn key_pair(input: &[u8]) {
    let files = KeyPairFiles {
        certificate: "pair.pem".into(),
        private_key: "pair.pem".into(),
    };
    let lines = 1 + input.iter().filter(|byte| b"\r\n".contains(byte)).count();
    let exists =
        |line: &Option<u32>| line.is_none_or(|line| (1..=lines).contains(&(line as usize)));
    match files.from_pem(
        input,
        input,
        UNIX_EPOCH + Duration::from_secs(1_795_305_600),
    ) {
        Ok(pair) => assert!(pair.warnings().iter().all(|notice| exists(&notice.line))),
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| exists(&problem.line)));
            // Each problem is one line of the log.
            assert!(
                problems
                    .iter()
                    .all(|problem| !problem.to_string().contains(char::is_control))
            );
        }
    }
}
