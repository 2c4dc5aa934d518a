//! Following one pattern of the catalog: everything first, then what changes, in pieces of any size.
//!
//! A feed is a place in the catalog's history, not a queue: whoever does not read for an hour asks once for what
//! happened since. It knows nothing of the names it has told.

mod known;

use std::sync::Arc;

use spurline_core::catalog::{Catalog, Entry, Pattern, ResourceType, Revision, Truncated};

pub(crate) use known::Known;

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
    /// Removals up to here were told ahead of the rest. `None`: what the client came with has not been looked through.
    ahead: Option<Revision>,
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
        Self { phase: Phase::Listing { since, after: None }, ahead: None }
    }

    /// Goes on after `since`.
    pub(crate) fn changes(since: Revision) -> Self {
        Self { phase: Phase::Changes { since }, ahead: None }
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

    /// Tells `sink` what is gone, ahead of all else and once, as much as there is room for. True when nothing is left.
    ///
    /// # Errors
    /// When the log does not reach back: what went meanwhile cannot be told.
    pub(crate) fn fill_removals(
        &mut self,
        (catalog, ty): (&Catalog, ResourceType),
        pattern: &Pattern,
        known: &mut Known,
        sink: &mut impl Sink,
    ) -> Result<bool, Truncated> {
        if self.ahead.is_none() && !known.tell_gone((catalog, ty), pattern, sink) {
            return Ok(false);
        }
        let mut since = self.since().max(self.ahead.unwrap_or_default());
        while sink.room() > 0 {
            let changes = catalog.changes(ty, pattern, since, sink.room())?;
            changes.removed.iter().for_each(|name| sink.removed(name));
            since = changes.upto;
            self.ahead = Some(since);
            if changes.complete {
                return Ok(true);
            }
        }
        Ok(false)
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
                    // One that exists was created while the listing went on, and comes with the changes.
                    if !known.tell_gone((catalog, ty), pattern, sink) {
                        return Ok(false);
                    }
                    Phase::Changes { since: *since }
                }
                Phase::Changes { since } => {
                    let changes = catalog.changes(ty, pattern, *since, sink.room())?;
                    changes.changed.iter().for_each(|entry| sink.changed(entry));
                    let ahead = self.ahead.filter(|ahead| ahead > since);
                    for name in &changes.removed {
                        if !is_told((catalog, ty), name, ahead)? {
                            sink.removed(name);
                        }
                    }
                    *since = changes.upto;
                    return Ok(changes.complete);
                }
            };
        }
    }
}

/// Whether the removal of a name that is gone was told ahead.
fn is_told(
    (catalog, ty): (&Catalog, ResourceType),
    name: &Arc<str>,
    ahead: Option<Revision>,
) -> Result<bool, Truncated> {
    let Some(ahead) = ahead else { return Ok(false) };
    let since = catalog.changes(ty, &Pattern::Exact(Arc::clone(name)), ahead, 0)?;
    Ok(since.removed.is_empty())
}

/// The name it stopped at because the sink is full.
fn list(
    (catalog, ty, pattern): (&Catalog, ResourceType, &Pattern),
    (since, after): (Revision, Option<&str>),
    known: &mut Known,
    sink: &mut impl Sink,
) -> Option<Box<str>> {
    for entry in catalog.list(ty, pattern, after) {
        if known.compare(entry) || entry.revision() > since {
            continue;
        }
        sink.changed(entry);
        if sink.room() == 0 {
            return Some(entry.name().into());
        }
    }
    None
}
