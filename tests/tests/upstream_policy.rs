//! Towards upstreams: which connections are made, kept, counted and limited, and what a client sees of one that fails.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use spurline_tests::{
    Builder, Fault, Override, RawClient, Recorder, Relay, Routes, TestProxy, eventually, free_address,
};

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";
const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// One worker, so that there is one pool, and figures can be told exactly.
fn one_worker(baseline: &[SocketAddr]) -> Builder {
    TestProxy::build().sidecar("app", WORKLOAD, baseline).flag("--workers", "1")
}

fn by(client: &mut RawClient, request: &str) -> String {
    let response = client.exchange(request);
    response.field("x-backend").unwrap_or_else(|| panic!("{:?}", response.head)).to_owned()
}

/// An address whose accept queue is full, so that the kernel drops further connections, and what keeps it full.
struct Blackhole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<TcpStream>,
}

fn blackhole() -> Blackhole {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    listener.listen(0).expect("listen");
    let address = listener.local_addr().expect("an address").as_socket().expect("an inet address");
    let short = Duration::from_millis(500);
    let queue = std::iter::from_fn(|| TcpStream::connect_timeout(&address, short).ok());
    let queued: Vec<_> = queue.take(64).collect();
    assert!(queued.len() < 64, "the queue never fills");
    Blackhole { address, _listener: listener, _queued: queued }
}

#[test]
fn without_an_idle_timeout_connections_are_kept_and_counted() {
    let recorder = Recorder::start("one");
    let proxy = one_worker(&[recorder.address()]).flag("--upstream-idle-timeout", "0").start();
    for _ in 0..5 {
        let mut client = proxy.client();
        for _ in 0..50 {
            assert_eq!(client.exchange(GET).status, 200);
        }
    }
    assert_eq!(recorder.accepted(), 1);
    let metrics = proxy.metrics();
    assert!(metrics.sum("spurline_upstream_reused_total", &[]) >= 249.0);
    assert!(metrics.sum("spurline_upstream_idle", &[]) == 1.0, "{}", metrics.text());
    assert!(metrics.sum("spurline_upstream_connections_active", &[]) == 1.0, "{}", metrics.text());
    recorder.close_connections();
    eventually("a closed connection is no longer counted", || {
        (proxy.metric("spurline_upstream_connections_active", &[]) == 0.0).then_some(())
    });
    assert!(proxy.metric("spurline_upstream_idle", &[]) == 0.0);
}

#[test]
fn an_ejected_endpoint_is_counted_until_it_returns_whatever_set_it_is_in() {
    let [good, later, other] = ["good", "later", "other"].map(Recorder::start);
    let relay = Relay::start(later.address());
    relay.set(Fault::Refuse);
    let table = |extra: &[SocketAddr]| {
        let endpoints = [&[good.address(), relay.address()], extra].concat();
        Routes::new().workload(WORKLOAD, 8080, &endpoints)
    };
    let routes = table(&[]).published();
    let proxy = one_worker(&[])
        .routes(&routes)
        .flag("--ejection-failures", "1")
        .flag("--ejection-time", "3s")
        .flag("--ejection-max-percent", "50")
        .flag("--panic-threshold-percent", "0")
        .start();
    let ejected = || proxy.metric("spurline_ejected", &[]);
    let change = |to: &Routes| {
        let generation = proxy.generation();
        routes.write(&to.text());
        proxy.wait_newer_than(generation);
    };
    eventually("the endpoint is ejected", || {
        assert_eq!(proxy.get("/x", "").status, 200);
        (ejected() >= 1.0).then_some(())
    });
    change(&table(&[other.address()]));
    for _ in 0..10 {
        assert_eq!(proxy.get("/x", "").status, 200);
    }
    assert!((1.0..=2.0).contains(&ejected()), "{} ejected", ejected());
    relay.set(Fault::None);
    eventually("the endpoint serves again", || {
        assert_eq!(proxy.get("/x", "").status, 200);
        (relay.accepted() > 0).then_some(())
    });
    change(&table(&[]));
    eventually("nothing is ejected", || {
        assert_eq!(proxy.get("/x", "").status, 200);
        (ejected() == 0.0).then_some(())
    });
    proxy.assert_sound();
}

#[test]
fn idle_connections_to_some_endpoints_keep_no_request_from_the_others() {
    let recorders = ["a", "b", "c", "d"].map(Recorder::start);
    let endpoints: Vec<_> = recorders.iter().map(Recorder::address).collect();
    for most in ["3", "2", "1"] {
        let proxy = one_worker(&endpoints).flag("--upstream-connections-max", most).start();
        let mut client = proxy.client();
        for _ in 0..100 {
            let response = client.exchange(GET);
            assert_eq!(response.status, 200, "at most {most}: {:?}", response.head);
        }
        assert!(proxy.metric("spurline_breaker_open_total", &[]) == 0.0, "at most {most}");
        let active = proxy.metric("spurline_upstream_connections_active", &[]);
        assert!(active <= most.parse().expect("a number"), "{active} connections, at most {most}");
    }
    assert!(recorders.iter().all(|recorder| !recorder.requests().is_empty()), "all endpoints are used");
}

#[test]
fn tunnels_do_not_count_as_requests_in_flight() {
    let greeter = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = greeter.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = greeter.accept() {
            let _ = stream.write_all(b"hello");
            kept.push(stream);
        }
    });
    let proxy = TestProxy::build()
        .tcp("app", &[address])
        .flag("--workers", "1")
        .flag("--upstream-requests-max", "8")
        .start();
    let tunnels: Vec<_> = (0..40)
        .map(|_| {
            let mut client = proxy.client();
            assert_eq!(client.read_exact(5).expect("a greeting"), b"hello");
            client
        })
        .collect();
    assert!(proxy.metric("spurline_upstream_connections_active", &[]) == 40.0, "{} tunnels", tunnels.len());
    assert!(proxy.metric("spurline_breaker_open_total", &[]) == 0.0);
}

#[test]
fn a_dead_fork_costs_one_failed_connection_and_its_baseline_keeps_its_own() {
    let baseline = Recorder::start("baseline");
    let rule = Override::new(WORKLOAD, KEY, "a").port(8080, &[free_address()]).or_baseline();
    let routes = Routes::new().sandbox("a", KEY).with(rule).published();
    let proxy = one_worker(&[baseline.address()]).routes(&routes).start();
    let mut client = proxy.client();
    let keyed = format!("GET /x HTTP/1.1\r\nHost: a\r\nsd-routing-key: {KEY}\r\n\r\n");
    for _ in 0..30 {
        assert_eq!(by(&mut client, &keyed), "baseline");
    }
    let metrics = proxy.metrics();
    let failed = metrics.sum("spurline_upstream_connects_total", &[("result", "refused")]);
    assert!(failed == 30.0, "{failed} failed connections for 30 requests");
    assert!(metrics.sum("spurline_retries_total", &[]) == 0.0, "{}", metrics.text());
    assert_eq!(baseline.accepted(), 1, "the baseline's connection is reused");
}

#[test]
fn a_fork_that_does_not_answer_connections_costs_one_timeout() {
    let baseline = Recorder::start("baseline");
    let fork = blackhole();
    let rule = Override::new(WORKLOAD, KEY, "a").port(8080, &[fork.address]).or_baseline();
    let routes = Routes::new().sandbox("a", KEY).with(rule).published();
    let proxy = one_worker(&[baseline.address()]).routes(&routes).flag("--connect-timeout", "300ms").start();
    let fallen = proxy.get("/x", &format!("sd-routing-key: {KEY}\r\n"));
    assert_eq!(fallen.field("x-backend"), Some("baseline"));
    let timeouts = proxy.metric("spurline_upstream_connects_total", &[("result", "timeout")]);
    assert!(timeouts == 1.0, "{timeouts} connections timed out");
}

#[test]
fn the_time_of_a_whole_request_includes_connecting() {
    let upstream = blackhole();
    let proxy = one_worker(&[upstream.address])
        .flag("--connect-timeout", "1m")
        .flag("--request-timeout", "500ms")
        .start();
    let started = Instant::now();
    let response = proxy.client().exchange(GET);
    let took = started.elapsed();
    assert_eq!((response.status, response.field("x-spurline-reason")), (504, Some("request-timeout")));
    assert!((Duration::from_millis(400)..Duration::from_secs(50)).contains(&took), "{took:?}");
}
