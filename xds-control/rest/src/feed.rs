//! What happened to documents lately, for those who watch.
//!
//! The feed holds names, not documents: a watcher reads the document when it sends the event, so that it sends the
//! newest state and a slow one costs nothing. The ring is bounded; who falls behind it is told so and starts over.

use std::{
    collections::VecDeque,
    sync::{PoisonError, RwLock},
};

use spurline_core::document::Id;
use tokio::sync::watch;

/// Events that are kept for watchers who resume or lag.
const EVENTS_MAX: usize = 8192;

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Put,
    Deleted,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) sequence: u64,
    pub(crate) id: Id,
    pub(crate) happened: Happened,
}

/// A watcher asked for events that are no longer kept.
#[derive(Debug)]
pub(crate) struct Behind;

#[derive(Debug)]
pub(crate) struct Feed {
    /// Tells this run of the process from others, whose numbers mean something else.
    epoch: u64,
    ring: RwLock<Ring>,
    latest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    /// Everything after this number is in `events`.
    complete_after: u64,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new(epoch: u64, sequence: u64) -> Self {
        let ring = Ring { events: VecDeque::new(), complete_after: sequence };
        Self { epoch, ring: RwLock::new(ring), latest: watch::Sender::new(sequence) }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the newest event; it changes whenever there is one.
    pub(crate) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// Adds events, whose numbers increase.
    pub(crate) fn extend(&self, events: impl IntoIterator<Item = Event>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            while ring.events.len() >= EVENTS_MAX {
                ring.complete_after = ring.events.pop_front().map_or(ring.complete_after, |old| old.sequence);
            }
            ring.events.push_back(event);
        }
        if let Some(newest) = ring.events.back() {
            self.latest.send_replace(newest.sequence);
        }
    }

    /// At most `count` events after number `after`.
    pub(crate) fn after(&self, after: u64, count: usize) -> Result<Vec<Event>, Behind> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if after < ring.complete_after {
            return Err(Behind);
        }
        let start = ring.events.partition_point(|event| event.sequence <= after);
        Ok(ring.events.range(start..).take(count).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use spurline_core::document::Kind;

    use super::*;

    #[test]
    fn events_come_in_order_and_once() {
        let feed = Feed::new(1, 10);
        feed.extend((11..=15).map(event));
        assert_eq!(numbers(&feed, 10, 3), [11, 12, 13]);
        assert_eq!(numbers(&feed, 13, 3), [14, 15]);
        assert_eq!(numbers(&feed, 15, 3), [] as [u64; 0]);
        assert_eq!(*feed.latest().borrow(), 15);
    }

    #[test]
    fn who_is_behind_the_ring_is_told() {
        let feed = Feed::new(1, 0);
        assert!(feed.after(0, 1).is_ok());
        let count = EVENTS_MAX as u64 + 5;
        feed.extend((1..=count).map(event));
        assert!(feed.after(4, 1).is_err());
        assert_eq!(numbers(&feed, 5, 1), [6]);
    }

    #[test]
    fn what_happened_before_the_start_is_not_known() {
        assert!(Feed::new(1, 10).after(9, 1).is_err());
    }

    fn numbers(feed: &Feed, after: u64, count: usize) -> Vec<u64> {
        feed.after(after, count).unwrap().iter().map(|event| event.sequence).collect()
    }

    fn event(sequence: u64) -> Event {
        let id = Id::new(Kind::Sandbox, "a");
        Event { sequence, id, happened: Happened::Put }
    }
}
