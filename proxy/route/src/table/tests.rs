use std::collections::HashSet as Set;

use proptest::prelude::*;

use super::*;
use crate::select::{BaselineReason, Query, RejectReason, Selection, select};

fn key(text: &str) -> RoutingKey {
    text.parse().unwrap()
}

fn cart() -> Workload {
    "shop/Deployment/cart".parse().unwrap()
}

fn at(port: u16) -> Arc<[Endpoint]> {
    Arc::new([Endpoint { addr: ([127, 0, 0, 1], port).into() }])
}

fn fork(name: &str, ports: Ports) -> Override {
    Override { fork: name.into(), sandbox: "alice".into(), on_unavailable: OnUnavailable::Reject, ports }
}

#[test]
fn an_exact_port_wins_over_any_whatever_the_order() {
    let mut builder = RouteTableBuilder::new(1);
    builder.add_workload(&cart(), PortMatch::Any, at(1)).unwrap();
    builder.add_workload(&cart(), 8080, at(2)).unwrap();
    let table = builder.build().unwrap();
    assert_eq!(table.baseline(&cart(), 8080), Some(&at(2)));
    assert_eq!(table.baseline(&cart(), 9090), Some(&at(1)));
    assert_eq!(table.baseline(&"shop/Deployment/web".parse().unwrap(), 8080), None);
}

#[test]
fn one_key_cannot_belong_to_two_sandboxes_nor_one_sandbox_have_two_keys() {
    let mut builder = RouteTableBuilder::new(1);
    builder.add_sandbox("alice", key("k1")).unwrap();
    let error = builder.add_sandbox("bob", key("k1")).unwrap_err();
    assert_eq!(error.to_string(), "routing key k1 belongs to sandbox alice and to sandbox bob");
    let error = builder.add_sandbox("alice", key("k2")).unwrap_err();
    assert_eq!(error.to_string(), "sandbox alice has routing key k1 and routing key k2");
    builder.add_sandbox("bob", key("k2")).unwrap();
}

#[test]
fn a_workload_and_a_key_have_one_fork() {
    let mut builder = RouteTableBuilder::new(1);
    builder.add_override(&cart(), key("k1"), fork("one", vec![])).unwrap();
    let error = builder.add_override(&cart(), key("k1"), fork("two", vec![])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shop/Deployment/cart with routing key k1 goes to fork one and to fork two"
    );
}

#[test]
fn a_port_is_mapped_once() {
    let mut builder = RouteTableBuilder::new(1);
    let twice = vec![(PortMatch::Any, at(1)), (80.into(), at(2)), (PortMatch::Any, at(3))];
    let error = builder.add_override(&cart(), key("k1"), fork("one", twice)).unwrap_err();
    assert_eq!(error.to_string(), "one maps port * twice");
    builder.add_workload(&cart(), 80, at(1)).unwrap();
    let error = builder.add_workload(&cart(), 80, at(1)).unwrap_err();
    assert_eq!(error.to_string(), "shop/Deployment/cart maps port 80 twice");
}

#[test]
fn an_override_needs_a_sandbox_which_may_be_added_later() {
    let mut builder = RouteTableBuilder::new(1);
    builder.add_override(&cart(), key("k1"), fork("one", vec![])).unwrap();
    let errors = builder.dangling();
    let text = "fork one of shop/Deployment/cart is for routing key k1, which belongs to no sandbox";
    assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    builder.add_sandbox("alice", key("k1")).unwrap();
    let table = builder.build().unwrap();
    assert_eq!((table.len(), table.is_empty(), table.generation()), (1, false, 1));
    assert_eq!(table.owner(&key("k1")).map(AsRef::as_ref), Some("alice"));
    assert_eq!(table.overrides().count(), 1);
}

#[test]
fn an_override_does_not_make_its_key_known() {
    let mut builder = RouteTableBuilder::new(1);
    builder.put_override(&cart(), key("k1"), fork("one", vec![])).unwrap();
    let table = builder.finish();
    assert!(!table.knows(&key("k1")) && table.owner(&key("k1")).is_none());

    let mut builder = RouteTableBuilder::from_table(&table, 2);
    builder.put_owner(key("k1"), "team");
    builder.put_owner(key("k2"), "team");
    let table = builder.finish();
    assert_eq!(table.owner(&key("k1")).map(AsRef::as_ref), Some("team"));
    assert_eq!(table.owners().count(), 2);

    let mut builder = RouteTableBuilder::from_table(&table, 3);
    assert!(builder.remove_owner(&key("k1")) && builder.remove_owner(&key("k2")));
    assert!(!builder.remove_owner(&key("k1")));
    let table = builder.finish();
    assert!(!table.knows(&key("k1")) && !table.knows(&key("k2")));
    assert_eq!(table.len(), 1, "overrides do not need a known key");
}

#[test]
fn a_derived_table_leaves_the_one_before_alone_and_shares_what_no_edit_touched() {
    let web: Workload = "shop/Deployment/web".parse().unwrap();
    let mut builder = RouteTableBuilder::new(1);
    builder.put_override(&cart(), key("k1"), fork("one", vec![])).unwrap();
    builder.put_override(&web, key("k1"), fork("two", vec![])).unwrap();
    let before = builder.finish();

    let mut builder = RouteTableBuilder::from_table(&before, 2);
    builder.put_override(&cart(), key("k1"), fork("three", vec![])).unwrap();
    let twice = vec![(PortMatch::Any, at(1)), (PortMatch::Any, at(3))];
    builder.put_override(&cart(), key("k1"), fork("four", twice)).unwrap_err();
    builder.put_baseline(&web, vec![(PortMatch::Any, at(9))]).unwrap();
    let after = builder.finish();

    let fork_of = |table: &RouteTable, workload| table.find(workload, &key("k1")).unwrap().fork.to_string();
    assert_eq!((fork_of(&before, &cart()), fork_of(&after, &cart())), ("one".into(), "three".into()));
    assert_eq!((before.baseline(&web, 80), after.baseline(&web, 80)), (None, Some(&at(9))));
    let rule = |table: &RouteTable| std::ptr::from_ref(table.find(&web, &key("k1")).unwrap());
    assert_eq!(rule(&before), rule(&after));
    assert_eq!((before.len(), after.len()), (2, 2));

    let mut builder = RouteTableBuilder::from_table(&after, 3);
    builder.remove_baseline(&web);
    builder.remove_override(&web, &key("k1"));
    assert_eq!(builder.finish().baseline(&web, 80), None);
}

#[test]
fn the_empty_table_knows_nobody() {
    let table = RouteTable::empty();
    assert!(table.is_empty() && !table.knows(&key("k1")) && table.find(&cart(), &key("k1")).is_none());
}

const WORKLOADS: [&str; 2] = ["shop/Deployment/cart", "shop/Deployment/web"];
const KEYS: [&str; 3] = ["k1", "k2", "k3"];

/// What is said of one key: that it has an owner, or that it forks one of the workloads; or that either is gone.
#[derive(Clone, Copy, Debug)]
struct Said {
    key: usize,
    workload: Option<usize>,
    gone: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let workload = proptest::option::of(0..WORKLOADS.len());
    (0..KEYS.len(), workload, any::<bool>()).prop_map(|(key, workload, gone)| Said { key, workload, gone })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_strict_request_gets_its_fork_or_the_baseline_of_a_known_key_whatever_was_said_before(
        history in proptest::collection::vec(said(), 0..20)
    ) {
        let workloads = WORKLOADS.map(|name| name.parse::<Workload>().unwrap());
        let (mut table, mut now) = (RouteTable::empty(), Set::new());
        for Said { key: at, workload, gone } in history {
            let mut builder = RouteTableBuilder::from_table(&table, table.generation() + 1);
            match (workload, gone) {
                (None, false) => builder.put_owner(key(KEYS[at]), "alice"),
                (None, true) => prop_assert_eq!(builder.remove_owner(&key(KEYS[at])), now.contains(&(at, None))),
                (Some(of), false) => {
                    let ports = vec![(PortMatch::Any, self::at(1))];
                    builder.put_override(&workloads[of], key(KEYS[at]), fork("one", ports)).unwrap();
                }
                (Some(of), true) => {
                    let was_there = builder.remove_override(&workloads[of], &key(KEYS[at]));
                    prop_assert_eq!(was_there, now.contains(&(at, workload)));
                }
            }
            if gone { now.remove(&(at, workload)) } else { now.insert((at, workload)) };
            table = builder.finish();
            for (at, text) in KEYS.into_iter().enumerate() {
                let (key, known) = (key(text), now.contains(&(at, None)));
                prop_assert_eq!((table.knows(&key), table.owner(&key).is_some()), (known, known));
                for (of, workload) in workloads.iter().enumerate() {
                    let query = Query { workload, port: 80, key: Some(&key), strict: true };
                    match (select(&table, &query), now.contains(&(at, Some(of)))) {
                        (Selection::Override(..), true) => {}
                        (Selection::Baseline(BaselineReason::NotForked), false) => prop_assert!(known),
                        (Selection::Reject(RejectReason::UnknownKey), false) => prop_assert!(!known),
                        (other, _) => prop_assert!(false, "{other:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_table_that_is_read_as_a_whole_knows_the_key_of_every_override(
        all in proptest::collection::vec(said(), 0..8)
    ) {
        let mut builder = RouteTableBuilder::new(1);
        for (name, Said { key: at, workload, .. }) in all.iter().enumerate() {
            // What contradicts what was said before is left out.
            let _ = match workload {
                None => builder.add_sandbox(name.to_string(), key(KEYS[*at])),
                Some(of) => builder.add_override(&WORKLOADS[*of].parse().unwrap(), key(KEYS[*at]), fork("one", vec![])),
            };
        }
        let stated = |at: usize| all.iter().any(|said| said.key == at && said.workload.is_none());
        let dangling = all.iter().any(|said| said.workload.is_some() && !stated(said.key));
        match builder.build() {
            Ok(table) => prop_assert!(!dangling && table.overrides().all(|(_, key, _)| table.knows(key))),
            Err(_) => prop_assert!(dangling),
        }
    }
}
