//! Documents in, resources and statuses out.
//!
//! # The rules
//!
//! 1. **One key, one owner.** When several documents claim a routing key, the oldest has it: a document of a file is
//!    older than any stored one, then the time of creation decides, then the kind (a sandbox before a route group),
//!    then the name. The others are not *accepted*: they give no resources, are members of no group, and their status
//!    says who has the key. When the owner goes, the next oldest takes over.
//! 2. **One fork per workload and group.** When several members of a route group fork one workload, its `conflict`
//!    decides: the fork of the oldest member counts, or that of the newest, by the same order of age; or nobody's, and
//!    requests with the group's key are refused there, rather than tested against the wrong code.
//! 3. **A group has up to [`MEMBERS_MAX`] members.** Of more, the oldest count.
//! 4. **A file hides what is stored.** Of two documents of one kind and name, only that of the file counts.
//!
//! That a sandbox forks a workload twice is a fault of the document and never comes here.
//!
//! # What follows
//!
//! Each accepted document with a key gives one `KeyOwner`, and one `Override` for each workload that it forks. Both end
//! when the document does; what comes from a member of a group ends when the first of the two ends. Each workload
//! document gives one `Baseline`.
//! A document gives nothing else, and nothing here acts on time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use spurline_route::{Endpoint, PortMatch, RoutingKey, Workload};

#[cfg(doc)]
use crate::document::MEMBERS_MAX;
use crate::{
    catalog::{ResourceName, ResourceType},
    document::{Baseline, Document, Id, Kind, Ports, Sandbox},
};

mod derive;
mod edit;
mod group;
mod names;
mod rules;
mod status;

pub use self::{
    rules::{Rule, RuleFilter},
    status::{CONFLICT_MEMBERS_MAX, CONFLICTS_MAX, Conflict, Status},
};

use self::{group::Group, names::Names};

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

/// All documents and what follows from them.
#[derive(Debug)]
pub struct Model {
    documents: BTreeMap<Id, Slot>,
    /// Who claims a key; the first one has it.
    claims: BTreeMap<RoutingKey, BTreeSet<Age>>,
    /// Route groups and who their members are, whether or not they are accepted.
    groups: BTreeMap<Arc<str>, Group>,
    /// Groups by the sandboxes that they name, and by the first label that they select.
    groups_by_name: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    groups_by_label: BTreeMap<Label, BTreeSet<Arc<str>>>,
    /// Accepted sandboxes by label.
    sandboxes_by_label: BTreeMap<Label, BTreeSet<Arc<str>>>,
    /// Each workload's name once, however many forks it has.
    names: Names,
    /// The ports of a fork when nobody's counts.
    refused: Ports,
}

/// A label's key and value.
type Label = (Arc<str>, Arc<str>);

/// The documents of one kind and name, by origin.
#[derive(Debug, Default)]
struct Slot {
    file: Option<Box<Record>>,
    store: Option<Box<Record>>,
}

/// The order of age: who comes first is older.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    origin: Origin,
    created_unix_ms: u64,
    id: Id,
}

/// What may differ after an edit, by the key it is for.
#[derive(Debug, Default)]
struct Dirty {
    workloads_by_key: BTreeMap<RoutingKey, BTreeSet<Workload>>,
    baselines: BTreeSet<Id>,
}

// === impl Model ===

impl Model {
    /// A model without documents.
    #[must_use]
    pub fn new() -> Self {
        let nowhere: Arc<[Endpoint]> = Arc::new([]);
        Self {
            documents: BTreeMap::new(),
            claims: BTreeMap::new(),
            groups: BTreeMap::new(),
            groups_by_name: BTreeMap::new(),
            groups_by_label: BTreeMap::new(),
            sandboxes_by_label: BTreeMap::new(),
            names: Names::default(),
            refused: Box::new([(PortMatch::Any, nowhere)]),
        }
    }

    /// Applies edits in order, and says which resources may differ from before, each once. The cost is that of what
    /// the edits affect, not of the whole.
    #[must_use = "a change that the catalog does not get is lost"]
    pub fn apply(&mut self, edits: impl IntoIterator<Item = Edit>) -> Vec<Change> {
        let mut dirty = Dirty::default();
        for edit in edits {
            self.edit(edit, &mut dirty);
        }
        self.changes(dirty)
    }

    /// A document: that of a file, else the stored one.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<&Record> {
        self.documents.get(id)?.visible()
    }

    /// All documents of a kind, in the order of their names.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = &Record> {
        // Nothing has the empty name.
        self.list_after(&Id::new(kind, ""))
    }

    /// The documents of the kind of `after` whose names come after its name, whether or not it exists. Those before
    /// cost nothing.
    pub fn list_after(&self, after: &Id) -> impl Iterator<Item = &Record> + use<'_> {
        let kind = after.kind;
        let slots = self.documents.range((Bound::Excluded(after), Bound::Unbounded));
        slots.take_while(move |(id, _)| id.kind == kind).filter_map(|(_, slot)| slot.visible())
    }

    /// All baselines, in the order of their workloads' names.
    pub fn baselines(&self) -> impl Iterator<Item = &Baseline> {
        self.list(Kind::Workload).filter_map(|record| match &record.document {
            Document::Workload(baseline) => Some(baseline),
            Document::Sandbox(_) | Document::RouteGroup(_) => None,
        })
    }

    /// The resources that a document gives, by which "programmed" is judged.
    #[must_use]
    pub fn resources_of(&self, id: &Id) -> Vec<ResourceName> {
        let Some(record) = self.get(id) else { return Vec::new() };
        let Some(key) = record.document.routing_key() else {
            return vec![ResourceName { ty: ResourceType::Baseline, name: Arc::clone(&id.name) }];
        };
        if self.owner(&key) != Some(id) {
            return Vec::new();
        }
        let owner = ResourceName { ty: ResourceType::KeyOwner, name: key.as_str().into() };
        let overrides = self.workloads_of(id).map(|workload| override_name(workload, &key));
        std::iter::once(owner).chain(overrides).collect()
    }

    /// The document, other than `id`, that has a key and would keep it from `id`, were that a document of this origin
    /// and time of creation.
    #[must_use]
    pub fn older_owner(
        &self,
        key: &RoutingKey,
        id: &Id,
        (origin, created_unix_ms): (Origin, u64),
    ) -> Option<&Id> {
        let own = Age { origin, created_unix_ms, id: id.clone() };
        let other = self.claims.get(key)?.iter().find(|age| age.id != *id)?;
        (*other < own).then_some(&other.id)
    }

    /// The document that has a key.
    fn owner(&self, key: &RoutingKey) -> Option<&Id> {
        Some(&self.claims.get(key)?.first()?.id)
    }

    /// A sandbox and its record.
    fn sandbox(&self, name: &Arc<str>) -> Option<(&Sandbox, &Record)> {
        let record = self.get(&Id::new(Kind::Sandbox, Arc::clone(name)))?;
        match &record.document {
            Document::Sandbox(sandbox) => Some((sandbox, record)),
            Document::RouteGroup(_) | Document::Workload(_) => None,
        }
    }

    /// The workloads that a sandbox, or the members of a group, fork.
    fn workloads_of(&self, id: &Id) -> impl Iterator<Item = &Workload> {
        self.workloads_after(id, None)
    }

    /// Those of them that come after one.
    fn workloads_after<'a>(
        &'a self,
        id: &Id,
        after: Option<&'a Workload>,
    ) -> impl Iterator<Item = &'a Workload> + use<'a> {
        let (sandbox, group) = match id.kind {
            Kind::Sandbox => (self.sandbox(&id.name), None),
            Kind::RouteGroup => (None, self.groups.get(&id.name)),
            Kind::Workload => (None, None),
        };
        let forks = sandbox.into_iter().flat_map(move |(sandbox, _)| sandbox.forks_after(after));
        forks
            .map(|fork| &fork.workload)
            .chain(group.into_iter().flat_map(move |group| group.workloads_after(after)))
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Slot ===

impl Slot {
    fn visible(&self) -> Option<&Record> {
        self.file.as_deref().or(self.store.as_deref())
    }

    fn is_empty(&self) -> bool {
        self.file.is_none() && self.store.is_none()
    }

    fn of(&mut self, origin: Origin) -> &mut Option<Box<Record>> {
        match origin {
            Origin::File => &mut self.file,
            Origin::Store => &mut self.store,
        }
    }
}

// === impl Record ===

impl Record {
    fn age(&self) -> Age {
        let Self { document, origin, created_unix_ms, expires_unix_s: _ } = self;
        Age { origin: *origin, created_unix_ms: *created_unix_ms, id: document.id() }
    }
}

// === impl Dirty ===

impl Dirty {
    fn workload(&mut self, key: RoutingKey, workload: &Workload) {
        self.workloads_by_key.entry(key).or_default().insert(workload.clone());
    }

    fn owner(&mut self, key: RoutingKey) {
        self.workloads_by_key.entry(key).or_default();
    }
}

fn override_name(workload: &Workload, key: &RoutingKey) -> ResourceName {
    ResourceName { ty: ResourceType::Override, name: format!("{workload}/{key}").into() }
}
