//! Hostile requests sent over TLS, by category, each with the expected statuses.

use super::framing;

/// The path of requests that are answered with 200.
pub const HEALTH: &str = "/agentgateway/resource/health";
/// A complete request, hidden in a body. A server that misreads the framing would answer it.
pub const HIDDEN: &str = "GET /agentgateway/resource/health HTTP/1.1\r\nHost: x\r\n\r\n";

/// One hostile message.
pub struct Case {
    pub category: &'static str,
    pub bytes: Vec<u8>,
    /// The statuses of the replies, in order.
    pub answers: Vec<u16>,
}

#[derive(Default)]
pub struct Table(Vec<Case>);

impl Table {
    pub fn add(&mut self, category: &'static str, answers: &[u16], bytes: impl Into<Vec<u8>>) {
        self.0.push(Case {
            category,
            bytes: bytes.into(),
            answers: answers.to_vec(),
        });
    }

    /// Adds a POST with these header lines after Host, and this body.
    pub fn lines(&mut self, category: &'static str, status: u16, lines: &str, content: &str) {
        self.add(
            category,
            &[status],
            format!("POST {HEALTH} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{content}"),
        );
    }

    /// Adds a GET of this target.
    pub fn target(&mut self, category: &'static str, status: u16, target: &str) {
        self.add(
            category,
            &[status],
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        );
    }

    /// Adds a POST with this chunked body.
    pub fn chunks(&mut self, category: &'static str, status: u16, content: impl AsRef<[u8]>) {
        let head = format!(
            "POST {HEALTH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        self.add(
            category,
            &[status],
            [head.as_bytes(), content.as_ref()].concat(),
        );
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut table = Table::default();
    framing::add(&mut table);
    line_ends(&mut table);
    odd_bytes(&mut table);
    targets(&mut table);
    request_lines(&mut table);
    fields(&mut table);
    sizes(&mut table);
    pipelines(&mut table);
    table.0
}

fn line_ends(table: &mut Table) {
    for text in [
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\r\nHost: x\n\n",
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\n",
        "GET / HTTP/1.1\r\nHost: x\n\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n",
        "GET / HTTP/1.1\r\n\nHost: x\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\n\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\n HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        table.add("bare LF", &[400], text);
    }
    for text in [
        "GET / HTTP/1.1\rHost: x\r\r",
        "GET / HTTP/1.1\r\rHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\r\n",
        "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\rContent-Length: 5\r\n\r\n",
        "GET /\r HTTP/1.1\r\nHost: x\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\r/\rHTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        table.add("bare CR", &[400], text);
    }
    for lines in [
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A: b\r\n ",
        "A: b\r\n c\r\n d",
        "A:\r\n b",
        " A: b",
        "\t",
        "A: b\r\n : c",
        "Guid: a\r\n b",
        "Host: x\r\n y",
    ] {
        table.lines("obs-fold", 400, lines, "");
    }
    table.add("obs-fold", &[400], "GET / HTTP/1.1\r\n Host: x\r\n\r\n");
    table.add(
        "empty lines",
        &[400],
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    table.add("empty lines", &[400], "\r\n".repeat(500_000));
    table.add(
        "empty lines",
        &[200],
        format!("\r\n\r\nGET {HEALTH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    );
}

fn odd_bytes(table: &mut Table) {
    let places = |byte: u8| {
        let byte = [byte];
        let join = |parts: [&[u8]; 3]| parts.concat();
        [
            join([
                b"GET /agentgateway/res",
                &byte,
                b"ource/health HTTP/1.1\r\nHost: x\r\n\r\n",
            ]),
            join([
                b"GET /agentgateway/resource/health HTTP/1.1\r\nHost: x\r\nA: b",
                &byte,
                b"c\r\n\r\n",
            ]),
            join([
                b"GET /agentgateway/resource/health HTTP/1.1\r\nHost: x\r\nA",
                &byte,
                b": b\r\n\r\n",
            ]),
            join([
                b"G",
                &byte,
                b"ET /agentgateway/resource/health HTTP/1.1\r\nHost: x\r\n\r\n",
            ]),
        ]
    };
    for message in places(0) {
        table.add("NUL", &[400], message);
    }
    for byte in (1..32)
        .filter(|byte| !b"\t\r\n".contains(byte))
        .chain([127])
    {
        let [target, value, ..] = places(byte);
        table.add("control characters", &[400], target);
        table.add("control characters", &[400], value);
    }
    for byte in [0x80, 0x85, 0xa0, 0xc0, 0xe9, 0xff] {
        let [target, value, name, method] = places(byte);
        table.add("non-ASCII", &[400], target);
        table.add("non-ASCII", &[400], name);
        table.add("non-ASCII", &[400], method);
        // A header value may hold such bytes (RFC 9110 section 5.5); the gateway ignores header A.
        let kept = [&value[..value.len() - 2], b"Connection: close\r\n\r\n"].concat();
        table.add("non-ASCII", &[200], kept);
    }
    for text in [
        "\u{feff}GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\u{2028} HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\u{a0}/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.\u{661}\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\u{e9}: x\r\n\r\n",
        "\u{ff27}\u{ff25}\u{ff34} / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        table.add("non-ASCII", &[400], text);
    }
}

fn targets(table: &mut Table) {
    for target in [
        "http://x",
        "http://x/",
        "HTTP://x:1/nowhere",
        "https://[::1]:8043/",
    ] {
        table.target("absolute form", 404, target);
    }
    table.target(
        "absolute form",
        200,
        &format!("https://elsewhere.example{HEALTH}"),
    );
    for target in [
        "http://",
        "http:///",
        "http://?a",
        "http:/x",
        "http:x",
        "http//x/",
        "ftp://x/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://user@x/",
        "http://user:secret@x/",
        "http://x,y/",
        "http://x\\y/",
        "http://x\"/",
        "//",
        "urn:x",
    ] {
        let status = if target == "//" { 404 } else { 400 };
        table.target("absolute form", status, target);
    }
    table.target("asterisk form", 400, "*");
    table.target("asterisk form", 400, "**");
    table.target("asterisk form", 400, "*/");
    table.add(
        "asterisk form",
        &[200],
        "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    table.add(
        "asterisk form",
        &[400],
        "POST * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    for text in [
        "CONNECT x:443",
        "CONNECT /",
        "GET x:443",
        "GET x",
        "GET ?",
        "GET ../",
        "GET \\",
        "GET #",
        "GET %2f",
        "GET .",
        "GET /#a",
    ] {
        let status = if text == "CONNECT /" { 404 } else { 400 };
        table.add(
            "other forms",
            &[status],
            format!("{text} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        );
    }
    for target in [
        "/../../../../etc/passwd",
        "/agentgateway%2fresource%2fhealth",
        "/agentgateway\\resource\\health",
        "/AGENTGATEWAY/resource/health",
        "/?",
        "/%3f",
    ] {
        table.target("paths that lead nowhere", 404, target);
    }
    for target in [
        "/agentgateway/resource/../resource/health",
        "/agentgateway/resource/%2e%2e/resource/health",
        "/agentgateway/resource/health%00",
        "/agentgateway/resource/health%0d%0aX:%20y",
        "/agentgateway/resource/%c0%af",
        "/agentgateway/resource/%",
        "/agentgateway/resource/%zz",
        "/agentgateway/resource/health;a=b",
        "/agentgateway/resource/./health",
        "/agentgateway/resource/health/x",
        "/%61gentgateway/resource",
        "/agentgateway/resource/<script>",
        "/agentgateway/resource/recordfile/%2e%2e/videofiledownloadEx/..",
        "/agentgateway/resource/health%20",
    ] {
        table.target("paths of no interface", 200, target);
    }
}

fn request_lines(table: &mut Table) {
    for line in [
        "",
        " ",
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / a HTTP/1.1",
        "/ HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.1 200 OK",
        "G@T / HTTP/1.1",
        "GET: / HTTP/1.1",
        "(GET) / HTTP/1.1",
        "GET,POST / HTTP/1.1",
        "\"GET\" / HTTP/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/.1",
        "GET / HTTP/11",
        "GET / HTTP/1.1x",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/+1.1",
        "GET / HTTP/1,1",
        "GET / http/1.1",
        "GET / Http/1.1",
        "GET / HTTPS/1.1",
        "GET / ICY/1.1",
        "GET / RTSP/1.0",
        "GET / HTTP",
        "GET / HTTP/",
        "GET / 1.1",
        "GET / HTTP/1.1;",
        "GET / HTTP/a.b",
    ] {
        // Three empty lines, because up to two before a request are ignored.
        let line = if line.is_empty() { "\r\n\r\n" } else { line };
        table.add(
            "request lines",
            &[400],
            format!("{line}\r\nHost: x\r\n\r\n"),
        );
    }
    table.add("HTTP/0.9", &[400], "GET /\r\n\r\n");
    table.add(
        "HTTP/0.9",
        &[400],
        "GET /agentgateway/resource/health\r\n\r\n",
    );
    table.add("HTTP/0.9", &[505], "GET / HTTP/0.9\r\n\r\n");
    for version in ["HTTP/1.2", "HTTP/1.9"] {
        table.add(
            "other versions",
            &[200],
            format!("GET {HEALTH} {version}\r\nHost: x\r\nConnection: close\r\n\r\n"),
        );
    }
    for version in ["HTTP/0.1", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        table.add(
            "other versions",
            &[505],
            format!("GET {HEALTH} {version}\r\nHost: x\r\n\r\n"),
        );
    }
    table.add("HTTP/2 preface", &[505], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let settings =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\x04\x08\0\0\0\0\0\0\0\xff\xff";
    table.add("HTTP/2 preface", &[505], settings);
    table.add(
        "HTTP/2 preface",
        &[400],
        &b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"[..],
    );
    for method in [
        "TRACE",
        "PATCH",
        "get",
        "Get",
        "BREW",
        "PROPFIND",
        "HEAD1",
        "X-!#$%&'*+.^_`|~",
    ] {
        table.add(
            "methods",
            &[405],
            format!("{method} {HEALTH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        );
    }
}

fn fields(table: &mut Table) {
    for lines in [
        "A", ": b", "A b: c", "A(: c", "A\"b: c", "A,b: c", "A;b: c", "A=b: c", "{A}: b", "<A>: b",
        "A\\b: c", "A@b: c", "A?: b", "A/b: c", "=", ":",
    ] {
        table.lines("field names", 400, lines, "");
    }
    table.add("hosts", &[400], format!("GET {HEALTH} HTTP/1.1\r\n\r\n"));
    for hosts in [
        "Host: x\r\nHost: x",
        "Host: x\r\nhost: y",
        "Host: x y",
        "Host: x/y",
        "Host: x@y",
        "Host: x?y",
        "Host: x#y",
        "Host: x,y",
        "Host: x\\y",
        "Host: <x>",
        "Host: \"x\"",
        "Host: {x}",
        "Host : x",
        "Host",
    ] {
        table.add(
            "hosts",
            &[400],
            format!("GET {HEALTH} HTTP/1.1\r\n{hosts}\r\n\r\n"),
        );
    }
    for expectation in [
        "200-ok",
        "100-continue, 101-continue",
        "101-continue",
        "100",
        "100-continue;q=1",
    ] {
        table.lines(
            "expectations",
            417,
            &format!("Expect: {expectation}\r\nContent-Length: 3"),
            "abc",
        );
    }
}

fn sizes(table: &mut Table) {
    const MEBIBYTE: usize = 1 << 20;
    table.target("1 MiB", 414, &format!("/{}", "a".repeat(MEBIBYTE)));
    table.target("1 MiB", 414, &format!("/?{}", "a=b&".repeat(MEBIBYTE / 4)));
    table.target("1 MiB", 414, &"/".repeat(MEBIBYTE));
    table.lines("1 MiB", 431, &format!("A: {}", "b".repeat(MEBIBYTE)), "");
    table.lines("1 MiB", 431, &format!("{}: b", "A".repeat(MEBIBYTE)), "");
    table.lines("1 MiB", 431, &format!("Guid: {}", "a".repeat(MEBIBYTE)), "");
    table.add("1 MiB", &[414], "A".repeat(MEBIBYTE));
    table.add("1 MiB", &[400], " ".repeat(MEBIBYTE));
    table.add("1 MiB", &[400], vec![0; MEBIBYTE]);
    table.add(
        "1 MiB",
        &[414],
        format!("{} / HTTP/1.1\r\n\r\n", "G".repeat(MEBIBYTE)),
    );
    table.lines(
        "many fields",
        431,
        vec!["A: b"; 10_000].join("\r\n").as_str(),
        "",
    );
    table.lines(
        "many fields",
        431,
        vec!["A: b"; 64].join("\r\n").as_str(),
        "",
    );
    table.lines(
        "many fields",
        431,
        (0..10_000)
            .map(|n| format!("A{n}: b"))
            .collect::<Vec<_>>()
            .join("\r\n")
            .as_str(),
        "",
    );
    table.lines(
        "many fields",
        431,
        vec!["Host: x"; 10_000].join("\r\n").as_str(),
        "",
    );
    table.lines(
        "many fields",
        400,
        vec!["Host: x"; 60].join("\r\n").as_str(),
        "",
    );
    table.lines(
        "many fields",
        431,
        vec!["A:"; 16_000].join("\r\n").as_str(),
        "",
    );
    table.target(
        "heads at the limit",
        414,
        &format!("/{}", "a".repeat(16 * 1024)),
    );
    table.target(
        "heads at the limit",
        404,
        &format!("/{}", "a".repeat(16 * 1024 - 46)),
    );
    table.target(
        "heads at the limit",
        431,
        &format!("/{}", "a".repeat(16 * 1024 - 45)),
    );
}

fn pipelines(table: &mut Table) {
    let first = format!("GET {HEALTH} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (garbage, status) in [
        ("garbage\r\n\r\n", 400),
        ("\0\0\0\0", 400),
        ("\u{16}\u{3}\u{1}\u{2}\0", 400),
        ("{\"json\": true}\r\n\r\n", 400),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\n\r\n", 505),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4611686018427387904\r\n\r\n",
            413,
        ),
        ("\n", 400),
        ("\r\n\r\n\r\n", 400),
    ] {
        table.add(
            "pipelined garbage",
            &[200, status],
            format!("{first}{garbage}{first}"),
        );
    }
    let last = format!("GET {HEALTH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    table.add("pipelined after close", &[200], format!("{last}{first}"));
    table.add(
        "pipelined after close",
        &[200],
        format!("{last}{}", "garbage".repeat(100_000)),
    );
    table.add(
        "pipelined after close",
        &[200, 200, 200],
        format!("{first}{first}{last}{first}{first}"),
    );
    table.add(
        "pipelined after close",
        &[200],
        format!("GET {HEALTH} HTTP/1.0\r\n\r\n{first}"),
    );
    // With valid framing, a body that looks like a request is only a body.
    let framed = format!(
        "POST {HEALTH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
        HIDDEN.len()
    );
    table.add("framed requests", &[405, 200], format!("{framed}{last}"));
    let framed = format!(
        "POST {HEALTH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{HIDDEN}\r\n0\r\n\r\n",
        HIDDEN.len()
    );
    table.add("framed requests", &[405, 200], format!("{framed}{last}"));
}
