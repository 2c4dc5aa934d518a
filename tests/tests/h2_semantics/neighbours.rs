//! What one peer does, or leaves undone, costs nobody else anything and itself no more than it may.

use std::time::{Duration, Instant};

use spurline_tests::h2::{Client, Finish, Manners, Play, Upstream, fields, request};
use spurline_tests::wire::{frame, hpack};
use spurline_tests::{Fault, Gate, Recorder, Relay, eventually};

use super::{before_http2, listening};

const MIB: u64 = 1 << 20;

#[test]
fn a_download_that_is_always_behind_takes_no_memory() {
    let upstream = Upstream::scripted("one", |_| {
        vec![Play::Head(fields(&[(":status", "200")]), false), Play::Data(vec![b'x'; 16 << 20], true)]
    });
    let proxy = before_http2(upstream.address()).start();
    // Whatever is taken of a full buffer is less than what comes.
    let settings = [(frame::INITIAL_WINDOW_SIZE, 10_000)];
    let mut client = Client::with(proxy.address(), &settings, Manners::default());
    let before = proxy.resident_bytes();
    let stream = client.get("/", &[]);
    let answer = client.answer(stream);
    assert_eq!((answer.body.len(), answer.end), (16 << 20, Some(Finish::Whole)));
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown} bytes");
}

#[test]
fn a_client_that_goes_gets_what_it_asked_for_before() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted("one", move |_| vec![Play::Body, Play::Hold(held.clone()), Play::Echo]);
    let proxy = before_http2(upstream.address()).start();
    let mut client = Client::connect(proxy.address());
    let whole = client.get("/whole", &[]);
    let upload = client.open(&request("POST", "/upload", &[]), false);
    client.data(upload, b"first", false);
    // A client says there which streams of the server it has seen: none.
    client.send(&frame::goaway(0, frame::NO_ERROR));
    assert!(client.ping());
    client.data(upload, b"second", true);
    gate.open();
    for stream in [whole, upload] {
        let answer = client.answer(stream);
        assert_eq!((answer.status, answer.end), (200, Some(Finish::Whole)), "{stream}: {answer:?}");
    }
}

#[test]
fn a_response_without_content_leaves_nothing_behind_itself() {
    let upstream = Upstream::scripted("one", |asked| {
        let status = match asked.target() {
            "/204" => "204",
            "/304" => "304",
            _ => "200",
        };
        // Its stream ends later than its head.
        vec![Play::Head(fields(&[(":status", status)]), false), Play::Data(Vec::new(), true)]
    });
    let proxy = before_http2(upstream.address()).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        for (method, target, status) in
            [("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/", 200), ("GET", "/", 200)]
        {
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let response = client.response_to(method).expect("a response");
            assert_eq!(response.status, status, "{method} {target}");
            assert!(response.body.is_empty(), "{method} {target}: {response:?}");
        }
    }
}

#[test]
fn a_connection_whose_reads_end_within_frames_is_no_slow_one() {
    let upstream = Upstream::start("one");
    let proxy = before_http2(upstream.address()).flag("--head-timeout", "3s").start();
    let mut client = Client::connect(proxy.address());
    client.settle();
    let started = Instant::now();
    // For longer than the first of them may take.
    while started.elapsed() < Duration::from_secs(4) {
        // Each write ends what the one before began, and begins another frame.
        let ping = frame::ping([7; 8]).bytes();
        let (begin, end) = ping.split_at(5);
        client.write(begin).expect("a write");
        std::thread::sleep(Duration::from_millis(50));
        client.write(&[end, begin].concat()).expect("a write");
        std::thread::sleep(Duration::from_millis(50));
        client.write(end).expect("a write");
    }
    assert_eq!(client.exchange("/", &[]).status, 200);
    // One that is begun and not ended is.
    client.write(&frame::ping([7; 8]).bytes()[..5]).expect("a write");
    eventually("it is left", || client.goaway().map(drop));
}

#[test]
fn a_client_that_reads_nothing_is_left_for_good() {
    let upstream = Upstream::start("one");
    let proxy = before_http2(upstream.address()).flag("--idle-timeout", "300ms").start();
    let mut client = Client::connect(proxy.address());
    client.settle();
    let active = || proxy.metric("spurline_connections_active", &[]);
    eventually("the connection is ended", || (active() == 0.0).then_some(()));
    assert!(proxy.metric("spurline_http2_goaways_total", &[("side", "downstream"), ("by", "proxy")]) <= 2.0);
}

#[test]
fn clients_that_finish_nothing_leave_some_requests_to_the_others() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted("one", move |asked| match asked.target() {
        "/held" => vec![Play::Body, Play::Hold(held.clone()), Play::Echo],
        _ => vec![Play::Echo],
    });
    let proxy = before_http2(upstream.address()).flag("--upstream-requests-max", "160").start();
    let mut victim = Client::connect(proxy.address());
    assert_eq!(victim.exchange("/", &[]).status, 200);
    let mut greedy: Vec<Client> = (0..12).map(|_| Client::connect(proxy.address())).collect();
    let block = hpack::encode(&request("GET", "/held", &[]));
    for client in &mut greedy {
        // At once, so that many wait for the same connection to be made.
        let bytes: Vec<u8> = (0..60)
            .flat_map(|_| frame::headers(client.next_stream(), &block, frame::END_STREAM)[0].bytes())
            .collect();
        client.write(&bytes).expect("a write");
        assert!(client.ping());
    }
    let refused = || proxy.metric("spurline_local_replies_total", &[("reason", "overflow")]);
    eventually("somebody is refused", || (refused() > 0.0).then_some(()));
    for round in 0..50 {
        let answer = victim.exchange("/", &[]);
        assert!(answer.status == 200 && !answer.local(), "{round}: {answer:?}");
    }
    gate.open();
}

#[test]
fn of_what_is_given_up_at_once_next_to_nothing_reaches_an_upstream() {
    let recorder = Recorder::start("one");
    let proxy = listening(recorder.address(), ",upstream_protocol=http1").start();
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.exchange("/", &[]).status, 200);
    let block = hpack::encode(&request("GET", "/given-up", &[]));
    let mut bytes = Vec::new();
    for _ in 0..50 {
        let stream = client.next_stream();
        bytes.extend(frame::headers(stream, &block, frame::END_STREAM)[0].bytes());
        bytes.extend(frame::reset(stream, frame::CANCEL).bytes());
    }
    client.write(&bytes).expect("a write");
    assert!(client.ping());
    assert_eq!(client.exchange("/", &[]).status, 200);
    // Between two of the fifty the others have had their turn, so the first of these two was begun.
    assert!(recorder.requests().len() <= 3 && recorder.accepted() <= 2, "{}", recorder.accepted());
}

#[test]
fn a_deadline_while_connecting_is_nobody_elses() {
    let upstream = Upstream::start("one");
    let relay = Relay::start(upstream.address());
    // Its SETTINGS take half a second.
    relay.set(Fault::Bandwidth(60));
    let proxy = before_http2(relay.address()).start();
    let mut client = Client::connect(proxy.address());
    let call = |more: &'static [(&str, &str)]| {
        [&[("content-type", "application/grpc"), ("te", "trailers")][..], more].concat()
    };
    let impatient = client.get("/call", &call(&[("grpc-timeout", "50m")]));
    let patient = client.get("/call", &call(&[]));
    assert_eq!(client.answer(impatient).grpc_status(), Some("4"));
    let answer = client.answer(patient);
    assert!(answer.status == 200 && !answer.local(), "{answer:?}");
    assert_eq!(relay.accepted(), 1);
}
