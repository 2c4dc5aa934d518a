//! When streams learn of what was applied: at once after a pause, together during a burst.
//!
//! It only decides the moment. What a stream sends when it is woken is read from the catalog then, so nothing is queued
//! here and a burst of any length costs one wake per stream.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::hub::Shared;

/// How changes are put together. The defaults favour a developer who waits for one sandbox over a bulk load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debounce {
    /// A change that comes this long after the last publication is published at once. Default 100 ms.
    pub idle: Duration,
    /// Otherwise one is published when no other followed for this long. Default 50 ms.
    pub quiet: Duration,
    /// But never later than this after the first of the burst. Default 500 ms.
    pub max: Duration,
}

impl Default for Debounce {
    fn default() -> Self {
        Self {
            idle: Duration::from_millis(100),
            quiet: Duration::from_millis(50),
            max: Duration::from_millis(500),
        }
    }
}

/// Publishes what is applied. Exists once per hub; without it running nobody is woken.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    debounce: Debounce,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>, debounce: Debounce) -> Self {
        Self { shared, debounce }
    }

    /// Publishes until [`crate::Hub::stop`].
    pub async fn run(self) {
        let mut applied = self.shared.applied.subscribe();
        let mut stopped = self.shared.stopped.subscribe();
        // What was applied before the publisher ran is a change as well.
        applied.mark_changed();
        tokio::select! {
            () = self.publish_all(&mut applied) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn publish_all(&self, applied: &mut watch::Receiver<u64>) {
        let mut last: Option<Instant> = None;
        while applied.changed().await.is_ok() {
            if last.is_some_and(|last| last.elapsed() < self.debounce.idle) {
                self.wait_for_quiet(applied).await;
            }
            self.shared.publish();
            last = Some(Instant::now());
        }
    }

    async fn wait_for_quiet(&self, applied: &mut watch::Receiver<u64>) {
        let latest = Instant::now() + self.debounce.max;
        loop {
            let quiet = (Instant::now() + self.debounce.quiet).min(latest);
            tokio::select! {
                () = sleep_until(quiet) => return,
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }
}
