//! Whether the proxies that need a resource have it.

use std::{
    cell::LazyCell,
    collections::{HashMap, hash_map::Entry as Slot},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use spurline_core::{
    catalog::{Catalog, Entry, Pattern, ResourceName, ResourceType, Revision},
    document::Id,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    hub::Hub,
    streams::{Beyond, Index, Record, Registry, Settled, StreamId, slot},
};

/// Rejections that are reported; `Programmed::proxies` less `Programmed::acknowledged` says how many there may be.
const REJECTED_MAX: usize = 16;
/// How long a waiter lets acknowledgements gather before it counts again, and how many times what counting took, of each
/// that waits: however many wait, counting takes an eighth of one processor.
const RECOUNT: Duration = Duration::from_millis(2);
const RECOUNT_SHARE: u32 = 8;

/// How many proxies have something, of those that need it. Both 0 when nobody needs it, which counts as done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Live streams that have all of it as it is now.
    pub acknowledged: usize,
    /// Live streams with a subscription that covers any of it. Who waited finds those in it too that ended before they
    /// had acknowledged it and have not come back, for as long as that is remembered.
    pub proxies: usize,
    /// Why the others do not have it, as far as they said. At most 16.
    pub rejected: Vec<Rejected>,
    /// Streams that answered, but did not take it.
    rejecting: usize,
    /// Whether [`Hub::stop`] ended the wait, after which nobody can tell.
    is_cut: bool,
}

/// A resource that a proxy did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The node's id, or what it belongs to if it gave none.
    pub node: String,
    /// The resource's name; empty if it rejected a whole response without naming one.
    pub resource: String,
    /// The client's words.
    pub reason: String,
}

impl Programmed {
    /// Every proxy that is counted has acknowledged it, and the service was not stopped meanwhile.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.acknowledged == self.proxies && !self.is_cut
    }

    /// Every live proxy that needs it has answered, be it with a rejection: waiting on brings nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.acknowledged + self.rejecting >= self.proxies
    }
}

/// What has to be acknowledged under one pattern.
struct Required<'a> {
    /// The latest of the names.
    revision: Revision,
    names: Vec<(&'a Arc<str>, Revision)>,
}

impl Required<'_> {
    fn any_between(&self, after: Revision, upto: Revision) -> bool {
        self.names.iter().any(|(_, revision)| after < *revision && *revision <= upto)
    }
}

/// Counts as waiting while it lives.
struct Waiting<'a>(&'a AtomicU32);

/// Whose acknowledgements count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Live,
    /// Those too that ended while they owed one.
    LiveAndLeft,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Acknowledged,
    Rejected,
    Waiting,
}

impl Hub {
    /// How many proxies have what a document gives, as it is now, and know of what its edits took away. The latter is
    /// forgotten once all that need it know.
    #[must_use]
    pub fn programmed(&self, id: &Id) -> Programmed {
        let mut names = self.withdrawn(id);
        if !names.is_empty() {
            let gone = self.count(&names, Whose::Live);
            if gone.proxies > 0 && gone.is_complete() {
                self.shared.with_withdrawn(|withdrawn| withdrawn.forget(id, &names));
                names.clear();
            }
        }
        names.extend(self.given(id));
        self.count(&names, Whose::Live)
    }

    /// The same for resources by name; one that does not exist counts for those who know at revision `at` that it does
    /// not. For a document that was deleted: ask the model for its resources before, and use the revision that
    /// [`Hub::apply`] returned.
    #[must_use]
    pub fn programmed_names(&self, names: &[ResourceName], at: Revision) -> Programmed {
        let names: Vec<_> = names.iter().map(|name| (name.clone(), at)).collect();
        self.count(&names, Whose::Live)
    }

    /// Waits until every proxy that needs it has answered, or until `deadline` or [`Hub::stop`], and says what is known
    /// then. A proxy whose stream ends before is waited for until it comes back, and does not count as having it.
    pub async fn wait_programmed(&self, id: &Id, deadline: Instant) -> Programmed {
        let gone = self.withdrawn(id);
        // A group's resources may change while we wait, so that they are asked for each time.
        let names = || self.given(id).chain(gone.iter().cloned()).collect();
        self.wait(deadline, names).await
    }

    /// The same for a document that was deleted: `names` are the resources that it gave, `at` the revision that
    /// [`Hub::apply`] returned.
    pub async fn wait_deleted(
        &self,
        id: &Id,
        (names, at): (&[ResourceName], Revision),
        deadline: Instant,
    ) -> Programmed {
        let names = names.iter().map(|name| (name.clone(), at)).chain(self.withdrawn(id));
        let names: Vec<_> = names.collect();
        self.wait(deadline, || names.clone()).await
    }

    fn given(&self, id: &Id) -> impl Iterator<Item = (ResourceName, Revision)> + use<> {
        let names = self.shared.with_model(|model| model.resources_of(id));
        names.into_iter().map(|name| (name, Revision(u64::MAX)))
    }

    fn withdrawn(&self, id: &Id) -> Vec<(ResourceName, Revision)> {
        self.shared.with_catalog(|catalog| self.shared.with_withdrawn(|withdrawn| withdrawn.of(id, catalog)))
    }

    fn count(&self, names: &[(ResourceName, Revision)], whose: Whose) -> Programmed {
        self.shared.with_catalog(|catalog| {
            self.shared.streams.with(|registry| {
                registry.forget_long_left();
                let required = required(names, (catalog, &registry.index));
                count(registry, &required, whose)
            })
        })
    }

    async fn wait(&self, deadline: Instant, names: impl Fn() -> Vec<(ResourceName, Revision)>) -> Programmed {
        let count = || self.count(&names(), Whose::LiveAndLeft);
        let mut acknowledgements = self.shared.streams.changes();
        let mut applied = self.model_changes();
        let mut stopped = self.stopped();
        let waiting = Waiting::new(&self.shared.waiting);
        loop {
            let began = Instant::now();
            let mut programmed = count();
            // Looked at afterwards: streams end because of it.
            programmed.is_cut = *stopped.borrow();
            if programmed.is_cut || programmed.is_settled() || began >= deadline {
                return programmed;
            }
            let pause = RECOUNT.max(began.elapsed().saturating_mul(RECOUNT_SHARE * waiting.count()));
            let changed = async {
                tokio::select! {
                    _ = acknowledgements.changed() => {}
                    _ = applied.changed() => {}
                    _ = stopped.changed() => {}
                }
                sleep(pause).await;
            };
            // The last count is that after the deadline.
            let _is_over = timeout_at(deadline, changed).await;
        }
    }
}

/// What each pattern with subscribers has to be acknowledged up to, so that the names under it are.
fn required<'a>(
    names: &'a [(ResourceName, Revision)],
    (catalog, index): (&Catalog, &Index),
) -> HashMap<(ResourceType, Pattern), Required<'a>> {
    let mut patterns: HashMap<(ResourceType, Pattern), Required<'a>> = HashMap::new();
    for (name, at) in names {
        let at = catalog.revision().min(*at);
        let revision = catalog.get(name.ty, &name.name).map(Entry::revision);
        for pattern in index.covering(name) {
            let changed = index.entry(name.ty, &pattern).map_or(at, |entry| entry.changed);
            // Nothing is sent for a name that was gone before the client asked, so that it is enough to be up to date
            // with the pattern.
            let revision = revision.unwrap_or_else(|| at.min(changed));
            match patterns.entry((name.ty, pattern)) {
                Slot::Vacant(slot) => {
                    slot.insert(Required { revision, names: vec![(&name.name, revision)] });
                }
                Slot::Occupied(mut slot) => {
                    let required = slot.get_mut();
                    required.revision = required.revision.max(revision);
                    required.names.push((&name.name, revision));
                }
            }
        }
    }
    patterns
}

fn count(
    registry: &Registry,
    required: &HashMap<(ResourceType, Pattern), Required<'_>>,
    whose: Whose,
) -> Programmed {
    let mut programmed = Programmed::default();
    let mut verdicts: HashMap<StreamId, Verdict> = HashMap::new();
    for ((ty, pattern), required) in required {
        let Some(entry) = registry.index.entry(*ty, pattern) else { continue };
        let nodes = LazyCell::new(|| registry.nodes(entry));
        for (stream, settled) in &entry.subscribers {
            let Some(record) = registry.record(*stream) else { continue };
            let acknowledged = match settled {
                Settled::Yes => record.acknowledged(*ty),
                Settled::No => Revision::default(),
            };
            if let Some(left) = record.left {
                let owes = whose == Whose::LiveAndLeft && required.any_between(acknowledged, left);
                if owes && !record.is_back(&nodes) {
                    verdicts.insert(*stream, Verdict::Waiting);
                }
                continue;
            }
            let verdict = if rejects((record, acknowledged), *ty, required, &mut programmed.rejected) {
                Verdict::Rejected
            } else if settled.is_yes() && acknowledged >= required.revision {
                Verdict::Acknowledged
            } else {
                Verdict::Waiting
            };
            let worst = verdicts.entry(*stream).or_insert(verdict);
            *worst = verdict.max(*worst);
        }
    }
    programmed.proxies = verdicts.len();
    for verdict in verdicts.values() {
        match verdict {
            Verdict::Acknowledged => programmed.acknowledged += 1,
            Verdict::Rejected => programmed.rejecting += 1,
            Verdict::Waiting => {}
        }
    }
    programmed
}

/// Whether the stream, which acknowledged so much of the pattern, rejects any of the names as they are now; reports why.
fn rejects(
    (record, acknowledged): (&Record, Revision),
    ty: ResourceType,
    required: &Required<'_>,
    reported: &mut Vec<Rejected>,
) -> bool {
    let beyond = record.beyond(ty);
    if record.rejections.is_empty() && beyond.is_none() {
        return false;
    }
    let rejection = |name: Option<&Arc<str>>| record.rejections.get(&(slot(ty), name.cloned()));
    let named = required.names.iter().filter_map(|(name, revision)| {
        let rejection = rejection(Some(name)).filter(|rejection| rejection.revision >= *revision)?;
        Some((&***name, &rejection.reason))
    });
    // Of a response that was rejected, or is not known in detail, what was taken before is none.
    let whole = rejection(None).filter(|whole| required.any_between(acknowledged, whole.revision));
    let whole = whole.map(|whole| &whole.reason);
    let beyond = beyond.filter(|Beyond { after, upto, .. }| required.any_between(*after, *upto));
    let unnamed = whole.or_else(|| beyond.map(|beyond| &beyond.reason)).map(|reason| ("", reason));
    let mut any = false;
    for (resource, reason) in named.chain(unnamed) {
        any = true;
        if reported.len() < REJECTED_MAX {
            let node = if record.node.id.is_empty() { &record.node.cluster } else { &record.node.id };
            let (node, resource) = (node.clone(), resource.to_owned());
            reported.push(Rejected { node, resource, reason: reason.clone() });
        }
    }
    any
}

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }

    /// How many wait, this one among them.
    fn count(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
