//! The real control service and clients of every kind: after quiescence each has what REST says, and none disturbs
//! another.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "control_xds/crowd.rs"]
mod crowd;
#[path = "control_xds/histories.rs"]
mod histories;
#[path = "control_xds/protocol.rs"]
mod protocol;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use spurline_tests::xds::{
    Connection, Follower, Heard, KEY_OWNER, OVERRIDE, Request, Response, Stream, routing,
};
use spurline_tests::{Control, DEADLINE, Document, Rest, TestControl, eventually, eventually_within};

const CART: &str = "shop/Deployment/cart";
/// No update is so late that more than this passes between two parts of it.
const QUIET: Duration = Duration::from_millis(800);

fn endpoint(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A sandbox with its name as its key that forks `workloads`.
fn sandbox(name: &str, workloads: &[&str], port: u16) -> Document {
    workloads.iter().fold(Document::sandbox(name).key(name), |document, workload| {
        document.fork(workload, "fork", &[endpoint(port)])
    })
}

fn cart(key: &str) -> String {
    format!("{CART}/{key}")
}

fn carts(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| cart(key)).collect()
}

/// A follower of all overrides of the cart that has had its first answer.
fn follower(control: &TestControl, id: &str) -> Follower {
    let mut follower = Follower::connected(&control.connection(), id);
    follower.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    assert!(follower.read(DEADLINE), "no first answer");
    follower
}

/// Waits until the server has come to all that a follower has asked for: it says of `name` that there is none.
fn asked(follower: &mut Follower, name: &str) {
    follower.subscribe(OVERRIDE, &[name], &[]);
    while !follower.is_absent(OVERRIDE, name) {
        assert!(follower.read(DEADLINE), "no answer for {name}");
        while follower.ack() {}
    }
}

/// The names of the overrides and of the owned keys that follow from what REST lists, as the documentation has it.
fn demanded(rest: &Rest) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut overrides, mut owners) = (BTreeSet::new(), BTreeSet::new());
    for name in rest.sandboxes() {
        let document = rest.get(&format!("/v1/sandboxes/{name}"));
        let key = document["status"]["routingKey"].as_str().expect("a key").to_owned();
        for fork in document["spec"]["forks"].as_array().unwrap_or(&Vec::new()) {
            overrides.insert(format!("{}/{key}", fork["workload"].as_str().expect("a workload")));
        }
        owners.insert(key);
    }
    (overrides, owners)
}

fn programmed(document: &Value) -> (u64, u64) {
    let programmed = &document["status"]["programmed"];
    let count = |field: &str| programmed[field].as_u64().unwrap_or_else(|| panic!("no {field}: {document}"));
    (count("acknowledged"), count("proxies"))
}
