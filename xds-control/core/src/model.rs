//! Documents in, resources and statuses out.

use std::sync::Arc;

use bytes::Bytes;
use spurline_route::{OnUnavailable, RoutingKey, Workload};

use crate::{
    catalog::ResourceName,
    document::{Baseline, Document, Id, Kind, Ports},
};

/// The most conflicts that a [`Status`] lists.
pub const CONFLICTS_MAX: usize = 100;

/// Where a document comes from. A document of a file hides the stored one of the same kind and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A file of the operator's.
    File,
    /// What was written over REST.
    Store,
}

/// A document and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The document.
    pub document: Document,
    /// Where it comes from.
    pub origin: Origin,
    /// When it was created, in milliseconds since 1970-01-01T00:00:00Z.
    pub created_unix_ms: u64,
    /// When it ends whatever happens, in seconds since 1970-01-01T00:00:00Z. Passed on to proxies; nothing here acts
    /// on it.
    pub expires_unix_s: Option<u64>,
}

/// One change of the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Creates or replaces the document of this origin, kind and name.
    Put(Record),
    /// Removes it, if it is there.
    Delete {
        /// Kind and name.
        id: Id,
        /// Only the document of this origin.
        origin: Origin,
    },
}

/// One change of the resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which resource.
    pub name: ResourceName,
    /// Its encoded message, the same bytes for the same content; `None`: it is gone.
    pub body: Option<Bytes>,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The key it claims. Workloads have none.
    pub routing_key: Option<RoutingKey>,
    /// Whether it counts. If not, it gives no resource and is no member of a group, and a conflict says why.
    pub accepted: bool,
    /// What is in its way, the first [`CONFLICTS_MAX`].
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
    /// Members fork the same workload.
    Fork {
        /// What they fork.
        workload: Workload,
        /// The sandboxes, oldest first.
        between: Vec<Arc<str>>,
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

/// Where requests with a key go that come for a workload: an override in terms of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The key, of a sandbox or a route group.
    pub key: RoutingKey,
    /// What they come for.
    pub workload: &'a Workload,
    /// The sandbox whose fork it is; for the key of a group, the member.
    pub sandbox: &'a Arc<str>,
    /// What they get that no endpoint can take.
    pub on_unavailable: OnUnavailable,
    /// Where they go.
    pub ports: &'a Ports,
    /// When the rule ends by itself.
    pub expires_unix_s: Option<u64>,
}

/// Which rules; every field that is set narrows the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleFilter {
    /// This key only.
    pub routing_key: Option<RoutingKey>,
    /// This sandbox's forks only, also by keys of groups.
    pub sandbox: Option<String>,
    /// Workloads of this namespace only.
    pub namespace: Option<String>,
    /// Workloads of this kind only.
    pub kind: Option<String>,
    /// Workloads of this name only.
    pub name: Option<String>,
}

/// All documents and what follows from them.
#[derive(Debug, Default)]
pub struct Model {}

// === impl Model ===

impl Model {
    /// A model without documents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies edits in order, and says which resources may differ from before, each once, in the order of their
    /// names. The cost is that of what the edits affect, not of the whole.
    #[must_use = "a change that the catalog does not get is lost"]
    pub fn apply(&mut self, _edits: impl IntoIterator<Item = Edit>) -> Vec<Change> {
        todo!()
    }

    /// A document: that of a file, else the stored one.
    #[must_use]
    pub fn get(&self, _id: &Id) -> Option<&Record> {
        todo!()
    }

    /// All documents of a kind, in the order of their names.
    pub fn list(&self, _kind: Kind) -> impl Iterator<Item = &Record> {
        std::iter::empty()
    }

    /// What became of a document.
    #[must_use]
    pub fn status(&self, _id: &Id) -> Option<Status> {
        todo!()
    }

    /// The resources that a document gives, by which "programmed" is judged.
    #[must_use]
    pub fn resources_of(&self, _id: &Id) -> Vec<ResourceName> {
        todo!()
    }

    /// The rule for a workload and a key.
    #[must_use]
    pub fn rule<'a>(&'a self, _workload: &'a Workload, _key: &RoutingKey) -> Option<Rule<'a>> {
        todo!()
    }

    /// Rules by key, then by workload.
    pub fn rules<'a>(&'a self, _filter: &'a RuleFilter) -> impl Iterator<Item = Rule<'a>> {
        std::iter::empty()
    }

    /// All baselines, in the order of their workloads' names.
    pub fn baselines(&self) -> impl Iterator<Item = &Baseline> {
        std::iter::empty()
    }
}
