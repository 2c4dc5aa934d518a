//! What a peer may do, but not without end: each known flood ends the connection after a bounded number of frames, and
//! what legitimate peers do never does.

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

use spurline_http::h2::{End, ErrorCode, Event, Flood, Role, Settings, StreamId, Violation};
use wire::*;

/// Feeds frames until the connection ends; returns after how many and why. The output is read all the time.
fn until_it_ends(fed: &mut Fed, frame: impl Fn(u32) -> Vec<u8>) -> (u32, Violation) {
    (0..1_000_000)
        .find_map(|round| {
            let outcome = fed.feed(&frame(round));
            let written = fed.output();
            let bytes: usize = written.iter().map(|frame| 9 + frame.payload.len()).sum();
            assert!(bytes < 64 * 1024, "{bytes} bytes at once");
            outcome.err().map(|violation| {
                assert_eq!(written.last().map(Frame::code), Some(ErrorCode::ENHANCE_YOUR_CALM));
                (round, violation)
            })
        })
        .expect("it never ends")
}

fn odd(round: u32) -> u32 {
    2 * round + 1
}

#[track_caller]
fn ends(frame: impl Fn(u32) -> Vec<u8>, flood: Flood, frames_max: u32) {
    let (frames, violation) = until_it_ends(&mut Fed::server(), &frame);
    assert_eq!(violation, Violation::Flood(flood));
    assert!(frames <= frames_max, "after {frames}");
}

#[test]
fn h01_rapid_reset() {
    ends(|round| [get(odd(round)), reset(odd(round), ErrorCode::CANCEL)].concat(), Flood::Resets, 500);
}

#[test]
fn h02_made_you_reset() {
    let provoked = |primitive: fn(u32) -> Vec<u8>| {
        ends(move |round| [post(odd(round)), primitive(odd(round))].concat(), Flood::ForcedResets, 200);
    };
    provoked(|id| window_update(id, 0));
    provoked(|id| window_update(id, 0x7fff_ffff));
    provoked(|id| [data(id, END_STREAM, b""), data(id, 0, b"x")].concat());
    provoked(|id| [data(id, END_STREAM, b""), get(id)].concat());
    provoked(|id| headers(id, 0, &[("a", "b")]));
    provoked(|id| frame(PRIORITY, 0, id, &[0; 4]));
    provoked(|id| frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[0]].concat()));
    ends(|round| headers(odd(round), 1, &GET[1..]), Flood::ForcedResets, 200);
}

#[test]
fn refused_streams_count_as_provoked() {
    ends(|round| post(odd(round)), Flood::ForcedResets, 300);
}

#[test]
fn h03_continuations() {
    for (payload, flood) in [(vec![], Flood::Continuations), (vec![0; 16_384], Flood::HeaderBytes)] {
        let first = |round| match round {
            0 => frame(HEADERS, 0, 1, &block(GET)),
            _ => frame(CONTINUATION, 0, 1, &payload),
        };
        ends(first, flood, 10);
    }
}

#[test]
fn h04_h05_bombs() {
    let seed = [&[0x40, 1, b'a', 0][..], &block(GET)].concat();
    let bomb = |_| frame(HEADERS, END_HEADERS, 1, &[&seed[..], &[0x80 | 62; 9000]].concat());
    ends(bomb, Flood::HeaderBytes, 1);
}

#[test]
fn h06_empty_frames() {
    ends(|round| if round == 0 { post(1) } else { data(1, 0, b"") }, Flood::EmptyFrames, 101);
    let padded = |round| if round == 0 { post(1) } else { data(1, PADDED, &[3, 0, 0, 0]) };
    ends(padded, Flood::EmptyFrames, 101);
}

#[test]
fn h07_frames_that_cost_the_sender_little() {
    ends(|_| frame(PING, 0, 0, &[0; 8]), Flood::Pings, 100);
    ends(|_| frame(PING, ACK, 0, &[0; 8]), Flood::Ignored, 400);
    ends(|_| settings(&[(4, 1)]), Flood::Settings, 20);
    ends(|round| frame(PRIORITY, 0, odd(round), &[0; 5]), Flood::Ignored, 400);
    ends(|_| frame(0xbe, 0, 0, b""), Flood::Ignored, 400);
    ends(|_| frame(GOAWAY, 0, 0, &[0; 8]), Flood::Ignored, 400);
    ends(|_| window_update(0, 1), Flood::WindowUpdates, 1000);
    ends(|round| if round == 0 { post(1) } else { window_update(1, 1) }, Flood::WindowUpdates, 1002);
}

/// Lets a response through in windows of that size, of its stream or of the connection: why the connection ended.
fn dribble(on: u32, window: u32) -> Option<Violation> {
    let mut server = Fed::server();
    let widths = if on == 0 { [1 << 30, 1] } else { [0, 1 << 30] };
    let opened = server.feed(&[settings(&[(4, widths[0])]), window_update(0, widths[1]), get(1)].concat());
    let Some(&Event::Head { id, .. }) = opened.as_ref().unwrap().last() else { panic!("{opened:?}") };
    server.connection.send_head(id, &response(200), End::More).unwrap();
    let send = |server: &mut Fed| {
        while server.connection.send_data(id, &[7; 1000], End::More).unwrap() > 0 {
            server.output();
            server.connection.next_writable();
        }
    };
    send(&mut server);
    (0..5000).find_map(|_| {
        let ended = server.feed(&window_update(on, window)).err();
        if server.connection.next_writable().is_some() {
            send(&mut server);
        }
        server.output();
        ended
    })
}

#[test]
fn h08_scraps_earn_nothing() {
    for on in [0, 1] {
        let flooded = [1, 127, 128].map(|window| dribble(on, window));
        let flood = Some(Violation::Flood(Flood::WindowUpdates));
        assert_eq!(flooded, [flood, flood, None], "on {on}");
    }
}

#[test]
fn frames_on_a_stream_that_was_reset_are_excused_a_few_times_only() {
    let late = |round| match round {
        0 => [post(1), window_update(1, 0)].concat(),
        _ => headers(1, 0, &[("a", "b")]),
    };
    ends(late, Flood::Ignored, 410);
}

#[test]
fn answers_that_are_not_read_are_bounded() {
    let rates = spurline_http::h2::Rate { burst: u32::MAX, per_second: 0 };
    let ours = Settings { pings: rates, settings_frames: rates, forced_resets: rates, ..Default::default() };
    for flood in [
        (|_| frame(PING, 0, 0, &[0; 8])) as fn(u32) -> Vec<u8>,
        |_| settings(&[]),
        |round| [post(odd(round)), window_update(odd(round), 0)].concat(),
    ] {
        let mut fed = Fed::new(Role::Server, ours);
        let outcome = (0..1_000_000).find_map(|round| fed.feed(&flood(round)).err());
        assert_eq!(outcome, Some(Violation::Flood(Flood::Answers)));
        let bytes: usize = fed.output().iter().map(|frame| 9 + frame.payload.len()).sum();
        assert!(bytes < 17 * 1024, "{bytes}");
    }
}

#[test]
fn h09_a_body_that_is_not_read_costs_no_more_than_the_output_holds() {
    let mut fed = Fed::server();
    fed.feed(&[settings(&[(4, 0x7fff_ffff)]), window_update(0, 0x7000_0000)].concat()).unwrap();
    for round in 0..100 {
        let events = fed.feed(&get(odd(round))).unwrap();
        let [Event::Head { id, .. }] = events[..] else { panic!("{events:?}") };
        fed.connection.send_head(id, &response(200), End::More).unwrap();
        fed.connection.send_data(id, &[0; 1 << 20], End::Stream).unwrap();
    }
    let bytes: usize = fed.output().iter().map(|frame| 9 + frame.payload.len()).sum();
    assert!(bytes < 80 * 1024, "{bytes}");
    assert_eq!(fed.connection.statuses().filter(|status| status.blocked.is_some()).count(), 100);
}

#[test]
fn responses_that_are_not_read_stop_the_reading_of_requests() {
    let mut fed = Fed::server();
    let mut round = 0;
    while fed.connection.wants_input() {
        let events = fed.feed(&get(odd(round))).unwrap();
        let [Event::Head { id, .. }] = events[..] else { panic!("{events:?}") };
        fed.connection.send_head(id, &response(204), End::Stream).unwrap();
        round += 1;
        assert!(round < 100_000, "it never stops");
    }
    fed.output();
    assert!(fed.connection.wants_input());
}

#[test]
fn data_alone_never_stops_the_reading() {
    let mut fed = Fed::server();
    fed.feed(&[settings(&[(4, 0x7fff_ffff)]), window_update(0, 0x7000_0000)].concat()).unwrap();
    let events = fed.feed(&get(1)).unwrap();
    let [Event::Head { id, .. }] = events[..] else { panic!("{events:?}") };
    fed.connection.send_head(id, &response(200), End::More).unwrap();
    while fed.connection.send_data(id, &[0; 1 << 20], End::More).unwrap() > 0 {}
    assert!(fed.connection.wants_input());
}

#[test]
fn h10_a_compression_table_that_keeps_changing_is_capped() {
    let mut fed = Fed::client();
    for round in 0..20 {
        fed.now = Duration::from_secs(round);
        fed.feed(&settings(&[(1, u32::MAX), (1, 0), (1, u32::MAX)])).unwrap();
        fed.open("GET", End::Stream);
        let block = fed.output().iter().find(|frame| frame.kind == HEADERS).unwrap().payload.clone();
        assert_eq!(block[..2], [0x20, 0x3f], "emptied, then as large as ours may be");
        assert!(block.len() < 40, "{}", block.len());
    }
}

#[test]
fn h14_a_client_survives_that_all_its_requests_are_cancelled_time_and_again() {
    let mut client = Fed::client();
    for _ in 0..1000 {
        let ids: Vec<StreamId> = (0..100).map(|_| client.open("POST", End::More)).collect();
        for id in &ids {
            client.connection.reset(*id, ErrorCode::CANCEL);
        }
        client.output();
        // All the answers were under way, and some of the resets crossed ours.
        for id in ids.iter().map(|id| id.get()) {
            let answer = [
                headers(id, 0, &[(":status", "200")]),
                data(id, 0, &[0; 100]),
                headers(id, END_STREAM, &[("grpc-status", "0")]),
                reset(id, ErrorCode::NO_ERROR),
            ];
            assert_eq!(client.feed(&answer.concat()), Ok(vec![]));
        }
    }
    client.open("GET", End::Stream);
}

#[test]
fn h14_a_server_survives_a_client_that_cancels_what_it_may_have_open() {
    let mut server = Fed::server();
    for second in 0..20 {
        server.now = Duration::from_secs(second);
        let ids: Vec<u32> = (0..100).map(|i| odd(second as u32 * 100 + i)).collect();
        let opened: Vec<u8> = ids.iter().flat_map(|id| get(*id)).collect();
        let cancelled: Vec<u8> = ids.iter().flat_map(|id| reset(*id, ErrorCode::CANCEL)).collect();
        assert_eq!(server.feed(&[opened, cancelled].concat()).unwrap().len(), 200);
    }
}

#[test]
fn what_a_client_does_per_response_is_not_a_flood() {
    let mut server = Fed::server();
    for round in 0..50_000 {
        let id = odd(round);
        // Priorities as older browsers send them, and a larger window for each stream.
        let head = [get(id), window_update(id, 1 << 20), frame(PRIORITY, 0, id, &[0; 5])].concat();
        let events = server.feed(&head).unwrap();
        let Event::Head { id, .. } = events[0] else { panic!("{events:?}") };
        server.connection.send_head(id, &response(200), End::More).unwrap();
        assert_eq!(server.connection.send_data(id, &[0; 2048], End::Stream), Ok(2048));
        server.output();
        // It measures the bandwidth, and reads in pieces of 1 KiB.
        let after = [frame(PING, 0, 0, &[0; 8]), window_update(0, 1024), window_update(0, 1024)].concat();
        assert_eq!(server.feed(&after), Ok(vec![]));
        server.output();
    }
}

#[test]
fn h14_a_client_that_waits_before_it_gives_up_is_none_that_floods() {
    // Nothing comes back by time alone.
    let resets = spurline_http::h2::Rate { burst: 10, per_second: 0 };
    let mut server = Fed::new(Role::Server, Settings { resets, ..Settings::default() });
    for round in 0..100 {
        server.now = Duration::from_secs(2 * round);
        let ids: Vec<u32> = (0..100).map(|i| odd(round as u32 * 100 + i)).collect();
        server.feed(&ids.iter().flat_map(|id| get(*id)).collect::<Vec<u8>>()).unwrap();
        server.now += Duration::from_secs(1);
        server.feed(&ids.iter().flat_map(|id| reset(*id, ErrorCode::CANCEL)).collect::<Vec<u8>>()).unwrap();
        server.output();
    }
}

#[test]
fn h14_a_client_of_which_half_is_served_may_give_up_the_other_half() {
    let mut server = Fed::server();
    for round in 0..10_000 {
        let (served, given_up) = (odd(2 * round), odd(2 * round + 1));
        let events = server.feed(&[get(served), get(given_up)].concat()).unwrap();
        let Event::Head { id, .. } = events[0] else { panic!("{events:?}") };
        server.connection.send_head(id, &response(200), End::Stream).unwrap();
        server.feed(&reset(given_up, ErrorCode::CANCEL)).unwrap();
        server.output();
    }
}

#[test]
fn messages_of_a_few_bytes_are_not_a_flood_of_windows() {
    let mut server = Fed::server();
    let events = server.feed(&post(1)).unwrap();
    let Event::Head { id, .. } = events[0] else { panic!("{events:?}") };
    server.connection.send_head(id, &response(200), End::More).unwrap();
    for _ in 0..50_000 {
        assert_eq!(server.connection.send_data(id, b"123456", End::More), Ok(6));
        server.output();
        // gRPC's C core, per message: for the stream, for the connection, and once more as it measures.
        let windows = [window_update(1, 6), window_update(0, 6), window_update(0, 1)].concat();
        assert_eq!(server.feed(&windows), Ok(vec![]));
    }
}
