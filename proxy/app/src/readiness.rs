//! Whether the process wants traffic: every part it waits for holds a guard, and a drain turns it off for good.
//!
//! It reports, it does not act: nothing starts or stops because of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A shared view of what the process still waits for. Clones see the same state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The names of the guards that live, in the order they were made; names may repeat.
    awaited: Mutex<Vec<String>>,
    draining: AtomicBool,
}

/// Something the process waits for. Dropping it says that the wait is over.
#[derive(Debug)]
#[must_use = "dropping the guard says that the wait is over"]
pub struct Guard {
    name: String,
    shared: Arc<Shared>,
}

/// The answer to "is it ready".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    /// The names of what is waited for, in the order the waits began.
    Awaiting(Vec<String>),
    Draining,
}

// === impl Readiness ===

impl Readiness {
    /// The process is not ready while the guard lives.
    pub fn guard(&self, name: impl Into<String>) -> Guard {
        let name = name.into();
        self.shared.awaited().push(name.clone());
        Guard { name, shared: Arc::clone(&self.shared) }
    }

    /// Not ready from now on, whatever the guards say.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    pub fn state(&self) -> State {
        if self.shared.draining.load(Ordering::Acquire) {
            return State::Draining;
        }
        let awaited = self.shared.awaited();
        if awaited.is_empty() { State::Ready } else { State::Awaiting(awaited.clone()) }
    }
}

// === impl Shared ===

impl Shared {
    /// A list of names cannot be left half changed, so a poisoned lock is as good as any.
    fn awaited(&self) -> MutexGuard<'_, Vec<String>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Guard ===

impl Drop for Guard {
    fn drop(&mut self) {
        let mut awaited = self.shared.awaited();
        if let Some(index) = awaited.iter().position(|name| *name == self.name) {
            awaited.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_the_last_guard_is_gone() {
        let readiness = Readiness::default();
        let workers = readiness.guard("workers");
        let routes = readiness.guard("routes");
        assert_eq!(readiness.state(), State::Awaiting(vec!["workers".into(), "routes".into()]));
        drop(workers);
        assert_eq!(readiness.state(), State::Awaiting(vec!["routes".into()]));
        drop(routes);
        assert_eq!(readiness.state(), State::Ready);
    }

    #[test]
    fn guards_of_one_name_are_counted() {
        let readiness = Readiness::default();
        let clone = readiness.clone();
        let first = readiness.guard("worker");
        let second = clone.guard("worker");
        drop(first);
        assert_eq!(readiness.state(), State::Awaiting(vec!["worker".into()]));
        drop(second);
        assert_eq!(readiness.state(), State::Ready);
    }

    #[test]
    fn a_drain_is_final() {
        let readiness = Readiness::default();
        let guard = readiness.guard("routes");
        readiness.drain();
        drop(guard);
        assert_eq!(readiness.state(), State::Draining);
    }
}
