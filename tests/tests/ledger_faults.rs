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
use spurline_tests::{Fault, Relay, TestProxy};

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

#[test]
fn every_fault_is_survived_and_accounted_for() {
    let [first, second] = ["first", "second"].map(Backend::start);
    let relay = Relay::start(first.address());
    let proxy = TestProxy::build()
        .sidecar("app", WORKLOAD, &[relay.address(), second.address()])
        .flag("--response-timeout", "500ms")
        .flag("--body-idle-timeout", "500ms")
        .flag("--response-idle-timeout", "500ms")
        .flag("--ejection-time", "200ms")
        .start();
    let directory = Directory::new(&[proxy.address()]);
    let stop = AtomicBool::new(false);
    let each = ledger::requests(36_000) / FAULTS.len();
    let mut log = Vec::new();
    for (number, fault) in FAULTS.into_iter().enumerate() {
        relay.set(fault);
        // Connections from before the fault go with it, as they do when a peer dies.
        relay.cut();
        let sent = Load::new(8, each, 1_000 + number as u64).run(&directory, &stop);
        let report = reconcile(&sent, &[&first, &second], &either(), tolerance(fault));
        println!("{fault:?}: {report}");
        if !report.is_clean() {
            log.push(format!("{fault:?}: {report}"));
        }
        relay.set(Fault::None);
        relay.cut();
    }
    assert!(log.is_empty(), "{}", log.join("\n"));
    let sent = Load::new(8, 2_000, 5_000).run(&directory, &stop);
    reconcile(&sent, &[&first, &second], &either(), Tolerance::default()).assert_clean();
    assert_eq!(proxy.metric("spurline_panics_total", &[]), 0.0);
}

/// Both upstreams may answer anything.
fn either() -> Timeline {
    Timeline::new("first", &[]).also("second")
}
