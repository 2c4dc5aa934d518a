//! Bounds: slow clients, idle connections, sizes, descriptors, memory, upstreams that never answer.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use spurline_tests::{DEADLINE, End, RawClient, Recorder, Step, TestProxy, eventually, eventually_within};

const WORKLOAD: &str = "shop/Deployment/cart";
const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

fn status(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(12).collect()
}

#[test]
fn a_head_that_drips_is_ended_at_the_timeout_however_steadily_it_comes() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--head-timeout", "400ms").start();
    let mut client = proxy.client().read_timeout(Duration::from_millis(20));
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\nX: ");
    let started = Instant::now();
    let transcript = loop {
        let _ = client.try_send("a");
        let transcript = client.to_end();
        if transcript.end != End::Timeout || !transcript.bytes.is_empty() {
            break transcript;
        }
        assert!(started.elapsed() < DEADLINE, "a drip keeps the connection");
    };
    assert!(status(&transcript.bytes) == "HTTP/1.1 408" || transcript.bytes.is_empty(), "{transcript:?}");
    assert!(recorder.requests().is_empty());
    assert_eq!(proxy.get("/next", "").status, 200);
}

#[test]
fn a_body_that_stalls_is_ended_and_its_upstream_request_aborted() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--body-idle-timeout", "300ms").start();
    let mut client = proxy.client();
    client.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome");
    let transcript = client.to_end();
    assert_ne!(transcript.end, End::Timeout);
    assert!(transcript.bytes.is_empty() || status(&transcript.bytes) == "HTTP/1.1 408", "{transcript:?}");
    eventually("the upstream request is aborted", || (recorder.aborted().len() == 1).then_some(()));
}

#[test]
fn a_connection_without_requests_is_ended_at_the_idle_timeout() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--idle-timeout", "3s")
        .flag("--detect-timeout", "1s")
        .start();
    let mut used = proxy.client();
    assert_eq!(used.exchange(GET).status, 200);
    assert_eq!(used.to_end().end, End::Fin);
    assert_eq!(recorder.requests().len(), 1);
}

#[test]
fn clients_that_do_not_read_cost_bounded_memory_and_nobody_else_anything() {
    let mut reply = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n".to_vec();
    reply.resize(reply.len() + 20_000_000, b'x');
    let recorder = Recorder::scripted("large", move |head| match head.target() {
        "/large" => vec![Step::Body, Step::Send(reply.clone())],
        _ => vec![Step::Echo],
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    assert_eq!(proxy.get("/warm", "").status, 200);
    let before = proxy.resident_bytes();
    let mut clients: Vec<_> = (0..50).map(|_| proxy.client().receive_buffer(4096)).collect();
    for client in &mut clients {
        client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("all requests are there", || (recorder.requests().len() == 51).then_some(()));
    for number in 0..200 {
        assert_eq!(
            proxy.get("/x", &format!("X-Id: {number}\r\n")).field("x-id"),
            Some(number.to_string().as_str())
        );
    }
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 50 * 256 * 1024, "{grown} bytes for 50 clients that do not read");
}

#[test]
fn a_client_that_never_reads_is_ended_at_the_timeout() {
    let mut reply = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n".to_vec();
    reply.resize(reply.len() + 50_000_000, b'x');
    let recorder = Recorder::scripted("large", move |_| vec![Step::Body, Step::Send(reply.clone())]);
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--body-idle-timeout", "300ms").start();
    let mut client = proxy.client().receive_buffer(4096);
    client.send(GET);
    eventually("the upstream is let go", || {
        (recorder.open_connections() == 0 && recorder.accepted() == 1).then_some(())
    });
}

#[test]
fn an_upstream_that_never_answers_is_a_504() {
    let recorder = Recorder::scripted("never", |_| vec![Step::Body, Step::Stall]);
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--response-timeout", "300ms").start();
    let response = proxy.client().exchange(GET);
    assert_eq!(response.status, 504);
    assert!(response.field("x-spurline-reason").is_some());
    eventually("the upstream connection is ended", || (recorder.open_connections() == 0).then_some(()));
}

#[test]
fn an_upstream_that_cannot_be_connected_is_given_up_at_the_timeout() {
    // A listener whose queue is full: the kernel drops further SYNs.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(0).expect("listen");
    let address = socket.local_addr().expect("an address").as_socket().expect("an inet address");
    let short = Duration::from_millis(500);
    let queued: Vec<_> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, short).ok()).take(64).collect();
    assert!(queued.len() < 64, "the queue never fills");
    let proxy = TestProxy::sidecar(WORKLOAD, address).flag("--connect-timeout", "200ms").start();
    eventually("it is given up in less than the timeout that is not set", || {
        let started = Instant::now();
        let response = proxy.client().exchange(GET);
        assert!(matches!(response.status, 502..=504), "{:?}", response.head);
        assert!(response.field("x-spurline-reason").is_some());
        (started.elapsed() < Duration::from_secs(1)).then_some(())
    });
}

#[test]
fn the_connection_limit_holds_and_new_clients_take_the_place_of_idle_ones() {
    let recorder = Recorder::scripted("slow", |head| match head.target() {
        "/hold" => vec![Step::Body, Step::Stall],
        _ => vec![Step::Echo],
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--connections-max", "10")
        .flag("--workers", "1")
        .start();
    let mut busy: Vec<_> = (0..10).map(|_| proxy.client()).collect();
    for client in &mut busy {
        client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("all are busy", || (recorder.requests().len() == 10).then_some(()));
    let mut refused = proxy.client();
    let _ = refused.try_send(GET);
    assert_ne!(refused.to_end().end, End::Timeout, "the eleventh is ended at once");
    assert!(proxy.metric("spurline_connections_refused_total", &[("reason", "limit")]) >= 1.0);
    drop(busy);
    eventually("there is room again", || {
        let mut client = RawClient::try_connect(proxy.address()).ok()?;
        client.try_send(GET).ok()?;
        client.response_to("GET").ok()
    });
    let mut idle: Vec<_> = (0..10).map(|_| proxy.client()).collect();
    for client in &mut idle {
        let _ = client.try_send(GET);
        let _ = client.response_to("GET");
    }
    assert_eq!(proxy.get("/new", "").status, 200, "an idle connection makes room");
}

#[test]
fn running_out_of_descriptors_ends_nothing_and_passes() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .under(&["prlimit", "--nofile=64:64"])
        .flag("--connections-max", "1000")
        .start();
    let mut first = proxy.client();
    assert_eq!(first.exchange(GET).status, 200);
    let many: Vec<_> = (0..200).filter_map(|_| RawClient::try_connect(proxy.address()).ok()).collect();
    assert_eq!(first.exchange(GET).status, 200, "a connection that exists goes on");
    drop(many);
    eventually_within(DEADLINE * 2, "new connections are served again", || {
        let mut client = RawClient::try_connect(proxy.address()).ok()?.read_timeout(DEADLINE / 4);
        client.try_send(GET).ok()?;
        client.response_to("GET").ok().filter(|response| response.status == 200)
    });
}

#[test]
fn connections_that_come_and_reset_at_once_leave_nothing_behind() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    assert_eq!(proxy.get("/x", "").status, 200);
    let before = proxy.open_descriptors();
    for number in 0..2_000 {
        let mut client = proxy.client();
        if number % 2 == 0 {
            let _ = client.try_send("GET /x HTTP/1.1\r\nHo");
        }
        client.reset();
    }
    let mut open = 0;
    let mut settled = || {
        open = proxy.open_descriptors();
        (open <= before + 2).then_some(())
    };
    let started = Instant::now();
    while settled().is_none() {
        let links = || proxy.descriptors().join("\n");
        assert!(started.elapsed() < DEADLINE, "{open} descriptors, {before} before:\n{}", links());
        std::thread::yield_now();
    }
    assert_eq!(proxy.get("/x", "").status, 200);
}

#[test]
fn the_largest_number_of_fields_that_can_be_set_is_served() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--fields-max", "256").start();
    let with = |count: usize| {
        let fields: String = (0..count).map(|number| format!("x-{number}: {number}\r\n")).collect();
        proxy.client().exchange(format!("GET /f HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    };
    assert_eq!(with(0).status, 200);
    assert_eq!(with(255).status, 200);
    assert_eq!(with(256).status, 431);
    assert_eq!(recorder.requests().len(), 2);
    assert_eq!(recorder.requests()[1].request.head.fields.len(), 256);
    assert!(recorder.violations().is_empty(), "{:?}", recorder.violations());
}

#[test]
fn an_idle_connection_is_cheap() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--connections-max", "5000").start();
    let mut warm: Vec<_> = (0..50).map(|_| proxy.client()).collect();
    for client in &mut warm {
        assert_eq!(client.exchange(GET).status, 200);
    }
    let before = proxy.resident_bytes();
    let mut idle: Vec<_> = (0..1_000).map(|_| proxy.client()).collect();
    for client in &mut idle {
        assert_eq!(client.exchange(GET).status, 200);
    }
    let each = proxy.resident_bytes().saturating_sub(before) / 1_000;
    println!("{each} bytes for each idle connection");
    assert!(each < 8 * 1024, "{each} bytes for each idle connection");
}

#[test]
fn an_idle_proxy_with_half_closed_clients_uses_no_processor() {
    let recorder = Recorder::scripted("never", |_| vec![Step::Body, Step::Stall]);
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--client-fin-timeout", "30s").start();
    let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(GET).finish();
    }
    eventually("all requests are there", || (recorder.requests().len() == 20).then_some(()));
    let before = proxy.processor_ticks();
    let quiet = RawClient::connect(recorder.address()).read_timeout(Duration::from_secs(1)).to_end();
    assert_eq!(quiet.end, End::Timeout, "a second passes");
    let used = proxy.processor_ticks() - before;
    assert!(used < 20, "{used} ticks of processor time in an idle second");
}
