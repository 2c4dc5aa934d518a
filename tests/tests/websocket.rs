//! WebSockets with a real client and a real server (npm `ws`) on both sides of the proxy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::process::Command;
use std::time::Duration;

use spurline_tests::servers::{Kind, Server, script};
use spurline_tests::{
    DEADLINE, Finished, Override, RawClient, Recorder, Routes, Step, TestProxy, eventually, run, tool,
};

const WORKLOAD: &str = "shop/Deployment/chat";
const KEY: &str = "k3v9m2x7q4ab";

fn client(proxy: &TestProxy, key: &str) -> Finished {
    let mut command = Command::new("node");
    command.env("NODE_PATH", tool("node_modules")).arg(script("websocket-client.js"));
    command.arg(format!("ws://{}/chat", proxy.address())).arg(key);
    run(command, Duration::from_secs(60))
}

#[test]
fn every_frame_size_is_echoed_and_the_close_code_comes_through() {
    let server = Server::start(Kind::WebSocket);
    let proxy = TestProxy::sidecar(WORKLOAD, server.address()).start();
    let done = client(&proxy, "");
    assert_eq!(done.code, Some(0), "{}{}", done.stderr, proxy.log());
    assert!(done.stdout.contains("\"code\":4001") || done.stdout.contains("hello /chat"), "{}", done.stdout);
    assert!(proxy.metric("spurline_tunnels_total", &[("kind", "websocket")]) >= 1.0);
}

#[test]
fn a_key_takes_the_connection_to_the_fork() {
    let (baseline, fork) = (Recorder::start("baseline"), Server::start(Kind::WebSocket));
    let routes = Routes::new()
        .sandbox("a", KEY)
        .with(Override::new(WORKLOAD, KEY, "chat-a").port(8080, &[fork.address()]))
        .published();
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    let done = client(&proxy, KEY);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stdout.contains(&format!("sd-routing-key={KEY}")),
        "no baggage at the fork: {}",
        done.stdout
    );
    assert_ne!(client(&proxy, "").code, Some(0), "the baseline is no WebSocket server");
}

fn upgrade() -> &'static str {
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

#[test]
fn a_101_that_answers_something_else_is_refused() {
    for reply in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let recorder = Recorder::scripted("odd", move |_| {
            vec![Step::Body, Step::Send(reply.as_bytes().to_vec()), Step::Stall]
        });
        let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
        let response = proxy.client().exchange(upgrade());
        assert_eq!(response.status, 502, "{reply:?}");
        eventually("the upstream connection is ended", || (recorder.open_connections() == 0).then_some(()));
    }
}

#[test]
fn a_tunnel_outlives_the_drain_delay_and_ends_with_the_deadline() {
    let recorder = Recorder::scripted("tunnel", |_| {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        vec![Step::Body, Step::Send(switch.as_bytes().to_vec()), Step::Tunnel]
    });
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--drain-delay", "200ms")
        .flag("--drain-timeout", "4s")
        .start();
    let mut client = RawClient::connect(proxy.address());
    assert_eq!(client.exchange(upgrade()).status, 101);
    proxy.terminate();
    eventually("readiness is off", || (!proxy.ready()).then_some(()));
    client.send("still");
    assert_eq!(client.read_exact(5).expect("the tunnel still works"), b"still");
    proxy.wait(DEADLINE);
}
