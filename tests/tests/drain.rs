//! What clients of a draining proxy see: answers, until the proxy says that it is gone or its patience ends.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::Value;
use spurline_tests::{DEADLINE, End, Gate, RawClient, ReadError, Recorder, Step, TestProxy, eventually};

const WORKLOAD: &str = "shop/Deployment/cart";
const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// An upstream that answers when the gate opens.
fn held(gate: &Gate) -> Recorder {
    let gate = gate.clone();
    Recorder::scripted("slow", move |head| match head.target() {
        "/held" => vec![Step::Body, Step::Hold(gate.clone()), Step::Echo],
        _ => vec![Step::Echo],
    })
}

/// Connects, pauses, sends, reads, again and again, until the address is closed. What became of the connections.
fn hesitant(address: SocketAddr) -> HashMap<String, usize> {
    let mut outcomes = HashMap::new();
    while let Ok(mut client) = RawClient::try_connect(address) {
        // The pause of a client that connects before it has something to say.
        std::thread::sleep(std::time::Duration::from_millis(10));
        let _ = client.try_send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let outcome = match client.response_to("GET") {
            Ok(response) => response.status.to_string(),
            Err(ReadError::Ended(end, bytes)) => format!("{end:?} after {} bytes", bytes.len()),
            Err(malformed) => format!("{malformed:?}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

#[test]
fn clients_that_connect_and_then_hesitate_are_answered_to_the_last() {
    for protocol in ["http", "detect"] {
        let gate = Gate::default();
        let recorder = held(&gate);
        let keys =
            format!("workload={WORKLOAD},port=8080,protocol={protocol},baseline={}", recorder.address());
        let mut proxy = TestProxy::build()
            .listener("app", &keys)
            .flag("--drain-delay", "700ms")
            .flag("--drain-timeout", "5m")
            .start();
        let address = proxy.address();
        // While this one waits, the proxy can be asked what it has accepted.
        let mut last = proxy.client();
        last.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut outcomes: HashMap<String, usize> = HashMap::new();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..16).map(|_| scope.spawn(move || hesitant(address))).collect();
            eventually("there is load", || (recorder.requests().len() > 100).then_some(()));
            proxy.terminate();
            for client in clients {
                for (outcome, count) in client.join().expect("a client") {
                    *outcomes.entry(outcome).or_default() += count;
                }
            }
        });
        println!("{protocol}: {outcomes:?}");
        let served = outcomes.remove("200").unwrap_or(0);
        // The kernel resets what it completes in the instant between the last accept and the close of the listener.
        let reset = outcomes.remove("Reset after 0 bytes").unwrap_or(0);
        assert!(outcomes.is_empty(), "{protocol}: {outcomes:?}, {served} served");
        let accepted = proxy.metric("spurline_connections_accepted_total", &[]);
        let answered = f64::from(u32::try_from(served + 1).expect("a count"));
        assert!(accepted == answered, "{protocol}: {accepted} accepted, {served} served, {reset} reset");
        gate.open();
        assert_eq!(last.response().status, 200);
        assert_eq!(proxy.wait(DEADLINE).code(), Some(0), "{}", proxy.log());
    }
}

#[test]
fn a_client_that_never_spoke_does_not_hold_the_drain_up() {
    let recorder = Recorder::start("one");
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--detect-timeout", "50ms")
        .flag("--drain-delay", "300ms")
        .flag("--drain-timeout", "60s")
        .start();
    let mut silent = proxy.client();
    eventually("detection has given up", || {
        (proxy.metric("spurline_detected_total", &[("protocol", "timeout")]) >= 1.0).then_some(())
    });
    proxy.terminate();
    assert_eq!(proxy.wait(DEADLINE).code(), Some(0), "{}", proxy.log());
    assert_eq!(silent.to_end().end, End::Fin);
}

#[test]
fn a_signal_after_a_drain_that_was_asked_for_does_not_force_it() {
    let gate = Gate::default();
    let recorder = held(&gate);
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--drain-delay", "2s")
        .flag("--drain-timeout", "5m")
        .start();
    let mut client = proxy.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\nX-Id: 1\r\n\r\n");
    eventually("the request arrives", || (recorder.requests().len() == 1).then_some(()));
    assert!(matches!(proxy.admin("POST", "/drain", "").status, 200 | 202));
    eventually("readiness is off", || (!proxy.ready()).then_some(()));
    proxy.terminate();
    eventually("the listener is closed at the end of the delay", || {
        RawClient::try_connect(proxy.address()).err()
    });
    assert!(proxy.running(), "{}", proxy.log());
    gate.open();
    assert_eq!(client.response().field("x-id"), Some("1"));
    assert_eq!(proxy.wait(DEADLINE).code(), Some(0), "{}", proxy.log());
}

#[test]
fn a_second_signal_forces_a_drain_that_was_asked_for() {
    let gate = Gate::default();
    let recorder = held(&gate);
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--drain-delay", "1s")
        .flag("--drain-timeout", "60s")
        .start();
    let mut client = proxy.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request arrives", || (recorder.requests().len() == 1).then_some(()));
    assert!(matches!(proxy.admin("POST", "/drain", "").status, 200 | 202));
    eventually("readiness is off", || (!proxy.ready()).then_some(()));
    proxy.terminate();
    // Signals of one kind that are pending at once are one signal, so they are told apart by what the first leaves be.
    eventually("the listener is closed at the end of the delay", || {
        RawClient::try_connect(proxy.address()).err()
    });
    assert!(proxy.running(), "{}", proxy.log());
    proxy.terminate();
    proxy.wait(DEADLINE);
    assert_ne!(client.to_end().end, End::Timeout);
    gate.open();
}

#[test]
fn a_request_that_is_cut_at_the_deadline_is_in_the_access_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let recorder = Recorder::scripted("never", |_| vec![Step::Body, Step::Stall]);
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--drain-delay", "50ms")
        .flag("--drain-timeout", "500ms")
        .flag("--access-log", path.to_str().expect("a path"))
        .start();
    let mut client = proxy.client();
    client.send(GET);
    eventually("the request arrives", || (recorder.requests().len() == 1).then_some(()));
    proxy.terminate();
    proxy.wait(DEADLINE);
    assert_ne!(client.to_end().end, End::Timeout);
    let text = std::fs::read_to_string(&path).expect("the access log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 1, "{text:?}\n{}", proxy.log());
    assert_eq!((&lines[0]["method"], &lines[0]["target"]), (&"GET".into(), &"/x".into()), "{text}");
    assert_eq!(lines[0]["bytes_in"], GET.len(), "{text}");
}
