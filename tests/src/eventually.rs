//! Waiting for a condition, with a deadline and never a fixed sleep.

use std::time::{Duration, Instant};

/// How long a condition may take on a slow and busy machine before the test fails. It is shorter than what the proxy waits
/// for by itself before it ends things: a drain (25 s), content that pauses (30 s), an idle connection (60 s).
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Polls `condition` until it yields a value; panics with `what` after [`DEADLINE`].
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, condition)
}

/// Polls `condition` until it yields a value; panics with `what` after `deadline`.
pub fn eventually_within<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        // A poll interval, not a synchronisation: the condition decides.
        std::thread::sleep(Duration::from_millis(2));
    }
}
