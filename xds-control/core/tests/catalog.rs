//! Versions, the change log and listings, over random histories.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use spurline_api::envoy::service::discovery::v3::Resource;
use spurline_core::{
    catalog::{
        Catalog, LOG_LEN_MAX, PATTERN_LEN_MAX, Pattern, PatternError, ResourceName, ResourceType, Revision,
        Truncated,
    },
    model::Change,
};
use xxhash_rust::xxh3::xxh3_64;

const TY: ResourceType = ResourceType::Override;
const PATTERNS: [&str; 5] = [
    "*",
    "shop/Deployment/cart/*",
    "shop/Deployment/car/*",
    "shop/Deployment/cart/k1",
    "shop/Deployment/none/*",
];

/// What a receiver has: versions by name.
type Held = BTreeMap<String, String>;

fn name(workload: &str, key: usize) -> String {
    format!("shop/Deployment/{workload}/k{key}")
}

fn change(name: &str, body: Option<&str>) -> Change {
    let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes()));
    Change { name: ResourceName { ty: TY, name: name.into() }, body }
}

fn held(catalog: &Catalog, pattern: &Pattern) -> Held {
    catalog.list(TY, pattern, None).map(|entry| (entry.name().into(), entry.version().into())).collect()
}

/// Few names and bodies, so that resources come, change, change back and go.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let name =
        (prop::sample::select(&["cart", "car", "web"][..]), 0..4usize).prop_map(|(w, key)| name(w, key));
    let body = prop_oneof![1 => Just(None), 2 => prop::sample::select(&["one", "two"][..]).prop_map(Some)];
    prop::collection::vec((name, body).prop_map(|(name, body)| change(&name, body)), 0..6)
}

fn history() -> impl Strategy<Value = Vec<Vec<Change>>> {
    prop::collection::vec(changes(), 1..12)
}

#[test]
fn an_entry_is_the_encoded_resource_with_the_hash_of_its_body() {
    let mut catalog = Catalog::new();
    catalog.apply([change(&name("cart", 1), Some("body")), change(&name("cart", 2), Some(""))]);
    for (key, body) in [(1, "body"), (2, "")] {
        let entry = catalog.get(TY, &name("cart", key)).unwrap();
        let resource = Resource::decode(entry.resource().clone()).unwrap();
        let any = resource.resource.unwrap();
        assert_eq!((any.type_url.as_str(), any.value), (TY.type_url(), Bytes::from(body)));
        assert_eq!(resource.version, format!("{:016x}", xxh3_64(body.as_bytes())));
        assert_eq!((entry.version(), entry.name()), (resource.version.as_str(), resource.name.as_str()));
        assert_eq!(entry.name(), name("cart", key));
    }
}

#[test]
fn types_and_their_urls_are_one_to_one() {
    for ty in ResourceType::ALL {
        assert_eq!(ResourceType::from_type_url(ty.type_url()), Some(ty));
    }
    assert_eq!(ResourceType::from_type_url("type.googleapis.com/envoy.config.cluster.v3.Cluster"), None);
}

#[test]
fn a_subscription_names_all_one_workload_or_one_resource() {
    for (text, pattern) in [
        ("*", Ok(Pattern::All)),
        ("shop/Deployment/cart/*", Ok(Pattern::Prefix("shop/Deployment/cart/".into()))),
        ("shop/Deployment/cart/k1", Ok(Pattern::Exact("shop/Deployment/cart/k1".into()))),
        ("k1", Ok(Pattern::Exact("k1".into()))),
        ("", Err(PatternError::Grammar)),
        ("a b", Err(PatternError::Grammar)),
        ("**", Err(PatternError::Grammar)),
        ("*/a", Err(PatternError::Grammar)),
        ("shop/*", Err(PatternError::Prefix)),
        ("shop/Deployment/car*", Err(PatternError::Prefix)),
        ("/*", Err(PatternError::Prefix)),
        (&"k".repeat(PATTERN_LEN_MAX + 1), Err(PatternError::TooLong)),
    ] {
        assert_eq!(Pattern::parse(text), pattern, "{text:?}");
        if let Ok(pattern) = pattern {
            assert_eq!(pattern.to_string(), text);
        }
    }
}

#[test]
fn what_is_put_again_unchanged_is_no_change() {
    let mut catalog = Catalog::new();
    let first = catalog.apply([change("k", Some("one"))]);
    assert_eq!(catalog.apply([change("k", Some("one")), change("gone", None)]), first);
    assert!(catalog.apply([change("k", Some("two"))]) > first);
}

#[test]
fn the_log_is_bounded_and_counts_each_resource_once() {
    let mut catalog = Catalog::with_log_len_max(8);
    let start = catalog.apply([change(&name("cart", 0), Some("one"))]);
    let count = |catalog: &Catalog, pattern: &str, since| {
        let pattern = Pattern::parse(pattern).unwrap();
        let changes = catalog.changes(TY, &pattern, since, usize::MAX)?;
        Ok::<_, Truncated>((changes.changed.len(), changes.removed.len()))
    };
    // One resource that changes for ever pushes nobody out.
    for turn in 0..100 {
        catalog.apply([change(&name("web", 0), Some(&turn.to_string()))]);
    }
    assert_eq!(count(&catalog, "*", start), Ok((1, 0)));
    assert_eq!(count(&catalog, "*", Revision(0)), Ok((2, 0)));
    // Many that come and go push out what is older, and only those who need it learn of it.
    for key in 0..20 {
        catalog.apply([change(&name("web", key), Some("x")), change(&name("web", key), None)]);
    }
    assert_eq!(count(&catalog, "*", start), Err(Truncated));
    assert_eq!(count(&catalog, "shop/Deployment/web/*", start), Err(Truncated));
    assert_eq!(count(&catalog, "shop/Deployment/cart/*", start), Ok((0, 0)));
    assert_eq!(count(&catalog, "shop/Deployment/cart/*", Revision(0)), Err(Truncated));
}

#[test]
fn a_resource_that_is_asked_for_by_name_needs_no_log_while_it_is_there() {
    let mut catalog = Catalog::with_log_len_max(1);
    let start = catalog.apply([change("k1", Some("one"))]);
    catalog.apply([change("k1", Some("two")), change("k2", Some("one")), change("k3", Some("one"))]);
    let changes = catalog.changes(TY, &Pattern::Exact("k1".into()), start, usize::MAX).unwrap();
    assert_eq!(changes.changed.len(), 1);
    assert_eq!(catalog.changes(TY, &Pattern::Exact("k4".into()), start, usize::MAX).unwrap_err(), Truncated);
}

/// All changes since a revision, in pieces, each name at most once in all of them together.
fn collect(
    catalog: &Catalog,
    pattern: &Pattern,
    since: Revision,
    bytes_max: usize,
) -> Result<(Held, BTreeSet<String>), Truncated> {
    let (mut changed, mut removed, mut since) = (Held::new(), BTreeSet::new(), since);
    loop {
        let changes = catalog.changes(TY, pattern, since, bytes_max)?;
        for entry in &changes.changed {
            assert!(entry.revision() > since && entry.revision() <= changes.upto);
            assert_eq!(changed.insert(entry.name().into(), entry.version().into()), None);
        }
        assert!(changes.changed.iter().map(|entry| entry.revision()).is_sorted());
        assert!(changes.removed.iter().all(|name| removed.insert(name.to_string())));
        if changes.complete {
            assert_eq!(changes.upto, catalog.revision());
            assert!(changed.keys().all(|name| !removed.contains(name)));
            return Ok((changed, removed));
        }
        assert!(changes.upto > since, "it goes on");
        since = changes.upto;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changes_since_any_revision_lead_from_what_was_to_what_is(
        history in history(),
        log_len_max in prop_oneof![Just(LOG_LEN_MAX), 0..12usize],
        bytes_max in prop_oneof![Just(usize::MAX), 0..400usize],
    ) {
        let patterns = PATTERNS.map(|text| Pattern::parse(text).unwrap());
        let mut catalog = Catalog::with_log_len_max(log_len_max);
        let mut past: Vec<(Revision, Vec<Held>)> = Vec::new();
        for changes in history {
            past.push((catalog.revision(), patterns.iter().map(|pattern| held(&catalog, pattern)).collect()));
            catalog.apply(changes);
        }
        for (since, then) in past {
            for (pattern, mut then) in patterns.iter().zip(then) {
                let now = held(&catalog, pattern);
                let Ok((changed, removed)) = collect(&catalog, pattern, since, bytes_max) else {
                    prop_assert!(log_len_max < LOG_LEN_MAX, "a long log is never truncated");
                    continue;
                };
                // Nothing but what changed after that revision, and at least what differs.
                for name in changed.keys() {
                    prop_assert!(catalog.get(TY, name).unwrap().revision() > since && pattern.matches(name));
                }
                prop_assert!(removed.iter().all(|name| pattern.matches(name) && !now.contains_key(name)));
                then.extend(changed);
                then.retain(|name, _| !removed.contains(name));
                prop_assert_eq!(then, now);
            }
        }
    }

    #[test]
    fn versions_depend_on_the_content_and_not_on_the_way_to_it(one in history(), other in history()) {
        let (mut a, mut b) = (Catalog::new(), Catalog::new());
        a.apply(one.into_iter().flatten());
        b.apply(other.into_iter().flatten());
        let wanted = a.snapshot();
        let missing: Vec<Change> =
            b.snapshot().0.into_keys().map(|name| Change { name, body: None }).collect();
        b.apply(missing);
        for (name, resource) in &wanted.0 {
            let body = Resource::decode(resource.clone()).unwrap().resource.unwrap().value;
            b.apply([Change { name: name.clone(), body: Some(body) }]);
        }
        prop_assert_eq!(b.snapshot(), wanted);
    }

    #[test]
    fn a_listing_in_chunks_neither_loses_nor_repeats(
        before in history(),
        between in prop::collection::vec(changes(), 0..20),
        chunk in 1..4usize,
        pattern in prop::sample::select(&PATTERNS[..]),
    ) {
        let pattern = Pattern::parse(pattern).unwrap();
        let mut catalog = Catalog::new();
        catalog.apply(before.into_iter().flatten());
        let upto = catalog.revision();
        let (mut receiver, mut sent) = (Held::new(), BTreeSet::new());
        let (mut after, mut between): (Option<String>, _) = (None, between.into_iter());
        loop {
            let entries: Vec<_> = catalog.list(TY, &pattern, after.as_deref()).take(chunk).collect();
            let Some(last) = entries.last() else { break };
            after = Some(last.name().to_owned());
            for entry in entries.into_iter().filter(|entry| entry.revision() <= upto) {
                prop_assert!(sent.insert((entry.name().to_owned(), entry.revision())), "sent once");
                receiver.insert(entry.name().into(), entry.version().into());
            }
            catalog.apply(between.next().unwrap_or_default());
        }
        let changes = catalog.changes(TY, &pattern, upto, usize::MAX).unwrap();
        for entry in changes.changed {
            prop_assert!(sent.insert((entry.name().to_owned(), entry.revision())), "sent once");
            receiver.insert(entry.name().into(), entry.version().into());
        }
        for name in changes.removed {
            receiver.remove(name.as_ref());
        }
        prop_assert_eq!(receiver, held(&catalog, &pattern));
    }
}
