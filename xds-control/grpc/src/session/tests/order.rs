//! In what order a client hears of keys and of their overrides.

use super::*;

const OWNER1: (ResourceType, &str) = (KEY_OWNER, "1");
const OWNER2: (ResourceType, &str) = (KEY_OWNER, "2");

/// What a response tells, and whether it completes the update.
fn told(response: &DeltaDiscoveryResponse) -> (ResourceType, Vec<String>, Vec<String>, bool) {
    let ty = ResourceType::from_type_url(&response.type_url).expect("a type of ours");
    let (changed, removed) = names(response.clone());
    (ty, changed, removed, !response.system_version_info.is_empty())
}

fn expected(
    ty: ResourceType,
    changed: &[&str],
    removed: &[&str],
    complete: bool,
) -> (ResourceType, Vec<String>, Vec<String>, bool) {
    let (changed, removed) = only(changed, removed);
    (ty, changed, removed, complete)
}

/// A client that follows everything and has it.
fn follower(resources: &[(ResourceType, &str)]) -> Peer {
    follower_with(LIMITS, resources)
}

fn follower_with(limits: Limits, resources: &[(ResourceType, &str)]) -> Peer {
    let mut peer = Peer::with(limits, resources);
    peer.subscribe(OVERRIDE, &["*"]);
    peer.subscribe(KEY_OWNER, &["*"]);
    while let Some(response) = peer.hears() {
        peer.acknowledge(&response);
    }
    peer
}

/// One change of the catalog; nobody is woken.
fn apply(peer: &mut Peer, changes: &[(ResourceType, &str, Option<&str>)]) {
    peer.catalog.apply(changes.iter().map(|(ty, name, body)| change(*ty, name, *body)));
}

fn wake(peer: &mut Peer) {
    peer.session.wake(OVERRIDE);
    peer.session.wake(KEY_OWNER);
}

fn version(peer: &Peer, (ty, name): (ResourceType, &str)) -> (String, String) {
    (name.to_owned(), peer.catalog.get(ty, name).expect("it is there").version().to_owned())
}

#[test]
fn a_key_is_not_told_before_its_overrides() {
    let mut peer = Peer::new(&[]);
    peer.subscribe(OVERRIDE, &["*"]);
    peer.subscribe(KEY_OWNER, &["*"]);
    let first = peer.response();
    peer.takes();
    peer.put(KEY_OWNER, "1", "1");
    peer.put(OVERRIDE, "a/D/x/1", "1");
    assert_eq!(peer.hears(), None, "the overrides wait for the answer, and the key for them");
    peer.acknowledge(&first);
    assert_eq!(names(peer.response()), only(&["a/D/x/1"], &[]));
    assert_eq!(names(peer.response()), only(&["1"], &[]));
}

#[test]
fn a_key_goes_before_its_overrides_and_once() {
    let mut peer = follower(&[X1, X2, OWNER1, OWNER2]);
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
    wake(&mut peer);
    let (first, second) = (peer.response(), peer.response());
    assert_eq!(told(&first), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&second), expected(OVERRIDE, &[], &["a/D/x/1"], true));
    peer.acknowledge(&second);
    peer.acknowledge(&first);
    assert_eq!(peer.hears(), None);
    // It counts for both types.
    let revision = peer.catalog.revision();
    for ty in [OVERRIDE, KEY_OWNER] {
        assert!(peer.effects.contains(&Effect::Acknowledged(ty, revision)), "{ty:?}");
    }
}

#[test]
fn in_one_burst_the_old_key_goes_first_and_the_new_one_comes_last() {
    let mut peer = follower(&[X1, OWNER1]);
    let burst = [
        (OVERRIDE, "a/D/x/1", None),
        (OVERRIDE, "a/D/x/2", Some("1")),
        (KEY_OWNER, "1", None),
        (KEY_OWNER, "2", Some("1")),
    ];
    apply(&mut peer, &burst);
    wake(&mut peer);
    let (first, second) = (peer.response(), peer.response());
    assert_eq!(told(&first), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&second), expected(OVERRIDE, &["a/D/x/2"], &["a/D/x/1"], true));
    peer.acknowledge(&second);
    assert_eq!(peer.hears(), None, "one unanswered response of a type");
    peer.acknowledge(&first);
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &["2"], &[], true));
}

#[test]
fn overrides_stay_while_their_key_waits_to_go() {
    let mut peer = follower(&[X1, OWNER1]);
    peer.put(KEY_OWNER, "2", "1");
    let under_way = peer.response();
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
    wake(&mut peer);
    assert_eq!(peer.hears(), None, "the key waits for an answer, and the override for the key");
    assert_eq!(peer.session.deadline(), Some(peer.now + LIMITS.answer_timeout));
    peer.acknowledge(&under_way);
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&peer.response()), expected(OVERRIDE, &[], &["a/D/x/1"], true));
}

#[test]
fn what_waits_for_another_type_is_not_looked_at_again_and_again() {
    let mut peer = follower(&[X1, OWNER1]);
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", Some("2"))]);
    wake(&mut peer);
    peer.response();
    peer.now += LIMITS.answer_timeout / 2;
    peer.subscribe(KEY_OWNER, &["*"]);
    peer.response();
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
    wake(&mut peer);
    // The first is given up, and what follows it waits for the second.
    peer.now += LIMITS.answer_timeout / 2;
    assert_eq!(peer.hears(), None);
    assert_eq!(peer.session.deadline(), Some(peer.now + LIMITS.answer_timeout / 2));
    peer.now += LIMITS.answer_timeout / 2;
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&peer.response()), expected(OVERRIDE, &[], &["a/D/x/1"], true));
}

#[test]
fn overrides_do_not_wait_for_ever_for_an_answer_about_keys() {
    let mut peer = follower(&[X1, OWNER1]);
    peer.put(KEY_OWNER, "2", "1");
    peer.response();
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
    wake(&mut peer);
    assert_eq!(peer.hears(), None);
    peer.now += LIMITS.answer_timeout;
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&peer.response()), expected(OVERRIDE, &[], &["a/D/x/1"], true));
}

#[test]
fn a_key_goes_before_the_next_piece_of_a_long_update() {
    let names: Vec<String> = (10..60).map(|at| format!("a/D/x/{at}")).collect();
    let mut peer = follower_with(Limits { response_bytes_max: 1000, ..LIMITS }, &[X1, OWNER1]);
    for name in &names {
        apply(&mut peer, &[(OVERRIDE, name, Some("1"))]);
    }
    wake(&mut peer);
    let piece = peer.response();
    assert!(piece.system_version_info.is_empty() && piece.resources.len() < 50);
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
    peer.acknowledge(&piece);
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&peer.response()).0, OVERRIDE);
}

#[test]
fn many_keys_go_in_pieces_before_any_override_does() {
    let keys: Vec<String> = (10..60).map(|key| format!("{key}")).collect();
    let mut peer = follower_with(Limits { response_bytes_max: 100, ..LIMITS }, &[]);
    for key in &keys {
        apply(&mut peer, &[(OVERRIDE, &format!("a/D/x/{key}"), Some("1")), (KEY_OWNER, key, Some("1"))]);
    }
    wake(&mut peer);
    while let Some(response) = peer.hears() {
        peer.acknowledge(&response);
    }
    for key in &keys {
        apply(&mut peer, &[(OVERRIDE, &format!("a/D/x/{key}"), None), (KEY_OWNER, key, None)]);
    }
    wake(&mut peer);
    let mut gone = Vec::new();
    while let Some(response) = peer.hears() {
        peer.acknowledge(&response);
        let (ty, _, removed, _) = told(&response);
        match ty {
            KEY_OWNER => gone.extend(removed),
            _ => assert_eq!(gone, keys, "all keys are gone, each told once"),
        }
    }
    assert_eq!(gone, keys);
}

#[test]
fn who_comes_back_hears_of_gone_keys_first_and_of_new_ones_last() {
    let mut peer = Peer::new(&[X2, OWNER2]);
    let gone = ("a/D/x/1".to_owned(), "old".to_owned());
    peer.say(DeltaDiscoveryRequest {
        initial_resource_versions: [gone].into(),
        ..asks(OVERRIDE, &["a/D/x/*"], &[])
    });
    assert_eq!(peer.hears(), None, "the keys that it has are not known yet");
    assert_eq!(peer.session.deadline(), Some(peer.now + KEY_OWNERS_WAIT));
    peer.say(DeltaDiscoveryRequest {
        initial_resource_versions: [("1".to_owned(), "old".to_owned())].into(),
        ..asks(KEY_OWNER, &["*"], &[])
    });
    let first = peer.response();
    assert_eq!(told(&first), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&peer.response()), expected(OVERRIDE, &["a/D/x/2"], &["a/D/x/1"], true));
    assert_eq!(peer.hears(), None);
    peer.acknowledge(&first);
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &["2"], &[], true));
}

#[test]
fn who_comes_back_and_never_asks_for_keys_is_answered_all_the_same() {
    let mut peer = Peer::new(&[X1]);
    let same = version(&peer, X1);
    peer.say(DeltaDiscoveryRequest {
        initial_resource_versions: [same].into(),
        ..asks(OVERRIDE, &["a/D/x/*"], &[])
    });
    assert_eq!(peer.hears(), None);
    peer.now += KEY_OWNERS_WAIT;
    assert_eq!(told(&peer.response()), expected(OVERRIDE, &[], &[], true));
    assert_eq!(peer.session.deadline(), None);
}

#[test]
fn a_change_that_nobody_was_woken_for_is_told_of_no_type_or_of_both() {
    let mut peer = follower(&[X1, OWNER1]);
    // Seen by chance, because something else has to be told.
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
    assert_eq!(peer.hears(), None);
    peer.put(OVERRIDE, "a/D/x/2", "1");
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &[], &["1"], false));
    assert_eq!(told(&peer.response()), expected(OVERRIDE, &["a/D/x/2"], &["a/D/x/1"], true));

    let mut peer = follower(&[]);
    apply(&mut peer, &[(KEY_OWNER, "1", Some("1")), (OVERRIDE, "a/D/x/1", Some("1"))]);
    peer.put(KEY_OWNER, "2", "1");
    assert_eq!(told(&peer.response()), expected(OVERRIDE, &["a/D/x/1"], &[], true));
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &["1", "2"], &[], true));
}

#[test]
fn a_key_that_went_and_came_back_goes_again() {
    let mut peer = follower(&[X1, OWNER1]);
    for _ in 0..3 {
        apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
        wake(&mut peer);
        let responses = [peer.response(), peer.response()];
        assert_eq!(told(&responses[0]), expected(KEY_OWNER, &[], &["1"], false));
        apply(&mut peer, &[(OVERRIDE, "a/D/x/1", Some("2")), (KEY_OWNER, "1", Some("2"))]);
        wake(&mut peer);
        for response in &responses {
            peer.acknowledge(response);
        }
        let responses = [peer.response(), peer.response()];
        assert_eq!(told(&responses[0]), expected(OVERRIDE, &["a/D/x/1"], &[], true));
        assert_eq!(told(&responses[1]), expected(KEY_OWNER, &["1"], &[], true));
        for response in &responses {
            peer.acknowledge(response);
        }
    }
}

#[test]
fn removals_of_keys_that_were_rejected_as_a_whole_are_told_again() {
    let mut peer = follower(&[X1, OWNER1]);
    apply(&mut peer, &[(OVERRIDE, "a/D/x/1", None), (KEY_OWNER, "1", None)]);
    wake(&mut peer);
    let first = peer.response();
    peer.takes();
    peer.say(rejection(KEY_OWNER, &first.nonce, &[]));
    assert_eq!(told(&peer.response()), expected(KEY_OWNER, &[], &["1"], true));
}
