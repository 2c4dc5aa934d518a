//! Something that is done over and over on several connections at once, each time as soon as it was answered: what one costs a peer.
//!
//! The load runs without a break, and what is measured is a stretch of it: connections that are opened for it, and what
//! is under way at the ends, do not count. Content is the caller's to check.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::future::try_join_all;

use crate::host;
use crate::process::Running;
use crate::scenario::{Better, Metric, Pace};

const GIBIBYTE: f64 = (1024 * 1024 * 1024) as f64;
/// Of whatever is unanswered at the end.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// Shared by the load's connections and the one who measures.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    done: AtomicU64,
    stopped: AtomicBool,
}

/// What the peer used, and for what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) done: u64,
    /// What was not measured included.
    pub(crate) done_in_all: u64,
    pub(crate) cpu: Duration,
    pub(crate) time: Duration,
}

/// How much of the time the peer ran.
pub(crate) const BUSY: Metric =
    Metric { name: "busy_share", title: "core busy", unit: "%", better: Better::Neither };

/// Runs `connections` of what `connection` makes on a thread of its own, each as long as [`Meter::goes_on`], and measures a
/// stretch in the middle. The first that fails fails the measurement.
pub(crate) fn measure(
    running: &Running,
    pace: Pace,
    connections: u32,
    connection: impl AsyncFn(Arc<Meter>) -> Result<()> + Send + Sync,
) -> Result<Cost> {
    let (meter, time) = (Arc::new(Meter::default()), Duration::from_secs(Pace::SECONDS.into()));
    let most = pace.warm_up() + time + LAST_ANSWER;
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let all = async { try_join_all((0..connections).map(|_| connection(Arc::clone(&meter)))).await };
            let ended = async { tokio::time::timeout(most, all).await.context("an answer never came")? };
            host::runtime()?.block_on(ended)
        });
        std::thread::sleep(pace.warm_up());
        let before = (meter.done(), running.cpu_time(), Instant::now());
        std::thread::sleep(time);
        let after = (meter.done(), running.cpu_time(), Instant::now());
        meter.stopped.store(true, Ordering::Relaxed);
        load.join().unwrap_or_else(|_| Err(anyhow!("the load panicked")))?;
        ensure!(after.0 > before.0, "nothing was answered");
        Ok(Cost {
            done: after.0 - before.0,
            done_in_all: meter.done(),
            cpu: after.1?.saturating_sub(before.1?),
            time: after.2 - before.2,
        })
    })
}

// === impl Meter ===

impl Meter {
    pub(crate) fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// One more was answered rightly.
    pub(crate) fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

// === impl Cost ===

impl Cost {
    /// CPU time of the peer for one.
    pub(crate) fn micros(self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.done as f64
    }

    /// CPU time of the peer for a GiB, where each carries `bytes`.
    pub(crate) fn millis_per_gibibyte(self, bytes: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / (self.done as f64 * bytes as f64 / GIBIBYTE)
    }

    pub(crate) fn per_second(self) -> f64 {
        self.done as f64 / self.time.as_secs_f64()
    }

    /// See [`BUSY`].
    pub(crate) fn busy_percent(self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_that_of_one_and_that_of_a_gibibyte() {
        let cost = Cost {
            done: 1024,
            done_in_all: 0,
            cpu: Duration::from_millis(512),
            time: Duration::from_secs(1),
        };
        assert_eq!((cost.micros(), cost.per_second(), cost.busy_percent()), (500.0, 1024.0, 51.2));
        assert_eq!(cost.millis_per_gibibyte(1024 * 1024), 512.0);
    }
}
