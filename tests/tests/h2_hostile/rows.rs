//! Malformed requests of HTTP/2 (RFC 9113 section 8), each on a stream of its own.

use spurline_tests::h2::{fields, request};
use spurline_tests::wire::Request;
use spurline_tests::wire::frame::{self, Frame};
use spurline_tests::wire::hpack::{self, Pair};

/// What has to become of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A reset, or a local reply with a 4xx status; no upstream sees any of it.
    Refused,
    /// The same, but an upstream may see a request that is given up.
    Aborted,
    /// It is forwarded and answered.
    Served,
    /// Either refused, or forwarded in clean form.
    Either,
}

/// What has to hold for a request that was forwarded.
pub(crate) type Check = fn(&Request) -> Result<(), String>;

/// One hostile or odd request.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) expect: Expect,
    pub(crate) check: Option<Check>,
    head: Vec<Pair>,
    /// Content in one frame, and perhaps trailers; without it the head ends the stream.
    body: Option<(Vec<u8>, Option<Vec<Pair>>)>,
}

impl Row {
    fn head(id: impl Into<String>, expect: Expect, head: Vec<Pair>) -> Self {
        Self { id: id.into(), expect, check: None, head, body: None }
    }

    /// A request with content in one frame, and perhaps trailers.
    fn whole(id: &str, expect: Expect, head: Vec<Pair>, body: &str, trailers: Option<Vec<Pair>>) -> Self {
        let body = Some((body.as_bytes().to_vec(), trailers));
        Self { id: id.to_owned(), expect, check: None, head, body }
    }

    /// The frames of it on a stream. Where its target is none of its own it is `target`.
    pub(crate) fn frames(&self, stream: u32, target: &str) -> Vec<Frame> {
        let mut head = self.head.clone();
        for (_, path) in head.iter_mut().filter(|(name, value)| name == b":path" && value == ROW.as_bytes()) {
            *path = target.as_bytes().to_vec();
        }
        let block = hpack::encode(&head);
        let Some((body, trailers)) = &self.body else {
            return frame::headers(stream, &block, frame::END_STREAM);
        };
        let mut frames = frame::headers(stream, &block, 0);
        let end = if trailers.is_none() { frame::END_STREAM } else { 0 };
        frames.push(frame::data(stream, body, end));
        if let Some(trailers) = trailers {
            frames.extend(frame::headers(stream, &hpack::encode(trailers), frame::END_STREAM));
        }
        frames
    }

    fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let all = [values(), names(), pseudo(), hop(), lengths(), authorities(), targets(), odd()];
    all.into_iter().flatten().collect()
}

const ROW: &str = "/row";

fn get(more: &[(&str, &str)]) -> Vec<Pair> {
    request("GET", ROW, more)
}

/// A GET whose field of this name is another, or is not there.
fn with(name: &str, value: Option<&[u8]>) -> Vec<Pair> {
    let mut head = get(&[]);
    head.retain(|(known, _)| value.is_some() || known != name.as_bytes());
    for (_, known) in head.iter_mut().filter(|(known, _)| known == name.as_bytes()) {
        *known = value.unwrap_or_default().to_vec();
    }
    head
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().collect()
}

/// G01
fn values() -> Vec<Row> {
    let values: [&[u8]; 7] =
        [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b", b" leading", b"trailing ", b"\tleading"];
    let row = |value: &&[u8]| {
        let head = [get(&[]), vec![(b"x-row".to_vec(), value.to_vec())]].concat();
        Row::head(format!("G01 {}", shown(value)), Expect::Refused, head)
    };
    values.iter().map(row).collect()
}

/// G02
fn names() -> Vec<Row> {
    let names: [&[u8]; 11] = [
        b"x:row",
        b"x row",
        b"X-Row",
        b"x-r\x80w",
        b"",
        b"x\r\ny",
        b"x\0y",
        b"x\x7f",
        b"x(y)",
        b"transfer-encoding ",
        b"x-evil: 1\r\nx",
    ];
    let row = |name: &&[u8]| {
        let head = [get(&[]), vec![(name.to_vec(), b"v".to_vec())]].concat();
        Row::head(format!("G02 {}", shown(name)), Expect::Refused, head)
    };
    names.iter().map(row).collect()
}

/// G03, G06, G09
fn pseudo() -> Vec<Row> {
    let mut rows = Vec::new();
    let injected: [(&str, &[u8]); 13] = [
        (":method", b"GET / HTTP/1.1\r\nx-evil: 1\r\n"),
        (":method", b"GE T"),
        (":method", b""),
        (":method", b"G\0T"),
        (":path", b"/ HTTP/1.1\r\nx-evil: 1\r\nx: "),
        (":path", b"/a b"),
        (":path", b"/\0"),
        (":path", b"/\x7f"),
        (":authority", b"a\r\nx-evil: 1"),
        (":authority", b"a b"),
        (":authority", b"a/b"),
        (":scheme", b"http\r\nx-evil: 1"),
        (":scheme", b"ht tp"),
    ];
    for (name, value) in injected {
        rows.push(Row::head(
            format!("G03 {name} {}", shown(value)),
            Expect::Refused,
            with(name, Some(value)),
        ));
    }
    for name in [":method", ":scheme", ":path", ":authority"] {
        rows.push(Row::head(format!("G06 no {name}"), Expect::Refused, with(name, None)));
        let twice: Vec<Pair> = get(&[]).into_iter().filter(|(known, _)| known == name.as_bytes()).collect();
        rows.push(Row::head(format!("G06 {name} twice"), Expect::Refused, [twice, get(&[])].concat()));
    }
    let first = |more| [fields(more), get(&[])].concat();
    rows.push(Row::head("G06 :unknown", Expect::Refused, first(&[(":unknown", "x")])));
    rows.push(Row::head("G06 :status", Expect::Refused, first(&[(":status", "200")])));
    rows.push(Row::head("G06 an empty pseudo-header field", Expect::Refused, first(&[(":", "x")])));
    rows.push(Row::head("G06 late", Expect::Refused, [fields(&[("x", "y")]), get(&[])].concat()));
    rows.push(Row::head(
        "E07 :protocol without CONNECT",
        Expect::Refused,
        first(&[(":protocol", "websocket")]),
    ));
    for name in [":path", ":method", ":status", ":row"] {
        let head = request("POST", ROW, &[]);
        let id = format!("G06 {name} in trailers");
        rows.push(Row::whole(&id, Expect::Aborted, head, "12345", Some(fields(&[(name, "x")]))));
    }
    for scheme in ["http://localhost/?", "HTTPS", "https", "ftp", ""] {
        let head = with(":scheme", Some(scheme.as_bytes()));
        rows.push(Row::head(format!("G09 {scheme}"), Expect::Either, head));
    }
    rows
}

/// G04
fn hop() -> Vec<Row> {
    let listed = [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("connection", "baggage"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ];
    let row = |field: &(&str, &str)| Row::head(format!("G04 {field:?}"), Expect::Refused, get(&[*field]));
    let mut rows: Vec<_> = listed.iter().map(row).collect();
    rows.push(Row::head("G04 te: trailers", Expect::Served, get(&[("te", "trailers")])));
    rows
}

/// G05
fn lengths() -> Vec<Row> {
    let post = |more: &[(&str, &str)]| request("POST", ROW, more);
    let one = |length| [("content-length", length)];
    let two = |a, b| [("content-length", a), ("content-length", b)];
    let mut rows = vec![
        Row::whole("G05 more told than sent", Expect::Aborted, post(&one("10")), "12345", None),
        Row::whole("G05 less told than sent", Expect::Aborted, post(&one("3")), "12345", None),
        // The head alone is a whole request, so it may have gone before the content came.
        Row::whole("G05 none told and some sent", Expect::Either, post(&one("0")), "12345", None)
            .check(|request| if request.body.is_empty() { Ok(()) } else { Err("it has content".to_owned()) }),
        Row::head("G05 told on a head that ends", Expect::Refused, post(&one("5"))),
        Row::whole("G05 two that differ", Expect::Refused, post(&two("5", "6")), "12345", None),
        Row::whole(
            "G05 cut by trailers",
            Expect::Aborted,
            post(&one("10")),
            "12345",
            Some(fields(&[("x-row", "1")])),
        ),
        Row::whole("G05 right", Expect::Served, post(&one("5")), "12345", None).check(content),
    ];
    for length in ["+5", "-5", "0x5", "5_0", "5 0", "5.0", "", "5, 5", "99999999999999999999999"] {
        let id = format!("G05 {length:?}");
        rows.push(Row::whole(&id, Expect::Refused, post(&one(length)), "12345", None));
    }
    rows
}

fn content(request: &Request) -> Result<(), String> {
    if request.body == b"12345" { Ok(()) } else { Err(format!("another content: {:?}", request.body)) }
}

/// G07
fn authorities() -> Vec<Row> {
    let mut rows = vec![
        Row::head("G07 host is another", Expect::Refused, get(&[("host", "other.test")])),
        Row::head("G07 host twice", Expect::Refused, get(&[("host", "app.test"), ("host", "app.test")])),
        Row::head("G07 host is the same", Expect::Served, get(&[("host", "app.test")])).check(one_host),
        Row::head(
            "G07 only host",
            Expect::Served,
            [with(":authority", None), fields(&[("host", "app.test")])].concat(),
        )
        .check(one_host),
    ];
    for authority in ["", "user@app.test", "a:b@app.test", "app.test:99999", "app.test:-1", "[::1", "a, b"] {
        let head = with(":authority", Some(authority.as_bytes()));
        rows.push(Row::head(format!("G07 {authority:?}"), Expect::Refused, head));
    }
    rows
}

fn one_host(request: &Request) -> Result<(), String> {
    let hosts = request.head.values("host");
    if hosts == ["app.test"] { Ok(()) } else { Err(format!("hosts {hosts:?}")) }
}

/// G08, E08
fn targets() -> Vec<Row> {
    let mut rows = Vec::new();
    for target in ["", "row", "*", "/#row", "?row", "http://evil.test/", "/a\\b", "/a\"b", "/<a>", "/\u{e4}"]
    {
        rows.push(Row::head(format!("G08 {target}"), Expect::Refused, request("GET", target, &[])));
    }
    rows.push(Row::head("G08 //evil", Expect::Either, request("GET", "//evil.test/row", &[])));
    rows.push(Row::head("G08 OPTIONS *", Expect::Served, request("OPTIONS", "*", &[])));
    rows.push(Row::head("G08 OPTIONS *x", Expect::Refused, request("OPTIONS", "*x", &[])));
    let connect = |more: &[(&str, &str)]| fields(&[&[(":method", "CONNECT")], more].concat());
    rows.push(Row::head("E08 CONNECT", Expect::Refused, connect(&[(":authority", "127.0.0.1:80")])));
    rows.push(Row::head("E08 CONNECT without a target", Expect::Refused, connect(&[])));
    let with_path = connect(&[(":scheme", "http"), (":authority", "a:1"), (":path", "/")]);
    rows.push(Row::head("E08 CONNECT with a path", Expect::Refused, with_path));
    let unknown = [(":protocol", "row"), (":scheme", "http"), (":authority", "app.test"), (":path", "/row")];
    rows.push(Row::head("E07 CONNECT for an unknown protocol", Expect::Refused, connect(&unknown)));
    rows
}

/// G10, G11, D06
fn odd() -> Vec<Row> {
    let crumbs = |count: usize| [get(&[]), fields(&vec![("cookie", "a=b"); count])].concat();
    let trailers = fields(&[
        ("content-length", "3"),
        ("host", "evil.test"),
        ("authorization", "evil"),
        ("baggage", "sd-routing-key=evil"),
        ("x-row", "kept"),
    ]);
    vec![
        Row::head("G10 three crumbs", Expect::Served, crumbs(3)).check(|request| {
            let cookies = request.head.values("cookie");
            if cookies == ["a=b; a=b; a=b"] { Ok(()) } else { Err(format!("cookies {cookies:?}")) }
        }),
        Row::head("G10 5,000 crumbs", Expect::Refused, crumbs(5000)),
        Row::head("B13 1,000 fields", Expect::Refused, [get(&[]), fields(&vec![("x", "y"); 1000])].concat()),
        Row::head("B13 a value of 64 KiB", Expect::Refused, get(&[("x-row", &"v".repeat(65536))])),
        Row::whole("G11 content of a GET", Expect::Served, get(&[]), "12345", None).check(content),
        Row::whole("G11 content of a DELETE", Expect::Served, request("DELETE", ROW, &[]), "12345", None)
            .check(content),
        Row::whole("D06 trailers", Expect::Either, request("POST", ROW, &[]), "12345", Some(trailers)).check(
            |request| {
                let merged = request.field("authorization").or_else(|| request.field("baggage"));
                if request.trailers.iter().any(|(name, _)| name != "x-row") || merged.is_some() {
                    return Err(format!("trailers {:?}, head {:?}", request.trailers, request.head));
                }
                content(request)
            },
        ),
        Row::whole(
            "D06 a connection's field in trailers",
            Expect::Aborted,
            request("POST", ROW, &[]),
            "12345",
            Some(fields(&[("transfer-encoding", "chunked")])),
        ),
    ]
}
