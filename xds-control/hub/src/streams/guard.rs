//! One stream's side of the registry.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use spurline_core::catalog::{Pattern, ResourceType, Revision};
use tokio::sync::Notify;

use super::{NODE_BYTES_MAX, Node, Rejection, Settled, StreamId, slot, truncate};
use crate::{hub::Shared, streams::Registry};

/// A set of resource types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeSet(u8);

impl TypeSet {
    /// Whether `ty` is in it.
    #[must_use]
    pub fn contains(self, ty: ResourceType) -> bool {
        self.0 & (1 << slot(ty)) != 0
    }
}

/// Wakes one stream, and remembers for which types.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    types: AtomicU8,
    notify: Notify,
}

impl Wake {
    pub(crate) fn set(&self, ty: ResourceType) {
        // Release pairs with the acquire of the taker; the notification itself orders the rest.
        self.types.fetch_or(1 << slot(ty), Ordering::Release);
        self.notify.notify_one();
    }
}

/// An open stream. Dropping it closes the stream: it is counted no more.
#[derive(Debug)]
pub struct StreamGuard {
    shared: Arc<Shared>,
    wake: Arc<Wake>,
    id: StreamId,
    /// Whether each subscription has been acknowledged in full once.
    subscriptions: HashMap<(u8, Pattern), Settled>,
    unsettled: usize,
}

impl StreamGuard {
    pub(crate) fn open(shared: &Arc<Shared>) -> Self {
        let wake = Arc::new(Wake::default());
        let id = shared.streams.with(|registry| registry.open(Arc::clone(&wake)));
        shared.streams.touch();
        Self { shared: Arc::clone(shared), wake, id, subscriptions: HashMap::new(), unsettled: 0 }
    }

    /// Says who it is. At most 256 bytes of each part are kept.
    pub fn describe(&self, mut node: Node) {
        for part in [&mut node.id, &mut node.cluster, &mut node.program] {
            truncate(part, NODE_BYTES_MAX);
        }
        self.edit(|registry| {
            if let Some(record) = registry.record_mut(self.id) {
                record.node = node;
            }
        });
    }

    /// From now on the stream is woken for changes of `pattern`, and counts for what it covers. To be called before the
    /// catalog is read for it, so that no change falls between the two. Subscribing again makes it start anew.
    pub fn subscribe(&mut self, ty: ResourceType, pattern: &Pattern) {
        if self.subscriptions.insert((slot(ty), pattern.clone()), Settled::No) != Some(Settled::No) {
            self.unsettled += 1;
        }
        self.edit(|registry| {
            if registry.index.insert(ty, pattern, self.id)
                && let Some(record) = registry.record_mut(self.id)
            {
                record.subscriptions += 1;
            }
        });
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&mut self, ty: ResourceType, pattern: &Pattern) {
        match self.subscriptions.remove(&(slot(ty), pattern.clone())) {
            Some(Settled::No) => self.unsettled -= 1,
            Some(Settled::Yes) => {}
            None => return,
        }
        self.edit(|registry| {
            registry.index.remove(ty, pattern, self.id);
            if let Some(record) = registry.record_mut(self.id) {
                record.subscriptions -= 1;
            }
        });
    }

    /// The client has everything up to `revision` that the stream subscribes to of this type, but for what it rejected
    /// by name.
    pub fn acknowledged(&mut self, ty: ResourceType, revision: Revision) {
        let settling = self.settle(ty);
        let rejects = self.shared.streams.with(|registry| {
            for pattern in &settling {
                registry.index.settle(ty, pattern, self.id);
            }
            registry.record_mut(self.id).is_some_and(|record| {
                record.acknowledge(ty, revision);
                !record.rejections.is_empty()
            })
        });
        if rejects {
            self.forget_superseded(ty);
        }
        self.shared.streams.touch();
    }

    /// The client did not take a resource, or a whole response; it keeps what it had.
    pub fn rejected(&self, ty: ResourceType, rejection: Rejection) {
        // What is subscribed to anew is told whenever it changed.
        let is_settled = self.unsettled == 0;
        self.edit(|registry| {
            if let Some(record) = registry.record_mut(self.id) {
                let after = if is_settled { record.acknowledged(ty) } else { Revision::default() };
                record.reject(ty, rejection, after);
            }
        });
    }

    /// Who it said it is.
    #[must_use]
    pub fn node(&self) -> Node {
        self.shared
            .streams
            .with(|registry| registry.record(self.id).map(|record| record.node.clone()))
            .unwrap_or_default()
    }

    /// Waits until something that is subscribed to was published, and says of which types. Safe to be cancelled.
    pub async fn woken(&self) -> TypeSet {
        loop {
            self.wake.notify.notified().await;
            let types = TypeSet(self.wake.types.swap(0, Ordering::Acquire));
            if types != TypeSet::default() {
                return types;
            }
        }
    }

    /// The patterns that are acknowledged for the first time.
    fn settle(&mut self, ty: ResourceType) -> Vec<Pattern> {
        if self.unsettled == 0 {
            return Vec::new();
        }
        let settling: Vec<Pattern> = self
            .subscriptions
            .iter_mut()
            .filter(|((of, _), settled)| *of == slot(ty) && **settled == Settled::No)
            .map(|((_, pattern), settled)| {
                *settled = Settled::Yes;
                pattern.clone()
            })
            .collect();
        self.unsettled -= settling.len();
        settling
    }

    /// Drops rejections of what has changed or gone since: the client has accepted it as it is now.
    fn forget_superseded(&self, ty: ResourceType) {
        self.shared.with_catalog(|catalog| {
            self.shared.streams.with(|registry| {
                let Some(record) = registry.record_mut(self.id) else { return };
                record.rejections.retain(|(of, name), rejection| {
                    let Some(name) = name.as_ref().filter(|_| *of == slot(ty)) else { return true };
                    catalog.get(ty, name).is_some_and(|entry| entry.revision() <= rejection.revision)
                });
            });
        });
    }

    fn edit(&self, edit: impl FnOnce(&mut Registry)) {
        self.shared.streams.with(edit);
        self.shared.streams.touch();
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let ty_of = |of: u8| super::TYPES.into_iter().find(|ty| slot(*ty) == of);
        let subscriptions = std::mem::take(&mut self.subscriptions).into_keys();
        let subscriptions = subscriptions.filter_map(|(of, pattern)| Some((ty_of(of)?, pattern))).collect();
        // Under the catalog's lock, so that nothing is marked in between.
        self.shared.with_catalog(|catalog| {
            let revision = catalog.revision();
            self.shared.streams.with(|registry| registry.leave(self.id, subscriptions, revision));
        });
        self.shared.streams.touch();
    }
}
