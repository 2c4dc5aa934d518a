//! Sections C, D and E as far as requests go: hop-by-hop fields, expectations, trailers, upgrades.

use spurline_tests::wire::Request;

use super::row::{Expect, NEXT, Row, get, message};

pub(crate) fn rows() -> Vec<Row> {
    [connection(), carriers(), expectations(), trailers(), upgrades()].concat()
}

fn absent(request: &Request, names: &[&str]) -> Result<(), String> {
    match names.iter().find(|name| request.field(name).is_some()) {
        Some(name) => Err(format!("{name} was forwarded")),
        None => Ok(()),
    }
}

fn connection() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in [
        "baggage",
        "tracestate",
        "traceparent",
        "sd-routing-key",
        "authorization",
        "x-forwarded-for",
        "host",
        "x-spurline-strict",
        "BAGGAGE",
        "close, baggage",
        "x-a,baggage,x-b",
        "content-length",
        "transfer-encoding",
    ] {
        let fields = format!("Connection: {name}\r\nbaggage: sd-routing-key=k3v9m2x7q4ab\r\n");
        rows.push(Row::new(format!("C01 {name}"), get(fields), Expect::Denied(&[400])));
    }
    let ordinary =
        "Connection: keep-alive, X-Foo\r\nConnection: X-Bar\r\nX-Foo: 1\r\nX-Bar: 2\r\nX-Keep: 3\r\n";
    rows.push(Row::new("C02", get(ordinary), Expect::Served(1)).check(|request| {
        absent(request, &["x-foo", "x-bar"])?;
        request.field("x-keep").map(|_| ()).ok_or_else(|| "X-Keep was dropped".to_owned())
    }));
    let nominated = "Connection: X-Foo\r\nTransfer-Encoding: chunked\r\n";
    let bytes = message("POST", nominated, "5\r\nhello\r\n0\r\nx-foo: 1\r\n\r\n");
    rows.push(Row::new("C02 nominated trailer", bytes, Expect::Served(1)).check(|request| {
        if request.trailers.is_empty() {
            Ok(())
        } else {
            Err("the nominated trailer was forwarded".to_owned())
        }
    }));
    let hop = "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: foo\r\n";
    rows.push(
        Row::new("C03", get(hop), Expect::Served(1))
            .check(|request| absent(request, &["keep-alive", "proxy-connection", "te", "upgrade"])),
    );
    let te = "Connection: TE\r\nTE: trailers\r\n";
    rows.push(Row::new("C03 TE: trailers", get(te), Expect::Served(1)).check(|request| {
        match request.field("te") {
            Some("trailers") => Ok(()),
            other => Err(format!("TE became {other:?}")),
        }
    }));
    rows.push(Row::new("C04 not UTF-8", get(b"Connection: caf\xe9\r\n"), Expect::Either(&[400])));
    let options = format!("Connection: {}x\r\n", "x,".repeat(5_000));
    rows.push(Row::new("C04 5,000 options", get(options), Expect::Either(&[400, 431])));
    let huge = format!("Connection: {}\r\n", "o".repeat(64 * 1024));
    rows.push(Row::new("C04 64 KiB", get(huge), Expect::Refused(&[431])));
    rows
}

fn carriers() -> Vec<Row> {
    let mut rows = vec![
        Row::new(
            "C05 two baggage lines",
            get("baggage: a=1\r\nbaggage: sd-routing-key=k1\r\n"),
            Expect::Served(1),
        ),
        Row::new(
            "C05 case variants",
            get("BAGGAGE: sd-routing-key=k1\r\nSd-Routing-Key: k1\r\n"),
            Expect::Served(1),
        ),
        Row::new("C05 underscore alias", get("sd_routing_key: k1\r\n"), Expect::Either(&[400])),
    ];
    let long = format!("baggage: big={}\r\n", "b".repeat(9000));
    rows.push(Row::new("C06 oversize", get(long), Expect::Served(1)).check(|request| {
        let value = request.field("baggage").unwrap_or_default();
        if value.len() == 9004 { Ok(()) } else { Err(format!("baggage has {} bytes", value.len())) }
    }));
    for value in
        ["sd-routing-key=%zz", "sd-routing-key=%0d%0a", "sd-routing-key=a b", ",,;==", "sd-routing-key"]
    {
        let row = Row::new(format!("C06 {value:?}"), get(format!("baggage: {value}\r\n")), Expect::Served(1));
        rows.push(row.check(|request| {
            let known = [
                "sd-routing-key=%zz",
                "sd-routing-key=%0d%0a",
                "sd-routing-key=a b",
                ",,;==",
                "sd-routing-key",
            ];
            let value = request.field("baggage").unwrap_or_default();
            if known.contains(&value) { Ok(()) } else { Err(format!("baggage became {value:?}")) }
        }));
    }
    rows
}

fn expectations() -> Vec<Row> {
    let hello = |expect: &str| message("POST", format!("Expect: {expect}\r\nContent-Length: 5\r\n"), "hello");
    let content = |request: &Request| {
        if request.body == b"hello" { Ok(()) } else { Err(format!("the content is {:?}", request.body)) }
    };
    vec![
        Row::new("D02 content at once", hello("100-continue"), Expect::Served(1)).check(content),
        Row::new("D02 two expectations", hello("100-continue, x"), Expect::Either(&[400, 417]))
            .check(content),
        Row::new("D02 unknown", hello("y"), Expect::Either(&[400, 417])).check(content),
        Row::new(
            "D02 no content",
            message("POST", "Expect: 100-continue\r\nContent-Length: 0\r\n", NEXT),
            Expect::Served(2),
        ),
        Row::new("D02 GET", message("GET", "Expect: 100-continue\r\n", NEXT), Expect::Served(2)),
        Row::new(
            "D02 chunked at once",
            message(
                "POST",
                "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            Expect::Served(1),
        )
        .check(content),
    ]
}

fn trailers() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in [
        "content-length",
        "transfer-encoding",
        "host",
        "authorization",
        "baggage",
        "connection",
        "sd-routing-key",
        "x-spurline-strict",
    ] {
        let content = format!("5\r\nhello\r\n0\r\n{name}: 5\r\nx-fine: 1\r\n\r\n");
        let bytes = message("POST", "Transfer-Encoding: chunked\r\n", content);
        let row = Row::new(format!("D06 {name}"), bytes, Expect::Either(&[400]));
        rows.push(row.check(|request| {
            let forbidden = request.trailers.iter().find(|(name, _)| !name.eq_ignore_ascii_case("x-fine"));
            let merged = ["authorization", "baggage", "sd-routing-key", "x-spurline-strict", "x-fine"];
            absent(request, &merged)?;
            forbidden.map_or(Ok(()), |(name, _)| Err(format!("the trailer {name} was forwarded")))
        }));
    }
    let many: String = (0..10_000).map(|number| format!("x-{number}: v\r\n")).collect();
    let bytes = message("POST", "Transfer-Encoding: chunked\r\n", format!("5\r\nhello\r\n0\r\n{many}\r\n"));
    rows.push(Row::new("D06 10,000 trailers", bytes, Expect::Broken).finish());
    let obscure = "5\r\nhello\r\n0\r\nbad name: x\r\n\r\n";
    rows.push(Row::new(
        "D06 malformed",
        message("POST", "Transfer-Encoding: chunked\r\n", obscure),
        Expect::Broken,
    ));
    rows
}

fn upgrades() -> Vec<Row> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: foo\r\n";
    let h2c =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let websocket =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let refused = Expect::Either(&[400, 426, 501]);
    vec![
        Row::new("E01", message("GET", upgrade, NEXT), Expect::Served(2)),
        Row::new(
            "E02 Content-Length",
            message("POST", format!("{upgrade}Content-Length: 5\r\n"), "hello"),
            Expect::Served(1),
        ),
        Row::new(
            "E02 chunked",
            message("POST", format!("{upgrade}Transfer-Encoding: chunked\r\n"), "5\r\nhello\r\n0\r\n\r\n"),
            Expect::Served(1),
        ),
        Row::new("E03", get(h2c), Expect::Served(1))
            .check(|request| absent(request, &["upgrade", "http2-settings"])),
        Row::new("E04 no version", get(websocket), refused),
        Row::new("E04 old version", get(format!("{websocket}Sec-WebSocket-Version: 7\r\n")), refused),
        Row::new(
            "E04 POST",
            message("POST", format!("{websocket}Sec-WebSocket-Version: 13\r\n"), ""),
            refused,
        ),
    ]
}
