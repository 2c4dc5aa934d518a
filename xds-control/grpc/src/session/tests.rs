//! The rules of incremental xDS, one test each. The numbers are those of the checklist in the design notes.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use prost::Message;
use spurline_api::{
    REJECTIONS_TYPE_URL,
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
    google::{protobuf::Any, rpc::Status},
    spurline::routing::v1::{Rejection as WireRejection, Rejections},
};
use spurline_core::{
    catalog::{Catalog, Pattern, ResourceName, ResourceType, Revision},
    model::Change,
};

use super::{Effect, KEY_OWNERS_WAIT, Limits, Refusal, Session};

mod limits;
mod order;

pub(super) const LIMITS: Limits =
    Limits { subscriptions_max: 100, response_bytes_max: 512 * 1024, answer_timeout: Duration::from_secs(5) };
const OVERRIDE: ResourceType = ResourceType::Override;
const KEY_OWNER: ResourceType = ResourceType::KeyOwner;

pub(super) fn change(ty: ResourceType, name: &str, body: Option<&str>) -> Change {
    Change {
        name: ResourceName { ty, name: name.into() },
        body: body.map(|body| Bytes::copy_from_slice(body.as_bytes())),
    }
}

pub(super) fn asks(ty: ResourceType, subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    DeltaDiscoveryRequest {
        type_url: ty.type_url().to_owned(),
        resource_names_subscribe: owned(subscribe),
        resource_names_unsubscribe: owned(unsubscribe),
        ..Default::default()
    }
}

/// As a client decodes it.
pub(super) fn decode(mut message: Bytes) -> DeltaDiscoveryResponse {
    assert_eq!(message.get_u8(), 0, "not compressed");
    assert_eq!(message.get_u32() as usize, message.len(), "the prefix is the length");
    DeltaDiscoveryResponse::decode(message).expect("a response can be decoded")
}

pub(super) fn rejection(ty: ResourceType, nonce: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    let rejections = names
        .iter()
        .map(|name| WireRejection { name: (*name).to_owned(), reason: "no".to_owned() })
        .collect();
    let detail = Any {
        type_url: REJECTIONS_TYPE_URL.to_owned(),
        value: Rejections { rejections }.encode_to_vec().into(),
    };
    let details = if names.is_empty() { Vec::new() } else { vec![detail] };
    DeltaDiscoveryRequest {
        response_nonce: nonce.to_owned(),
        error_detail: Some(Status { code: 3, message: "rejected".to_owned(), details }),
        ..asks(ty, &[], &[])
    }
}

struct Peer {
    session: Session,
    catalog: Catalog,
    now: Instant,
    effects: Vec<Effect>,
}

impl Peer {
    fn new(resources: &[(ResourceType, &str)]) -> Self {
        Self::with(LIMITS, resources)
    }

    fn with(limits: Limits, resources: &[(ResourceType, &str)]) -> Self {
        let mut catalog = Catalog::new();
        catalog.apply(resources.iter().map(|(ty, name)| change(*ty, name, Some("1"))));
        Self { session: Session::new(limits), catalog, now: Instant::now(), effects: Vec::new() }
    }

    fn put(&mut self, ty: ResourceType, name: &str, body: &str) -> Revision {
        let revision = self.catalog.apply([change(ty, name, Some(body))]);
        self.session.wake(ty);
        revision
    }

    fn remove(&mut self, ty: ResourceType, name: &str) {
        self.catalog.apply([change(ty, name, None)]);
        self.session.wake(ty);
    }

    fn say(&mut self, request: DeltaDiscoveryRequest) {
        self.session.request(request, self.now).expect("the stream goes on");
        self.effects.extend(self.session.take_effects());
    }

    fn subscribe(&mut self, ty: ResourceType, names: &[&str]) {
        self.say(asks(ty, names, &[]));
    }

    fn unsubscribe(&mut self, ty: ResourceType, names: &[&str]) {
        self.say(asks(ty, &[], names));
    }

    fn acknowledge(&mut self, response: &DeltaDiscoveryResponse) {
        let ty = ResourceType::from_type_url(&response.type_url).expect("a type of ours");
        self.say(DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..asks(ty, &[], &[]) });
    }

    fn hears(&mut self) -> Option<DeltaDiscoveryResponse> {
        let response = self.session.poll(&self.catalog, self.now).expect("the log reaches back");
        self.effects.extend(self.session.take_effects());
        if response.is_none() {
            let deadline = self.session.deadline();
            assert!(deadline.is_none_or(|deadline| deadline > self.now), "it would be polled for ever");
        }
        response.map(|response| decode(response.encode("here")))
    }

    fn response(&mut self) -> DeltaDiscoveryResponse {
        self.hears().expect("a response")
    }

    /// Hears a response, acknowledges it, and says what was in it.
    fn takes(&mut self) -> (Vec<String>, Vec<String>) {
        let response = self.response();
        self.acknowledge(&response);
        names(response)
    }

    fn acknowledged(&self) -> Option<(ResourceType, Revision)> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Acknowledged(ty, revision) => Some((*ty, *revision)),
            _ => None,
        })
    }
}

fn names(response: DeltaDiscoveryResponse) -> (Vec<String>, Vec<String>) {
    (response.resources.into_iter().map(|resource| resource.name).collect(), response.removed_resources)
}

fn only(changed: &[&str], removed: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    (owned(changed), owned(removed))
}

const X1: (ResourceType, &str) = (OVERRIDE, "a/D/x/1");
const X2: (ResourceType, &str) = (OVERRIDE, "a/D/x/2");
const Y1: (ResourceType, &str) = (OVERRIDE, "a/D/y/1");

// === Answers ===

#[test]
fn s1_only_an_error_makes_an_answer_a_rejection() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let first = peer.response();
    // Whatever else an answer holds, without an error it accepts.
    peer.say(DeltaDiscoveryRequest {
        response_nonce: first.nonce,
        initial_resource_versions: [("a/D/x/1".to_owned(), "other".to_owned())].into(),
        ..asks(OVERRIDE, &[], &[])
    });
    assert_eq!(peer.acknowledged(), Some((OVERRIDE, peer.catalog.revision())));
    assert_eq!(peer.hears(), None);
}

#[test]
fn s1_a_rejection_is_not_answered_with_the_same_again() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let first = peer.response();
    peer.say(rejection(OVERRIDE, &first.nonce, &[]));
    assert_eq!(peer.hears(), None);
    assert_eq!(peer.acknowledged(), None);
    assert!(
        peer.effects
            .iter()
            .any(|effect| matches!(effect, Effect::Rejected(OVERRIDE, all) if all.name.is_none()))
    );
}

#[test]
fn what_was_rejected_as_a_whole_is_told_again_with_the_next_change() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.put(OVERRIDE, "a/D/x/1", "2");
    let second = peer.response();
    peer.put(OVERRIDE, "a/D/x/2", "1");
    peer.say(rejection(OVERRIDE, &second.nonce, &[]));
    assert_eq!(peer.takes(), only(&["a/D/x/1", "a/D/x/2"], &[]));
    assert_eq!(peer.acknowledged(), Some((OVERRIDE, peer.catalog.revision())));
}

#[test]
fn a_listing_that_was_rejected_as_a_whole_is_listed_again_with_the_next_change() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["*"]);
    let first = peer.response();
    peer.say(rejection(OVERRIDE, &first.nonce, &[]));
    peer.put(OVERRIDE, "a/D/y/1", "1");
    assert_eq!(peer.takes(), only(&["a/D/x/1", "a/D/y/1"], &[]));
}

#[test]
fn s21_what_is_rejected_by_name_is_all_that_was_not_taken() {
    let mut peer = Peer::new(&[X1, X2]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let first = peer.response();
    peer.say(rejection(OVERRIDE, &first.nonce, &["a/D/x/1"]));
    let rejected: Vec<_> = peer
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Rejected(_, rejection) => rejection.name.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(rejected, ["a/D/x/1"]);
    assert_eq!(peer.acknowledged(), Some((OVERRIDE, peer.catalog.revision())));
    peer.put(OVERRIDE, "a/D/x/1", "2");
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
}

#[test]
fn s2_an_empty_nonce_is_normal_before_the_first_response() {
    let mut peer = Peer::new(&[X1, Y1]);
    peer.subscribe(OVERRIDE, &["a/D/x/1"]);
    peer.subscribe(OVERRIDE, &["a/D/y/1"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1", "a/D/y/1"], &[]));
}

#[test]
fn s4_a_subscription_beside_a_stale_nonce_counts() {
    let mut peer = Peer::new(&[X1, Y1]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let first = peer.response();
    peer.acknowledge(&first);
    peer.put(OVERRIDE, "a/D/x/1", "2");
    let second = peer.response();
    peer.say(DeltaDiscoveryRequest { response_nonce: first.nonce, ..asks(OVERRIDE, &["a/D/y/*"], &[]) });
    assert_eq!(peer.hears(), None, "the second response is not answered yet");
    peer.acknowledge(&second);
    assert_eq!(peer.takes(), only(&["a/D/y/1"], &[]));
}

#[test]
fn s5_an_acknowledgement_may_carry_subscriptions_and_their_ends() {
    let mut peer = Peer::new(&[X1, Y1]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let first = peer.response();
    peer.say(DeltaDiscoveryRequest {
        response_nonce: first.nonce,
        ..asks(OVERRIDE, &["a/D/y/*"], &["a/D/x/*"])
    });
    peer.put(OVERRIDE, "a/D/x/1", "2");
    assert_eq!(peer.takes(), only(&["a/D/y/1"], &[]));
}

// === Wildcards ===

#[test]
fn s6_a_first_request_without_names_asks_for_everything_until_the_star_is_given_up() {
    let mut peer = Peer::new(&[X1, Y1]);
    peer.subscribe(OVERRIDE, &[]);
    assert_eq!(peer.takes(), only(&["a/D/x/1", "a/D/y/1"], &[]));
    // Naming one does not end it.
    peer.subscribe(OVERRIDE, &["a/D/x/1"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.put(OVERRIDE, "a/D/y/1", "2");
    assert_eq!(peer.takes(), only(&["a/D/y/1"], &[]));
    peer.unsubscribe(OVERRIDE, &["*"]);
    peer.put(OVERRIDE, "a/D/x/1", "2");
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.put(OVERRIDE, "a/D/y/1", "3");
    assert_eq!(peer.hears(), None);
}

#[test]
fn s6_a_later_request_without_names_asks_for_nothing() {
    let mut peer = Peer::new(&[X1, Y1]);
    peer.subscribe(OVERRIDE, &["a/D/x/1"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.subscribe(OVERRIDE, &[]);
    assert_eq!(peer.hears(), None);
}

#[test]
fn s7_a_grpc_client_never_asks_for_everything_without_saying_so() {
    let mut peer = Peer::new(&[X1]);
    let node = Node { user_agent_name: "gRPC C-core".to_owned(), ..Default::default() };
    peer.say(DeltaDiscoveryRequest { node: Some(node), ..asks(OVERRIDE, &[], &[]) });
    assert_eq!(peer.takes(), only(&[], &[]));
}

#[test]
fn subscribing_to_nothing_is_answered_with_nothing() {
    let mut peer = Peer::new(&[X1]);
    peer.say(asks(OVERRIDE, &["*"], &["*"]));
    assert_eq!(peer.takes(), only(&[], &[]));
    peer.put(OVERRIDE, "a/D/x/1", "2");
    assert_eq!(peer.hears(), None);
}

// === What is sent ===

#[test]
fn a_first_subscription_to_nothing_there_is_answered() {
    let mut peer = Peer::new(&[]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let response = peer.response();
    assert_eq!(response.system_version_info, format!("here/{}", peer.catalog.revision()));
    assert_eq!(names(response), only(&[], &[]));
}

#[test]
fn s9_what_is_subscribed_to_again_is_sent_again() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["a/D/x/1"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.subscribe(OVERRIDE, &["a/D/x/1"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.unsubscribe(OVERRIDE, &["a/D/x/1"]);
    assert_eq!(peer.hears(), None);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
}

#[test]
fn s10_s11_who_comes_back_gets_what_differs_and_what_is_gone() {
    let mut peer = Peer::new(&[X1, X2, Y1]);
    let same = peer.catalog.get(OVERRIDE, "a/D/x/1").expect("it is there").version().to_owned();
    let versions =
        [("a/D/x/1", same.as_str()), ("a/D/x/2", "old"), ("a/D/x/3", "gone"), ("a/D/z/1", "other")];
    peer.say(DeltaDiscoveryRequest {
        initial_resource_versions: versions
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into(),
        ..asks(OVERRIDE, &["a/D/x/*", "a/D/y/1", "a/D/z/1"], &[])
    });
    peer.now += KEY_OWNERS_WAIT;
    assert_eq!(peer.takes(), only(&["a/D/x/2", "a/D/y/1"], &["a/D/x/3", "a/D/z/1"]));
    assert_eq!(peer.hears(), None);
}

#[test]
fn s11_who_comes_back_to_everything_hears_of_later_changes() {
    let mut peer = Peer::new(&[X1]);
    let same = peer.catalog.get(OVERRIDE, "a/D/x/1").expect("it is there").version().to_owned();
    peer.say(DeltaDiscoveryRequest {
        initial_resource_versions: [("a/D/x/1".to_owned(), same)].into(),
        ..asks(OVERRIDE, &[], &[])
    });
    peer.now += KEY_OWNERS_WAIT;
    assert_eq!(peer.takes(), only(&[], &[]));
    peer.put(OVERRIDE, "a/D/y/1", "1");
    assert_eq!(peer.takes(), only(&["a/D/y/1"], &[]));
}

#[test]
fn s12_a_name_that_does_not_exist_is_removed_at_once_and_sent_when_it_is_born() {
    let mut peer = Peer::new(&[]);
    peer.subscribe(OVERRIDE, &["a/D/x/1"]);
    assert_eq!(peer.takes(), only(&[], &["a/D/x/1"]));
    peer.put(OVERRIDE, "a/D/x/1", "1");
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.remove(OVERRIDE, "a/D/x/1");
    assert_eq!(peer.takes(), only(&[], &["a/D/x/1"]));
}

#[test]
fn s13_a_name_that_is_given_up_under_a_wildcard_is_answered() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["*", "a/D/x/1", "a/D/x/9"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &["a/D/x/9"]));
    peer.unsubscribe(OVERRIDE, &["a/D/x/1", "a/D/x/9"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &["a/D/x/9"]));
}

#[test]
fn s14_no_name_is_twice_in_a_response() {
    let mut peer = Peer::new(&[X1, X2]);
    peer.subscribe(OVERRIDE, &["a/D/x/1", "a/D/x/*", "*", "a/D/x/1"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1", "a/D/x/2"], &[]));
    peer.put(OVERRIDE, "a/D/x/1", "2");
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    assert_eq!(peer.hears(), None);
}

#[test]
fn s15_what_did_not_change_is_not_sent_again() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["*"]);
    assert_eq!(peer.takes(), only(&["a/D/x/1"], &[]));
    peer.put(OVERRIDE, "a/D/x/1", "1");
    assert_eq!(peer.hears(), None);
}

#[test]
fn s16_only_the_first_message_says_who_it_is() {
    let mut peer = Peer::new(&[]);
    let node = |id: &str| Some(Node { id: id.to_owned(), ..Default::default() });
    peer.say(DeltaDiscoveryRequest { node: node("one"), ..asks(OVERRIDE, &["*"], &[]) });
    peer.say(DeltaDiscoveryRequest { node: node("two"), ..asks(KEY_OWNER, &["*"], &[]) });
    peer.say(asks(KEY_OWNER, &["*"], &[]));
    let described: Vec<_> =
        peer.effects.iter().filter(|effect| matches!(effect, Effect::Describe(_))).collect();
    assert_eq!(described, [&Effect::Describe(Node { id: "one".to_owned(), ..Default::default() })]);
}

#[test]
fn s19_what_was_given_up_meanwhile_is_not_sent() {
    let mut peer = Peer::new(&[X1, Y1]);
    peer.subscribe(OVERRIDE, &["a/D/x/*", "a/D/y/*"]);
    let first = peer.response();
    peer.put(OVERRIDE, "a/D/x/1", "2");
    peer.put(OVERRIDE, "a/D/y/1", "2");
    peer.unsubscribe(OVERRIDE, &["a/D/x/*"]);
    peer.acknowledge(&first);
    assert_eq!(peer.takes(), only(&["a/D/y/1"], &[]));
}

#[test]
fn s20_a_large_answer_comes_in_pieces_that_miss_and_repeat_nothing_while_it_changes() {
    let names: Vec<String> = (0..100).map(|at| format!("a/D/x/{at:03}")).collect();
    let resources: Vec<_> = names.iter().map(|name| (OVERRIDE, name.as_str())).collect();
    let mut peer = Peer::with(Limits { response_bytes_max: 1000, ..LIMITS }, &resources);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let first = peer.response();
    assert!(first.encoded_len() < 2000 && first.resources.len() < 100, "{} bytes", first.encoded_len());
    assert_eq!(first.system_version_info, "", "more of the update follows");
    // Behind and ahead of the piece, each new, changed and gone.
    peer.put(OVERRIDE, "a/D/x/000", "2");
    peer.remove(OVERRIDE, "a/D/x/001");
    peer.put(OVERRIDE, "a/D/x/000a", "1");
    peer.put(OVERRIDE, "a/D/x/097", "2");
    peer.remove(OVERRIDE, "a/D/x/098");
    peer.put(OVERRIDE, "a/D/x/100", "1");
    peer.acknowledge(&first);
    assert_eq!(peer.acknowledged(), None);
    let mut sent: Vec<String> = Vec::new();
    let mut removed: Vec<String> = Vec::new();
    let last = loop {
        let response = peer.response();
        peer.acknowledge(&response);
        sent.extend(response.resources.iter().map(|resource| resource.name.clone()));
        removed.extend(response.removed_resources.iter().cloned());
        if !response.system_version_info.is_empty() {
            break response;
        }
    };
    assert_eq!(last.system_version_info, format!("here/{}", peer.catalog.revision()));
    assert_eq!(peer.acknowledged(), Some((OVERRIDE, peer.catalog.revision())));
    removed.sort();
    assert_eq!(removed, ["a/D/x/001", "a/D/x/098"]);
    let firsts: Vec<String> = first.resources.into_iter().map(|resource| resource.name).collect();
    let mut expected: Vec<String> = names.iter().filter(|name| !firsts.contains(name)).cloned().collect();
    expected.extend(["a/D/x/000", "a/D/x/000a", "a/D/x/100"].map(str::to_owned));
    expected.retain(|name| name != "a/D/x/098");
    expected.sort();
    sent.sort();
    assert_eq!(sent, expected);
}

// === Pace ===

#[test]
fn changes_behind_an_unanswered_response_come_together_after_it() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["*"]);
    let first = peer.response();
    for body in ["2", "3", "4"] {
        peer.put(OVERRIDE, "a/D/x/1", body);
        assert_eq!(peer.hears(), None);
    }
    peer.put(OVERRIDE, "a/D/y/1", "1");
    peer.remove(OVERRIDE, "a/D/y/1");
    peer.acknowledge(&first);
    let (changed, _) = peer.takes();
    assert_eq!(changed, ["a/D/x/1"]);
    assert_eq!(peer.hears(), None);
}

#[test]
fn a_response_that_is_never_answered_counts_as_lost() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["*"]);
    let first = peer.response();
    peer.put(OVERRIDE, "a/D/x/1", "2");
    assert_eq!(peer.session.deadline(), Some(peer.now + LIMITS.answer_timeout));
    peer.now += LIMITS.answer_timeout;
    let second = peer.response();
    peer.acknowledge(&first);
    assert_eq!(peer.acknowledged(), None, "the second is still out");
    peer.acknowledge(&second);
    assert_eq!(peer.acknowledged(), Some((OVERRIDE, peer.catalog.revision())));
    assert_eq!(peer.session.deadline(), None);
}

#[test]
fn types_do_not_wait_for_each_other_to_be_answered() {
    let mut peer = Peer::new(&[X1, (KEY_OWNER, "1")]);
    peer.subscribe(KEY_OWNER, &["*"]);
    peer.subscribe(OVERRIDE, &["*"]);
    assert_eq!(names(peer.response()), only(&["a/D/x/1"], &[]));
    assert_eq!(names(peer.response()), only(&["1"], &[]));
}

#[test]
fn what_goes_while_a_subscription_is_renewed_does_not_stay_with_the_client() {
    let mut peer = Peer::new(&[X1]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    let under_way = peer.response();
    peer.remove(OVERRIDE, "a/D/x/1");
    // The client has not seen the response yet; it will arrive after the new subscription was made.
    peer.unsubscribe(OVERRIDE, &["a/D/x/*"]);
    peer.subscribe(OVERRIDE, &["a/D/x/*"]);
    peer.acknowledge(&under_way);
    assert_eq!(peer.takes(), only(&[], &["a/D/x/1"]));
}
