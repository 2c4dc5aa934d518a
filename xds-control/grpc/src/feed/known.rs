//! What a client says it has when it comes back, until it has been compared with what there is.

use std::{collections::BTreeMap, ops::Bound};

use spurline_core::catalog::{Catalog, Entry, Pattern, ResourceType};

use super::Sink;

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By name, the hash that its version is. `None`: it had it, but in a version that is no hash, or may have dropped it.
    versions: BTreeMap<Box<str>, Option<u64>>,
    /// Names that were told to be gone, until that is acknowledged.
    gone: Vec<Box<str>>,
}

impl Known {
    /// Of a client that comes for the first time.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is left to compare.
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// What the client had, it may have dropped by now. That it had it still counts.
    pub(crate) fn distrust(&mut self, pattern: &Pattern) {
        if let Pattern::Exact(name) = pattern {
            if let Some(version) = self.versions.get_mut(&**name) {
                *version = None;
            }
            return;
        }
        let from = if let Pattern::Prefix(prefix) = pattern { prefix } else { "" };
        self.versions
            .range_mut::<str, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(|(name, _)| pattern.matches(name))
            .for_each(|(_, version)| *version = None);
    }

    /// Whether the client has it as it is. It is not asked again.
    pub(crate) fn compare(&mut self, entry: &Entry) -> bool {
        if self.versions.is_empty() {
            return false;
        }
        let version = self.versions.remove(entry.name()).flatten();
        version.is_some() && version == hash(entry.version())
    }

    /// The client was told that it has gone.
    pub(crate) fn forget(&mut self, name: &str) {
        self.versions.remove(name);
    }

    /// Tells what the client has and the catalog has not. False when `sink` is full.
    pub(crate) fn tell_gone(
        &mut self,
        (catalog, ty): (&Catalog, ResourceType),
        pattern: &Pattern,
        sink: &mut impl Sink,
    ) -> bool {
        let is_gone = |name: &str| pattern.matches(name) && catalog.get(ty, name).is_none();
        for (name, _) in self.versions.extract_if(.., |name, _| is_gone(name)) {
            sink.removed(&name.as_ref().into());
            self.gone.push(name);
            if sink.room() == 0 {
                return false;
            }
        }
        true
    }

    /// Everything was compared.
    pub(crate) fn clear(&mut self) {
        self.versions.clear();
    }

    /// The client has taken what it was told.
    pub(crate) fn acknowledge(&mut self) {
        self.gone = Vec::new();
    }

    /// The client has not taken what it was told.
    pub(crate) fn go_back(&mut self) {
        self.versions.extend(self.gone.drain(..).map(|name| (name, None)));
    }
}

/// From names to versions.
impl From<BTreeMap<String, String>> for Known {
    fn from(versions: BTreeMap<String, String>) -> Self {
        let versions = versions.into_iter().map(|(name, version)| (name.into(), hash(&version))).collect();
        Self { versions, gone: Vec::new() }
    }
}

/// The versions of the catalog are 16 hexadecimal digits; those of others are none.
fn hash(version: &str) -> Option<u64> {
    u64::from_str_radix(version, 16).ok().filter(|_| version.len() == 16)
}
