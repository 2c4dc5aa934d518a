//! Lists that are read in pieces: each piece goes on where the one before ended, whatever is there by then.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]

#[path = "fixture/records.rs"]
mod records;

use std::time::{Duration, Instant};

use records::{delete, filed, group, labelled, sandbox, stored};
use spurline_core::{
    document::{Id, Kind},
    model::{Edit, Model, Origin, RuleFilter},
};
use spurline_route::{RoutingKey, Workload};

fn model(count: usize) -> Model {
    let names: Vec<String> = (0..count).map(|number| format!("s{number:05}")).collect();
    let sandboxes = names.iter().enumerate().map(|(number, name)| {
        let both = [("cart", 1), ("stock", 2)];
        let forks = if number % 2 == 0 { &both[..] } else { &both[..1] };
        stored(1, &labelled(sandbox(name, &format!("key-{name}"), forks), "team", "checkout"))
    });
    let members: Vec<&str> = names.iter().map(String::as_str).take(20).collect();
    let all = sandboxes.chain([stored(1, &group("all", "key-s00003-all", &members, "Newest"))]);
    let mut model = Model::new();
    let _ = model.apply(all.map(Edit::Put).collect::<Vec<_>>());
    model
}

#[test]
fn a_list_goes_on_after_any_name() {
    let model = model(9);
    let all: Vec<Id> = model.list(Kind::Sandbox).map(|record| record.document.id()).collect();
    assert_eq!(all.len(), 9);
    for name in ["", "a", "s00000", "s00003", "s00003x", "s00008", "t"] {
        let after = Id::new(Kind::Sandbox, name);
        let rest: Vec<Id> = model.list_after(&after).map(|record| record.document.id()).collect();
        let wanted: Vec<Id> = all.iter().filter(|id| **id > after).cloned().collect();
        assert_eq!(rest, wanted, "{name}");
    }
}

#[test]
fn rules_go_on_after_any_key_and_workload() {
    let model = model(9);
    let one = |key: &str| RuleFilter {
        routing_key: RoutingKey::parse(key.as_bytes()).ok(),
        ..RuleFilter::default()
    };
    let filters = [
        RuleFilter::default(),
        one("key-s00002"),
        one("key-s00003-all"),
        one("nobody"),
        RuleFilter { sandbox: Some("s00004".into()), ..RuleFilter::default() },
        RuleFilter { name: Some("stock".into()), ..RuleFilter::default() },
        RuleFilter {
            namespace: Some("shop".into()),
            kind: Some("Deployment".into()),
            name: Some("stock".into()),
            ..RuleFilter::default()
        },
    ];
    let places = ["a", "key-s00002", "key-s00003", "key-s00003-all", "key-s00008", "z"]
        .into_iter()
        .flat_map(|key| ["aaa", "cart", "dog", "stock", "zzz"].map(|workload| (key, workload)));
    let places: Vec<(RoutingKey, Workload)> = places
        .map(|(key, workload)| {
            let workload = Workload::parse(&format!("shop/Deployment/{workload}")).unwrap();
            (RoutingKey::parse(key.as_bytes()).unwrap(), workload)
        })
        .collect();
    for filter in &filters {
        let all: Vec<(RoutingKey, Workload)> =
            model.rules(filter).map(|rule| (rule.key, rule.workload.clone())).collect();
        assert!(all.is_sorted(), "{filter:?}");
        for (key, workload) in &places {
            let rest: Vec<_> = model
                .rules_after(filter, Some((*key, workload)))
                .map(|rule| (rule.key, rule.workload.clone()))
                .collect();
            let wanted: Vec<_> = all.iter().filter(|(k, w)| (k, w) > (key, workload)).cloned().collect();
            assert_eq!(rest, wanted, "{filter:?} after {key} {workload}");
        }
    }
}

#[test]
fn the_owner_of_a_key_is_told_before_there_is_another() {
    let mut model = Model::new();
    let _ = model.apply([
        Edit::Put(stored(10, &sandbox("b", "k", &[]))),
        Edit::Put(stored(20, &sandbox("c", "k", &[]))),
    ]);
    let key = RoutingKey::parse(b"k").unwrap();
    let older = |model: &Model, name: &str, origin, created_unix_ms| {
        let id = Id::new(Kind::Sandbox, name);
        model.older_owner(&key, &id, (origin, created_unix_ms)).map(|id| id.name.to_string())
    };
    assert_eq!(older(&model, "a", Origin::Store, 30).as_deref(), Some("b"));
    assert_eq!(older(&model, "a", Origin::Store, 10), None, "of the same age the name decides");
    assert_eq!(older(&model, "a", Origin::Store, 9), None);
    assert_eq!(older(&model, "a", Origin::File, 30), None);
    assert_eq!(older(&model, "b", Origin::Store, 10), None, "nobody is older than itself");
    assert_eq!(older(&model, "b", Origin::Store, 30).as_deref(), Some("c"));
    let _ = model.apply([Edit::Put(filed(&sandbox("z", "k", &[])))]);
    assert_eq!(older(&model, "a", Origin::Store, 1).as_deref(), Some("z"));
    let _ = model.apply([delete(Kind::Sandbox, "z", Origin::File)]);
    assert_eq!(older(&model, "a", Origin::Store, 1), None);
}

#[test]
fn a_page_costs_no_more_at_the_end_than_at_the_start() {
    let model = model(20_000);
    let workload = Workload::parse("shop/Deployment/cart").unwrap();
    let filter = RuleFilter::default();
    let time = |name: &str| {
        let (id, key) =
            (Id::new(Kind::Sandbox, name), RoutingKey::parse(format!("key-{name}").as_bytes()).unwrap());
        let once = || {
            let began = Instant::now();
            assert_eq!(model.list_after(&id).take(5).count(), 5);
            assert_eq!(model.rules_after(&filter, Some((key, &workload))).take(5).count(), 5);
            began.elapsed()
        };
        (0..50).map(|_| once()).min().unwrap()
    };
    let (first, last) = (time("s00000"), time("s19990"));
    // From the first it would be a thousand times as much.
    assert!(last < first * 20 + Duration::from_micros(20), "{first:?} {last:?}");
}
