//! What changed last, of one type of resources.
//!
//! Each name stands in the log once, at its last change, so that however often one resource changes the others stay
//! in. The whole is bounded; what falls out leaves behind how far back the log still reaches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_64;

use super::{Pattern, Revision, Truncated};

/// How many groups of names remember apart how far back the log reaches for them. Two workloads that fall into the
/// same one share the answer, which is then more careful than it need be.
const FLOORS: usize = 4096;

#[derive(Debug)]
pub(super) struct Log {
    len_max: usize,
    by_revision: BTreeMap<Revision, Arc<str>>,
    /// The same, grouped by the hash of what stands before the last slash: what happened to one workload is found
    /// without looking at others. Groups with equal hashes are told apart by the reader.
    by_group: BTreeSet<(u64, Revision)>,
    /// Where the removed names stand; an entry knows that itself.
    removed: HashMap<Arc<str>, Revision>,
    /// The last change that fell out, of all and by group.
    floor: Revision,
    floors: Box<[Revision]>,
}

// === impl Log ===

impl Log {
    pub(super) fn new(len_max: usize) -> Self {
        Self {
            len_max,
            by_revision: BTreeMap::new(),
            by_group: BTreeSet::new(),
            removed: HashMap::new(),
            floor: Revision::default(),
            floors: vec![Revision::default(); FLOORS].into_boxed_slice(),
        }
    }

    /// Notes that a resource is new or has changed; `before` is when it changed last, if it was there.
    pub(super) fn changed(&mut self, name: Arc<str>, before: Option<Revision>, now: Revision) {
        let before = before.or_else(|| self.removed.remove(&name));
        self.push(name, before, now);
    }

    /// Notes that a resource is gone that changed last at `before`.
    pub(super) fn removed(&mut self, name: Arc<str>, before: Revision, now: Revision) {
        self.removed.insert(Arc::clone(&name), now);
        self.push(name, Some(before), now);
    }

    fn push(&mut self, name: Arc<str>, before: Option<Revision>, now: Revision) {
        let group = group_of(&name);
        if let Some(before) = before {
            self.by_revision.remove(&before);
            self.by_group.remove(&(group, before));
        }
        self.by_revision.insert(now, name);
        self.by_group.insert((group, now));
        if self.by_revision.len() > self.len_max {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((revision, name)) = self.by_revision.pop_first() else { return };
        let group = group_of(&name);
        self.by_group.remove(&(group, revision));
        if self.removed.get(&name) == Some(&revision) {
            self.removed.remove(&name);
        }
        self.floor = revision;
        if let Some(floor) = self.floors.get_mut(bucket(group)) {
            *floor = revision;
        }
    }

    /// Whether a name that is not there was removed after `since`.
    pub(super) fn removed_since(&self, name: &str, since: Revision) -> Result<bool, Truncated> {
        match self.removed.get(name) {
            Some(removed) => Ok(*removed > since),
            None if since < self.floor(Some(group_of(name))) => Err(Truncated),
            None => Ok(false),
        }
    }

    /// The names that a subscription is for and that changed after `since`, in the order of their changes.
    pub(super) fn since<'a>(
        &'a self,
        pattern: &'a Pattern,
        since: Revision,
    ) -> Result<impl Iterator<Item = (Revision, &'a Arc<str>)>, Truncated> {
        let group = match pattern {
            Pattern::All => None,
            Pattern::Prefix(name) | Pattern::Exact(name) => Some(group_of(name)),
        };
        if since < self.floor(group) {
            return Err(Truncated);
        }
        let next = since.next();
        let all = group.is_none().then(|| self.by_revision.range(next..));
        let all = all.into_iter().flatten().map(|(revision, name)| (*revision, name));
        let grouped = group.map(|group| self.by_group.range((group, next)..=(group, Revision(u64::MAX))));
        let grouped = grouped.into_iter().flatten();
        let grouped = grouped.filter_map(|(_, at)| Some((*at, self.by_revision.get(at)?)));
        Ok(all.chain(grouped).filter(|(_, name)| pattern.matches(name)))
    }

    fn floor(&self, group: Option<u64>) -> Revision {
        let floor = group.and_then(|group| self.floors.get(bucket(group)));
        floor.copied().unwrap_or(self.floor)
    }
}

/// The overrides of one workload are one group; so are all baselines of one namespace and kind, and all keys.
fn group_of(name: &str) -> u64 {
    let (group, _) = name.rsplit_once('/').unwrap_or_default();
    xxh3_64(group.as_bytes())
}

fn bucket(group: u64) -> usize {
    // The remainder is below the number of floors, which fits.
    usize::try_from(group % FLOORS as u64).unwrap_or_default()
}
