//! What users write: sandboxes, route groups and workloads, in one shape for JSON, YAML, REST and files.
//!
//! [`read()`] checks a document by itself and reports every fault at once; [`Document::to_json`] writes it back. What
//! documents mean together is the affair of [`crate::model`], and their `status` is not part of them.

use std::{fmt, sync::Arc};

use serde_json::Value;
use sha2::{Digest, Sha256};
use spurline_route::{Endpoint, OnUnavailable, PortMatch, RoutingKey, Workload};

mod grammar;
mod read;
mod reader;
mod write;

/// The only `apiVersion`.
pub const API_VERSION: &str = "spurline.dev/v1alpha1";
/// The longest document that [`read_slice`] takes, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// The longest name of a sandbox or route group, a DNS label (RFC 1123).
pub const NAME_LEN_MAX: usize = 63;
/// The most labels of a document, and of a selector.
pub const LABELS_MAX: usize = 64;
/// The most forks of a sandbox.
pub const FORKS_MAX: usize = 1000;
/// The longest name of a fork.
pub const FORK_LEN_MAX: usize = 800;
/// The most ports of a fork or workload.
pub const PORTS_MAX: usize = 256;
/// The most endpoints of a port.
pub const ENDPOINTS_MAX: usize = 1024;
/// The most sandboxes that a route group names, and the most that are its members.
pub const MEMBERS_MAX: usize = 1000;
/// The longest time to live: a year of 365 days, in seconds.
pub const TTL_S_MAX: u64 = 365 * 24 * 60 * 60;
/// The most faults that are reported of one document; one more says how many there are beyond.
pub const FAULTS_MAX: usize = 1000;

/// What a document describes. In the order that breaks ties: see [`crate::model`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A set of forks with one routing key.
    Sandbox,
    /// A routing key that stands for several sandboxes.
    RouteGroup,
    /// A baseline.
    Workload,
}

/// Kind and name, unique among documents of one origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// What it is.
    pub kind: Kind,
    /// What it is called; `namespace/Kind/name` of a workload.
    pub name: Arc<str>,
}

/// A document that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A sandbox.
    Sandbox(Sandbox),
    /// A route group.
    RouteGroup(RouteGroup),
    /// A baseline workload.
    Workload(Baseline),
}

/// Labels, sorted by key, no key twice.
pub type Labels = Box<[(Arc<str>, Arc<str>)]>;

/// Endpoints by port, sorted, no port twice. A port without endpoints is mapped, but unavailable.
pub type Ports = Box<[(PortMatch, Arc<[Endpoint]>)]>;

/// A named set of forks with one routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// A DNS label.
    pub name: Arc<str>,
    /// What selectors of route groups see.
    pub labels: Labels,
    /// The key that was asked for; see [`Document::routing_key`] for the one that counts.
    pub routing_key: Option<RoutingKey>,
    /// When it ends by itself.
    pub ttl: Ttl,
    /// Sorted by workload, none twice.
    pub forks: Box<[Fork]>,
}

/// The changed copy of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// What it is a copy of.
    pub workload: Workload,
    /// Its name, when one was given; see [`Sandbox::fork_name`].
    pub name: Option<Arc<str>>,
    /// What a request gets that no endpoint can take.
    pub on_unavailable: OnUnavailable,
    /// Where it listens, by port of the workload.
    pub ports: Ports,
}

/// A routing key that stands for several sandboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteGroup {
    /// A DNS label.
    pub name: Arc<str>,
    /// For people and lists; nothing selects route groups.
    pub labels: Labels,
    /// The key that was asked for; see [`Document::routing_key`] for the one that counts.
    pub routing_key: Option<RoutingKey>,
    /// When it ends by itself.
    pub ttl: Ttl,
    /// Members by name, sorted; they need not exist.
    pub names: Box<[Arc<str>]>,
    /// Members by labels: a sandbox that has all of these. Empty selects nobody.
    pub match_labels: Labels,
    /// Whose fork counts when two members fork one workload.
    pub conflict: ConflictRule,
}

/// Whose fork counts when two members of a route group fork one workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConflictRule {
    /// That of the oldest member.
    #[default]
    Oldest,
    /// That of the newest member.
    Newest,
    /// Nobody's: what has the group's key is refused there rather than tested against the wrong code.
    Reject,
}

/// A workload that everybody shares, for proxies that do not stand beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// What it is.
    pub workload: Workload,
    /// For people and lists.
    pub labels: Labels,
    /// The name it is reached by, when one was given; see [`Baseline::hostname`].
    pub hostname: Option<Arc<str>>,
    /// What it speaks, such as `http` or `grpc`.
    pub app_protocol: Option<Arc<str>>,
    /// Where it listens.
    pub ports: Ports,
}

/// When a document ends by itself. The default is: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttl {
    /// This long after it was created, in seconds.
    pub after_s: Option<u64>,
    /// This long after it was last used, in seconds.
    pub idle_s: Option<u64>,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901). A member that is missing is pointed to as if it were there.
    pub pointer: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub allowed: String,
}

/// Reads a document of this kind, or of the kind that it names itself.
///
/// `null` is the same as nothing at all, and `status` is ignored, so that what was answered can be sent back.
///
/// # Errors
/// Every fault of the document; never empty.
pub fn read(value: &Value, kind: Option<Kind>) -> Result<Document, Vec<Fault>> {
    read::document(value, kind)
}

/// Reads a document from JSON text (RFC 8259).
///
/// # Errors
/// As [`read()`], and one fault of the whole when it is longer than [`DOCUMENT_BYTES_MAX`] or not JSON.
pub fn read_slice(json: &[u8], kind: Option<Kind>) -> Result<Document, Vec<Fault>> {
    if json.len() > DOCUMENT_BYTES_MAX {
        let what = format!("has {} bytes", json.len());
        return Err(vec![Fault::of_whole(what, format!("at most {DOCUMENT_BYTES_MAX}"))]);
    }
    let value = serde_json::from_slice(json)
        .map_err(|error| vec![Fault::of_whole(format!("is not JSON: {error}"), "a JSON object")])?;
    read(&value, kind)
}

// === impl Kind ===

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Sandbox, Self::RouteGroup, Self::Workload];

    /// As documents write it: `Sandbox`, `RouteGroup`, `Workload`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "Sandbox",
            Self::RouteGroup => "RouteGroup",
            Self::Workload => "Workload",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Id ===

impl Id {
    /// Names a document, which need not exist.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// As in `Sandbox alice-cart`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl Document ===

impl Document {
    /// Its kind and name.
    #[must_use]
    pub fn id(&self) -> Id {
        match self {
            Self::Sandbox(sandbox) => Id::new(Kind::Sandbox, Arc::clone(&sandbox.name)),
            Self::RouteGroup(group) => Id::new(Kind::RouteGroup, Arc::clone(&group.name)),
            Self::Workload(baseline) => Id::new(Kind::Workload, baseline.workload.as_str()),
        }
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Sandbox(sandbox) => &sandbox.labels,
            Self::RouteGroup(group) => &group.labels,
            Self::Workload(baseline) => &baseline.labels,
        }
    }

    /// When it ends by itself; workloads never do.
    #[must_use]
    pub fn ttl(&self) -> Ttl {
        match self {
            Self::Sandbox(sandbox) => sandbox.ttl,
            Self::RouteGroup(group) => group.ttl,
            Self::Workload(_) => Ttl::default(),
        }
    }

    /// The key it claims: the one it asks for, else 12 characters made of its kind and name. Workloads have none.
    #[must_use]
    pub fn routing_key(&self) -> Option<RoutingKey> {
        match self {
            Self::Sandbox(Sandbox { name, routing_key, .. }) => {
                Some(routing_key.unwrap_or_else(|| default_key("sandbox", name)))
            }
            Self::RouteGroup(RouteGroup { name, routing_key, .. }) => {
                Some(routing_key.unwrap_or_else(|| default_key("routegroup", name)))
            }
            Self::Workload(_) => None,
        }
    }

    /// The canonical form: what [`read()`] takes, with defaults left out and lists sorted.
    #[must_use]
    pub fn to_json(&self) -> Value {
        write::to_json(self)
    }
}

// === impl Sandbox ===

impl Sandbox {
    /// Its fork of a workload.
    #[must_use]
    pub fn fork(&self, workload: &Workload) -> Option<&Fork> {
        let found = self.forks.binary_search_by(|fork| fork.workload.cmp(workload));
        found.ok().and_then(|index| self.forks.get(index))
    }

    /// Its forks, all or those whose workloads come after one.
    pub(crate) fn forks_after(&self, after: Option<&Workload>) -> &[Fork] {
        let start = after.map_or(0, |after| self.forks.partition_point(|fork| fork.workload <= *after));
        self.forks.get(start..).unwrap_or_default()
    }

    /// The name of one of its forks: the one that was given, else `<workload>@<sandbox>`.
    #[must_use]
    pub fn fork_name(&self, fork: &Fork) -> Arc<str> {
        match &fork.name {
            Some(name) => Arc::clone(name),
            None => format!("{}@{}", fork.workload, self.name).into(),
        }
    }
}

// === impl Baseline ===

impl Baseline {
    /// The name it is reached by: the one that was given, else `<name>.<namespace>.svc`.
    #[must_use]
    pub fn hostname(&self) -> Arc<str> {
        match &self.hostname {
            Some(hostname) => Arc::clone(hostname),
            None => format!("{}.{}.svc", self.workload.name(), self.workload.namespace()).into(),
        }
    }
}

// === impl Ttl ===

impl Ttl {
    /// Whether it never ends by itself.
    #[must_use]
    pub fn is_never(self) -> bool {
        self == Self::default()
    }
}

// === impl Fault ===

impl Fault {
    /// A fault of the document as a whole.
    fn of_whole(what: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { pointer: String::new(), what: what.into(), allowed: allowed.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "the document" } else { &self.pointer };
        write!(f, "{pointer}: {}; allowed: {}", self.what, self.allowed)
    }
}

/// The first 60 bits of a hash of the name: the same key for the same sandbox whenever and wherever it is created.
fn default_key(kind: &str, name: &str) -> RoutingKey {
    let hash = Sha256::digest(format!("{kind}/{name}"));
    let mut bits = [0; 8];
    bits.iter_mut().zip(hash).for_each(|(bits, hash)| *bits = hash);
    RoutingKey::generate(bits)
}
