//! Resources with versions and encodings, and what changed when.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use spurline_api::{BASELINE_TYPE_URL, KEY_OWNER_TYPE_URL, OVERRIDE_TYPE_URL};

use crate::model::Change;

/// The longest name that a subscription may have, in bytes.
pub const PATTERN_LEN_MAX: usize = 512;

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

/// A resource, encoded once and shared by all who send it.
#[derive(Clone, Debug)]
pub struct Entry {}

/// Which resources of a type a subscription is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// All: `*`.
    All,
    /// All whose names begin so: `namespace/Kind/name/` of `namespace/Kind/name/*`.
    Prefix(Arc<str>),
    /// The one of this name.
    Exact(Arc<str>),
}

/// Why some text is not a [`Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than [`PATTERN_LEN_MAX`].
    #[error("the name of a subscription has at most {PATTERN_LEN_MAX} bytes")]
    TooLong,
    /// Nothing, or a byte that no name has.
    #[error("the name of a subscription is 1 or more of A-Z a-z 0-9 . _ - /, or *, or ends with /*")]
    Grammar,
    /// What stands before `/*` is not a workload.
    #[error("only the overrides of one workload can be asked for together, as namespace/Kind/name/*")]
    Prefix,
}

/// The log does not reach back that far: what was removed is no longer known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change log does not reach back that far")]
pub struct Truncated;

/// What happened to the resources of a subscription, each name once.
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    /// New or changed, as they are now, in the order of their changes.
    pub changed: Vec<&'a Entry>,
    /// Gone, in the order of their removals.
    pub removed: Vec<Arc<str>>,
    /// Everything up to here is included; to go on, ask for what happened since.
    pub upto: Revision,
    /// Whether that is everything.
    pub complete: bool,
}

/// All resources as they are, and the last changes.
#[derive(Debug, Default)]
pub struct Catalog {}

/// A plain copy of a catalog's resources: encoded [`Entry::resource`] by name. For tests and tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<ResourceName, Bytes>);

/// What makes one snapshot into another, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// New or changed.
    pub changed: Vec<(ResourceName, Bytes)>,
    /// Gone.
    pub removed: Vec<ResourceName>,
}

/// What makes `old` into `new`.
#[must_use]
pub fn diff(_old: &Snapshot, _new: &Snapshot) -> Diff {
    todo!()
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

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Entry ===

impl Entry {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Its version: the xxh3-64 hash of its encoded message, as 16 hexadecimal digits. The same content has the same
    /// version, in every process.
    #[must_use]
    pub fn version(&self) -> &str {
        todo!()
    }

    /// When it last changed.
    #[must_use]
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// The encoding of `envoy.service.discovery.v3.Resource` with version, body and name.
    #[must_use]
    pub fn resource(&self) -> &Bytes {
        todo!()
    }
}

// === impl Pattern ===

impl Pattern {
    /// Reads the name of a subscription.
    ///
    /// # Errors
    /// When it is too long or breaks the grammar.
    pub fn parse(_text: &str) -> Result<Self, PatternError> {
        todo!()
    }

    /// Whether a resource of this name is meant.
    #[must_use]
    pub fn matches(&self, _name: &str) -> bool {
        todo!()
    }
}

// === impl Catalog ===

impl Catalog {
    /// A catalog without resources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies changes in order. What has the content it had before has not changed: it keeps its revision.
    pub fn apply(&mut self, _changes: impl IntoIterator<Item = Change>) -> Revision {
        todo!()
    }

    /// The last revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// How many resources of a type there are.
    #[must_use]
    pub fn len(&self, _ty: ResourceType) -> usize {
        todo!()
    }

    /// The resource of this name.
    #[must_use]
    pub fn get(&self, _ty: ResourceType, _name: &str) -> Option<&Entry> {
        todo!()
    }

    /// What happened to the resources of a subscription after `since`, up to about `bytes_max` of encoded resources
    /// and names, but at least one. The cost is that of what happened to them, not to others.
    ///
    /// # Errors
    /// When the log does not reach back to `since`. List then, and compare with what the receiver has.
    pub fn changes(
        &self,
        _ty: ResourceType,
        _pattern: &Pattern,
        _since: Revision,
        _bytes_max: usize,
    ) -> Result<Changes<'_>, Truncated> {
        todo!()
    }

    /// The resources of a subscription in the order of their names, from the first after `after`.
    ///
    /// A listing in chunks, between which the catalog may change, takes down [`Catalog::revision`] before the first
    /// chunk, skips entries of a later revision, and ends with what [`Catalog::changes`] says happened since: nothing
    /// is lost, and nothing is sent twice.
    pub fn list<'a>(
        &'a self,
        _ty: ResourceType,
        _pattern: &'a Pattern,
        _after: Option<&str>,
    ) -> impl Iterator<Item = &'a Entry> {
        std::iter::empty()
    }

    /// A plain copy of all resources.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Makes it the snapshot that the difference leads to.
    pub fn apply(&mut self, _diff: &Diff) {
        todo!()
    }
}
