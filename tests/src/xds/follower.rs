//! A correct client, and the judge of what a server sends it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use prost::Message;

use super::client::{Connection, Heard, Stream};
use super::{Request, Resource, Response, covers};

/// What our server promises never to exceed much: resources of one response, in bytes.
const RESPONSE_BYTES_MAX: usize = 512 * 1024;
/// A server sends the next response of a type without an answer to the last one only after so long.
const ANSWER_PATIENCE: Duration = Duration::from_millis(4_500);

/// What a client has of one type.
#[derive(Debug, Clone, Default)]
struct Known {
    patterns: BTreeSet<String>,
    resources: BTreeMap<String, Resource>,
    /// Exact names that the server has said do not exist.
    absent: BTreeSet<String>,
    nonces: HashSet<String>,
    /// Responses, and since when they may have been under way.
    unanswered: Vec<(Response, Instant)>,
    /// Names that were unsubscribed from: what is on its way may still come.
    left: BTreeSet<String>,
    responses: usize,
}

/// A client that does what a correct one does, in any order that is allowed.
#[derive(Debug)]
pub struct Follower {
    id: String,
    stream: Option<Stream>,
    types: BTreeMap<String, Known>,
    faults: Vec<String>,
    /// When it last read: what it reads next may have come at any time since.
    read: Instant,
}

impl Follower {
    /// A client without a stream.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            stream: None,
            types: BTreeMap::new(),
            faults: Vec::new(),
            read: Instant::now(),
        }
    }

    /// A client with a stream.
    pub fn connected(connection: &Connection, id: &str) -> Self {
        let mut follower = Self::new(id);
        follower.connect(connection);
        follower
    }

    /// Opens a stream in place of the last one and resumes: tells what it wants and what it has.
    pub fn connect(&mut self, connection: &Connection) {
        let mut stream = connection.stream(&self.id);
        for (type_url, known) in &mut self.types {
            known.nonces.clear();
            known.unanswered.clear();
            known.left.clear();
            // A first request that names nothing would ask for everything.
            if known.patterns.is_empty() {
                continue;
            }
            let versions = known.resources.iter().map(|(name, one)| (name.clone(), one.version.clone()));
            stream.send(Request {
                type_url: type_url.clone(),
                resource_names_subscribe: known.patterns.iter().cloned().collect(),
                initial_resource_versions: versions.collect(),
                ..Request::default()
            });
        }
        self.stream = Some(stream);
        self.read = Instant::now();
    }

    /// Leaves the stream without a word; what it has is kept.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    /// The stream, to say what a correct client would not.
    pub fn stream(&mut self) -> &mut Stream {
        self.stream.as_mut().expect("a stream")
    }

    /// Wants more, and less.
    pub fn subscribe(&mut self, type_url: &str, add: &[&str], remove: &[&str]) {
        let known = self.types.entry(type_url.to_owned()).or_default();
        known.patterns.extend(add.iter().map(|name| (*name).to_owned()));
        let mut removed = Vec::new();
        for name in remove {
            if known.patterns.remove(*name) {
                known.left.insert((*name).to_owned());
                removed.push(*name);
            }
        }
        for name in add {
            known.left.remove(*name);
        }
        let Known { patterns, resources, absent, .. } = known;
        let wanted = |name: &String| patterns.iter().any(|pattern| covers(pattern, name));
        resources.retain(|name, _| wanted(name));
        absent.retain(wanted);
        if let Some(stream) = self.stream.as_mut().filter(|_| !add.is_empty() || !removed.is_empty()) {
            stream.subscribe(type_url, add, &removed);
        }
    }

    /// Reads one response without answering it; `false` when none came in time or the stream ended.
    pub fn read(&mut self, deadline: Duration) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let heard = stream.heard(deadline);
        let since = std::mem::replace(&mut self.read, Instant::now());
        match heard {
            Heard::Response(response) => {
                self.take(*response, since);
                true
            }
            Heard::Nothing => false,
            Heard::Ended(..) => {
                self.stream = None;
                false
            }
        }
    }

    /// Accepts the oldest response that has no answer.
    pub fn ack(&mut self) -> bool {
        for known in self.types.values_mut() {
            if !known.unanswered.is_empty() {
                let (response, _) = known.unanswered.remove(0);
                if let Some(stream) = &mut self.stream {
                    stream.ack(&response);
                }
                return true;
            }
        }
        false
    }

    /// Reads and accepts until nothing has come for `quiet`.
    pub fn settle(&mut self, quiet: Duration) {
        loop {
            while self.ack() {}
            if !self.read(quiet) && !self.types.values().any(|known| !known.unanswered.is_empty()) {
                return;
            }
        }
    }

    /// Reads and accepts until it has exactly `names` of a type; panics with the difference after `deadline`.
    pub fn follow(&mut self, type_url: &str, names: &BTreeSet<String>, deadline: Duration) {
        let started = Instant::now();
        while &self.names(type_url) != names {
            let (has, left) = (self.names(type_url), deadline.saturating_sub(started.elapsed()));
            assert!(
                !left.is_zero() && self.stream.is_some(),
                "{} has {} of {} names of {type_url}; too many: {:?}; too few: {:?}",
                self.id,
                has.len(),
                names.len(),
                has.difference(names).take(5).collect::<Vec<_>>(),
                names.difference(&has).take(5).collect::<Vec<_>>(),
            );
            self.read(left.min(Duration::from_millis(100)));
            while self.ack() {}
        }
    }

    /// The names it has of a type.
    pub fn names(&self, type_url: &str) -> BTreeSet<String> {
        self.types.get(type_url).map(|known| known.resources.keys().cloned().collect()).unwrap_or_default()
    }

    /// A resource it has, decoded.
    pub fn body<T: Message + Default>(&self, type_url: &str, name: &str) -> Option<T> {
        let resource = self.types.get(type_url)?.resources.get(name)?;
        T::decode(resource.resource.as_ref()?.value.clone()).ok()
    }

    /// Name to version of all it has of a type.
    pub fn versions(&self, type_url: &str) -> BTreeMap<String, String> {
        let known = self.types.get(type_url).cloned().unwrap_or_default();
        known.resources.into_iter().map(|(name, resource)| (name, resource.version)).collect()
    }

    /// Whether the server has said that a name does not exist.
    pub fn is_absent(&self, type_url: &str, name: &str) -> bool {
        self.types.get(type_url).is_some_and(|known| known.absent.contains(name))
    }

    /// How many responses of a type came.
    pub fn responses(&self, type_url: &str) -> usize {
        self.types.get(type_url).map_or(0, |known| known.responses)
    }

    /// Whether it is subscribed to anything of a type.
    pub fn wants(&self, type_url: &str) -> bool {
        self.types.get(type_url).is_some_and(|known| !known.patterns.is_empty())
    }

    /// Whether it has a stream still.
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// What the server did that a server must not, since the last time it was taken.
    pub fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    /// Panics when the server did what a server must not.
    pub fn assert_conduct(&self) {
        let faults = &self.faults;
        assert!(
            faults.is_empty(),
            "{} faults of the server:\n{}",
            faults.len(),
            faults[..faults.len().min(10)].join("\n")
        );
    }

    fn take(&mut self, response: Response, since: Instant) {
        let Some(known) = self.types.get_mut(&response.type_url) else {
            self.faults.push(format!("{}: a type that was not asked for: {}", self.id, response.type_url));
            return;
        };
        let mut must = |holds: bool, what: &str| {
            if !holds {
                self.faults.push(format!("{}: {what}: {}", self.id, brief(&response)));
            }
        };
        known.responses += 1;
        must(!response.nonce.is_empty(), "a response has a nonce");
        must(known.nonces.insert(response.nonce.clone()), "a nonce is new on its stream and type");
        let patient = known.unanswered.iter().all(|(_, since)| since.elapsed() >= ANSWER_PATIENCE);
        must(patient, "a type has one response without an answer at a time");
        let bytes: usize = response.resources.iter().map(Message::encoded_len).sum();
        must(bytes <= RESPONSE_BYTES_MAX || response.resources.len() <= 1, "a response is bounded");
        let mut names = HashSet::new();
        let added = response.resources.iter().map(|resource| &resource.name);
        for name in added.chain(&response.removed_resources) {
            must(names.insert(name.clone()), "a response has a name once");
            let wanted = known.patterns.iter().chain(&known.left).any(|pattern| covers(pattern, name));
            must(wanted, "only what is subscribed to is sent");
        }
        for resource in &response.resources {
            let body = resource.resource.as_ref();
            must(!resource.version.is_empty(), "a resource has a version");
            must(
                body.is_some_and(|any| any.type_url == response.type_url),
                "a resource has a body of its type",
            );
            if let Some(last) =
                known.resources.get(&resource.name).filter(|last| last.version == resource.version)
            {
                must(last.resource == resource.resource, "one version is one content");
            }
            if known.patterns.iter().any(|pattern| covers(pattern, &resource.name)) {
                known.absent.remove(&resource.name);
                known.resources.insert(resource.name.clone(), resource.clone());
            }
        }
        for name in &response.removed_resources {
            known.resources.remove(name);
            known.absent.insert(name.clone());
        }
        known.unanswered.push((response, since));
    }
}

fn brief(response: &Response) -> String {
    let names: Vec<_> = response.resources.iter().map(|one| (&one.name, &one.version)).take(5).collect();
    let removed: Vec<_> = response.removed_resources.iter().take(5).collect();
    format!(
        "nonce {:?} system {:?}, {} resources {names:?}, {} removed {removed:?}, {} bytes",
        response.nonce,
        response.system_version_info,
        response.resources.len(),
        response.removed_resources.len(),
        response.encoded_len()
    )
}
