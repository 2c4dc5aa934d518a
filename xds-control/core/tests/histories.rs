//! Random histories of documents: what is derived edit by edit is what the rules say, and what a fresh start gives.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]

#[path = "fixture/records.rs"]
#[allow(dead_code, reason = "other suites use the rest")]
mod records;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use spurline_core::{
    catalog::{Catalog, Pattern, ResourceType, Snapshot, diff},
    document::{ConflictRule, Document, Id, Kind},
    model::{Edit, Model, Origin, Record, RuleFilter},
};

type Documents = BTreeMap<(Id, Origin), Record>;
/// Key and workload, to sandbox, port (0 when refused) and end.
type Rules = BTreeMap<(String, String), (String, u16, Option<u64>)>;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const KEYS: [&str; 4] = ["k1", "k2", "k3", "k4"];
const WORKLOADS: [&str; 3] = ["cart", "web", "pay"];
const LABELS: [(&str, &str); 3] = [("team", "x"), ("team", "y"), ("tier", "1")];

fn sandbox() -> impl Strategy<Value = serde_json::Value> {
    let forks = prop::collection::btree_map(prop::sample::select(&WORKLOADS[..]), 1..4u16, 0..3);
    let labels = prop::sample::subsequence(&LABELS[..], 0..3);
    (prop::sample::select(&NAMES[..]), prop::sample::select(&KEYS[..]), forks, labels).prop_map(
        |(name, key, forks, labels)| {
            let forks: Vec<(&str, u16)> = forks.into_iter().collect();
            let document = records::sandbox(name, key, &forks);
            labels
                .into_iter()
                .fold(document, |document, (key, value)| records::labelled(document, key, value))
        },
    )
}

fn route_group() -> impl Strategy<Value = serde_json::Value> {
    let names = prop::sample::subsequence(&NAMES[..], 1..4);
    let selector = prop::option::of(prop::sample::subsequence(&LABELS[..], 1..3));
    let conflict = prop::sample::select(&["Oldest", "Newest", "Reject"][..]);
    (prop::sample::select(&NAMES[..]), prop::sample::select(&KEYS[..]), names, selector, conflict).prop_map(
        |(name, key, names, selector, conflict)| {
            let mut document = records::group(name, key, &names, conflict);
            if let Some(labels) = selector {
                let labels: BTreeMap<&str, &str> = labels.into_iter().collect();
                document["spec"]["sandboxes"]["selector"] = json!({ "matchLabels": labels });
            }
            document
        },
    )
}

fn workload() -> impl Strategy<Value = serde_json::Value> {
    (prop::sample::select(&WORKLOADS[..]), 1..4u16).prop_map(|(name, port)| {
        let spec = json!({ "ports": { "80": [format!("127.0.0.1:{port}")] } });
        let metadata = json!({ "name": format!("shop/Deployment/{name}") });
        json!({ "kind": "Workload", "metadata": metadata, "spec": spec })
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    let document = prop_oneof![4 => sandbox(), 3 => route_group(), 1 => workload()];
    let origin = prop_oneof![3 => Just(Origin::Store), 1 => Just(Origin::File)];
    let expires = prop::option::of(1..4u64);
    let record = (document, origin, 0..4u64, expires).prop_map(|(document, origin, created, expires)| {
        Record { origin, expires_unix_s: expires, ..records::stored(created, &document) }
    });
    (record, prop::bool::weighted(0.3)).prop_map(|(record, delete)| match delete {
        true => Edit::Delete { id: record.document.id(), origin: record.origin },
        false => Edit::Put(record),
    })
}

fn history() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    prop::collection::vec(prop::collection::vec(edit(), 0..5), 1..12)
}

fn note(documents: &mut Documents, edit: &Edit) {
    match edit {
        Edit::Put(record) => drop(documents.insert((record.document.id(), record.origin), record.clone())),
        Edit::Delete { id, origin } => drop(documents.remove(&(id.clone(), *origin))),
    }
}

/// A model and a catalog that have seen these documents and nothing else, in the opposite order.
fn from_scratch(documents: &Documents) -> (Model, Catalog) {
    let (mut model, mut catalog) = (Model::new(), Catalog::new());
    catalog.apply(model.apply(documents.values().rev().cloned().map(Edit::Put)));
    (model, catalog)
}

// === The rules again, as plainly as they can be written ===

fn age(record: &Record) -> (Origin, u64, Id) {
    (record.origin, record.created_unix_ms, record.document.id())
}

fn accepted(documents: &Documents) -> Vec<&Record> {
    let visible: BTreeMap<Id, &Record> =
        documents.iter().rev().map(|((id, _), record)| (id.clone(), record)).collect();
    let has_key = |record: &&Record| {
        let key = record.document.routing_key();
        let rivals = visible.values().filter(|other| other.document.routing_key() == key);
        key.is_none() || rivals.map(|other| age(other)).min() == Some(age(record))
    };
    visible.values().copied().filter(has_key).collect()
}

fn rules(documents: &Documents) -> Rules {
    let accepted = accepted(documents);
    let mut rules = Rules::new();
    for record in &accepted {
        let (members, conflict) = match &record.document {
            Document::Workload(_) => continue,
            Document::Sandbox(_) => (vec![*record], ConflictRule::Oldest),
            Document::RouteGroup(group) => {
                let is_member = |other: &&&Record| match &other.document {
                    Document::Sandbox(sandbox) => {
                        let selected = group.match_labels.iter().all(|label| sandbox.labels.contains(label));
                        group.names.contains(&sandbox.name) || (selected && !group.match_labels.is_empty())
                    }
                    _ => false,
                };
                (accepted.iter().filter(is_member).copied().collect(), group.conflict)
            }
        };
        let mut forks: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for member in members {
            let Document::Sandbox(sandbox) = &member.document else { panic!() };
            for fork in &sandbox.forks {
                let port = fork.ports[0].1[0].addr.port();
                let ends = [member.expires_unix_s, record.expires_unix_s].into_iter().flatten().min();
                let entry = (age(member), (sandbox.name.to_string(), port, ends));
                forks.entry(fork.workload.to_string()).or_default().push(entry);
            }
        }
        for (workload, mut forks) in forks {
            forks.sort();
            let contested = forks.len() > 1;
            let (_, mut rule) = match conflict {
                ConflictRule::Newest => forks.pop().unwrap(),
                _ => forks.swap_remove(0),
            };
            if contested && conflict == ConflictRule::Reject {
                rule.1 = 0;
            }
            rules.insert((record.document.routing_key().unwrap().to_string(), workload), rule);
        }
    }
    rules
}

fn rules_of(model: &Model) -> Rules {
    let rule = |rule: spurline_core::model::Rule<'_>| {
        let port = rule.ports[0].1.first().map_or(0, |endpoint| endpoint.addr.port());
        let name = (rule.key.to_string(), rule.workload.to_string());
        (name, (rule.sandbox.to_string(), port, rule.expires_unix_s))
    };
    model.rules(&RuleFilter::default()).map(rule).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn derived_edit_by_edit_is_derived_from_scratch(history in history()) {
        let (mut model, mut catalog, mut documents) = (Model::new(), Catalog::new(), Documents::new());
        for edits in history {
            edits.iter().for_each(|edit| note(&mut documents, edit));
            catalog.apply(model.apply(edits));
            let (fresh, fresh_catalog) = from_scratch(&documents);
            prop_assert_eq!(catalog.snapshot(), fresh_catalog.snapshot());
            for (id, _) in documents.keys() {
                prop_assert_eq!(model.status(id), fresh.status(id));
                prop_assert_eq!(model.resources_of(id), fresh.resources_of(id));
            }
        }
    }

    #[test]
    fn what_is_derived_is_what_the_rules_say(history in history()) {
        let (mut model, mut catalog, mut documents) = (Model::new(), Catalog::new(), Documents::new());
        for edit in history.into_iter().flatten() {
            note(&mut documents, &edit);
            catalog.apply(model.apply([edit]));
            let expected = rules(&documents);
            prop_assert_eq!(&rules_of(&model), &expected);
            let named: BTreeSet<String> = expected.into_keys().map(|(key, workload)| format!("{workload}/{key}")).collect();
            let entries = catalog.list(ResourceType::Override, &Pattern::All, None);
            prop_assert_eq!(entries.map(|entry| entry.name().to_owned()).collect::<BTreeSet<_>>(), named);
            let keys = accepted(&documents).iter().filter(|record| record.document.routing_key().is_some()).count();
            prop_assert_eq!(catalog.len(ResourceType::KeyOwner), keys);
        }
    }

    #[test]
    fn what_a_document_gives_is_what_goes_with_it(history in history()) {
        let (mut model, mut catalog) = (Model::new(), Catalog::new());
        catalog.apply(model.apply(history.into_iter().flatten()));
        let ids: Vec<Id> = Kind::ALL.into_iter().flat_map(|kind| model.list(kind)).map(|r| r.document.id()).collect();
        let mut named = BTreeSet::new();
        for id in &ids {
            let names = model.resources_of(id);
            prop_assert_eq!(names.len(), model.status(id).unwrap().resources);
            named.extend(names);
        }
        prop_assert_eq!(named, catalog.snapshot().0.into_keys().collect::<BTreeSet<_>>());
        for id in ids {
            let origins = [Origin::File, Origin::Store];
            catalog.apply(model.apply(origins.map(|origin| Edit::Delete { id: id.clone(), origin })));
        }
        prop_assert_eq!(catalog.snapshot(), Snapshot::default());
    }

    #[test]
    fn a_difference_makes_the_old_snapshot_the_new_one_and_holds_nothing_else(history in history()) {
        let (mut model, mut catalog) = (Model::new(), Catalog::new());
        for edits in history {
            let old = catalog.snapshot();
            catalog.apply(model.apply(edits));
            let new = catalog.snapshot();
            let difference = diff(&old, &new);
            for (name, resource) in &difference.changed {
                prop_assert_ne!(old.0.get(name), Some(resource));
            }
            prop_assert!(difference.removed.iter().all(|name| old.0.contains_key(name)));
            let mut applied = old;
            applied.apply(&difference);
            prop_assert_eq!(applied, new);
        }
    }
}
