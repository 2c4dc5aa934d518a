//! What a server makes of frames that a client should not send, row by row of RFC 9113 (and thereby of the public suite
//! h2spec): which bytes, and what becomes of the stream or the connection.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what stumbles is a test that fails"
)]

#[path = "h2/wire.rs"]
mod wire;

use spurline_http::h2::{ErrorCode, Event, ResetBy, Violation};
use wire::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing is wrong.
    Fine,
    /// The stream is reset, and another one still works.
    Stream(u32, ErrorCode),
    Connection(ErrorCode),
}

use Outcome::{Connection, Fine, Stream};

const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;
const CLOSED: ErrorCode = ErrorCode::STREAM_CLOSED;
const FLOW: ErrorCode = ErrorCode::FLOW_CONTROL_ERROR;
const SIZE: ErrorCode = ErrorCode::FRAME_SIZE_ERROR;

type Row = (&'static str, Vec<Vec<u8>>, Outcome);

/// Feeds each row to a new server whole, and byte by byte, which must make no difference.
#[track_caller]
fn check(rows: Vec<Row>) {
    for (name, parts, expected) in rows {
        let bytes = parts.concat();
        for step in [bytes.len(), 1] {
            let mut fed = Fed::server();
            let outcome = bytes.chunks(step).try_for_each(|chunk| fed.feed(chunk).map(|_| ()));
            let written = fed.output();
            let seen = match outcome {
                Err(violation) => {
                    let last = written.last().unwrap();
                    assert_eq!((last.kind, last.code()), (GOAWAY, violation.code()), "{name}");
                    assert_eq!(fed.feed(&get(99)), Err(violation), "{name}: it goes on");
                    Connection(violation.code())
                }
                Ok(()) => {
                    let reset = written.iter().find(|frame| frame.kind == RST_STREAM);
                    fed.connection.ping();
                    assert!(fed.feed(&get(99)).is_ok_and(|events| events.len() == 1), "{name}: it stops");
                    reset.map_or(Fine, |frame| Stream(frame.stream, frame.code()))
                }
            };
            assert_eq!(seen, expected, "{name}, {step} bytes at a time");
        }
    }
}

#[test]
fn section_3_4_the_preface_comes_first() {
    let fresh = || spurline_http::h2::Connection::new(spurline_http::h2::Role::Server, Default::default());
    let mut head = Default::default();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"] {
        let outcome = fresh().receive(bytes, &mut head, Default::default());
        assert_eq!(outcome, Err(Violation::Preface));
    }
    for first in [get(1), frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[])] {
        let mut server = fresh();
        assert_eq!(server.receive(PREFACE, &mut head, Default::default()), Ok((24, Event::Nothing)));
        assert_eq!(server.receive(&first, &mut head, Default::default()), Err(Violation::Preface));
    }
}

#[test]
fn section_4_frames() {
    check(vec![
        ("unknown type", vec![frame(0xfe, 0xff, 0, b"abc"), frame(0xfe, 0, 7, b"")], Fine),
        ("undefined flags", vec![frame(PING, 0x16, 0, &[0; 8])], Fine),
        ("reserved bit", vec![frame(PING, 0, 0x8000_0000, &[0; 8])], Fine),
        ("data of 2^14", vec![post(1), data(1, END_STREAM, &[0; 16_384])], Fine),
        ("data too large", vec![post(1), data(1, 0, &[0; 16_385])], Connection(SIZE)),
        ("head too large", vec![frame(HEADERS, 5, 1, &[0; 16_385])], Connection(SIZE)),
        ("unknown too large", vec![frame(0xfe, 0, 0, &[0; 16_385])], Connection(SIZE)),
        ("no HPACK", vec![frame(HEADERS, 5, 1, b"\x80")], Connection(ErrorCode::COMPRESSION_ERROR)),
    ]);
}

#[test]
fn section_4_3_nothing_interrupts_a_header_block() {
    let open = || frame(HEADERS, END_STREAM, 1, &block(GET));
    let rest = || frame(CONTINUATION, END_HEADERS, 1, &[]);
    check(vec![
        ("continued", vec![open(), rest()], Fine),
        ("in three", vec![open(), frame(CONTINUATION, 0, 1, &block(&[("a", "b")])), rest()], Fine),
        ("priority within", vec![open(), frame(PRIORITY, 0, 1, &[0; 5])], Connection(PROTOCOL)),
        ("unknown within", vec![open(), frame(0xfe, 0, 1, &[])], Connection(PROTOCOL)),
        ("data within", vec![open(), data(1, 0, b"x")], Connection(PROTOCOL)),
        ("other head within", vec![open(), get(3)], Connection(PROTOCOL)),
        ("other stream", vec![open(), frame(CONTINUATION, 4, 3, &[])], Connection(PROTOCOL)),
        ("stream 0", vec![open(), frame(CONTINUATION, 4, 0, &[])], Connection(PROTOCOL)),
        ("after the end", vec![get(1), rest()], Connection(PROTOCOL)),
        ("after its end", vec![open(), rest(), rest()], Connection(PROTOCOL)),
        ("after data", vec![post(1), data(1, 0, b"x"), rest()], Connection(PROTOCOL)),
        ("out of nothing", vec![rest()], Connection(PROTOCOL)),
    ]);
}

#[test]
fn section_5_1_states() {
    let closed = || [get(1), reset(1, ErrorCode::CANCEL)].concat();
    check(vec![
        ("idle: data", vec![data(1, 0, b"x")], Connection(PROTOCOL)),
        ("idle: reset", vec![reset(1, ErrorCode::CANCEL)], Connection(PROTOCOL)),
        ("idle: window", vec![window_update(1, 1)], Connection(PROTOCOL)),
        ("idle: priority", vec![frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 0])], Fine),
        ("half-closed: data", vec![get(1), data(1, 0, b"x")], Stream(1, CLOSED)),
        ("half-closed: head", vec![get(1), get(1)], Stream(1, CLOSED)),
        ("half-closed: window", vec![get(1), window_update(1, 1)], Fine),
        ("half-closed: priority", vec![get(1), frame(PRIORITY, 0, 1, &[0; 5])], Fine),
        ("half-closed: reset", vec![closed()], Fine),
        ("reset: data", vec![closed(), data(1, 0, b"x")], Stream(1, CLOSED)),
        ("reset: head", vec![closed(), get(1)], Stream(1, CLOSED)),
        ("reset: reset", vec![closed(), reset(1, ErrorCode::CANCEL)], Fine),
        ("reset: window", vec![closed(), window_update(1, 1)], Fine),
        ("reset: priority", vec![closed(), frame(PRIORITY, 0, 1, &[0; 5])], Fine),
        ("even", vec![get(2)], Connection(PROTOCOL)),
        ("even: window", vec![get(3), window_update(2, 1)], Connection(PROTOCOL)),
        ("falling", vec![get(5), get(3)], Connection(PROTOCOL)),
        ("skipped: data", vec![get(5), data(3, 0, b"x")], Connection(PROTOCOL)),
    ]);
}

#[test]
fn section_5_1_a_stream_that_ended_takes_nothing() {
    for (name, late, expected) in [
        ("data", data(1, 0, b"x"), Err(Violation::StreamClosed)),
        ("head", get(1), Err(Violation::StreamClosed)),
        ("window", window_update(1, 1), Ok(vec![])),
        ("reset", reset(1, ErrorCode::CANCEL), Ok(vec![])),
    ] {
        let mut fed = Fed::server();
        let events = fed.feed(&get(1)).unwrap();
        let [Event::Head { id, .. }] = events[..] else { panic!("{events:?}") };
        fed.connection.send_head(id, &response(200), spurline_http::h2::End::Stream).unwrap();
        assert!(fed.connection.is_idle());
        assert_eq!(fed.feed(&late), expected, "{name}");
    }
}

#[test]
fn section_5_1_2_streams_above_the_limit_are_refused() {
    let mut fed = Fed::server();
    for id in 0..100 {
        assert_eq!(fed.feed(&post(2 * id + 1)).unwrap().len(), 1);
    }
    fed.output();
    let events = fed.feed(&post(201)).unwrap();
    let refused = ErrorCode::REFUSED_STREAM;
    assert!(matches!(events[..], [Event::Reset { code, by: ResetBy::Us(_), .. }] if code == refused));
    assert_eq!(fed.connection.open_streams(), 100);
    fed.feed(&[data(201, END_STREAM, b"x"), reset(1, ErrorCode::CANCEL), post(203)].concat()).unwrap();
    assert_eq!(fed.connection.open_streams(), 100);
}

#[test]
fn section_5_3_nothing_depends_on_itself() {
    let priority = |id: u32| [&id.to_be_bytes()[..], &[0]].concat();
    let dependent =
        |id| frame(HEADERS, END_STREAM | END_HEADERS | HAS_PRIORITY, 1, &[priority(id), block(GET)].concat());
    check(vec![
        ("head", vec![dependent(1)], Stream(1, PROTOCOL)),
        ("head on another", vec![dependent(3)], Fine),
        ("exclusive", vec![dependent(0x8000_0001)], Stream(1, PROTOCOL)),
        ("priority", vec![post(1), frame(PRIORITY, 0, 1, &priority(1))], Stream(1, PROTOCOL)),
        ("priority, idle", vec![frame(PRIORITY, 0, 1, &priority(1))], Connection(PROTOCOL)),
        ("length", vec![post(1), frame(PRIORITY, 0, 1, &[0; 4])], Stream(1, SIZE)),
        ("stream 0", vec![frame(PRIORITY, 0, 0, &[0; 5])], Connection(PROTOCOL)),
    ]);
}

#[test]
fn sections_6_1_to_6_4_data_heads_and_resets() {
    let padded =
        |kind, length, rest: &[u8]| frame(kind, PADDED | END_HEADERS, 1, &[&[length][..], rest].concat());
    check(vec![
        ("data, stream 0", vec![data(0, 0, b"x")], Connection(PROTOCOL)),
        ("data, padding", vec![post(1), padded(DATA, 3, b"x\0\0\0")], Fine),
        ("data, all padding", vec![post(1), padded(DATA, 3, b"\0\0\0")], Fine),
        ("data, padding too long", vec![post(1), padded(DATA, 4, b"\0\0\0")], Connection(PROTOCOL)),
        ("data, no padding", vec![post(1), frame(DATA, PADDED, 1, b"")], Connection(SIZE)),
        ("head, stream 0", vec![get(0)], Connection(PROTOCOL)),
        ("head, padding", vec![padded(HEADERS, 1, &[block(GET), vec![0]].concat())], Fine),
        ("head, padding too long", vec![padded(HEADERS, 9, b"\0\0\0")], Connection(PROTOCOL)),
        ("reset, stream 0", vec![reset(0, ErrorCode::CANCEL)], Connection(PROTOCOL)),
        ("reset, length", vec![post(1), frame(RST_STREAM, 0, 1, &[0; 3])], Connection(SIZE)),
        ("reset, unknown code", vec![post(1), reset(1, ErrorCode(0xff))], Fine),
        ("push", vec![post(1), frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])], Connection(PROTOCOL)),
    ]);
}

#[test]
fn section_6_5_settings() {
    check(vec![
        ("ack", vec![frame(SETTINGS, ACK, 0, &[])], Connection(PROTOCOL)),
        ("ack with content", vec![frame(SETTINGS, ACK, 0, &[0; 6])], Connection(SIZE)),
        ("on a stream", vec![frame(SETTINGS, 0, 1, &[])], Connection(PROTOCOL)),
        ("length", vec![frame(SETTINGS, 0, 0, &[0; 5])], Connection(SIZE)),
        ("push 2", vec![settings(&[(2, 2)])], Connection(PROTOCOL)),
        ("window 2^31", vec![settings(&[(4, 1 << 31)])], Connection(FLOW)),
        ("frame 16383", vec![settings(&[(5, 16_383)])], Connection(PROTOCOL)),
        ("frame 2^24", vec![settings(&[(5, 1 << 24)])], Connection(PROTOCOL)),
        ("unknown", vec![settings(&[(0xff, 1)])], Fine),
        ("twice", vec![settings(&[(4, 100), (4, 1)])], Fine),
        (
            "window of a stream",
            vec![post(1), window_update(1, 0x7fff_0000), settings(&[(4, 0x7fff_ffff)])],
            Connection(FLOW),
        ),
    ]);
}

#[test]
fn sections_6_7_and_6_8_ping_and_go_away() {
    check(vec![
        ("ping on a stream", vec![frame(PING, 0, 1, &[0; 8])], Connection(PROTOCOL)),
        ("ping, length", vec![frame(PING, 0, 0, &[0; 7])], Connection(SIZE)),
        ("answer to none", vec![frame(PING, ACK, 0, &[0; 8])], Fine),
        ("goaway on a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], Connection(PROTOCOL)),
        ("goaway, length", vec![frame(GOAWAY, 0, 0, &[0; 7])], Connection(SIZE)),
        ("goaway, words", vec![frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xffbye")], Fine),
    ]);
    let mut fed = Fed::server();
    fed.feed(&frame(PING, 0, 0, b"abcdefgh")).unwrap();
    assert_eq!(fed.output(), [Frame { kind: PING, flags: ACK, stream: 0, payload: b"abcdefgh".to_vec() }]);
}

#[test]
fn section_6_9_windows() {
    check(vec![
        ("0", vec![window_update(0, 0)], Connection(PROTOCOL)),
        ("0 on a stream", vec![post(1), window_update(1, 0)], Stream(1, PROTOCOL)),
        ("length", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], Connection(SIZE)),
        ("overflow", vec![window_update(0, 0x7fff_ffff)], Connection(FLOW)),
        ("to the brim", vec![window_update(0, 0x7fff_ffff - 65_535)], Fine),
        ("overflow on a stream", vec![post(1), window_update(1, 0x7fff_ffff)], Stream(1, FLOW)),
        (
            "more data than a stream may have",
            vec![post(1), data(1, 0, &[0; 16_384]), data(1, 0, b"x")],
            Stream(1, FLOW),
        ),
        (
            "more data than the connection may have",
            (0..65).flat_map(|id| [post(2 * id + 1), data(2 * id + 1, 0, &[0; 16_384])]).collect(),
            Connection(FLOW),
        ),
    ]);
}

#[test]
fn section_8_messages() {
    let length = |length| headers(1, 0, &[POST, &[("content-length", length)]].concat());
    let trailers = |flags| headers(1, flags, &[("a", "b")]);
    check(vec![
        ("length", vec![length("3"), data(1, END_STREAM, b"abc")], Fine),
        ("length in two", vec![length("3"), data(1, 0, b"ab"), data(1, END_STREAM, b"c")], Fine),
        ("length and trailers", vec![length("1"), data(1, 0, b"a"), trailers(END_STREAM)], Fine),
        ("too much", vec![length("2"), data(1, 0, b"abc")], Stream(1, PROTOCOL)),
        ("too little", vec![length("4"), data(1, END_STREAM, b"abc")], Stream(1, PROTOCOL)),
        ("too little in two", vec![length("4"), data(1, 0, b"ab"), data(1, 1, b"c")], Stream(1, PROTOCOL)),
        ("too little, trailers", vec![length("4"), data(1, 0, b"a"), trailers(1)], Stream(1, PROTOCOL)),
        (
            "none at all",
            vec![headers(1, END_STREAM, &[POST, &[("content-length", "4")]].concat())],
            Stream(1, PROTOCOL),
        ),
        ("trailers", vec![post(1), data(1, 0, b"a"), trailers(END_STREAM)], Fine),
        ("trailers that do not end it", vec![post(1), trailers(0)], Stream(1, PROTOCOL)),
        ("after trailers", vec![post(1), trailers(1), data(1, 1, b"a")], Stream(1, CLOSED)),
        ("trailers with a path", vec![post(1), headers(1, 1, &[(":path", "/")])], Stream(1, PROTOCOL)),
        ("no method", vec![headers(1, 1, &GET[1..])], Stream(1, PROTOCOL)),
        ("connection field", vec![headers(1, 1, &[GET, &[("te", "gzip")]].concat())], Stream(1, PROTOCOL)),
    ]);
}

#[test]
fn a_request_that_breaks_a_limit_can_be_answered() {
    let mut fed = Fed::server();
    let fields: Vec<(String, &str)> = (0..120).map(|i| (format!("x-{i}"), "y")).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let events = fed.feed(&headers(1, 0, &[POST, &fields].concat())).unwrap();
    let [Event::Refused { id, error }] = events[..] else { panic!("{events:?}") };
    assert_eq!(error.status(), 431);
    assert_eq!(fed.feed(&data(1, 0, &[0; 1000])), Ok(vec![]), "its body is dropped");
    fed.connection.send_head(id, &response(431), spurline_http::h2::End::Stream).unwrap();
    fed.connection.reset(id, ErrorCode::NO_ERROR);
    let written: Vec<u8> = fed.output().iter().map(|frame| frame.kind).collect();
    assert_eq!(written, [HEADERS, RST_STREAM]);
    assert!(fed.connection.is_idle());
}

#[test]
fn extended_connect_is_taken_only_where_it_is_offered() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a"),
    ];
    let mut fed = Fed::server();
    let events = fed.feed(&headers(1, 0, &fields)).unwrap();
    assert!(matches!(&events[..], [Event::Head { meta, .. }] if meta.has_protocol), "{events:?}");
    let ours = spurline_http::h2::Settings { connect_protocol: false, ..Default::default() };
    let mut fed = Fed::new(spurline_http::h2::Role::Server, ours);
    let events = fed.feed(&headers(1, 0, &fields)).unwrap();
    assert!(
        matches!(events[..], [Event::Reset { by: ResetBy::Us(Violation::ConnectProtocol), .. }]),
        "{events:?}"
    );
}
