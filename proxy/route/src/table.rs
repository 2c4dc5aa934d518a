//! The route table: an immutable snapshot of every override a proxy needs.
//!
//! It is built once, checked as a whole, and then only read; swapping one table for the next is the caller's affair.
//! A look-up hashes the workload and the key, so that it costs the same with one override and with ten thousand.

use std::{collections::hash_map::Entry, fmt, net::SocketAddr, sync::Arc};

// Seeded per map, so that nobody can choose names that collide.
use foldhash::{HashMap, HashMapExt};

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
    workloads: HashMap<Workload, Routes>,
    sandboxes: HashMap<RoutingKey, Arc<str>>,
}

/// Collects what a [`RouteTable`] is made of, in any order.
///
/// After an error the offending item is left out and the builder stays usable, so that a caller can report everything
/// that is wrong at once.
#[derive(Debug)]
pub struct RouteTableBuilder {
    table: RouteTable,
    keys: HashMap<Arc<str>, RoutingKey>,
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

#[derive(Debug, Default)]
struct Routes {
    baseline: Ports,
    overrides: HashMap<RoutingKey, Override>,
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
        RouteTableBuilder::new(0).table
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

    /// Whether some sandbox or route group has this key, whatever it forks.
    #[must_use]
    pub fn knows(&self, key: &RoutingKey) -> bool {
        self.sandboxes.contains_key(key)
    }

    /// The sandbox or route group that has this key.
    #[must_use]
    pub fn sandbox(&self, key: &RoutingKey) -> Option<&Arc<str>> {
        self.sandboxes.get(key)
    }

    /// The baseline endpoints of a workload's port; `None` where the table has none, as for a sidecar's own app.
    #[must_use]
    pub fn baseline(&self, workload: &Workload, port: u16) -> Option<&Arc<[Endpoint]>> {
        endpoints(&self.workloads.get(workload)?.baseline, port)
    }

    /// The override for a workload and a key.
    #[must_use]
    pub fn find(&self, workload: &Workload, key: &RoutingKey) -> Option<&Override> {
        self.workloads.get(workload)?.overrides.get(key)
    }

    /// Every override, in no particular order.
    pub fn overrides(&self) -> impl Iterator<Item = (&Workload, &RoutingKey, &Override)> {
        self.workloads.iter().flat_map(|(workload, routes)| {
            routes.overrides.iter().map(move |(key, rule)| (workload, key, rule))
        })
    }

    /// Every sandbox and route group with its key, in no particular order.
    pub fn sandboxes(&self) -> impl Iterator<Item = (&RoutingKey, &Arc<str>)> {
        self.sandboxes.iter()
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::empty()
    }
}

// === impl RouteTableBuilder ===

impl RouteTableBuilder {
    /// Starts a table of this generation.
    #[must_use]
    pub fn new(generation: u64) -> Self {
        let (workloads, sandboxes) = (HashMap::new(), HashMap::new());
        Self { table: RouteTable { generation, overrides: 0, workloads, sandboxes }, keys: HashMap::new() }
    }

    /// Adds a sandbox or a route group.
    ///
    /// # Errors
    /// When its name or its key is already taken.
    pub fn add_sandbox(&mut self, name: impl Into<Arc<str>>, key: RoutingKey) -> Result<(), TableError> {
        let name = name.into();
        if let Some(&first) = self.keys.get(&name) {
            let (first, second) = (Box::new(first), Box::new(key));
            return Err(TableError::DuplicateSandbox { name, first, second });
        }
        match self.table.sandboxes.entry(key) {
            Entry::Occupied(taken) => {
                Err(TableError::DuplicateKey { key, first: Arc::clone(taken.get()), second: name })
            }
            Entry::Vacant(free) => {
                free.insert(Arc::clone(&name));
                self.keys.insert(name, key);
                Ok(())
            }
        }
    }

    /// Adds the baseline endpoints of one of a workload's ports.
    ///
    /// # Errors
    /// When the port already has some.
    pub fn add_workload(
        &mut self,
        workload: &Workload,
        port: impl Into<PortMatch>,
        endpoints: impl Into<Arc<[Endpoint]>>,
    ) -> Result<(), TableError> {
        let port = port.into();
        let baseline = &mut self.table.workloads.entry(workload.clone()).or_default().baseline;
        if baseline.iter().any(|(taken, _)| *taken == port) {
            return Err(TableError::DuplicatePort { owner: workload.as_str().into(), port });
        }
        baseline.push((port, endpoints.into()));
        baseline.sort_unstable_by_key(|(port, _)| *port);
        Ok(())
    }

    /// Adds an override. Its key may be added later, its workload needs no baseline endpoints.
    ///
    /// # Errors
    /// When the key already has an override for this workload, or the override maps a port twice.
    pub fn add_override(
        &mut self,
        workload: &Workload,
        key: RoutingKey,
        mut rule: Override,
    ) -> Result<(), TableError> {
        rule.ports.sort_unstable_by_key(|(port, _)| *port);
        for (one, next) in rule.ports.iter().zip(rule.ports.iter().skip(1)) {
            if one.0 == next.0 {
                return Err(TableError::DuplicatePort { owner: rule.fork, port: one.0 });
            }
        }
        match self.table.workloads.entry(workload.clone()).or_default().overrides.entry(key) {
            Entry::Occupied(taken) => Err(TableError::DuplicateOverride {
                workload: workload.clone(),
                key,
                first: Arc::clone(&taken.get().fork),
                second: rule.fork,
            }),
            Entry::Vacant(free) => {
                free.insert(rule);
                self.table.overrides += 1;
                Ok(())
            }
        }
    }

    /// Every override whose key belongs to no sandbox or route group, in the order of their names.
    #[must_use]
    pub fn dangling(&self) -> Vec<TableError> {
        let unknown = self.table.overrides().filter(|(_, key, _)| !self.table.knows(key));
        let mut unknown: Vec<_> = unknown.collect();
        unknown.sort_unstable_by_key(|&(workload, key, _)| (workload, key));
        let error = |(workload, key, rule): (&Workload, &RoutingKey, &Override)| TableError::UnknownKey {
            workload: workload.clone(),
            key: *key,
            fork: Arc::clone(&rule.fork),
        };
        unknown.into_iter().map(error).collect()
    }

    /// The finished table.
    ///
    /// # Errors
    /// The first of [`RouteTableBuilder::dangling`].
    pub fn build(self) -> Result<RouteTable, TableError> {
        match self.dangling().into_iter().next() {
            Some(error) => Err(error),
            None => Ok(self.table),
        }
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
mod tests {
    use super::*;

    fn key(text: &str) -> RoutingKey {
        text.parse().unwrap()
    }

    fn cart() -> Workload {
        "shop/Deployment/cart".parse().unwrap()
    }

    fn at(port: u16) -> Arc<[Endpoint]> {
        Arc::new([Endpoint { addr: ([127, 0, 0, 1], port).into() }])
    }

    fn fork(name: &str, ports: Ports) -> Override {
        Override { fork: name.into(), sandbox: "alice".into(), on_unavailable: OnUnavailable::Reject, ports }
    }

    #[test]
    fn an_exact_port_wins_over_any_whatever_the_order() {
        let mut builder = RouteTableBuilder::new(1);
        builder.add_workload(&cart(), PortMatch::Any, at(1)).unwrap();
        builder.add_workload(&cart(), 8080, at(2)).unwrap();
        let table = builder.build().unwrap();
        assert_eq!(table.baseline(&cart(), 8080), Some(&at(2)));
        assert_eq!(table.baseline(&cart(), 9090), Some(&at(1)));
        assert_eq!(table.baseline(&"shop/Deployment/web".parse().unwrap(), 8080), None);
    }

    #[test]
    fn one_key_cannot_belong_to_two_sandboxes_nor_one_sandbox_have_two_keys() {
        let mut builder = RouteTableBuilder::new(1);
        builder.add_sandbox("alice", key("k1")).unwrap();
        let error = builder.add_sandbox("bob", key("k1")).unwrap_err();
        assert_eq!(error.to_string(), "routing key k1 belongs to sandbox alice and to sandbox bob");
        let error = builder.add_sandbox("alice", key("k2")).unwrap_err();
        assert_eq!(error.to_string(), "sandbox alice has routing key k1 and routing key k2");
        builder.add_sandbox("bob", key("k2")).unwrap();
    }

    #[test]
    fn a_workload_and_a_key_have_one_fork() {
        let mut builder = RouteTableBuilder::new(1);
        builder.add_override(&cart(), key("k1"), fork("one", vec![])).unwrap();
        let error = builder.add_override(&cart(), key("k1"), fork("two", vec![])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "shop/Deployment/cart with routing key k1 goes to fork one and to fork two"
        );
    }

    #[test]
    fn a_port_is_mapped_once() {
        let mut builder = RouteTableBuilder::new(1);
        let twice = vec![(PortMatch::Any, at(1)), (80.into(), at(2)), (PortMatch::Any, at(3))];
        let error = builder.add_override(&cart(), key("k1"), fork("one", twice)).unwrap_err();
        assert_eq!(error.to_string(), "one maps port * twice");
        builder.add_workload(&cart(), 80, at(1)).unwrap();
        let error = builder.add_workload(&cart(), 80, at(1)).unwrap_err();
        assert_eq!(error.to_string(), "shop/Deployment/cart maps port 80 twice");
    }

    #[test]
    fn an_override_needs_a_sandbox_which_may_be_added_later() {
        let mut builder = RouteTableBuilder::new(1);
        builder.add_override(&cart(), key("k1"), fork("one", vec![])).unwrap();
        let errors = builder.dangling();
        let text = "fork one of shop/Deployment/cart is for routing key k1, which belongs to no sandbox";
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        builder.add_sandbox("alice", key("k1")).unwrap();
        let table = builder.build().unwrap();
        assert_eq!((table.len(), table.is_empty(), table.generation()), (1, false, 1));
        assert_eq!(table.sandbox(&key("k1")).map(AsRef::as_ref), Some("alice"));
        assert_eq!(table.overrides().count(), 1);
    }

    #[test]
    fn the_empty_table_knows_nobody() {
        let table = RouteTable::empty();
        assert!(table.is_empty() && !table.knows(&key("k1")) && table.find(&cart(), &key("k1")).is_none());
    }
}
