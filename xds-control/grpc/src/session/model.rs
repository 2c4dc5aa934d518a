//! A session against a client that does what the protocol says, in every order that two queues and a clock allow.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::Instant,
};

use proptest::prelude::*;
use spurline_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use spurline_core::catalog::{Catalog, Pattern, ResourceType, Revision};

use super::{
    Effect, Limits, Session,
    tests::{LIMITS, asks, change, decode, rejection},
};

mod order;

const TYPES: [ResourceType; 2] = [ResourceType::Override, ResourceType::KeyOwner];
const NAMES: [&[&str]; 2] = [&["a/D/x/1", "a/D/x/2", "a/D/x/3", "a/D/y/1", "a/D/y/2"], &["1", "2", "3"]];
const PATTERNS: [&[&str]; 2] = [&["*", "a/D/x/*", "a/D/y/*", "a/D/x/1", "a/D/y/2"], &["*", "1", "2"]];
/// What no client takes.
const BAD: &str = "bad";

#[derive(Debug, Clone, Copy)]
enum Step {
    Put {
        ty: usize,
        name: usize,
        body: u8,
    },
    PutBad {
        ty: usize,
        name: usize,
    },
    Remove {
        ty: usize,
        name: usize,
    },
    Publish,
    Subscribe {
        ty: usize,
        pattern: usize,
    },
    Unsubscribe {
        ty: usize,
        pattern: usize,
    },
    /// One message arrives at the server.
    ToServer,
    /// One message arrives at the client.
    ToClient,
    /// The server sends what it can.
    Send,
    /// The last answer arrives once more.
    RepeatAnswer,
    /// An answer to nothing arrives.
    StaleAnswer {
        ty: usize,
    },
    /// Answers are given up.
    Wait,
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ty = 0..TYPES.len();
    let step = prop_oneof![
        4 => (ty.clone(), 0..5_usize, 0..3_u8).prop_map(|(ty, name, body)| Step::Put { ty, name, body }),
        1 => (ty.clone(), 0..5_usize).prop_map(|(ty, name)| Step::PutBad { ty, name }),
        2 => (ty.clone(), 0..5_usize).prop_map(|(ty, name)| Step::Remove { ty, name }),
        3 => Just(Step::Publish),
        3 => (ty.clone(), 0..5_usize).prop_map(|(ty, pattern)| Step::Subscribe { ty, pattern }),
        2 => (ty.clone(), 0..5_usize).prop_map(|(ty, pattern)| Step::Unsubscribe { ty, pattern }),
        5 => Just(Step::ToServer),
        5 => Just(Step::ToClient),
        5 => Just(Step::Send),
        1 => Just(Step::RepeatAnswer),
        1 => ty.prop_map(|ty| Step::StaleAnswer { ty }),
        1 => Just(Step::Wait),
        1 => Just(Step::Reconnect),
    ];
    proptest::collection::vec(step, 0..120)
}

/// How the client says that a response holds something bad.
#[derive(Debug, Clone, Copy)]
enum Rejects {
    ByName,
    Whole,
}

#[derive(Debug, Default)]
struct ClientType {
    has_asked: bool,
    subscriptions: BTreeSet<&'static str>,
    /// Name to version.
    resources: BTreeMap<String, String>,
}

struct World {
    limits: Limits,
    rejects: Rejects,
    now: Instant,
    catalog: Catalog,
    session: Session,
    subscribed: HashSet<(ResourceType, Pattern)>,
    unpublished: BTreeSet<(ResourceType, &'static str)>,
    client: [ClientType; 2],
    to_server: VecDeque<DeltaDiscoveryRequest>,
    to_client: VecDeque<DeltaDiscoveryResponse>,
    last_answer: Option<DeltaDiscoveryRequest>,
    /// Nonces of responses that the client has not answered, by type; emptied when they are given up.
    unanswered: [BTreeSet<String>; 2],
}

fn parse(name: &str) -> Pattern {
    Pattern::parse(name).expect("a pattern")
}

fn place(url: &str) -> usize {
    TYPES.iter().position(|ty| ty.type_url() == url).expect("a type of the model")
}

impl World {
    fn new(rejects: Rejects) -> Self {
        // Small enough that most answers come in pieces.
        let limits = Limits { response_bytes_max: 150, ..LIMITS };
        Self {
            limits,
            rejects,
            now: Instant::now(),
            catalog: Catalog::new(),
            session: Session::new(limits),
            subscribed: HashSet::new(),
            unpublished: BTreeSet::new(),
            client: Default::default(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            last_answer: None,
            unanswered: Default::default(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Put { ty, name, body } => self.change(ty, name, Some(&body.to_string())),
            Step::PutBad { ty, name } => self.change(ty, name, Some(BAD)),
            Step::Remove { ty, name } => self.change(ty, name, None),
            Step::Publish => self.publish(),
            Step::Subscribe { ty, pattern } => self.subscribe(ty, pattern),
            Step::Unsubscribe { ty, pattern } => self.unsubscribe(ty, pattern),
            Step::ToServer => self.deliver_to_server(),
            Step::ToClient => self.deliver_to_client(),
            Step::Send => self.send(),
            Step::RepeatAnswer => self.to_server.extend(self.last_answer.clone()),
            Step::StaleAnswer { ty } => self.to_server.push_back(DeltaDiscoveryRequest {
                response_nonce: "99999".to_owned(),
                ..asks(TYPES[ty], &[], &[])
            }),
            Step::Wait => {
                self.now += self.limits.answer_timeout;
                self.unanswered = Default::default();
            }
            Step::Reconnect => self.reconnect(),
        }
    }

    fn change(&mut self, ty: usize, name: usize, body: Option<&str>) {
        let name = NAMES[ty][name % NAMES[ty].len()];
        self.catalog.apply([change(TYPES[ty], name, body)]);
        self.unpublished.insert((TYPES[ty], name));
    }

    /// As the hub does: only who subscribes to what changed is woken.
    fn publish(&mut self) {
        for (ty, name) in std::mem::take(&mut self.unpublished) {
            if self.subscribed.iter().any(|(of, pattern)| *of == ty && pattern.matches(name)) {
                self.session.wake(ty);
            }
        }
    }

    fn subscribe(&mut self, ty: usize, pattern: usize) {
        let pattern = PATTERNS[ty][pattern % PATTERNS[ty].len()];
        self.client[ty].subscriptions.insert(pattern);
        self.client[ty].has_asked = true;
        self.to_server.push_back(asks(TYPES[ty], &[pattern], &[]));
    }

    fn unsubscribe(&mut self, ty: usize, pattern: usize) {
        let pattern = PATTERNS[ty][pattern % PATTERNS[ty].len()];
        let client = &mut self.client[ty];
        if client.subscriptions.remove(pattern) {
            client.forget_uncovered();
            self.to_server.push_back(asks(TYPES[ty], &[], &[pattern]));
        }
    }

    fn deliver_to_server(&mut self) {
        let Some(request) = self.to_server.pop_front() else { return };
        if !request.response_nonce.is_empty() {
            self.unanswered[place(&request.type_url)].remove(&request.response_nonce);
        }
        self.session.request(request, self.now).expect("nothing here ends a stream");
        self.settle_effects();
    }

    fn settle_effects(&mut self) {
        for effect in self.session.take_effects() {
            match effect {
                Effect::Subscribe(ty, pattern) => drop(self.subscribed.insert((ty, pattern))),
                Effect::Unsubscribe(ty, pattern) => drop(self.subscribed.remove(&(ty, pattern))),
                Effect::Acknowledged(ty, revision) => self.check_acknowledged(ty, revision),
                _ => {}
            }
        }
    }

    /// What counts as acknowledged, the client has.
    fn check_acknowledged(&self, ty: ResourceType, revision: Revision) {
        let at = place(ty.type_url());
        let client = &self.client[at];
        let asks_again = |request: &DeltaDiscoveryRequest| {
            request.type_url == ty.type_url()
                && !(request.resource_names_subscribe.is_empty()
                    && request.resource_names_unsubscribe.is_empty())
        };
        if self.to_server.iter().any(asks_again) {
            return;
        }
        for name in NAMES[at].iter().filter(|name| client.covers(name)) {
            let Some(entry) = self.catalog.get(ty, name) else { continue };
            if entry.revision() <= revision && !is_bad(entry.resource()) {
                assert_eq!(client.resources.get(*name).map(String::as_str), Some(entry.version()), "{name}");
            }
        }
    }

    fn send(&mut self) {
        loop {
            let polled = self.session.poll(&self.catalog, self.now);
            self.settle_effects();
            let Ok(polled) = polled else { return self.reconnect() };
            let Some(response) = polled.map(|response| decode(response.encode("here"))) else { return };
            self.sent(response);
            // What was made together goes together, as in the stream.
            if self.session.made.is_empty() {
                return;
            }
        }
    }

    fn sent(&mut self, response: DeltaDiscoveryResponse) {
        let mut names = HashSet::new();
        let told =
            response.resources.iter().map(|resource| &resource.name).chain(&response.removed_resources);
        for name in told {
            assert!(names.insert(name), "{name} is twice in one response");
        }
        let unanswered = &mut self.unanswered[place(&response.type_url)];
        unanswered.insert(response.nonce.clone());
        assert_eq!(unanswered.len(), 1, "one unanswered response of a type");
        self.to_client.push_back(response);
    }

    fn deliver_to_client(&mut self) {
        let Some(response) = self.to_client.pop_front() else { return };
        let ty = place(&response.type_url);
        let bad: Vec<String> = response
            .resources
            .iter()
            .filter(|resource| resource.resource.as_ref().is_some_and(|body| body.value == BAD.as_bytes()))
            .map(|resource| resource.name.clone())
            .collect();
        let names: Vec<&str> = bad.iter().map(String::as_str).collect();
        let answer = match self.rejects {
            _ if bad.is_empty() => {
                DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..asks(TYPES[ty], &[], &[]) }
            }
            Rejects::ByName => rejection(TYPES[ty], &response.nonce, &names),
            Rejects::Whole => rejection(TYPES[ty], &response.nonce, &[]),
        };
        if bad.is_empty() || matches!(self.rejects, Rejects::ByName) {
            self.client[ty].take(response, &bad);
        }
        self.last_answer = Some(answer.clone());
        self.to_server.push_back(answer);
    }

    fn reconnect(&mut self) {
        self.session = Session::new(self.limits);
        self.subscribed.clear();
        self.to_server.clear();
        self.to_client.clear();
        self.last_answer = None;
        self.unanswered = Default::default();
        for (ty, client) in self.client.iter_mut().enumerate() {
            client.has_asked = !client.subscriptions.is_empty();
            if client.has_asked {
                let names: Vec<&str> = client.subscriptions.iter().copied().collect();
                self.to_server.push_back(DeltaDiscoveryRequest {
                    initial_resource_versions: client.resources.clone().into_iter().collect(),
                    ..asks(TYPES[ty], &names, &[])
                });
            }
        }
    }

    /// Everything arrives, nothing is bad any more, and everyone comes to rest.
    fn settle(&mut self) {
        for (ty, names) in NAMES.iter().enumerate() {
            for (at, name) in names.iter().enumerate() {
                if self.catalog.get(TYPES[ty], name).is_some_and(|entry| is_bad(entry.resource())) {
                    self.change(ty, at, Some("good"));
                }
            }
        }
        self.publish();
        for _ in 0..200 {
            self.now += self.limits.answer_timeout;
            self.unanswered = Default::default();
            while !self.to_server.is_empty() {
                self.deliver_to_server();
            }
            self.send();
            while !self.to_client.is_empty() {
                self.deliver_to_client();
            }
        }
        assert!(self.to_server.is_empty(), "nothing is said at rest");
    }

    fn check_equal(&self) {
        for (at, client) in self.client.iter().enumerate() {
            let entries = self.catalog.list(TYPES[at], &Pattern::All, None);
            let expected: BTreeMap<String, String> = entries
                .filter(|entry| client.covers(entry.name()))
                .map(|entry| (entry.name().to_owned(), entry.version().to_owned()))
                .collect();
            assert_eq!(client.resources, expected, "{:?}", TYPES[at]);
        }
    }
}

fn is_bad(resource: &[u8]) -> bool {
    resource.windows(BAD.len()).any(|window| window == BAD.as_bytes())
}

impl ClientType {
    fn covers(&self, name: &str) -> bool {
        self.subscriptions.iter().any(|pattern| parse(pattern).matches(name))
    }

    fn forget_uncovered(&mut self) {
        let gone: Vec<String> = self.resources.keys().filter(|name| !self.covers(name)).cloned().collect();
        for name in gone {
            self.resources.remove(&name);
        }
    }

    fn take(&mut self, response: DeltaDiscoveryResponse, bad: &[String]) {
        for resource in response.resources {
            if self.covers(&resource.name) && !bad.contains(&resource.name) {
                self.resources.insert(resource.name, resource.version);
            }
        }
        for name in response.removed_resources {
            self.resources.remove(&name);
        }
    }
}

fn run(rejects: Rejects, steps: Vec<Step>) {
    let mut world = World::new(rejects);
    for step in steps {
        world.step(step);
    }
    world.settle();
    world.check_equal();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_rest_a_client_that_rejects_by_name_has_what_the_catalog_has(steps in steps()) {
        run(Rejects::ByName, steps);
    }

    #[test]
    fn at_rest_a_client_that_rejects_whole_responses_has_what_the_catalog_has(steps in steps()) {
        run(Rejects::Whole, steps);
    }
}
