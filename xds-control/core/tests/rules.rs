//! The rules by which documents that contradict each other are settled, as the documentation tells them.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]

#[path = "fixture/records.rs"]
mod records;

use prost::Message;
use records::{delete, filed, group, labelled, sandbox, stored};
use serde_json::json;
use spurline_api::{envoy::service::discovery::v3::Resource, spurline::routing::v1::KeyOwner};
use spurline_core::{
    catalog::{Catalog, ResourceType},
    document::{Id, Kind, MEMBERS_MAX},
    model::{Conflict, Edit, Model, Origin, RuleFilter},
};

fn model(records: impl IntoIterator<Item = spurline_core::model::Record>) -> Model {
    let mut model = Model::new();
    let _ = model.apply(records.into_iter().map(Edit::Put));
    model
}

/// Every rule as `key workload -> sandbox port`, where the port is `refused` when there is none.
fn rules(model: &Model) -> Vec<String> {
    let filter = RuleFilter::default();
    let rule = |rule: spurline_core::model::Rule<'_>| {
        let port = rule.ports[0].1.first().map_or_else(|| "refused".into(), |e| e.addr.port().to_string());
        format!("{} {} -> {} {port}", rule.key, rule.workload.name(), rule.sandbox)
    };
    model.rules(&filter).map(rule).collect()
}

fn accepted(model: &Model, kind: Kind, name: &str) -> bool {
    model.status(&Id::new(kind, name)).unwrap().accepted
}

#[test]
fn each_key_and_workload_give_one_override_and_each_key_one_owner() {
    let workload = json!({
        "kind": "Workload",
        "metadata": { "name": "shop/Deployment/cart" },
        "spec": { "ports": { "8080": ["127.0.0.1:80"] } },
    });
    let mut catalog = Catalog::new();
    let mut model = Model::new();
    let alice = sandbox("alice", "ka", &[("cart", 1), ("web", 2)]);
    let both = group("both", "kg", &["alice"], "Oldest");
    let records = [stored(1, &alice), stored(2, &both), stored(3, &workload)];
    catalog.apply(model.apply(records.map(Edit::Put)));
    let names = |ty| -> Vec<String> {
        catalog.list(ty, &spurline_core::catalog::Pattern::All, None).map(|e| e.name().to_owned()).collect()
    };
    assert_eq!(
        names(ResourceType::Override),
        [
            "shop/Deployment/cart/ka",
            "shop/Deployment/cart/kg",
            "shop/Deployment/web/ka",
            "shop/Deployment/web/kg"
        ]
    );
    assert_eq!(names(ResourceType::KeyOwner), ["ka", "kg"]);
    assert_eq!(names(ResourceType::Baseline), ["shop/Deployment/cart"]);
    for (id, count) in [
        (Id::new(Kind::Sandbox, "alice"), 3),
        (Id::new(Kind::RouteGroup, "both"), 3),
        (Id::new(Kind::Workload, "shop/Deployment/cart"), 1),
    ] {
        let resources = model.resources_of(&id);
        assert_eq!((resources.len(), model.status(&id).unwrap().resources), (count, count), "{id}");
        assert!(resources.iter().all(|name| catalog.get(name.ty, &name.name).is_some()), "{id}");
    }
}

#[test]
fn of_two_documents_with_one_key_the_older_has_it() {
    let (a, b) = (sandbox("a", "k", &[("cart", 1)]), sandbox("b", "k", &[("cart", 2)]));
    let team = group("a-group", "k", &["c"], "Oldest");
    for (records, winner) in [
        ([stored(1, &a), stored(2, &b)], Id::new(Kind::Sandbox, "a")),
        ([stored(2, &a), stored(1, &b)], Id::new(Kind::Sandbox, "b")),
        // Of the same age: by name.
        ([stored(1, &b), stored(1, &a)], Id::new(Kind::Sandbox, "a")),
        // A file counts as oldest.
        ([stored(1, &a), filed(&b)], Id::new(Kind::Sandbox, "b")),
        // Of the same age: a sandbox before a route group, whatever their names.
        ([stored(1, &team), stored(1, &b)], Id::new(Kind::Sandbox, "b")),
        ([stored(1, &team), stored(2, &b)], Id::new(Kind::RouteGroup, "a-group")),
    ] {
        let ids = [records[0].document.id(), records[1].document.id()];
        let model = model(records);
        let loser = ids.iter().find(|id| **id != winner).unwrap();
        assert!(model.status(&winner).unwrap().accepted, "{winner}");
        let status = model.status(loser).unwrap();
        assert!(!status.accepted);
        assert_eq!(status.conflicts[0], Conflict::Key { with: winner });
        assert_eq!((status.resources, model.resources_of(loser).len()), (0, 0));
    }
}

#[test]
fn when_the_owner_of_a_key_goes_the_next_oldest_takes_over() {
    let named = |name: &str, port| sandbox(name, "k", &[("cart", port)]);
    let mut model = model([stored(1, &named("a", 1)), stored(2, &named("b", 2)), stored(3, &named("c", 3))]);
    assert_eq!(rules(&model), ["k cart -> a 1"]);
    let _ = model.apply([delete(Kind::Sandbox, "a", Origin::Store)]);
    assert_eq!(rules(&model), ["k cart -> b 2"]);
    // Another key is as good as going.
    let _ = model.apply([Edit::Put(stored(2, &sandbox("b", "other", &[("cart", 2)])))]);
    assert_eq!(rules(&model), ["k cart -> c 3", "other cart -> b 2"]);
    // Who was first and comes back with its age is first again.
    let _ = model.apply([Edit::Put(stored(1, &named("a", 1)))]);
    assert_eq!(rules(&model), ["k cart -> a 1", "other cart -> b 2"]);
}

#[test]
fn in_a_group_its_conflict_rule_decides_whose_fork_counts() {
    for (conflict, rule, winner) in [
        ("Oldest", "kg cart -> young-name 2", Some("young-name")),
        ("Newest", "kg cart -> a 1", Some("a")),
        ("Reject", "kg cart -> young-name refused", None),
    ] {
        let model = model([
            stored(5, &sandbox("a", "ka", &[("cart", 1), ("web", 3)])),
            stored(4, &sandbox("young-name", "kb", &[("cart", 2)])),
            stored(9, &group("both", "kg", &["a", "young-name"], conflict)),
        ]);
        let all = rules(&model);
        let of_group: Vec<&String> = all.iter().filter(|rule| rule.starts_with("kg")).collect();
        assert_eq!(of_group, [rule, "kg web -> a 3"], "{conflict}");
        let status = model.status(&Id::new(Kind::RouteGroup, "both")).unwrap();
        assert!(status.accepted);
        assert_eq!(
            status.conflicts,
            [Conflict::Fork {
                workload: "shop/Deployment/cart".parse().unwrap(),
                between: vec!["young-name".into(), "a".into()],
                between_unlisted: 0,
                winner: winner.map(Into::into),
            }]
        );
        assert_eq!(status.members, ["young-name".into(), "a".into()]);
    }
}

#[test]
fn a_sandbox_that_is_not_accepted_is_no_member() {
    let mut model = model([
        stored(1, &sandbox("a", "k", &[("cart", 1)])),
        stored(2, &sandbox("b", "k", &[("web", 2)])),
        stored(3, &group("g", "kg", &["a", "b", "nobody"], "Oldest")),
    ]);
    assert!(!accepted(&model, Kind::Sandbox, "b"));
    assert_eq!(rules(&model), ["k cart -> a 1", "kg cart -> a 1"]);
    let status = model.status(&Id::new(Kind::RouteGroup, "g")).unwrap();
    assert_eq!(
        status.conflicts,
        [Conflict::NoMember { name: "b".into() }, Conflict::NoMember { name: "nobody".into() }]
    );
    let _ = model.apply([delete(Kind::Sandbox, "a", Origin::Store)]);
    assert_eq!(rules(&model), ["k web -> b 2", "kg web -> b 2"]);
}

#[test]
fn a_group_has_those_it_names_and_those_that_have_all_labels_it_selects() {
    let mut selecting = group("g", "kg", &["named"], "Oldest");
    selecting["spec"]["sandboxes"]["selector"] = json!({ "matchLabels": { "team": "x", "tier": "1" } });
    let plain = |name: &str| sandbox(name, &format!("k-{name}"), &[]);
    let team = |name: &str| labelled(plain(name), "team", "x");
    let mut model = model([
        stored(1, &plain("named")),
        stored(2, &team("half")),
        stored(3, &labelled(team("whole"), "tier", "1")),
        stored(4, &selecting),
        stored(5, &labelled(team("late"), "tier", "1")),
    ]);
    let members = |model: &Model| model.status(&Id::new(Kind::RouteGroup, "g")).unwrap().members;
    assert_eq!(members(&model), ["named".into(), "whole".into(), "late".into()]);
    let _ = model.apply([Edit::Put(stored(3, &plain("whole")))]);
    assert_eq!(members(&model), ["named".into(), "late".into()]);
}

#[test]
fn of_too_many_members_the_oldest_count_and_the_next_moves_up() {
    let mut all = group("g", "kg", &["nobody"], "Oldest");
    all["spec"]["sandboxes"] = json!({ "selector": { "matchLabels": { "team": "x" } } });
    // The youngest come first, so that members are pushed out again.
    let named = |index: usize| {
        let document = sandbox(&format!("s{index}"), &format!("k{index}"), &[(&format!("w{index}"), 1)]);
        stored(index as u64, &labelled(document, "team", "x"))
    };
    let extra = 2;
    let sandboxes: Vec<_> = (0..MEMBERS_MAX + extra).rev().map(named).collect();
    let id = Id::new(Kind::RouteGroup, "g");
    let group_last = model(sandboxes.clone().into_iter().chain([stored(1, &all)]));
    let mut group_first = model(std::iter::once(stored(1, &all)).chain(sandboxes));
    assert_eq!(group_last.status(&id), group_first.status(&id));
    assert_eq!(rules(&group_last), rules(&group_first));
    let status = group_first.status(&id).unwrap();
    assert_eq!(status.conflicts, [Conflict::TooManyMembers { left_out: extra }]);
    assert_eq!((status.members.len(), status.resources), (MEMBERS_MAX, MEMBERS_MAX + 1));
    let _ = group_first.apply([delete(Kind::Sandbox, "s0", Origin::Store)]);
    let status = group_first.status(&id).unwrap();
    assert_eq!(status.members.last().unwrap().as_ref(), format!("s{MEMBERS_MAX}"));
    assert_eq!(status.conflicts, [Conflict::TooManyMembers { left_out: extra - 1 }]);
}

#[test]
fn a_file_hides_what_is_stored_under_the_same_name() {
    let (file, store) = (sandbox("a", "kf", &[("cart", 1)]), sandbox("a", "ks", &[("cart", 2)]));
    let mut model = model([stored(1, &store), filed(&file)]);
    assert_eq!(rules(&model), ["kf cart -> a 1"]);
    let id = Id::new(Kind::Sandbox, "a");
    assert_eq!(model.get(&id).unwrap().origin, Origin::File);
    assert_eq!(model.list(Kind::Sandbox).count(), 1);
    // What is hidden may change without effect.
    let store = sandbox("a", "ks", &[("cart", 3)]);
    let _ = model.apply([Edit::Put(stored(1, &store))]);
    assert_eq!(rules(&model), ["kf cart -> a 1"]);
    let _ = model.apply([delete(Kind::Sandbox, "a", Origin::File)]);
    assert_eq!(rules(&model), ["ks cart -> a 3"]);
    let _ = model.apply([delete(Kind::Sandbox, "a", Origin::Store)]);
    assert!(model.get(&id).is_none());
}

#[test]
fn a_members_fork_ends_with_the_group_or_the_member_whichever_is_first() {
    for (member, group_, both) in [
        (Some(5), Some(3), Some(3)),
        (Some(2), Some(3), Some(2)),
        (None, Some(3), Some(3)),
        (None, None, None),
    ] {
        let mut a = stored(1, &sandbox("a", "ka", &[("cart", 1)]));
        let mut g = stored(2, &group("g", "kg", &["a"], "Oldest"));
        (a.expires_unix_s, g.expires_unix_s) = (member, group_);
        let model = model([a, g]);
        let filter = RuleFilter::default();
        let ends: Vec<_> = model.rules(&filter).map(|rule| rule.expires_unix_s).collect();
        assert_eq!(ends, [member, both]);
    }
}

#[test]
fn a_key_ends_with_the_document_that_has_it_and_not_with_a_member() {
    let mut a = stored(1, &sandbox("a", "ka", &[("cart", 1)]));
    let mut g = stored(2, &group("g", "kg", &["a", "b"], "Oldest"));
    (a.expires_unix_s, g.expires_unix_s) = (Some(5), Some(9));
    let b = stored(3, &sandbox("b", "kb", &[("cart", 1)]));
    let mut model = Model::new();
    let mut catalog = Catalog::new();
    let end = |catalog: &Catalog, key: &str| {
        let entry = catalog.get(ResourceType::KeyOwner, key).unwrap();
        let resource = Resource::decode(entry.resource().clone()).unwrap();
        KeyOwner::decode(resource.resource.unwrap().value).unwrap().expires_unix_s
    };
    catalog.apply(model.apply([&a, &g, &b].map(|record| Edit::Put(record.clone()))));
    assert_eq!(["ka", "kg", "kb"].map(|key| end(&catalog, key)), [5, 9, 0]);
    // Another end is another version, and who takes over has an end of its own.
    a.expires_unix_s = Some(6);
    catalog.apply(model.apply([Edit::Put(a)]));
    assert_eq!(end(&catalog, "ka"), 6);
    let heir = stored(7, &sandbox("heir", "ka", &[]));
    catalog.apply(model.apply([Edit::Put(heir), delete(Kind::Sandbox, "a", Origin::Store)]));
    assert_eq!(end(&catalog, "ka"), 0);
}

#[test]
fn rules_are_filtered_by_every_field_that_is_set() {
    let model = model([
        stored(1, &sandbox("a", "ka", &[("cart", 1), ("web", 2)])),
        stored(2, &sandbox("b", "kb", &[("cart", 3)])),
        stored(3, &group("g", "kg", &["a", "b"], "Oldest")),
    ]);
    let count = |filter: RuleFilter| model.rules(&filter).count();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(RuleFilter::default()), 5);
    assert_eq!(count(RuleFilter { routing_key: Some("kg".parse().unwrap()), ..Default::default() }), 2);
    assert_eq!(count(RuleFilter { sandbox: text("a"), ..Default::default() }), 4);
    assert_eq!(count(RuleFilter { sandbox: text("b"), ..Default::default() }), 1);
    assert_eq!(count(RuleFilter { name: text("cart"), ..Default::default() }), 3);
    assert_eq!(count(RuleFilter { namespace: text("shop"), kind: text("Pod"), ..Default::default() }), 0);
    let cart = RuleFilter {
        namespace: text("shop"),
        kind: text("Deployment"),
        name: text("cart"),
        ..RuleFilter::default()
    };
    assert_eq!(count(cart.clone()), 3);
    assert_eq!(count(RuleFilter { sandbox: text("b"), ..cart }), 1);
}

#[test]
fn one_edit_touches_only_what_it_affects() {
    let many = (0..500).map(|index| {
        let name = format!("s{index}");
        stored(index, &sandbox(&name, &format!("k{index}"), &[("cart", 1), ("web", 2)]))
    });
    let mut model = model(many);
    let changes = model.apply([Edit::Put(stored(7, &sandbox("s7", "k7", &[("cart", 9)])))]);
    let mut names: Vec<&str> = changes.iter().map(|change| change.name.name.as_ref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["k7", "shop/Deployment/cart/k7", "shop/Deployment/web/k7"]);
}
