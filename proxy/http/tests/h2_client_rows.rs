//! What a client makes of what a server sends, row by row of RFC 9113 (and thereby of the client half of the public suite
//! h2spec).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what stumbles is a test that fails"
)]

#[path = "h2/wire.rs"]
mod wire;

use spurline_http::h2::{
    Connection, End, ErrorCode, Event, GoAway, Gone, OpenError, ResetBy, Role, Scheme, Settings, StreamId,
    Violation,
};
use wire::*;

const OK: &[(&str, &str)] = &[(":status", "200")];

fn length(status: &'static str, length: &'static str) -> [(&'static str, &'static str); 2] {
    [(":status", status), ("content-length", length)]
}

/// What becomes of stream 1, which carries a request with that method, when the server sends that.
#[track_caller]
fn outcome(name: &str, method: &str, bytes: &[u8]) -> Result<Vec<Event>, Violation> {
    let mut whole = Fed::client();
    whole.open(method, End::Stream);
    let outcome = whole.feed(bytes);
    let mut split = Fed::client();
    split.open(method, End::Stream);
    let result = bytes.chunks(1).try_for_each(|chunk| split.feed(chunk).map(|_| ()));
    assert_eq!(result.err(), outcome.as_ref().err().copied(), "{name}: byte by byte");
    assert_eq!(split.connection.open_streams(), whole.connection.open_streams(), "{name}: byte by byte");
    outcome
}

#[track_caller]
fn connection_errors(rows: Vec<(&str, Vec<u8>, Violation)>) {
    for (name, bytes, violation) in rows {
        assert_eq!(outcome(name, "GET", &bytes), Err(violation), "{name}");
    }
}

#[track_caller]
fn stream_errors(method: &str, rows: Vec<(&str, Vec<u8>, Violation)>) {
    for (name, bytes, violation) in rows {
        let events = outcome(name, method, &bytes).unwrap();
        let by_us =
            |event: &Event| matches!(event, Event::Reset { by: ResetBy::Us(v), .. } if *v == violation);
        assert!(events.last().is_some_and(by_us), "{name}: {events:?}");
    }
}

#[track_caller]
fn fine(method: &str, rows: Vec<(&str, Vec<u8>)>) {
    for (name, bytes) in rows {
        let events = outcome(name, method, &bytes).unwrap();
        let is_reset = |event: &Event| matches!(event, Event::Reset { .. });
        assert!(!events.iter().any(is_reset), "{name}: {events:?}");
    }
}

#[test]
fn frames_that_end_the_connection() {
    connection_errors(vec![
        ("push", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]), Violation::Push),
        ("push enabled", settings(&[(2, 1)]), Violation::Setting),
        ("idle data", data(3, 0, b"x"), Violation::StreamId),
        ("idle head", headers(3, 0, OK), Violation::StreamId),
        ("idle reset", reset(3, ErrorCode::CANCEL), Violation::StreamId),
        ("idle window", window_update(3, 1), Violation::StreamId),
        ("even head", headers(2, 0, OK), Violation::StreamId),
        ("after the end", [headers(1, 1, OK), data(1, 0, b"x")].concat(), Violation::StreamClosed),
        ("head after the end", [headers(1, 1, OK), headers(1, 1, OK)].concat(), Violation::StreamClosed),
        ("too large", frame(DATA, 0, 1, &[0; 16_385]), Violation::FrameSize),
    ]);
}

#[test]
fn messages_that_end_their_stream() {
    let head = |fields: &[(&str, &str)]| headers(1, 0, fields);
    let last = |fields: &[(&str, &str)]| headers(1, END_STREAM, fields);
    stream_errors(
        "GET",
        vec![
            ("data first", data(1, 0, b"x"), Violation::MissingHead),
            ("too much", [head(&length("200", "1")), data(1, 1, b"ab")].concat(), Violation::ContentLength),
            ("too little", [head(&length("200", "3")), data(1, 1, b"ab")].concat(), Violation::ContentLength),
            ("none", last(&length("200", "3")), Violation::ContentLength),
            (
                "body of 204",
                [head(&[(":status", "204")]), data(1, 1, b"a")].concat(),
                Violation::ContentLength,
            ),
            ("body of 304", [head(&length("304", "1")), data(1, 1, b"a")].concat(), Violation::ContentLength),
            ("interim at the end", last(&[(":status", "103")]), Violation::Interim),
            ("nine interims", headers(1, 0, &[(":status", "103")]).repeat(9), Violation::Interim),
            ("two heads", [head(OK), head(OK)].concat(), Violation::TrailersNotLast),
            ("window 0", window_update(1, 0), Violation::WindowIncrement),
        ],
    );
    stream_errors(
        "HEAD",
        vec![(
            "body for HEAD",
            [head(&length("200", "1")), data(1, 1, b"a")].concat(),
            Violation::ContentLength,
        )],
    );
    for (name, fields) in [
        ("no status", &[("a", "b")][..]),
        ("101", &[(":status", "101")]),
        ("a method", &[(":status", "200"), (":method", "GET")]),
        ("upper case", &[(":status", "200"), ("A", "b")]),
        ("connection", &[(":status", "200"), ("connection", "close")]),
    ] {
        let events = outcome(name, "GET", &headers(1, 1, fields)).unwrap();
        assert!(
            matches!(events[..], [Event::Reset { by: ResetBy::Us(Violation::Message(_)), .. }]),
            "{name}: {events:?}"
        );
    }
}

#[test]
fn messages_that_are_fine() {
    let head = |fields: &[(&str, &str)]| headers(1, 0, fields);
    let last = |fields: &[(&str, &str)]| headers(1, END_STREAM, fields);
    fine(
        "GET",
        vec![
            ("length", [head(&length("200", "2")), data(1, 1, b"ab")].concat()),
            ("trailers", [head(OK), data(1, 0, b"ab"), last(&[("grpc-status", "0")])].concat()),
            ("head alone", last(OK)),
            ("304 with a length", last(&length("304", "9"))),
            ("interims", [head(&[(":status", "103")]).repeat(8), last(OK)].concat()),
            ("empty end", [head(&length("204", "0")), data(1, 1, b"")].concat()),
        ],
    );
    fine(
        "HEAD",
        vec![
            ("length for HEAD", last(&length("200", "9"))),
            ("length for HEAD, empty data", [head(&length("200", "9")), data(1, 1, b"")].concat()),
        ],
    );
}

#[test]
fn a_request_is_written_as_frames_say_it() {
    let mut client = Fed::client();
    let id = client.open("POST", End::More);
    assert_eq!(client.connection.send_data(id, b"abc", End::More), Ok(3));
    client.connection.send_trailers(id, &trailers()).unwrap();
    let seen: Vec<_> = client.output().iter().map(|frame| (frame.kind, frame.flags, frame.stream)).collect();
    assert_eq!(seen, [(HEADERS, END_HEADERS, 1), (DATA, 0, 1), (HEADERS, END_HEADERS | END_STREAM, 1)]);
    assert_eq!(client.connection.send_data(id, b"", End::Stream), Err(Gone));
    assert_eq!(client.connection.send_trailers(id, &trailers()), Err(Gone));
}

#[test]
fn a_head_of_more_than_a_frame_is_continued() {
    let mut client = Fed::client();
    let mut head = request("GET");
    for i in 0..50_u8 {
        // Half of these bytes have long codes, so that Huffman coding does not shorten them below a frame.
        head.append(format!("x-{i}").as_bytes(), "\u{e9}{|}~".repeat(80).as_bytes()).unwrap();
    }
    client.connection.open(&head, Scheme::Http, End::Stream).unwrap();
    let written = client.output();
    let seen: Vec<_> = written.iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(seen[..1], [(HEADERS, END_STREAM)]);
    assert_eq!(seen.last(), Some(&(CONTINUATION, END_HEADERS)));
    let settings = Settings {
        limits: spurline_http::Limits { head_bytes_max: 100_000, ..Default::default() },
        ..Default::default()
    };
    let mut server = Fed::new(Role::Server, settings);
    let bytes: Vec<u8> = written.iter().flat_map(|f| frame(f.kind, f.flags, f.stream, &f.payload)).collect();
    let events = server.feed(&bytes).unwrap();
    assert!(matches!(events[..], [Event::Head { end: End::Stream, .. }]), "{events:?}");
    assert_eq!(server.head.pairs().count(), head.pairs().count());
}

#[test]
fn streams_are_opened_up_to_the_limit_of_the_peer_and_of_ours() {
    let mut client = Fed::client();
    let try_open = |client: &mut Fed| client.connection.open(&request("GET"), Scheme::Http, End::Stream);
    client.feed(&settings(&[(3, 2)])).unwrap();
    assert!(try_open(&mut client).is_ok() && try_open(&mut client).is_ok());
    assert_eq!(try_open(&mut client), Err(OpenError::TooManyStreams));
    client.feed(&headers(1, END_STREAM, OK)).unwrap();
    assert!(try_open(&mut client).is_ok());
    client.feed(&settings(&[(3, 0)])).unwrap();
    assert_eq!(try_open(&mut client), Err(OpenError::TooManyStreams));
    client.feed(&settings(&[(3, 1000)])).unwrap();
    let opened = (0..1000).take_while(|_| try_open(&mut client).is_ok()).count();
    assert_eq!(opened + 2, 100);
}

#[test]
fn nothing_is_opened_while_too_much_waits_to_be_written() {
    let mut client = Fed::client();
    let outcome = (0..100_000).find_map(|_| {
        let opened = client.connection.open(&request("GET"), Scheme::Http, End::Stream);
        opened.map(|id| client.connection.reset(id, ErrorCode::CANCEL)).err()
    });
    assert_eq!(outcome, Some(OpenError::OutputFull));
    client.output();
    assert!(client.connection.open(&request("GET"), Scheme::Http, End::Stream).is_ok());
}

#[test]
fn a_frame_may_always_wait_to_be_written() {
    let ours = Settings { output_bytes_max: 0, ..Default::default() };
    let mut connection = Connection::new(Role::Client, ours);
    let id = connection.open(&request("POST"), Scheme::Http, End::More).unwrap();
    connection.swap_output(&mut Vec::new());
    assert_eq!(connection.send_data(id, &[0; 100], End::Stream), Ok(100));
}

#[test]
fn streams_above_the_last_of_a_go_away_are_gone_and_the_others_go_on() {
    let mut client = Fed::client();
    let ids: Vec<StreamId> = (0..3).map(|_| client.open("GET", End::Stream)).collect();
    let events = client.feed(&frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0])).unwrap();
    assert_eq!(events, [Event::GoAway { last: ids[1], code: ErrorCode::NO_ERROR }]);
    assert_eq!(client.connection.open_streams(), 2);
    let opened = client.connection.open(&request("GET"), Scheme::Http, End::Stream);
    assert_eq!(opened, Err(OpenError::GoingAway));
    assert_eq!(client.feed(&headers(5, 0, OK)), Ok(vec![]), "it was under way");
    let events = client.feed(&[headers(1, 1, OK), headers(3, 1, OK)].concat()).unwrap();
    assert_eq!(events.len(), 2);
    assert!(client.connection.is_idle() && client.connection.is_going_away());
}

#[test]
fn what_was_under_way_when_a_stream_was_reset_is_ignored_and_keeps_the_tables_right() {
    let mut client = Fed::client();
    let id = client.open("GET", End::Stream);
    client.connection.reset(id, ErrorCode::CANCEL);
    // Indexed by the late head, and used by the next.
    let late = frame(HEADERS, END_HEADERS, 1, &[&[0x88, 0x40, 1, b'x', 1, b'y'][..]].concat());
    let rest = [data(1, 0, b"late"), headers(1, 1, &[("t", "u")]), window_update(1, 5)].concat();
    assert_eq!(client.feed(&[late, rest, reset(1, ErrorCode::NO_ERROR)].concat()), Ok(vec![]));
    client.open("GET", End::Stream);
    let events = client.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x88, 0x80 | 62])).unwrap();
    assert_eq!(events.len(), 1);
    assert!(client.head.pairs().any(|pair| pair == (b"x", b"y")));
}

#[test]
fn a_response_that_is_complete_before_the_request_stands_although_the_rest_is_not_wanted() {
    let mut client = Fed::client();
    let id = client.open("POST", End::More);
    let events = client.feed(&[headers(1, 1, OK), reset(1, ErrorCode::NO_ERROR)].concat()).unwrap();
    assert!(matches!(
        events[..],
        [
            Event::Head { end: End::Stream, .. },
            Event::Reset { code: ErrorCode::NO_ERROR, by: ResetBy::Peer, .. }
        ]
    ));
    assert_eq!(client.connection.send_data(id, b"x", End::Stream), Err(Gone));
}

#[test]
fn a_server_goes_away_in_two_steps_and_a_client_in_one() {
    let mut server = Fed::server();
    server.feed(&get(1)).unwrap();
    server.connection.go_away(GoAway::Graceful);
    let written = server.output();
    let (first, ping) = (&written[0], &written[1]);
    assert_eq!((first.kind, first.number(), first.code()), (GOAWAY, 0x7fff_ffff, ErrorCode::NO_ERROR));
    assert_eq!(server.feed(&get(3)).unwrap().len(), 1, "it was under way");
    server.feed(&frame(PING, ACK, 0, &ping.payload)).unwrap();
    let written = server.output();
    assert_eq!((written[0].kind, written[0].number()), (GOAWAY, 3));
    let late = [get(5), post(7), data(7, 0, &[0; 1000]), reset(7, ErrorCode::CANCEL)].concat();
    assert_eq!(server.feed(&late), Ok(vec![]), "it is not told to whoever serves");
    assert_eq!(server.connection.open_streams(), 2);

    let mut client = Fed::client();
    client.connection.go_away(GoAway::Graceful);
    let written = client.output();
    assert_eq!((written.len(), written[0].kind, written[0].number()), (1, GOAWAY, 0));
}

#[test]
fn a_connection_is_left_after_as_many_streams_as_it_may_have() {
    let ours = Settings { streams_total_max: 2, ..Default::default() };
    let mut server = Fed::new(Role::Server, ours);
    server.feed(&get(1)).unwrap();
    assert!(!server.connection.is_going_away());
    server.feed(&get(3)).unwrap();
    assert!(server.connection.is_going_away());
    let mut client = Fed::new(Role::Client, ours);
    client.open("GET", End::Stream);
    client.open("GET", End::Stream);
    let opened = client.connection.open(&request("GET"), Scheme::Http, End::Stream);
    assert_eq!(opened, Err(OpenError::Exhausted));
}

#[test]
fn a_ping_is_answered_once() {
    let mut client = Fed::client();
    client.connection.ping();
    let payload = client.output()[0].payload.clone();
    let answer = frame(PING, ACK, 0, &payload);
    assert_eq!(client.feed(&answer), Ok(vec![Event::Pong]));
    assert_eq!(client.feed(&answer), Ok(vec![]));
}
