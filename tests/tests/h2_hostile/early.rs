//! Informational, early and broken answers, and expectations (http-cases D).

use spurline_tests::h2::{Client, Finish, Play, Upstream, fields, request};
use spurline_tests::wire::frame;
use spurline_tests::{Gate, Recorder, Step, eventually};

use super::{HTTP1, listening};

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What an upstream of HTTP/1.1 says to a head, and what the client has to see: the statuses of a count of informational
/// answers and a final one.
#[test]
fn informational_answers_pass_until_there_are_too_many() {
    let recorder = Recorder::scripted("one", |head| match head.target() {
        "/hints" => vec![
            send(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n",
            ),
            Step::Body,
            send(OK),
        ],
        "/late-continue" => vec![
            send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
            Step::Body,
            send(OK),
        ],
        "/switch" => {
            vec![send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")]
        }
        "/endless" => {
            vec![send(&"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000)), Step::Stall]
        }
        _ => vec![Step::Echo],
    });
    let proxy = listening(recorder.address(), HTTP1).start();
    let mut client = Client::connect(proxy.address());
    let hints = client.exchange("/hints", &[]);
    let links: Vec<_> =
        hints.informational.iter().map(|one| spurline_tests::h2::field(one, "link")).collect();
    assert_eq!((hints.status, links), (200, vec![Some("</a>"), Some("</b>")]));
    assert_eq!(client.exchange("/late-continue", &[]).status, 200);
    for target in ["/switch", "/endless"] {
        let broken = client.exchange(target, &[]);
        assert!(broken.status == 502 && broken.local(), "{target}: {broken:?}");
    }
    assert_eq!(client.exchange("/after", &[]).status, 200);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn an_expectation_is_met_by_the_upstream_and_not_before() {
    let gate = Gate::default();
    let held = gate.clone();
    let recorder = Recorder::scripted("one", move |head| match head.target() {
        "/continue" => {
            vec![Step::Hold(held.clone()), send("HTTP/1.1 100 Continue\r\n\r\n"), Step::Echo]
        }
        "/refuse" => vec![send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"), Step::Finish],
        _ => vec![Step::Echo],
    });
    let proxy = listening(recorder.address(), HTTP1).start();
    let mut client = Client::connect(proxy.address());
    let expecting = |target| request("POST", target, &[("expect", "100-continue"), ("content-length", "5")]);
    let stream = client.open(&expecting("/continue"), false);
    assert!(client.ping());
    assert_eq!(client.peek(stream).informational.len(), 0, "nobody has answered yet");
    gate.open();
    let told = client.wait_for(stream, |answer| !answer.informational.is_empty());
    assert_eq!((told.informational.len(), told.status), (1, 0));
    client.data(stream, b"12345", true);
    assert!(client.answer(stream).text().ends_with(" 5\n"));
    let refused = client.open(&expecting("/refuse"), false);
    assert_eq!(client.head(refused).status, 417);
    // Who does not wait is served as well, and told to go on once at most.
    let stream = client.open(&expecting("/continue"), false);
    client.data(stream, b"12345", true);
    let answer = client.answer(stream);
    assert!(answer.status == 200 && answer.informational.len() <= 1, "{answer:?}");
    let unknown = client.post("/unknown", &[("expect", "the-unexpected")], b"12345");
    assert!(matches!(client.answer(unknown).status, 200 | 417));
    assert_eq!(recorder.violations(), [""; 0]);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn an_answer_before_the_end_of_the_request_is_passed_on_at_once() {
    let recorder = Recorder::scripted("one", |_| {
        vec![send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"), Step::Finish]
    });
    let upstream = Upstream::scripted("two", |_| {
        let head = fields(&[(":status", "403"), ("content-length", "2")]);
        vec![Play::Head(head, false), Play::Data(b"no".to_vec(), true), Play::Reset(frame::NO_ERROR)]
    });
    for (address, more) in [(recorder.address(), HTTP1), (upstream.address(), ",upstream_protocol=http2")] {
        let proxy = listening(address, more).start();
        let mut client = Client::connect(proxy.address());
        let stream = client.open(&request("POST", "/early", &[]), false);
        client.data(stream, &[b'x'; 1000], false);
        let answer = client.wait_for(stream, |answer| answer.body == b"no");
        assert_eq!((answer.status, &answer.body[..]), (403, &b"no"[..]), "{more}: {answer:?}");
        // The rest of the request goes nowhere and harms nobody.
        client.data(stream, &[b'x'; 1000], true);
        assert_eq!(client.exchange("/next", &[]).status, 403, "{more}");
        assert_eq!(client.violations(), [""; 0]);
    }
}

/// Heads, content and trailers of upstreams that are not in order, with the status that a client gets for them; 0 is a reset.
#[test]
fn an_answer_that_is_not_in_order_is_no_answer() {
    let head = |more: &[(&str, &str)]| fields(&[&[(":status", "200")], more].concat());
    let (ok, data) = (head(&[]), |text: &str| Play::Data(text.as_bytes().to_vec(), true));
    let cases: Vec<(&str, Vec<Play>, u16)> = vec![
        ("/no-status", vec![Play::Head(fields(&[("x", "y")]), true)], 502),
        ("/status", vec![Play::Head(fields(&[(":status", "2000")]), true)], 502),
        ("/pseudo", vec![Play::Head(head(&[(":path", "/")]), true)], 502),
        ("/hop", vec![Play::Head(head(&[("transfer-encoding", "chunked")]), true)], 502),
        ("/injection", vec![Play::Head(head(&[("x", "a\r\nb: c")]), true)], 502),
        ("/upper", vec![Play::Head(head(&[("X-Upper", "a")]), true)], 502),
        ("/length", vec![Play::Head(head(&[("content-length", "+2")]), false), data("ok")], 502),
        ("/more", vec![Play::Head(head(&[("content-length", "1")]), false), data("okok")], 0),
        ("/less", vec![Play::Head(head(&[("content-length", "9")]), false), data("ok")], 0),
        ("/trailers", vec![Play::Head(ok, false), Play::Trailers(fields(&[(":status", "200")]))], 0),
        ("/informational", vec![Play::Head(fields(&[(":status", "103")]), true)], 502),
        ("/reset", vec![Play::Body, Play::Reset(frame::INTERNAL_ERROR)], 502),
        ("/closed", vec![Play::Body, Play::Close], 502),
    ];
    let plays = cases.clone();
    let upstream = Upstream::scripted("one", move |asked| {
        let found = plays.iter().find(|(target, ..)| *target == asked.target());
        found.map_or_else(|| vec![Play::Echo], |(_, plays, _)| plays.clone())
    });
    let proxy = listening(upstream.address(), ",upstream_protocol=http2").flag("--retries-max", "0").start();
    let mut client = Client::connect(proxy.address());
    for (target, _, status) in cases {
        let stream = client.post(target, &[], b"x");
        let answer = client.answer(stream);
        if status == 0 {
            assert!(matches!(answer.end, Some(Finish::Reset(_))), "{target}: {answer:?}");
        } else {
            assert!(answer.status == status && answer.local(), "{target}: {answer:?}");
        }
        let next = eventually("the next is served", || {
            Some(client.exchange("/next", &[])).filter(|next| next.status == 200)
        });
        assert!(next.text().starts_with("one GET /next"), "{target}: {next:?}");
    }
    assert_eq!(client.violations(), [""; 0]);
}
