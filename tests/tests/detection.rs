//! What a listener takes a connection for: late and hesitant clients are steered, and no edge passes on what it has not
//! read.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use spurline_tests::{DEADLINE, Override, RawClient, Recorder, Routes, TestProxy, eventually, free_address};

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";

fn keyed(start: &str) -> String {
    format!(
        "{start}GET /s HTTP/1.1\r\nHost: a\r\nsd-routing-key: {KEY}\r\nbaggage: sd-routing-key={KEY}\r\n\
         x-spurline-strict: 1\r\n\r\n"
    )
}

fn table(fork: SocketAddr) -> Routes {
    let rule = Override::new(WORKLOAD, KEY, "cart-a").port(8080, &[fork]);
    Routes::new().sandbox("a", KEY).with(rule).published()
}

/// A sidecar that detects protocols, with a fork.
fn sidecar(baseline: SocketAddr, routes: &Routes) -> TestProxy {
    TestProxy::sidecar(WORKLOAD, baseline).routes(routes).flag("--detect-timeout", "1s").start()
}

/// Waits until detection has given up on `count` clients.
fn given_up(proxy: &TestProxy, count: f64) {
    eventually("detection has given up", || {
        (proxy.metric("spurline_detected_total", &[("protocol", "timeout")]) >= count).then_some(())
    });
}

/// A server that says `greeting` and then repeats what it hears.
fn echo(greeting: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                let mut going = stream.write_all(greeting).is_ok();
                while going {
                    let count = stream.read(&mut buffer).unwrap_or(0);
                    going = count > 0 && stream.write_all(&buffer[..count]).is_ok();
                }
            });
        }
    });
    address
}

#[test]
fn a_client_that_speaks_late_is_steered() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let routes = table(fork.address());
    let proxy = sidecar(baseline.address(), &routes);
    let mut client = proxy.client();
    given_up(&proxy, 1.0);
    for _ in 0..3 {
        assert_eq!(client.exchange(keyed("")).field("x-backend"), Some("fork"));
    }
    assert!(baseline.raw().concat().is_empty(), "{:?}", baseline.raw());
}

#[test]
fn a_client_that_pauses_within_its_method_is_steered() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let routes = table(fork.address());
    let proxy = sidecar(baseline.address(), &routes);
    let mut client = proxy.client();
    client.send("G");
    given_up(&proxy, 1.0);
    client.send(&keyed("")[1..]);
    assert_eq!(client.response().field("x-backend"), Some("fork"));
    assert!(baseline.raw().concat().is_empty(), "{:?}", baseline.raw());
}

#[test]
fn a_server_that_speaks_first_is_heard_and_answers_what_is_not_http() {
    let fork = Recorder::start("fork");
    let routes = table(fork.address());
    let proxy = sidecar(echo(b"220 ready\r\n"), &routes);
    let mut client = proxy.client();
    assert_eq!(client.read_exact(11).expect("a greeting"), b"220 ready\r\n");
    client.send("EHLO a\r\n");
    assert_eq!(client.read_exact(8).expect("an echo"), b"EHLO a\r\n");
}

#[test]
fn what_is_not_http_is_passed_through_however_late_it_comes() {
    let fork = Recorder::start("fork");
    let routes = table(fork.address());
    let proxy = sidecar(echo(b""), &routes);
    let mut client = proxy.client();
    given_up(&proxy, 1.0);
    client.send(b"\x00\x01garbage\xff");
    assert_eq!(client.read_exact(10).expect("an echo"), b"\x00\x01garbage\xff");
    assert_eq!(fork.accepted(), 0);
}

#[test]
fn clients_that_only_connect_keep_nobody_else_from_being_served() {
    let baseline = Recorder::start("baseline");
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address())
        .flag("--workers", "1")
        .flag("--detect-timeout", "50ms")
        .flag("--upstream-requests-max", "4")
        .flag("--connections-max", "12")
        .start();
    let mut silent = Vec::new();
    for number in 1..=12 {
        silent.push(proxy.client());
        given_up(&proxy, f64::from(number));
    }
    for _ in 0..6 {
        assert_eq!(proxy.get("/x", "").field("x-backend"), Some("baseline"));
    }
    let speaking = silent.last_mut().expect("a client");
    assert_eq!(speaking.exchange("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").field("x-backend"), Some("baseline"));
}

#[test]
fn a_tunnel_whose_server_spoke_first_gives_its_place_to_nobody() {
    let proxy = TestProxy::sidecar(WORKLOAD, echo(b"220 ready\r\n"))
        .flag("--workers", "1")
        .flag("--detect-timeout", "50ms")
        .flag("--connections-max", "4")
        .start();
    let mut tunnels: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.read_exact(11).expect("a greeting"), b"220 ready\r\n");
    }
    assert!(proxy.client().to_end().bytes.is_empty(), "there is no place for a fifth");
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.send("one").read_exact(3).expect("an echo"), b"one");
    }
}

#[test]
fn an_edge_reads_everything_before_it_passes_it_on() {
    for keys in ["role=gateway", "role=sidecar,trust=none"] {
        let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
        let routes = table(fork.address());
        let keys = format!("workload={WORKLOAD},port=8080,baseline={},{keys}", baseline.address());
        let proxy = TestProxy::build()
            .listener("app", &keys)
            .routes(&routes)
            .flag("--detect-timeout", "50ms")
            .start();
        let whole = keyed("");
        let rows: Vec<(&str, String, String)> = vec![
            ("at once", String::new(), whole.clone()),
            ("two empty lines", String::new(), keyed("\r\n\r\n")),
            ("many empty lines", String::new(), keyed(&"\r\n".repeat(20))),
            ("bare line feeds", String::new(), keyed("\n\n")),
            ("a method in lower case", String::new(), whole.replace("GET", "get")),
            ("an unknown method", String::new(), whole.replace("GET", "FROBNICATE")),
            ("a method of punctuation", String::new(), whole.replace("GET", "!#$%")),
            ("a leading blank", String::new(), keyed(" ")),
            ("a leading zero byte", String::new(), keyed("\0")),
            ("a late first byte", String::new(), whole.clone()),
            ("a pause after one byte", "G".to_owned(), whole[1..].to_owned()),
            ("a pause after an empty line", "\r\n".to_owned(), whole.clone()),
            ("HTTP/2 with prior knowledge", String::new(), keyed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
            ("a TLS record", String::new(), keyed("\u{16}\u{3}\u{1}\0\u{1}")),
        ];
        for (name, before, after) in rows {
            let seen = baseline.raw().concat().len();
            let mut client = proxy.client().read_timeout(Duration::from_millis(150));
            let _ = client.try_send(before);
            if name.contains("pause") || name.contains("late") {
                let _the_pause = client.to_end();
            }
            let _ = client.try_send(after);
            let mut client = client.read_timeout(DEADLINE);
            let answer = client.response_to("GET");
            let passed = baseline.raw().concat()[seen..].to_vec();
            let passed = String::from_utf8_lossy(&passed).into_owned();
            assert!(!passed.contains(KEY) && !passed.contains("x-spurline"), "{keys}: {name}: {passed:?}");
            // What follows its preface is not HTTP/2, and is answered in HTTP/2.
            let is_http2 = name.contains("HTTP/2");
            assert!(
                is_http2
                    || answer.as_ref().is_ok_and(|one| one.status == 200 || (400..506).contains(&one.status)),
                "{keys}: {name}: {answer:?}"
            );
        }
        assert_eq!(fork.accepted(), 0, "{keys}");
        assert!(baseline.violations().is_empty(), "{:?}", baseline.violations());
    }
}

#[test]
fn an_edge_that_would_have_to_guess_does_not_start() {
    for keys in ["role=gateway", "role=gateway,trust=all", "trust=none", "trust=signed"] {
        let listener = format!(
            "name=a,listen={},workload={WORKLOAD},port=8080,baseline=127.0.0.1:9,protocol=detect,{keys}",
            free_address()
        );
        let done = TestProxy::command(&["--check", "--listener", &listener]);
        assert_eq!(done.code, Some(64), "{keys}: {}", done.stderr);
        assert!(done.stderr.contains("protocol=detect"), "{keys}: {}", done.stderr);
    }
}

#[test]
fn an_edge_without_a_protocol_serves_http() {
    let baseline = Recorder::start("baseline");
    let proxy = TestProxy::build().gateway("app", WORKLOAD, "none", &[baseline.address()]).start();
    let response = RawClient::connect(proxy.address()).exchange("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.field("x-backend"), Some("baseline"));
    assert!(proxy.metric("spurline_detected_total", &[]) == 0.0);
}
