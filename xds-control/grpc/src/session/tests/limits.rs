//! What a client can make a session keep, and what ends its stream.

use super::*;
use crate::session::INITIAL_VERSIONS_MAX;

#[test]
fn a_type_of_others_is_not_answered_and_does_no_harm() {
    let mut peer = Peer::new(&[X1]);
    let url = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    peer.say(DeltaDiscoveryRequest { type_url: url.to_owned(), ..Default::default() });
    assert_eq!(peer.hears(), None);
    assert_eq!(peer.effects, [Effect::UnknownType(url.to_owned())]);
    peer.subscribe(OVERRIDE, &["*"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
}

#[test]
fn a_name_that_cannot_be_one_ends_the_stream_with_what_is_allowed() {
    let mut peer = Peer::new(&[]);
    let long = "x".repeat(10_000);
    for name in ["", "a b", "*/*", long.as_str()] {
        let refused = peer.session.request(asks(OVERRIDE, &[name], &[]), peer.now);
        let refusal = refused.expect_err("it is no name");
        assert!(refusal.to_string().len() < 400, "{refusal}");
    }
}

#[test]
fn a_stream_has_a_bounded_number_of_subscriptions() {
    let mut peer = Peer::new(&[]);
    let names: Vec<String> = (0..=LIMITS.subscriptions_max).map(|at| format!("a/D/x/{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = peer.session.request(asks(OVERRIDE, &names, &[]), peer.now);
    assert_eq!(refused, Err(Refusal::Subscriptions(LIMITS.subscriptions_max)));
}

#[test]
fn every_subscription_is_reported_once_and_its_end_as_well() {
    let mut peer = Peer::new(&[]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    peer.unsubscribe(OVERRIDE, &["a/D/x/*", "a/D/x/*", "never"]);
    let pattern = Pattern::Prefix("a/D/x/".into());
    assert_eq!(
        peer.effects,
        [Effect::Subscribe(OVERRIDE, pattern.clone()), Effect::Unsubscribe(OVERRIDE, pattern)]
    );
}

#[test]
fn a_message_has_a_bounded_number_of_names_and_repeating_one_costs_nothing() {
    let mut peer = Peer::new(&[X1]);
    let many = vec!["a/D/x/1"; 100_000];
    peer.subscribe(OVERRIDE, &many);
    assert_eq!(peer.effects, [Effect::Subscribe(OVERRIDE, Pattern::Exact("a/D/x/1".into()))]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    let names: Vec<String> = (0..=LIMITS.subscriptions_max).map(|at| format!("a/D/x/{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = peer.session.request(asks(OVERRIDE, &[], &names), peer.now);
    assert_eq!(refused, Err(Refusal::Subscriptions(LIMITS.subscriptions_max)));
}

#[test]
fn names_that_are_given_up_and_not_told_of_yet_are_counted() {
    let mut peer = Peer::new(&[]);
    peer.subscribe(OVERRIDE, &["*"]);
    peer.response();
    let refused = (0..=LIMITS.subscriptions_max).find_map(|at| {
        let name = format!("a/D/x/{at}");
        peer.session.request(asks(OVERRIDE, &[&name], &[&name]), peer.now).err()
    });
    assert_eq!(refused, Some(Refusal::Subscriptions(LIMITS.subscriptions_max)));
}

#[test]
fn who_has_too_much_to_say_when_it_comes_back_is_told_to_say_nothing() {
    let mut peer = Peer::new(&[]);
    let has = |count: usize| DeltaDiscoveryRequest {
        initial_resource_versions: (0..count).map(|at| (format!("a/D/x/{at}"), String::new())).collect(),
        ..asks(OVERRIDE, &["*"], &[])
    };
    let refused = peer.session.request(has(INITIAL_VERSIONS_MAX + 1), peer.now);
    assert_eq!(refused, Err(Refusal::InitialVersions));
    let mut peer = Peer::new(&[]);
    peer.say(has(INITIAL_VERSIONS_MAX));
}

#[test]
fn versions_that_come_later_are_not_kept() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["*"]);
    peer.takes();
    peer.say(DeltaDiscoveryRequest {
        initial_resource_versions: [("a/D/x/9".to_owned(), String::new())].into(),
        ..asks(OVERRIDE, &["*"], &[])
    });
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
}

#[test]
fn names_of_megabytes_are_left_out() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["*"]);
    let response = peer.response();
    let giant = "x".repeat(1 << 20);
    peer.say(rejection(OVERRIDE, &response.nonce, &[&giant]));
    let kept: Vec<_> = peer
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Rejected(_, rejection) => Some(rejection),
            _ => None,
        })
        .collect();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].name.is_none(), "it counts as one of the whole response");
}

#[test]
fn types_of_others_leave_nothing_behind() {
    let mut peer = Peer::new(&[]);
    let type_url = "t".repeat(1 << 20);
    peer.say(DeltaDiscoveryRequest { type_url, ..asks(OVERRIDE, &["x"], &[]) });
    assert!(matches!(&peer.effects[..], [Effect::UnknownType(url)] if url.len() < 1000));
    assert_eq!(peer.session.deadline(), None);
}
