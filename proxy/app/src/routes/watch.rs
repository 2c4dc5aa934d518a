//! Keeps the route table in step with the routes file.
//!
//! The file's identity is polled, because that works on every file system and with files that are swapped as a whole
//! (a rename, a symbolic link, a mounted ConfigMap). A change is read when the identity has been the same for one
//! interval, so that a file somebody is still writing is left alone; who writes it slower than that must write
//! another file and rename it. What cannot be used changes nothing: the last good table stays.

use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, Metadata},
    hash::Hasher as _,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use spurline_route::RouteTable;
use spurline_telemetry::metrics::{Counter, Gauge, Shared, TableUpdate};

use super::{RoutesError, file};

/// A thread that follows a routes file. Dropping it stops the thread; the last table stays.
#[derive(Debug)]
pub struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a look at the file led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is the file that was read last.
    Unchanged,
    /// It is another one, but may still be growing.
    Settling,
    /// It is a new one with the contents that were read last.
    SameContents,
    Applied,
    Rejected,
    /// It is not there, or may not be read.
    Unreadable,
}

/// What tells one state of a file from the next. The change time catches what keeps size and modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Follows the file step by step.
#[derive(Debug)]
struct Follower {
    path: PathBuf,
    table: Arc<ArcSwap<RouteTable>>,
    metrics: Shared,
    /// What the last look saw.
    seen: Option<Identity>,
    /// What was read last, good or wrong.
    read: Option<Identity>,
    /// The hash of its contents.
    contents: Option<u64>,
    /// The trouble that was logged last, until a file is readable again.
    trouble: Option<io::ErrorKind>,
}

// === impl Watch ===

impl Watch {
    /// Reads the file now, then looks at it every `interval` from a thread of its own.
    ///
    /// A file that is missing or wrong is logged and counted, and `table` keeps what it holds. Every table that is
    /// published has the generation after the one it replaces.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        path: PathBuf,
        interval: Duration,
        table: Arc<ArcSwap<RouteTable>>,
        metrics: Shared,
    ) -> io::Result<Self> {
        let mut follower = Follower::new(path, table, metrics);
        follower.read_at_start();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("routes".into()).spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                follower.step();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

// === impl Follower ===

impl Follower {
    fn new(path: PathBuf, table: Arc<ArcSwap<RouteTable>>, metrics: Shared) -> Self {
        Self { path, table, metrics, seen: None, read: None, contents: None, trouble: None }
    }

    /// At the start nothing better is in force, so the file is not watched for an interval first.
    fn read_at_start(&mut self) -> Step {
        match self.look() {
            Ok(identity) => {
                self.seen = Some(identity);
                self.read(identity)
            }
            Err(error) => self.unreadable(&error),
        }
    }

    fn step(&mut self) -> Step {
        let identity = match self.look() {
            Ok(identity) => identity,
            Err(error) => return self.unreadable(&error),
        };
        let settled = self.seen.replace(identity) == Some(identity);
        if self.read == Some(identity) {
            self.trouble = None;
            return Step::Unchanged;
        }
        if settled { self.read(identity) } else { Step::Settling }
    }

    fn look(&self) -> io::Result<Identity> {
        // Follows symbolic links: what matters is the file that would be read.
        fs::metadata(&self.path).map(|metadata| Identity::of(&metadata))
    }

    fn read(&mut self, identity: Identity) -> Step {
        let contents = match stable_contents(&self.path, identity) {
            Ok(Some(contents)) => contents,
            Ok(None) => return Step::Settling,
            Err(RoutesError::Unreadable { error, .. }) => return self.unreadable(&error),
            Err(error) => {
                self.read = Some(identity);
                return self.reject(&error);
            }
        };
        self.trouble = None;
        self.read = Some(identity);
        let mut hasher = DefaultHasher::new();
        hasher.write(&contents);
        if self.contents.replace(hasher.finish()) == Some(hasher.finish()) {
            return Step::SameContents;
        }
        let generation = self.table.load().generation().saturating_add(1);
        match file::parse(&self.path, &contents, generation) {
            Ok(table) => self.apply(table),
            Err(faults) => self.reject(&RoutesError::Wrong(faults)),
        }
    }

    fn apply(&self, table: RouteTable) -> Step {
        let (generation, overrides) = (table.generation(), table.len());
        self.table.store(Arc::new(table));
        self.metrics.inc(Counter::TableUpdates(TableUpdate::Applied));
        self.metrics.gauge_set(Gauge::TableGeneration, generation);
        self.metrics.gauge_set(Gauge::TableOverrides, overrides as u64);
        tracing::info!(generation, overrides, path = %self.path.display(), "Routes file applied");
        Step::Applied
    }

    fn reject(&self, error: &RoutesError) -> Step {
        self.metrics.inc(Counter::TableUpdates(TableUpdate::Rejected));
        let generation = self.table.load().generation();
        tracing::warn!(%error, generation, "Routes file rejected, the table in force stays");
        Step::Rejected
    }

    /// Logs once for each kind of trouble: a missing file may stay missing for days.
    fn unreadable(&mut self, error: &io::Error) -> Step {
        self.seen = None;
        if self.trouble.replace(error.kind()) != Some(error.kind()) {
            let generation = self.table.load().generation();
            let path = self.path.display();
            tracing::warn!(%error, %path, generation, "Routes file unreadable, the table in force stays");
        }
        Step::Unreadable
    }
}

/// The contents, or `None` when it is not the expected file or changes while it is read.
fn stable_contents(path: &Path, expected: Identity) -> Result<Option<Vec<u8>>, RoutesError> {
    let unreadable = |error| RoutesError::Unreadable { path: path.to_owned(), error };
    let mut file = file::open(path)?;
    let contents = file::contents(path, &mut file)?;
    let after = Identity::of(&file.metadata().map_err(unreadable)?);
    Ok((after == expected).then_some(contents))
}

// === impl Identity ===

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests;
