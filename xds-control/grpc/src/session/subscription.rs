//! One subscription of a lane: how far it was told, and how far that is acknowledged.

use std::sync::Arc;

use spurline_core::catalog::{Catalog, Pattern, ResourceType, Revision, Truncated};

use super::response::Batch;
use crate::feed::{Feed, Known, Sink};

#[derive(Debug)]
pub(super) enum Subscription {
    /// One name.
    Name {
        /// Up to where it was told; `None`: not at all, or it has to be told again.
        told: Option<Revision>,
        /// Whether the client may have been told that it exists.
        exists: bool,
        /// The same as of the last acknowledgement.
        acknowledged: Option<Revision>,
    },
    /// `*` or a prefix.
    Feed {
        /// `None` until it is first told.
        feed: Option<Feed>,
        /// The listing was acknowledged, and the changes up to here.
        acknowledged: Option<Revision>,
        /// Changes since here have to be told if everything is told again.
        base: Option<Revision>,
    },
}

impl Subscription {
    /// `base` is from where changes have to be told to who may have some of it already.
    pub(super) fn new(pattern: &Pattern, base: Option<Revision>) -> Self {
        match pattern {
            Pattern::Exact(_) => Self::Name { told: None, exists: false, acknowledged: None },
            Pattern::All | Pattern::Prefix(_) => Self::Feed { feed: None, acknowledged: None, base },
        }
    }

    pub(super) fn base(&self) -> Option<Revision> {
        match self {
            Self::Feed { base, .. } => *base,
            Self::Name { .. } => None,
        }
    }

    /// Another subscription may have told what this one has not.
    pub(super) fn may_exist(&mut self) {
        if let Self::Name { exists, .. } = self {
            *exists = true;
        }
    }

    /// Takes what was told as acknowledged. Whether that is everything.
    pub(super) fn acknowledge(&mut self) -> bool {
        match self {
            Self::Name { told, acknowledged, .. } => {
                *acknowledged = *told;
                told.is_some()
            }
            Self::Feed { feed: Some(feed), acknowledged, base } if feed.is_listed() => {
                *acknowledged = Some(feed.since());
                *base = *acknowledged;
                true
            }
            Self::Feed { .. } => false,
        }
    }

    /// Goes back to what was last acknowledged.
    pub(super) fn go_back(&mut self) {
        match self {
            Self::Name { told, acknowledged, exists } => {
                *told = *acknowledged;
                *exists = told.is_some();
            }
            Self::Feed { feed, acknowledged, base } => {
                *base = (*base).or_else(|| feed.as_ref().map(Feed::since));
                *feed = acknowledged.map(Feed::changes);
            }
        }
    }

    /// Begins if it has not begun: what goes from now on is told.
    pub(super) fn begin(&mut self, revision: Revision) {
        if let Self::Feed { base, .. } = self {
            base.get_or_insert(revision);
        }
    }

    /// Tells `batch` as much as there is room for. True when nothing is left.
    pub(super) fn fill(
        &mut self,
        (catalog, ty): (&Catalog, ResourceType),
        pattern: &Pattern,
        known: &mut Known,
        batch: &mut Batch,
    ) -> Result<bool, Truncated> {
        match self {
            Self::Name { told, exists, .. } => {
                let Pattern::Exact(name) = pattern else { return Ok(true) };
                let entry = catalog.get(ty, name);
                match (&told, entry) {
                    (Some(told), Some(entry)) if entry.revision() <= *told => {}
                    (Some(_), None) if !*exists => {}
                    (_, Some(entry)) if known.compare(entry) => {}
                    _ => tell((catalog, ty), name, batch),
                }
                known.forget(name);
                *told = Some(catalog.revision());
                *exists = entry.is_some();
                Ok(true)
            }
            Self::Feed { feed, base, .. } => {
                let since = base.unwrap_or_else(|| catalog.revision());
                let feed = feed.get_or_insert_with(|| Feed::listing(since));
                feed.fill((catalog, ty), pattern, known, batch)
            }
        }
    }

    /// Tells `batch` what is gone, once, as much as there is room for. True when nothing is left of that.
    pub(super) fn fill_removals(
        &mut self,
        (catalog, ty): (&Catalog, ResourceType),
        pattern: &Pattern,
        known: &mut Known,
        batch: &mut Batch,
    ) -> Result<bool, Truncated> {
        match self {
            Self::Name { told, exists, .. } => {
                let Pattern::Exact(name) = pattern else { return Ok(true) };
                if catalog.get(ty, name).is_none() && (told.is_none() || *exists) {
                    batch.removed(name);
                    known.forget(name);
                    *told = Some(catalog.revision());
                    *exists = false;
                }
                Ok(true)
            }
            Self::Feed { feed, base, .. } => {
                let since = base.unwrap_or_else(|| catalog.revision());
                let feed = feed.get_or_insert_with(|| Feed::listing(since));
                feed.fill_removals((catalog, ty), pattern, known, batch)
            }
        }
    }

    /// Notes that nothing was left to tell up to here.
    pub(super) fn caught_up(&mut self, revision: Revision) {
        match self {
            Self::Name { told, .. } => *told = Some(revision),
            Self::Feed { feed, .. } => *feed = Some(Feed::changes(revision)),
        }
    }
}

/// Says what is so of one name, once.
pub(super) fn tell((catalog, ty): (&Catalog, ResourceType), name: &Arc<str>, batch: &mut Batch) {
    match catalog.get(ty, name) {
        Some(entry) => batch.changed(entry),
        None => batch.removed(name),
    }
}
