//! Making a table: from nothing, or from the one before.

use std::{collections::hash_map::Entry, sync::Arc};

use foldhash::{HashMap, HashMapExt, HashSet};

use super::{Endpoint, Keyed, Override, PortMatch, Ports, RouteTable, Routes, TableError};
use crate::{RoutingKey, Workload};

/// A set this many times larger than what it holds is made smaller.
const SLACK_MAX: usize = 4;
/// Sets smaller than this are left alone.
const SLACK_MIN: usize = 64;

/// Collects what a [`RouteTable`] is made of, in any order.
///
/// `add_*` is for what is read as a whole and may contradict itself; `put_*` and `remove_*` replace what is there. After
/// an error the offending item is left out and the builder stays usable, so that a caller can report everything that is
/// wrong at once.
#[derive(Debug)]
pub struct RouteTableBuilder {
    table: RouteTable,
    /// Names given to [`RouteTableBuilder::add_sandbox`].
    names: HashMap<Arc<str>, RoutingKey>,
}

// === impl RouteTableBuilder ===

impl RouteTableBuilder {
    /// Starts an empty table of this generation.
    #[must_use]
    pub fn new(generation: u64) -> Self {
        let table =
            RouteTable { generation, overrides: 0, workloads: HashMap::new(), owners: Arc::default() };
        Self { table, names: HashMap::new() }
    }

    /// Starts with what `table` holds, as the given generation.
    ///
    /// Costs one pointer per workload; the first edit of a workload, or of a key's owner, one per entry that it is
    /// among.
    #[must_use]
    pub fn from_table(table: &RouteTable, generation: u64) -> Self {
        let RouteTable { overrides, workloads, owners, .. } = table;
        let (overrides, workloads, owners) = (*overrides, workloads.clone(), Arc::clone(owners));
        Self { table: RouteTable { generation, overrides, workloads, owners }, names: HashMap::new() }
    }

    /// Adds a sandbox or a route group.
    ///
    /// # Errors
    /// When its name or its key was already added.
    pub fn add_sandbox(&mut self, name: impl Into<Arc<str>>, key: RoutingKey) -> Result<(), TableError> {
        let name = name.into();
        if let Some(&first) = self.names.get(&name) {
            let (first, second) = (Box::new(first), Box::new(key));
            return Err(TableError::DuplicateSandbox { name, first, second });
        }
        if let Some(first) = self.table.owner(&key) {
            return Err(TableError::DuplicateKey { key, first: Arc::clone(first), second: name });
        }
        self.put_owner(key, Arc::clone(&name));
        self.names.insert(name, key);
        Ok(())
    }

    /// Says what a routing key stands for. Names need not be unique: a sandbox and a route group may share one.
    pub fn put_owner(&mut self, key: RoutingKey, name: impl Into<Arc<str>>) {
        Arc::make_mut(&mut self.table.owners).replace(Keyed::new(key, name.into()));
    }

    /// Takes [`RouteTableBuilder::put_owner`] back; returns whether the key stood for anything. Its overrides stay.
    pub fn remove_owner(&mut self, key: &RoutingKey) -> bool {
        if !self.table.knows(key) {
            return false;
        }
        let owners = Arc::make_mut(&mut self.table.owners);
        owners.remove(key);
        shrink(owners);
        true
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
        let baseline = &mut self.routes(workload).baseline;
        if baseline.iter().any(|(taken, _)| *taken == port) {
            return Err(TableError::DuplicatePort { owner: workload.as_str().into(), port });
        }
        baseline.push((port, endpoints.into()));
        baseline.sort_unstable_by_key(|(port, _)| *port);
        Ok(())
    }

    /// Sets all baseline endpoints of a workload, in place of those it has.
    ///
    /// # Errors
    /// When a port has two lists.
    pub fn put_baseline(&mut self, workload: &Workload, mut ports: Ports) -> Result<(), TableError> {
        sort(&mut ports)
            .map_err(|port| TableError::DuplicatePort { owner: workload.as_str().into(), port })?;
        self.routes(workload).baseline = ports;
        Ok(())
    }

    /// Removes all baseline endpoints of a workload.
    pub fn remove_baseline(&mut self, workload: &Workload) {
        if self.table.workloads.contains_key(workload) {
            self.routes(workload).baseline = Ports::new();
            self.forget_if_empty(workload);
        }
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
        sort_of(&mut rule)?;
        if let Some(first) = self.table.find(workload, &key) {
            let (workload, first) = (workload.clone(), Arc::clone(&first.fork));
            return Err(TableError::DuplicateOverride { workload, key, first, second: rule.fork });
        }
        self.put_override(workload, key, rule)
    }

    /// Sets the override for a workload and a key, in place of one there is. Its key's owner may be put later.
    ///
    /// # Errors
    /// When the override maps a port twice; the one there is stays.
    pub fn put_override(
        &mut self,
        workload: &Workload,
        key: RoutingKey,
        mut rule: Override,
    ) -> Result<(), TableError> {
        sort_of(&mut rule)?;
        let named = self.table.owner(&key).filter(|name| **name == rule.sandbox);
        // Thousands of overrides name few sandboxes.
        rule.sandbox = named.map_or(rule.sandbox, Arc::clone);
        if self.routes(workload).overrides.replace(Keyed::new(key, rule)).is_none() {
            self.table.overrides += 1;
        }
        Ok(())
    }

    /// Removes the override for a workload and a key; returns whether there was one.
    pub fn remove_override(&mut self, workload: &Workload, key: &RoutingKey) -> bool {
        if self.table.find(workload, key).is_none() {
            return false;
        }
        self.routes(workload).overrides.remove(key);
        self.forget_if_empty(workload);
        self.table.overrides = self.table.overrides.saturating_sub(1);
        true
    }

    /// Every override whose key no sandbox or route group was said to have, in the order of their names.
    #[must_use]
    pub fn dangling(&self) -> Vec<TableError> {
        let mut unknown: Vec<_> =
            self.table.overrides().filter(|(_, key, _)| !self.table.knows(key)).collect();
        unknown.sort_unstable_by_key(|&(workload, key, _)| (workload, key));
        let error = |(workload, key, rule): (&Workload, &RoutingKey, &Override)| TableError::UnknownKey {
            workload: workload.clone(),
            key: *key,
            fork: Arc::clone(&rule.fork),
        };
        unknown.into_iter().map(error).collect()
    }

    /// The finished table, for what is read as a whole: every key must have been said to belong to somebody.
    ///
    /// # Errors
    /// The first of [`RouteTableBuilder::dangling`].
    pub fn build(self) -> Result<RouteTable, TableError> {
        match self.dangling().into_iter().next() {
            Some(error) => Err(error),
            None => Ok(self.finish()),
        }
    }

    /// The finished table, for what arrives in pieces: owners of keys may be missing.
    #[must_use]
    pub fn finish(self) -> RouteTable {
        self.table
    }

    fn routes(&mut self, workload: &Workload) -> &mut Routes {
        match self.table.workloads.entry(workload.clone()) {
            Entry::Occupied(known) => Arc::make_mut(known.into_mut()),
            Entry::Vacant(free) => Arc::make_mut(free.insert(Arc::default())),
        }
    }

    fn forget_if_empty(&mut self, workload: &Workload) {
        let Some(routes) = self.table.workloads.get_mut(workload) else { return };
        if routes.baseline.is_empty() && routes.overrides.is_empty() {
            self.table.workloads.remove(workload);
        } else if let Some(routes) = Arc::get_mut(routes) {
            shrink(&mut routes.overrides);
        }
    }
}

fn sort_of(rule: &mut Override) -> Result<(), TableError> {
    sort(&mut rule.ports).map_err(|port| TableError::DuplicatePort { owner: Arc::clone(&rule.fork), port })
}

/// Sorts by port; the error is a port that stands there twice.
fn sort(ports: &mut Ports) -> Result<(), PortMatch> {
    ports.sort_unstable_by_key(|(port, _)| *port);
    match ports.iter().zip(ports.iter().skip(1)).find(|(one, next)| one.0 == next.0) {
        Some(((port, _), _)) => Err(*port),
        None => {
            ports.shrink_to_fit();
            Ok(())
        }
    }
}

/// Gives memory back after many removals; most of the time it does nothing.
fn shrink<T>(set: &mut HashSet<Keyed<T>>) {
    if set.capacity() > SLACK_MIN && set.capacity() / SLACK_MAX > set.len() {
        set.shrink_to(set.len().saturating_mul(2));
    }
}
