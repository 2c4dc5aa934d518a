//! From a pattern to those who subscribe to it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use spurline_core::catalog::{Pattern, ResourceName, ResourceType, Revision};

use super::{TYPES, slot};

/// Position of a stream's record.
pub(crate) type StreamId = usize;

#[derive(Debug, Default)]
pub(crate) struct Index {
    types: [Patterns; TYPES.len()],
    /// Patterns with changes that nobody was woken for, each once.
    marked: Vec<(ResourceType, Pattern)>,
}

#[derive(Debug, Default)]
struct Patterns {
    all: Option<Entry>,
    prefixes: BTreeMap<Arc<str>, Entry>,
    names: HashMap<Arc<str>, Entry>,
}

/// Who subscribes to one pattern.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Whether the stream has acknowledged all of the pattern once. Before that, what it acknowledged of the type says
    /// nothing about this pattern.
    pub(crate) subscribers: HashMap<StreamId, Settled>,
    /// The last change of anything under the pattern since somebody subscribes to it.
    pub(crate) changed: Revision,
    marked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    No,
    Yes,
}

impl Settled {
    pub(crate) fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

impl Index {
    /// False if the stream subscribes to it already; then it is unsettled again.
    pub(crate) fn insert(&mut self, ty: ResourceType, pattern: &Pattern, stream: StreamId) -> bool {
        let Some(patterns) = self.types.get_mut(usize::from(slot(ty))) else { return false };
        let entry = match pattern {
            Pattern::All => patterns.all.get_or_insert_default(),
            Pattern::Prefix(prefix) => patterns.prefixes.entry(Arc::clone(prefix)).or_default(),
            Pattern::Exact(name) => patterns.names.entry(Arc::clone(name)).or_default(),
        };
        entry.subscribers.insert(stream, Settled::No).is_none()
    }

    /// False if the stream did not subscribe to it.
    pub(crate) fn remove(&mut self, ty: ResourceType, pattern: &Pattern, stream: StreamId) -> bool {
        let Some(entry) = self.entry_mut(ty, pattern) else { return false };
        let removed = entry.subscribers.remove(&stream).is_some();
        if entry.subscribers.is_empty()
            && let Some(patterns) = self.types.get_mut(usize::from(slot(ty)))
        {
            match pattern {
                Pattern::All => patterns.all = None,
                Pattern::Prefix(prefix) => drop(patterns.prefixes.remove(prefix)),
                Pattern::Exact(name) => drop(patterns.names.remove(name)),
            }
        }
        removed
    }

    pub(crate) fn settle(&mut self, ty: ResourceType, pattern: &Pattern, stream: StreamId) {
        if let Some(settled) =
            self.entry_mut(ty, pattern).and_then(|entry| entry.subscribers.get_mut(&stream))
        {
            *settled = Settled::Yes;
        }
    }

    pub(crate) fn entry(&self, ty: ResourceType, pattern: &Pattern) -> Option<&Entry> {
        let patterns = self.types.get(usize::from(slot(ty)))?;
        match pattern {
            Pattern::All => patterns.all.as_ref(),
            Pattern::Prefix(prefix) => patterns.prefixes.get(prefix),
            Pattern::Exact(name) => patterns.names.get(name),
        }
    }

    fn entry_mut(&mut self, ty: ResourceType, pattern: &Pattern) -> Option<&mut Entry> {
        let patterns = self.types.get_mut(usize::from(slot(ty)))?;
        match pattern {
            Pattern::All => patterns.all.as_mut(),
            Pattern::Prefix(prefix) => patterns.prefixes.get_mut(prefix),
            Pattern::Exact(name) => patterns.names.get_mut(name),
        }
    }

    /// Every pattern with subscribers that covers `name`.
    pub(crate) fn covering<'a>(&'a self, name: &'a ResourceName) -> impl Iterator<Item = Pattern> + 'a {
        let patterns = self.types.get(usize::from(slot(name.ty)));
        let all = patterns.filter(|patterns| patterns.all.is_some()).map(|_| Pattern::All);
        let prefixes = patterns.into_iter().flat_map(|patterns| {
            prefixes(&name.name)
                .filter_map(|prefix| patterns.prefixes.get_key_value(prefix))
                .map(|(prefix, _)| Pattern::Prefix(Arc::clone(prefix)))
        });
        let exact = patterns
            .and_then(|patterns| patterns.names.get_key_value(&*name.name))
            .map(|(name, _)| Pattern::Exact(Arc::clone(name)));
        all.into_iter().chain(prefixes).chain(exact)
    }

    pub(crate) fn mark<'a>(&mut self, names: impl Iterator<Item = &'a ResourceName>, revision: Revision) {
        let Self { types, marked } = self;
        for name in names {
            let Some(patterns) = types.get_mut(usize::from(slot(name.ty))) else { continue };
            if let Some(entry) = &mut patterns.all {
                entry.mark(revision, || marked.push((name.ty, Pattern::All)));
            }
            if !patterns.prefixes.is_empty() {
                for prefix in prefixes(&name.name) {
                    if let Some(entry) = patterns.prefixes.get_mut(prefix) {
                        entry.mark(revision, || marked.push((name.ty, Pattern::Prefix(Arc::from(prefix)))));
                    }
                }
            }
            if let Some(entry) = patterns.names.get_mut(&name.name) {
                entry.mark(revision, || marked.push((name.ty, Pattern::Exact(Arc::clone(&name.name)))));
            }
        }
    }

    /// Hands every subscriber of a marked pattern to `each`, and forgets the marks.
    pub(crate) fn take_marked(&mut self, mut each: impl FnMut(ResourceType, StreamId)) {
        for (ty, pattern) in std::mem::take(&mut self.marked) {
            if let Some(entry) = self.entry_mut(ty, &pattern) {
                entry.marked = false;
                entry.subscribers.keys().for_each(|stream| each(ty, *stream));
            }
        }
    }
}

impl Entry {
    fn mark(&mut self, revision: Revision, enlist: impl FnOnce()) {
        self.changed = revision;
        if !std::mem::replace(&mut self.marked, true) {
            enlist();
        }
    }
}

/// What comes before each `/`, with it, from the shortest.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..=at))
}
