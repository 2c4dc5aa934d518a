//! A control service that keeps a world in every client, as a correct one does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::conduct::rejections;
use super::server::{Ads, Asked, Session};
use super::world::World;
use super::{Request, Response};
use crate::eventually::eventually;
use crate::loopback::free_address;

/// A resource that a client did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its name; empty when the whole response was rejected.
    pub name: String,
    /// What the client said.
    pub reason: String,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    stop: AtomicBool,
    /// Streams that have begun.
    streams: AtomicUsize,
    /// Streams that are open, and by number whether each is settled with which change of the world.
    settled: Mutex<BTreeMap<usize, u64>>,
    changes: Mutex<u64>,
    rejected: Mutex<Vec<Rejected>>,
    first: Mutex<Vec<Request>>,
}

/// A running one. Dropping it ends it at once.
pub struct Honest {
    ads: Option<Arc<Ads>>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Honest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Honest").field("ads", &self.ads).finish_non_exhaustive()
    }
}

impl Honest {
    /// Listens on a free address.
    pub fn start(world: World) -> Self {
        Self::at(free_address(), world)
    }

    /// Listens on an address, as one that is started again does.
    pub fn at(address: std::net::SocketAddr, world: World) -> Self {
        let ads = Arc::new(Ads::at(address));
        let shared = Arc::new(Shared { world: Mutex::new(world), ..Shared::default() });
        let (server, state) = (Arc::clone(&ads), Arc::clone(&shared));
        let accepting = std::thread::spawn(move || {
            let mut streams = Vec::new();
            while !state.stop.load(Ordering::Acquire) {
                if let Some(session) = server.accept_within(Duration::from_millis(20)) {
                    let state = Arc::clone(&state);
                    streams.push(std::thread::spawn(move || serve(session, &state)));
                }
            }
            for stream in streams {
                stream.join().expect("a stream");
            }
        });
        Self { ads: Some(ads), shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.ads.as_ref().expect("it runs").address()
    }

    /// Where it listens, as the proxy is told.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Changes the world.
    pub fn edit(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.shared.world.lock().expect("world"));
        *self.shared.changes.lock().expect("changes") += 1;
    }

    /// Waits until at least `clients` streams are open and each has answered for the world as it is.
    pub fn wait_settled(&self, clients: usize) {
        let wanted = *self.shared.changes.lock().expect("changes");
        eventually("every client has answered for the world as it is", || {
            let settled = self.shared.settled.lock().expect("settled");
            (settled.len() >= clients && settled.values().all(|change| *change >= wanted)).then_some(())
        });
    }

    /// What clients rejected until now.
    pub fn rejected(&self) -> Vec<Rejected> {
        self.shared.rejected.lock().expect("rejected").clone()
    }

    /// How many streams clients opened until now.
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Acquire)
    }

    /// The first request of each type on each stream.
    pub fn first_requests(&self) -> Vec<Request> {
        self.shared.first.lock().expect("first").clone()
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// What one client has of one type.
#[derive(Default)]
struct Client {
    patterns: Vec<String>,
    has: BTreeMap<String, String>,
    waiting: Option<String>,
    answered_once: bool,
}

fn serve(mut session: Session, shared: &Shared) {
    let number = shared.streams.fetch_add(1, Ordering::AcqRel);
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    while !shared.stop.load(Ordering::Acquire) {
        match session.asked(Duration::from_millis(10)) {
            Asked::Request(request) => hear(&request, &mut clients, shared),
            Asked::Ended => break,
            Asked::Nothing => {}
        }
        let change = *shared.changes.lock().expect("changes");
        let world = shared.world.lock().expect("world").clone();
        let mut settled = !clients.is_empty();
        for (type_url, client) in &mut clients {
            tell(&mut session, type_url, client, &world);
            settled &= client.waiting.is_none();
        }
        if settled {
            shared.settled.lock().expect("settled").insert(number, change);
        }
    }
    shared.settled.lock().expect("settled").remove(&number);
}

fn hear(request: &Request, clients: &mut BTreeMap<String, Client>, shared: &Shared) {
    if !clients.contains_key(&request.type_url) {
        shared.first.lock().expect("first").push(request.clone());
    }
    let client = clients.entry(request.type_url.clone()).or_default();
    client.has.extend(request.initial_resource_versions.clone());
    client.patterns.extend(request.resource_names_subscribe.iter().cloned());
    client.patterns.retain(|pattern| !request.resource_names_unsubscribe.contains(pattern));
    if client.waiting.as_ref().is_some_and(|nonce| *nonce == request.response_nonce) {
        client.waiting = None;
    }
    let Some(status) = &request.error_detail else { return };
    let mut rejected = shared.rejected.lock().expect("rejected");
    let named = rejections(status);
    if named.is_empty() {
        rejected.push(Rejected { name: String::new(), reason: status.message.clone() });
    }
    rejected.extend(named.into_iter().map(|one| Rejected { name: one.name, reason: one.reason }));
}

fn tell(session: &mut Session, type_url: &str, client: &mut Client, world: &World) {
    if client.waiting.is_some() {
        return;
    }
    let wanted = world.matching(type_url, &client.patterns);
    let exact = client.patterns.iter().filter(|pattern| !pattern.ends_with('*'));
    let missing = exact.filter(|name| !wanted.contains_key(*name) && !client.has.contains_key(*name));
    let gone = client.has.iter().filter(|(name, version)| !version.is_empty() && !wanted.contains_key(*name));
    let removed: Vec<String> = gone.map(|(name, _)| name.clone()).chain(missing.cloned()).collect();
    let changed = wanted.iter().filter(|(name, one)| client.has.get(*name) != Some(&one.version));
    let resources: Vec<_> = changed.map(|(_, one)| one.clone()).collect();
    if client.answered_once && resources.is_empty() && removed.is_empty() {
        return;
    }
    client.answered_once = true;
    for one in &resources {
        client.has.insert(one.name.clone(), one.version.clone());
    }
    for name in &removed {
        // A name that is absent is remembered with no version.
        client.has.insert(name.clone(), String::new());
    }
    let nonce = session.nonce();
    session.send(&Response {
        system_version_info: "1".to_owned(),
        resources,
        type_url: type_url.to_owned(),
        nonce: nonce.clone(),
        removed_resources: removed,
    });
    client.waiting = Some(nonce);
}
