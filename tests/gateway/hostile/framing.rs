//! Request smuggling: requests whose end two parsers might see in different places.

use super::requests::{HEALTH, HIDDEN, Table};

/// Adds all cases of this file.
pub fn add(table: &mut Table) {
    both_framings(table);
    transfer_codings(table);
    lengths(table);
    chunks(table);
}

fn both_framings(table: &mut Table) {
    let after = format!("0\r\n\r\n{HIDDEN}");
    for length in [0, 4, 5, after.len(), 65_536] {
        table.lines(
            "CL.TE",
            400,
            &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
            &after,
        );
        table.lines(
            "TE.CL",
            400,
            &format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
            &after,
        );
    }
    let in_chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    for (category, lines) in [
        ("CL.TE", "Content-Length: 4\r\ntransfer-encoding: CHUNKED"),
        ("CL.TE", "CONTENT-LENGTH: 4\r\nTransfer-Encoding:chunked"),
        (
            "CL.TE",
            "Content-Length: 4\r\nX: y\r\nTransfer-Encoding:\tchunked",
        ),
        ("TE.CL", "Transfer-Encoding: chunked\r\ncontent-length: 4"),
        ("TE.CL", "Transfer-Encoding: chunked \r\nContent-Length: 4"),
        (
            "TE.CL",
            "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\nContent-Length: 4",
        ),
        (
            "TE.CL",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\nContent-Length: 4",
        ),
        (
            "CL.TE",
            "Content-Length: 99999999999999999999\r\nTransfer-Encoding: identity",
        ),
    ] {
        let status = if lines.contains("999") { 413 } else { 400 };
        table.lines(category, status, lines, &in_chunk);
    }
    table.add(
        "CL.TE",
        &[400],
        format!("POST {HEALTH} HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{after}"),
    );
}

fn transfer_codings(table: &mut Table) {
    let after = format!("0\r\n\r\n{HIDDEN}");
    for coding in [
        "",
        "\"chunked\"",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        ", chunked",
        "chunked;",
        "chunked;q=1",
        "chunked; a=b",
        "chunked chunked",
        "chunked\tchunked",
        "chunked cow",
        "ch unked",
        "chunked/1.1",
        "chunked=",
        "(chunked)",
        "chunked (comment)",
        "\u{a0}chunked",
        "chunked\u{a0}",
        "\u{ff43}hunked",
        "c\u{68}un\u{212a}ed",
        "\u{b}chunked",
        "chunked\u{b}",
        "\u{c}chunked",
        "chunked\0",
        "\0chunked",
        "\u{7f}chunked",
        "\u{1b}chunked",
    ] {
        table.lines(
            "TE.TE",
            400,
            &format!("Transfer-Encoding: {coding}"),
            &after,
        );
    }
    // Well-formed codings that the gateway does not support (RFC 9112 section 6.1).
    for coding in [
        "xchunked",
        "chunkedx",
        "chunk",
        "cow",
        "identity",
        "gzip",
        "deflate",
        "compress",
        "trailers",
        "'chunked'",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, gzip",
    ] {
        table.lines(
            "TE.TE",
            501,
            &format!("Transfer-Encoding: {coding}"),
            &after,
        );
    }
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding",
        "Transfer-Encoding chunked",
        "Transfer Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \r\n\tchunked",
        "Transfer-Encoding: chun\r\n ked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "X: y\r Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nX: y",
        "Transfer-Encoding: chunked\r\r",
        "\u{feff}Transfer-Encoding: chunked",
        "Transfer\u{2010}Encoding: chunked",
        "[Transfer-Encoding]: chunked",
        "Transfer-Encoding;: chunked",
    ] {
        table.lines("TE.TE", 400, lines, &after);
    }
}

fn lengths(table: &mut Table) {
    for length in [
        "+5", "-5", "-0", "+0", "--5", "5-", "5+0", "0x5", "05h", "5.0", "5.", ".5", "5e0", "5E1",
        "1_0", "1'000", "5;", "5,", ",5", "5,5", "5, 5", "5, 6", "5 5", "5\t5", "5 GET", "five",
        "NaN", "inf", "null", "", "\"5\"", "'5'", "(5)", "5 (five)", "5\u{b}", "5\0", "\u{7f}5",
        "\u{665}", "\u{ff15}", "5\u{a0}", "\u{221e}", "5%", "%35", "\\5", "0b101", "0o5", "5L",
        "5u64", "*", "5/6",
    ] {
        table.lines(
            "signed and odd lengths",
            400,
            &format!("Content-Length: {length}"),
            HIDDEN,
        );
    }
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 0\r\nContent-Length: 55",
        "Content-Length: 55\r\nContent-Length: 0",
        "Content-Length: 5\r\ncontent-length: 5",
        "Content-Length: 5\r\nX: y\r\nCONTENT-LENGTH: 5",
        "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length:",
        "Content-Length: 5\r\nContent-Length: +5",
        "Content-Length : 5",
        "Content-Length\t: 5",
        "Content-Length",
        "Content-Length 5",
        "Content Length: 5",
        "Content_Length: 5",
        "content_length: 55",
        "Content-Length:\r\n 5",
        "Content-Length: 5\r\n 5",
        " Content-Length: 5",
        "Content-Length: 5\nX: y",
        "X: y\nContent-Length: 5",
        "Content-Length\u{ad}: 5",
    ] {
        table.lines("duplicate and disguised lengths", 400, lines, HIDDEN);
    }
    for length in [
        "65537",
        "100000",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "10000000000000",
        "4611686018427387904",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "00000000000000000000000000065537",
    ] {
        table.lines(
            "lengths beyond the limit",
            413,
            &format!("Content-Length: {length}"),
            "abc",
        );
    }
    // Leading zeros are valid: the body has three bytes, and the next request begins after them.
    let padded = format!(
        "POST {HEALTH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0003\r\n\r\nabc]garbage\r\n\r\n"
    );
    table.add("signed and odd lengths", &[405, 400], padded);
}

fn chunks(table: &mut Table) {
    for size in [
        "",
        " ",
        " 3",
        "3 ",
        "3\t",
        "+3",
        "-3",
        "0x3",
        "3h",
        "3.0",
        "3_0",
        "g",
        "3g",
        "three",
        "3 3",
        "3,3",
        "3 x",
        "\"3\"",
        "3\0",
        "\u{b}3",
        "\u{ff13}",
        "3\u{a0}",
        ";",
        ";a=b",
        "3 =b",
        "3\r",
        "3;a\rb",
        "3;a\0b",
        "3;a\u{7f}b",
    ] {
        table.chunks(
            "chunk sizes",
            400,
            format!("{size}\r\nabc\r\n0\r\n\r\n{HIDDEN}"),
        );
    }
    table.chunks("chunk sizes", 400, format!("3\nabc\n0\n\n{HIDDEN}"));
    table.chunks("chunk sizes", 400, format!("3\r\nabc\r\n0\n\r\n{HIDDEN}"));
    table.chunks("chunk sizes", 400, "0".repeat(1000));
    table.chunks(
        "chunk extensions",
        400,
        format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(300)),
    );
    table.chunks(
        "chunk extensions",
        400,
        format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(1 << 20)),
    );
    table.chunks(
        "chunk extensions",
        400,
        format!("3;a\nb\r\nabc\r\n0\r\n\r\n{HIDDEN}"),
    );
    table.chunks(
        "chunk extensions",
        400,
        format!("3;a=\"\n\"\r\nabc\r\n0\r\n\r\n{HIDDEN}"),
    );
    // Short extensions are skipped, even malformed ones.
    for extension in [";", ";a", ";a=b", " ;a", ";;", ";a=\"b c\"", "\t;a"] {
        table.chunks(
            "chunk extensions",
            405,
            format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n"),
        );
    }
    for size in [
        "10001",
        "fffff",
        "7fffffff",
        "80000000",
        "ffffffff",
        "100000000",
        "7fffffffffffffff",
        "8000000000000000",
        "ffffffffffffffff",
        "10000000000000003",
        "fffffffffffffffffffffffffffff",
    ] {
        table.chunks(
            "chunk overflow",
            413,
            format!("{size}\r\nabc\r\n0\r\n\r\n{HIDDEN}"),
        );
    }
    table.chunks(
        "chunk overflow",
        413,
        format!("8000\r\n{}\r\n8001\r\n", "x".repeat(0x8000)),
    );
    table.chunks(
        "chunk overflow",
        413,
        format!("{}1\r\n", "1\r\nx\r\n".repeat(0x10000)),
    );
    for content in [
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\n\r\nabc\r\n0\r\n\r\n",
        "0\r\nabc\r\n\r\n",
    ] {
        table.chunks(
            "chunks of another length",
            400,
            format!("{content}{HIDDEN}"),
        );
    }
    for trailers in [
        " a: b",
        "a b: c",
        ": b",
        "a : b",
        "\ta: b",
        "a: b\n",
        "a: b\0",
        "a: b\r\n c",
    ] {
        table.chunks("trailers", 400, format!("0\r\n{trailers}\r\n\r\n{HIDDEN}"));
    }
    table.chunks("trailers", 400, format!("0\r\n{HIDDEN}"));
    table.chunks(
        "trailers",
        431,
        format!("0\r\n{}\r\n", "a: b\r\n".repeat(10_000)),
    );
    table.chunks(
        "trailers",
        400,
        format!("0\r\na: {}\r\n\r\n", "b".repeat(300)),
    );
    table.chunks(
        "trailers",
        405,
        "0\r\nContent-Length: 55\r\nTransfer-Encoding: cow\r\n\r\n",
    );
}
