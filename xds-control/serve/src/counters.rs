//! What a listener counts, as plain numbers that whoever runs the metrics can read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one listener. They only grow, except `open`.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) open: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) reloads: AtomicU64,
    pub(crate) reloads_failed: AtomicU64,
}

// === impl Counters ===

impl Counters {
    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections that were accepted, refused ones not included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections that were closed at once because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// TLS handshakes that failed or took too long: wrong or missing client certificates among them.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Relaxed)
    }

    /// Changed certificate files that were taken into use.
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Relaxed)
    }

    /// Changed certificate files that could not be used; what was in use before stayed.
    pub fn reloads_failed(&self) -> u64 {
        self.reloads_failed.load(Relaxed)
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
