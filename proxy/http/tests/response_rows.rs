//! Hostile and odd responses, as far as the codec alone decides what becomes of them. Each row is what an upstream
//! sends and what is sent on to an HTTP/1.1 client, or why it is refused. The letters are sections: C hop-by-hop
//! fields, D interim responses, E upgrades, F responses.

#[path = "rows/heads.rs"]
mod heads;

use heads::{Sent, hold, refused, sent, sent_before};
use spurline_http::{
    ConnectionOptions, Error, Framing, Head, Limits, Method, Version, connection_options,
    h1::{
        Persistence, ResponseEncoding, accepted_protocol, encode_response, read_request, read_response,
        requested_upgrade,
    },
    remove_hop_by_hop,
};

/// Reads a response to a request with `method` and makes it fit to be sent on, as the relay does.
fn relay_to(
    method: &'static [u8],
    client: Version,
    persistence: Persistence,
) -> impl Fn(&[u8]) -> Result<Option<Sent>, Error> {
    move |input| {
        let mut head = Head::default();
        let read = read_response(input, Method(method), &Limits::default(), &mut head)?;
        let Some(read) = read else { return Ok(None) };
        connection_options(&mut head, |_| false)?;
        remove_hop_by_hop(&mut head);
        let mut out = Vec::new();
        let encoding = ResponseEncoding { framing: read.framing, client, persistence, upgrade: None };
        encode_response(&head, encoding, &mut out);
        let head = out.escape_ascii().to_string();
        Ok(Some(Sent { head, framing: read.framing, consumed: read.consumed }))
    }
}

fn relay(input: &[u8]) -> Result<Option<Sent>, Error> {
    relay_to(b"GET", Version::Http11, Persistence::KeepAlive)(input)
}

/// A response with these lines, each with its CRLF.
fn response(lines: impl AsRef<[u8]>) -> Vec<u8> {
    status("200 OK", lines)
}

/// A response with this status and reason.
fn status(status: &str, lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"HTTP/1.1 ", status.as_bytes(), b"\r\n", lines.as_ref(), b"\r\n"].concat()
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";
const FIVE: &str = "Content-Length: 5\r\n";

#[test]
fn a_body_has_one_length_or_the_response_is_refused() {
    let mut rows = vec![
        sent("F00 length", response(FIVE), Framing::Length(5), response(FIVE)),
        sent(
            "F00 empty",
            response("Content-Length: 0\r\n"),
            Framing::None,
            response("Content-Length: 0\r\n"),
        ),
        sent("F00 chunked", response("Transfer-Encoding: Chunked\r\n"), Framing::Chunked, response(CHUNKED)),
        sent("F00 to the end", response(""), Framing::Close, response(CHUNKED)),
        sent("F00 HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", Framing::Close, response(CHUNKED)),
        refused("F01", response([FIVE, CHUNKED].concat()), Error::Framing),
        refused("F01", response([CHUNKED, FIVE].concat()), Error::Framing),
        sent(
            "F02 equal",
            response([FIVE, "X: 1\r\n", FIVE].concat()),
            Framing::Length(5),
            response([FIVE, "X: 1\r\n"].concat()),
        ),
        refused(
            "F02 different",
            response([FIVE, "Content-Length: 6\r\n"].concat()),
            Error::ContentLengthRepeated,
        ),
        refused("F04", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Error::TransferCoding),
        refused("F01 two codings", response(CHUNKED.repeat(2)), Error::TransferCoding),
    ];
    for value in ["5, 5", "5, 6", "+5", "-5", "0x5", "", "05", "5 5", "9223372036854775808"] {
        let bytes = response(format!("Content-Length: {value}\r\n"));
        rows.push(refused("F03", bytes, Error::ContentLength));
    }
    for value in ["gzip, chunked", "identity", "chunked, chunked", "xchunked", ""] {
        let bytes = response(format!("Transfer-Encoding: {value}\r\n"));
        rows.push(refused("F01 coding", bytes, Error::TransferCoding));
    }
    hold(&rows, relay);
}

#[test]
fn a_response_without_content_has_none_whatever_it_announces() {
    let mut rows = Vec::new();
    for never in ["204 No Content", "103 Early Hints", "100 Continue", "199 x"] {
        for lines in ["", FIVE, "Content-Length: 0\r\n", CHUNKED] {
            rows.push(sent("F06", status(never, lines), Framing::None, status(never, "")));
        }
        rows.push(refused("F06 both", status(never, [FIVE, CHUNKED].concat()), Error::Framing));
    }
    // A 304 tells the length that the content would have had, and no coding of what is not sent.
    rows.push(sent("F06", status("304 x", FIVE), Framing::None, status("304 x", FIVE)));
    rows.push(sent("F06", status("304 x", CHUNKED), Framing::None, status("304 x", "")));
    // A 205 is framed like any other (RFC 9112 section 6.3), so one with content does no harm.
    rows.push(sent("F06", status("205 x", FIVE), Framing::Length(5), status("205 x", FIVE)));
    rows.push(sent("F06", status("205 x", ""), Framing::Close, status("205 x", CHUNKED)));
    let bytes = status("204 x", FIVE);
    rows.push(sent_before("F06 with bytes", (&bytes, "hello"), Framing::None, status("204 x", "")));
    hold(&rows, relay);
}

#[test]
fn a_response_to_head_keeps_its_length_and_has_no_content() {
    let rows = [
        sent("F06 HEAD", response(FIVE), Framing::None, response(FIVE)),
        sent("F06 HEAD", response(CHUNKED), Framing::None, response("")),
        sent("F06 HEAD", response(""), Framing::None, response("")),
        sent_before("F06 HEAD", (&response(FIVE), "hello"), Framing::None, response(FIVE)),
        refused("F06 HEAD", response([FIVE, CHUNKED].concat()), Error::Framing),
    ];
    hold(&rows, relay_to(b"HEAD", Version::Http11, Persistence::KeepAlive));
}

#[test]
fn a_malformed_head_is_refused() {
    let mut rows = vec![
        refused("F05 bare LF", "HTTP/1.1 200 OK\nX: 1\r\n\r\n", Error::LineEnd),
        refused("F05 bare LF", response("X: 1\nY: 2\r\n"), Error::LineEnd),
        refused("F05 bare LF", "HTTP/1.1 200 OK\r\n\n", Error::LineEnd),
        refused("F05 bare CR", response("X: a\rb\r\n"), Error::Field),
        refused("F05 fold", response("X: 1\r\n b\r\n"), Error::Field),
        refused("F05 fold of a length", response("Content-Length: 5\r\n 0\r\n"), Error::Field),
        refused("F05 NUL", response("X: a\0b\r\n"), Error::Field),
        refused("F05 space before colon", response("Content-Length : 5\r\n"), Error::Field),
        refused("F05 no colon", response("X\r\n"), Error::Field),
        refused("F05 no name", response(": 1\r\n"), Error::Field),
        refused("F05 alias", response("content_length: 5\r\n"), Error::AmbiguousField),
        refused("F05 empty line before", ["\r\n".as_bytes(), &response("")].concat(), Error::StartLine),
        refused("F05 HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", Error::Version),
        refused("F05 not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", Error::Version),
        refused("F05 two spaces", "HTTP/1.1  200 OK\r\n\r\n", Error::Status),
        refused("F08 body bytes", "hello", Error::Version),
    ];
    for text in ["20", "2000 OK", "2x0 OK", "-20 OK", "099 OK", "600 OK", "999 OK", "", "200\tOK", "200 a\0b"]
    {
        rows.push(refused("F05 status", status(text, ""), Error::Status));
    }
    for byte in (0..=u8::MAX).filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        let bytes = response([b"Content-Length: 0\r\nX: a", [byte].as_slice(), b"b\r\n"].concat());
        match byte {
            b'\t' | b' '..=b'~' | 0x80.. => rows.push(sent("F05", &bytes, Framing::None, &bytes)),
            _ => rows.push(refused("F05", bytes, Error::Field)),
        }
    }
    hold(&rows, relay);
}

#[test]
fn a_status_line_is_sent_on_as_it_is_but_well_formed() {
    let empty = "Content-Length: 0\r\n";
    let mut rows: Vec<_> = ["200 OK", "200 ", "299 \t odd  ", "599 caf\u{e9}"]
        .into_iter()
        .map(|text| sent("F00 reason", status(text, empty), Framing::None, status(text, empty)))
        .collect();
    // RFC 9112 section 4: the space is sent even where there is no reason.
    rows.push(sent("F00 no space", status("200", empty), Framing::None, status("200 ", empty)));
    let old = format!("HTTP/1.0 404 Gone away\r\n{empty}\r\n");
    rows.push(sent("F00 HTTP/1.0", old, Framing::None, status("404 Gone away", empty)));
    hold(&rows, relay);
}

#[test]
fn a_head_over_a_limit_is_refused_at_the_limit() {
    let Limits { head_bytes_max, fields_max, .. } = Limits::default();
    let many = |count: usize| response([FIVE, &"X: 1\r\n".repeat(count - 1)].concat());
    let large = |bytes: usize| {
        let rest = response([FIVE, "X: \r\n"].concat()).len();
        response([FIVE, "X: ", &"a".repeat(bytes - rest), "\r\n"].concat())
    };
    hold(
        &[
            sent("F09 most fields", many(fields_max), Framing::Length(5), many(fields_max)),
            refused("F09 one over", many(fields_max + 1), Error::TooManyFields),
            sent("F09 largest", large(head_bytes_max), Framing::Length(5), large(head_bytes_max)),
            refused("F09 one over", large(head_bytes_max + 1), Error::HeadTooLarge),
            refused("F09 1 MiB of fields", large(1 << 20), Error::HeadTooLarge),
            refused(
                "F09 1 MiB of reason",
                status(&format!("200 {}", "a".repeat(1 << 20)), ""),
                Error::HeadTooLarge,
            ),
        ],
        relay,
    );
}

#[test]
fn bytes_behind_a_response_are_left_alone() {
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad";
    let bytes = response("Content-Length: 0\r\n");
    hold(&[sent_before("F07", (&bytes, next), Framing::None, &bytes)], relay);
}

#[test]
fn interim_responses_are_read_one_by_one() {
    let (hints, hint) = (status("103 Early Hints", "Link: </a>\r\n"), "HTTP/1.1 103 Early Hints\r\n\r\n");
    let rest = [hint, hint, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"].concat();
    hold(&[sent_before("D03", (&hints, &rest), Framing::None, &hints)], relay);
}

#[test]
fn what_is_meant_for_one_hop_goes_and_the_rest_stays() {
    let empty = "Content-Length: 0\r\n";
    let with = |lines: &str| response([lines, empty].concat());
    let cookies = with("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nsd-routing-key: k\r\nbaggage: a=1\r\n");
    let mut rows = vec![
        sent(
            "C02",
            with("Connection: close, X-Foo\r\nX-Foo: 1\r\nX-Bar: 2\r\n"),
            Framing::None,
            with("X-Bar: 2\r\n"),
        ),
        sent("C09", &cookies, Framing::None, &cookies),
        refused("C04", with("Connection: \u{fffd}\r\n"), Error::ConnectionOption),
        refused("C01", with("Connection: content-length\r\n"), Error::ConnectionOption),
    ];
    for name in ["Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Upgrade"] {
        rows.push(sent("C03", with(&format!("{name}: x\r\n")), Framing::None, with("")));
    }
    hold(&rows, relay);
}

#[test]
fn what_a_response_says_of_its_connection_is_ours() {
    let with = |lines: &str| response(["Content-Length: 0\r\n", lines].concat());
    for (client, persistence, line) in [
        (Version::Http11, Persistence::KeepAlive, ""),
        (Version::Http11, Persistence::Close, "connection: close\r\n"),
        (Version::Http10, Persistence::KeepAlive, "connection: keep-alive\r\n"),
        (Version::Http10, Persistence::Close, "connection: close\r\n"),
    ] {
        let received = with("Connection: keep-alive, close\r\n");
        let rows = [sent("C03", received, Framing::None, with(line))];
        hold(&rows, relay_to(b"GET", client, persistence));
    }
    // An HTTP/1.0 client knows no chunks: the body ends with the connection.
    let old = relay_to(b"GET", Version::Http10, Persistence::Close);
    let plain = response("connection: close\r\n");
    hold(
        &[
            sent("C03 chunked to HTTP/1.0", response(CHUNKED), Framing::Chunked, &plain),
            sent("C03 to the end to HTTP/1.0", response(""), Framing::Close, &plain),
        ],
        old,
    );
}

#[test]
fn only_a_switch_to_what_was_asked_for_is_accepted() {
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo/1, Bar\r\n\r\n";
    let mut head = Head::default();
    let read = read_request(asked.as_bytes(), &Limits::default(), &mut head).unwrap().unwrap();
    let options = connection_options(&mut head, |_| false).unwrap();
    let upgrade = requested_upgrade(&head, options, read.framing).unwrap().unwrap();
    let accepted = |lines: &str| {
        let bytes = status("101 Switching Protocols", lines);
        let mut head = Head::default();
        let both = [bytes.as_slice(), b"tunnel bytes"].concat();
        let read = read_response(&both, Method(b"GET"), &Limits::default(), &mut head).unwrap().unwrap();
        assert_eq!((read.consumed, read.framing), (bytes.len(), Framing::None), "E05: what follows is left");
        let options: ConnectionOptions = connection_options(&mut head, |_| false).unwrap();
        accepted_protocol(&head, options, &upgrade)
    };
    for (id, lines, expected) in [
        ("E05", "Connection: upgrade\r\nUpgrade: foo/1\r\n", Some("foo/1")),
        ("E05 case", "connection: UPGRADE\r\nUpgrade: bar\r\nContent-Length: 5\r\n", Some("bar")),
        ("E04 another", "Connection: upgrade\r\nUpgrade: baz\r\n", None),
        ("E04 one of them another", "Connection: upgrade\r\nUpgrade: bar, baz\r\n", None),
        ("E04 none", "Connection: upgrade\r\n", None),
        ("E04 empty", "Connection: upgrade\r\nUpgrade: ,\r\n", None),
        ("E04 no option", "Upgrade: bar\r\n", None),
        ("E04 two lines", "Connection: upgrade\r\nUpgrade: bar\r\nUpgrade: bar\r\n", None),
    ] {
        assert_eq!(accepted(lines).as_deref(), expected.map(str::as_bytes), "{id}");
    }
}
