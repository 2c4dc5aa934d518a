//! Hostile and odd requests, as far as the codec alone decides what becomes of them. Each row is what arrives and what
//! is sent on, or why it is refused. The letters are sections: A framing, B target and authority, C hop-by-hop fields,
//! D expectations, E upgrades.

#[path = "rows/heads.rs"]
mod heads;

use heads::{Sent, hold, refused, sent, sent_before};
use spurline_http::{
    Error, Framing, Head, Limits, connection_options,
    h1::{encode_request, read_request, requested_upgrade},
    remove_hop_by_hop,
};

/// Names that a peer must not be able to take away, as the caller of the codec gives them.
const PROTECTED: [&str; 6] =
    ["authorization", "baggage", "sd-routing-key", "traceparent", "tracestate", "x-forwarded-for"];

/// Reads a request and makes it fit to be sent on, as the relay does.
fn relay(input: &[u8]) -> Result<Option<Sent>, Error> {
    let mut head = Head::default();
    let Some(read) = read_request(input, &Limits::default(), &mut head)? else { return Ok(None) };
    let is_protected = |name: &[u8]| PROTECTED.iter().any(|p| p.as_bytes().eq_ignore_ascii_case(name));
    let options = connection_options(&mut head, is_protected)?;
    let upgrade = requested_upgrade(&head, options, read.framing)?;
    remove_hop_by_hop(&mut head);
    let mut out = Vec::new();
    encode_request(&head, read.framing, upgrade.as_ref(), &mut out);
    let head = out.escape_ascii().to_string();
    Ok(Some(Sent { head, framing: read.framing, consumed: read.consumed }))
}

/// A request with this start line.
fn line(start: impl AsRef<[u8]>) -> Vec<u8> {
    [start.as_ref(), b"\r\nHost: a\r\n\r\n"].concat()
}

/// A request with this target.
fn target(target: impl AsRef<[u8]>) -> Vec<u8> {
    line([b"GET ", target.as_ref(), b" HTTP/1.1"].concat())
}

/// A request with these lines among its fields, each with its CRLF.
fn fields(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST /p HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n"].concat()
}

/// A request with this field.
fn field(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    fields([name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat())
}

// === A: framing ===

#[test]
fn a_length_is_one_plain_number_or_refused() {
    let mut rows = vec![
        sent("A07", field("Content-Length", "5"), Framing::Length(5), field("Content-Length", "5")),
        sent("A07 zero", field("Content-Length", "0"), Framing::None, field("Content-Length", "0")),
        sent(
            "A07 white space",
            fields("Content-Length:\t5 \r\n"),
            Framing::Length(5),
            fields("Content-Length:\t5 \r\n"),
        ),
        sent(
            "A07 GET",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            Framing::Length(5),
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        ),
        refused("A08", fields("Content-Length: 5\r\ncontent-length: 5\r\n"), Error::ContentLengthRepeated),
        refused("A08 list", field("Content-Length", "5, 5"), Error::ContentLength),
        refused("A09", fields("Content-Length: 5\r\nContent-Length: 6\r\n"), Error::ContentLengthRepeated),
        refused("A09 list", field("Content-Length", "5, 6"), Error::ContentLength),
        sent(
            "A10 the largest",
            field("Content-Length", "999999999999999999"),
            Framing::Length(999_999_999_999_999_999),
            field("Content-Length", "999999999999999999"),
        ),
    ];
    for value in ["+5", "-5", "0x5", "5_0", "5 0", "5.0", "", "5,", ",5", "5;", "\"5\"", "٥", "five"] {
        rows.push(refused("A10", field("Content-Length", value), Error::ContentLength));
    }
    for value in ["9223372036854775808", "18446744073709551616", "18446744073709551621", &"9".repeat(40)] {
        rows.push(refused("A10 overflow", field("Content-Length", value), Error::ContentLength));
    }
    for value in ["007", "00", "05"] {
        rows.push(refused("A11", field("Content-Length", value), Error::ContentLength));
    }
    hold(&rows, relay);
}

#[test]
fn a_transfer_coding_is_exactly_one_chunked_or_refused() {
    let chunked = fields("transfer-encoding: chunked\r\n");
    let both = ["Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n"];
    let mut rows = vec![
        refused("A01", fields(both.concat()), Error::Framing),
        refused("A02", fields([both[1], both[0]].concat()), Error::Framing),
        refused("A03 two lines", fields(both[1].repeat(2)), Error::TransferCoding),
        refused(
            "A03 empty line",
            fields(["Transfer-Encoding:\r\n", both[1]].concat()),
            Error::TransferCoding,
        ),
        sent("A04 white space", fields("Transfer-Encoding: \t chunked \t\r\n"), Framing::Chunked, &chunked),
        sent("A03 case", field("tRANSFER-eNCODING", "CHUNKED"), Framing::Chunked, &chunked),
        refused("A12", "POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Error::TransferCoding),
    ];
    for value in [
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        ",chunked",
        "chunked,",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "identity",
        "gzip",
        "",
        "chun ked",
    ] {
        rows.push(refused("A03", field("Transfer-Encoding", value), Error::TransferCoding));
    }
    for value in [b"\x0bchunked".as_slice(), b"\x0cchunked", b"chunked\0", b"chunked\x7f"] {
        rows.push(refused("A04", field("Transfer-Encoding", value), Error::Field));
    }
    rows.push(refused("A04", field("Transfer-Encoding", b"\xa0chunked"), Error::TransferCoding));
    for name in ["Transfer_Encoding", "Content_Length", "content_length"] {
        rows.push(refused("A05", field(name, "5"), Error::AmbiguousField));
    }
    for method in ["OPTIONS", "GET", "HEAD", "DELETE"] {
        let head = |name| format!("{method} / HTTP/1.1\r\nHost: a\r\n{name}: chunked\r\n\r\n");
        rows.push(sent("A06", head("Transfer-Encoding"), Framing::Chunked, head("transfer-encoding")));
    }
    hold(&rows, relay);
}

#[test]
fn a_request_that_announces_no_body_has_none() {
    let first = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let old = "POST / HTTP/1.0\r\nHost: a\r\n\r\n";
    hold(
        &[
            sent_before("A13", (old, "bytes"), Framing::None, first),
            sent_before("A20", (first, next), Framing::None, first),
            sent_before("A20 not a request", (first, "\x16\x03\x01"), Framing::None, first),
        ],
        relay,
    );
}

#[test]
fn lines_end_in_crlf_and_do_not_fold() {
    let mut rows = vec![
        refused("A22 all", "GET / HTTP/1.1\nHost: a\n\n", Error::LineEnd),
        refused("A22 start", "GET / HTTP/1.1\nHost: a\r\n\r\n", Error::LineEnd),
        refused("A22 field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Error::LineEnd),
        refused("A22 empty field", "GET / HTTP/1.1\r\nX:\nHost: a\r\n\r\n", Error::LineEnd),
        refused("A22 blank", "GET / HTTP/1.1\r\nHost: a\r\n\n", Error::LineEnd),
        refused("A22 before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        refused("A23 method", line("GE\rT / HTTP/1.1"), Error::StartLine),
        refused("A23 target", line("GET /\rx HTTP/1.1"), Error::StartLine),
        refused("A23 version", "GET / HTTP/1.1\rHost: a\r\n\r\n", Error::LineEnd),
        refused("A23 blank", "GET / HTTP/1.1\r\nHost: a\r\n\rx", Error::LineEnd),
        refused("A23 name", fields("X\rY: 1\r\n"), Error::Field),
        refused("A23 value", fields("X: a\rb\r\n"), Error::Field),
        refused("A23 end of value", fields("X: a\r\r\n"), Error::Field),
        refused("A26 space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", Error::Field),
        refused("A26 tab", "GET / HTTP/1.1\r\n\tX: 1\r\nHost: a\r\n\r\n", Error::Field),
        refused("A27 no colon", fields("X\r\n"), Error::Field),
        refused("A27 no name", fields(": x\r\n"), Error::Field),
        refused("A27 only a colon", fields(":\r\n"), Error::Field),
    ];
    for name in ["Transfer-Encoding: chunked", "Host: a", "baggage: a=1", "X:"] {
        for fold in [" x", "\tx", " Content-Length: 5"] {
            rows.push(refused("A24", fields(format!("{name}\r\n{fold}\r\n")), Error::Field));
        }
    }
    for name in ["X", "Content-Length", "Transfer-Encoding", "Host"] {
        for space in [" ", "\t", "  "] {
            rows.push(refused("A25", fields(format!("{name}{space}: 1\r\n")), Error::Field));
        }
    }
    hold(&rows, relay);
}

#[test]
fn every_byte_in_a_name_or_value_is_passed_or_refused_as_the_grammar_says() {
    let mut rows = Vec::new();
    for byte in 0..=u8::MAX {
        let value = field("X", [b'a', byte, b'b']);
        match byte {
            b'\t' | b' '..=b'~' => rows.push(sent("A28 text", &value, Framing::None, &value)),
            0x80.. => rows.push(sent("A30", &value, Framing::None, &value)),
            _ => rows.push(refused("A28", &value, Error::Field)),
        }
        let name = fields([b"X", [byte].as_slice(), b"Y: 1\r\n"].concat());
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                rows.push(sent("A29 token", &name, Framing::None, &name))
            }
            _ if b"!#$%&'*+-.^_`|~:".contains(&byte) => {
                rows.push(sent("A29 token", &name, Framing::None, &name))
            }
            _ => rows.push(refused("A29", &name, Error::Field)),
        }
    }
    hold(&rows, relay);
}

// === B: request line, target, authority ===

#[test]
fn a_request_has_exactly_one_authority() {
    let request = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut rows = vec![
        refused("B01 none", "GET / HTTP/1.1\r\n\r\n", Error::Authority),
        refused("B01 two", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Error::Authority),
        refused("B01 absolute, none", "GET http://a/ HTTP/1.1\r\n\r\n", Error::Authority),
        refused(
            "B01 absolute, two",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n",
            Error::Authority,
        ),
        sent("B01 old", "GET / HTTP/1.0\r\n\r\n", Framing::None, "GET / HTTP/1.1\r\n\r\n"),
        refused("B01 old, empty", "GET / HTTP/1.0\r\nHost:\r\n\r\n", Error::Authority),
    ];
    for host in ["a", "a.b", "a:80", "a:", "a_b", "10.0.0.1", "[::1]:80"] {
        rows.push(sent("B01", request(host), Framing::None, request(host)));
    }
    for host in ["", "a, b", "a,b", "a@b", "a/b", "a:99999", "a:-1", "[::1", "a b", "a\\b", "a?b", "a#b", "é"]
    {
        rows.push(refused("B01", request(host), Error::Authority));
    }
    hold(&rows, relay);
}

#[test]
fn an_absolute_target_becomes_a_path_and_its_authority_the_host() {
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n");
    let becomes = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nX: 1\r\nhost: {host}\r\n\r\n");
    let mut rows: Vec<_> = [
        ("http://b/p?q", "/p?q", "b"),
        ("HTTP://b:80/", "/", "b:80"),
        ("http://b", "/", "b"),
        ("http://b?q=/", "/?q=/", "b"),
        ("http://a/", "/", "a"),
        ("http://b//c", "//c", "b"),
        ("http://b/http://c/", "/http://c/", "b"),
    ]
    .into_iter()
    .map(|(target, path, host)| sent("B02", request(target), Framing::None, becomes(path, host)))
    .collect();
    let options = "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n";
    rows.push(sent("B02 asterisk", options, Framing::None, "OPTIONS * HTTP/1.1\r\nhost: b\r\n\r\n"));
    for target in ["https://a/", "ftp://a/", "ws://a/", "x+y://a"] {
        rows.push(refused("B03", request(target), Error::Scheme));
    }
    for target in ["http://", "http:///p", "http://a,b/", "http://u@a/", "http://a:b/", "http://[::1/"] {
        rows.push(refused("B02", request(target), Error::Authority));
    }
    hold(&rows, relay);
}

#[test]
fn other_targets_than_paths_are_refused() {
    let mut rows = vec![
        sent("B04", line("OPTIONS * HTTP/1.1"), Framing::None, line("OPTIONS * HTTP/1.1")),
        refused("B04 CONNECT /", line("CONNECT / HTTP/1.1"), Error::Target),
        refused("B04 CONNECT host", line("CONNECT host HTTP/1.1"), Error::Target),
        refused("B04 OPTIONS */x", line("OPTIONS */x HTTP/1.1"), Error::Target),
        refused("B04 http:/", target("http:/a"), Error::Target),
        refused("E08", line("CONNECT host:443 HTTP/1.1"), Error::Method),
    ];
    for text in ["*", "admin", "host:80", "a/b"] {
        rows.push(refused("B04", target(text), Error::Target));
    }
    for text in ["/a#b", "/#", "#a", "?a", "http://a/#b", "/?a#b"] {
        rows.push(refused("B05", target(text), Error::Target));
    }
    for text in ["/%00", "/a%00b", "/?a=%00"] {
        rows.push(refused("B07", target(text), Error::Target));
    }
    for text in [
        "/%0d%0a",
        "/%2f",
        "/%5c",
        "/..;/",
        "/./",
        "/../",
        "//",
        "//b",
        "/%2e%2e/",
        "/%zz",
        "/%",
        "/?",
        "/?a=[1]&b",
        "/a;b=c",
        "/http://b/",
    ] {
        rows.push(sent("B07", target(text), Framing::None, target(text)));
    }
    for byte in 0..=u8::MAX {
        let bytes = target([b'/', byte, b'x']);
        let other = bytes.get(5) == Some(&b' ');
        match byte {
            _ if other || byte < b' ' || byte == 0x7f => rows.push(refused("B06", bytes, Error::StartLine)),
            // UTF-8 is asked for by the parser of tokens, RFC 3986 by us: neither has these bytes.
            0x80.. => rows.push(refused("B06", bytes, Error::StartLine)),
            b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                rows.push(refused("B06", bytes, Error::Target))
            }
            _ => rows.push(sent("B06", &bytes, Framing::None, &bytes)),
        }
    }
    rows.push(refused("B06 UTF-8", target("/é"), Error::Target));
    hold(&rows, relay);
}

#[test]
fn a_start_line_is_three_parts_with_one_space_between() {
    let plain = line("GET / HTTP/1.1");
    let mut rows = vec![
        refused("B08 HTTP/0.9", "GET /\r\n", Error::StartLine),
        refused("B08 lower case", line("GET / http/1.1"), Error::StartLine),
        refused("B08 space behind", line("GET / HTTP/1.1 "), Error::LineEnd),
        sent("B09 one empty line", ["\r\n".as_bytes(), &plain].concat(), Framing::None, &plain),
        refused("B09 two empty lines", ["\r\n\r\n".as_bytes(), &plain].concat(), Error::StartLine),
        refused("B09 10,000 empty lines", "\r\n".repeat(10_000), Error::StartLine),
        refused("B09 space before", line(" GET / HTTP/1.1"), Error::StartLine),
        refused("B09 two spaces", line("GET  / HTTP/1.1"), Error::StartLine),
        refused("B09 two spaces", line("GET /  HTTP/1.1"), Error::StartLine),
        refused("B09 tab", line("GET\t/ HTTP/1.1"), Error::StartLine),
        refused("B09 tab", line("GET /\tHTTP/1.1"), Error::StartLine),
        refused("B06 space in target", line("GET /a b HTTP/1.1"), Error::StartLine),
        refused("B10 token", line("G@T / HTTP/1.1"), Error::StartLine),
        refused("B10 none", line("/ HTTP/1.1"), Error::StartLine),
        refused("B10 1 KiB", line([&"M".repeat(1024), " / HTTP/1.1"].concat()), Error::Method),
        refused("B11 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Error::Version),
        refused("B11 TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Error::StartLine),
        refused("B11 SSH", "SSH-2.0-OpenSSH_9.2\r\n", Error::StartLine),
        refused("B11 Redis", "*1\r\n$4\r\nPING\r\n", Error::StartLine),
    ];
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/9.9", "HTTP/01.1", "HTTP/1.10", "HTTP/0.9", "HTTP/3"] {
        let error = if version == "HTTP/1.10" { Error::LineEnd } else { Error::Version };
        rows.push(refused("B08", line(["GET / ", version].concat()), error));
    }
    for method in ["get", "Get", "TRACE", "PRI"] {
        rows.push(refused("B10", line([method, " / HTTP/1.1"].concat()), Error::Method));
    }
    for method in ["PROPFIND", "M-SEARCH", "X"] {
        let bytes = line([method, " / HTTP/1.1"].concat());
        rows.push(sent("B10", &bytes, Framing::None, &bytes));
    }
    hold(&rows, relay);
}

#[test]
fn limits_are_met_exactly_and_at_the_same_byte_however_the_head_arrives() {
    let Limits { head_bytes_max, fields_max, target_bytes_max, .. } = Limits::default();
    let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    let longest = target(path(target_bytes_max));
    let method = line(format!("ABCDEFGHIJKLMNOPQRSTUVWX {} HTTP/1.1", path(target_bytes_max)));
    let many = |count: usize| fields("X: 1\r\n".repeat(count - 1));
    let large = |bytes: usize| field("X", "a".repeat(bytes - field("X", "").len()));
    let mut rows = vec![
        sent("B12 longest", &longest, Framing::None, &longest),
        sent("B12 longest method too", &method, Framing::None, &method),
        refused("B12 one over", target(path(target_bytes_max + 1)), Error::TargetTooLarge),
        sent("B13 most fields", many(fields_max), Framing::None, many(fields_max)),
        refused("B13 one over", many(fields_max + 1), Error::TooManyFields),
        sent("B13 largest", large(head_bytes_max), Framing::None, large(head_bytes_max)),
        refused("B13 one over", large(head_bytes_max + 1), Error::HeadTooLarge),
        refused("B13 never ends", field("X", "a".repeat(1 << 20)), Error::HeadTooLarge),
        refused(
            "B13 malformed behind the limit",
            fields(["X: a\r\n".repeat(50).as_bytes(), b"X: ", &[b'a'; 20_000], b"\0\r\n"].concat()),
            Error::HeadTooLarge,
        ),
        refused(
            "B13 empty line counts",
            [b"\r\n", large(head_bytes_max - 1).as_slice()].concat(),
            Error::HeadTooLarge,
        ),
    ];
    for bytes in [64 * 1024, 1 << 20] {
        rows.push(refused("B12", target(path(bytes)), Error::TargetTooLarge));
        rows.push(refused("B13", field("X", "a".repeat(bytes)), Error::HeadTooLarge));
    }
    hold(&rows, relay);
}

// === C: hop-by-hop fields ===

#[test]
fn a_peer_cannot_take_a_routing_key_away() {
    let names = ["host", "Content-Length", "transfer-encoding", "expect", "sec-websocket-key"];
    let mut rows: Vec<_> = PROTECTED
        .iter()
        .chain(&names)
        .map(|name| refused("C01", field("Connection", format!("close, {name}")), Error::ConnectionOption))
        .collect();
    rows.push(refused("C01 case", field("connection", "BAGGAGE"), Error::ConnectionOption));
    hold(&rows, relay);
}

#[test]
fn what_is_meant_for_one_hop_goes_and_the_rest_stays() {
    let plain = fields("");
    let mut rows = vec![
        sent(
            "C02",
            fields("Connection: close, X-Foo\r\nx-foo: 1\r\nX-Bar: 2\r\nX-FOO: 3\r\n"),
            Framing::None,
            fields("X-Bar: 2\r\n"),
        ),
        sent(
            "C02 lines",
            fields("A: 1\r\nConnection: a\r\nB: 2\r\nConnection: b\r\n"),
            Framing::None,
            &plain,
        ),
        sent(
            "C02 itself",
            fields("Connection: connection\r\nConnection: x\r\nX: 1\r\n"),
            Framing::None,
            &plain,
        ),
        refused(
            "C02 itself",
            fields("Connection: connection\r\nConnection: baggage\r\n"),
            Error::ConnectionOption,
        ),
        sent(
            "C03 te",
            fields("TE: trailers\r\n"),
            Framing::None,
            fields("te: trailers\r\nconnection: te\r\n"),
        ),
        sent(
            "C03 te",
            fields("TE: gzip;q=1, Trailers\r\nConnection: TE\r\n"),
            Framing::None,
            fields("te: trailers\r\nconnection: te\r\n"),
        ),
        sent("C03 trailer", fields("Trailer: x\r\n"), Framing::None, fields("Trailer: x\r\n")),
        sent("C04 32 options", field("Connection", ["x"; 32].join(",")), Framing::None, &plain),
        refused("C04 33 options", field("Connection", ["x"; 33].join(",")), Error::ConnectionOption),
        refused("C04 10,000 options", field("Connection", "a,".repeat(7_500)), Error::ConnectionOption),
        sent("C04 empty", field("Connection", ", ,"), Framing::None, &plain),
    ];
    for name in
        ["Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Upgrade"]
    {
        rows.push(sent("C03", field(name, "x"), Framing::None, &plain));
    }
    for value in [b"\xff".as_slice(), b"close, \xc3\xa9", b"a b", b"a;b", b"\"close\"", b"x:"] {
        rows.push(refused("C04", field("Connection", value), Error::ConnectionOption));
    }
    hold(&rows, relay);
}

#[test]
fn a_routing_key_in_two_carriers_is_not_the_codecs_business() {
    let both =
        fields("baggage: sd-routing-key=a\r\nBaggage: x=1,,\r\nsd-routing-key: b\r\nsd_routing_key: c\r\n");
    let large = field("baggage", "a=%zz,".repeat(1500));
    hold(&[sent("C05", &both, Framing::None, &both), sent("C06", &large, Framing::None, &large)], relay);
}

// === D: expectations ===

#[test]
fn only_one_expectation_is_known_and_it_does_not_change_the_framing() {
    let expect = "Expect: 100-continue\r\n";
    let mut rows = vec![
        sent("D02", fields(expect), Framing::None, fields(expect)),
        sent(
            "D02 old",
            "POST / HTTP/1.0\r\nHost: a\r\nExpect: x\r\n\r\n",
            Framing::None,
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused("D02 two lines", fields(expect.repeat(2)), Error::Expectation),
    ];
    for (length, framing) in [("5", Framing::Length(5)), ("0", Framing::None)] {
        let bytes = fields(format!("{expect}Content-Length: {length}\r\n"));
        rows.push(sent("D02", &bytes, framing, &bytes));
    }
    for value in ["y", "", "100-continue, x", "100-continue, 100-continue", "100-continue;q=1"] {
        rows.push(refused("D02", field("Expect", value), Error::Expectation));
    }
    hold(&rows, relay);
}

#[test]
fn who_waits_for_a_100_is_told() {
    for (lines, expected) in [("Expect: 100-Continue\r\n", true), ("", false)] {
        let read = read_request(&fields(lines), &Limits::default(), &mut Head::default());
        assert_eq!(read.unwrap().unwrap().expects_continue, expected, "{lines:?}");
    }
}

// === E: upgrades ===

const WEBSOCKET: &str = "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";

fn get(lines: &[&str]) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines.concat())
}

#[test]
fn an_upgrade_is_asked_for_again_or_not_at_all() {
    let asked = |protocol: &str| format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n");
    let written = |protocol: &str| format!("connection: upgrade\r\nupgrade: {protocol}\r\n");
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let body = "Content-Length: 5\r\n";
    let mut rows = vec![
        sent_before("E01", (get(&[&asked("foo")]), next), Framing::None, get(&[&written("foo")])),
        sent(
            "E04 websocket",
            get(&[&asked("websocket"), WEBSOCKET]),
            Framing::None,
            get(&[WEBSOCKET, &written("websocket")]),
        ),
        sent("E02", get(&[&asked("foo"), body]), Framing::Length(5), get(&[body])),
        sent(
            "E02 chunked",
            get(&[&asked("foo"), "Transfer-Encoding: chunked\r\n"]),
            Framing::Chunked,
            get(&["transfer-encoding: chunked\r\n"]),
        ),
        sent("E01 two lines", get(&[&asked("foo"), "Upgrade: bar\r\n"]), Framing::None, get(&[])),
        sent("E01 no option", get(&["Upgrade: foo\r\n"]), Framing::None, get(&[])),
        sent("E01 only an option", get(&["Connection: upgrade\r\n"]), Framing::None, get(&[])),
        sent(
            "E01 old",
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
            Framing::None,
            get(&[]),
        ),
    ];
    for protocol in ["foo/1", "foo, bar/2"] {
        rows.push(sent("E01", get(&[&asked(protocol)]), Framing::None, get(&[&written(protocol)])));
    }
    for protocol in ["", ",", "foo bar", "f;o"] {
        rows.push(sent("E01 no protocol", get(&[&asked(protocol)]), Framing::None, get(&[])));
    }
    for protocol in ["h2c", "H2C", "foo, h2c"] {
        let settings = "HTTP2-Settings: AAMAAABk\r\n";
        rows.push(sent("E03", get(&[&asked(protocol), settings]), Framing::None, get(&[])));
    }
    hold(&rows, relay);
}

#[test]
fn a_handshake_that_no_websocket_server_accepts_is_refused() {
    let asked = "Connection: upgrade\r\nUpgrade: WebSocket\r\n";
    let key = "Sec-WebSocket-Key: x\r\n";
    let post = get(&[asked, WEBSOCKET]).replace("GET", "POST");
    let old = get(&[asked, WEBSOCKET]).replace("HTTP/1.1", "HTTP/1.0");
    hold(
        &[
            refused("E04 no version", get(&[asked, key]), Error::UpgradeVersion),
            refused("E04 version", get(&[asked, key, "Sec-WebSocket-Version: 8\r\n"]), Error::UpgradeVersion),
            refused("E04 no key", get(&[asked, "Sec-WebSocket-Version: 13\r\n"]), Error::Upgrade),
            refused("E04 POST", post, Error::Upgrade),
            refused("E04 HTTP/1.0", old, Error::Upgrade),
            refused("E04 no option", get(&["Upgrade: websocket\r\n", WEBSOCKET]), Error::Upgrade),
        ],
        relay,
    );
}
