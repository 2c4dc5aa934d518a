//! Many streams on one connection, and each by itself: concurrency, resets, limits, windows, signs of life.

use std::time::Duration;

use spurline_tests::h2::{Client, Finish, Manners, Play, Upstream, fields, request};
use spurline_tests::wire::frame;
use spurline_tests::{End, Gate, Override, Recorder, Routes, Step, TestProxy, eventually};

use super::{KEY, WORKLOAD, before_http2, listening};

/// An upstream that answers `/held` when the gate opens.
fn held(name: &str, gate: &Gate, settings: &[(u16, u32)]) -> Upstream {
    let gate = gate.clone();
    Upstream::with(name, settings, Manners::default(), move |asked| match asked.target() {
        "/held" => vec![Play::Body, Play::Hold(gate.clone()), Play::Echo],
        _ => vec![Play::Echo],
    })
}

fn active(proxy: &TestProxy, side: &str) -> f64 {
    proxy.metric("spurline_http2_streams_active", &[("side", side)])
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let gate = Gate::default();
    let upstream = held("two", &gate, &[]);
    let waiting = gate.clone();
    let recorder = Recorder::scripted("one", move |head| match head.target() {
        "/held" => vec![Step::Body, Step::Hold(waiting.clone()), Step::Echo],
        _ => vec![Step::Echo],
    });
    for proxy in [
        before_http2(upstream.address()).start(),
        listening(recorder.address(), "").flag("--upstream-protocol", "http1").start(),
    ] {
        let mut client = Client::connect(proxy.address());
        let slow: Vec<u32> = (0..40).map(|_| client.post("/held", &[], b"x")).collect();
        for _ in 0..20 {
            assert_eq!(client.exchange("/fast", &[]).status, 200);
        }
        assert!(slow.iter().all(|stream| client.peek(*stream).status == 0));
    }
    gate.open();
    assert_eq!(upstream.accepted(), 1, "one connection carries the streams of another");
    assert_eq!(upstream.violations(), [""; 0]);
}

#[test]
fn streams_of_one_connection_are_steered_each_by_itself() {
    let [baseline, fork] = ["baseline", "fork"].map(Upstream::start);
    let routes = Routes::new()
        .sandbox("a", KEY)
        .with(Override::new(WORKLOAD, KEY, "cart-a").port(8080, &[fork.address()]))
        .published();
    let proxy = before_http2(baseline.address()).routes(&routes).start();
    let mut client = Client::connect(proxy.address());
    let baggage = format!("user=7,sd-routing-key={KEY}");
    let asked: Vec<_> = (0..40)
        .map(|number| match number % 4 {
            0 => (client.get("/", &[]), "baseline"),
            1 => (client.get("/", &[("baggage", &baggage)]), "fork"),
            2 => (client.get("/", &[("baggage", "sd-routing-key=unknown")]), "baseline"),
            _ => (client.get("/", &[("sd-routing-key", KEY)]), "fork"),
        })
        .collect();
    for (stream, name) in asked {
        assert_eq!(client.answer(stream).field("x-backend"), Some(name));
    }
    assert!(fork.asked().iter().all(|one| one.field("baggage").is_some_and(|text| text.contains(KEY))));
    let mut late = Client::connect(proxy.address());
    let stream = late.open(&request("POST", "/", &[]), false);
    late.trailers(stream, &fields(&[("baggage", &baggage)]));
    assert_eq!(late.answer(stream).field("x-backend"), Some("baseline"), "a key in trailers steers nothing");
}

#[test]
fn large_content_goes_both_ways_at_the_same_time() {
    const BYTES: usize = 1_500_000;
    let upstream = Upstream::scripted("one", |_| {
        let head = fields(&[(":status", "200")]);
        vec![
            Play::Head(head, false),
            Play::Data(vec![b'd'; BYTES], false),
            Play::Body,
            Play::Data(vec![b'e'], true),
        ]
    });
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    let streams: Vec<u32> = (0..8).map(|_| client.open(&request("POST", "/both", &[]), false)).collect();
    let body = vec![b'u'; BYTES];
    for stream in &streams {
        client.data(*stream, &body, true);
    }
    for stream in streams {
        let answer = client.answer(stream);
        assert_eq!((answer.body.len(), answer.end), (BYTES + 1, Some(Finish::Whole)));
    }
    assert!(upstream.asked().iter().all(|one| one.body.len() == BYTES));
    assert_eq!((upstream.violations(), client.violations()), (Vec::new(), &[][..]));
}

#[test]
fn a_request_that_the_client_gives_up_is_given_up_upstream() {
    let gate = Gate::default();
    let upstream = held("two", &gate, &[]);
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    let begun = client.open(&request("POST", "/held", &[]), false);
    client.data(begun, b"part", false);
    let whole = client.get("/held", &[]);
    eventually("both arrive", || (upstream.asked().len() == 2).then_some(()));
    client.reset(begun, frame::CANCEL);
    client.reset(whole, frame::CANCEL);
    eventually("both are reset upstream", || {
        let asked = upstream.asked();
        asked.iter().all(|one| one.end == Some(Finish::Reset(frame::CANCEL))).then_some(())
    });
    assert_eq!(client.exchange("/next", &[]).status, 200);
    assert_eq!(upstream.accepted(), 1, "the connection goes on");
    // A client that is gone gives all of its requests up.
    client.get("/held", &[]);
    eventually("it arrives", || (upstream.asked().len() == 4).then_some(()));
    drop(client);
    eventually("it is reset upstream", || {
        matches!(upstream.asked()[3].end, Some(Finish::Reset(_))).then_some(())
    });
    eventually("nothing is left", || (active(&proxy, "upstream") == 0.0).then_some(()));
    let recorder = Recorder::scripted("one", |_| vec![Step::Body, Step::Stall]);
    let proxy = listening(recorder.address(), ",upstream_protocol=http1").start();
    let mut client = Client::connect(proxy.address());
    let stream = client.get("/held", &[]);
    eventually("it arrives", || (recorder.requests().len() == 1).then_some(()));
    client.reset(stream, frame::CANCEL);
    eventually("its connection is ended", || (recorder.open_connections() == 0).then_some(()));
    assert!(client.ping());
}

#[test]
fn a_request_that_the_upstream_resets_is_reset_or_answered_for() {
    let upstream = Upstream::scripted("one", |asked| match asked.target() {
        "/before" => vec![Play::Body, Play::Reset(frame::INTERNAL_ERROR)],
        "/after" => vec![
            Play::Head(fields(&[(":status", "200")]), false),
            Play::Data(b"part".to_vec(), false),
            Play::Reset(frame::INTERNAL_ERROR),
        ],
        _ => vec![Play::Echo],
    });
    let recorder = Recorder::scripted("one", |_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart".to_vec();
        vec![Step::Body, Step::Send(head), Step::Finish]
    });
    let proxy = before_http2(upstream.address()).flag("--retries-max", "0").start();
    let mut client = Client::connect(proxy.address());
    let stream = client.post("/before", &[], b"x");
    let before = client.answer(stream);
    assert!(before.status == 502 && before.local(), "{before:?}");
    for proxy in [proxy, listening(recorder.address(), ",upstream_protocol=http1").start()] {
        let mut client = Client::connect(proxy.address());
        let after = client.exchange("/after", &[]);
        assert!(after.status == 200 && "part".starts_with(&after.text()), "{after:?}");
        assert!(matches!(after.end, Some(Finish::Reset(_))), "a cut answer is no whole one: {after:?}");
        assert!(client.ping(), "the connection goes on");
    }
}

#[test]
fn as_many_connections_are_made_as_the_upstream_wants_for_its_streams() {
    let gate = Gate::default();
    let upstream = held("one", &gate, &[(frame::MAX_CONCURRENT_STREAMS, 1)]);
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.exchange("/first", &[]).status, 200);
    let streams: Vec<u32> = (0..10).map(|_| client.get("/held", &[])).collect();
    eventually("all of them are at work", || (upstream.asked().len() == 11).then_some(()));
    let mut connections: Vec<_> = upstream.asked().iter().skip(1).map(|one| one.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), 10, "one stream each");
    gate.open();
    for stream in streams {
        assert_eq!(client.answer(stream).status, 200);
    }
    assert_eq!(upstream.violations(), [""; 0]);
}

#[test]
fn a_refused_request_is_sent_again() {
    let refused = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Upstream::scripted("one", move |_| {
        match refused.fetch_add(1, std::sync::atomic::Ordering::AcqRel) % 2 {
            0 => vec![Play::Reset(frame::REFUSED_STREAM)],
            _ => vec![Play::Echo],
        }
    });
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    for round in 0..5 {
        let answer = client.exchange("/again", &[]);
        assert_eq!((answer.status, answer.end), (200, Some(Finish::Whole)), "{round}: {answer:?}");
    }
    assert_eq!(upstream.asked().len(), 10);
    assert!(proxy.metric("spurline_retries_total", &[]) >= 5.0, "{:?}", proxy.metrics());
}

#[test]
fn an_upstream_that_gives_no_sign_of_life_is_left() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let manners = Manners { pings: false, ..Manners::default() };
    let dead = Upstream::with("dead", &[], manners, |_| Vec::new());
    let alive =
        Upstream::scripted("alive", move |_| vec![Play::Body, Play::Hold(waiting.clone()), Play::Echo]);
    let builder = |upstream: &Upstream| {
        before_http2(upstream.address())
            .flag("--http2-ping-interval", "100ms")
            .flag("--http2-ping-timeout", "2s")
            .flag("--retries-max", "0")
    };
    let proxy = builder(&dead).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.post("/", &[], b"x");
    let answer = client.answer(stream);
    assert!(answer.local() && matches!(answer.status, 502..=504), "{answer:?}");
    assert!(dead.pings() >= 1);
    eventually("the connection is ended", || (dead.open_connections() == 0).then_some(()));
    let proxy = builder(&alive).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.post("/", &[], b"x");
    // For longer than one that is dead is waited for.
    eventually("it is asked again and again", || (alive.pings() >= 30).then_some(()));
    gate.open();
    assert_eq!(client.answer(stream).status, 200);
    assert_eq!(alive.accepted(), 1);
}

#[test]
fn a_peer_that_does_not_acknowledge_settings_is_left() {
    const SETTINGS_TIMEOUT: u32 = 4;
    let upstream = Upstream::start("one");
    let proxy = before_http2(upstream.address()).flag("--http2-settings-timeout", "3s").start();
    let manners = Manners { settings: false, ..Manners::default() };
    let mut client = Client::with(proxy.address(), &[], manners);
    assert_eq!(client.exchange("/", &[]).status, 200);
    assert_eq!(client.goaway().map(|(_, code)| code), Some(SETTINGS_TIMEOUT));
    assert_ne!(client.to_end(), End::Timeout);
    let mut polite = Client::connect(proxy.address());
    assert_eq!(polite.exchange("/", &[]).status, 200);
}

#[test]
fn windows_that_open_late_are_filled_then() {
    let manners = Manners { windows: false, ..Manners::default() };
    let upstream = Upstream::with("one", &[(frame::INITIAL_WINDOW_SIZE, 0)], manners, |_| vec![Play::Echo]);
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&request("POST", "/late", &[]), false);
    client.data(stream, &[b'x'; 30_000], true);
    eventually("it arrives", || (upstream.asked().len() == 1).then_some(()));
    assert!(client.ping());
    assert_eq!(upstream.request("/late").body.len(), 0);
    upstream.push(&frame::settings(&[(frame::INITIAL_WINDOW_SIZE, 20_000)]));
    eventually("what fits is sent", || (upstream.request("/late").body.len() == 20_000).then_some(()));
    // A window that shrinks below what was used has to open as far again before anything is sent.
    upstream.push(&frame::settings(&[(frame::INITIAL_WINDOW_SIZE, 100)]));
    upstream.push(&frame::settings(&[(frame::INITIAL_WINDOW_SIZE, 40_000)]));
    assert!(client.answer(stream).text().ends_with(" 30000\n"));
}

#[test]
fn what_has_no_content_has_none_in_either_version() {
    let recorder = Recorder::scripted("one", |head| {
        let status = match head.target() {
            "/204" => "204 No Content\r\n",
            "/304" => "304 Not Modified\r\nContent-Length: 10\r\n",
            _ => "200 OK\r\nContent-Length: 10\r\n",
        };
        vec![Step::Body, Step::Send(format!("HTTP/1.1 {status}\r\n").into_bytes())]
    });
    let proxy = listening(recorder.address(), ",upstream_protocol=http1").start();
    let mut client = Client::connect(proxy.address());
    for (method, target, status) in [("HEAD", "/head", 200), ("GET", "/204", 204), ("GET", "/304", 304)] {
        let stream = client.open(&request(method, target, &[]), true);
        let answer = client.answer(stream);
        assert_eq!(
            (answer.status, answer.body.len(), answer.end),
            (status, 0, Some(Finish::Whole)),
            "{target}"
        );
    }
    assert_eq!(recorder.accepted(), 1, "the connection was kept");
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn http2_can_be_switched_off() {
    let upstream = Upstream::start("app");
    let detecting = listening(upstream.address(), "").argument("--http2=false").start();
    // The app is spoken to by the client itself, and no key steers.
    assert_eq!(Client::connect(detecting.address()).exchange("/", &[]).status, 200);
    assert_eq!(detecting.metric("spurline_http2_connections_total", &[]), 0.0);
    let refusing = listening(upstream.address(), ",protocol=http").argument("--http2=false").start();
    let mut client = Client::connect(refusing.address());
    assert_ne!(client.to_end(), End::Timeout);
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn a_hesitant_preface_is_waited_for_and_a_wrong_one_is_not() {
    let upstream = Upstream::start("one");
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::silent(proxy.address(), &[], Manners::default()).expect("connect");
    let bytes = [frame::PREFACE, &frame::settings(&[]).bytes()].concat();
    for byte in bytes {
        client.write(&[byte]).expect("send");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.exchange("/slow", &[]).status, 200);
    let http = listening(upstream.address(), ",protocol=http").start();
    for wrong in [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = Client::silent(http.address(), &[], Manners::default()).expect("connect");
        let _ = client.write(wrong);
        assert_ne!(client.to_end(), End::Timeout);
    }
    assert_eq!(upstream.asked().len(), 1);
}
