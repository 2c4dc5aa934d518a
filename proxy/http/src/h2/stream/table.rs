use std::cell::Cell;

use super::{Stream, StreamId};

/// The streams of a connection by their number. Numbers only ever grow, so a new stream stands at the end of a sorted
/// list; a stream is moved neither when it is found nor when others go.
#[derive(Debug, Default)]
pub(in crate::h2) struct Streams {
    /// Sorted by number; the second is the place in `slots`.
    index: Vec<(StreamId, usize)>,
    slots: Vec<Stream>,
    free: Vec<usize>,
    /// The stream that was looked up last, and its place in `slots`: a stream is asked for many times in a row.
    recent: Cell<Option<(StreamId, usize)>>,
    /// Streams that are not closed, which is what limits count.
    open: u32,
}

impl Streams {
    /// All streams, closed ones whose data is still held among them.
    pub(in crate::h2) fn len(&self) -> usize {
        self.index.len()
    }

    pub(in crate::h2) fn open(&self) -> u32 {
        self.open
    }

    /// A stream has been closed that stays for the data that is held.
    pub(in crate::h2) fn count_closed(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    pub(in crate::h2) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.slots.get(self.slot(id)?)
    }

    pub(in crate::h2) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let slot = self.slot(id)?;
        self.slots.get_mut(slot)
    }

    /// Adds an open stream, whose number is higher than all before it.
    pub(in crate::h2) fn insert(&mut self, stream: Stream) {
        debug_assert!(self.index.last().is_none_or(|(last, _)| *last < stream.id), "{:?}", stream.id);
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = stream;
                }
                slot
            }
            None => {
                if self.slots.is_empty() {
                    // Most connections that are idle never had more than one.
                    self.slots.reserve_exact(1);
                }
                self.slots.push(stream);
                self.slots.len() - 1
            }
        };
        self.index.push((stream.id, slot));
        self.recent.set(Some((stream.id, slot)));
        self.open += 1;
    }

    pub(in crate::h2) fn remove(&mut self, id: StreamId) -> Option<&Stream> {
        let at = self.index.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, slot) = self.index.remove(at);
        self.free.push(slot);
        self.recent.set(None);
        let stream = self.slots.get(slot)?;
        if !stream.is_closed() {
            self.open = self.open.saturating_sub(1);
        }
        Some(stream)
    }

    /// In the order of their numbers.
    pub(in crate::h2) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.index.iter().filter_map(|(_, slot)| self.slots.get(*slot))
    }

    /// The streams above `last`.
    pub(in crate::h2) fn above(&self, last: StreamId) -> Vec<StreamId> {
        self.index.iter().map(|(id, _)| *id).filter(|id| *id > last).collect()
    }

    pub(in crate::h2) fn for_each_mut(&mut self, mut apply: impl FnMut(&mut Stream)) {
        for (_, slot) in &self.index {
            if let Some(stream) = self.slots.get_mut(*slot) {
                apply(stream);
            }
        }
    }

    fn slot(&self, id: StreamId) -> Option<usize> {
        if let Some((recent, slot)) = self.recent.get()
            && recent == id
        {
            return Some(slot);
        }
        let at = self.index.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let found = *self.index.get(at)?;
        self.recent.set(Some(found));
        Some(found.1)
    }
}
