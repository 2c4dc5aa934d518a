//! Killed at random points while it writes: every write that was acknowledged is there after a restart.
//!
//! `SPURLINE_DURABILITY_ROUNDS` sets how often it is killed; few by default.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use spurline_tests::{Control, Document, Rest, json_of};

const WRITERS: usize = 6;

/// What a name may hold: the label of the last acknowledged write (`None`: deleted), and of one that has no answer.
#[derive(Debug, Clone, Default)]
struct Expected {
    acknowledged: Option<u64>,
    unanswered: Option<Option<u64>>,
}

fn rounds() -> usize {
    let wanted = std::env::var("SPURLINE_DURABILITY_ROUNDS");
    wanted.map_or(8, |count| count.parse().expect("SPURLINE_DURABILITY_ROUNDS is a count"))
}

fn document(name: &str, number: u64) -> Document {
    Document::sandbox(name).label("n", &number.to_string()).fork(
        "shop/Deployment/cart",
        &format!("cart-{number}"),
        &[([127, 0, 0, 1], 9102).into()],
    )
}

/// Writes names of its own until it gets no answer; returns how many writes were acknowledged.
fn write(
    rest: &Rest,
    writer: usize,
    expected: &Mutex<BTreeMap<String, Expected>>,
    stop: &AtomicBool,
) -> usize {
    let mut random = fastrand::Rng::new();
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("w{writer}-{}", random.u8(..6));
        let number = random.u64(1..1 << 40);
        let deletes = random.u8(..4) == 0;
        let next = (!deletes).then_some(number);
        expected.lock().expect("expected").entry(name.clone()).or_default().unanswered = Some(next);
        let document = document(&name, number);
        let (method, body) = if deletes { ("DELETE", String::new()) } else { ("PUT", document.text()) };
        let Some(answer) = rest.try_send(method, &document.target(), "", &body) else { break };
        let mut expected = expected.lock().expect("expected");
        let entry = expected.get_mut(&name).expect("an entry");
        match answer.status {
            200 | 201 | 204 => {
                *entry = Expected { acknowledged: next, unanswered: None };
                acknowledged += 1;
            }
            // Nothing to delete.
            404 => {
                assert_eq!(entry.acknowledged, None, "{name} was acknowledged and is not there");
                entry.unanswered = None;
            }
            // It may say that it cannot at this moment, and then it did not.
            503 => entry.unanswered = None,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    acknowledged
}

fn number_of(document: &Value) -> u64 {
    let label = document["metadata"]["labels"]["n"].as_str().expect("a label");
    label.parse().expect("a number")
}

/// Compares what is there with what was acknowledged, and takes it for certain from here on.
fn check(rest: &Rest, expected: &mut BTreeMap<String, Expected>) -> usize {
    let mut lost = Vec::new();
    for (name, entry) in expected.iter_mut() {
        let answer = rest.send("GET", &format!("/v1/sandboxes/{name}"), "", "");
        let found = (answer.status == 200).then(|| number_of(&json_of(&answer)));
        if found != entry.acknowledged && entry.unanswered != Some(found) {
            lost.push(format!("{name}: {found:?} instead of {entry:?}"));
        }
        *entry = Expected { acknowledged: found, unanswered: None };
    }
    assert!(lost.is_empty(), "{} acknowledged writes are lost: {lost:#?}", lost.len());
    let there = expected.values().filter(|entry| entry.acknowledged.is_some()).count();
    assert_eq!(rest.sandboxes().len(), there, "what was deleted is back");
    there
}

#[test]
fn no_acknowledged_write_is_lost_when_it_is_killed_at_a_random_point() {
    let mut random = fastrand::Rng::new();
    let expected = Mutex::new(BTreeMap::<String, Expected>::new());
    let mut control = Control::new().start();
    let mut writes = 0;
    for round in 0..rounds() {
        let rest = control.rest();
        let stop = AtomicBool::new(false);
        let total = AtomicUsize::new(0);
        let delay = Duration::from_micros(random.u64(1_000..250_000));
        let down = std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (rest, expected, stop, total) = (&rest, &expected, &stop, &total);
                scope.spawn(move || {
                    total.fetch_add(write(rest, writer, expected, stop), Ordering::Relaxed);
                });
            }
            // The random point, not a synchronisation.
            std::thread::sleep(delay);
            let down = control.kill();
            stop.store(true, Ordering::Relaxed);
            down
        });
        control = down.start();
        let there = check(&control.rest(), &mut expected.lock().expect("expected"));
        let acknowledged = total.into_inner();
        writes += acknowledged;
        println!("round {round}: killed after {delay:?}, {acknowledged} acknowledged, {there} there");
    }
    println!("{} kills, {writes} acknowledged writes, 0 lost", rounds());
    assert!(writes > 0);
}

#[test]
fn a_stop_in_order_answers_what_it_began_and_loses_nothing() {
    let expected = Mutex::new(BTreeMap::<String, Expected>::new());
    let control = Control::new().start();
    let rest = control.rest();
    let stop = AtomicBool::new(false);
    let down = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (rest, expected, stop) = (&rest, &expected, &stop);
            scope.spawn(move || write(rest, writer, expected, stop));
        }
        std::thread::sleep(Duration::from_millis(300));
        let (status, down) = control.stop();
        assert!(status.success(), "{status}");
        stop.store(true, Ordering::Relaxed);
        down
    });
    let control = down.start();
    check(&control.rest(), &mut expected.lock().expect("expected"));
}

#[test]
fn a_second_kill_while_it_starts_loses_nothing() {
    let control = Control::new().start();
    for number in 0..50 {
        control.rest().put(&document(&format!("s{number}"), number));
    }
    let down = control.kill();
    for round in 0..6 {
        let starting = down.start_unready();
        // Somewhere between the first instruction and readiness.
        std::thread::sleep(Duration::from_millis(round * 8));
        starting.kill();
    }
    let control = down.start();
    assert_eq!(control.rest().sandboxes().len(), 50);
}
