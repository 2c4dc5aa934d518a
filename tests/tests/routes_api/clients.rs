//! What one client of each stack gets.

use super::*;

#[test]
fn a_watch_tells_what_is_created_changed_moved_and_deleted() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&sandbox("alice", "ka", 9101));
    for stack in Stack::ALL {
        let mut watcher = stack.watch(control.description().grpc(), &cart());
        watcher.expect(&[["ADD", "ka", "alice"]]);
        watcher.expect(&[["SYNCED", "", ""]]);
        rest.put(&sandbox("bob", "kb", 9102));
        watcher.expect(&[["ADD", "kb", "bob"]]);
        rest.put(&sandbox("alice", "ka", 9103));
        let replaced = watcher.line();
        assert_eq!(replaced["op"], "REPLACE");
        let mappings =
            json!([{ "workloadPort": 8080, "destinations": [{ "host": "127.0.0.1", "port": 9103 }] }]);
        assert_eq!(replaced["route"]["mappings"], mappings);
        // The older member's fork counts, and when it goes the other's.
        rest.put(&Document::group("team", &["alice", "bob"]).key("team"));
        watcher.expect(&[["ADD", "team", "alice"]]);
        rest.delete(&sandbox("alice", "ka", 0));
        watcher.expect(&[["REMOVE", "ka", "alice"], ["REMOVE", "team", "alice"], ["ADD", "team", "bob"]]);
        // Who comes later does not get the key before it is free.
        rest.put(&sandbox("carol", "kb", 9104));
        rest.delete(&sandbox("bob", "kb", 0));
        watcher.expect(&[["REMOVE", "kb", "bob"], ["ADD", "kb", "carol"], ["REMOVE", "team", "bob"]]);
        let ttl = json!({ "after": "1s" });
        rest.put(&sandbox("carol", "kb", 9104).spec("ttl", ttl));
        let op = watcher.op();
        // It may be told of the time it ends, which is no part of a rule.
        let op = if op[0] == "REPLACE" { watcher.op() } else { op };
        assert_eq!(op, ["REMOVE", "kb", "carol"]);
        rest.delete(&Document::group("team", &[]));
        rest.put(&sandbox("alice", "ka", 9101));
        watcher.expect(&[["ADD", "ka", "alice"]]);
    }
}

#[test]
fn a_rule_reads_the_same_for_every_client_and_every_filter() {
    let control = TestControl::start();
    let rest = control.rest();
    let three = [([127, 0, 0, 1], 9101).into(), "[::1]:9102".parse().unwrap()];
    rest.put(&sandbox("alice", "ka", 9100).fork("shop/StatefulSet/db", "db", &three));
    rest.put(&sandbox("bob", "kb", 9103).fork("other/Deployment/cart", "cart", &[]));
    rest.put(&Document::group("team", &["alice", "bob"]).key("team"));
    let grpc = control.description().grpc();
    for (baseline, key, name, count) in [
        (["", "", ""], "", "", 7),
        (["Deployment", "shop", "cart"], "", "", 3),
        (["Deployment", "shop", "cart"], "", "alice", 2),
        (["Deployment", "shop", "cart"], "team", "", 1),
        (["", "", ""], "team", "", 3),
        (["", "", ""], "", "bob", 3),
        (["StatefulSet", "", ""], "", "", 2),
        (["", "other", ""], "", "", 2),
        (["", "", "cart"], "", "", 5),
        (["Deployment", "shop", "cart"], "unknown", "", 0),
        (["deployment", "shop", "cart"], "", "", 0),
        (["", "", "a/b"], "no key", "", 0),
    ] {
        let wanted = request(baseline, key, name);
        let [kind, namespace, workload] = baseline;
        let (status, body) = curl(
            rest.address(),
            &[
                ("baselineKind", kind),
                ("baselineNamespace", namespace),
                ("baselineName", workload),
                ("routingKey", key),
                ("destinationSandboxName", name),
            ],
        );
        assert_eq!(status, "200 application/json");
        // What is empty may be left out of JSON and is left out of protobuf.
        let over_http = rules(&serde_json::from_str(&body.replace(r#","destinations":[]"#, "")).unwrap());
        assert_eq!(over_http.len(), count, "{wanted}: {body}");
        for stack in Stack::ALL {
            assert_eq!(rules(&stack.call(grpc, GET, &wanted)), over_http, "{stack:?} {wanted}");
            let mut watcher = stack.watch(grpc, &wanted);
            let told: BTreeSet<String> = (0..count).map(|_| watcher.line()["route"].to_string()).collect();
            assert_eq!(told, over_http, "{stack:?} {wanted}");
            watcher.expect(&[["SYNCED", "", ""]]);
        }
    }
}

#[test]
fn services_are_those_of_baselines_and_of_forks() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&Document::workload(CART, &[([127, 0, 0, 1], 9100).into()]).spec("appProtocol", "http".into()));
    rest.put(&sandbox("alice", "ka", 9101));
    let wanted = json!({ "services": [
        { "hostname": "cart.shop.svc", "ports": [{ "port": 8080, "protocol": "TCP", "appProtocol": "http" }] },
        {
            "serviceIp": "127.0.0.1",
            "ports": [{ "port": 9101, "protocol": "TCP" }],
            "sandboxInfo": { "sandboxRoutingKey": "ka", "baselineHostname": "cart.shop.svc" },
        },
    ] });
    for stack in Stack::ALL {
        assert_eq!(stack.call(control.description().grpc(), SERVICES, &json!({})), wanted, "{stack:?}");
    }
}

#[test]
fn nobody_is_told_that_there_is_nothing_before_everything_is_loaded() {
    let documents = tempfile::tempdir().expect("make a directory");
    let file = documents.path().join("alice.yaml");
    std::fs::write(&file, "kind: Nonsense").expect("write");
    let description = Control::new().documents(documents.path());
    let control = description.start_unready();
    let rest = description.rest();
    eventually("it listens", || rest.try_send("GET", "/v1/status", "", "").map(|_| ()));
    let (status, body) = curl(rest.address(), &[]);
    assert!(status.starts_with("503 text/plain"), "{status}: {body}");
    assert!(body.starts_with("still loading: "), "{body}");
    for stack in Stack::ALL {
        for method in [GET, WATCH, SERVICES] {
            let refused = stack.call(description.grpc(), method, &json!({}));
            assert_eq!(refused["code"], "Unavailable", "{stack:?} {method}: {refused}");
            assert!(refused["message"].as_str().unwrap().starts_with("still loading: "), "{refused}");
        }
    }
    std::fs::write(&file, sandbox("alice", "ka", 9101).file()).expect("write");
    let rule = eventually("the file is loaded", || {
        let (status, body) = curl(rest.address(), &[("routingKey", "ka")]);
        status.starts_with("200").then_some(body)
    });
    assert!(rule.contains(r#""routingKey":"ka""#), "{rule}");
    drop(control);
}

#[test]
fn a_watch_ends_with_the_service_and_the_next_begins_with_everything() {
    let description = Control::new();
    let mut control = description.start();
    description.rest().put(&sandbox("alice", "ka", 9101));
    for stack in Stack::ALL {
        let mut watcher = stack.watch(description.grpc(), &cart());
        watcher.expect(&[["ADD", "ka", "alice"]]);
        watcher.expect(&[["SYNCED", "", ""]]);
        let (status, _) = control.stop();
        assert!(status.success(), "{status}");
        assert_eq!(watcher.line()["code"], "Unavailable");
        control = description.start();
        let mut watcher = stack.watch(description.grpc(), &cart());
        watcher.expect(&[["ADD", "ka", "alice"]]);
        watcher.expect(&[["SYNCED", "", ""]]);
        let description = control.kill();
        assert_eq!(watcher.line()["code"], "Unavailable");
        control = description.start();
    }
}
