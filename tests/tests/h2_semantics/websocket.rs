//! WebSocket in every pair of versions (RFC 8441).

use spurline_tests::h2::{Client, Finish, Play, Upstream, fields};
use spurline_tests::servers::{Kind, Server};
use spurline_tests::wire::frame;
use spurline_tests::{Recorder, Step, eventually};

use super::listening;

fn connect(more: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let head = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "app.test"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    ];
    fields(&[&head[..], more].concat())
}

/// Announces extended CONNECT and sends back what comes.
fn upstream() -> Upstream {
    let settings = [(frame::ENABLE_CONNECT_PROTOCOL, 1)];
    Upstream::with("two", &settings, spurline_tests::h2::Manners::default(), |_| {
        vec![Play::Head(fields(&[(":status", "200")]), false), Play::Tunnel]
    })
}

#[test]
fn a_client_of_http2_reaches_a_real_server_of_http1() {
    let server = Server::start(Kind::WebSocket);
    let proxy = listening(server.address(), ",upstream_protocol=http1").start();
    let mut client = Client::connect(proxy.address());
    client.settle();
    assert!(client.settings().contains(&(frame::ENABLE_CONNECT_PROTOCOL, 1)), "{:?}", client.settings());
    let stream = client.open(&connect(&[]), false);
    // The server's greeting is a text frame.
    let greeted = client.wait_for(stream, |answer| answer.body.len() >= 15);
    assert_eq!((greeted.status, greeted.end), (200, None), "{greeted:?}");
    assert_eq!(&greeted.body, b"\x81\x0dhello /chat -");
    assert_eq!((greeted.field("upgrade"), greeted.field("connection")), (None, None));
    // "hi", masked with zeros, comes back unmasked; then the close does.
    client.data(stream, b"\x81\x82\0\0\0\0hi", false);
    let echoed = client.wait_for(stream, |answer| answer.body.len() >= 19);
    assert_eq!(&echoed.body[15..], b"\x81\x02hi");
    client.data(stream, b"\x88\x82\0\0\0\0\x03\xe8", false);
    let closed = client.wait_for(stream, |answer| answer.body.len() >= 23);
    assert_eq!(&closed.body[19..], b"\x88\x02\x03\xe8");
    assert_eq!(client.answer(stream).end, Some(Finish::Whole));
    assert!(proxy.metric("spurline_tunnels_total", &[("kind", "websocket")]) >= 1.0);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn a_client_of_http2_reaches_a_server_of_http2() {
    let upstream = upstream();
    let proxy = listening(upstream.address(), ",upstream_protocol=http2").start();
    let mut client = Client::connect(proxy.address());
    let streams: Vec<u32> = (0..5).map(|_| client.open(&connect(&[]), false)).collect();
    for stream in &streams {
        client.data(*stream, b"some bytes", false);
    }
    assert_eq!(client.exchange("/beside", &[]).status, 200);
    for stream in streams {
        let came = client.wait_for(stream, |answer| answer.body.len() >= 10);
        assert_eq!((came.status, &came.body[..]), (200, &b"some bytes"[..]));
        client.data(stream, b"", true);
        assert_eq!(client.answer(stream).end, Some(Finish::Whole));
    }
    let asked = upstream.asked();
    assert_eq!((asked[0].field(":protocol"), asked[0].target()), (Some("websocket"), "/chat"));
    assert_eq!((upstream.violations(), client.violations()), (Vec::new(), &[][..]));
}

#[test]
fn an_upstream_that_does_not_switch_is_an_answer_and_no_tunnel() {
    let recorder = Recorder::scripted("one", |_| {
        vec![Step::Body, Step::Send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec())]
    });
    let proxy = listening(recorder.address(), ",upstream_protocol=http1").start();
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&connect(&[]), false);
    let answer = client.head(stream);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(recorder.violations(), [""; 0]);
    // One of HTTP/2 that knows no extended CONNECT is not asked.
    let plain = Upstream::start("two");
    let proxy = listening(plain.address(), ",upstream_protocol=http2").start();
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&connect(&[]), false);
    let answer = client.head(stream);
    assert!(answer.local() && answer.status >= 500, "{answer:?}");
    assert!(plain.asked().is_empty());
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.exchange("/next", &[]).status, 200);
}

#[test]
fn a_tunnel_ends_on_one_side_when_it_ends_on_the_other() {
    let recorder = Recorder::scripted("one", |head| {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        let accept = match head.field("sec-websocket-key") {
            Some(_) => vec![Step::Body, Step::Send(format!("{switch}\r\nhello").into_bytes())],
            None => Vec::new(),
        };
        [accept, vec![if head.target() == "/ends" { Step::Finish } else { Step::Stall }]].concat()
    });
    let proxy = listening(recorder.address(), ",upstream_protocol=http1").start();
    let mut client = Client::connect(proxy.address());
    let stream = client.open(&connect(&[]), false);
    client.wait_for(stream, |answer| !answer.body.is_empty());
    client.reset(stream, frame::CANCEL);
    eventually("the upstream is left", || (recorder.open_connections() == 0).then_some(()));
    assert!(client.ping(), "the connection goes on");
}
