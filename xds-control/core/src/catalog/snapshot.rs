//! Catalogs as plain maps, for what has to be shown of them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ResourceName;

/// A plain copy of a catalog's resources: encoded as [`Entry::resource`](super::Entry::resource), by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<ResourceName, Bytes>);

/// What makes one snapshot into another, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// New or changed, in the order of their names.
    pub changed: Vec<(ResourceName, Bytes)>,
    /// Gone, in the order of their names.
    pub removed: Vec<ResourceName>,
}

/// What makes `old` into `new`.
#[must_use]
pub fn diff(old: &Snapshot, new: &Snapshot) -> Diff {
    let changed = new.0.iter().filter(|(name, resource)| old.0.get(*name) != Some(*resource));
    let removed = old.0.keys().filter(|name| !new.0.contains_key(*name));
    Diff {
        changed: changed.map(|(name, resource)| (name.clone(), resource.clone())).collect(),
        removed: removed.cloned().collect(),
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Makes it the snapshot that the difference leads to.
    pub fn apply(&mut self, diff: &Diff) {
        self.0.extend(diff.changed.iter().cloned());
        for name in &diff.removed {
            self.0.remove(name);
        }
    }
}
