//! What became of a document, and why.

use std::sync::Arc;

use spurline_route::{RoutingKey, Workload};

use crate::document::{Id, Kind};

use super::{Model, group::Group};

/// The most conflicts that a [`Status`] lists.
pub const CONFLICTS_MAX: usize = 100;
/// The most members that a [`Conflict::Fork`] names.
pub const CONFLICT_MEMBERS_MAX: usize = 10;

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The key it claims. Workloads have none.
    pub routing_key: Option<RoutingKey>,
    /// Whether it counts. If not, it gives no resource and is no member of a group, and a conflict says why.
    pub accepted: bool,
    /// What keeps it, or a part of it, from counting: the first [`CONFLICTS_MAX`].
    pub conflicts: Vec<Conflict>,
    /// How many conflicts are not listed.
    pub conflicts_unlisted: usize,
    /// The sandboxes that count as members of a route group, oldest first.
    pub members: Vec<Arc<str>>,
    /// How many resources it gives.
    pub resources: usize,
}

/// Something that keeps a document, or a part of it, from counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// An older document has the key.
    Key {
        /// That document.
        with: Id,
    },
    /// Members of a group fork the same workload.
    Fork {
        /// What they fork.
        workload: Workload,
        /// The sandboxes, the oldest [`CONFLICT_MEMBERS_MAX`].
        between: Vec<Arc<str>>,
        /// How many sandboxes are not named.
        between_unlisted: usize,
        /// Whose fork counts; `None`: nobody's, and requests are refused.
        winner: Option<Arc<str>>,
    },
    /// A group names a sandbox that does not exist or is not accepted.
    NoMember {
        /// The name.
        name: Arc<str>,
    },
    /// A group has more members than [`MEMBERS_MAX`](crate::document::MEMBERS_MAX); the oldest count.
    TooManyMembers {
        /// How many do not count.
        left_out: usize,
    },
}

// === impl Model ===

impl Model {
    /// What became of a document.
    #[must_use]
    pub fn status(&self, id: &Id) -> Option<Status> {
        let routing_key = self.get(id)?.document.routing_key();
        let owner = routing_key.and_then(|key| self.owner(&key)).filter(|owner| *owner != id);
        let mut status = Status {
            routing_key,
            accepted: owner.is_none(),
            conflicts: owner.map(|with| Conflict::Key { with: with.clone() }).into_iter().collect(),
            conflicts_unlisted: 0,
            members: Vec::new(),
            resources: 0,
        };
        if let Some(group) = self.groups.get(&id.name).filter(|_| id.kind == Kind::RouteGroup) {
            status.members = group.members().map(|member| Arc::clone(&member.id.name)).collect();
            let mut conflicts = self.conflicts_of(group);
            let free = CONFLICTS_MAX.saturating_sub(status.conflicts.len());
            status.conflicts.extend(conflicts.by_ref().take(free));
            status.conflicts_unlisted = conflicts.count();
        }
        if status.accepted {
            // Its key owner, or its baseline, and its overrides.
            status.resources = 1 + self.workloads_of(id).count();
        }
        Some(status)
    }

    fn conflicts_of(&self, group: &Group) -> impl Iterator<Item = Conflict> {
        let left_out = group.left_out();
        let too_many = (left_out > 0).then_some(Conflict::TooManyMembers { left_out });
        let absent = group.document.names.iter().filter(|name| self.accepted(name).is_none());
        let absent = absent.map(|name| Conflict::NoMember { name: Arc::clone(name) });
        let contested = group.contested().map(|(workload, ages)| Conflict::Fork {
            workload: workload.clone(),
            between: ages.iter().take(CONFLICT_MEMBERS_MAX).map(|age| Arc::clone(&age.id.name)).collect(),
            between_unlisted: ages.len().saturating_sub(CONFLICT_MEMBERS_MAX),
            winner: group.winner(workload).and_then(Result::ok).map(|age| Arc::clone(&age.id.name)),
        });
        too_many.into_iter().chain(absent).chain(contested)
    }
}
