//! The model and its catalog behind locks that are held for the length of one look.

use std::sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU32};

use spurline_core::{
    catalog::{Catalog, ResourceName, Revision},
    document::Id,
    model::{Edit, Model},
};
use tokio::sync::watch;

use crate::{
    publisher::{Debounce, Publisher},
    readiness::Readiness,
    streams::{StreamGuard, Streams},
    withdrawn::Withdrawn,
};

/// What the control service knows. Clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

/// Locks are taken in the order of the fields. A panic of another holder is ignored: each leaves what it holds whole.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Held through a whole edit, so that the catalog sees changes in the order the model made them.
    writer: Mutex<()>,
    model: RwLock<Model>,
    pub(crate) catalog: RwLock<Catalog>,
    pub(crate) withdrawn: Mutex<Withdrawn>,
    pub(crate) streams: Streams,
    readiness: Readiness,
    /// Counts applications.
    pub(crate) applied: watch::Sender<u64>,
    published: watch::Sender<Revision>,
    pub(crate) stopped: watch::Sender<bool>,
    /// Those who wait for acknowledgements.
    pub(crate) waiting: AtomicU32,
}

impl Hub {
    /// An empty hub that expects no source, and the publisher that has to be run beside it.
    #[must_use]
    pub fn new(debounce: Debounce) -> (Self, Publisher) {
        let shared = Arc::new(Shared {
            writer: Mutex::default(),
            model: RwLock::new(Model::new()),
            catalog: RwLock::new(Catalog::new()),
            withdrawn: Mutex::default(),
            streams: Streams::new(),
            readiness: Readiness::new(),
            applied: watch::Sender::new(0),
            published: watch::Sender::new(Revision::default()),
            stopped: watch::Sender::new(false),
            waiting: AtomicU32::new(0),
        });
        (Self { shared: Arc::clone(&shared) }, Publisher::new(shared, debounce))
    }

    /// Applies edits as one: model and catalog show all of them to whoever looks afterwards. Streams are woken by the
    /// publisher. Returns the revision at which a proxy has all of it.
    pub fn apply(&self, edits: Vec<Edit>) -> Revision {
        let shared = &*self.shared;
        let _writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // What an edit takes away is found edit by edit. The result is that of all at once.
        let (mut changes, mut gone) = (Vec::new(), Vec::new());
        {
            let mut model = shared.model.write().unwrap_or_else(PoisonError::into_inner);
            for edit in edits {
                let id = id_of(&edit);
                let own = model.apply([edit]);
                let missing = own.iter().filter(|change| change.body.is_none());
                gone.extend(missing.map(|change| (id.clone(), change.name.clone())));
                changes.extend(own);
            }
        }
        let names: Vec<ResourceName> = changes.iter().map(|change| change.name.clone()).collect();
        let revision = {
            let mut catalog = shared.catalog.write().unwrap_or_else(PoisonError::into_inner);
            let before = catalog.revision();
            gone.retain(|(_, name)| catalog.get(name.ty, &name.name).is_some());
            let revision = catalog.apply(changes);
            shared.note_withdrawn(&catalog, gone, revision);
            // Under the catalog's lock, so that nobody sees the revision before its patterns are marked.
            shared.streams.mark(names.iter().filter(|name| is_newer(&catalog, name, before)), revision);
            revision
        };
        shared.applied.send_modify(|count| *count += 1);
        revision
    }

    /// A look at the model. Writers wait meanwhile, so it has to be short.
    pub fn model<R>(&self, look: impl FnOnce(&Model) -> R) -> R {
        look(&self.shared.model.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A look at the catalog. Writers wait meanwhile, so it has to be short.
    pub fn catalog<R>(&self, look: impl FnOnce(&Catalog) -> R) -> R {
        self.shared.with_catalog(look)
    }

    /// The revision that streams were last woken for; at most [`Debounce::max`] behind the catalog's.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Revision> {
        self.shared.published.subscribe()
    }

    /// Changes with every application, before it is published.
    #[must_use]
    pub fn model_changes(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// Everyone who is connected.
    #[must_use]
    pub fn streams(&self) -> &Streams {
        &self.shared.streams
    }

    /// Opens a stream that subscribes to nothing yet.
    #[must_use]
    pub fn open_stream(&self) -> StreamGuard {
        StreamGuard::open(&self.shared)
    }

    /// Names a source whose first load has to finish before proxies are answered. To be called before anything serves.
    pub fn expect_source(&self, source: &'static str) {
        self.shared.readiness.expect(source);
    }

    /// Says that a source has applied its first load. A source that was never expected changes nothing.
    pub fn set_source_ready(&self, source: &str) {
        self.shared.readiness.set_ready(source);
    }

    /// Whether every expected source has finished its first load; the receiver waits for it.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.shared.readiness.subscribe()
    }

    /// Sources that have not finished their first load.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.shared.readiness.waiting_for()
    }

    /// Ends the publisher and asks every stream to end, so that connections can close. It cannot be taken back.
    pub fn stop(&self) {
        self.shared.stopped.send_replace(true);
    }

    /// Turns true with [`Hub::stop`].
    #[must_use]
    pub fn stopped(&self) -> watch::Receiver<bool> {
        self.shared.stopped.subscribe()
    }
}

impl Shared {
    pub(crate) fn with_catalog<R>(&self, look: impl FnOnce(&Catalog) -> R) -> R {
        look(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Of what `gone` names, what is.
    fn note_withdrawn(&self, catalog: &Catalog, gone: Vec<(Id, ResourceName)>, at: Revision) {
        self.with_withdrawn(|withdrawn| {
            for (id, name) in gone {
                if catalog.get(name.ty, &name.name).is_none() {
                    withdrawn.note(id, name, at);
                }
            }
        });
    }

    pub(crate) fn with_withdrawn<R>(&self, look: impl FnOnce(&mut Withdrawn) -> R) -> R {
        look(&mut self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn with_model<R>(&self, look: impl FnOnce(&Model) -> R) -> R {
        look(&self.model.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes every stream with a subscription that something was applied to since the last call.
    pub(crate) fn publish(&self) {
        let revision = self.with_catalog(Catalog::revision);
        self.published.send_replace(revision);
        self.streams.wake();
    }
}

fn id_of(edit: &Edit) -> Id {
    match edit {
        Edit::Put(record) => record.document.id(),
        Edit::Delete { id, .. } => id.clone(),
    }
}

/// Whether it changed after `before`, or does not exist.
fn is_newer(catalog: &Catalog, name: &ResourceName, before: Revision) -> bool {
    catalog.get(name.ty, &name.name).is_none_or(|entry| entry.revision() > before)
}
