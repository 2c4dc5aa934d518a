//! Windows, and who may send when: end to end, nothing lost, nobody starved.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what stumbles is a test that fails"
)]

#[path = "h2/wire.rs"]
mod wire;

use std::time::Duration;

use spurline_http::h2::{End, ErrorCode, Event, Gone, Role, Settings, StreamId};
use wire::*;

/// A client with that many requests whose bodies are to be sent, to a server that announced that.
fn sending(streams: usize, peer: &[(u16, u32)]) -> (Fed, Vec<StreamId>) {
    let mut client = Fed::client();
    client.feed(&settings(peer)).unwrap();
    let ids = (0..streams).map(|_| client.open("POST", End::More)).collect();
    client.output();
    (client, ids)
}

/// Bytes of data by stream in what was written.
fn sent(frames: &[Frame]) -> Vec<(u32, usize)> {
    frames
        .iter()
        .filter(|frame| frame.kind == DATA)
        .map(|frame| (frame.stream, frame.payload.len()))
        .collect()
}

fn increments(frames: &[Frame], stream: u32) -> u32 {
    let of = |frame: &&Frame| frame.kind == WINDOW_UPDATE && frame.stream == stream;
    frames.iter().filter(of).map(Frame::number).sum()
}

const BODY: &[u8] = &[7; 1 << 20];

#[test]
fn data_stops_where_the_window_of_the_stream_ends() {
    let (mut client, ids) = sending(1, &[(4, 10)]);
    assert_eq!(client.connection.send_data(ids[0], &BODY[..25], End::Stream), Ok(10));
    assert_eq!(client.connection.next_writable(), None);
    client.feed(&window_update(1, 1)).unwrap();
    assert_eq!(client.connection.next_writable(), Some(ids[0]));
    assert_eq!(client.connection.send_data(ids[0], &BODY[..15], End::Stream), Ok(1));
    client.feed(&settings(&[(4, 5)])).unwrap();
    client.feed(&window_update(1, 5)).unwrap();
    assert_eq!(client.connection.next_writable(), None, "the window is 0 now, having been below");
    client.feed(&settings(&[(4, 100)])).unwrap();
    assert_eq!(client.connection.next_writable(), Some(ids[0]));
    assert_eq!(client.connection.send_data(ids[0], &BODY[..14], End::Stream), Ok(14));
    let written = client.output();
    assert_eq!(sent(&written), [(1, 10), (1, 1), (1, 14)]);
    assert_eq!(written.last().unwrap().flags, END_STREAM);
}

#[test]
fn an_end_without_data_needs_no_window() {
    let (mut client, ids) = sending(1, &[(4, 0)]);
    assert_eq!(client.connection.send_data(ids[0], b"", End::More), Ok(0));
    assert_eq!(client.connection.send_data(ids[0], b"", End::Stream), Ok(0));
    assert_eq!(client.output().last().map(|frame| (frame.kind, frame.flags)), Some((DATA, END_STREAM)));
    assert_eq!(client.connection.send_data(ids[0], b"x", End::Stream), Err(Gone));
}

#[test]
fn data_stops_where_the_window_of_the_connection_ends_and_all_go_on_in_turn() {
    let (mut client, ids) = sending(4, &[(4, 1 << 20)]);
    let mut total = 0;
    for id in &ids {
        total += client.connection.send_data(*id, &BODY[..60_000], End::More).unwrap();
        client.output();
    }
    assert_eq!(total, 65_535);
    assert_eq!(client.connection.next_writable(), None);
    let mut order = Vec::new();
    for _ in 0..8 {
        client.feed(&window_update(0, 10)).unwrap();
        let id = client.connection.next_writable().unwrap();
        assert_eq!(client.connection.next_writable(), None, "10 bytes are set aside for the first");
        assert_eq!(client.connection.send_data(id, BODY, End::More), Ok(10));
        order.push(id);
    }
    assert_eq!(order[..3], order[3..6], "each in turn");
    client.output();
}

#[test]
fn one_large_body_does_not_hold_up_the_others() {
    let (mut client, ids) = sending(10, &[(4, 0x7fff_ffff)]);
    client.feed(&window_update(0, 0x7000_0000)).unwrap();
    let mut totals = vec![0; ids.len()];
    for (id, total) in ids.iter().zip(&mut totals) {
        *total += client.connection.send_data(*id, BODY, End::More).unwrap();
    }
    for _ in 0..100 {
        let bytes = sent(&client.output()).iter().map(|(_, bytes)| bytes).sum::<usize>();
        assert!((65_536..=65_536 + 4 * 9).contains(&bytes), "{bytes}: four frames");
        let woken: Vec<StreamId> = std::iter::from_fn(|| client.connection.next_writable()).collect();
        assert_eq!(woken.len(), 4, "as many as have room");
        // The first is greedy: it does not wait to be woken.
        for id in [vec![ids[0]], woken].concat() {
            let at = ids.iter().position(|other| *other == id).unwrap();
            totals[at] += client.connection.send_data(id, BODY, End::More).unwrap();
        }
    }
    let (least, most) = (totals.iter().min().unwrap(), totals.iter().max().unwrap());
    assert!(most < &(2 * least), "{totals:?}: it is first in every round, and gains no more than that");
}

#[test]
fn a_stream_that_was_woken_and_reset_leaves_its_place_to_the_next() {
    let (mut client, ids) = sending(20, &[(4, 0x7fff_ffff)]);
    client.feed(&window_update(0, 0x7000_0000)).unwrap();
    for id in &ids {
        client.connection.send_data(*id, BODY, End::More).unwrap();
    }
    client.output();
    let woken: Vec<StreamId> = std::iter::from_fn(|| client.connection.next_writable()).collect();
    for id in &woken {
        client.connection.reset(*id, ErrorCode::CANCEL);
    }
    let next = client.connection.next_writable();
    assert!(next.is_some_and(|id| !woken.contains(&id)), "{next:?}");
}

#[test]
fn what_waits_says_since_when() {
    let (mut client, ids) = sending(1, &[(4, 10)]);
    let blocked = |client: &Fed| client.connection.statuses().next().unwrap().blocked;
    client.now = Duration::from_secs(3);
    client.feed(&window_update(0, 1)).unwrap();
    client.connection.send_data(ids[0], BODY, End::More).unwrap();
    assert_eq!(blocked(&client), Some(Duration::from_secs(3)));
    client.now = Duration::from_secs(5);
    client.feed(&window_update(1, 1)).unwrap();
    assert_eq!(client.connection.next_writable(), Some(ids[0]));
    assert_eq!(blocked(&client), Some(Duration::from_secs(3)));
    client.connection.send_data(ids[0], BODY, End::More).unwrap();
    assert_eq!(blocked(&client), Some(Duration::from_secs(5)));
    client.feed(&window_update(1, 100)).unwrap();
    assert_eq!(client.connection.next_writable(), Some(ids[0]));
    client.connection.send_data(ids[0], b"x", End::More).unwrap();
    assert_eq!(blocked(&client), None);
}

#[test]
fn windows_are_given_back_once_half_of_one_was_consumed() {
    let mut server = Fed::server();
    let half = server.connection.window_bytes() / 2;
    server.feed(&post(1)).unwrap();
    let events = server.feed(&data(1, 0, &BODY[..half as usize])).unwrap();
    let Some(Event::Data { id, .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(server.output(), []);
    server.connection.consumed(*id, half as usize - 1);
    assert_eq!(server.output(), []);
    server.connection.consumed(*id, 1);
    assert_eq!(increments(&server.output(), 1), half);
    server.feed(&data(1, 0, &BODY[..half as usize])).unwrap();
    server.connection.consumed(*id, 1 << 30);
    assert_eq!(increments(&server.output(), 1), half, "no more than there was");
    server.connection.consumed(*id, 1);
    assert_eq!(server.output(), []);
}

#[test]
fn a_window_can_be_made_larger_and_says_with_that_what_was_given_back() {
    let mut server = Fed::server();
    server.feed(&post(1)).unwrap();
    let events = server.feed(&data(1, 0, &BODY[..5000])).unwrap();
    let Some(Event::Data { id, .. }) = events.first() else { panic!("{events:?}") };
    server.connection.consumed(*id, 5000);
    assert_eq!(server.output(), []);
    server.connection.widen(*id, 50_000);
    assert_eq!(increments(&server.output(), 1), 55_000);
    let window = server.connection.window_bytes() as usize + 50_000;
    let frames: Vec<u8> = BODY[..window].chunks(16_384).flat_map(|part| data(1, 0, part)).collect();
    let taken = server.feed(&frames).unwrap();
    assert!(!taken.iter().any(|event| matches!(event, Event::Reset { .. })));
    let over = server.feed(&data(1, 0, b"x")).unwrap();
    assert!(matches!(over[..], [Event::Reset { code: ErrorCode::FLOW_CONTROL_ERROR, .. }]), "{over:?}");
}

/// Whatever happens to its streams, in the end a client can send as much over the connection as at the start.
#[test]
fn no_byte_of_the_window_of_the_connection_is_ever_lost() {
    const TOTAL: usize = 20_000;
    let padded = |id, flags, bytes: usize| {
        data(id, PADDED | flags, &[&[200][..], &vec![0; bytes], &[0; 200]].concat())
    };
    let ours = Settings {
        resets: spurline_http::h2::Rate { burst: u32::MAX, per_second: 0 },
        forced_resets: spurline_http::h2::Rate { burst: u32::MAX, per_second: 0 },
        ..Default::default()
    };
    let mut server = Fed::new(Role::Server, ours);
    let (mut spent, mut given) = (0_usize, 0_usize);
    for round in 0..TOTAL as u32 {
        let id = 2 * round + 1;
        let short = headers(id, 0, &[POST, &[("content-length", "5")]].concat());
        let frames = match round % 7 {
            0 => vec![post(id), padded(id, 0, 1000), reset(id, ErrorCode::CANCEL)],
            1 => vec![post(id), data(id, END_STREAM, &BODY[..1000]), data(id, 0, b"closed")],
            2 => vec![short, padded(id, 0, 900)],
            3 => vec![post(id), padded(id, END_STREAM, 0)],
            4 => vec![post(id), data(id, 0, &BODY[..500]), window_update(id, 0), data(id, 0, &BODY[..500])],
            5 => vec![post(id), reset(id, ErrorCode::CANCEL), padded(id, 0, 500)],
            _ => vec![post(id), data(id, 0, &BODY[..1000]), headers(id, END_STREAM, &[("a", "b")])],
        };
        spent += frames.iter().filter(|frame| frame[3] == DATA).map(|frame| frame.len() - 9).sum::<usize>();
        let events = server.feed(&frames.concat()).unwrap();
        // Half of what is delivered is passed on, the rest is forgotten with its stream.
        for event in &events {
            if let Event::Data { id, range, .. } = event {
                server.connection.consumed(*id, range.len() / 2);
            }
        }
        if let Some(Event::Head { id, .. }) = events.first() {
            server.connection.reset(*id, ErrorCode::CANCEL);
        }
        given += increments(&server.output(), 0) as usize;
    }
    assert!(server.connection.is_idle());
    assert!(
        spent - given < 512 * 1024,
        "{spent} sent, {given} given back: at most half a window is not said yet"
    );
}

#[test]
fn data_that_is_held_stays_counted_after_its_stream_has_ended() {
    let mut client = Fed::client();
    let id = client.open("GET", End::Stream);
    let response = [headers(1, 0, &[(":status", "200")]), data(1, END_STREAM, &BODY[..1000])].concat();
    client.feed(&response).unwrap();
    assert_eq!(client.connection.open_streams(), 0, "another may be opened");
    assert!(!client.connection.is_idle());
    client.connection.consumed(id, 999);
    assert!(!client.connection.is_idle());
    client.connection.consumed(id, 1);
    assert!(client.connection.is_idle());
}

#[test]
fn a_smaller_window_holds_once_it_is_acknowledged() {
    let ours = Settings { stream_window_bytes: 100, ..Default::default() };
    let mut server = spurline_http::h2::Connection::new(Role::Server, ours);
    let mut head = Default::default();
    let mut bytes = [PREFACE, &settings(&[]), &post(1), &data(1, 0, &BODY[..1000])].concat();
    bytes.extend([frame(SETTINGS, ACK, 0, &[]), data(1, 0, b"x")].concat());
    let mut codes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (taken, event) = server.receive(&bytes[at..], &mut head, Duration::ZERO).unwrap();
        at += taken;
        if let Event::Reset { code, .. } = event {
            codes.push(code);
        }
    }
    assert_eq!(codes, [ErrorCode::FLOW_CONTROL_ERROR], "the first 1000 bytes were sent in good faith");
}
