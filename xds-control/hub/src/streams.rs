//! Who is connected, what each asked for, and how far each acknowledged.
//!
//! Subscriptions are indexed by pattern. A change touches the entries it falls under and nobody else, an acknowledgement
//! touches one record, and counting who has a resource walks the subscribers of the patterns that cover it once. A
//! stream costs one record, and one entry in the index per subscription.

mod guard;
mod index;
mod left;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use spurline_core::catalog::{ResourceName, ResourceType, Revision};
use tokio::sync::watch;

use guard::Wake;
pub use guard::{StreamGuard, TypeSet};
pub(crate) use index::{Index, Settled, StreamId};
use left::LeftStreams;

/// Rejections of single resources that are kept per stream, which is as many as our client names in one answer. Beyond,
/// the stream counts as rejecting all that changed of the type between what it had acknowledged and what it answers.
pub const REJECTIONS_MAX: usize = 1000;
/// Bytes of a reason that are kept.
pub const REASON_BYTES_MAX: usize = 512;
/// Bytes of each part of a node's description that are kept.
const NODE_BYTES_MAX: usize = 256;
pub(crate) const TYPES: [ResourceType; 3] = ResourceType::ALL;

/// Everyone who is connected.
#[derive(Debug)]
pub struct Streams {
    registry: Mutex<Registry>,
    /// Counts acknowledgements, rejections and streams that came or went.
    pub(crate) changed: watch::Sender<u64>,
}

/// Who a stream says it is. Nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// By convention unique, such as a pod's name.
    pub id: String,
    /// What it belongs to, such as a workload.
    pub cluster: String,
    /// The program, such as `spurline-proxy`.
    pub program: String,
}

/// What a client did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The resource; `None` if all of a response was rejected.
    pub name: Option<Arc<str>>,
    /// The catalog's revision when the rejected response was made. What changed since has not been judged yet.
    pub revision: Revision,
    /// What the client says is wrong. Only the first 512 bytes are kept.
    pub reason: String,
}

/// One stream, for status pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// Who it says it is.
    pub node: Node,
    /// When it was opened.
    pub opened_at: SystemTime,
    /// How many patterns it subscribes to, all types together.
    pub subscriptions: usize,
    /// What it acknowledged of each type that it subscribes to.
    pub acknowledged: Vec<(ResourceType, Revision)>,
    /// What it rejects at present, with the type.
    pub rejections: Vec<(ResourceType, Rejection)>,
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) index: Index,
    records: Vec<Option<Record>>,
    free: Vec<StreamId>,
    left: LeftStreams,
    /// Counts the streams that were opened.
    opened: u64,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) node: Node,
    opened_at: SystemTime,
    /// Its place in the order of opening.
    opened: u64,
    /// The catalog's revision when it ended, if it has.
    pub(crate) left: Option<Revision>,
    wake: Arc<Wake>,
    subscriptions: usize,
    acknowledged: [Revision; TYPES.len()],
    pub(crate) rejections: BTreeMap<(u8, Option<Arc<str>>), Rejection>,
    beyond: [Option<Box<Beyond>>; TYPES.len()],
}

/// Rejections beyond [`REJECTIONS_MAX`]. No later answer says which of them it takes back, so that only the end of the
/// stream does, and what changes afterwards.
#[derive(Debug)]
pub(crate) struct Beyond {
    /// What was acknowledged before the first of them.
    pub(crate) after: Revision,
    /// The revision of the last of them.
    pub(crate) upto: Revision,
    /// The reason of the first.
    pub(crate) reason: String,
}

/// Position of a type in arrays.
pub(crate) fn slot(ty: ResourceType) -> u8 {
    match ty {
        ResourceType::Override => 0,
        ResourceType::Baseline => 1,
        ResourceType::KeyOwner => 2,
    }
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { registry: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// How many streams are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.with(|registry| registry.records.len() - registry.free.len() - registry.left.len())
    }

    /// Up to `limit` streams, oldest record first.
    #[must_use]
    pub fn list(&self, limit: usize) -> Vec<StreamStatus> {
        self.with(|registry| {
            let live = registry.records.iter().flatten().filter(|record| record.left.is_none());
            live.take(limit).map(Record::status).collect()
        })
    }

    /// Counts acknowledgements, rejections and streams that came or went.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Notes that `names` changed at `revision`, for [`Streams::wake`] and for counting.
    pub(crate) fn mark<'a>(&self, names: impl Iterator<Item = &'a ResourceName>, revision: Revision) {
        self.with(|registry| registry.index.mark(names, revision));
    }

    /// Wakes the subscribers of all patterns that were marked since the last call.
    pub(crate) fn wake(&self) {
        self.with(|registry| {
            let Registry { index, records, .. } = registry;
            index.take_marked(|ty, stream| {
                if let Some(Some(record)) = records.get(stream) {
                    record.wake.set(ty);
                }
            });
        });
    }

    pub(crate) fn with<R>(&self, edit: impl FnOnce(&mut Registry) -> R) -> R {
        edit(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn touch(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Registry {
    fn open(&mut self, wake: Arc<Wake>) -> StreamId {
        self.opened += 1;
        let record = Record {
            node: Node::default(),
            opened_at: SystemTime::now(),
            opened: self.opened,
            left: None,
            wake,
            subscriptions: 0,
            acknowledged: [Revision::default(); TYPES.len()],
            rejections: BTreeMap::new(),
            beyond: Default::default(),
        };
        if let Some(id) = self.free.pop()
            && let Some(place) = self.records.get_mut(id)
        {
            *place = Some(record);
            return id;
        }
        self.records.push(Some(record));
        self.records.len() - 1
    }

    fn close(&mut self, id: StreamId) {
        if self.records.get_mut(id).and_then(Option::take).is_some() {
            self.free.push(id);
        }
    }

    pub(crate) fn record(&self, id: StreamId) -> Option<&Record> {
        self.records.get(id)?.as_ref()
    }

    fn record_mut(&mut self, id: StreamId) -> Option<&mut Record> {
        self.records.get_mut(id)?.as_mut()
    }
}

impl Record {
    pub(crate) fn acknowledged(&self, ty: ResourceType) -> Revision {
        self.acknowledged.get(usize::from(slot(ty))).copied().unwrap_or_default()
    }

    fn acknowledge(&mut self, ty: ResourceType, revision: Revision) {
        if let Some(place) = self.acknowledged.get_mut(usize::from(slot(ty))) {
            *place = revision.max(*place);
        }
        // A response as a whole was rejected only as long as no later one was taken.
        if self.rejections.get(&(slot(ty), None)).is_some_and(|rejection| rejection.revision <= revision) {
            self.rejections.remove(&(slot(ty), None));
        }
    }

    pub(crate) fn beyond(&self, ty: ResourceType) -> Option<&Beyond> {
        self.beyond.get(usize::from(slot(ty)))?.as_deref()
    }

    /// Of a resource that changed after `after`.
    fn reject(&mut self, ty: ResourceType, mut rejection: Rejection, after: Revision) {
        truncate(&mut rejection.reason, REASON_BYTES_MAX);
        let key = (slot(ty), rejection.name.clone());
        if key.1.is_none() || self.rejections.len() < REJECTIONS_MAX || self.rejections.contains_key(&key) {
            self.rejections.insert(key, rejection);
            return;
        }
        let Rejection { revision: upto, reason, .. } = rejection;
        match self.beyond.get_mut(usize::from(slot(ty))) {
            Some(Some(beyond)) => {
                beyond.after = beyond.after.min(after);
                beyond.upto = beyond.upto.max(upto);
            }
            Some(none) => *none = Some(Box::new(Beyond { after, upto, reason })),
            None => {}
        }
    }

    fn status(&self) -> StreamStatus {
        let of_type = |at: u8| TYPES.into_iter().find(|ty| slot(*ty) == at);
        StreamStatus {
            node: self.node.clone(),
            opened_at: self.opened_at,
            subscriptions: self.subscriptions,
            acknowledged: TYPES
                .into_iter()
                .map(|ty| (ty, self.acknowledged(ty)))
                .filter(|(_, revision)| *revision > Revision::default())
                .collect(),
            rejections: self
                .rejections
                .iter()
                .filter_map(|((at, _), rejection)| Some((of_type(*at)?, rejection.clone())))
                .chain(TYPES.into_iter().filter_map(|ty| Some((ty, self.beyond(ty)?.as_rejection()))))
                .collect(),
        }
    }
}

impl Beyond {
    fn as_rejection(&self) -> Rejection {
        Rejection { name: None, revision: self.upto, reason: self.reason.clone() }
    }
}

/// Cuts `text` to at most `bytes_max` bytes, between characters, and gives the room of the rest back.
fn truncate(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
    text.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_long_text_takes_no_more_room_than_it_needs() {
        let mut text = "\u{e9}".repeat(1 << 20);
        truncate(&mut text, 513);
        assert_eq!((text.len(), text.capacity()), (512, 512));
        let mut short = String::with_capacity(1 << 20);
        short.push('a');
        truncate(&mut short, 513);
        assert_eq!((short.as_str(), short.capacity()), ("a", 1));
    }
}
