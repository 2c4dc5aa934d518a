//! Route groups: who their members are, and whose fork counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use spurline_route::{RoutingKey, Workload};

use crate::document::{ConflictRule, MEMBERS_MAX, RouteGroup, Sandbox};

use super::Age;

/// What is derived of a route group. Members are accepted sandboxes.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) document: RouteGroup,
    /// The key that it claims.
    pub(super) key: RoutingKey,
    /// Those that count, and those that are too many. All of the first are older than any of the second.
    members: BTreeSet<Age>,
    waiting: BTreeSet<Age>,
    /// Which members fork a workload, oldest first.
    forks: BTreeMap<Workload, Vec<Age>>,
}

/// A member came to count, or no longer counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    In(Age),
    Out(Age),
}

// === impl Group ===

impl Group {
    pub(super) fn new(document: RouteGroup, key: RoutingKey) -> Self {
        Self { document, key, members: BTreeSet::new(), waiting: BTreeSet::new(), forks: BTreeMap::new() }
    }

    /// Adds a sandbox, and says who counts now that did not, or no longer does. The caller tells
    /// [`Group::count`] and [`Group::discount`] of their forks.
    pub(super) fn join(&mut self, age: Age) -> Vec<Turn> {
        self.members.insert(age.clone());
        if self.members.len() <= MEMBERS_MAX {
            return vec![Turn::In(age)];
        }
        let Some(youngest) = self.members.pop_last() else { return Vec::new() };
        self.waiting.insert(youngest.clone());
        if youngest == age { Vec::new() } else { vec![Turn::Out(youngest), Turn::In(age)] }
    }

    /// Removes a sandbox, likewise.
    pub(super) fn leave(&mut self, age: &Age) -> Vec<Turn> {
        if !self.members.remove(age) {
            self.waiting.remove(age);
            return Vec::new();
        }
        let next = self.waiting.pop_first();
        self.members.extend(next.clone());
        std::iter::once(Turn::Out(age.clone())).chain(next.map(Turn::In)).collect()
    }

    /// Counts the forks of a member.
    pub(super) fn count(&mut self, age: &Age, sandbox: &Sandbox) {
        for fork in &sandbox.forks {
            let ages = self.forks.entry(fork.workload.clone()).or_default();
            if let Err(place) = ages.binary_search(age) {
                ages.insert(place, age.clone());
            }
        }
    }

    /// Counts them no longer.
    pub(super) fn discount(&mut self, age: &Age, sandbox: &Sandbox) {
        for fork in &sandbox.forks {
            let Some(ages) = self.forks.get_mut(&fork.workload) else { continue };
            if let Ok(place) = ages.binary_search(age) {
                ages.remove(place);
            }
            if ages.is_empty() {
                self.forks.remove(&fork.workload);
            }
        }
    }

    /// The member whose fork of a workload counts, or with it that nobody's does; `None`: no member forks it.
    pub(super) fn winner(&self, workload: &Workload) -> Option<Result<&Age, &Age>> {
        let ages = self.forks.get(workload)?;
        let (oldest, newest) = (ages.first()?, ages.last()?);
        Some(match self.document.conflict {
            ConflictRule::Oldest => Ok(oldest),
            ConflictRule::Newest => Ok(newest),
            ConflictRule::Reject if ages.len() == 1 => Ok(oldest),
            ConflictRule::Reject => Err(oldest),
        })
    }

    /// The workloads that members fork, all or those after one.
    pub(super) fn workloads_after<'a>(
        &'a self,
        after: Option<&'a Workload>,
    ) -> impl Iterator<Item = &'a Workload> + use<'a> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.forks.range((from, Bound::Unbounded)).map(|(workload, _)| workload)
    }

    /// The workloads that several members fork, with these members, oldest first.
    pub(super) fn contested(&self) -> impl Iterator<Item = (&Workload, &[Age])> {
        let all = self.forks.iter().map(|(workload, ages)| (workload, ages.as_slice()));
        all.filter(|(_, ages)| ages.len() > 1)
    }

    /// The members that count, oldest first.
    pub(super) fn members(&self) -> impl Iterator<Item = &Age> {
        self.members.iter()
    }

    /// How many sandboxes are too many.
    pub(super) fn left_out(&self) -> usize {
        self.waiting.len()
    }
}
