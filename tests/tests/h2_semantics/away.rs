//! `GOAWAY` in either direction: nobody loses what was begun, and what was not is done elsewhere.

use spurline_tests::h2::{Client, Finish, Manners, Play, Upstream, request};
use spurline_tests::wire::frame;
use spurline_tests::{DEADLINE, Gate, eventually};

use super::before_http2;

const EVERY_STREAM: u32 = 0x7fff_ffff;

#[test]
fn a_drain_is_announced_twice_and_what_is_in_work_ends_well() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted("one", move |asked| match asked.target() {
        "/held" => vec![Play::Body, Play::Hold(held.clone()), Play::Echo],
        _ => vec![Play::Echo],
    });
    let mut proxy =
        before_http2(upstream.address()).flag("--drain-delay", "3s").flag("--drain-timeout", "20s").start();
    let mut client = Client::connect(proxy.address());
    let stream = client.get("/held", &[]);
    let begun = client.open(&request("POST", "/begun", &[]), false);
    eventually("both arrive", || (upstream.asked().len() == 2).then_some(()));
    proxy.terminate();
    assert_eq!(client.goaway(), Some((EVERY_STREAM, frame::NO_ERROR)));
    // What was sent before the client knew is served.
    let crossing = client.get("/crossing", &[]);
    assert_eq!(client.answer(crossing).status, 200);
    client.data(begun, b"rest", true);
    assert!(client.answer(begun).text().ends_with(" 4\n"));
    while client.goaways().len() < 2 && client.read() {}
    let (last, code) = client.goaways()[1];
    assert!((stream..EVERY_STREAM).contains(&last) && code == frame::NO_ERROR, "{:?}", client.goaways());
    gate.open();
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.end), (200, Some(Finish::Whole)));
    client.to_end();
    assert_eq!(proxy.wait(DEADLINE * 2).code(), Some(0), "{}", proxy.log());
    assert_eq!(client.violations(), [""; 0]);
}

/// Asks again and again, leaves a connection when it is told to, and comes back, until nobody listens. What it got.
fn persistent(address: std::net::SocketAddr) -> Vec<String> {
    let mut wrong = Vec::new();
    while let Ok(mut client) = Client::try_with(address, &[], Manners::default()) {
        while client.goaways().is_empty() && client.is_open() {
            let streams: Vec<u32> = (0..4).map(|_| client.get("/x", &[])).collect();
            for stream in streams {
                let answer = client.answer(stream);
                // What came after the last stream was not begun: it may be sent to somebody else.
                let unseen = client.goaways().last().is_some_and(|(last, _)| stream > *last);
                let untouched = stream == 1 && client.goaways().is_empty();
                let lost = matches!(answer.end, Some(Finish::Lost(_))) && (unseen || untouched);
                if answer.status != 200 && !lost {
                    wrong.push(format!("{stream}: {answer:?}, {:?}", client.goaways()));
                }
            }
        }
    }
    wrong
}

#[test]
fn a_drain_costs_clients_that_obey_nothing() {
    let upstream = Upstream::start("one");
    let mut proxy = before_http2(upstream.address())
        .flag("--drain-delay", "500ms")
        .flag("--drain-timeout", "20s")
        .start();
    let address = proxy.address();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(move || persistent(address))).collect();
        eventually("there is load", || (upstream.asked().len() > 200).then_some(()));
        proxy.terminate();
        for client in clients {
            let wrong = client.join().expect("a client");
            assert!(wrong.len() <= 1, "{} wrong: {}", wrong.len(), wrong.join("\n"));
        }
    });
    assert_eq!(proxy.wait(DEADLINE * 2).code(), Some(0), "{}", proxy.log());
}

#[test]
fn what_an_upstream_that_goes_has_not_begun_is_sent_to_another_connection() {
    let upstream = Upstream::scripted("one", |asked| match asked.connection % 2 {
        0 if asked.stream > 1 => vec![Play::Frame(frame::goaway(1, frame::NO_ERROR))],
        _ => vec![Play::Echo],
    });
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    for round in 0..6 {
        let answer = client.exchange("/round", &[("x-id", "1")]);
        assert_eq!((answer.status, answer.end), (200, Some(Finish::Whole)), "{round}: {answer:?}");
        // Of content that was given away there is no copy.
        let stream = client.post("/round", &[], b"content");
        let answer = client.answer(stream);
        let refused = answer.status == 503 && answer.field("x-spurline-reason") == Some("upstream-refused");
        assert!(refused || answer.text().ends_with(" 7\n"), "{round}: {answer:?}");
    }
    assert!(upstream.accepted() >= 2);
    assert!(proxy.metric("spurline_http2_goaways_total", &[("side", "upstream"), ("by", "peer")]) >= 1.0);
}

#[test]
fn what_an_upstream_that_goes_has_begun_ends_there_and_the_next_goes_elsewhere() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted("one", move |asked| match asked.target() {
        "/held" => {
            vec![
                Play::Frame(frame::goaway(asked.stream, frame::NO_ERROR)),
                Play::Hold(held.clone()),
                Play::Echo,
            ]
        }
        _ => vec![Play::Echo],
    });
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.get("/held", &[]);
    eventually("the upstream goes", || {
        (proxy.metric("spurline_http2_goaways_total", &[("side", "upstream"), ("by", "peer")]) >= 1.0)
            .then_some(())
    });
    assert_eq!(client.exchange("/next", &[]).status, 200);
    assert_ne!(upstream.request("/held").connection, upstream.request("/next").connection);
    gate.open();
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.end), (200, Some(Finish::Whole)), "{answer:?}");
}

#[test]
fn an_upstream_that_goes_with_an_error_or_without_a_word_is_answered_for_or_replaced() {
    let upstream = Upstream::scripted("one", |asked| match (asked.target(), asked.connection) {
        ("/error", _) => {
            vec![Play::Body, Play::Frame(frame::goaway(asked.stream, frame::INTERNAL_ERROR)), Play::Close]
        }
        ("/gone", _) => vec![Play::Body, Play::Close],
        _ => vec![Play::Echo],
    });
    let proxy = before_http2(upstream.address()).flag("--retries-max", "0").start();
    let mut client = Client::connect(proxy.address());
    for target in ["/error", "/gone"] {
        let stream = client.post(target, &[], b"x");
        let answer = client.answer(stream);
        assert!(answer.local() && matches!(answer.status, 502 | 503), "{target}: {answer:?}");
        assert_eq!(client.exchange("/next", &[]).status, 200);
    }
    // A connection that was closed while nothing was in work costs nobody anything.
    for round in 0..5 {
        upstream.close_connections();
        assert_eq!(client.exchange("/after", &[]).status, 200, "{round}");
    }
}
