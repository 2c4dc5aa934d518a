//! The only one that writes documents: one thread that judges, stores and applies, in this order.
//!
//! Requests that wait together become one transaction, so that the disk is flushed once for all of them. What a
//! request is judged by is everything before it, in its own batch too. Nothing reaches the hub, and nobody gets an
//! answer, before the batch is durable; when it cannot be made durable nothing has happened, for none of them, unless
//! the disk fails so badly that what reached it cannot be taken back. Every write is logged here, with who asked for it,
//! because who asked may be gone by then.
//!
//! It also ends what has outlived its time to live, and tells the feed of documents that changed in files.

mod batch;
mod files;
mod index;
mod run;

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use axum::http::StatusCode;
use prometheus_client::registry::Registry;
use serde_json::Value;
use spurline_core::{
    catalog::{ResourceName, Revision},
    document::{Document, Fault, Id},
};
use spurline_hub::Hub;
use tokio::sync::{oneshot, watch};

pub(crate) use self::{
    files::fingerprint,
    index::{Index, Meta},
};
use crate::{
    feed::Feed,
    metrics::WriterMetrics,
    store::{Store, StoreError},
};

/// Requests that wait for the writer; more are refused.
const QUEUE_MAX: usize = 1024;

/// What the time is, in milliseconds since 1970-01-01T00:00:00Z. Passed in so that tests can make it pass.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The running writer. Dropping it ends the thread after the batch it is at; what waits then is refused.
pub struct Writer {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    lives: watch::Receiver<()>,
}

/// Why the writer could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A stored record is no document that this version understands.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("cannot start the thread of the writer: {0}")]
    Thread(#[from] std::io::Error),
}

/// What requests need of the writer.
#[derive(Clone)]
pub(crate) struct Handle {
    requests: SyncSender<Message>,
    pub(crate) index: Arc<Index>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) health: Arc<index::Health>,
}

enum Message {
    Request(Request),
    Stop,
}

type Reply = oneshot::Sender<Result<Written, Refusal>>;

struct Request {
    work: Work,
    mode: Mode,
    asked: Asked,
}

/// Who asked for a write, how, and where the answer goes.
#[derive(Debug)]
struct Asked {
    by: Arc<str>,
    method: &'static str,
    reply: Reply,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Work {
    Put { document: Box<Document>, condition: Condition },
    Delete { id: Id, condition: Condition },
    Heartbeat { id: Id },
}

/// Whether it is to be done at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Commit,
    /// Judge, answer, and change nothing.
    DryRun,
}

/// `If-Match` and `If-None-Match` (RFC 9110 section 13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) matches: Option<Tags>,
    pub(crate) none_matches: Option<Tags>,
}

/// What a condition lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    Any,
    /// Versions of ours; tags of any other form match nothing and are left out.
    Versions(Vec<u64>),
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Created,
    Replaced,
    /// The document was there, letter for letter. Its version stays.
    Unchanged,
    Deleted,
}

/// The answer to a write that was done.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) effect: Effect,
    pub(crate) meta: Meta,
    /// The document as stored, or as it was before it was deleted.
    pub(crate) document: Arc<Value>,
    /// The catalog's revision that holds the write.
    pub(crate) revision: Revision,
    /// The resources that a deleted document gave.
    pub(crate) gone: Vec<ResourceName>,
}

/// The answer to a write that was not done.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    NotFound,
    /// The document has another version, or is there, or is not.
    Condition {
        current: Option<u64>,
    },
    /// A file of the operator's says what this document is.
    OfFile,
    /// The document would be over as soon as it is written.
    Over(Fault),
    TooMany {
        documents_max: usize,
    },
    /// The store takes no writes. Nothing happened, unless the error is [`StoreError::Unsure`].
    Store(Arc<StoreError>),
    /// Too many requests wait already.
    Busy,
    Stopped,
    /// The writer took too long; it may still do it.
    Unknown,
}

// === impl Writer ===

impl Writer {
    /// Applies what `store` holds to the hub, then takes requests on a thread of its own.
    ///
    /// # Errors
    /// When a stored record is no document of this version, or there is no thread.
    pub fn start(
        mut store: Store,
        hub: &Hub,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let (requests, waiting) = sync_channel(QUEUE_MAX);
        let metrics = WriterMetrics::register(registry);
        let mut task = run::Task::new(hub.clone(), clock, metrics);
        task.load(&mut store)?;
        let handle = Handle {
            requests,
            index: Arc::clone(&task.index),
            feed: Arc::clone(&task.feed),
            health: Arc::clone(&task.health),
        };
        let (alive, lives) = watch::channel(());
        let thread = thread::Builder::new().name("writer".into()).spawn(move || {
            task.run(store, &waiting);
            drop(alive);
        })?;
        Ok(Self { handle, thread: Some(thread), lives })
    }

    /// Waits for the end of the thread, which before the writer is dropped can only be a panic.
    pub async fn ended(&self) {
        // Nothing is ever sent.
        while self.lives.clone().changed().await.is_ok() {}
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Blocks while the queue is full, which the thread empties.
        let _ = self.handle.requests.send(Message::Stop);
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

// === impl Handle ===

impl Handle {
    /// Has `work` done for `by`. Who stops waiting does not stop the work; what is written is logged in any case.
    pub(crate) async fn write(&self, by: &str, work: Work, mode: Mode) -> Result<Written, Refusal> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { by: by.into(), method: work.method(), reply };
        self.requests.try_send(Message::Request(Request { work, mode, asked })).map_err(
            |error| match error {
                TrySendError::Full(_) => Refusal::Busy,
                TrySendError::Disconnected(_) => Refusal::Stopped,
            },
        )?;
        answer.await.unwrap_or(Err(Refusal::Stopped))
    }
}

// === impl Work ===

impl Work {
    fn method(&self) -> &'static str {
        match self {
            Self::Put { .. } => "PUT",
            Self::Delete { .. } => "DELETE",
            Self::Heartbeat { .. } => "heartbeat",
        }
    }

    fn id(&self) -> Id {
        match self {
            Self::Put { document, .. } => document.id(),
            Self::Delete { id, .. } | Self::Heartbeat { id } => id.clone(),
        }
    }
}

// === impl Tags ===

impl Tags {
    fn contains(&self, current: Option<u64>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::Versions(versions) => current.is_some_and(|current| versions.contains(&current)),
        }
    }
}

// === impl Condition ===

impl Condition {
    /// Whether a document of version `current`, or none, may be written.
    fn holds_for(&self, current: Option<u64>) -> bool {
        self.matches.as_ref().is_none_or(|tags| tags.contains(current))
            && self.none_matches.as_ref().is_none_or(|tags| !tags.contains(current))
    }

    /// What a read of this version is answered instead of the document, if anything.
    pub(crate) fn refuses_read(&self, version: u64) -> Option<StatusCode> {
        if self.holds_for(Some(version)) {
            return None;
        }
        // If-Match comes first (RFC 9110 section 13.2.2).
        let matches = self.matches.as_ref().is_none_or(|tags| tags.contains(Some(version)));
        Some(if matches { StatusCode::NOT_MODIFIED } else { StatusCode::PRECONDITION_FAILED })
    }
}

#[cfg(test)]
mod tests;
