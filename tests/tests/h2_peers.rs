//! The HTTP/2 of the proxy against the `h2` crate, in memory: what one writes the other reads, all of it and nothing else,
//! however the bytes are cut, whatever windows, tables and frames both allow, and whatever else either gives up.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "h2_peers/crate_h2.rs"]
mod crate_h2;
#[path = "h2_peers/message.rs"]
mod message;
#[path = "h2_peers/ours.rs"]
mod ours;

use std::ops::Range;

use fastrand::Rng;
use spurline_http::h2::{Role, Settings};
use spurline_tests::DEADLINE;

use message::Message;
use ours::Ours;

const CONNECTIONS: u64 = 40;
const REQUESTS_PER_CONNECTION: u64 = 25;

/// Settings of ours under which every kind of waiting happens.
fn settings(rng: &mut Rng) -> Settings {
    Settings {
        streams_max: rng.u32(1..=100),
        stream_window_bytes: rng.choice([1_000, 65_535, 1 << 20]).unwrap(),
        connection_window_bytes: rng.choice([65_535, 100_000, 1 << 22]).unwrap(),
        output_bytes_max: rng.choice([0, 20_000, 1 << 20]).unwrap(),
        ..Default::default()
    }
}

fn numbers(connection: u64) -> Range<u64> {
    connection * REQUESTS_PER_CONNECTION..(connection + 1) * REQUESTS_PER_CONNECTION
}

#[track_caller]
fn assert_some_are_given_up(whole: usize) {
    let share = whole * 100 / (CONNECTIONS * REQUESTS_PER_CONNECTION) as usize;
    assert!((75..95).contains(&share), "{share} % are whole");
}

/// How many bytes fit between the two ends.
fn pipe_bytes(rng: &mut Rng) -> usize {
    rng.choice([500, 16_384, 1 << 18]).unwrap()
}

#[tokio::test]
async fn its_clients_are_served_what_was_meant_for_them() {
    let mut whole = 0;
    for connection in 0..CONNECTIONS {
        let mut rng = Rng::with_seed(connection);
        let numbers = numbers(connection);
        let (theirs, io) = tokio::io::duplex(pipe_bytes(&mut rng));
        let settings = settings(&mut rng);
        let peer = crate_h2::client(theirs, rng.fork(), numbers.clone(), settings.streams_max as usize);
        let ours = Ours::new(Role::Server, settings, rng).run(io);
        let both = tokio::time::timeout(DEADLINE, async { tokio::join!(peer, ours) }).await;
        let ((), ours) = both.unwrap_or_else(|_| panic!("connection {connection} hangs"));
        whole += ours.check_all(numbers);
    }
    assert_some_are_given_up(whole);
}

#[tokio::test]
async fn its_servers_are_asked_what_was_meant_for_them() {
    let mut whole = 0;
    for connection in 0..CONNECTIONS {
        let mut rng = Rng::with_seed(connection);
        let numbers = numbers(connection);
        let (theirs, io) = tokio::io::duplex(pipe_bytes(&mut rng));
        let peer = crate_h2::server(theirs, rng.fork());
        let mut ours = Ours::new(Role::Client, settings(&mut rng), rng);
        ours.ask(numbers.clone());
        let both = tokio::time::timeout(DEADLINE, async { tokio::join!(peer, ours.run(io)) }).await;
        let ((), ours) = both.unwrap_or_else(|_| panic!("connection {connection} hangs"));
        whole += ours.check_all(numbers);
    }
    assert_some_are_given_up(whole);
}

/// A test that compares nothing would not fail either.
#[test]
fn messages_differ_from_one_another() {
    let messages: Vec<Message> = (0..200).map(Message::request).collect();
    assert!(messages.windows(2).all(|two| two[0] != two[1]));
    for part in [
        |message: &Message| message.body.is_empty(),
        |message: &Message| message.body.len() > 150_000,
        |message: &Message| message.trailers.is_empty(),
        |message: &Message| message.fields.len() > 5,
    ] {
        let count = messages.iter().filter(|message| part(message)).count();
        assert!((10..190).contains(&count), "{count} of 200");
    }
}
