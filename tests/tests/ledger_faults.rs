//! Load while one of two upstreams fails in every way the relay knows.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::sync::atomic::AtomicBool;

use spurline_tests::ledger::{self, Backend, Directory, Load, Refusals, Timeline, Tolerance, reconcile};
use spurline_tests::{Fault, Relay, TestProxy, eventually};

const WORKLOAD: &str = "shop/Deployment/cart";

/// What a fault makes unavoidable although a healthy upstream is there.
fn tolerance(fault: Fault) -> Tolerance {
    let harmless = Tolerance::default();
    // The request may have been acted upon: only idempotent ones are sent again.
    let unsafe_only = Tolerance { refusals: Refusals::NotRepeatable, repeats: true, ..harmless };
    match fault {
        Fault::None | Fault::Refuse | Fault::Slice(_) | Fault::Bandwidth(_) => harmless,
        Fault::AcceptReset | Fault::AcceptFinish | Fault::ResetRequestAfter(_) => unsafe_only,
        Fault::ResetAfter(0) | Fault::FinishAfter(0) => unsafe_only,
        // The answer has begun: it is cut, visibly.
        Fault::ResetAfter(_) | Fault::FinishAfter(_) => {
            Tolerance { cuts: true, refusals: Refusals::Any, repeats: true }
        }
        // A timeout is not retried.
        Fault::StallAfter(_) | Fault::Blackhole => {
            Tolerance { cuts: true, refusals: Refusals::Any, repeats: true }
        }
    }
}

const FAULTS: [Fault; 18] = [
    Fault::Refuse,
    Fault::AcceptReset,
    Fault::AcceptFinish,
    Fault::ResetRequestAfter(0),
    Fault::ResetRequestAfter(100),
    Fault::ResetRequestAfter(3_000),
    Fault::ResetAfter(0),
    Fault::ResetAfter(20),
    Fault::ResetAfter(300),
    Fault::ResetAfter(5_000),
    Fault::FinishAfter(0),
    Fault::FinishAfter(20),
    Fault::FinishAfter(300),
    Fault::FinishAfter(5_000),
    Fault::StallAfter(300),
    Fault::Slice(1),
    Fault::Slice(97),
    Fault::Blackhole,
];

/// A proxy before a relay to one upstream and before another that is healthy, with so much patience.
fn proxy(relay: &Relay, healthy: &Backend, patience: &str, flags: &[(&str, &str)]) -> TestProxy {
    let mut builder = TestProxy::build()
        .sidecar("app", WORKLOAD, &[relay.address(), healthy.address()])
        .flag("--response-timeout", patience)
        .flag("--body-idle-timeout", patience)
        .flag("--response-idle-timeout", patience);
    for (name, value) in flags {
        builder = builder.flag(name, value);
    }
    builder.start()
}

#[test]
fn every_fault_is_survived_and_accounted_for_while_the_endpoint_stays_in_rotation() {
    let [first, second] = ["first", "second"].map(Backend::start);
    // Without ejection the fault is met again and again; the budget is not what is tested.
    let flags = [
        ("--ejection-failures", "0"),
        ("--retry-budget-percent", "100"),
        ("--retry-min-per-second", "100000"),
    ];
    let stop = AtomicBool::new(false);
    let each = ledger::requests(36_000) / FAULTS.len();
    let mut failures = Vec::new();
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let relay = Relay::start(first.address());
        relay.set(fault);
        let slow = matches!(fault, Fault::StallAfter(_) | Fault::Blackhole);
        let proxy = proxy(&relay, &second, if slow { "2s" } else { "10s" }, &flags);
        let directory = Directory::new(&[proxy.address()]);
        let load = Load::new(8, if slow { 40 } else { each }, 1_000 + number as u64);
        let report = reconcile(&load.run(&directory, &stop), &[&first, &second], &either(), tolerance(fault));
        println!("{fault:?}, {} connections: {report}", relay.accepted());
        if !report.is_clean() {
            failures.push(format!("{fault:?}: {report}"));
        }
        let connected = fault == Fault::Refuse || relay.accepted() > 0;
        assert!(connected && report.answered > 0, "{fault:?} was never met: {report}");
        relay.set(Fault::None);
        relay.cut();
        let after = Load::new(4, 200, 2_000 + number as u64).run(&directory, &stop);
        let report = reconcile(&after, &[&first, &second], &either(), Tolerance::default());
        if !report.is_clean() {
            failures.push(format!("after {fault:?}: {report}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_failing_endpoint_is_ejected_and_taken_back_when_it_recovers() {
    let [first, second] = ["first", "second"].map(Backend::start);
    let relay = Relay::start(first.address());
    let proxy = proxy(&relay, &second, "10s", &[("--ejection-time", "500ms")]);
    let directory = Directory::new(&[proxy.address()]);
    let stop = AtomicBool::new(false);
    relay.set(Fault::AcceptReset);
    relay.cut();
    let sent = Load::new(8, 4_000, 1).run(&directory, &stop);
    reconcile(&sent, &[&first, &second], &either(), tolerance(Fault::AcceptReset)).assert_clean();
    assert!(proxy.metric("spurline_ejections_total", &[]) >= 1.0);
    assert!(relay.accepted() < 1_000, "the failing endpoint was tried {} times", relay.accepted());
    relay.set(Fault::None);
    eventually("the endpoint is used again", || {
        let response = proxy.get("/again", "X-Ledger-Id: again\r\n");
        (response.field("x-backend") == Some("first")).then_some(())
    });
}

#[test]
fn upstreams_that_close_their_connections_cost_no_idle_connection_an_error() {
    let backend = Backend::start("first");
    let proxy = TestProxy::sidecar(WORKLOAD, backend.address()).start();
    let directory = Directory::new(&[proxy.address()]);
    let stop = AtomicBool::new(false);
    for round in 0..50 {
        let sent = Load::new(4, 40, 9_000 + round).run(&directory, &stop);
        reconcile(&sent, &[&backend], &Timeline::new("first", &[]), Tolerance::default()).assert_clean();
        backend.close_connections();
    }
}

/// Both upstreams may answer anything.
fn either() -> Timeline {
    Timeline::new("first", &[]).also("second")
}
