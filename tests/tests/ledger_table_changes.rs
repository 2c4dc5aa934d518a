//! Load while the route table changes: every request is answered by who owned its key at that time.

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
use spurline_tests::{Override, Routes, TestProxy};

const WORKLOAD: &str = "shop/Deployment/cart";
const ALICE: &str = "k3v9m2x7q4ab";
const BOB: &str = "bob-key";

#[test]
fn nothing_is_lost_or_misrouted_while_forks_come_and_go() {
    let [baseline, alice, bob] = ["baseline", "alice", "bob"].map(Backend::start);
    let mut routes = Routes::new().sandbox("alice", ALICE).sandbox("bob", BOB).published();
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    let timeline = Timeline::new("baseline", &[]);
    let directory = Directory::new(&[proxy.address()]);
    let load = Load::new(16, ledger::requests(50_000), 7).keys(&[ALICE, BOB, "unknown-key"]);
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (sent, changes) = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let sent = load.run(&directory, &stop);
            done.store(true, Ordering::Release);
            sent
        });
        let mut changes = 0_usize;
        while !done.load(Ordering::Acquire) {
            let (with_alice, with_bob) = (changes.is_multiple_of(2), changes.is_multiple_of(3));
            let mut owners = Vec::new();
            for (present, key, fork) in [(with_alice, ALICE, &alice), (with_bob, BOB, &bob)] {
                if present {
                    owners.push((key, fork.name()));
                    routes.set(Override::new(WORKLOAD, key, fork.name()).port(8080, &[fork.address()]));
                } else {
                    routes.remove(WORKLOAD, key);
                }
            }
            timeline.change(&owners, || {
                let generation = proxy.generation();
                routes.publish();
                proxy.wait_newer_than(generation);
            });
            changes += 1;
        }
        (running.join().expect("the load"), changes)
    });
    println!("{changes} table changes");
    assert!(changes >= 3, "only {changes} changes");
    reconcile(&sent, &[&baseline, &alice, &bob], &timeline, Tolerance::default()).assert_clean();
}
