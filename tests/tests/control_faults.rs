//! The control service fails in every way there is, while requests flow: none is lost, misrouted or refused.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "control_faults/snapshot.rs"]
mod snapshot;
#[path = "control_faults/store.rs"]
mod store;
#[path = "control_faults/strict.rs"]
mod strict;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use spurline_tests::ledger::{Backend, Directory, Load, Timeline, Tolerance, reconcile};
use spurline_tests::xds::{Honest, OVERRIDE, World};
use spurline_tests::{
    Builder, Control, DEADLINE, Document, SmallDisk, TestControl, TestProxy, eventually, eventually_within,
    skip_netns,
};

const CART: &str = "shop/Deployment/cart";
const ALICE: &str = "alice";
const BOB: &str = "bob";

fn builder(url: &str, baseline: SocketAddr) -> Builder {
    TestProxy::sidecar(CART, baseline).flag("--control", url).flag("--control-ready-timeout", "300ms")
}

fn sandbox(name: &str, endpoint: SocketAddr) -> Document {
    Document::sandbox(name).key(name).fork(CART, &format!("cart-{name}"), &[endpoint])
}

/// Upstreams, and a load with keys that runs for as long as `act` does; afterwards the ledger has to balance.
struct Run {
    baseline: Backend,
    alice: Backend,
    bob: Backend,
    timeline: Timeline,
}

impl Run {
    /// A run in which alice's sandbox is there from the beginning.
    fn new() -> Self {
        let [baseline, alice, bob] = ["baseline", "alice", "bob"].map(Backend::start);
        Self { baseline, alice, bob, timeline: Timeline::new("baseline", &[(ALICE, "alice")]) }
    }

    /// A run in which nobody has a sandbox at the beginning.
    fn empty() -> Self {
        Self { timeline: Timeline::new("baseline", &[]), ..Self::new() }
    }

    fn alice(&self) -> Document {
        sandbox(ALICE, self.alice.address())
    }

    fn bob(&self) -> Document {
        sandbox(BOB, self.bob.address())
    }

    fn world(&self) -> World {
        let mut world = World::default();
        world.put_override(CART, ALICE, "cart-alice", &[self.alice.address()]);
        world
    }

    /// How many requests have come to any upstream.
    fn seen(&self) -> usize {
        [&self.baseline, &self.alice, &self.bob].into_iter().map(Backend::seen).sum()
    }

    fn under_load(&self, proxies: &[SocketAddr], act: impl FnOnce()) {
        let directory = Directory::new(proxies);
        let stop = AtomicBool::new(false);
        let load = Load::new(8, 10_000_000, fastrand::u64(1..1 << 20)).keys(&[ALICE, BOB, "unknown-key"]);
        let sent = std::thread::scope(|scope| {
            let running = scope.spawn(|| load.run(&directory, &stop));
            let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                act();
                eventually("there was a load", || (self.seen() > 100).then_some(()));
            }));
            stop.store(true, Ordering::Relaxed);
            let sent = running.join().expect("the load");
            if let Err(panic) = acted {
                std::panic::resume_unwind(panic);
            }
            sent
        });
        let backends = [&self.baseline, &self.alice, &self.bob];
        reconcile(&sent, &backends, &self.timeline, Tolerance::default()).assert_clean();
    }
}

/// Lets the load meet the state of things for a while.
fn linger() {
    std::thread::sleep(Duration::from_millis(700));
}

fn steers(proxy: &TestProxy, key: &str) -> bool {
    // Not the ledger's backends: a request of ours would be nobody's there.
    proxy.overrides().contains_key(&format!("{CART}/{key}"))
}

#[test]
fn killed_and_started_again_it_is_missed_by_nobody() {
    let run = Run::new();
    let control = TestControl::start();
    let proxies = [0, 1].map(|_| builder(&control.url(), run.baseline.address()).start());
    control.rest().put_programmed(&run.alice());
    run.under_load(&[proxies[0].address(), proxies[1].address()], || {
        let mut control = control;
        for round in 0..3 {
            let down = control.kill();
            linger();
            control = down.start();
            eventually("both proxies are back", || {
                let answer = control.rest().get("/v1/sandboxes/alice");
                (answer["status"]["programmed"]["acknowledged"] == 2).then_some(())
            });
            let owners: &[_] =
                if round % 2 == 0 { &[(ALICE, "alice"), (BOB, "bob")] } else { &[(ALICE, "alice")] };
            run.timeline.change(owners, || {
                if round % 2 == 0 {
                    control.rest().put_programmed(&run.bob());
                } else {
                    control.rest().delete_programmed(&run.bob());
                }
            });
        }
    });
}

#[test]
fn a_control_service_that_stands_still_is_missed_by_nobody() {
    let run = Run::new();
    let control = TestControl::start();
    let proxy = builder(&control.url(), run.baseline.address()).start();
    control.rest().put_programmed(&run.alice());
    run.under_load(&[proxy.address()], || {
        control.signal(Signal::STOP);
        linger();
        control.signal(Signal::CONT);
        run.timeline.change(&[(ALICE, "alice"), (BOB, "bob")], || {
            control.rest().put_programmed(&run.bob());
        });
    });
}

#[test]
fn away_at_boot_without_a_snapshot_the_baseline_is_served_and_sandboxes_when_it_comes() {
    let run = Run::empty();
    let description = Control::new();
    let started = Instant::now();
    let proxy = builder(&description.url(), run.baseline.address()).start();
    println!("ready without a control service after {:?}", started.elapsed());
    run.under_load(&[proxy.address()], || {
        linger();
        let control = description.start();
        run.timeline.change(&[(ALICE, "alice")], || {
            control.rest().put(&run.alice());
            eventually("the proxy found it", || steers(&proxy, ALICE).then_some(()));
        });
        linger();
    });
}

#[test]
fn resources_that_are_wrong_are_missed_by_nobody_and_change_nothing() {
    let run = Run::new();
    let honest = Honest::start(run.world());
    let proxy = builder(&honest.url(), run.baseline.address()).start();
    honest.wait_settled(1);
    run.under_load(&[proxy.address()], || {
        for number in 0..300_u32 {
            honest.edit(|world| {
                // Bytes of no message under the name that steers, and under others.
                world.put_bytes(OVERRIDE, &format!("{CART}/{ALICE}"), number.to_be_bytes().repeat(9).into());
                world.put_bytes(OVERRIDE, &format!("{CART}/{BOB}"), vec![0xff; 9].into());
                world.put_bytes(OVERRIDE, &format!("{CART}/key-{number}"), vec![0xff].into());
            });
            if number % 30 == 0 {
                honest.wait_settled(1);
            }
        }
        honest.wait_settled(1);
        assert!(steers(&proxy, ALICE) && !steers(&proxy, BOB));
    });
    assert!(honest.rejected().len() > 100, "{} rejections", honest.rejected().len());
}

#[test]
fn sandboxes_come_and_go_over_rest_and_every_request_is_answered_by_who_owned_its_key() {
    let run = Run::empty();
    let control = TestControl::start();
    let proxies = [0, 1].map(|_| builder(&control.url(), run.baseline.address()).start());
    let rest = control.rest();
    run.under_load(&[proxies[0].address(), proxies[1].address()], || {
        for round in 0..20_usize {
            let (with_alice, with_bob) = (round.is_multiple_of(2), round.is_multiple_of(3));
            let mut owners = Vec::new();
            owners.extend(with_alice.then_some((ALICE, "alice")));
            owners.extend(with_bob.then_some((BOB, "bob")));
            run.timeline.change(&owners, || {
                for (with, document) in [(with_alice, run.alice()), (with_bob, run.bob())] {
                    if with {
                        rest.put_programmed(&document);
                    } else if rest.sandboxes().contains(&document.name().to_owned()) {
                        rest.delete_programmed(&document);
                    }
                }
            });
        }
    });
}
