//! The writer's thread.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use spurline_core::{
    catalog::Catalog,
    document::{self, Id},
    model::Edit,
};
use spurline_hub::Hub;

use super::{
    Asked, Clock, Effect, Index, Message, Meta, Mode, Refusal, Request, Written,
    batch::{self, Batch, Judge, Judged},
    files::Files,
    index::{Entries, Health},
};
use crate::{
    feed::{Event, Feed},
    metrics::WriterMetrics,
    store::{Found, Store, StoreError, StoredRecord},
};

/// The most requests that become durable together.
const BATCH_MAX: usize = 256;
/// Documents that are applied at a time at the start, so that what follows from them is not in memory at once.
const LOAD_AT_A_TIME: usize = 256;
/// How often the thread looks at times to live and at files when nobody asks it for anything.
const TICK: Duration = Duration::from_millis(250);
/// The most documents that are ended at a time, so that requests are not kept waiting.
const SWEEP_MAX: usize = 256;
/// After a failed commit the store is left alone for this long; requests are refused with the same error meanwhile.
const RETRY_MS: u64 = 250;
/// How often the store is opened again to take back what a failed commit may have left. It reads the whole file.
const TAKE_BACK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Task {
    hub: Hub,
    clock: Clock,
    metrics: WriterMetrics,
    pub(super) index: Arc<Index>,
    pub(super) feed: Arc<Feed>,
    pub(super) health: Arc<Health>,
    files: Files,
    /// The greatest number given out, to versions and to events.
    sequence: u64,
    failed: Option<Failed>,
}

/// The last commit failed.
struct Failed {
    error: Arc<StoreError>,
    at_unix_ms: u64,
    take_back_at: Instant,
}

// === impl Task ===

impl Task {
    pub(super) fn new(hub: Hub, clock: Clock, metrics: WriterMetrics) -> Self {
        let feed = Arc::new(Feed::new(clock(), 0));
        let files = Files::new(&hub);
        let (index, health) = <(Arc<Index>, Arc<Health>)>::default();
        Self { hub, clock, metrics, index, feed, health, files, sequence: 0, failed: None }
    }

    /// Puts what the store holds into the hub, except what has ended meanwhile.
    pub(super) fn load(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let now_unix_ms = (self.clock)();
        let mut found = store.take_found().into_iter();
        loop {
            let (mut edits, mut metas) = (Vec::new(), Vec::new());
            for found in found.by_ref().take(LOAD_AT_A_TIME) {
                let (id, mut meta, edit) =
                    understand(&found).map_err(|what| store.unreadable(found.key.clone(), what))?;
                meta.grant_grace(now_unix_ms);
                edits.push(edit);
                metas.push((id, meta));
            }
            if edits.is_empty() {
                break;
            }
            self.files.applying();
            self.index.edit(|entries| {
                self.hub.apply(edits);
                for (id, meta) in metas {
                    entries.put(id, meta);
                }
            });
        }
        self.health.set_durable(store.path().is_some());
        self.sequence = store.sequence();
        self.feed = Arc::new(Feed::new(now_unix_ms, self.sequence));
        if let Some(path) = store.path() {
            let documents = self.index.read(Entries::len);
            tracing::info!(path = %path.display(), documents, "Store loaded");
        }
        self.sweep(store);
        self.count();
        Ok(())
    }

    pub(super) fn run(mut self, mut store: Store, waiting: &Receiver<Message>) {
        self.serve(&mut store, waiting);
        if let Err(error) = store.take_back() {
            tracing::error!(%error, "What was refused may be found written at the next start");
        }
    }

    fn serve(&mut self, store: &mut Store, waiting: &Receiver<Message>) {
        loop {
            let first = match waiting.recv_timeout(TICK) {
                Ok(Message::Request(first)) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            };
            let is_stopped = first.is_some_and(|first| self.work(store, waiting, first));
            self.take_back(store);
            self.sweep(store);
            self.watch_files();
            if is_stopped {
                return;
            }
        }
    }

    /// Carries out `first` and whatever else waits by now. True: it was told to stop.
    fn work(&mut self, store: &mut Store, waiting: &Receiver<Message>, first: Request) -> bool {
        let mut batch = Batch::default();
        let mut next = Some(first);
        let mut is_stopped = false;
        let mut taken = 0;
        while let Some(request) = next.take() {
            if batch.touches(&request.work.id()) {
                self.finish(store, std::mem::take(&mut batch));
            }
            self.take(&mut batch, request);
            taken += 1;
            if taken < BATCH_MAX {
                match waiting.try_recv() {
                    Ok(Message::Request(request)) => next = Some(request),
                    Ok(Message::Stop) => is_stopped = true,
                    Err(_) => {}
                }
            }
        }
        self.finish(store, batch);
        is_stopped
    }

    /// Judges one request: into the batch with it, or answered at once.
    fn take(&mut self, batch: &mut Batch, request: Request) {
        let Request { work, mode, asked } = request;
        let id = work.id();
        let now_unix_ms = (self.clock)();
        let judge = Judge {
            hub: &self.hub,
            index: &self.index,
            now_unix_ms,
            next_version: self.sequence + 1,
            documents: self.index.read(Entries::len) + batch.created(),
        };
        let answer = match judge.judge(work) {
            Ok(judged) if mode == Mode::Commit && judged.is_change => match self.still_failed(now_unix_ms) {
                Some(error) => Err(Refusal::Store(error)),
                None => {
                    self.push(batch, judged, Some(asked));
                    return;
                }
            },
            Ok(judged) => {
                let mut written = judged.into_written();
                written.revision = self.hub.catalog(Catalog::revision);
                if mode == Mode::Commit {
                    audit(&asked, &id, written.effect);
                }
                Ok(written)
            }
            Err(refusal) => Err(refusal),
        };
        // Who asked may be gone.
        let _ = asked.reply.send(answer);
    }

    fn push(&mut self, batch: &mut Batch, judged: Judged, asked: Option<Asked>) {
        self.sequence += u64::from(judged.is_numbered());
        batch.push(judged, self.sequence, asked);
    }

    /// Makes a batch durable, then applies it, then answers.
    fn finish(&mut self, store: &mut Store, mut batch: Batch) {
        if batch.len() == 0 {
            return;
        }
        self.metrics.batch(batch.len());
        let started = Instant::now();
        let committed = store.commit(&batch.ops(), self.sequence);
        self.metrics.committed(started.elapsed());
        if let Err(error) = committed {
            self.fail(batch, error);
            return;
        }
        self.recovered();
        let edits = batch.take_edits();
        let revision = self.index.edit(|entries| {
            let revision = if edits.is_empty() {
                self.hub.catalog(Catalog::revision)
            } else {
                self.files.applying();
                self.hub.apply(edits)
            };
            for (id, written) in batch.written() {
                match written.effect {
                    Effect::Deleted => entries.remove(id),
                    _ => entries.put(id.clone(), written.meta),
                }
            }
            revision
        });
        self.feed.extend(batch.events());
        self.count();
        for entry in batch.into_entries() {
            if let Some(asked) = entry.asked {
                audit(&asked, &entry.id, entry.written.effect);
                let _ = asked.reply.send(Ok(Written { revision, ..entry.written }));
            }
        }
    }

    fn fail(&mut self, batch: Batch, error: StoreError) {
        self.metrics.failed();
        if self.failed.is_none() {
            tracing::error!(%error, "Store takes no writes");
        }
        self.health.set_failure(Some(error.to_string()));
        let error = Arc::new(error);
        for entry in batch.into_entries() {
            let Some(Asked { by, method, reply }) = entry.asked else { continue };
            if matches!(*error, StoreError::Unsure(_)) {
                let (by, Id { kind, name }) = (&*by, &entry.id);
                let name = &**name;
                tracing::warn!(by, method, %kind, name, "Write refused that may be found written at the next start");
            }
            let _ = reply.send(Err(Refusal::Store(Arc::clone(&error))));
        }
        // Whoever comes next is not even tried.
        let error = match &*error {
            StoreError::Unsure(cause) => Arc::clone(cause),
            _ => error,
        };
        let take_back_at = Instant::now() + TAKE_BACK_INTERVAL;
        self.failed = Some(Failed { error, at_unix_ms: (self.clock)(), take_back_at });
    }

    /// What a failed commit may have left on the disk does not wait for the next commit, which may never come.
    fn take_back(&mut self, store: &mut Store) {
        if let Some(failed) = &mut self.failed
            && failed.take_back_at <= Instant::now()
        {
            // Whether the store takes writes again only a write can tell.
            let _ = store.take_back();
            failed.take_back_at = Instant::now() + TAKE_BACK_INTERVAL;
        }
    }

    fn recovered(&mut self) {
        if self.failed.take().is_some() {
            tracing::info!("Store takes writes again");
            self.health.set_failure(None);
        }
    }

    /// The error of a failure so recent that trying again would only cost time.
    fn still_failed(&self, now_unix_ms: u64) -> Option<Arc<StoreError>> {
        let failed = self.failed.as_ref()?;
        // A clock that was set back does not keep the store closed.
        let age_ms = now_unix_ms.checked_sub(failed.at_unix_ms)?;
        (age_ms < RETRY_MS).then(|| Arc::clone(&failed.error))
    }

    /// Ends what is over.
    fn sweep(&mut self, store: &mut Store) {
        let now_unix_ms = (self.clock)();
        if self.still_failed(now_unix_ms).is_some() {
            return;
        }
        let over = self.index.read(|entries| entries.over(now_unix_ms, SWEEP_MAX));
        if over.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        for id in &over {
            let Some(meta) = self.index.read(|entries| entries.get(id).copied()) else { continue };
            let judged = Judged::over(&self.hub, id.clone(), meta);
            self.push(&mut batch, judged, None);
        }
        let count = batch.len();
        self.finish(store, batch);
        if self.failed.is_some() {
            // They are there still, and tried again with the store.
            return;
        }
        self.metrics.ended(count);
        for id in over {
            tracing::info!(kind = %id.kind, name = %id.name, "Document ended by its time to live");
        }
    }

    /// Tells watchers of documents that changed in files.
    fn watch_files(&mut self) {
        let changed = self.files.changed(&self.hub);
        let events: Vec<Event> = changed
            .into_iter()
            .map(|(id, happened)| {
                self.sequence += 1;
                Event { sequence: self.sequence, id, happened }
            })
            .collect();
        if !events.is_empty() {
            self.feed.extend(events);
        }
    }

    fn count(&self) {
        self.metrics.documents(self.index.read(Entries::len));
    }
}

/// One line for every write that was carried out.
fn audit(asked: &Asked, id: &Id, effect: Effect) {
    let Asked { by, method, reply: _ } = asked;
    let effect = match effect {
        Effect::Created => "created",
        Effect::Replaced => "replaced",
        Effect::Unchanged => "unchanged",
        Effect::Deleted => "deleted",
    };
    tracing::info!(by = &**by, method, kind = %id.kind, name = &*id.name, effect, "Written");
}

/// Reads a stored record.
fn understand(found: &Found) -> Result<(Id, Meta, Edit), String> {
    let StoredRecord { version, created_unix_ms, updated_unix_ms, seen_unix_ms, document } = found.read()?;
    let document = document::read(&document, None)
        .map_err(|faults| faults.first().map_or_else(|| "no document".to_owned(), ToString::to_string))?;
    let id = document.id();
    if batch::key(&id) != found.key {
        return Err(format!("it holds {id}"));
    }
    let meta = Meta { version, created_unix_ms, updated_unix_ms, seen_unix_ms, ttl: document.ttl() };
    let edit = Edit::Put(batch::record(document, &meta));
    Ok((id, meta, edit))
}
