//! What is known of stored documents beside the documents: versions and times, and which end next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use spurline_core::document::{Id, Ttl};

/// No document ends for lack of heartbeats sooner than this after the start, or than its own idle time if that is
/// shorter: while the service was away nobody could send one.
pub(super) const RESTART_GRACE_MS: u64 = 5 * 60 * 1000;

/// Versions and times of one stored document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) version: u64,
    pub(crate) created_unix_ms: u64,
    pub(crate) updated_unix_ms: u64,
    pub(crate) seen_unix_ms: u64,
    pub(crate) ttl: Ttl,
}

/// A document is created later than those before it, though the clock may not have moved. A clock that was set back
/// further than this is believed.
const CLOCK_STEP_MS: u64 = 1000;

/// All of them. The writer holds the lock while it applies a batch to the hub, so that who holds it to read sees
/// documents and versions that belong together.
#[derive(Debug, Default)]
pub(crate) struct Index(RwLock<Entries>);

#[derive(Debug, Default)]
pub(crate) struct Entries {
    metas: BTreeMap<Id, Meta>,
    ends: BTreeSet<(u64, Id)>,
    newest_unix_ms: u64,
}

/// How the store is, for the status page.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_durable: AtomicBool,
    failure: Mutex<Option<String>>,
}

// === impl Meta ===

impl Meta {
    /// When the document ends, as far as is known by now.
    pub(crate) fn ends_unix_ms(&self) -> Option<u64> {
        let idle = self.ttl.idle_s.map(|idle_s| after(self.seen_unix_ms, idle_s));
        match (self.ends_at_the_latest_unix_ms(), idle) {
            (Some(latest), Some(idle)) => Some(latest.min(idle)),
            (one, other) => one.or(other),
        }
    }

    /// Gives its owner time for a heartbeat after a start.
    pub(super) fn grant_grace(&mut self, started_unix_ms: u64) {
        if let Some(idle_s) = self.ttl.idle_s {
            let idle_ms = idle_s.saturating_mul(1000);
            let seen_unix_ms = started_unix_ms.saturating_sub(idle_ms.saturating_sub(RESTART_GRACE_MS));
            self.seen_unix_ms = self.seen_unix_ms.max(seen_unix_ms);
        }
    }

    /// When the document ends even if it is used.
    pub(crate) fn ends_at_the_latest_unix_ms(&self) -> Option<u64> {
        self.ttl.after_s.map(|after_s| after(self.created_unix_ms, after_s))
    }
}

// === impl Index ===

impl Index {
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Entries) -> R) -> R {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn edit<R>(&self, edit: impl FnOnce(&mut Entries) -> R) -> R {
        edit(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Entries ===

impl Entries {
    pub(crate) fn get(&self, id: &Id) -> Option<&Meta> {
        self.metas.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.metas.len()
    }

    /// When a document is created that is written now: never at the same time as one that is there already, for of two
    /// that want one key the older has it.
    pub(super) fn creation_unix_ms(&self, now_unix_ms: u64) -> u64 {
        match self.newest_unix_ms.checked_sub(now_unix_ms) {
            Some(ahead_ms) if ahead_ms < CLOCK_STEP_MS => self.newest_unix_ms + 1,
            _ => now_unix_ms,
        }
    }

    pub(super) fn put(&mut self, id: Id, meta: Meta) {
        self.remove(&id);
        self.newest_unix_ms = self.newest_unix_ms.max(meta.created_unix_ms);
        if let Some(ends) = meta.ends_unix_ms() {
            self.ends.insert((ends, id.clone()));
        }
        self.metas.insert(id, meta);
    }

    pub(super) fn remove(&mut self, id: &Id) {
        if let Some(meta) = self.metas.remove(id)
            && let Some(ends) = meta.ends_unix_ms()
        {
            self.ends.remove(&(ends, id.clone()));
        }
    }

    /// At most `count` documents that have ended by `now_unix_ms`, the longest over first.
    pub(super) fn over(&self, now_unix_ms: u64, count: usize) -> Vec<Id> {
        self.ends
            .iter()
            .take_while(|(ends, _)| *ends <= now_unix_ms)
            .take(count)
            .map(|(_, id)| id.clone())
            .collect()
    }
}

// === impl Health ===

impl Health {
    /// Whether there is a file, whether it takes writes, and if not, why.
    pub(crate) fn json(&self) -> Value {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        json!({
            "durable": self.is_durable.load(Ordering::Relaxed),
            "writable": failure.is_none(),
            "failure": failure,
        })
    }

    pub(super) fn set_durable(&self, is_durable: bool) {
        self.is_durable.store(is_durable, Ordering::Relaxed);
    }

    pub(super) fn set_failure(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

fn after(start_unix_ms: u64, span_s: u64) -> u64 {
    start_unix_ms.saturating_add(span_s.saturating_mul(1000))
}
