//! Client and server, each with its own idea of what there is: when both are quiet, the ideas are the same.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/resources.rs"]
mod resources;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use resources::{CART, key_owner, rule, scope};
use spurline_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use spurline_route::RouteTable;
use spurline_xds::{Node, ResourceType, mirror::Mirror, session::Session, snapshot};

const NOW: u64 = 1_800_000_000;
const TYPES: [ResourceType; 2] = [ResourceType::KeyOwner, ResourceType::Override];

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// The server gets or changes a resource; version 13 of anything is wrong.
    Put(ResourceType, u8, u16),
    Remove(ResourceType, u8),
    /// The server sends some of what the client does not have.
    Push(ResourceType, usize),
    /// The client reads a response.
    Deliver,
    /// The stream breaks: what is under way is lost, and nothing is known of what was read.
    Break,
    /// The client starts anew from its snapshot.
    Restart,
}

const WRONG: u16 = 13;

fn name(ty: ResourceType, at: u8) -> String {
    if ty == ResourceType::Override { format!("{CART}/k{at}") } else { format!("k{at}") }
}

fn make(ty: ResourceType, at: u8, version: u16) -> Resource {
    let key = format!("k{at}");
    let mut resource = match ty {
        ResourceType::Override => rule(&key, version + 1, None),
        _ => key_owner(&key, &format!("s{version}")),
    };
    if version == WRONG {
        resource.resource.as_mut().unwrap().value = vec![0xff; 3].into();
        resource.version = "wrong".to_owned();
    }
    resource
}

/// A server that follows the protocol, per stream: what it believes the client to have.
#[derive(Default)]
struct Server {
    world: BTreeMap<(ResourceType, String), Resource>,
    /// Name to version; what was sent counts as had, until it is rejected.
    had: BTreeMap<(ResourceType, String), String>,
    under_way: VecDeque<DeltaDiscoveryResponse>,
    nonce: u64,
}

impl Server {
    fn open(&mut self, requests: &[DeltaDiscoveryRequest]) {
        self.had.clear();
        self.under_way.clear();
        for request in requests {
            let ty = ResourceType::from_type_url(&request.type_url).unwrap();
            for (name, version) in &request.initial_resource_versions {
                self.had.insert((ty, name.clone()), version.clone());
            }
        }
    }

    /// Sends up to `max` differences; returns whether there was any.
    fn push(&mut self, ty: ResourceType, max: usize) -> bool {
        let of_type = |(of, _): &&(ResourceType, String)| *of == ty;
        let differs = |(name, resource): &(&(ResourceType, String), &Resource)| {
            name.0 == ty && self.had.get(*name) != Some(&resource.version)
        };
        let changed: Vec<_> = self.world.iter().filter(differs).take(max).map(|(_, r)| r.clone()).collect();
        let gone = self.had.keys().filter(of_type).filter(|name| !self.world.contains_key(*name));
        let gone: Vec<_> = gone.take(max).map(|(_, name)| name.clone()).collect();
        if changed.is_empty() && gone.is_empty() {
            return false;
        }
        for resource in &changed {
            self.had.insert((ty, resource.name.clone()), resource.version.clone());
        }
        for name in &gone {
            self.had.remove(&(ty, name.clone()));
        }
        self.nonce += 1;
        let mut response = resources::response(ty, &self.nonce.to_string(), changed);
        response.removed_resources = gone;
        self.under_way.push_back(response);
        true
    }
}

struct Client {
    mirror: Mirror,
    session: Session,
}

impl Client {
    fn new() -> Self {
        let mirror = Mirror::new(scope(), Arc::new(RouteTable::empty()));
        Self { mirror, session: Session::new(Node::default(), &scope()) }
    }

    fn receive(&mut self, response: &DeltaDiscoveryResponse) {
        let mut batch = self.mirror.batch(NOW);
        let answer = self.session.receive(response.clone(), &mut batch).unwrap();
        batch.finish();
        assert_eq!(answer.request.response_nonce, response.nonce);
        let wrong = response.resources.iter().filter(|resource| resource.version == "wrong").count();
        assert_eq!(answer.rejected.len(), wrong);
    }

    fn restart(&mut self) {
        let bytes = snapshot::encode(self.mirror.known(), &scope(), NOW);
        let read = snapshot::decode(&bytes, &scope(), NOW, Duration::from_secs(1)).unwrap();
        *self = Self::new();
        let mut batch = self.mirror.batch(NOW);
        for (ty, record) in &read.records {
            batch.restore(*ty, record).unwrap();
        }
        batch.finish();
    }

    /// Name to version of everything known.
    fn known(&self) -> BTreeMap<(ResourceType, String), String> {
        let of = |ty| self.mirror.known().iter(ty).map(move |record| ((ty, record.name()), record.version()));
        let all = ResourceType::ALL.into_iter().flat_map(of);
        all.map(|((ty, name), version)| ((ty, name.to_owned()), version.to_owned())).collect()
    }

    /// The table is what is known, and nothing else.
    fn check_table(&self) {
        let table = self.mirror.table();
        let keys: BTreeSet<_> = table.overrides().map(|(_, key, _)| key.to_string()).collect();
        let known = self.mirror.known().iter(ResourceType::Override);
        let expected: BTreeSet<_> = known.map(|record| record.name()[CART.len() + 1..].to_owned()).collect();
        assert_eq!(keys, expected);
        assert_eq!(table.len(), expected.len());
        let owned = self.mirror.known().iter(ResourceType::KeyOwner);
        let owned: BTreeSet<_> = owned.map(|record| record.name().to_owned()).collect();
        let owners: BTreeSet<_> = table.owners().map(|(key, _)| key.to_string()).collect();
        assert_eq!(owners, owned);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let ty = || prop::sample::select(TYPES.to_vec());
    prop_oneof![
        6 => (ty(), 0u8..6, 10u16..16).prop_map(|(ty, at, version)| Step::Put(ty, at, version)),
        2 => (ty(), 0u8..6).prop_map(|(ty, at)| Step::Remove(ty, at)),
        4 => (ty(), 1usize..4).prop_map(|(ty, max)| Step::Push(ty, max)),
        4 => Just(Step::Deliver),
        1 => Just(Step::Break),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn after_any_history_the_client_has_what_is_good_of_the_server(steps in prop::collection::vec(step(), 0..60)) {
        let (mut server, mut client) = (Server::default(), Client::new());
        server.open(&client.session.open(client.mirror.known()));
        for step in steps {
            match step {
                Step::Put(ty, at, version) => {
                    server.world.insert((ty, name(ty, at)), make(ty, at, version));
                }
                Step::Remove(ty, at) => {
                    server.world.remove(&(ty, name(ty, at)));
                }
                Step::Push(ty, max) => {
                    server.push(ty, max);
                }
                Step::Deliver => {
                    if let Some(response) = server.under_way.pop_front() {
                        client.receive(&response);
                    }
                }
                Step::Break => server.open(&client.session.open(client.mirror.known())),
                Step::Restart => {
                    client.restart();
                    server.open(&client.session.open(client.mirror.known()));
                }
            }
            client.check_table();
        }
        while server.push(TYPES[0], 3) || server.push(TYPES[1], 3) {}
        while let Some(response) = server.under_way.pop_front() {
            client.receive(&response);
        }
        client.check_table();
        let known = client.known();
        for (name, resource) in &server.world {
            if resource.version == "wrong" {
                // What is known is what was good before, or nothing; never the wrong one.
                prop_assert_ne!(known.get(name).map(String::as_str), Some("wrong"));
            } else {
                prop_assert_eq!(known.get(name), Some(&resource.version));
            }
        }
        prop_assert!(known.keys().all(|name| server.world.contains_key(name)));
        // A new stream tells the server what is known, so that it sends what was rejected again, and only that.
        server.open(&client.session.open(client.mirror.known()));
        for ty in TYPES {
            server.push(ty, 100);
        }
        let sent = server.under_way.iter().flat_map(|response| &response.resources);
        prop_assert!(sent.clone().all(|resource| resource.version == "wrong"));
        let wrong = server.world.values().filter(|resource| resource.version == "wrong").count();
        prop_assert_eq!(sent.count(), wrong);
    }
}

#[test]
fn a_client_that_knows_too_much_to_say_is_sent_everything_and_forgets_the_rest() {
    let mut client = Client::new();
    let wide = |at: usize| {
        let mut resource = rule(&format!("{at:0>40}"), 1, None);
        resource.version = "v".repeat(200);
        resource
    };
    let all: Vec<_> = (0..9_000).map(wide).collect();
    client.receive(&resources::response(ResourceType::Override, "1", all.clone()));
    let requests = client.session.open(client.mirror.known());
    let of = |ty: ResourceType| requests.iter().find(|request| request.type_url == ty.type_url()).unwrap();
    assert!(of(ResourceType::Override).initial_resource_versions.is_empty());
    let mut half = resources::response(ResourceType::Override, "1", all[..3_000].to_vec());
    half.system_version_info = String::new();
    client.receive(&half);
    assert_eq!(client.mirror.table().len(), 9_000);
    client.receive(&resources::response(ResourceType::Override, "2", all[3_000..6_000].to_vec()));
    // Their keys may be gone too, and go first.
    assert_eq!(client.mirror.table().len(), 9_000);
    client.receive(&resources::response(ResourceType::KeyOwner, "3", vec![]));
    assert_eq!(client.mirror.table().len(), 6_000);
}

#[test]
fn a_session_is_complete_when_every_type_has_been_said_to_be() {
    let mut client = Client::new();
    client.session.open(client.mirror.known());
    assert_eq!(client.session.awaited().count(), 3);
    for ty in ResourceType::ALL {
        assert!(!client.session.is_complete());
        let mut first = resources::response(ty, "1", vec![]);
        first.system_version_info = String::new();
        client.receive(&first);
        assert!(!client.session.is_complete());
        client.receive(&resources::response(ty, "2", vec![]));
    }
    assert!(client.session.is_complete());
    let requests = client.session.open(client.mirror.known());
    assert!(!client.session.is_complete());
    assert_eq!(requests.iter().filter(|request| request.node.is_some()).count(), 1);
    assert!(requests[0].node.is_some());
}
