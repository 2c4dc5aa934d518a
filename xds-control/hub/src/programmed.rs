//! Whether the proxies that need a resource have it.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::Arc,
    time::Duration,
};

use spurline_core::{
    catalog::{Catalog, Entry, Pattern, ResourceName, ResourceType, Revision},
    document::Id,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    hub::Hub,
    streams::{Index, Record, Registry, StreamId, slot},
};

/// Rejections that are reported; `Programmed::proxies` less `Programmed::acknowledged` says how many there may be.
const REJECTED_MAX: usize = 16;
/// How long a waiter lets acknowledgements gather before it counts again, and how many times what counting took.
const RECOUNT: Duration = Duration::from_millis(2);
const RECOUNT_SHARE: u32 = 8;

/// How many proxies have something, of those that need it. Both 0 when nobody needs it, which counts as done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Live streams that have all of it as it is now.
    pub acknowledged: usize,
    /// Live streams with a subscription that covers any of it.
    pub proxies: usize,
    /// Why the others do not have it, as far as they said. At most 16.
    pub rejected: Vec<Rejected>,
    /// Streams that answered, but did not take it.
    rejecting: usize,
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
    /// Every live proxy that needs it has acknowledged it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.acknowledged == self.proxies
    }

    /// Every live proxy that needs it has answered, be it with a rejection: waiting on brings nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.acknowledged + self.rejecting >= self.proxies
    }
}

/// What has to be acknowledged under one pattern.
struct Required<'a> {
    revision: Revision,
    names: Vec<&'a Arc<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Acknowledged,
    Rejected,
    Waiting,
}

impl Hub {
    /// How many proxies have what a document gives, as it is now. Nothing for a document that gives no resources.
    #[must_use]
    pub fn programmed(&self, id: &Id) -> Programmed {
        let names = self.shared.with_model(|model| model.resources_of(id));
        self.programmed_names(&names, Revision(u64::MAX))
    }

    /// The same for resources by name; one that does not exist counts for those who know at revision `at` that it does
    /// not. For a document that was deleted: ask the model for its resources before, and use the revision that
    /// [`Hub::apply`] returned.
    #[must_use]
    pub fn programmed_names(&self, names: &[ResourceName], at: Revision) -> Programmed {
        self.shared.with_catalog(|catalog| {
            self.shared.streams.with(|registry| {
                let at = at.min(catalog.revision());
                let required = required(names, at, (catalog, &registry.index));
                count(registry, &required)
            })
        })
    }

    /// Waits until every proxy that needs it has answered, or until `deadline`, and says what is known then.
    pub async fn wait_programmed(&self, id: &Id, deadline: Instant) -> Programmed {
        // A group's resources may change while we wait, so that they are asked for each time.
        self.wait(deadline, || self.programmed(id)).await
    }

    /// [`Hub::programmed_names`], waiting as [`Hub::wait_programmed`] does.
    pub async fn wait_programmed_names(
        &self,
        names: &[ResourceName],
        at: Revision,
        deadline: Instant,
    ) -> Programmed {
        self.wait(deadline, || self.programmed_names(names, at)).await
    }

    async fn wait(&self, deadline: Instant, count: impl Fn() -> Programmed) -> Programmed {
        let mut acknowledgements = self.shared.streams.changes();
        let mut applied = self.model_changes();
        loop {
            let began = Instant::now();
            let programmed = count();
            if programmed.is_settled() || began >= deadline {
                return programmed;
            }
            let pause = RECOUNT.max(began.elapsed() * RECOUNT_SHARE);
            let changed = async {
                tokio::select! {
                    _ = acknowledgements.changed() => {}
                    _ = applied.changed() => {}
                }
                sleep(pause).await;
            };
            if timeout_at(deadline, changed).await.is_err() {
                return count();
            }
        }
    }
}

/// What each pattern with subscribers has to be acknowledged up to, so that the names under it are.
fn required<'a>(
    names: &'a [ResourceName],
    at: Revision,
    (catalog, index): (&Catalog, &Index),
) -> HashMap<(ResourceType, Pattern), Required<'a>> {
    let mut patterns: HashMap<(ResourceType, Pattern), Required<'a>> = HashMap::new();
    for name in names {
        let revision = catalog.get(name.ty, &name.name).map(Entry::revision);
        for pattern in index.covering(name) {
            let changed = index.entry(name.ty, &pattern).map_or(at, |entry| entry.changed);
            // Nothing is sent for a name that was gone before the client asked, so that it is enough to be up to date
            // with the pattern.
            let revision = revision.unwrap_or_else(|| at.min(changed));
            match patterns.entry((name.ty, pattern)) {
                Slot::Vacant(slot) => drop(slot.insert(Required { revision, names: vec![&name.name] })),
                Slot::Occupied(mut slot) => {
                    let required = slot.get_mut();
                    required.revision = required.revision.max(revision);
                    required.names.push(&name.name);
                }
            }
        }
    }
    patterns
}

fn count(registry: &Registry, required: &HashMap<(ResourceType, Pattern), Required<'_>>) -> Programmed {
    let mut programmed = Programmed::default();
    let mut verdicts: HashMap<StreamId, Verdict> = HashMap::new();
    for ((ty, pattern), required) in required {
        let Some(entry) = registry.index.entry(*ty, pattern) else { continue };
        for (stream, settled) in &entry.subscribers {
            let Some(record) = registry.record(*stream) else { continue };
            let verdict = if rejects(record, *ty, required, &mut programmed.rejected) {
                Verdict::Rejected
            } else if settled.is_yes() && record.acknowledged(*ty) >= required.revision {
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

/// Whether the stream rejects any of the names as they are now; reports why.
fn rejects(record: &Record, ty: ResourceType, required: &Required<'_>, reported: &mut Vec<Rejected>) -> bool {
    if record.rejections.is_empty() {
        return false;
    }
    let whole = record.rejections.get(&(slot(ty), None));
    let whole = whole.filter(|rejection| rejection.revision >= required.revision).map(|whole| ("", whole));
    let named = required.names.iter().filter_map(|name| {
        let rejection = record.rejections.get(&(slot(ty), Some(Arc::clone(name))))?;
        (rejection.revision >= required.revision).then_some((&***name, rejection))
    });
    let mut any = false;
    for (resource, rejection) in named.chain(whole) {
        any = true;
        if reported.len() < REJECTED_MAX {
            let node = if record.node.id.is_empty() { &record.node.cluster } else { &record.node.id };
            reported.push(Rejected {
                node: node.clone(),
                resource: resource.to_owned(),
                reason: rejection.reason.clone(),
            });
        }
    }
    any
}
