//! Watchers that do not read.

use std::collections::BTreeMap;

use spurline_api::routes::{
    GetWorkloadRoutingRulesResponse, WatchOp, WorkloadRoutingRule, WorkloadRoutingRuleOp,
    WorkloadRoutingRulesRequest, routes_client::RoutesClient,
};
use tonic::{Streaming, transport::Channel};

use super::*;

type Watch = Streaming<WorkloadRoutingRuleOp>;

/// A few megabytes of rules.
fn bulk(port: u16) -> Vec<Document> {
    let fork = |document: Document, number| {
        document.fork(&format!("bulk/Deployment/w{number}"), "f", &[([127, 0, 0, 1], port).into()])
    };
    (0..20).map(|name| (0..800).fold(Document::sandbox(&format!("bulk{name}")), fork)).collect()
}

async fn client(control: &TestControl) -> RoutesClient<Channel> {
    let channel = Channel::from_shared(control.url()).expect("a URL").connect().await;
    RoutesClient::new(channel.expect("connect")).max_decoding_message_size(64 << 20)
}

fn identity(rule: &WorkloadRoutingRule) -> (String, String) {
    let workload = rule.baseline.as_ref().expect("a baseline");
    (rule.routing_key.clone(), format!("{}/{}/{}", workload.namespace, workload.kind, workload.name))
}

/// Reads until the watcher has `wanted`.
async fn follow(watch: &mut Watch, wanted: &BTreeMap<(String, String), WorkloadRoutingRule>) {
    let mut has = BTreeMap::new();
    let mut is_synced = false;
    while !is_synced || has != *wanted {
        let op = tokio::time::timeout(Duration::from_secs(20), watch.message()).await;
        let op = op.expect("more to come").expect("the watch goes on").expect("an operation");
        match (op.op(), op.route) {
            (WatchOp::Synced, None) => assert!(!std::mem::replace(&mut is_synced, true)),
            (WatchOp::Add, Some(rule)) => drop(has.insert(identity(&rule), rule)),
            (WatchOp::Replace, Some(rule)) if is_synced => {
                has.insert(identity(&rule), rule).expect("REPLACE of what is there");
            }
            (WatchOp::Remove, Some(rule)) if is_synced => {
                let was = has.remove(&identity(&rule)).expect("REMOVE of what is there");
                assert_eq!(was.destination_sandbox, rule.destination_sandbox);
            }
            (op, rule) => panic!("synced: {is_synced}, and then {op:?} {rule:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_do_not_read_cost_no_memory_and_miss_nothing_in_the_end() {
    let control = TestControl::start();
    let rest = control.rest();
    for document in bulk(1) {
        rest.put(&document);
    }
    let before = control.resident_bytes();
    let mut watches = Vec::new();
    for _ in 0..10 {
        let mut client = client(&control).await;
        for _ in 0..20 {
            let watch = client.watch_workload_routing_rules(WorkloadRoutingRulesRequest::default());
            watches.push(watch.await.expect("a watch").into_inner());
        }
    }
    for port in 2..6 {
        for document in bulk(port) {
            rest.put(&document);
        }
    }
    rest.delete(&Document::sandbox("bulk0"));
    let grown = control.resident_bytes().saturating_sub(before);
    println!("200 watchers that do not read: {} KiB each", grown / 200 / 1024);
    // They have been told a megabyte each and changes of ten.
    assert!(grown < 100 << 20, "{} MiB more", grown >> 20);

    let answer =
        client(&control).await.get_workload_routing_rules(WorkloadRoutingRulesRequest::default()).await;
    let GetWorkloadRoutingRulesResponse { routing_rules } = answer.expect("an answer").into_inner();
    let wanted: BTreeMap<_, _> = routing_rules.into_iter().map(|rule| (identity(&rule), rule)).collect();
    assert_eq!(wanted.len(), 19 * 800);
    // Those before it on its connection hold the connection's window.
    let mut last = watches.pop().expect("a watch");
    drop(watches);
    follow(&mut last, &wanted).await;
}
