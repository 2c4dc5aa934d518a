//! What must hold for `spurline-core`, whatever the bytes.
//!
//! Each function takes arbitrary bytes and panics when a promise is broken. Documents and histories are also made from
//! the bytes, piece by piece, because arbitrary text is hardly ever a document.

use std::{collections::BTreeMap, slice::Iter};

use serde_json::{Value, json};
use spurline_core::{
    catalog::{Catalog, Pattern, ResourceName, ResourceType, Revision, Snapshot, diff},
    document::{self, Document, Id, Kind},
    model::{Edit, Model, Origin, Record},
};

const KINDS: [Option<Kind>; 4] = [None, Some(Kind::Sandbox), Some(Kind::RouteGroup), Some(Kind::Workload)];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const WORKLOADS: [&str; 3] = ["shop/Deployment/cart", "shop/Deployment/cart2", "s/D/c"];

/// Names of fields and words of the grammar, and their neighbours.
const WORDS: &[&str] = &[
    "",
    "apiVersion",
    "spurline.dev/v1alpha1",
    "kind",
    "Sandbox",
    "RouteGroup",
    "Workload",
    "metadata",
    "name",
    "labels",
    "spec",
    "status",
    "routingKey",
    "ttl",
    "after",
    "idle",
    "forks",
    "workload",
    "fork",
    "onUnavailable",
    "Reject",
    "Baseline",
    "ports",
    "sandboxes",
    "names",
    "selector",
    "matchLabels",
    "conflict",
    "Oldest",
    "Newest",
    "hostname",
    "appProtocol",
    "http",
    "cart",
    "shop/Deployment/cart",
    "S/D/x",
    "a.b/c",
    "a/b/c/d",
    "team",
    "*",
    "0",
    "80",
    "080",
    "65535",
    "65536",
    "127.0.0.1:1",
    "127.0.0.1:0",
    "[::1]:9103",
    "[::1%2]:5",
    "[fe80::1%eth0]:5",
    "1.2.3.4",
    "1s",
    "0s",
    "90m",
    "72h",
    "7d",
    "52w",
    "99999999999999999999s",
    "18446744073709551615w",
    "1",
    "s",
    "~",
    "/",
    "~1",
    "\u{e9}",
    "k3v9m2x7q4ab",
    "A-._z",
    " ",
];

/// The data is JSON.
pub fn document(data: &[u8]) {
    for kind in KINDS {
        if let Ok(document) = document::read_slice(data, kind) {
            holds(&document);
        }
    }
}

/// The data says how to change a document.
pub fn edited_document(data: &[u8]) {
    let mut bytes = data.iter();
    let mut value = template(next(&mut bytes));
    while !bytes.as_slice().is_empty() {
        edit(&mut value, &mut bytes, 0);
    }
    for kind in KINDS {
        read(&value, kind);
    }
}

/// Every line of the data is the name of a subscription, and the name of a resource.
pub fn pattern(data: &[u8]) {
    let lines: Vec<&str> =
        data.split(|&byte| byte == b'\n').filter_map(|line| str::from_utf8(line).ok()).collect();
    for line in &lines {
        let Ok(pattern) = Pattern::parse(line) else { continue };
        assert_eq!(pattern.to_string(), *line);
        for name in &lines {
            let matches = match line.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == line,
            };
            assert_eq!(pattern.matches(name), matches, "{line} and {name}");
        }
    }
}

/// The data says what is put and deleted, and when.
pub fn history(data: &[u8]) {
    let mut bytes = data.iter();
    let log_len_max = usize::from(next(&mut bytes) % 16) + 1;
    let (mut model, mut catalog) = (Model::new(), Catalog::with_log_len_max(log_len_max));
    let mut documents: BTreeMap<(Id, Origin), Record> = BTreeMap::new();
    let mut past = vec![(Revision::default(), Snapshot::default())];
    // What is compared grows with the square of the steps.
    while !bytes.as_slice().is_empty() && past.len() < 24 {
        let edits: Vec<Edit> = (0..next(&mut bytes) % 4).map(|_| model_edit(&mut bytes)).collect();
        for edit in &edits {
            match edit {
                Edit::Put(record) => {
                    documents.insert((record.document.id(), record.origin), record.clone());
                }
                Edit::Delete { id, origin } => {
                    documents.remove(&(id.clone(), *origin));
                }
            }
        }
        let revision = catalog.apply(model.apply(edits));
        check_model(&model, &catalog, &documents);
        let snapshot = catalog.snapshot();
        for (since, old) in &past {
            let mut updated = old.clone();
            updated.apply(&diff(old, &snapshot));
            assert_eq!(updated, snapshot);
            check_changes(&catalog, *since, old, &snapshot);
        }
        past.push((revision, snapshot));
    }
}

/// Every promise about reading a value.
pub fn read(value: &Value, kind: Option<Kind>) {
    match document::read(value, kind) {
        Ok(document) => {
            assert!(kind.is_none_or(|kind| document.id().kind == kind));
            holds(&document);
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in &faults {
                assert!(fault.pointer.is_empty() || fault.pointer.starts_with('/'), "{}", fault.pointer);
                let escapes = fault.pointer.split('~').skip(1);
                assert!(escapes.into_iter().all(|rest| rest.starts_with(['0', '1'])), "{}", fault.pointer);
                assert!(!fault.what.is_empty() && !fault.allowed.is_empty(), "{fault}");
            }
        }
    }
}

/// What is written is read back, and written the same again.
pub fn holds(document: &Document) {
    let value = document.to_json();
    let again = document::read(&value, None);
    assert_eq!(again.as_ref(), Ok(document), "{value}");
    let text = value.to_string();
    assert_eq!(document::read_slice(text.as_bytes(), Some(document.id().kind)).as_ref(), Ok(document));
    assert_eq!(document.routing_key().is_none(), document.id().kind == Kind::Workload);
}

/// The model and the catalog are what they would be had nothing else ever been there.
fn check_model(model: &Model, catalog: &Catalog, documents: &BTreeMap<(Id, Origin), Record>) {
    let (mut fresh, mut fresh_catalog) = (Model::new(), Catalog::new());
    fresh_catalog.apply(fresh.apply(documents.values().rev().cloned().map(Edit::Put)));
    assert_eq!(catalog.snapshot(), fresh_catalog.snapshot());
    for (id, _) in documents.keys() {
        assert_eq!(model.status(id), fresh.status(id), "{id}");
        assert_eq!(model.resources_of(id), fresh.resources_of(id), "{id}");
    }
}

/// What the log says happened makes what was into what is, however many pieces it comes in.
fn check_changes(catalog: &Catalog, since: Revision, old: &Snapshot, new: &Snapshot) {
    let workload = Pattern::parse("shop/Deployment/cart/*").expect("a pattern");
    let one = Pattern::parse("shop/Deployment/cart/k1").expect("a pattern");
    for ty in ResourceType::ALL {
        for (pattern, bytes_max) in [(&Pattern::All, 1), (&workload, 200), (&one, 0)] {
            let of = |name: &ResourceName| name.ty == ty && pattern.matches(&name.name);
            let mut known = old.clone();
            let mut since = since;
            let complete = loop {
                let Ok(changes) = catalog.changes(ty, pattern, since, bytes_max) else { break false };
                for entry in &changes.changed {
                    let name = ResourceName { ty, name: entry.name().into() };
                    assert!(of(&name) && entry.revision() > since);
                    known.0.insert(name, entry.resource().clone());
                }
                for name in changes.removed {
                    known.0.remove(&ResourceName { ty, name });
                }
                assert!(changes.complete || changes.upto > since, "it gets on");
                since = changes.upto;
                if changes.complete {
                    break true;
                }
            };
            if complete {
                let known: Vec<_> = known.0.iter().filter(|(name, _)| of(name)).collect();
                assert_eq!(known, new.0.iter().filter(|(name, _)| of(name)).collect::<Vec<_>>());
            }
        }
    }
}

fn model_edit(bytes: &mut Iter<'_, u8>) -> Edit {
    let (choice, name, key) = (next(bytes), next(bytes), next(bytes));
    let name = NAMES[usize::from(name) % NAMES.len()];
    let mut value = match choice % 3 {
        0 => {
            let (which, port) = (next(bytes), next(bytes));
            let forked = WORKLOADS.iter().zip([1, 2, 4]).filter(|(_, bit)| which & bit != 0);
            let ports = json!({ "*": [format!("127.0.0.1:{}", port % 3 + 1)] });
            let forks: Vec<Value> =
                forked.map(|(workload, _)| json!({ "workload": workload, "ports": ports })).collect();
            json!({ "kind": "Sandbox", "metadata": { "name": name }, "spec": { "forks": forks } })
        }
        1 => {
            let which = next(bytes) | 8;
            let members = NAMES.iter().zip([1, 2, 4, 8]).filter(|(_, bit)| which & bit != 0);
            let members: Vec<&str> = members.map(|(name, _)| *name).collect();
            let selector = json!({ "matchLabels": { "team": (next(bytes) % 2).to_string() } });
            let conflict = ["Oldest", "Newest", "Reject"][usize::from(next(bytes) % 3)];
            let sandboxes = json!({ "names": members, "selector": selector });
            json!({ "kind": "RouteGroup", "metadata": { "name": name }, "spec": { "sandboxes": sandboxes, "conflict": conflict } })
        }
        _ => {
            let name = WORKLOADS[usize::from(key) % WORKLOADS.len()];
            let ports = json!({ "80": [format!("127.0.0.1:{}", next(bytes) % 3 + 1)] });
            json!({ "kind": "Workload", "metadata": { "name": name }, "spec": { "ports": ports } })
        }
    };
    if choice % 3 != 2 && key % 4 != 0 {
        value["spec"]["routingKey"] = format!("k{}", key % 4).into();
        value["metadata"]["labels"] = json!({ "team": (key / 4 % 2).to_string() });
    }
    let document = document::read(&value, None).expect("what is made here is a document");
    let (origin, when) = (next(bytes), next(bytes));
    let origin = if origin.is_multiple_of(4) { Origin::File } else { Origin::Store };
    if choice >= 0xa0 {
        return Edit::Delete { id: document.id(), origin };
    }
    let expires_unix_s = (when % 3 == 0).then_some(u64::from(when / 64));
    Edit::Put(Record { document, origin, created_unix_ms: u64::from(when % 5), expires_unix_s })
}

fn template(choice: u8) -> Value {
    match choice % 3 {
        0 => json!({
            "apiVersion": "spurline.dev/v1alpha1", "kind": "Sandbox",
            "metadata": { "name": "alice", "labels": { "team": "checkout" } },
            "spec": {
                "routingKey": "k3v9m2x7q4ab", "ttl": { "after": "72h", "idle": "8h" },
                "forks": [
                    { "workload": "shop/Deployment/cart", "fork": "cart-alice", "onUnavailable": "Baseline",
                      "ports": { "8080": ["127.0.0.1:9102"], "*": ["[::1]:9103"] } },
                    { "workload": "shop/Deployment/web", "ports": { "80": [] } },
                ],
            },
            "status": {},
        }),
        1 => json!({
            "kind": "RouteGroup", "metadata": { "name": "checkout", "labels": {} },
            "spec": {
                "routingKey": "team", "conflict": "Newest", "ttl": { "idle": "90m" },
                "sandboxes": { "names": ["alice"], "selector": { "matchLabels": { "team": "checkout" } } },
            },
        }),
        _ => json!({
            "kind": "Workload", "metadata": { "name": "shop/Deployment/cart" },
            "spec": { "hostname": "cart.shop.svc", "appProtocol": "http", "ports": { "8080": ["127.0.0.1:9101"] } },
        }),
    }
}

/// Changes one thing in a value: walks down, then replaces, adds or removes.
fn edit(value: &mut Value, bytes: &mut Iter<'_, u8>, depth: u8) {
    let (act, place) = (next(bytes), next(bytes));
    let len = match value {
        Value::Object(object) => object.len(),
        Value::Array(array) => array.len(),
        _ => 0,
    };
    let place = usize::from(place) % (len + 1);
    if act < 0xa0 && place < len && depth < 12 {
        let child = match value {
            Value::Object(object) => object.values_mut().nth(place),
            Value::Array(array) => array.get_mut(place),
            _ => None,
        };
        return child.into_iter().for_each(|child| edit(child, bytes, depth + 1));
    }
    match value {
        Value::Object(object) if act % 4 == 0 => {
            object.insert(word(bytes), leaf(bytes));
        }
        Value::Object(object) if act % 4 == 1 => {
            let name = object.keys().nth(place).cloned().unwrap_or_default();
            object.remove(&name);
        }
        Value::Array(array) if act % 4 == 0 => array.insert(place, leaf(bytes)),
        Value::Array(array) if act % 4 == 1 && place < len => drop(array.remove(place)),
        Value::Array(array) if act % 4 == 2 && place < len => array.push(array[place].clone()),
        value => *value = leaf(bytes),
    }
}

fn leaf(bytes: &mut Iter<'_, u8>) -> Value {
    match next(bytes) % 12 {
        0 => Value::Null,
        1 => true.into(),
        2 => i64::from(next(bytes)).into(),
        3 => json!([]),
        4 => json!({}),
        5 => json!([word(bytes)]),
        6 => json!({ word(bytes): [word(bytes)] }),
        7 => template(next(bytes))["spec"].clone(),
        _ => word(bytes).into(),
    }
}

/// A known word, or as many of the bytes as the next one says.
fn word(bytes: &mut Iter<'_, u8>) -> String {
    let choice = usize::from(next(bytes));
    match WORDS.get(choice) {
        Some(word) => (*word).to_owned(),
        None => {
            let len = (choice - WORDS.len()) % 70;
            let raw: Vec<u8> = bytes.by_ref().take(len).copied().collect();
            String::from_utf8_lossy(&raw).into_owned()
        }
    }
}

/// The next byte, 0 after the last.
fn next(bytes: &mut Iter<'_, u8>) -> u8 {
    bytes.next().copied().unwrap_or(0)
}
