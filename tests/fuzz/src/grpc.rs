//! What must hold for `spurline-grpc`, whatever a client sends on its stream.
//!
//! The service is asked as a client asks it, by requests and responses of HTTP, but without a socket.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    slice::Iter,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use axum::{body::Body, http::Request};
use bytes::Bytes;
use futures_util::{FutureExt as _, stream::poll_fn};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use prost::Message;
use serde_json::json;
use spurline_api::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    google::rpc,
};
use spurline_core::{
    catalog::{Pattern, ResourceType},
    document,
    model::{Edit, Origin, Record},
};
use spurline_grpc::Settings;
use spurline_hub::{Debounce, Hub};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const PATTERNS: [&str; 8] = ["*", "s/D/a/*", "s/D/a/k1", "s/D/b/*", "k1", "s/D/a", "", "s/D/*"];
const KEYS: [&str; 3] = ["k1", "k2", "k3"];

thread_local! {
    /// One for each thread: who shares one runs its own future only, and not the publisher that it gives way to.
    static RUNTIME: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
}

/// The data says what the client sends and what changes meanwhile.
pub fn server_session(data: &[u8]) {
    RUNTIME.with(|runtime| runtime.block_on(session(data)));
}

async fn session(data: &[u8]) {
    let debounce = Debounce { idle: Duration::ZERO, quiet: Duration::ZERO, max: Duration::ZERO };
    let (hub, publisher) = Hub::new(debounce);
    let publisher = tokio::spawn(publisher.run());
    let mut stream = Stream::open(hub.clone()).await;
    let mut bytes = data.iter();
    while !bytes.as_slice().is_empty() && !stream.has_ended {
        stream.step(&mut bytes).await;
    }
    stream.settle().await;
    stream.check();
    hub.stop();
    publisher.await.expect("the publisher ends");
}

/// The client's side of one stream.
struct Stream {
    hub: Hub,
    /// What was sent and not read yet; shared with the body of the request.
    sent: Arc<Mutex<VecDeque<Bytes>>>,
    body: Body,
    has_ended: bool,
    types: BTreeMap<&'static str, Type>,
    /// Everything was said by the rules, so that the client has to have everything in the end.
    is_regular: bool,
}

/// What the client knows of one type.
#[derive(Default)]
struct Type {
    has_asked: bool,
    subscriptions: BTreeSet<String>,
    /// What any request named; a response may still be under way.
    named: BTreeSet<String>,
    /// Name to version.
    resources: BTreeMap<String, String>,
    unanswered: Option<String>,
    /// Nonces that were answered before they came, which a client can guess.
    guessed: BTreeSet<String>,
}

impl Stream {
    async fn open(hub: Hub) -> Self {
        let settings = Settings { response_bytes_max: 200, subscriptions_max: 16, ..Settings::default() };
        let router = spurline_grpc::services(&hub, settings, &mut Default::default());
        let sent = Arc::new(Mutex::new(VecDeque::new()));
        let queue: Arc<Mutex<VecDeque<Bytes>>> = Arc::clone(&sent);
        // It is asked anew whenever the response is, so that nobody has to be woken.
        let requests =
            poll_fn(move |_| match queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                Some(frame) => Poll::Ready(Some(Ok::<_, std::io::Error>(frame))),
                None => Poll::Pending,
            });
        let request = Request::post(DELTA)
            .header("content-type", "application/grpc")
            .body(Body::from_stream(requests))
            .expect("the request is valid");
        let response = router.oneshot(request).await.expect("a router is infallible");
        let types = ResourceType::ALL.map(|ty| (ty.type_url(), Type::default())).into();
        Self { hub, sent, body: response.into_body(), has_ended: false, types, is_regular: true }
    }

    async fn step(&mut self, bytes: &mut Iter<'_, u8>) {
        match next(bytes) % 8 {
            0 | 1 => {
                self.hub.apply(vec![edit(bytes)]);
            }
            2 | 3 => self.receive().await,
            4 => {
                let len = usize::from(next(bytes));
                let raw: Vec<u8> = bytes.by_ref().take(len).copied().collect();
                self.is_regular = false;
                self.send_raw(&raw);
            }
            5 => self.answer(next(bytes)),
            _ => self.ask(bytes),
        }
    }

    /// Subscriptions, by the rules or nearly so.
    fn ask(&mut self, bytes: &mut Iter<'_, u8>) {
        let (choice, ty) = (next(bytes), ResourceType::ALL[usize::from(next(bytes) % 3)]);
        let mut names = |count: u8| -> Vec<String> {
            (0..count).map(|_| PATTERNS[usize::from(next(bytes)) % PATTERNS.len()].to_owned()).collect()
        };
        let mut request = DeltaDiscoveryRequest {
            type_url: ty.type_url().to_owned(),
            resource_names_subscribe: names(choice % 4),
            resource_names_unsubscribe: names(choice / 4 % 3),
            ..DeltaDiscoveryRequest::default()
        };
        let both = request
            .resource_names_subscribe
            .iter()
            .any(|name| request.resource_names_unsubscribe.contains(name));
        // What a client has that it does not ask for, or asks for later, is not said by the protocol.
        self.is_regular &= !both;
        if choice >= 0xc0 {
            self.is_regular = false;
            request.initial_resource_versions =
                names(choice % 5).into_iter().map(|name| (name, choice.to_string())).collect();
        }
        self.send(&request);
    }

    /// Takes, or refuses, the response that is not answered.
    fn answer(&mut self, choice: u8) {
        let ty = ResourceType::ALL[usize::from(choice % 3)].type_url();
        let nonce = self.types.get(ty).and_then(|of| of.unanswered.clone());
        let response_nonce = match nonce {
            Some(nonce) if choice < 0xe0 => nonce,
            _ => choice.to_string(),
        };
        let refused = choice % 16 == 15;
        self.is_regular &= !refused && response_nonce != choice.to_string();
        let error_detail =
            refused.then(|| rpc::Status { code: 3, message: "no".to_owned(), details: Vec::new() });
        let type_url = ty.to_owned();
        self.send(&DeltaDiscoveryRequest { type_url, response_nonce, error_detail, ..Default::default() });
    }

    fn send_raw(&mut self, raw: &[u8]) {
        match DeltaDiscoveryRequest::decode(raw) {
            Ok(request) => self.send(&request),
            // The stream is about to end.
            Err(_) => self.push(raw),
        }
    }

    fn send(&mut self, request: &DeltaDiscoveryRequest) {
        if let Some(of) = self.types.get_mut(request.type_url.as_str()) {
            if of.unanswered.as_ref() == Some(&request.response_nonce) {
                of.unanswered = None;
            } else {
                of.guessed.insert(request.response_nonce.clone());
            }
            let is_first = !std::mem::replace(&mut of.has_asked, true);
            let asks_nothing =
                request.resource_names_subscribe.is_empty() && request.resource_names_unsubscribe.is_empty();
            let wildcard = (is_first && asks_nothing).then(|| "*".to_owned());
            let names = request.resource_names_subscribe.iter().cloned().chain(wildcard);
            for name in names {
                of.named.insert(name.clone());
                of.subscriptions.insert(name);
            }
            for name in &request.resource_names_unsubscribe {
                of.subscriptions.remove(name);
            }
            let subscriptions = &of.subscriptions;
            of.resources.retain(|name, _| covers(subscriptions, name));
        }
        self.push(&request.encode_to_vec());
    }

    fn push(&mut self, message: &[u8]) {
        let len = u32::try_from(message.len()).expect("messages are short");
        let frame = [&[0], len.to_be_bytes().as_slice(), message].concat();
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push_back(frame.into());
    }

    /// Reads what the server has to say.
    async fn receive(&mut self) {
        loop {
            // Once for the publisher, once so that the budget of this task is full again.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            let frame = match self.body.frame().now_or_never() {
                None => return,
                Some(Some(Ok(frame))) => frame,
                Some(end) => {
                    assert!(end.is_none_or(|end| end.is_ok()), "a stream ends with its status");
                    self.has_ended = true;
                    return;
                }
            };
            match frame.into_data() {
                Ok(data) => self.take(&data),
                Err(trailers) => {
                    let status =
                        trailers.trailers_ref().and_then(|trailers| trailers.get("grpc-status")).cloned();
                    let status = status.expect("a stream ends with its status");
                    // Invalid argument, resource exhausted, or what a message that is no message gives.
                    assert!(["3", "8", "13"].contains(&status.to_str().expect("digits")), "{status:?}");
                    self.has_ended = true;
                }
            }
            if self.body.is_end_stream() {
                return;
            }
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let (prefix, message) = frame.split_at(5);
        assert_eq!(prefix[0], 0, "not compressed");
        assert_eq!(prefix[1..], u32::try_from(message.len()).expect("messages are short").to_be_bytes());
        let response = DeltaDiscoveryResponse::decode(message).expect("it decodes");
        let of = self.types.get_mut(response.type_url.as_str()).expect("a type of ours");
        assert!(of.has_asked && !response.nonce.is_empty());
        assert_eq!(of.unanswered, None, "one unanswered response of a type");
        of.unanswered = Some(response.nonce).filter(|nonce| !of.guessed.contains(nonce));
        let mut names = BTreeSet::new();
        let told =
            response.resources.iter().map(|resource| &resource.name).chain(&response.removed_resources);
        for name in told {
            assert!(names.insert(name), "{name} is twice in one response");
        }
        for resource in &response.resources {
            assert!(covers(&of.named, &resource.name), "{} was asked for", resource.name);
            if covers(&of.subscriptions, &resource.name) {
                of.resources.insert(resource.name.clone(), resource.version.clone());
            }
        }
        for name in &response.removed_resources {
            of.resources.remove(name);
        }
    }

    /// Answers until nothing more comes.
    async fn settle(&mut self) {
        loop {
            self.receive().await;
            let unanswered: Vec<_> = self
                .types
                .iter()
                .filter_map(|(url, of)| Some(((*url).to_owned(), of.unanswered.clone()?)))
                .collect();
            if unanswered.is_empty() || self.has_ended {
                return;
            }
            for (type_url, response_nonce) in unanswered {
                self.send(&DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() });
            }
        }
    }

    /// A client that kept to the rules has what there is.
    fn check(&self) {
        if self.has_ended || !self.is_regular {
            return;
        }
        for ty in ResourceType::ALL {
            let Some(of) = self.types.get(ty.type_url()) else { continue };
            let expected: BTreeMap<String, String> = self.hub.catalog(|catalog| {
                let entries = catalog.list(ty, &Pattern::All, None);
                let entries = entries.filter(|entry| covers(&of.subscriptions, entry.name()));
                entries.map(|entry| (entry.name().to_owned(), entry.version().to_owned())).collect()
            });
            assert_eq!(of.resources, expected, "{ty:?}");
        }
    }
}

fn covers(subscriptions: &BTreeSet<String>, name: &str) -> bool {
    subscriptions.iter().any(|text| Pattern::parse(text).is_ok_and(|pattern| pattern.matches(name)))
}

fn edit(bytes: &mut Iter<'_, u8>) -> Edit {
    let (choice, forks) = (next(bytes), next(bytes));
    let key = KEYS[usize::from(choice % 3)];
    let forks: Vec<_> = [("s/D/a", 1), ("s/D/b", 2), ("s/D/c", 4)]
        .into_iter()
        .filter(|(_, bit)| forks & bit != 0)
        .map(|(workload, _)| json!({ "workload": workload, "ports": { "*": [format!("127.0.0.1:{}", forks / 8 + 1)] } }))
        .collect();
    let value = match choice % 4 {
        3 => json!({
            "kind": "Workload", "metadata": { "name": "s/D/a" },
            "spec": { "ports": { "80": [format!("127.0.0.1:{}", choice / 8 + 1)] } },
        }),
        _ => json!({
            "kind": "Sandbox", "metadata": { "name": format!("s{key}") }, "spec": { "routingKey": key, "forks": forks },
        }),
    };
    let document = document::read(&value, None).expect("what is made here is a document");
    let origin = Origin::Store;
    if choice >= 0xc0 {
        return Edit::Delete { id: document.id(), origin };
    }
    Edit::Put(Record { document, origin, created_unix_ms: 0, expires_unix_s: None })
}

/// The next byte, 0 after the last.
fn next(bytes: &mut Iter<'_, u8>) -> u8 {
    bytes.next().copied().unwrap_or(0)
}
