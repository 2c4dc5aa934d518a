//! The memory that is counted in: one block of cells per worker, written by that worker only.

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::defs::{BOUNDS_MICROS, Counter, Gauge, Histogram};

/// All series of one writer. Aligned so that two workers never share a cache line (or the pair the CPU prefetches).
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cells {
    pub(super) counters: [AtomicU64; Counter::SERIES],
    pub(super) gauges: [AtomicU64; Gauge::SERIES],
    pub(super) histograms: [Buckets; Histogram::SERIES],
}

/// One histogram: a count per bound, one for what is above the last bound, and the sum.
#[derive(Debug)]
pub(super) struct Buckets {
    pub(super) counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    pub(super) sum_micros: AtomicU64,
}

impl Cells {
    pub(super) const fn new() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; Counter::SERIES],
            gauges: [const { AtomicU64::new(0) }; Gauge::SERIES],
            histograms: [const {
                Buckets {
                    counts: [const { AtomicU64::new(0) }; BOUNDS_MICROS.len() + 1],
                    sum_micros: AtomicU64::new(0),
                }
            }; Histogram::SERIES],
        }
    }
}

/// Counters of one worker. It can be moved to the worker's thread but neither copied nor shared, which is what makes
/// unlocked counting correct: there is exactly one writer. Share it inside its thread with `Rc`.
#[derive(Debug)]
pub struct Shard {
    cells: Arc<Cells>,
    /// Makes the type `!Sync`.
    single_writer: PhantomData<Cell<()>>,
}

/// Counters for everybody else: any thread, any number of clones. Costs a locked instruction per call, so it is for
/// what happens rarely: table updates, panics, lost log lines.
#[derive(Clone, Debug)]
pub struct Shared {
    cells: Arc<Cells>,
}

// === impl Shard ===

impl Shard {
    pub(super) fn new(cells: Arc<Cells>) -> Self {
        Self { cells, single_writer: PhantomData }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `amount`; wraps after 2^64, which Prometheus takes for a restart.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        bump(self.cells.counters.get(counter.index()), amount);
    }

    /// Raises a gauge.
    #[inline]
    pub fn gauge_add(&self, gauge: Gauge, amount: u64) {
        bump(self.cells.gauges.get(gauge.index()), amount);
    }

    /// Lowers a gauge. Lowering it below what this shard raised is a bug; it is then served as 0.
    #[inline]
    pub fn gauge_sub(&self, gauge: Gauge, amount: u64) {
        if let Some(cell) = self.cells.gauges.get(gauge.index()) {
            let value = cell.load(Relaxed);
            debug_assert!(value >= amount, "{gauge:?} lowered below zero");
            cell.store(value.saturating_sub(amount), Relaxed);
        }
    }

    /// Records one duration.
    #[inline]
    pub fn observe_micros(&self, histogram: Histogram, micros: u64) {
        if let Some(buckets) = self.cells.histograms.get(histogram.index()) {
            bump(buckets.counts.get(BOUNDS_MICROS.partition_point(|bound| *bound < micros)), 1);
            bump(Some(&buckets.sum_micros), micros);
        }
    }
}

/// The single writer needs no read-modify-write instruction: nobody else stores to this cell.
#[inline]
fn bump(cell: Option<&AtomicU64>, amount: u64) {
    if let Some(cell) = cell {
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(cells: Arc<Cells>) -> Self {
        Self { cells }
    }

    /// Adds one.
    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `amount`.
    pub fn add(&self, counter: Counter, amount: u64) {
        if let Some(cell) = self.cells.counters.get(counter.index()) {
            cell.fetch_add(amount, Relaxed);
        }
    }

    /// Records one duration.
    pub fn observe_micros(&self, histogram: Histogram, micros: u64) {
        if let Some(buckets) = self.cells.histograms.get(histogram.index()) {
            if let Some(count) = buckets.counts.get(BOUNDS_MICROS.partition_point(|bound| *bound < micros)) {
                count.fetch_add(1, Relaxed);
            }
            buckets.sum_micros.fetch_add(micros, Relaxed);
        }
    }

    /// Sets this handle's part of a gauge: for gauges that no worker touches, such as the table's generation.
    pub fn gauge_set(&self, gauge: Gauge, value: u64) {
        if let Some(cell) = self.cells.gauges.get(gauge.index()) {
            cell.store(value, Relaxed);
        }
    }
}
