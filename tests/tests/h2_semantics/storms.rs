//! The ledger of HTTP/2: nothing is lost, doubled or given to somebody else while streams are reset, upstreams go away and
//! the table changes, and while others attack.

use std::sync::atomic::{AtomicBool, Ordering};

use spurline_tests::h2::Client;
use spurline_tests::h2::attack::{empty_content, endless_head, flood, rapid_resets};
use spurline_tests::ledger::{self, Backend, Directory, Load, Refusals, Timeline, Tolerance, reconcile};
use spurline_tests::{DEADLINE, End, Override, Routes, TestProxy, eventually};

use super::{KEY, WORKLOAD, listening};

const BOB: &str = "bob-key";
const MALLORY: &str = "mallory-key";

/// Runs a load while something else goes on again and again.
fn meanwhile(load: &Load, proxy: &TestProxy, mut storm: impl FnMut(usize)) -> Vec<ledger::Sent> {
    let directory = Directory::new(&[proxy.address()]);
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let sent = load.run(&directory, &stop);
            done.store(true, Ordering::Release);
            sent
        });
        let mut round = 0;
        while !done.load(Ordering::Acquire) {
            storm(round);
            round += 1;
        }
        running.join().expect("the load")
    })
}

#[test]
fn nothing_is_lost_or_misrouted_in_any_pair_while_streams_are_reset_and_the_table_changes() {
    for (client, upstream) in [(1, 2), (2, 1), (2, 2)] {
        let start =
            |name: &str| if upstream == 2 { Backend::start_http2(name) } else { Backend::start(name) };
        let [baseline, alice, bob] = ["baseline", "alice", "bob"].map(start);
        let mut routes = Routes::new().sandbox("alice", KEY).sandbox("bob", BOB).published();
        let proxy = listening(baseline.address(), &format!(",upstream_protocol=http{upstream}"))
            .flag("--http2-resets-burst", "1000000")
            .routes(&routes)
            .start();
        let timeline = Timeline::new("baseline", &[]);
        let load = Load::new(8, ledger::requests(8_000), 7).keys(&[KEY, BOB, "unknown-key"]);
        let load = if client == 2 { load.with_resets(20) } else { load };
        let sent = meanwhile(&load, &proxy, |round| {
            let mut owners = Vec::new();
            for (present, key, fork) in [(round % 2 == 0, KEY, &alice), (round % 3 == 0, BOB, &bob)] {
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
        });
        println!("HTTP/{client} to HTTP/{upstream}");
        reconcile(&sent, &[&baseline, &alice, &bob], &timeline, Tolerance::default()).assert_clean();
    }
}

#[test]
fn nothing_is_lost_while_upstreams_go_away() {
    let [one, two] = ["one", "two"].map(Backend::start_http2);
    let baseline = format!("{}+{}", one.address(), two.address());
    let keys = format!("workload={WORKLOAD},port=8080,baseline={baseline},upstream_protocol=http2");
    let proxy = TestProxy::build()
        .listener("app", &keys)
        .flag("--http2-resets-burst", "1000000")
        .flag("--retries-max", "10")
        .flag("--retry-budget-percent", "100")
        .start();
    let load = Load::new(8, ledger::requests(10_000), 11).with_resets(5);
    let sent = meanwhile(&load, &proxy, |round| {
        if round % 2 == 0 {
            one.go_away()
        } else {
            two.go_away()
        }
        // The pace of the storm, no synchronisation.
        std::thread::sleep(std::time::Duration::from_millis(20));
    });
    let timeline = Timeline::new("one", &[]).also("two");
    // Of content that was given away there is no copy to send again.
    let tolerance = Tolerance { refusals: Refusals::NotRepeatable, ..Tolerance::default() };
    reconcile(&sent, &[&one, &two], &timeline, tolerance).assert_clean();
}

#[test]
fn nothing_is_lost_while_one_of_two_proxies_drains() {
    let backend = Backend::start_http2("one");
    let keys =
        format!("workload={WORKLOAD},port=8080,baseline={},upstream_protocol=http2", backend.address());
    let start = || {
        let builder = TestProxy::build().listener("app", &keys).flag("--drain-delay", "300ms");
        builder.flag("--drain-timeout", "20s").start()
    };
    let stays = start();
    let directory = Directory::new(&[stays.address()]);
    let load = Load::new(8, ledger::requests(10_000), 13).over_http2();
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let sent = load.run(&directory, &stop);
            done.store(true, Ordering::Release);
            sent
        });
        while !done.load(Ordering::Acquire) {
            let mut goes = start();
            directory.set(&[stays.address(), goes.address()]);
            eventually("it serves, or all is sent", || {
                let served = goes.metric("spurline_http2_streams_total", &[("side", "downstream")]) > 100.0;
                (served || done.load(Ordering::Acquire)).then_some(())
            });
            directory.set(&[stays.address()]);
            goes.terminate();
            assert_eq!(goes.wait(DEADLINE * 2).code(), Some(0), "{}", goes.log());
        }
        running.join().expect("the load")
    });
    reconcile(&sent, &[&backend], &Timeline::new("one", &[]), Tolerance::default()).assert_clean();
}

/// What an attacker does over a connection.
type Attack = fn(&mut Client);
/// What they ask for themselves goes to an upstream of their own, which is in no ledger.
const OF_MALLORY: [(&str, &str); 1] = [("sd-routing-key", MALLORY)];

/// One attack of each kind, each over a connection of its own that has to end.
fn strike(proxy: &TestProxy) {
    let attacks: [(&str, Attack); 3] = [
        ("resets", |client| {
            flood(client, 100, |client| rapid_resets(client, 50, &OF_MALLORY));
        }),
        ("continuations", |client| {
            let piece = endless_head(client, 1);
            flood(client, 50, |_| piece.repeat(10));
        }),
        ("empty-frames", |client| {
            let nothing = empty_content(client, &OF_MALLORY);
            flood(client, 100, |_| nothing.repeat(100));
        }),
    ];
    for (kind, attack) in attacks {
        let mut client = Client::connect(proxy.address());
        attack(&mut client);
        assert_ne!(client.to_end(), End::Timeout, "{kind}: the connection stays open");
    }
}

#[test]
fn nothing_is_lost_or_misrouted_while_others_attack_the_same_listener() {
    for upstream in [1, 2] {
        let start =
            |name: &str| if upstream == 2 { Backend::start_http2(name) } else { Backend::start(name) };
        let [baseline, alice, mallory] = ["baseline", "alice", "mallory"].map(start);
        let mut routes = Routes::new().sandbox("alice", KEY).sandbox("mallory", MALLORY);
        routes.set(Override::new(WORKLOAD, KEY, "alice").port(8080, &[alice.address()]));
        routes.set(Override::new(WORKLOAD, MALLORY, "mallory").port(8080, &[mallory.address()]));
        let proxy = listening(baseline.address(), &format!(",upstream_protocol=http{upstream}"))
            // They are told at once, and come back at once; no header block ends by its time.
            .flag("--http2-flood-pause", "0")
            .flag("--head-timeout", "5m")
            .routes(&routes.published())
            .start();
        let mut rounds = 0.0;
        let load = Load::new(8, ledger::requests(8_000), 17).keys(&[KEY, "unknown-key"]).over_http2();
        let sent = meanwhile(&load, &proxy, |_| {
            strike(&proxy);
            rounds += 1.0;
        });
        println!("HTTP/2 to HTTP/{upstream}: {rounds} times three attacks");
        for kind in ["resets", "continuations", "empty-frames"] {
            let labels = [("side", "downstream"), ("flood", kind)];
            let floods = proxy.metric("spurline_http2_floods_total", &labels);
            assert!(floods == rounds, "{kind}: {floods} of {rounds}");
        }
        let timeline = Timeline::new("baseline", &[(KEY, "alice")]);
        reconcile(&sent, &[&baseline, &alice], &timeline, Tolerance::default()).assert_clean();
    }
}
