//! The attacks of http-cases H in short form, from one connection.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use spurline_tests::h2::attack::{empty_content, endless_head, flood, head, rapid_resets};
use spurline_tests::h2::{Asked, Client, Finish, Manners, Play, Upstream, fields, request};
use spurline_tests::wire::frame::{self, Frame};
use spurline_tests::wire::hpack;
use spurline_tests::{DEADLINE, Gate, Recorder, Step, TestProxy, eventually};

use super::{HTTP1, listening};

const MIB: u64 = 1 << 20;

/// Attacks while somebody else asks one thing after the other, who has to be served every time.
fn beside_a_victim<T>(proxy: &TestProxy, attack: impl FnOnce() -> T) -> T {
    /// Ends the victim also when the attack fails.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let over = Done(&done);
        let victim = scope.spawn(|| {
            let mut client = Client::connect(proxy.address());
            while !done.load(Ordering::Acquire) {
                let answer = client.exchange("/victim", &[]);
                assert_eq!((answer.status, answer.end), (200, Some(Finish::Whole)), "{answer:?}");
                served.fetch_add(1, Ordering::AcqRel);
            }
        });
        let result = attack();
        let until = served.load(Ordering::Acquire) + 10;
        eventually("the victim is served", || (served.load(Ordering::Acquire) >= until).then_some(()));
        drop(over);
        victim.join().expect("the victim");
        result
    })
}

fn assert_flooded(proxy: &TestProxy, client: &mut Client, kind: &str) {
    let goaway = client.goaway();
    let ended = !matches!(client.to_end(), spurline_tests::End::Timeout);
    let counted = proxy.metric("spurline_http2_floods_total", &[("side", "downstream"), ("flood", kind)]);
    assert!(counted >= 1.0, "{kind}: no flood was counted, {goaway:?}, ended {ended}");
    assert!(ended, "{kind}: the connection stays open");
    assert!(goaway.is_none_or(|(_, code)| code == frame::ENHANCE_YOUR_CALM), "{kind}: {goaway:?}");
}

/// What was begun is over on both sides soon after its client is gone.
fn assert_no_stream_is_left(proxy: &TestProxy) {
    for side in ["downstream", "upstream"] {
        eventually(&format!("no stream is left {side}"), || {
            (proxy.metric("spurline_http2_streams_active", &[("side", side)]) == 0.0).then_some(())
        });
    }
}

/// An upstream that answers what is attacked with when the gate opens, and others at once.
fn slow(gate: &Gate) -> Recorder {
    let gate = gate.clone();
    Recorder::scripted("one", move |head| match head.target() {
        "/attack" => vec![Step::Body, Step::Hold(gate.clone()), Step::Echo],
        _ => vec![Step::Echo],
    })
}

/// A proxy that tells a client at once that it has flooded.
fn prompt(recorder: &Recorder) -> TestProxy {
    listening(recorder.address(), HTTP1).flag("--http2-flood-pause", "0").start()
}

#[test]
fn who_floods_waits_before_it_can_come_back() {
    let recorder = Recorder::start("one");
    let proxy = listening(recorder.address(), HTTP1).flag("--http2-flood-pause", "1m").start();
    let mut client = Client::connect(proxy.address());
    client.write(&frame::ping([7; 8]).bytes().repeat(5000)).expect("a write");
    let labels = [("side", "downstream"), ("flood", "pings")];
    let floods = || proxy.metric("spurline_http2_floods_total", &labels);
    eventually("the flood is noticed", || (floods() == 1.0).then_some(()));
    client.patience(Duration::from_millis(100));
    while client.read() {}
    assert!(client.is_open() && client.goaways().is_empty());
    assert_eq!(Client::connect(proxy.address()).exchange("/", &[]).status, 200);
    // Nobody who leaves waits for it.
    proxy.terminate();
    client.patience(DEADLINE);
    assert_eq!(client.goaway().map(|(_, code)| code), Some(frame::ENHANCE_YOUR_CALM));
}

/// H01
#[test]
fn rapid_resets_are_ended_and_cost_little() {
    let gate = Gate::default();
    let recorder = slow(&gate);
    let proxy = prompt(&recorder);
    beside_a_victim(&proxy, || {
        let mut client = Client::connect(proxy.address());
        flood(&mut client, 100, |client| rapid_resets(client, 50, &[]));
        assert_flooded(&proxy, &mut client, "resets");
    });
    gate.open();
    assert_no_stream_is_left(&proxy);
    assert!(recorder.accepted() < 2000, "{} upstream connections", recorder.accepted());
}

/// H02: each makes the proxy reset a stream whose request is at work upstream.
#[test]
fn resets_that_the_proxy_is_made_to_send_are_ended_and_reach_upstream() {
    let provocations: [fn(u32) -> Vec<u8>; 5] = [
        |stream| frame::window(stream, 0).bytes(),
        |stream| {
            [frame::window(stream, 0x7fff_ffff), frame::window(stream, 0x7fff_ffff)]
                .map(|one| one.bytes())
                .concat()
        },
        |stream| Frame::new(frame::PRIORITY, 0, stream, [0; 4]).bytes(),
        |stream| frame::data(stream, b"late", 0).bytes(),
        |stream| head(stream, &[], frame::END_STREAM),
    ];
    for (number, provoke) in provocations.into_iter().enumerate() {
        let gate = Gate::default();
        let recorder = slow(&gate);
        let proxy = prompt(&recorder);
        beside_a_victim(&proxy, || {
            let mut client = Client::connect(proxy.address());
            flood(&mut client, 450, |client| {
                let stream = client.next_stream();
                [head(stream, &[], frame::END_STREAM), provoke(stream)].concat()
            });
            assert_ne!(client.to_end(), spurline_tests::End::Timeout, "{number}: the connection stays open");
        });
        gate.open();
        assert_no_stream_is_left(&proxy);
    }
}

/// H03, with and without content.
#[test]
fn a_header_block_that_does_not_end_is_ended() {
    for size in [0, 1, 1000] {
        let recorder = Recorder::start("one");
        // It is not the time of a head that ends it.
        let proxy = listening(recorder.address(), HTTP1)
            .flag("--http2-flood-pause", "0")
            .flag("--head-timeout", "5m")
            .start();
        beside_a_victim(&proxy, || {
            let mut client = Client::connect(proxy.address());
            let piece = endless_head(&mut client, size);
            flood(&mut client, 50, |_| piece.repeat(10));
            assert_ne!(client.to_end(), spurline_tests::End::Timeout, "{size}: the connection stays open");
        });
        assert!(recorder.requests().iter().all(|one| one.request.head.target() == "/victim"));
    }
}

/// H04, H05: a large entry or a tiny one, referred to again and again; and crumbs of a cookie.
#[test]
fn a_header_bomb_is_refused_and_takes_no_memory() {
    let literal = |name: &[u8], value: &[u8]| {
        let mut block = vec![0x40];
        hpack::string(name, &mut block);
        hpack::string(value, &mut block);
        block
    };
    let bombs = [
        ("a large entry", literal(b"x", &[b'v'; 4000]), 0xbe),
        ("a tiny entry", literal(b"x", b""), 0xbe),
        ("crumbs", literal(b"cookie", b""), 0xbe),
    ];
    for (name, seed, reference) in bombs {
        let recorder = Recorder::start("one");
        let proxy = listening(recorder.address(), HTTP1).start();
        let before = proxy.resident_bytes();
        beside_a_victim(&proxy, || {
            let mut client =
                Client::with(proxy.address(), &[(frame::INITIAL_WINDOW_SIZE, 0)], Manners::default());
            let base = hpack::encode(&request("GET", "/attack", &[]));
            let bomb = [base, seed, vec![reference; 12_000]].concat();
            let sent = flood(&mut client, 100, |client| {
                let stream = client.next_stream();
                frame::headers(stream, &bomb, frame::END_STREAM).iter().flat_map(Frame::bytes).collect()
            });
            println!("{name}: {sent} were sent, the connection is open: {}", client.is_open());
        });
        let grown = proxy.resident_bytes().saturating_sub(before);
        assert!(grown < 16 * MIB, "{name}: {grown} bytes");
        let passed: Vec<_> = recorder.requests();
        assert!(passed.iter().all(|one| one.request.head.target() == "/victim"), "{name}: passed on");
    }
}

/// H06, H07, H10, and the floods that the settings name.
#[test]
fn floods_of_frames_are_ended() {
    let thrash = [
        frame::settings(&[(frame::HEADER_TABLE_SIZE, u32::MAX)]),
        frame::settings(&[(frame::HEADER_TABLE_SIZE, 0)]),
    ];
    let floods: [(&str, Vec<u8>); 6] = [
        ("pings", frame::ping([7; 8]).bytes()),
        ("settings", frame::settings(&[]).bytes()),
        ("settings", thrash.map(|one| one.bytes()).concat()),
        ("ignored", Frame::new(frame::PRIORITY, 0, 3, [0, 0, 0, 0, 9]).bytes()),
        ("window-updates", frame::window(0, 1).bytes()),
        ("ignored", Frame::new(0xfe, 0, 0, []).bytes()),
    ];
    let recorder = Recorder::start("one");
    for (kind, frame) in floods {
        let proxy = listening(recorder.address(), HTTP1).start();
        beside_a_victim(&proxy, || {
            let mut client = Client::connect(proxy.address());
            flood(&mut client, 500, |_| frame.repeat(100));
            assert_flooded(&proxy, &mut client, kind);
        });
    }
    let proxy = listening(recorder.address(), HTTP1).start();
    beside_a_victim(&proxy, || {
        let mut client = Client::connect(proxy.address());
        let nothing = empty_content(&mut client, &[]);
        flood(&mut client, 500, |_| nothing.repeat(100));
        assert_flooded(&proxy, &mut client, "empty-frames");
    });
}

/// H07 without reading a single answer.
#[test]
fn answers_that_nobody_reads_are_bounded() {
    let recorder = Recorder::start("one");
    let proxy = listening(recorder.address(), HTTP1).flag("--http2-pings-burst", "1000000").start();
    let before = proxy.resident_bytes();
    beside_a_victim(&proxy, || {
        let mut client = Client::connect(proxy.address());
        client.receive_buffer(4096);
        let pings = frame::ping([7; 8]).bytes().repeat(1000);
        client.writer().set_write_timeout(Some(Duration::from_secs(5))).expect("a write timeout");
        let sent = (0..1000).take_while(|_| client.write(&pings).is_ok()).count();
        assert!(sent < 1000, "a million pings were taken");
    });
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes");
}

/// H09: a hundred large answers, and a client that takes nothing of them.
#[test]
fn answers_that_nobody_takes_are_held_back() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MIB}\r\n\r\n").into_bytes();
    let large = [head, vec![b'x'; 1 << 20]].concat();
    let recorder = Recorder::scripted("one", move |head| match head.target() {
        "/attack" => vec![Step::Body, Step::Send(large.clone())],
        _ => vec![Step::Echo],
    });
    let proxy = listening(recorder.address(), HTTP1).start();
    let before = proxy.resident_bytes();
    beside_a_victim(&proxy, || {
        let mut client =
            Client::with(proxy.address(), &[(frame::INITIAL_WINDOW_SIZE, 0)], Manners::default());
        let streams: Vec<u32> = (0..100).map(|_| client.get("/attack", &[])).collect();
        for stream in &streams {
            assert_eq!(client.head(*stream).status, 200);
        }
        for stream in &streams {
            client.send(&frame::window(*stream, 1));
        }
        assert!(client.ping());
        let grown = proxy.resident_bytes().saturating_sub(before);
        assert!(grown < 32 * MIB, "{grown} bytes for 100 MiB that nobody takes");
    });
    assert_no_stream_is_left(&proxy);
}

/// H11: as many streams as may be, and none of them ends.
#[test]
fn streams_that_do_not_end_take_nothing_from_others() {
    let recorder = Recorder::start("one");
    let proxy = listening(recorder.address(), HTTP1).start();
    let mut client = Client::connect(proxy.address());
    client.settle();
    let max = client.settings().iter().find(|(name, _)| *name == frame::MAX_CONCURRENT_STREAMS);
    let max = max.expect("a limit of streams").1;
    beside_a_victim(&proxy, || {
        let slow: Vec<u32> = (0..max).map(|_| client.open(&request("POST", "/slow", &[]), false)).collect();
        let beyond = client.get("/beyond", &[]);
        let refused = client.answer(beyond);
        assert_eq!(refused.end, Some(Finish::Reset(frame::REFUSED_STREAM)), "{refused:?}");
        for stream in &slow {
            client.data(*stream, b"1", false);
        }
        client.data(slow[0], b"2", true);
        assert!(client.answer(slow[0]).text().ends_with(" 2\n"));
        assert_eq!(client.exchange("/within", &[]).status, 200);
    });
}

/// H12: any frames in any order. Nothing is asked of the answer but that the proxy is sound.
#[test]
fn frames_in_any_order_harm_nobody() {
    let recorder = Recorder::start("one");
    let upstream = Upstream::start("two");
    for (address, more) in [(recorder.address(), HTTP1), (upstream.address(), ",upstream_protocol=http2")] {
        let proxy = listening(address, more).start();
        beside_a_victim(&proxy, || {
            for seed in 0..150 {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut client = Client::connect(proxy.address());
                let bytes: Vec<u8> = (0..random.usize(1..60)).flat_map(|_| any_frame(&mut random)).collect();
                let _ = client.write(&bytes);
                client.patience(Duration::from_millis(random.u64(1..8)));
                while client.read() {}
            }
        });
        assert_no_stream_is_left(&proxy);
    }
    assert_eq!(recorder.violations(), [""; 0]);
    assert_eq!(upstream.violations(), [""; 0]);
}

fn any_frame(random: &mut fastrand::Rng) -> Vec<u8> {
    let stream = 2 * random.u32(0..8) + 1;
    let end = if random.bool() { frame::END_STREAM } else { 0 };
    match random.u8(0..12) {
        0..4 => head(stream, &[], end),
        4 | 5 => frame::data(stream, &vec![b'x'; random.usize(0..2000)], end).bytes(),
        6 | 7 => frame::reset(stream, random.u32(0..14)).bytes(),
        8 => frame::window(stream, random.u32(1..1000)).bytes(),
        9 => frame::headers(stream, &hpack::encode(&fields(&[("x-row", "1")])), end)[0].bytes(),
        10 => frame::ping([1; 8]).bytes(),
        _ => Frame::new(random.u8(0..11), random.u8(..), stream, vec![random.u8(..); random.usize(0..20)])
            .bytes(),
    }
}

/// H13: what resets, padding and refusals cost of the windows comes back.
#[test]
fn no_window_of_a_connection_leaks_away() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted("one", move |asked| match asked.target() {
        "/held" => vec![Play::Body, Play::Hold(held.clone()), Play::Echo],
        "/refuse" => vec![Play::Reset(frame::REFUSED_STREAM)],
        _ => vec![Play::Echo],
    });
    let recorder = Recorder::start("one");
    for (address, more) in [(upstream.address(), ",upstream_protocol=http2"), (recorder.address(), HTTP1)] {
        let proxy = listening(address, more).flag("--http2-resets-burst", "100000").start();
        let mut client = Client::connect(proxy.address());
        client.settle();
        let mut padded = vec![255];
        padded.extend(vec![0; 16_000]);
        for round in 0..400 {
            let target = if round % 2 == 0 { "/held" } else { "/refuse" };
            let stream = client.open(&request("POST", target, &[]), false);
            assert!(
                client.wait_for_room(stream, padded.len() + 4),
                "{more}: round {round}: no window is left"
            );
            client.send(&Frame::new(frame::DATA, frame::PADDED, stream, padded.clone()));
            client.sent(stream, padded.len());
            if round % 2 == 0 {
                client.reset(stream, frame::CANCEL);
            } else {
                client.send(&frame::data(stream, b"more", frame::END_STREAM));
                client.sent(stream, 4);
            }
            assert!(client.ping(), "{more}: round {round}: {:?}", proxy.metrics());
        }
        let large = vec![b'l'; 10_000_000];
        let stream = client.post("/large", &[], &large);
        let answer = client.answer(stream);
        assert!(answer.text().ends_with(" 10000000\n"), "{more}: {answer:?}");
        assert_eq!(client.violations(), [""; 0]);
    }
    gate.open();
}

/// H14: deadlines that pass by the thousand are no attack, towards upstream least of all.
#[test]
fn many_clients_that_give_up_cost_no_connection_to_an_upstream() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted("one", move |asked| match asked.target() {
        "/attack" => vec![Play::Body, Play::Hold(held.clone()), Play::Echo],
        _ => vec![Play::Echo],
    });
    let proxy = listening(upstream.address(), ",upstream_protocol=http2").start();
    beside_a_victim(&proxy, || {
        for _ in 0..10 {
            let mut client = Client::connect(proxy.address());
            for _ in 0..8 {
                let streams: Vec<u32> = (0..40).map(|_| client.get("/attack", &[])).collect();
                assert!(client.ping());
                for stream in streams {
                    client.reset(stream, frame::CANCEL);
                }
            }
            assert!(client.ping() && client.goaways().is_empty());
        }
    });
    assert_no_stream_is_left(&proxy);
    assert_eq!(upstream.goaways(), []);
    let is_cancelled = |one: &Asked| one.end == Some(Finish::Reset(frame::CANCEL));
    eventually("the upstream hears of all", || {
        let asked = upstream.asked();
        let mut attack = asked.iter().filter(|one| one.target() == "/attack");
        attack.all(is_cancelled).then_some(())
    });
    assert_eq!(upstream.violations(), [""; 0]);
    gate.open();
}

/// H08: names without a byte, and content that is taken a byte at a time.
#[test]
fn dribbles_hold_nobody_up() {
    let upstream = Upstream::scripted("one", |asked| match asked.target() {
        "/attack" => {
            vec![Play::Head(fields(&[(":status", "200")]), false), Play::Data(vec![b'x'; 1 << 20], true)]
        }
        _ => vec![Play::Echo],
    });
    let proxy = listening(upstream.address(), ",upstream_protocol=http2").start();
    let before = proxy.resident_bytes();
    beside_a_victim(&proxy, || {
        let settings = [(frame::INITIAL_WINDOW_SIZE, 0)];
        let mut client =
            Client::with(proxy.address(), &settings, Manners { windows: false, ..Manners::default() });
        let streams: Vec<u32> = (0..10).map(|_| client.get("/attack", &[])).collect();
        for round in 1..=10 {
            for stream in &streams {
                client.send(&frame::window(*stream, 1));
            }
            for stream in &streams {
                let came = client.wait_for(*stream, |answer| answer.body.len() >= round);
                assert_eq!((came.body.len(), came.end), (round, None));
            }
        }
    });
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB, "{grown} bytes");
    assert_no_stream_is_left(&proxy);
}

/// H09 where the victim's answers come over the same connection as those that nobody takes.
#[test]
fn answers_that_nobody_takes_do_not_stop_the_connection_they_come_over() {
    let upstream = Upstream::scripted("one", |asked| match asked.target() {
        "/attack" => {
            vec![Play::Head(fields(&[(":status", "200")]), false), Play::Data(vec![b'x'; 1 << 20], true)]
        }
        _ => vec![Play::Echo],
    });
    let proxy = listening(upstream.address(), ",upstream_protocol=http2").start();
    let before = proxy.resident_bytes();
    beside_a_victim(&proxy, || {
        let settings = [(frame::INITIAL_WINDOW_SIZE, 0)];
        let mut client = Client::with(proxy.address(), &settings, Manners::default());
        let streams: Vec<u32> = (0..90).map(|_| client.get("/attack", &[])).collect();
        for stream in streams {
            assert_eq!(client.head(stream).status, 200);
        }
        let mut other = Client::connect(proxy.address());
        for _ in 0..20 {
            assert_eq!(other.exchange("/other", &[]).end, Some(Finish::Whole));
        }
        let grown = proxy.resident_bytes().saturating_sub(before);
        assert!(grown < 32 * MIB, "{grown} bytes");
    });
    assert_no_stream_is_left(&proxy);
}
