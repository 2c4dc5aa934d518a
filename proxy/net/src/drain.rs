//! Graceful end: one trigger, many watchers, and guards that hold the end back.
//!
//! ```text
//! Running ──drain()──▶ Draining ──force()──▶ Forced
//!    └───────────────force()───────────────────▲
//! ```
//!
//! Phases only move forward. This module stops nothing itself: connections look at their [`Watch`], finish what is
//! in flight while `Draining` and cut it when `Forced`. It does not listen to signals; the binary calls the trigger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Business as usual.
    Running,
    /// Take no new work, finish what is in flight.
    Draining,
    /// Cut what is still in flight.
    Forced,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Drained {
    /// Every blocker was gone before the deadline.
    Clean,
    /// The deadline passed, or the drain was forced, while there still were blockers.
    Forced {
        /// How many there were at that moment.
        blockers: usize,
    },
}

/// Moves the phase and waits for the blockers. There is one; dropping it changes nothing.
#[derive(Debug)]
pub struct Trigger {
    shared: Arc<Shared>,
}

/// Sees the phase. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Watch {
    shared: Arc<Shared>,
}

/// Holds the end of the drain back until it is dropped: one for each piece of work in flight.
#[derive(Debug)]
pub struct Blocker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    blockers: AtomicUsize,
    moved: Notify,
    released: Notify,
}

/// A new drain in phase `Running`.
pub fn channel() -> (Trigger, Watch) {
    let shared = Arc::new(Shared {
        phase: AtomicU8::new(Phase::Running as u8),
        blockers: AtomicUsize::new(0),
        moved: Notify::new(),
        released: Notify::new(),
    });
    (Trigger { shared: Arc::clone(&shared) }, Watch { shared })
}

// === impl Trigger ===

impl Trigger {
    /// Asks for a graceful end. Without effect when it was asked for before.
    pub fn drain(&self) {
        self.shared.advance(Phase::Draining);
    }

    /// Asks for the end now.
    pub fn force(&self) {
        self.shared.advance(Phase::Forced);
    }

    /// What a termination signal means: the first one drains, any further one forces.
    pub fn signal(&self) -> Phase {
        match self.phase() {
            Phase::Running => self.drain(),
            Phase::Draining | Phase::Forced => self.force(),
        }
        self.phase()
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// How many blockers there are now.
    pub fn blockers(&self) -> usize {
        self.shared.blockers.load(Ordering::Acquire)
    }

    /// Waits until there is no blocker. Completes at once in phase `Running` too, if there is none.
    pub async fn drained(&self) {
        self.shared.released_when(|shared| shared.blockers.load(Ordering::Acquire) == 0).await;
    }

    /// Drains and waits until there is no blocker, the drain is forced, or `deadline` has passed, which forces it.
    ///
    /// After `Forced` the blockers have been told but may not be gone; [`drained`](Self::drained) waits for them.
    pub async fn drain_within(&self, deadline: Duration) -> Drained {
        self.drain();
        let over = self.shared.released_when(|shared| {
            shared.blockers.load(Ordering::Acquire) == 0 || shared.phase() == Phase::Forced
        });
        // Timed out or not: what counts is what is left.
        let _in_time = timeout(deadline, over).await;
        match self.blockers() {
            0 => Drained::Clean,
            blockers => {
                self.force();
                Drained::Forced { blockers }
            }
        }
    }
}

// === impl Watch ===

impl Watch {
    /// The phase now: one atomic load.
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// Waits for the end of phase `Running` and returns the phase then. Cancel-safe.
    ///
    /// Waiting takes a lock once when it starts and once when it is dropped: keep the future for as long as the
    /// connection lives, and ask [`phase`](Self::phase) between requests.
    pub async fn signaled(&self) -> Phase {
        self.reached(Phase::Draining).await
    }

    /// Waits for phase `Forced`. Cancel-safe.
    pub async fn forced(&self) {
        self.reached(Phase::Forced).await;
    }

    /// A guard for one piece of work in flight.
    pub fn block(&self) -> Blocker {
        self.shared.blockers.fetch_add(1, Ordering::Relaxed);
        Blocker { shared: Arc::clone(&self.shared) }
    }

    async fn reached(&self, phase: Phase) -> Phase {
        wait(&self.shared.moved, || self.shared.phase() >= phase).await;
        self.shared.phase()
    }
}

// === impl Blocker ===

impl Drop for Blocker {
    fn drop(&mut self) {
        // Release, so that whoever sees zero also sees what the work did.
        if self.shared.blockers.fetch_sub(1, Ordering::Release) == 1 {
            self.shared.released.notify_waiters();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Forced,
        }
    }

    fn advance(&self, to: Phase) {
        let before = self.phase.fetch_max(to as u8, Ordering::AcqRel);
        if before < to as u8 {
            self.moved.notify_waiters();
            self.released.notify_waiters();
        }
    }

    async fn released_when(&self, condition: impl Fn(&Self) -> bool) {
        wait(&self.released, || condition(self)).await;
    }
}

async fn wait(notify: &Notify, condition: impl Fn() -> bool) {
    while !condition() {
        let notified = notify.notified();
        // Created before the second look: it receives every `notify_waiters` from here on, so none is missed.
        if condition() {
            return;
        }
        notified.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_forces() {
        let (trigger, watch) = channel();
        assert_eq!(watch.phase(), Phase::Running);
        assert_eq!(trigger.signal(), Phase::Draining);
        assert_eq!(watch.signaled().await, Phase::Draining);
        assert_eq!(trigger.signal(), Phase::Forced);
        watch.forced().await;
        trigger.drain();
        assert_eq!(watch.phase(), Phase::Forced);
    }

    #[tokio::test]
    async fn watchers_that_wait_already_are_woken() {
        let (trigger, watch) = channel();
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let watch = watch.clone();
                tokio::spawn(async move { watch.signaled().await })
            })
            .collect();
        tokio::task::yield_now().await;
        trigger.drain();
        for task in waiting {
            assert_eq!(task.await.unwrap(), Phase::Draining);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_the_last_blocker() {
        let (trigger, watch) = channel();
        let blockers = [watch.block(), watch.block()];
        let work = tokio::spawn(async move {
            assert_eq!(watch.signaled().await, Phase::Draining);
            for blocker in blockers {
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(blocker);
            }
        });
        let start = tokio::time::Instant::now();
        assert_eq!(trigger.drain_within(Duration::from_secs(30)).await, Drained::Clean);
        assert_eq!(start.elapsed().as_secs(), 2);
        work.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_forces_what_is_left() {
        let (trigger, watch) = channel();
        let blocker = watch.block();
        let drained = trigger.drain_within(Duration::from_secs(5)).await;
        assert_eq!(drained, Drained::Forced { blockers: 1 });
        watch.forced().await;
        drop(blocker);
        trigger.drained().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_the_wait_early() {
        let (trigger, watch) = channel();
        let _blocker = watch.block();
        let trigger = Arc::new(trigger);
        let draining = tokio::spawn({
            let trigger = Arc::clone(&trigger);
            async move { trigger.drain_within(Duration::from_secs(3600)).await }
        });
        assert_eq!(watch.signaled().await, Phase::Draining);
        assert_eq!(trigger.signal(), Phase::Forced);
        assert_eq!(draining.await.unwrap(), Drained::Forced { blockers: 1 });
    }

    #[tokio::test]
    async fn without_blockers_a_drain_ends_at_once() {
        let (trigger, _watch) = channel();
        assert_eq!(trigger.drain_within(Duration::ZERO).await, Drained::Clean);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_release_is_missed_across_threads() {
        for _ in 0..2_000 {
            let (trigger, watch) = channel();
            let blockers: Vec<_> = (0..4).map(|_| watch.block()).collect();
            let work = tokio::spawn(async move { drop(blockers) });
            tokio::time::timeout(Duration::from_secs(10), trigger.drained()).await.unwrap();
            work.await.unwrap();
        }
    }
}
