//! Watches of random histories, read at random by a client that is as strict and as trusting as the published ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use spurline_api::routes::{BaselineWorkload, DestinationSandbox, WatchOp, WorkloadRoutingRule};
use spurline_core::{
    document::{self, Id, Kind},
    model::{Edit, Origin, Record},
};
use spurline_hub::Debounce;
use tokio::sync::Semaphore;

use super::*;
use crate::routes::rule;

/// Key, then kind, namespace and name of the baseline.
type Identity = (String, [String; 3]);

/// A client that believes what it is told. What no server may say is a panic.
#[derive(Default)]
struct Client {
    is_synced: bool,
    rules: BTreeMap<Identity, WorkloadRoutingRule>,
    /// Keeps what it had on REPLACE, as the published Go client does.
    by_sandbox: BTreeMap<String, BTreeSet<Identity>>,
}

struct Watcher {
    request: WorkloadRoutingRulesRequest,
    watch: Watch,
    client: Client,
}

#[derive(Debug, Clone)]
enum Step {
    Put(Value),
    Delete(Id),
    Read { watcher: usize, ops: usize },
}

impl Client {
    fn take(&mut self, op: WorkloadRoutingRuleOp) {
        let what = op.op();
        let Some(rule) = op.route else {
            assert_eq!(
                (what, self.is_synced),
                (WatchOp::Synced, false),
                "SYNCED comes once and alone has no rule"
            );
            self.is_synced = true;
            return;
        };
        let baseline = rule.baseline.clone().expect("a baseline");
        let sandbox = rule.destination_sandbox.clone().expect("a sandbox").name;
        let identity = (rule.routing_key.clone(), [baseline.kind, baseline.namespace, baseline.name]);
        match what {
            WatchOp::Add => {
                assert!(
                    !self.is_synced || !self.rules.contains_key(&identity),
                    "ADD of what is there: {rule:?}"
                );
            }
            WatchOp::Replace => {
                assert!(self.is_synced && self.rules.contains_key(&identity), "REPLACE of nothing: {rule:?}");
            }
            WatchOp::Remove => {
                assert!(self.is_synced, "REMOVE before SYNCED: {rule:?}");
                self.rules.remove(&identity).expect("REMOVE of what is there");
                assert!(self.by_sandbox.get_mut(&sandbox).expect("the sandbox it had").remove(&identity));
                return;
            }
            WatchOp::Synced => panic!("SYNCED with a rule"),
        }
        // Until SYNCED clients collect in a map and make no index.
        let was = self.rules.insert(identity.clone(), rule);
        if let Some(was) = was.filter(|_| !self.is_synced) {
            let was = was.destination_sandbox.expect("a sandbox").name;
            self.by_sandbox.get_mut(&was).expect("the sandbox it had").remove(&identity);
        }
        self.by_sandbox.entry(sandbox).or_default().insert(identity);
    }

    fn assert_has(&self, wanted: &[WorkloadRoutingRule]) {
        assert!(self.is_synced);
        let has: Vec<_> = self.rules.values().collect();
        let mut wanted: Vec<_> = wanted.iter().collect();
        wanted.sort_by_key(|rule| {
            let baseline = rule.baseline.clone().unwrap();
            (&rule.routing_key, baseline.kind, baseline.namespace, baseline.name)
        });
        assert_eq!(has, wanted);
        for (sandbox, identities) in &self.by_sandbox {
            for identity in identities {
                let rule = self.rules.get(identity).expect("an index of what is there");
                assert_eq!(&rule.destination_sandbox.as_ref().unwrap().name, sandbox, "{identity:?}");
            }
        }
    }
}

impl Watcher {
    fn open(hub: &Hub, request: WorkloadRoutingRulesRequest, chunk_bytes: usize) -> Self {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut watch = Watch::open(hub, request.clone(), (place, Gauge::default()), None);
        watch.chunk_bytes = chunk_bytes;
        Self { request, watch, client: Client::default() }
    }

    /// Whether there was anything to read.
    fn read(&mut self) -> bool {
        let op = self.watch.next().now_or_never();
        let is_some = op.is_some();
        op.into_iter().for_each(|op| self.client.take(op.expect("the watch goes on")));
        is_some
    }

    fn assert_has_what_get_says(&self, hub: &Hub) {
        let filter = rule::filter(&self.request).expect("a filter");
        let wanted: Vec<_> =
            hub.model(|model| model.rules(&filter).map(|rule| rule::to_wire(&rule)).collect());
        self.client.assert_has(&wanted);
    }
}

fn request(key: &str, sandbox: &str, [kind, namespace, name]: [&str; 3]) -> WorkloadRoutingRulesRequest {
    WorkloadRoutingRulesRequest {
        baseline_workload: Some(BaselineWorkload {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        routing_key: key.to_owned(),
        destination_sandbox: Some(DestinationSandbox { name: sandbox.to_owned() }),
    }
}

/// What the watchers of a history ask for.
fn requests() -> [WorkloadRoutingRulesRequest; 8] {
    [
        WorkloadRoutingRulesRequest::default(),
        request("", "", ["Deployment", "shop", "cart"]),
        request("", "a", ["Deployment", "shop", "cart"]),
        request("k1", "", ["Deployment", "shop", "cart"]),
        request("k1", "", ["", "", ""]),
        request("", "b", ["", "", ""]),
        request("", "", ["StatefulSet", "", ""]),
        request("", "", ["", "other", "cart"]),
    ]
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 3] = ["k1", "k2", "k3"];
const WORKLOADS: [&str; 4] =
    ["shop/Deployment/cart", "shop/Deployment/web", "shop/StatefulSet/db", "other/Deployment/cart"];

fn sandbox(name: &str, key: &str, forks: &[(&str, u16)]) -> Value {
    let forks: Vec<Value> = forks
        .iter()
        .map(|(workload, port)| {
            let ports = json!({ "80": [format!("127.0.0.1:{port}")], "*": [] });
            json!({ "workload": workload, "ports": ports })
        })
        .collect();
    json!({ "kind": "Sandbox", "metadata": { "name": name }, "spec": { "routingKey": key, "forks": forks } })
}

fn group(name: &str, key: &str, members: &[&str], conflict: &str) -> Value {
    let spec = json!({ "routingKey": key, "conflict": conflict, "sandboxes": { "names": members } });
    json!({ "kind": "RouteGroup", "metadata": { "name": name }, "spec": spec })
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(&NAMES[..]);
    let key = || prop::sample::select(&KEYS[..]);
    let forks = prop::collection::btree_map(prop::sample::select(&WORKLOADS[..]), 1..3u16, 0..4);
    let members = prop::sample::subsequence(&NAMES[..], 1..=3);
    let conflict = prop::sample::select(&["Oldest", "Newest", "Reject"][..]);
    let kind = prop_oneof![Just(Kind::Sandbox), Just(Kind::RouteGroup)];
    prop_oneof![
        3 => (name(), key(), forks).prop_map(|(name, key, forks)| {
            Step::Put(sandbox(name, key, &forks.into_iter().collect::<Vec<_>>()))
        }),
        2 => (name(), key(), members, conflict)
            .prop_map(|(name, key, members, conflict)| Step::Put(group(name, key, &members, conflict))),
        2 => (kind, name()).prop_map(|(kind, name)| Step::Delete(Id::new(kind, name))),
        6 => (0..8usize, 1..12usize).prop_map(|(watcher, ops)| Step::Read { watcher, ops }),
    ]
}

fn put(hub: &Hub, document: &Value, created_unix_ms: u64) {
    let document = document::read(document, None).expect("a document");
    let origin = Origin::Store;
    hub.apply(vec![Edit::Put(Record { document, origin, created_unix_ms, expires_unix_s: None })]);
}

fn delete(hub: &Hub, id: Id) {
    hub.apply(vec![Edit::Delete { id, origin: Origin::Store }]);
}

/// Runs on a hub that publishes at once.
fn on_a_hub(test: impl AsyncFnOnce(Hub)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let debounce = Debounce { idle: Duration::ZERO, quiet: Duration::ZERO, max: Duration::ZERO };
        let (hub, publisher) = Hub::new(debounce);
        let published = tokio::spawn(publisher.run());
        test(hub.clone()).await;
        hub.stop();
        published.await.unwrap();
    });
}

/// Until everything applied is published.
async fn settle(hub: &Hub) {
    let applied = hub.catalog(spurline_core::catalog::Catalog::revision);
    hub.published().wait_for(|published| *published >= applied).await.unwrap();
}

proptest! {
    #[test]
    fn whatever_happens_and_whenever_it_reads_a_watcher_has_what_get_says(
        steps in prop::collection::vec(step(), 1..60),
        chunk_bytes in prop_oneof![1..300usize, Just(CHUNK_BYTES)],
    ) {
        on_a_hub(async |hub| {
            let mut watchers: Vec<_> =
                requests().into_iter().map(|request| Watcher::open(&hub, request, chunk_bytes)).collect();
            for (moment, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(document) => put(&hub, &document, moment as u64),
                    Step::Delete(id) => delete(&hub, id),
                    Step::Read { watcher, ops } => {
                        tokio::task::yield_now().await;
                        let _has_more = (0..ops).all(|_| watchers[watcher].read());
                    }
                }
            }
            settle(&hub).await;
            for watcher in &mut watchers {
                while watcher.read() {}
                watcher.assert_has_what_get_says(&hub);
            }
        });
    }
}

#[test]
fn what_goes_and_changes_while_the_first_rules_are_told_is_told_as_clients_can_take_it() {
    on_a_hub(async |hub| {
        for name in ["a", "b", "c", "d"] {
            put(&hub, &sandbox(name, &format!("k{name}"), &[("shop/Deployment/cart", 1)]), 0);
        }
        // One rule at a time.
        let mut watcher = Watcher::open(&hub, WorkloadRoutingRulesRequest::default(), 1);
        assert!(watcher.read() && watcher.read() && watcher.read());
        delete(&hub, Id::new(Kind::Sandbox, "a"));
        put(&hub, &sandbox("b", "kb", &[("shop/Deployment/cart", 2)]), 0);
        delete(&hub, Id::new(Kind::Sandbox, "d"));
        settle(&hub).await;
        let mut ops = Vec::new();
        while let Some(op) = watcher.watch.next().now_or_never() {
            let op = op.unwrap();
            ops.push((op.op(), op.route.clone().unwrap_or_default().routing_key));
            watcher.client.take(op);
        }
        assert_eq!(
            ops,
            [
                (WatchOp::Add, "kb".to_owned()),
                (WatchOp::Synced, String::new()),
                (WatchOp::Remove, "ka".to_owned())
            ]
        );
        watcher.assert_has_what_get_says(&hub);
    });
}

#[test]
fn a_rule_that_changes_its_sandbox_is_removed_from_the_one_and_added_to_the_other() {
    on_a_hub(async |hub| {
        for (name, port) in [("a", 1), ("b", 2)] {
            put(&hub, &sandbox(name, name, &[("shop/Deployment/cart", port)]), u64::from(port));
        }
        put(&hub, &group("g", "team", &["a", "b"], "Oldest"), 3);
        let mut watcher = Watcher::open(&hub, request("team", "", ["", "", ""]), CHUNK_BYTES);
        while watcher.read() {}
        put(&hub, &sandbox("a", "a", &[("shop/Deployment/cart", 9)]), 1);
        settle(&hub).await;
        delete(&hub, Id::new(Kind::Sandbox, "a"));
        let mut told = Vec::new();
        for _ in 0..2 {
            settle(&hub).await;
            while let Some(op) = watcher.watch.next().now_or_never() {
                let op = op.unwrap();
                let rule = op.route.clone().expect("a rule");
                told.push((op.op(), rule.destination_sandbox.expect("a sandbox").name));
                watcher.client.take(op);
            }
        }
        assert_eq!(told, [(WatchOp::Remove, "a".to_owned()), (WatchOp::Add, "b".to_owned())]);
        watcher.assert_has_what_get_says(&hub);
    });
}

#[test]
fn names_are_kept_for_as_long_as_rules_have_them() {
    on_a_hub(async |hub| {
        let mut watcher = Watcher::open(&hub, WorkloadRoutingRulesRequest::default(), CHUNK_BYTES);
        while watcher.read() {}
        for round in 0..50_u16 {
            let (name, last) = (format!("s{round}"), format!("s{}", round.wrapping_sub(1)));
            put(&hub, &sandbox(&name, "k", &[("shop/Deployment/cart", 1), ("shop/Deployment/web", 1)]), 0);
            delete(&hub, Id::new(Kind::Sandbox, last.as_str()));
            settle(&hub).await;
            while watcher.read() {}
            assert_eq!(watcher.watch.told.kept(), (2, 1));
        }
        watcher.assert_has_what_get_says(&hub);
    });
}
