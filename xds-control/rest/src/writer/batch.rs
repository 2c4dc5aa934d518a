//! Judging one request by what is durable, and what a batch of accepted ones adds up to.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use spurline_core::{
    catalog::Revision,
    document::{Document, Fault, Id},
    model::{Edit, Origin, Record},
};
use spurline_hub::Hub;

use super::{Asked, Condition, Effect, Index, Meta, Refusal, Work, Written};
use crate::{
    feed::{Event, Happened},
    store::{Op, StoredRecord},
};

/// Documents in the store.
pub(super) const DOCUMENTS_MAX: usize = 100_000;

/// Accepted requests that become durable together, at most one for each document, so that every request is judged by
/// what is durable and not by what may still fail.
#[derive(Debug, Default)]
pub(super) struct Batch {
    touched: BTreeSet<Id>,
    entries: Vec<Entry>,
    /// How many documents there are more than before.
    created: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Id,
    /// Of the event; for a document that was written also its version.
    sequence: u64,
    pub(super) written: Written,
    /// The document for the model, unless it stays as it is there.
    put: Option<Box<Document>>,
    /// None: its time to live was over.
    pub(super) asked: Option<Asked>,
}

/// A request that may be carried out.
#[derive(Debug)]
pub(super) struct Judged {
    id: Id,
    written: Written,
    put: Option<Box<Document>>,
    /// Whether the store has to be written at all.
    pub(super) is_change: bool,
}

/// What requests are judged by.
pub(super) struct Judge<'a> {
    pub(super) hub: &'a Hub,
    pub(super) index: &'a Index,
    pub(super) now_unix_ms: u64,
    /// The version that the next change gets.
    pub(super) next_version: u64,
    pub(super) documents: usize,
}

// === impl Judge ===

impl Judge<'_> {
    pub(super) fn judge(&self, work: Work) -> Result<Judged, Refusal> {
        match work {
            Work::Put { document, condition } => self.put(document, &condition),
            Work::Delete { id, condition } => self.delete(id, &condition),
            Work::Heartbeat { id } => self.heartbeat(id),
        }
    }

    fn put(&self, document: Box<Document>, condition: &Condition) -> Result<Judged, Refusal> {
        let id = document.id();
        let (current, creation_unix_ms, is_same) = self.index.read(|entries| {
            let is_same =
                self.hub.model(|model| model.get(&id).is_some_and(|known| known.document == *document));
            (entries.get(&id).copied(), entries.creation_unix_ms(self.now_unix_ms), is_same)
        });
        self.refuse_of_file(&id)?;
        check(condition, current.as_ref())?;
        if current.is_none() && self.documents >= DOCUMENTS_MAX {
            return Err(Refusal::TooMany { documents_max: DOCUMENTS_MAX });
        }
        let mut meta = Meta {
            version: self.next_version,
            created_unix_ms: current.map_or(creation_unix_ms, |current| current.created_unix_ms),
            updated_unix_ms: self.now_unix_ms,
            seen_unix_ms: self.now_unix_ms,
            ttl: document.ttl(),
        };
        if meta.ends_at_the_latest_unix_ms().is_some_and(|ends| ends <= self.now_unix_ms) {
            return Err(Refusal::Over(over(&meta, self.now_unix_ms)));
        }
        let value = Arc::new(document.to_json());
        let effect = match current {
            None => Effect::Created,
            Some(current) if is_same => {
                meta = Meta { seen_unix_ms: self.now_unix_ms, ..current };
                Effect::Unchanged
            }
            Some(_) => Effect::Replaced,
        };
        let is_change = effect != Effect::Unchanged || meta.ttl.idle_s.is_some();
        let put = (effect != Effect::Unchanged).then_some(document);
        Ok(Judged { id, written: written(effect, meta, value), put, is_change })
    }

    fn delete(&self, id: Id, condition: &Condition) -> Result<Judged, Refusal> {
        self.refuse_of_file(&id)?;
        let current = self.index.read(|entries| entries.get(&id).copied());
        check(condition, current.as_ref())?;
        let meta = current.ok_or(Refusal::NotFound)?;
        let (value, gone) = self.hub.model(|model| {
            let value = model.get(&id).map_or(Value::Null, |record| record.document.to_json());
            (value, model.resources_of(&id))
        });
        let written = Written { gone, ..written(Effect::Deleted, meta, Arc::new(value)) };
        Ok(Judged { id, written, put: None, is_change: true })
    }

    fn heartbeat(&self, id: Id) -> Result<Judged, Refusal> {
        self.refuse_of_file(&id)?;
        let current = self.index.read(|entries| entries.get(&id).copied()).ok_or(Refusal::NotFound)?;
        let value = self.hub.model(|model| model.get(&id).map(|record| record.document.to_json()));
        let value = Arc::new(value.ok_or(Refusal::NotFound)?);
        let meta = Meta { seen_unix_ms: self.now_unix_ms, ..current };
        let is_change = meta.ttl.idle_s.is_some();
        Ok(Judged { id, written: written(Effect::Unchanged, meta, value), put: None, is_change })
    }

    fn refuse_of_file(&self, id: &Id) -> Result<(), Refusal> {
        let is_of_file =
            self.hub.model(|model| model.get(id).is_some_and(|record| record.origin == Origin::File));
        if is_of_file { Err(Refusal::OfFile) } else { Ok(()) }
    }
}

// === impl Judged ===

impl Judged {
    /// The deletion of a document that is over, whoever hides it meanwhile.
    pub(super) fn over(hub: &Hub, id: Id, meta: Meta) -> Self {
        let gone = hub.model(|model| model.resources_of(&id));
        let written = Written { gone, ..written(Effect::Deleted, meta, Arc::new(Value::Null)) };
        Self { id, written, put: None, is_change: true }
    }

    /// Whether it gets a number, as everything but a heartbeat does.
    pub(super) fn is_numbered(&self) -> bool {
        self.written.effect != Effect::Unchanged
    }

    pub(super) fn into_written(self) -> Written {
        self.written
    }
}

// === impl Batch ===

impl Batch {
    pub(super) fn touches(&self, id: &Id) -> bool {
        self.touched.contains(id)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn created(&self) -> usize {
        self.created
    }

    /// `sequence` is the newest number, its own if it gets one.
    pub(super) fn push(&mut self, judged: Judged, sequence: u64, asked: Option<Asked>) {
        let Judged { id, written, put, is_change: _ } = judged;
        self.created += usize::from(written.effect == Effect::Created);
        self.touched.insert(id.clone());
        self.entries.push(Entry { id, sequence, written, put, asked });
    }

    pub(super) fn ops(&self) -> Vec<Op<'_>> {
        self.entries
            .iter()
            .map(|Entry { id, written, .. }| match written.effect {
                Effect::Deleted => Op::Delete { key: key(id) },
                _ => Op::Put { key: key(id), record: stored(written) },
            })
            .collect()
    }

    /// The edits of the model; the documents are moved out.
    pub(super) fn take_edits(&mut self) -> Vec<Edit> {
        self.entries
            .iter_mut()
            .filter_map(|entry| match entry.put.take() {
                Some(document) => Some(Edit::Put(record(*document, &entry.written.meta))),
                None if entry.written.effect == Effect::Deleted => {
                    Some(Edit::Delete { id: entry.id.clone(), origin: Origin::Store })
                }
                None => None,
            })
            .collect()
    }

    /// What watchers are told.
    pub(super) fn events(&self) -> Vec<Event> {
        let events = self.entries.iter().filter_map(|Entry { id, sequence, written, .. }| {
            let happened = match written.effect {
                Effect::Unchanged => return None,
                Effect::Deleted => Happened::Deleted,
                Effect::Created | Effect::Replaced => Happened::Put,
            };
            Some(Event { sequence: *sequence, id: id.clone(), happened })
        });
        events.collect()
    }

    pub(super) fn written(&self) -> impl Iterator<Item = (&Id, &Written)> {
        self.entries.iter().map(|entry| (&entry.id, &entry.written))
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// What the store calls a document.
pub(super) fn key(id: &Id) -> String {
    format!("{}/{}", id.kind, id.name)
}

fn stored(written: &Written) -> StoredRecord<&Value> {
    let Meta { version, created_unix_ms, updated_unix_ms, seen_unix_ms, ttl: _ } = written.meta;
    StoredRecord { version, created_unix_ms, updated_unix_ms, seen_unix_ms, document: &written.document }
}

pub(super) fn record(document: Document, meta: &Meta) -> Record {
    let expires_unix_s = meta.ends_at_the_latest_unix_ms().map(|ends| ends.div_ceil(1000));
    Record { document, origin: Origin::Store, created_unix_ms: meta.created_unix_ms, expires_unix_s }
}

fn written(effect: Effect, meta: Meta, document: Arc<Value>) -> Written {
    Written { effect, meta, document, revision: Revision::default(), gone: Vec::new() }
}

fn check(condition: &Condition, current: Option<&Meta>) -> Result<(), Refusal> {
    let current = current.map(|current| current.version);
    if condition.holds_for(current) { Ok(()) } else { Err(Refusal::Condition { current }) }
}

fn over(meta: &Meta, now_unix_ms: u64) -> Fault {
    let age_s = now_unix_ms.saturating_sub(meta.created_unix_ms) / 1000;
    Fault {
        pointer: "/spec/ttl/after".to_owned(),
        what: format!("the document was created {age_s} s ago and would end at once"),
        allowed: format!("more than {age_s}s, or delete the document"),
    }
}
