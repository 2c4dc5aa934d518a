//! Resources with versions and encodings, and what changed when.
//!
//! A resource is encoded once, in the form in which every stream sends it. Its version is a hash of its content, so
//! that two control services that know the same say the same. Streams are not known here: they ask what happened
//! since the revision they have reached, or list.

use std::{collections::BTreeSet, fmt, ops::Bound, sync::Arc};

use spurline_api::{BASELINE_TYPE_URL, KEY_OWNER_TYPE_URL, OVERRIDE_TYPE_URL};

use crate::model::Change;

mod entry;
mod log;
mod pattern;
mod snapshot;

pub use self::{
    entry::Entry,
    pattern::{PATTERN_LEN_MAX, Pattern, PatternError},
    snapshot::{Diff, Snapshot, diff},
};

use self::log::Log;

/// How many resources of a type the change log remembers, each at its last change.
pub const LOG_LEN_MAX: usize = 65_536;

/// The types of resources; see the `.proto` of `spurline.routing.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// One for each workload and key, named `namespace/Kind/name/key`.
    Override,
    /// One for each workload that is described, named `namespace/Kind/name`.
    Baseline,
    /// One for each key that counts, named by it.
    KeyOwner,
}

/// Type and name of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// The type.
    pub ty: ResourceType,
    /// The name, unique in its type.
    pub name: Arc<str>,
}

/// A point in the history of a catalog. Each change of a resource is one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// The log does not reach back that far: what was removed since is no longer known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change log does not reach back that far")]
pub struct Truncated;

/// What happened to the resources of a subscription, each name once.
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    /// New or changed, as they are now, in the order of their changes.
    pub changed: Vec<&'a Entry>,
    /// Gone, in the order of their removals. The receiver may never have had them.
    pub removed: Vec<Arc<str>>,
    /// Everything up to here is included; to go on, ask for what happened since.
    pub upto: Revision,
    /// Whether that is everything.
    pub complete: bool,
}

/// All resources as they are, and the last changes.
#[derive(Debug)]
pub struct Catalog {
    revision: Revision,
    overrides: Shelf,
    baselines: Shelf,
    key_owners: Shelf,
}

/// The resources of one type.
#[derive(Debug)]
struct Shelf {
    /// By name, so that the overrides of one workload stand together.
    entries: BTreeSet<Entry>,
    log: Log,
}

// === impl ResourceType ===

impl ResourceType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::Override, Self::Baseline, Self::KeyOwner];

    /// The URL it has on the wire.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Override => OVERRIDE_TYPE_URL,
            Self::Baseline => BASELINE_TYPE_URL,
            Self::KeyOwner => KEY_OWNER_TYPE_URL,
        }
    }

    /// The type that has this URL.
    #[must_use]
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.type_url() == url)
    }
}

// === impl Revision ===

impl Revision {
    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Catalog ===

impl Catalog {
    /// A catalog without resources.
    #[must_use]
    pub fn new() -> Self {
        Self::with_log_len_max(LOG_LEN_MAX)
    }

    /// A catalog whose log remembers so many resources of each type instead of [`LOG_LEN_MAX`].
    #[must_use]
    pub fn with_log_len_max(len_max: usize) -> Self {
        let shelf = || Shelf { entries: BTreeSet::new(), log: Log::new(len_max) };
        Self { revision: Revision(0), overrides: shelf(), baselines: shelf(), key_owners: shelf() }
    }

    /// Applies changes in order. What has the content it had before has not changed: it keeps its revision.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Revision {
        for change in changes {
            let now = self.revision.next();
            if self.shelf_mut(change.name.ty).apply(change, now) {
                self.revision = now;
            }
        }
        self.revision
    }

    /// The last revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many resources of a type there are.
    #[must_use]
    pub fn len(&self, ty: ResourceType) -> usize {
        self.shelf(ty).entries.len()
    }

    /// Whether there is no resource of a type.
    #[must_use]
    pub fn is_empty(&self, ty: ResourceType) -> bool {
        self.shelf(ty).entries.is_empty()
    }

    /// The resource of this name.
    #[must_use]
    pub fn get(&self, ty: ResourceType, name: &str) -> Option<&Entry> {
        self.shelf(ty).entries.get(name)
    }

    /// What happened to the resources of a subscription after `since`, up to about `bytes_max` of encoded resources
    /// and names, but at least one of them. The cost is that of what happened to them, not to others.
    ///
    /// # Errors
    /// When the log does not reach back to `since`. List then, and compare with what the receiver has.
    pub fn changes(
        &self,
        ty: ResourceType,
        pattern: &Pattern,
        since: Revision,
        bytes_max: usize,
    ) -> Result<Changes<'_>, Truncated> {
        let Shelf { entries, log } = self.shelf(ty);
        let mut changes =
            Changes { changed: Vec::new(), removed: Vec::new(), upto: self.revision, complete: true };
        if let Pattern::Exact(name) = pattern {
            match entries.get(name.as_ref()) {
                Some(entry) => changes.changed.extend((entry.revision() > since).then_some(entry)),
                None => changes.removed.extend(log.removed_since(name, since)?.then(|| Arc::clone(name))),
            }
            return Ok(changes);
        }
        let (mut upto, mut bytes) = (since, 0);
        for (revision, name) in log.since(pattern, since)? {
            let entry = entries.get(name.as_ref());
            bytes += entry.map_or(name.len(), |entry| entry.resource().len());
            if bytes > bytes_max && upto > since {
                (changes.upto, changes.complete) = (upto, false);
                break;
            }
            match entry {
                Some(entry) => changes.changed.push(entry),
                None => changes.removed.push(Arc::clone(name)),
            }
            upto = revision;
        }
        Ok(changes)
    }

    /// The resources of a subscription in the order of their names, from the first after `after`.
    ///
    /// A listing in chunks, between which the catalog may change, takes down [`Catalog::revision`] before the first
    /// chunk, skips entries of a later revision, and ends with what [`Catalog::changes`] says happened since: nothing
    /// is lost, and nothing is sent twice.
    pub fn list<'a>(
        &'a self,
        ty: ResourceType,
        pattern: &'a Pattern,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let first = match pattern {
            Pattern::All => "",
            Pattern::Prefix(name) | Pattern::Exact(name) => name,
        };
        let from = match after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let entries = self.shelf(ty).entries.range::<str, _>((from, Bound::Unbounded));
        entries.take_while(|entry| pattern.matches(entry.name()))
    }

    /// A plain copy of all resources.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let entries = ResourceType::ALL.into_iter().flat_map(|ty| {
            let named = move |entry: &Entry| ResourceName { ty, name: entry.name().into() };
            self.list(ty, &Pattern::All, None).map(move |entry| (named(entry), entry.resource().clone()))
        });
        Snapshot(entries.collect())
    }

    fn shelf(&self, ty: ResourceType) -> &Shelf {
        match ty {
            ResourceType::Override => &self.overrides,
            ResourceType::Baseline => &self.baselines,
            ResourceType::KeyOwner => &self.key_owners,
        }
    }

    fn shelf_mut(&mut self, ty: ResourceType) -> &mut Shelf {
        match ty {
            ResourceType::Override => &mut self.overrides,
            ResourceType::Baseline => &mut self.baselines,
            ResourceType::KeyOwner => &mut self.key_owners,
        }
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Shelf ===

impl Shelf {
    /// Whether the change was one.
    fn apply(&mut self, change: Change, now: Revision) -> bool {
        let Change { name, body } = change;
        let Some(body) = body else {
            let Some(gone) = self.entries.take(name.name.as_ref()) else { return false };
            self.log.removed(name.name, gone.revision(), now);
            return true;
        };
        let entry = Entry::encode(&name, body, now);
        let before = self.entries.get(name.name.as_ref());
        if before.is_some_and(|before| before.resource() == entry.resource()) {
            return false;
        }
        let before = before.map(Entry::revision);
        self.entries.replace(entry);
        self.log.changed(name.name, before, now);
        true
    }
}
