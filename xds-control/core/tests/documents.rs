//! What documents may say, and what is said about those that are wrong.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use spurline_core::document::{self, Document, FAULTS_MAX, Kind};

fn cart() -> Value {
    json!({
        "apiVersion": "spurline.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": { "name": "alice-cart", "labels": { "team": "checkout" } },
        "spec": {
            "routingKey": "k3v9m2x7q4ab",
            "ttl": { "after": "3d", "idle": "8h" },
            "forks": [{
                "workload": "shop/Deployment/cart",
                "fork": "cart-alice",
                "onUnavailable": "Baseline",
                "ports": { "8080": ["127.0.0.1:9102"], "*": ["[::1]:9103"], "9090": [] },
            }],
        },
    })
}

fn checkout() -> Value {
    json!({
        "kind": "RouteGroup",
        "metadata": { "name": "checkout" },
        "spec": {
            "routingKey": "team-checkout",
            "sandboxes": { "names": ["alice-cart"], "selector": { "matchLabels": { "team": "checkout" } } },
            "conflict": "Newest",
            "ttl": { "idle": "90m" },
        },
    })
}

fn baseline() -> Value {
    json!({
        "kind": "Workload",
        "metadata": { "name": "shop/Deployment/cart" },
        "spec": { "hostname": "cart.shop.svc", "appProtocol": "http", "ports": { "8080": ["127.0.0.1:9101"] } },
    })
}

/// The document with one value replaced, or added.
fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.insert(name.replace("~1", "/"), value)),
        Value::Array(list) if list.len() == name.parse::<usize>().unwrap() => list.push(value),
        other => other[name.parse::<usize>().unwrap()] = value,
    }
    document
}

fn faults(document: &Value) -> Vec<String> {
    let faults = document::read(document, None).unwrap_err();
    faults.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.what)).collect()
}

#[test]
fn what_the_documentation_shows_is_read_and_written_back() {
    for document in [cart(), checkout(), baseline()] {
        let read = document::read(&document, None).unwrap();
        let canonical = with(document.clone(), "/apiVersion", "spurline.dev/v1alpha1".into());
        assert_eq!(read.to_json(), canonical);
    }
}

#[test]
fn defaults_are_left_out_and_take_the_documented_values() {
    let document = json!({
        "kind": "Sandbox",
        "metadata": { "name": "alice", "labels": null },
        "spec": { "forks": [{ "workload": "shop/Deployment/cart", "onUnavailable": "Reject", "ports": { "*": [] } }] },
        "status": { "anything": ["goes"] },
    });
    let read = document::read(&document, None).unwrap();
    assert_eq!(
        read.to_json(),
        json!({
            "apiVersion": "spurline.dev/v1alpha1",
            "kind": "Sandbox",
            "metadata": { "name": "alice" },
            "spec": { "forks": [{ "workload": "shop/Deployment/cart", "ports": { "*": [] } }] },
        })
    );
    let Document::Sandbox(sandbox) = &read else { panic!("{read:?}") };
    assert_eq!(&*sandbox.fork_name(&sandbox.forks[0]), "shop/Deployment/cart@alice");
    assert!(read.ttl().is_never());

    let plain = json!({ "kind": "Workload", "metadata": { "name": "shop/Deployment/cart" }, "spec": { "ports": { "*": [] } } });
    let Document::Workload(baseline) = document::read(&plain, None).unwrap() else { panic!() };
    assert_eq!(&*baseline.hostname(), "cart.shop.svc");
}

#[test]
fn a_duration_is_written_in_the_longest_unit_that_needs_no_fraction() {
    for (given, written) in [("72h", "3d"), ("90m", "90m"), ("14d", "2w"), ("60s", "1m"), ("61s", "61s")] {
        let document = document::read(&with(cart(), "/spec/ttl/after", given.into()), None).unwrap();
        assert_eq!(document.to_json()["spec"]["ttl"]["after"], written);
    }
}

#[test]
fn a_default_key_is_a_hash_of_kind_and_name() {
    let key = |kind: Kind| {
        let spec = match kind {
            Kind::Sandbox => json!({}),
            _ => json!({ "sandboxes": { "names": ["a"] } }),
        };
        let document = json!({ "metadata": { "name": "alice-cart" }, "spec": spec });
        document::read(&document, Some(kind)).unwrap().routing_key().unwrap().to_string()
    };
    // printf sandbox/alice-cart | sha256sum | xxd -r -p | base32 | head -c 12 | tr A-Z a-z
    assert_eq!(key(Kind::Sandbox), "vshigdche7no");
    assert_eq!(key(Kind::RouteGroup), "me6doknnyc5l");
}

#[test]
fn every_fault_is_reported_at_once_with_its_place() {
    let document = json!({
        "apiVersion": "v1",
        "kind": "Sandbox",
        "metadata": { "name": "Alice", "labels": { "team": 1, "a/b/c": "x" } },
        "spec": {
            "rutingKey": "k",
            "ttl": { "after": "3 days" },
            "forks": [
                { "workload": "cart", "ports": { "8080": ["localhost:80", "127.0.0.1:0", "127.0.0.1:1"] } },
                { "workload": "shop/Deployment/web", "onUnavailable": "baseline", "ports": {} },
                { "ports": { "08": [], "x/y": ["?"] } },
            ],
        },
        "spce": {},
    });
    assert_eq!(
        faults(&document),
        [
            "/spce: is not a field; is spec meant?",
            "/apiVersion: is \"v1\"",
            "/metadata/labels/a~1b~1c: is the label \"a/b/c\"",
            "/metadata/labels/team: is a number, not text",
            "/metadata/name: is \"Alice\"",
            "/spec/rutingKey: is not a field; is routingKey meant?",
            "/spec/ttl/after: is \"3 days\"",
            "/spec/forks/0/workload: is \"cart\"",
            "/spec/forks/0/ports/8080/0: is \"localhost:80\"",
            "/spec/forks/0/ports/8080/1: is \"127.0.0.1:0\"",
            "/spec/forks/1/onUnavailable: is \"baseline\"",
            "/spec/forks/1/ports: is empty",
            "/spec/forks/2/workload: is missing",
            "/spec/forks/2/ports/08: is the port \"08\"",
            "/spec/forks/2/ports/x~1y: is the port \"x/y\"",
        ]
    );
}

#[test]
fn a_fault_says_what_is_allowed() {
    let faults = document::read(&with(checkout(), "/spec/conflict", "First".into()), None).unwrap_err();
    assert_eq!(
        faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["/spec/conflict: is \"First\"; allowed: Oldest, Newest, Reject"]
    );
}

#[test]
fn each_rule_of_a_document_has_its_fault() {
    let one = json!({ "workload": "shop/Deployment/cart", "ports": { "*": [] } });
    for (document, fault) in [
        (json!([]), ": is a list, not an object"),
        (json!({ "kind": "Pod", "metadata": { "name": "a" }, "spec": {} }), "/kind: is \"Pod\""),
        (json!({ "metadata": { "name": "a" }, "spec": {} }), "/kind: is missing"),
        (json!({ "kind": "Sandbox", "spec": {} }), "/metadata/name: is missing"),
        (json!({ "kind": "Sandbox", "metadata": { "name": "a" } }), "/spec: is missing"),
        (
            with(cart(), "/metadata/name", "a".repeat(64).into()),
            &format!("/metadata/name: is {:?}", "a".repeat(64)),
        ),
        (with(cart(), "/metadata/name", "a.b".into()), "/metadata/name: is \"a.b\""),
        (with(cart(), "/spec/routingKey", "a b".into()), "/spec/routingKey: is \"a b\""),
        (with(cart(), "/spec/ttl", json!({})), "/spec/ttl: is empty"),
        (with(cart(), "/spec/ttl/after", "0s".into()), "/spec/ttl/after: is \"0s\""),
        (with(cart(), "/spec/ttl/after", "366d".into()), "/spec/ttl/after: is \"366d\""),
        (
            with(cart(), "/spec/ttl/after", "99999999999999999999w".into()),
            "/spec/ttl/after: is \"99999999999999999999w\"",
        ),
        (
            with(cart(), "/spec/forks/1", one),
            "/spec/forks/1/workload: is shop/Deployment/cart, which is forked already",
        ),
        (with(cart(), "/spec/forks", vec![json!({}); 1001].into()), "/spec/forks: has 1001 elements"),
        (with(cart(), "/spec/forks/0/fork", "".into()), "/spec/forks/0/fork: is \"\""),
        (
            with(cart(), "/spec/forks/0/ports/65536", json!([])),
            "/spec/forks/0/ports/65536: is the port \"65536\"",
        ),
        (with(cart(), "/spec/forks/0/ports/+80", json!([])), "/spec/forks/0/ports/+80: is the port \"+80\""),
        (
            with(cart(), "/spec/forks/0/ports/80", json!(["[::1]:80", "[0::1]:80"])),
            "/spec/forks/0/ports/80/1: is [::1]:80, which is listed already",
        ),
        (
            with(cart(), "/spec/forks/0/ports/80", json!(["[fe80::1%1]:80"])),
            "/spec/forks/0/ports/80/0: is \"[fe80::1%1]:80\"",
        ),
        (
            with(cart(), "/spec/forks/0/ports/80", vec![json!("127.0.0.1:1"); 1025].into()),
            "/spec/forks/0/ports/80: has 1025 elements",
        ),
        (with(checkout(), "/spec/sandboxes", json!({})), "/spec/sandboxes: selects nothing"),
        (with(checkout(), "/spec/sandboxes/names", json!([])), "/spec/sandboxes/names: is empty"),
        (
            with(checkout(), "/spec/sandboxes/names/1", "alice-cart".into()),
            "/spec/sandboxes/names/1: is alice-cart, which is listed already",
        ),
        (
            with(checkout(), "/spec/sandboxes/selector", json!({})),
            "/spec/sandboxes/selector/matchLabels: is missing",
        ),
        (
            with(checkout(), "/spec/sandboxes/selector/matchLabels", json!({})),
            "/spec/sandboxes/selector/matchLabels: is empty",
        ),
        (with(baseline(), "/metadata/name", "cart".into()), "/metadata/name: is \"cart\""),
        (with(baseline(), "/spec/appProtocol", "a b".into()), "/spec/appProtocol: is \"a b\""),
        (with(baseline(), "/spec/hostname", "Cart".into()), "/spec/hostname: is \"Cart\""),
        (with(baseline(), "/spec/ports", Value::Null), "/spec/ports: is missing"),
    ] {
        assert_eq!(faults(&document), [fault], "{document}");
    }
}

#[test]
fn a_kind_that_is_asked_for_need_not_be_named_but_must_agree() {
    let mut document = cart();
    assert!(document::read(&document, Some(Kind::Sandbox)).is_ok());
    let faults = document::read(&document, Some(Kind::RouteGroup)).unwrap_err();
    assert_eq!((faults[0].pointer.as_str(), faults[0].allowed.as_str()), ("/kind", "RouteGroup"));
    document.as_object_mut().unwrap().remove("kind");
    assert!(document::read(&document, Some(Kind::Sandbox)).is_ok());
}

#[test]
fn faults_of_hostile_documents_are_bounded() {
    let ports: Map<String, Value> =
        (0..256).map(|i| (format!("{}{i}", "x".repeat(1000)), json!(vec!["?"; 9]))).collect();
    let forks = vec![json!({ "workload": "w".repeat(2000), "ports": ports }); 100];
    let faults = document::read(&with(cart(), "/spec/forks", forks.into()), None).unwrap_err();
    assert_eq!(faults.len(), FAULTS_MAX + 1);
    assert!(faults.iter().all(|fault| fault.what.len() < 200));
    assert!(faults[FAULTS_MAX].what.ends_with("more faults"));
}

#[test]
fn text_that_is_no_document_is_one_fault() {
    for (text, what) in [
        (&b"{"[..], "is not JSON: EOF while parsing an object at line 1 column 1"),
        (&[b' '; 1024 * 1024 + 1][..], "has 1048577 bytes"),
        (&[b'['; 1000][..], "is not JSON: recursion limit exceeded at line 1 column 128"),
    ] {
        let faults = document::read_slice(text, None).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.what.as_str()).collect::<Vec<_>>(), [what]);
    }
    assert!(document::read_slice(cart().to_string().as_bytes(), None).is_ok());
}

/// Words that documents are made of, and a few that they are not.
const WORDS: &[&str] = &[
    "spurline.dev/v1alpha1",
    "Sandbox",
    "RouteGroup",
    "Workload",
    "shop/Deployment/cart",
    "shop/Deployment/web",
    "alice",
    "127.0.0.1:1",
    "[::1]:2",
    "[fe80::1%0]:80",
    "8080",
    "*",
    "72h",
    "1w",
    "Baseline",
    "Oldest",
    "Reject",
    "",
    "~/é",
];
const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "name",
    "labels",
    "routingKey",
    "ttl",
    "after",
    "idle",
    "forks",
    "workload",
    "fork",
    "onUnavailable",
    "ports",
    "sandboxes",
    "names",
    "selector",
    "matchLabels",
    "conflict",
    "hostname",
    "appProtocol",
    "8080",
    "*",
    "~a/b",
];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(FIELDS), inner, 0..6)
                .prop_map(|map| { map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }),
        ]
    })
}

fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            pointers(value, &format!("{here}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| {
            pointers(value, &format!("{here}/{index}"), found);
        }),
        _ => {}
    }
}

/// Whatever is read is written back, and whatever is refused is refused with places that exist.
fn holds(value: &Value) {
    match document::read(value, None) {
        Ok(document) => {
            let written = document.to_json();
            let again = document::read(&written, None);
            assert_eq!(again.as_ref(), Ok(&document), "{value}");
            assert_eq!(again.unwrap().to_json(), written);
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                let (parent, _) = fault.pointer.rsplit_once('/').unwrap_or_default();
                let parent = parent
                    .strip_suffix("/metadata")
                    .filter(|_| value["metadata"].is_null())
                    .unwrap_or(parent);
                let parent = if fault.pointer == "/metadata/name" { "" } else { parent };
                assert!(value.pointer(parent).is_some(), "{fault} of {value}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_json_makes_reading_panic(value in json()) {
        holds(&value);
    }

    #[test]
    fn whatever_is_accepted_round_trips(
        base in 0..3usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), json()), 0..3),
    ) {
        let mut document = [cart(), checkout(), baseline()][base].clone();
        for (index, value) in edits {
            let mut places = Vec::new();
            pointers(&document, "", &mut places);
            let place = &places[index.index(places.len())];
            *document.pointer_mut(place).unwrap() = value;
        }
        holds(&document);
    }
}
