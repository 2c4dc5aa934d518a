//! Load over two proxies while one after the other is ended with SIGTERM and replaced: no request notices.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use spurline_tests::ledger::{self, Backend, Directory, Load, Timeline, Tolerance, reconcile};
use spurline_tests::{DEADLINE, Gate, Recorder, Step, TestProxy, eventually};

const WORKLOAD: &str = "shop/Deployment/cart";

fn instance(upstream: std::net::SocketAddr) -> TestProxy {
    TestProxy::sidecar(WORKLOAD, upstream)
        .flag("--drain-delay", "500ms")
        .flag("--drain-timeout", "20s")
        .start()
}

#[test]
fn no_request_is_lost_while_instances_are_replaced() {
    let backend = Backend::start("baseline");
    let mut live = vec![instance(backend.address()), instance(backend.address())];
    let addresses = |live: &[TestProxy]| live.iter().map(TestProxy::address).collect::<Vec<_>>();
    let directory = Directory::new(&addresses(&live));
    let load = Load::new(16, ledger::requests(150_000), 11);
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (sent, replaced) = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let sent = load.run(&directory, &stop);
            done.store(true, Ordering::Release);
            sent
        });
        let mut replaced = 0;
        while !done.load(Ordering::Acquire) {
            let mut old = live.remove(0);
            old.terminate();
            // Readiness is what takes an instance out of service, as it does in a cluster.
            eventually("readiness is off", || (!old.ready()).then_some(()));
            directory.set(&addresses(&live));
            let status = old.wait(DEADLINE * 2);
            assert_eq!(status.code(), Some(0), "{}", old.log());
            live.push(instance(backend.address()));
            directory.set(&addresses(&live));
            replaced += 1;
        }
        (running.join().expect("the load"), replaced)
    });
    println!("{replaced} instances replaced");
    assert!(replaced >= 3, "only {replaced} replaced");
    reconcile(&sent, &[&backend], &Timeline::new("baseline", &[]), Tolerance::default()).assert_clean();
}

#[test]
fn a_request_in_flight_is_finished_before_the_process_ends() {
    let gate = Gate::default();
    let held = gate.clone();
    let recorder =
        Recorder::scripted("slow", move |_| vec![Step::Body, Step::Hold(held.clone()), Step::Echo]);
    let mut proxy = instance(recorder.address());
    let mut client = proxy.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\nX-Id: 1\r\n\r\n");
    eventually("the request arrives", || (recorder.requests().len() == 1).then_some(()));
    proxy.terminate();
    eventually("new connections are refused", || {
        spurline_tests::RawClient::try_connect(proxy.address()).err()
    });
    gate.open();
    let response = client.response();
    assert_eq!(response.field("x-id"), Some("1"));
    assert!(response.closes(), "{:?}", response.head);
    assert_eq!(proxy.wait(DEADLINE).code(), Some(0), "{}", proxy.log());
}

#[test]
fn what_does_not_finish_is_ended_at_the_deadline() {
    let recorder = Recorder::scripted("never", |_| vec![Step::Body, Step::Stall]);
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--drain-delay", "50ms")
        .flag("--drain-timeout", "500ms")
        .start();
    let mut client = proxy.client();
    client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request arrives", || (recorder.requests().len() == 1).then_some(()));
    proxy.terminate();
    proxy.wait(DEADLINE);
    assert_ne!(client.to_end().end, spurline_tests::End::Timeout);
}

#[test]
fn during_the_delay_new_connections_are_still_served() {
    let recorder = Recorder::start("one");
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--drain-delay", "5m")
        .flag("--drain-timeout", "10m")
        .start();
    proxy.terminate();
    eventually("readiness is off", || (!proxy.ready()).then_some(()));
    assert_eq!(proxy.get("/late", "").status, 200);
    assert!(proxy.running());
    // A second signal ends the patience.
    proxy.terminate();
    proxy.wait(DEADLINE);
}

#[test]
fn an_idle_process_ends_soon_after_the_delay() {
    let recorder = Recorder::start("one");
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--drain-delay", "100ms")
        .flag("--drain-timeout", "5m")
        .start();
    let mut idle = proxy.client();
    assert_eq!(idle.exchange("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    proxy.terminate();
    assert_eq!(proxy.wait(DEADLINE).code(), Some(0));
    assert_eq!(idle.to_end().end, spurline_tests::End::Fin);
}
