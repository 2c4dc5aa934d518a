//! Keeps the hub in step with a directory.
//!
//! The directory is polled, because that works on every file system and with directories that are swapped as a whole
//! (a mounted ConfigMap, a checkout). A change is read when two looks one interval apart saw the same files in the same
//! state, so that a file somebody is still writing is left alone; who writes slower than that must write another file
//! and rename it. Anything wrong anywhere changes nothing: the last good set stays as a whole.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use spurline_core::{
    document::{Document, Id},
    model::{Edit, Origin, Record},
};
use spurline_hub::Hub;

use crate::{
    Files, SourceError,
    set::{Outcome, Set},
};

/// What the hub knows this source as.
pub const SOURCE: &str = "directory";

/// Documents of the first set that are applied at a time.
const LOAD_AT_A_TIME: usize = 256;

/// A thread that follows a directory. Dropping it stops the thread; what was applied stays.
#[derive(Debug)]
pub struct Directory {
    orders: Option<Sender<Reload>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    places: Places,
}

/// Where documents of the directory stand. Clones see the same directory.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<RwLock<Option<Arc<Set>>>>);

/// What following a directory counts, as plain numbers.
#[derive(Debug, Default)]
pub struct Counters {
    applied: AtomicU64,
    rejected: AtomicU64,
    files: AtomicU64,
    documents: AtomicU64,
}

/// The order to read at once, whatever the looks say.
#[derive(Debug)]
struct Reload;

/// What a look at the directory led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The files are those that were read last.
    Unchanged,
    /// They are others, but may still be growing.
    Settling,
    Applied,
    Rejected,
    /// The directory or a file is not there, or may not be read.
    Unreadable,
}

/// Follows the directory step by step.
struct Follower {
    path: PathBuf,
    hub: Hub,
    counters: Arc<Counters>,
    places: Places,
    /// What the last look saw.
    seen: Option<Files>,
    /// The files that turned out to be wrong, so that they are not read again and again.
    rejected: Option<Files>,
    /// What is in force.
    set: Option<Arc<Set>>,
    /// The trouble that was logged last, until the directory is readable again.
    trouble: Option<String>,
}

// === impl Directory ===

impl Directory {
    /// Reads the directory now, then looks at it every `interval` from a thread of its own.
    ///
    /// One that is missing or wrong is logged and counted. The hub waits for [`SOURCE`], which is ready with the first
    /// set that could be applied: until then proxies would take an empty answer for deleted sandboxes. A directory
    /// without files is good and says that there are no documents.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(path: PathBuf, interval: Duration, hub: Hub) -> io::Result<Self> {
        hub.expect_source(SOURCE);
        let counters = Arc::<Counters>::default();
        let mut follower = Follower::new(path, hub, counters.clone());
        let places = follower.places.clone();
        let (orders, ordered) = mpsc::channel();
        let thread = thread::Builder::new().name(SOURCE.into()).spawn(move || {
            follower.read_now();
            loop {
                match ordered.recv_timeout(interval) {
                    Ok(Reload) => _ = follower.read_now(),
                    Err(RecvTimeoutError::Timeout) => _ = follower.step(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { orders: Some(orders), thread: Some(thread), counters, places })
    }

    /// Asks for the directory to be read at once, even if nothing seems to have changed.
    pub fn reload(&self) {
        if let Some(orders) = &self.orders {
            // The thread ends by a panic only, which has been reported where it happened.
            let _gone = orders.send(Reload);
        }
    }

    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    #[must_use]
    pub fn places(&self) -> Places {
        self.places.clone()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _panicked = self.thread.take().map(JoinHandle::join);
    }
}

// === impl Places ===

impl Places {
    /// The `file:line` where a document begins, as it is in force. The cost is that of a search through all documents.
    #[must_use]
    pub fn of(&self, id: &Id) -> Option<String> {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        set.place_of(id)
    }
}

// === impl Counters ===

impl Counters {
    /// Sets that were applied.
    pub fn applied(&self) -> u64 {
        self.applied.load(Relaxed)
    }

    /// Sets with something wrong in them.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Files in force.
    pub fn files(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// Documents in force.
    pub fn documents(&self) -> u64 {
        self.documents.load(Relaxed)
    }
}

// === impl Follower ===

impl Follower {
    fn new(path: PathBuf, hub: Hub, counters: Arc<Counters>) -> Self {
        let places = Places::default();
        Self { path, hub, counters, places, seen: None, rejected: None, set: None, trouble: None }
    }

    /// Reads without waiting for the files to settle, and tells again what is wrong with them.
    fn read_now(&mut self) -> Step {
        self.rejected = None;
        self.trouble = None;
        match Files::look(&self.path) {
            Ok(files) => {
                self.seen = Some(files.clone());
                self.read(files)
            }
            Err(error) => self.unreadable(&error),
        }
    }

    fn step(&mut self) -> Step {
        let files = match Files::look(&self.path) {
            Ok(files) => files,
            Err(error) => return self.unreadable(&error),
        };
        let settled = self.seen.as_ref() == Some(&files);
        if !settled {
            self.seen = Some(files.clone());
        }
        if self.set.as_ref().is_some_and(|set| *set.files() == files) {
            // A bad change that was taken back needs no more attention.
            self.rejected = None;
            self.trouble = None;
            return Step::Unchanged;
        }
        if self.rejected.as_ref() == Some(&files) {
            return Step::Unchanged;
        }
        if settled { self.read(files) } else { Step::Settling }
    }

    fn read(&mut self, files: Files) -> Step {
        let known = self.set.take();
        let nothing = Set::default();
        let next = known.as_deref().unwrap_or(&nothing).next(files.clone());
        match next {
            Ok(Outcome::Read { set, fresh }) => {
                self.apply(known.as_deref(), set, fresh);
                Step::Applied
            }
            Ok(Outcome::Moving) => {
                self.set = known;
                Step::Settling
            }
            Err(SourceError::Wrong(faults)) => {
                self.set = known;
                self.rejected = Some(files);
                self.trouble = None;
                self.counters.rejected.fetch_add(1, Relaxed);
                let documents = self.counters.documents();
                tracing::warn!(%faults, documents, "Directory rejected, the documents in force stay");
                Step::Rejected
            }
            Err(error) => {
                self.set = known;
                self.unreadable(&error)
            }
        }
    }

    fn apply(&mut self, known: Option<&Set>, set: Set, fresh: Vec<Document>) {
        let (before, after) = (known.map(Set::hashes).unwrap_or_default(), set.hashes());
        let gone = before.keys().filter(|id| !after.contains_key(*id)).cloned();
        let mut edits: Vec<Edit> = gone.map(|id| Edit::Delete { id, origin: Origin::File }).collect();
        edits.extend(fresh.into_iter().filter_map(|document| {
            let id: Id = document.id();
            (before.get(&id) != after.get(&id)).then(|| put(document))
        }));
        let changes = edits.len();
        match known {
            // As one: nobody sees half of a change.
            Some(_) if changes > 0 => _ = self.hub.apply(edits),
            Some(_) => {}
            // Proxies are answered when all of it is there, and everybody else need not be held up until then.
            None => self.load(edits),
        }
        self.counters.applied.fetch_add(1, Relaxed);
        self.counters.files.store(set.files().len() as u64, Relaxed);
        self.counters.documents.store(after.len() as u64, Relaxed);
        let path = self.path.display();
        tracing::info!(%path, files = set.files().len(), documents = after.len(), changes, "Directory applied");
        let set = Arc::new(set);
        *self.places.0.write().unwrap_or_else(PoisonError::into_inner) = Some(set.clone());
        self.set = Some(set);
        self.rejected = None;
        self.trouble = None;
        self.hub.set_source_ready(SOURCE);
    }

    fn load(&self, edits: Vec<Edit>) {
        let mut edits = edits.into_iter();
        loop {
            let some: Vec<Edit> = edits.by_ref().take(LOAD_AT_A_TIME).collect();
            if some.is_empty() {
                return;
            }
            self.hub.apply(some);
        }
    }

    /// Logs each trouble once: a missing directory may stay missing for days.
    fn unreadable(&mut self, error: &SourceError) -> Step {
        self.seen = None;
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            let documents = self.counters.documents();
            tracing::warn!(%error, documents, "Directory unreadable, the documents in force stay");
            self.trouble = Some(trouble);
        }
        Step::Unreadable
    }
}

/// Documents of files have no age, so that every start and every replica settles conflicts between them alike.
fn put(document: Document) -> Edit {
    Edit::Put(Record { document, origin: Origin::File, created_unix_ms: 0, expires_unix_s: None })
}

#[cfg(test)]
mod tests;
