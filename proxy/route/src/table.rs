//! The route table: an immutable snapshot of every override a proxy needs.
//!
//! It is built, and then only read; swapping one table for the next is the caller's affair. A look-up hashes the workload
//! and the key, so that it costs the same with one override and with ten thousand. The next table is derived from the
//! one before: what an edit does not touch is shared between the two.

mod builder;

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

// Seeded per map, so that nobody can choose names that collide.
use foldhash::{HashMap, HashSet};

pub use self::builder::RouteTableBuilder;

use crate::{RoutingKey, Workload};

/// Where a workload or a fork listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Address and port.
    pub addr: SocketAddr,
}

/// What a non-strict request gets when a fork has no live endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnavailable {
    /// It is refused: a test must not pass against the wrong code.
    #[default]
    Reject,
    /// It is served by the baseline.
    Baseline,
}

/// Which ports of a workload something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// This one.
    Port(u16),
    /// Every port that is not listed.
    Any,
}

/// Endpoints by port; at most one list per [`PortMatch`].
type Ports = Vec<(PortMatch, Arc<[Endpoint]>)>;

/// The rule "for workload W and key K, port p goes to these endpoints".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The fork's name.
    pub fork: Arc<str>,
    /// The sandbox it belongs to. For the key of a route group this is one of the group's sandboxes.
    pub sandbox: Arc<str>,
    /// What to do without a live endpoint.
    pub on_unavailable: OnUnavailable,
    /// Endpoints by port, in any order; the table sorts them. A port whose list is empty is mapped, but unavailable.
    pub ports: Vec<(PortMatch, Arc<[Endpoint]>)>,
}

/// An immutable snapshot of overrides and baseline endpoints.
#[derive(Debug)]
pub struct RouteTable {
    generation: u64,
    overrides: usize,
    workloads: HashMap<Workload, Arc<Routes>>,
    /// What each key stands for: the sandbox or route group that was said to have it.
    owners: Arc<HashSet<Keyed<Arc<str>>>>,
}

/// Two statements about routes that contradict each other, or one that hangs in the air.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two sandboxes with one key.
    #[error("routing key {key} belongs to sandbox {first} and to sandbox {second}")]
    DuplicateKey {
        /// The key.
        key: RoutingKey,
        /// The sandbox that was added first.
        first: Arc<str>,
        /// The sandbox that was refused.
        second: Arc<str>,
    },
    /// One sandbox added twice.
    #[error("sandbox {name} has routing key {first} and routing key {second}")]
    DuplicateSandbox {
        /// The sandbox.
        name: Arc<str>,
        /// The key that was added first.
        first: Box<RoutingKey>,
        /// The key that was refused.
        second: Box<RoutingKey>,
    },
    /// Two forks of one workload for one key.
    #[error("{workload} with routing key {key} goes to fork {first} and to fork {second}")]
    DuplicateOverride {
        /// The workload.
        workload: Workload,
        /// The key.
        key: RoutingKey,
        /// The fork that was added first.
        first: Arc<str>,
        /// The fork that was refused.
        second: Arc<str>,
    },
    /// Two lists of endpoints for one port.
    #[error("{owner} maps port {port} twice")]
    DuplicatePort {
        /// The workload, or the fork.
        owner: Arc<str>,
        /// The port.
        port: PortMatch,
    },
    /// An override for a key that no sandbox has.
    #[error("fork {fork} of {workload} is for routing key {key}, which belongs to no sandbox")]
    UnknownKey {
        /// The workload.
        workload: Workload,
        /// The key.
        key: RoutingKey,
        /// The fork.
        fork: Arc<str>,
    },
}

/// What the table has of one workload.
#[derive(Clone, Debug, Default)]
struct Routes {
    baseline: Ports,
    overrides: HashSet<Keyed<Override>>,
}

/// A value in a set that is searched by routing key. One pointer wide, so that a set can be copied at little cost, and
/// that the room a growing set keeps free costs little too.
#[derive(Debug)]
struct Keyed<T>(Arc<(RoutingKey, T)>);

// === impl Keyed ===

impl<T> Keyed<T> {
    fn new(key: RoutingKey, value: T) -> Self {
        Self(Arc::new((key, value)))
    }

    fn key(&self) -> &RoutingKey {
        &self.0.0
    }

    fn value(&self) -> &T {
        &self.0.1
    }
}

impl<T> Clone for Keyed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> PartialEq for Keyed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Keyed<T> {}

// Hashes as the key does, which `Borrow` demands.
impl<T> Hash for Keyed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl<T> Borrow<RoutingKey> for Keyed<T> {
    fn borrow(&self) -> &RoutingKey {
        self.key()
    }
}

// === impl PortMatch ===

impl From<u16> for PortMatch {
    fn from(port: u16) -> Self {
        Self::Port(port)
    }
}

impl fmt::Display for PortMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => fmt::Display::fmt(port, f),
            Self::Any => f.pad("*"),
        }
    }
}

// === impl Override ===

impl Override {
    /// The endpoints for a port: its own list, else that of [`PortMatch::Any`], else `None`.
    #[must_use]
    pub fn endpoints(&self, port: u16) -> Option<&Arc<[Endpoint]>> {
        endpoints(&self.ports, port)
    }
}

// === impl RouteTable ===

impl RouteTable {
    /// The table that sends everything to the baseline, of generation 0.
    #[must_use]
    pub fn empty() -> Self {
        RouteTableBuilder::new(0).finish()
    }

    /// Which snapshot this is; the number its builder was given.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many overrides there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.overrides
    }

    /// Whether there is no override.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.overrides == 0
    }

    /// Whether some sandbox or route group was said to have this key, whatever it forks.
    ///
    /// An override alone does not make its key known: in a table that arrives in pieces more of its overrides may be
    /// missing, and a strict request for their workloads must not go to the baseline.
    #[must_use]
    pub fn knows(&self, key: &RoutingKey) -> bool {
        self.owners.contains(key)
    }

    /// The sandbox or route group that was said to have this key.
    #[must_use]
    pub fn owner(&self, key: &RoutingKey) -> Option<&Arc<str>> {
        Some(self.owners.get(key)?.value())
    }

    /// The baseline endpoints of a workload's port; `None` where the table has none, as for a sidecar's own app.
    #[must_use]
    pub fn baseline(&self, workload: &Workload, port: u16) -> Option<&Arc<[Endpoint]>> {
        endpoints(&self.workloads.get(workload)?.baseline, port)
    }

    /// The override for a workload and a key.
    #[must_use]
    pub fn find(&self, workload: &Workload, key: &RoutingKey) -> Option<&Override> {
        self.workloads.get(workload)?.overrides.get(key).map(Keyed::value)
    }

    /// Every override, in no particular order.
    pub fn overrides(&self) -> impl Iterator<Item = (&Workload, &RoutingKey, &Override)> {
        self.workloads.iter().flat_map(|(workload, routes)| {
            routes.overrides.iter().map(move |rule| (workload, rule.key(), rule.value()))
        })
    }

    /// Every known routing key with the name of what has it, in no particular order.
    pub fn owners(&self) -> impl Iterator<Item = (&RoutingKey, &Arc<str>)> {
        self.owners.iter().map(|owner| (owner.key(), owner.value()))
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::empty()
    }
}

/// An exact port wins over `Any`, which sorts last. The lists are a few entries long, so a scan is the fastest search.
fn endpoints(ports: &Ports, port: u16) -> Option<&Arc<[Endpoint]>> {
    let found = ports.iter().find(|(entry, _)| match entry {
        PortMatch::Port(entry) => *entry == port,
        PortMatch::Any => true,
    });
    found.map(|(_, endpoints)| endpoints)
}

#[cfg(test)]
mod tests;
