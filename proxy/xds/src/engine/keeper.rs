//! When the snapshot is written: after changes, once a second at most, and while nothing changes so often that it is
//! never old while the control service is in contact; on a thread that nobody waits for.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use spurline_telemetry::metrics::{Counter, Shared, SnapshotEvent};
use tokio::time::Instant;

use super::now_unix_s;
use crate::{StatusHandle, mirror::Mirror, snapshot};

/// The shortest time from one snapshot to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a disk that could not be written is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The longest time from one snapshot to the next while the control service is in contact.
const CONFIRM_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// How many times a snapshot is written anew before it would count as too old.
const CONFIRMS_PER_AGE: u32 = 4;
/// How often it is looked whether a snapshot has been written.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Writes snapshots; without a path it does nothing.
pub(super) struct Keeper {
    path: Option<PathBuf>,
    /// There is something that is not on disk.
    dirty: bool,
    /// By the machine's clock, as the snapshot's age.
    saved_at_unix_s: Option<u64>,
    confirm_interval: Duration,
    not_before: Option<Instant>,
    writing: Arc<Writing>,
}

/// What the thread that writes says.
struct Writing {
    busy: AtomicBool,
    failed: AtomicBool,
    /// The trouble was logged, until a write goes well again.
    told: AtomicBool,
    metrics: Shared,
    status: StatusHandle,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(
        path: Option<PathBuf>,
        age_max: Duration,
        metrics: Shared,
        status: StatusHandle,
    ) -> Self {
        let confirm_interval = (age_max / CONFIRMS_PER_AGE).min(CONFIRM_INTERVAL_MAX);
        let (busy, failed, told) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
        let writing = Arc::new(Writing { busy, failed, told, metrics, status });
        Self { path, dirty: false, saved_at_unix_s: None, confirm_interval, not_before: None, writing }
    }

    pub(super) fn loaded(&mut self, saved_at_unix_s: u64) {
        self.saved_at_unix_s = Some(saved_at_unix_s);
        self.writing.status.edit(|status| status.snapshot_saved_unix_s = Some(saved_at_unix_s));
    }

    /// What is on disk is not what is known.
    pub(super) fn changed(&mut self) {
        self.dirty = self.path.is_some();
    }

    /// How long until a snapshot is to be written though nothing changed, if the control service is in contact then;
    /// `None` while one is to be written anyway.
    pub(super) fn confirm_in(&self) -> Option<Duration> {
        if self.dirty || self.path.is_none() {
            return None;
        }
        // A clock that was set back leaves a snapshot of the future, which would never be old.
        let age = self.saved_at_unix_s.map(|at| Duration::from_secs(now_unix_s().abs_diff(at)));
        Some(age.map_or(Duration::ZERO, |age| self.confirm_interval.saturating_sub(age)))
    }

    /// When [`Keeper::step`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.writing.busy.load(Ordering::Acquire) {
            return Some(Instant::now() + POLL_INTERVAL);
        }
        let pending = self.dirty || self.writing.failed.load(Ordering::Acquire);
        pending.then(|| self.not_before.unwrap_or_else(Instant::now))
    }

    /// Begins to write if it is time.
    pub(super) fn step(&mut self, mirror: &Mirror) {
        if self.writing.busy.load(Ordering::Acquire) {
            return;
        }
        let now = Instant::now();
        if self.writing.failed.swap(false, Ordering::AcqRel) {
            self.changed();
            self.not_before = Some(now + RETRY_INTERVAL);
        }
        if !self.dirty || self.not_before.is_some_and(|not_before| not_before > now) {
            return;
        }
        let Some((path, bytes, saved_at)) = self.take(mirror) else { return };
        self.not_before = Some(now + INTERVAL);
        self.writing.busy.store(true, Ordering::Release);
        let writing = Arc::clone(&self.writing);
        tokio::task::spawn_blocking(move || {
            writing.done(&path, saved_at, snapshot::save(&path, &bytes));
            writing.busy.store(false, Ordering::Release);
        });
    }

    /// Writes what is not on disk; for the end.
    pub(super) fn save_now(&mut self, mirror: &Mirror) {
        if self.dirty
            && let Some((path, bytes, saved_at)) = self.take(mirror)
        {
            self.writing.done(&path, saved_at, snapshot::save(&path, &bytes));
        }
    }

    fn take(&mut self, mirror: &Mirror) -> Option<(PathBuf, Vec<u8>, u64)> {
        let path = self.path.clone()?;
        self.dirty = false;
        let saved_at = now_unix_s();
        self.saved_at_unix_s = Some(saved_at);
        Some((path, snapshot::encode(mirror.known(), mirror.scope(), saved_at), saved_at))
    }
}

// === impl Writing ===

impl Writing {
    fn done(&self, path: &std::path::Path, saved_at: u64, result: io::Result<()>) {
        let path = path.display();
        match result {
            Ok(()) => {
                self.metrics.inc(Counter::ControlSnapshots(SnapshotEvent::Saved));
                self.status.edit(|status| status.snapshot_saved_unix_s = Some(saved_at));
                if self.told.swap(false, Ordering::AcqRel) {
                    tracing::info!(%path, "Snapshot of the control service written again");
                }
            }
            Err(error) => {
                self.metrics.inc(Counter::ControlSnapshots(SnapshotEvent::SaveFailed));
                self.failed.store(true, Ordering::Release);
                if !self.told.swap(true, Ordering::AcqRel) {
                    tracing::warn!(%error, %path, "Snapshot of the control service not written; trying again");
                }
            }
        }
    }
}
