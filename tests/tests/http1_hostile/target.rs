//! Section B: request line, target, authority, sizes.

use super::row::{Expect, NEXT, Row, get, message};

const REFUSED: Expect = Expect::Refused(&[400]);

pub(crate) fn rows() -> Vec<Row> {
    [authorities(), targets(), lines(), sizes()].concat()
}

fn line(start: &str) -> Vec<u8> {
    format!("{start}\r\nHost: a.test\r\nX-Id: row\r\n\r\n").into_bytes()
}

fn authorities() -> Vec<Row> {
    let mut rows = vec![
        Row::new("B01 no Host", "GET /row HTTP/1.1\r\nX-Id: row\r\n\r\n", REFUSED),
        Row::new("B01 two Host", get("Host: b.test\r\n"), REFUSED),
        Row::new("B01 two equal Host", get("Host: a.test\r\n"), REFUSED),
    ];
    for host in [
        "",
        "a, b",
        "a@b",
        "user:pw@b",
        "a/b",
        "a:99999",
        "a:-1",
        "a:x",
        "[::1",
        "::1",
        "a b",
        "a#b",
        "a?b",
        "[x]",
    ] {
        let bytes = format!("GET /row HTTP/1.1\r\nHost: {host}\r\nX-Id: row\r\n\r\n");
        rows.push(Row::new(format!("B01 {host:?}"), bytes, REFUSED));
    }
    for host in ["a.test:8080", "[::1]:80", "127.0.0.1", "A.TEST", "xn--a.test", "a_b.test"] {
        let bytes = format!("GET /row HTTP/1.1\r\nHost: {host}\r\nX-Id: row\r\n\r\n");
        rows.push(Row::new(format!("B01 proper {host:?}"), bytes, Expect::Served(1)));
    }
    let absolute = line("GET http://b.test/row HTTP/1.1");
    rows.push(Row::new("B02", absolute, Expect::Either(&[400])).check(
        |request| match request.field("host") {
            Some("b.test") => Ok(()),
            other => Err(format!("Host is {other:?} and not that of the target")),
        },
    ));
    rows.push(Row::new("B02 equal", line("GET http://a.test/row HTTP/1.1"), Expect::Served(1)));
    for start in
        ["GET https://a.test/row HTTP/1.1", "GET ftp://a.test/row HTTP/1.1", "GET http:///row HTTP/1.1"]
    {
        rows.push(Row::new(format!("B03 {start}"), line(start), Expect::Refused(&[400, 421])));
    }
    rows.push(Row::new("B03 userinfo", line("GET http://u:p@a.test/row HTTP/1.1"), REFUSED));
    rows
}

fn targets() -> Vec<Row> {
    let mut rows = vec![Row::new("B04 OPTIONS *", line("OPTIONS * HTTP/1.1"), Expect::Served(1))];
    for start in [
        "GET * HTTP/1.1",
        "OPTIONS */x HTTP/1.1",
        "GET admin HTTP/1.1",
        "GET host:80 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT host HTTP/1.1",
        "CONNECT host:80 HTTP/1.1",
        "CONNECT 169.254.169.254:80 HTTP/1.1",
    ] {
        rows.push(Row::new(format!("B04 {start}"), line(start), Expect::Refused(&[400, 403, 405, 501])));
    }
    for target in ["/row#f", "#f", "?q", "row", ""] {
        rows.push(Row::new(format!("B05 {target:?}"), line(&format!("GET {target} HTTP/1.1")), REFUSED));
    }
    for byte in b" \t\x0b\x00\x01\x7f\\\"<>^`{|}\x80\xe9\xff" {
        let start = [b"GET /r", &[*byte][..], b"w HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat();
        // A space ends the target, which leaves a wrong version.
        let expect = if *byte == b' ' { Expect::Refused(&[400, 505]) } else { REFUSED };
        rows.push(Row::new(format!("B06 {byte:#04x}"), start, expect));
    }
    for target in [
        "/%0d%0aX:y",
        "/a%2fb",
        "/a%5cb",
        "/..;/x",
        "/./x",
        "//x",
        "/%2e%2e/x",
        "/a/../b",
        "/?a=[1]&b=%zz",
        "/a;p=1",
    ] {
        let expect = if target.contains('[') { Expect::Either(&[400]) } else { Expect::Served(1) };
        rows.push(
            Row::new(format!("B07 {target}"), line(&format!("GET {target} HTTP/1.1")), expect)
                .check(unchanged),
        );
    }
    rows.push(Row::new("B07 %00", line("GET /a%00b HTTP/1.1"), REFUSED));
    rows
}

fn unchanged(request: &spurline_tests::wire::Request) -> Result<(), String> {
    let known = [
        "/%0d%0aX:y",
        "/a%2fb",
        "/a%5cb",
        "/..;/x",
        "/./x",
        "//x",
        "/%2e%2e/x",
        "/a/../b",
        "/?a=[1]&b=%zz",
        "/a;p=1",
    ];
    let target = request.head.target();
    if known.contains(&target) { Ok(()) } else { Err(format!("the target became {target}")) }
}

fn lines() -> Vec<Row> {
    let mut rows = vec![
        Row::new("B08 HTTP/0.9", "GET /row\r\n", Expect::Refused(&[400, 505])).finish(),
        Row::new("B09 one empty line", [b"\r\n", get("").as_slice()].concat(), Expect::Served(1)),
        Row::new("B09 many empty lines", ["\r\n".repeat(10_000).as_bytes(), &get("")].concat(), REFUSED),
        Row::new("B09 two spaces", line("GET  /row HTTP/1.1"), REFUSED),
        Row::new("B09 two spaces before version", line("GET /row  HTTP/1.1"), Expect::Refused(&[400, 505])),
        Row::new("B09 tab", line("GET\t/row HTTP/1.1"), REFUSED),
        Row::new("B09 leading space", line(" GET /row HTTP/1.1"), REFUSED),
        Row::new("B11 preface in the middle", message("GET", "", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), {
            Expect::ServedThenRefused(1, &[400, 405, 501, 505])
        }),
        Row::new("B11 SSH", "SSH-2.0-OpenSSH_9.2\r\n", Expect::Broken).finish(),
        Row::new(
            "B11 TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaa\r\n\r\n",
            Expect::Broken,
        )
        .finish(),
        Row::new("B11 Redis", "*1\r\n$4\r\nPING\r\n", Expect::Broken).finish(),
    ];
    for version in
        ["HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/01.1", "HTTP/9.9", "HTTP/1", "HTTP/1.10"]
    {
        let start = format!("GET /row {version}");
        rows.push(Row::new(format!("B08 {version:?}"), line(&start), Expect::Refused(&[400, 505])));
    }
    let long = "M".repeat(1024);
    for method in ["G(T", "G\u{e9}T", "TRACE", "PRI", &long] {
        let start = format!("{method} /row HTTP/1.1");
        let id = format!("B10 {}", &method.chars().take(8).collect::<String>());
        rows.push(Row::new(id, line(&start), Expect::Refused(&[400, 405, 501])));
    }
    for method in ["get", "PROPFIND", "M-SEARCH"] {
        let start = format!("{method} /row HTTP/1.1");
        rows.push(Row::new(format!("B10 {method}"), line(&start), Expect::Either(&[400, 405, 501])));
    }
    rows
}

fn sizes() -> Vec<Row> {
    let mut rows = vec![Row::new("B13 fields at the limit", get(numbered(97)), Expect::Served(1))];
    for bytes in [8 * 1024 + 1, 64 * 1024, 1024 * 1024] {
        let start = format!("GET /{} HTTP/1.1", "a".repeat(bytes));
        rows.push(Row::new(format!("B12 {bytes}"), line(&start), Expect::Refused(&[414])));
    }
    let seven = format!("GET /{} HTTP/1.1", "a".repeat(7 * 1024));
    rows.push(Row::new("B12 below the limit", line(&seven), Expect::Served(1)));
    for fields in [101, 400] {
        rows.push(Row::new(format!("B13 {fields} fields"), get(numbered(fields)), Expect::Refused(&[431])));
    }
    for bytes in [17 * 1024, 64 * 1024, 1024 * 1024] {
        let one = format!("X-Long: {}\r\n", "v".repeat(bytes));
        rows.push(Row::new(format!("B13 one value of {bytes}"), get(one), Expect::Refused(&[431])));
    }
    rows.push(Row::new("B13 then the next", message("GET", "X: y\r\n", NEXT), Expect::Served(2)));
    rows
}

fn numbered(count: usize) -> String {
    (0..count).map(|number| format!("X-{number}: v\r\n")).collect()
}
