//! Following one pattern of the catalog: everything first, then what changes, in pieces of any size.
//!
//! A feed is a place in the catalog's history, not a queue: whoever does not read for an hour asks once for what
//! happened since. It knows nothing of the names it has told.

use std::{collections::BTreeMap, sync::Arc};

use spurline_core::catalog::{Catalog, Entry, Pattern, ResourceType, Revision, Truncated};

/// Name to version of what a client says it has, each removed when it has been compared.
pub(crate) type Known = BTreeMap<String, String>;

/// Takes what a feed tells.
pub(crate) trait Sink {
    /// How many more bytes are wanted. A resource that is larger is taken all the same, one.
    fn room(&self) -> usize;
    fn changed(&mut self, entry: &Entry);
    fn removed(&mut self, name: &Arc<str>);
}

#[derive(Debug)]
pub(crate) struct Feed {
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Everything that did not change after `since`, in the order of names. What did change, or goes meanwhile, comes
    /// with the changes.
    Listing { since: Revision, after: Option<Box<str>> },
    /// Names that the client has and the catalog has not.
    Sweeping { since: Revision },
    /// What changed after.
    Changes { since: Revision },
}

impl Feed {
    /// Begins with everything. Removals after `since` are told, also of what was never told; it lies before or at the
    /// catalog's revision.
    pub(crate) fn listing(since: Revision) -> Self {
        Self { phase: Phase::Listing { since, after: None } }
    }

    /// Goes on after `since`.
    pub(crate) fn changes(since: Revision) -> Self {
        Self { phase: Phase::Changes { since } }
    }

    /// Where it stands, or would start again without losing anything.
    pub(crate) fn since(&self) -> Revision {
        match self.phase {
            Phase::Listing { since, .. } | Phase::Sweeping { since } | Phase::Changes { since } => since,
        }
    }

    /// Whether everything was told once and only changes are left.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self.phase, Phase::Changes { .. })
    }

    /// Tells `sink` as much as there is room for. True when nothing is left.
    ///
    /// # Errors
    /// When the log does not reach back: what went meanwhile cannot be told.
    pub(crate) fn fill(
        &mut self,
        (catalog, ty): (&Catalog, ResourceType),
        pattern: &Pattern,
        known: &mut Known,
        sink: &mut impl Sink,
    ) -> Result<bool, Truncated> {
        loop {
            if sink.room() == 0 {
                return Ok(false);
            }
            self.phase = match &mut self.phase {
                Phase::Listing { since, after } => {
                    let listed = list((catalog, ty, pattern), (*since, after.as_deref()), known, sink);
                    match listed {
                        Some(last) => {
                            *after = Some(last);
                            return Ok(false);
                        }
                        None => Phase::Sweeping { since: *since },
                    }
                }
                Phase::Sweeping { since } => {
                    if !sweep((catalog, ty, pattern), known, sink) {
                        return Ok(false);
                    }
                    Phase::Changes { since: *since }
                }
                Phase::Changes { since } => {
                    let changes = catalog.changes(ty, pattern, *since, sink.room())?;
                    changes.changed.iter().for_each(|entry| sink.changed(entry));
                    changes.removed.iter().for_each(|name| sink.removed(name));
                    *since = changes.upto;
                    return Ok(changes.complete);
                }
            };
        }
    }
}

/// The name it stopped at because the sink is full.
fn list(
    (catalog, ty, pattern): (&Catalog, ResourceType, &Pattern),
    (since, after): (Revision, Option<&str>),
    known: &mut Known,
    sink: &mut impl Sink,
) -> Option<Box<str>> {
    for entry in catalog.list(ty, pattern, after) {
        let same =
            !known.is_empty() && known.remove(entry.name()).is_some_and(|version| version == entry.version());
        if same || entry.revision() > since {
            continue;
        }
        sink.changed(entry);
        if sink.room() == 0 {
            return Some(entry.name().into());
        }
    }
    None
}

/// False when the sink is full.
fn sweep(
    (catalog, ty, pattern): (&Catalog, ResourceType, &Pattern),
    known: &mut Known,
    sink: &mut impl Sink,
) -> bool {
    let gone = known.extract_if(.., |name, _| pattern.matches(name));
    for (name, _) in gone {
        // One that exists was created while the listing went on, and comes with the changes.
        if catalog.get(ty, &name).is_none() {
            sink.removed(&Arc::from(name));
            if sink.room() == 0 {
                return false;
            }
        }
    }
    true
}
