//! Section A: framing of requests.

use super::row::{Expect, NEXT, Row, SMUGGLED, chunked, get, message};

const REFUSED: Expect = Expect::Refused(&[400]);

pub(crate) fn rows() -> Vec<Row> {
    [lengths(), codings(), fields(), chunks(), ends()].concat()
}

fn lengths() -> Vec<Row> {
    let mut rows = vec![
        Row::new(
            "A01",
            message("POST", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
            REFUSED,
        ),
        Row::new(
            "A02",
            message("POST", "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\nG"),
            REFUSED,
        ),
        Row::new(
            "A08 two lines",
            message("POST", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            REFUSED,
        ),
        Row::new("A08 list", message("POST", "Content-Length: 5, 5\r\n", "hello"), REFUSED),
        Row::new(
            "A09 two lines",
            message("POST", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
            REFUSED,
        ),
        Row::new("A09 list", message("POST", "Content-Length: 5, 6\r\n", "hello!"), REFUSED),
        Row::new("A07 GET with content", message("GET", "Content-Length: 5\r\n", "hello"), Expect::Served(1))
            .check(|request| same("content", &request.body, b"hello")),
    ];
    for line in [" Content-Length: 5", "Content-Length : 5", "Content-Length\t: 5", "\tContent-Length: 5"] {
        let bytes = message("POST", format!("{line}\r\n"), SMUGGLED);
        rows.push(Row::new(format!("A07 {line:?}"), bytes, REFUSED));
    }
    for value in [
        "+5",
        "-5",
        "0x5",
        "5_0",
        "5 0",
        "5.0",
        "",
        "123456789012345678901",
        "18446744073709551616",
        "٥",
        "5;",
        "5,",
    ] {
        let bytes = message("POST", format!("Content-Length: {value}\r\n"), "hello");
        rows.push(Row::new(format!("A10 {value:?}"), bytes, REFUSED));
    }
    for (value, content) in [("007", "1234567"), ("00", "")] {
        let bytes = message("POST", format!("Content-Length: {value}\r\n"), content);
        rows.push(Row::new(format!("A11 {value}"), bytes, Expect::Either(&[400])));
    }
    rows
}

fn codings() -> Vec<Row> {
    let mut rows = Vec::new();
    for value in [
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        ",chunked",
        "chunked,",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "identity",
        "gzip",
        "",
    ] {
        let bytes =
            message("POST", format!("Transfer-Encoding: {value}\r\n"), format!("0\r\n\r\n{SMUGGLED}"));
        rows.push(Row::new(format!("A03 {value:?}"), bytes, Expect::Refused(&[400, 501])));
    }
    let two = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n";
    rows.push(Row::new("A03 two lines", message("POST", two, "0\r\n\r\n"), Expect::Refused(&[400, 501])));
    for value in
        [&b"\x0bchunked"[..], b"\x0cchunked", b"chunked\x00", b"\xa0chunked", b"chunked\x0b", b"chun\x00ked"]
    {
        let line = [b"Transfer-Encoding: ", value, b"\r\n"].concat();
        let id = format!("A04 {:?}", String::from_utf8_lossy(value));
        rows.push(Row::new(id, message("POST", line, "0\r\n\r\n"), Expect::Refused(&[400, 501])));
    }
    let padded = message("POST", "Transfer-Encoding: \t chunked \t\r\n", "5\r\nhello\r\n0\r\n\r\n");
    rows.push(
        Row::new("A04 padded", padded, Expect::Served(1))
            .check(|request| same("content", &request.body, b"hello")),
    );
    let upper = message("POST", "transfer-ENCODING: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n");
    rows.push(
        Row::new("A04 case", upper, Expect::Served(1))
            .check(|request| same("content", &request.body, b"hello")),
    );
    for line in
        ["Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "Content_Length: 9\r\nContent-Length: 5\r\n"]
    {
        let row = Row::new(format!("A05 {line:?}"), message("POST", line, "hello"), Expect::Either(&[400]));
        rows.push(row.check(|request| {
            let underscored = request.head.fields.iter().any(|(name, _)| name.contains('_'));
            if underscored { Err("an underscored framing field was forwarded".to_owned()) } else { Ok(()) }
        }));
    }
    for method in ["OPTIONS", "GET", "HEAD", "DELETE"] {
        let bytes =
            message(method, "Transfer-Encoding: chunked\r\n", format!("5\r\nhello\r\n0\r\n\r\n{NEXT}"));
        rows.push(Row::new(format!("A06 {method}"), bytes, Expect::Served(2)));
    }
    let old = b"POST /row HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    rows.push(Row::new("A12", *old, Expect::Refused(&[400, 505])));
    rows
}

fn fields() -> Vec<Row> {
    let mut rows = vec![
        Row::new("A22 all LF", "GET /row HTTP/1.1\nHost: a.test\n\n", REFUSED),
        Row::new("A22 LF after start line", "GET /row HTTP/1.1\nHost: a.test\r\n\r\n", REFUSED),
        Row::new("A22 LF after field", "GET /row HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n", REFUSED),
        Row::new("A22 LF at end", "GET /row HTTP/1.1\r\nHost: a.test\r\n\n", REFUSED),
        Row::new("A22 smuggle", get(format!("X: y\nContent-Length: {}\r\n", SMUGGLED.len())), REFUSED),
        Row::new("A23 CR in value", get("X: a\rb\r\n"), REFUSED),
        Row::new("A23 CR in name", get("X\ra: b\r\n"), REFUSED),
        Row::new("A23 CR in target", "GET /r\row HTTP/1.1\r\nHost: a.test\r\n\r\n", REFUSED),
        Row::new("A23 CR CR LF", get("X: a\r\r\n"), REFUSED),
        Row::new(
            "A24 folded TE",
            message("POST", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
            REFUSED,
        ),
        Row::new("A24 folded Host", "GET /row HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n", REFUSED),
        Row::new("A24 folded baggage", get("baggage: a=1,\r\n sd-routing-key=k\r\n"), REFUSED),
        Row::new("A24 folded with tab", get("X: a\r\n\tb\r\n"), REFUSED),
        Row::new("A25 space", get("X : a\r\n"), REFUSED),
        Row::new("A25 tab", get("X\t: a\r\n"), REFUSED),
        Row::new("A25 Host", "GET /row HTTP/1.1\r\nHost : a.test\r\n\r\n", REFUSED),
        Row::new("A26 space", "GET /row HTTP/1.1\r\n Host: a.test\r\n\r\n", REFUSED),
        Row::new("A26 blank line", "GET /row HTTP/1.1\r\n \r\nHost: a.test\r\n\r\n", REFUSED),
        Row::new("A27 no colon", get("nonsense\r\n"), REFUSED),
        Row::new("A27 empty name", get(": x\r\n"), REFUSED),
        Row::new("A30", get(b"X-Odd: caf\xe9 \x80\xff\r\n"), Expect::Served(1)).check(|request| {
            let value =
                request.head.fields.iter().find(|(name, _)| name == "X-Odd").map(|(_, value)| value.clone());
            same("X-Odd", &value.unwrap_or_default(), b"caf\xe9 \x80\xff")
        }),
    ];
    for byte in [0_u8, 1, 7, 8, 0x0b, 0x0c, 0x1b, 0x1f, 0x7f] {
        let line = [b"X: a", &[byte][..], b"b\r\n"].concat();
        rows.push(Row::new(format!("A28 {byte:#04x}"), get(line), REFUSED));
    }
    for byte in b"\"(),/;<=>?@[\\]{} \x00\x7f\x80\xff" {
        let line = [b"X", &[*byte][..], b"Y: b\r\n"].concat();
        rows.push(Row::new(format!("A29 {byte:#04x}"), get(line), REFUSED));
    }
    rows
}

fn chunks() -> Vec<Row> {
    let mut rows = Vec::new();
    for size in
        ["0x5", "+5", "-1", " 5", "5_0", "", ";ext", "FFFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFF", "g", "5,5"]
    {
        let bytes = chunked(format!("{size}\r\nhello\r\n0\r\n\r\n"));
        rows.push(Row::new(format!("A14 {size:?}"), bytes, Expect::Broken).finish());
    }
    rows.push(Row::new("A14 trailing space", chunked("5 \r\nhello\r\n0\r\n\r\n"), Expect::Either(&[400])));
    for (id, content) in [
        ("LF ends the extension", "5;\nhello\r\n0\r\n\r\n"),
        ("CR in the extension", "5;a\r\rhello\r\n0\r\n\r\n"),
        ("empty line then extension", "5\r\r;x\r\nhello\r\n0\r\n\r\n"),
        ("LF ends the size", "5\nhello\r\n0\r\n\r\n"),
        ("LF in the extension of the last", "5\r\nhello\r\n0;\n\r\n"),
    ] {
        rows.push(Row::new(format!("A15 {id}"), chunked(content), Expect::Broken).finish());
    }
    let control = chunked("5;a\x00b\r\nhello\r\n0\r\n\r\n");
    rows.push(Row::new("A15 NUL in the extension", control, Expect::Either(&[400])));
    let plain = chunked("5;name=value;other=\"x\"\r\nhello\r\n0;last\r\n\r\n");
    rows.push(
        Row::new("A15 proper extension", plain, Expect::Either(&[400]))
            .check(|request| same("content", &request.body, b"hello")),
    );
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(16 * 1024 + 1));
    rows.push(Row::new("A16 one long extension", chunked(long), Expect::Broken).finish());
    let many = format!("{}0\r\n\r\n", "1;eeeeeeeeeeeeeee\r\nx\r\n".repeat(2000));
    rows.push(Row::new("A16 many extensions", chunked(many), Expect::Broken).finish());
    let tiny = format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(100_000));
    rows.push(
        Row::new("A16 one-byte chunks", chunked(tiny), Expect::Served(1))
            .check(|request| same("size", request.body.len().to_string().as_bytes(), b"100000")),
    );
    for (id, content) in [
        ("data longer", "5\r\nhello!\r\n0\r\n\r\n"),
        ("data shorter", "5\r\nhell\r\n0\r\n\r\n"),
        ("CRLF missing", "5\r\nhello0\r\n\r\n"),
        ("LF only", "5\r\nhello\n0\r\n\r\n"),
        ("CR only", "5\r\nhello\r0\r\n\r\n"),
        ("two bytes of something else", "5\r\nhelloXX0\r\n\r\n"),
    ] {
        rows.push(Row::new(format!("A17 {id}"), chunked(content), Expect::Broken).finish());
    }
    rows
}

fn ends() -> Vec<Row> {
    let after_old = format!("POST /row HTTP/1.0\r\nHost: a.test\r\nX-Id: row\r\n\r\n{SMUGGLED}");
    vec![
        Row::new("A13", after_old, Expect::Served(1)).check(|request| same("content", &request.body, b"")),
        Row::new("A18 ends inside a chunk", chunked("5\r\nhe"), Expect::Broken).finish(),
        Row::new("A18 last chunk missing", chunked("5\r\nhello\r\n"), Expect::Broken).finish(),
        Row::new("A18 ends after the last size", chunked("5\r\nhello\r\n0\r\n"), Expect::Broken).finish(),
        Row::new("A19", chunked(format!("5\r\nhello\r\n0\r\n\r\n{NEXT}")), Expect::Served(2)),
        Row::new("A20", message("GET", "", NEXT), Expect::Served(2)),
        Row::new("A21", message("POST", "Content-Length: 9\r\n", "hello"), Expect::Broken).finish(),
    ]
}

fn same(what: &str, found: &[u8], wanted: &[u8]) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what} is {:?}, not {:?}", String::from_utf8_lossy(found), String::from_utf8_lossy(wanted)))
}
