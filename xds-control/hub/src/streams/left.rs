//! Streams that ended while they owed an acknowledgement.
//!
//! Whoever was on such a stream goes on with what it had, so that nothing is in force everywhere because it left. Its
//! record stays where it was, in its place of the index too, and is counted by those who wait, until the same node has
//! come back with the same subscriptions or some time has passed.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use spurline_core::catalog::{Pattern, ResourceType, Revision};
use tokio::time::Instant;

use super::{Record, Registry, StreamId, index::Entry};

/// How long they are remembered, which is longer than anybody waits.
const REMEMBERED_FOR: Duration = Duration::from_secs(90);
/// How many are. Beyond, the oldest are forgotten.
const LEFT_MAX: usize = 16_384;

/// Streams that ended.
#[derive(Debug, Default)]
pub(super) struct LeftStreams {
    /// Oldest first, by a number of its own.
    by_number: BTreeMap<u64, Left>,
    numbers_by_node: HashMap<String, Vec<u64>>,
    numbered: u64,
}

#[derive(Debug)]
struct Left {
    stream: StreamId,
    subscriptions: Vec<(ResourceType, Pattern)>,
    at: Instant,
}

impl LeftStreams {
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}

impl Registry {
    /// Ends a stream. `revision` is the catalog's.
    pub(super) fn leave(
        &mut self,
        stream: StreamId,
        subscriptions: Vec<(ResourceType, Pattern)>,
        revision: Revision,
    ) {
        self.forget_long_left();
        self.replace_left(stream, &subscriptions);
        if !self.owes(stream, &subscriptions) {
            self.remove(stream, &subscriptions);
            return;
        }
        let Some(record) = self.record_mut(stream) else { return };
        record.left = Some(revision);
        let node = record.node.id.clone();
        let left = &mut self.left;
        left.numbered += 1;
        left.by_number.insert(left.numbered, Left { stream, subscriptions, at: Instant::now() });
        if !node.is_empty() {
            left.numbers_by_node.entry(node).or_default().push(left.numbered);
        }
        if left.len() > LEFT_MAX {
            self.forget_oldest_left();
        }
    }

    /// Forgets those whose time is over.
    pub(crate) fn forget_long_left(&mut self) {
        let is_over = |left: &Left| left.at.elapsed() > REMEMBERED_FOR;
        while self.left.by_number.first_key_value().is_some_and(|(_, left)| is_over(left)) {
            self.forget_oldest_left();
        }
    }

    fn forget_oldest_left(&mut self) {
        if let Some((&number, _)) = self.left.by_number.first_key_value() {
            self.forget_left(number);
        }
    }

    /// Forgets what earlier streams of the node left, where the one that ends now has all of their subscriptions: it is
    /// what counts.
    fn replace_left(&mut self, stream: StreamId, subscriptions: &[(ResourceType, Pattern)]) {
        let Some(record) = self.record(stream) else { return };
        let numbers = self.left.numbers_by_node.get(&record.node.id).into_iter().flatten();
        let replaced: Vec<u64> = numbers
            .filter(|number| {
                let left = self.left.by_number.get(number);
                left.is_some_and(|left| left.subscriptions.iter().all(|one| subscriptions.contains(one)))
            })
            .copied()
            .collect();
        replaced.into_iter().for_each(|number| self.forget_left(number));
    }

    fn forget_left(&mut self, number: u64) {
        let Some(Left { stream, subscriptions, .. }) = self.left.by_number.remove(&number) else { return };
        if let Some(record) = self.records.get(stream).and_then(Option::as_ref)
            && let Some(numbers) = self.left.numbers_by_node.get_mut(&record.node.id)
        {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.left.numbers_by_node.remove(&record.node.id);
            }
        }
        self.remove(stream, &subscriptions);
    }

    /// Nodes with a live stream that has this subscription, with the number of the last one opened.
    pub(crate) fn nodes(&self, entry: &Entry) -> HashMap<&str, u64> {
        let mut nodes = HashMap::new();
        let records = entry.subscribers.keys().filter_map(|stream| self.record(*stream));
        for record in records.filter(|record| record.left.is_none() && !record.node.id.is_empty()) {
            let last: &mut u64 = nodes.entry(&*record.node.id).or_default();
            *last = record.opened.max(*last);
        }
        nodes
    }

    /// Whether anything under its subscriptions is later than what it acknowledged.
    fn owes(&self, stream: StreamId, subscriptions: &[(ResourceType, Pattern)]) -> bool {
        let Some(record) = self.record(stream) else { return false };
        subscriptions.iter().any(|(ty, pattern)| {
            let entry = self.index.entry(*ty, pattern);
            entry.is_some_and(|entry| {
                let is_settled = entry.subscribers.get(&stream).is_some_and(|settled| settled.is_yes());
                !is_settled || entry.changed > record.acknowledged(*ty)
            })
        })
    }

    fn remove(&mut self, stream: StreamId, subscriptions: &[(ResourceType, Pattern)]) {
        for (ty, pattern) in subscriptions {
            self.index.remove(*ty, pattern, stream);
        }
        self.close(stream);
    }
}

impl Record {
    /// Whether a later stream of the same node is among those of [`Registry::nodes`].
    pub(crate) fn is_back(&self, nodes: &HashMap<&str, u64>) -> bool {
        nodes.get(&*self.node.id).is_some_and(|opened| *opened > self.opened)
    }
}
