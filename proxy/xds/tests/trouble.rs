//! The whole client against servers that are not as they should be, and through long silence.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/case.rs"]
mod case;
#[path = "support/resources.rs"]
mod resources;
#[path = "support/server.rs"]
mod server;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use case::{Case, complete, eventually, settings};
use resources::{response, rule};
use server::TestServer;
use spurline_telemetry::metrics::{SnapshotEvent, StreamEnd};
use spurline_xds::{ResourceType, Server, Settings, Source};

/// A stream that the server begins with a response that nobody can answer.
#[track_caller]
fn violate(server: &TestServer) {
    let script = server.accept();
    script.send(response(ResourceType::Override, "", vec![]));
    // The client goes first, so that the end is its own doing.
    while script.try_receive().is_some() {}
}

#[test]
fn a_snapshot_is_as_old_as_the_last_contact_and_not_as_the_last_change() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |servers| Settings {
        snapshot: Some(folder.path().join("snapshot")),
        snapshot_age_max: Duration::from_secs(4),
        ..settings(servers)
    };
    let server = TestServer::start();
    let case = Case::start(settings(vec![server.address()]));
    let script = server.accept();
    complete(&script, vec![rule("a", 1, None)]);
    eventually("in step", || case.status().source == Source::Control);
    // Nothing changes and nothing is said, for longer than a snapshot lasts.
    thread::sleep(Duration::from_secs(6));
    assert_eq!(case.ended(StreamEnd::Error) + case.ended(StreamEnd::Silent), 0);
    drop(case);
    let again = Case::start(settings(vec![Server::Unix(folder.path().join("nobody"))]));
    assert_eq!(again.snapshots(SnapshotEvent::TooOld), 0);
    assert_eq!(again.forks(), ["cart-a"]);
    // One that is out of contact keeps the age of the contact.
    thread::sleep(Duration::from_millis(5_100));
    drop(again);
    let late = Case::start(settings(vec![server.address()]));
    assert_eq!((late.snapshots(SnapshotEvent::TooOld), late.is_ready()), (1, false));
}

#[test]
fn a_server_that_violates_the_protocol_is_left_for_the_next() {
    let (wrong, right) = (TestServer::start(), TestServer::start());
    let case = Case::start(settings(vec![wrong.address(), right.address()]));
    violate(&wrong);
    complete(&right.accept(), vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
    assert_eq!(case.ended(StreamEnd::Violation), 1);
}

#[test]
fn a_server_that_fails_after_a_response_each_time_is_returned_to_ever_later() {
    let server = TestServer::start();
    let case = Case::following(&server);
    violate(&server);
    let started = Instant::now();
    for _ in 0..5 {
        violate(&server);
    }
    // Five waits of which each is 1.6 times the one before, at their shortest; five of the shortest would be 0.6 s, and
    // five of the first at its longest 1.9 s.
    assert!(started.elapsed() > Duration::from_millis(1_900), "{:?}", started.elapsed());
    eventually("counted", || case.ended(StreamEnd::Violation) == 6);
}

/// The only connection's first bytes are answered with these.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    address
}

#[track_caller]
fn assert_reason(case: &Case, expected: &str) {
    eventually("an error", || case.status().last_error.is_some());
    let error = case.status().last_error.unwrap();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn tls_where_none_is_expected_is_named() {
    // A fatal alert of TLS: protocol version.
    let server = Server::Http(answering(&[0x15, 3, 1, 0, 2, 2, 70]));
    let case = Case::start(settings(vec![server]));
    assert_reason(&case, "the server speaks TLS: its address must begin with https://");
}

#[test]
fn clear_text_where_tls_is_expected_is_named() {
    let clear = TestServer::start();
    let Server::Http(authority) = clear.address() else { panic!("{:?}", clear.address()) };
    for authority in [authority, answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")] {
        let case = Case::start(settings(vec![Server::Https(authority)]));
        assert_reason(&case, "the server does not speak TLS: its address must begin with http://");
    }
}
