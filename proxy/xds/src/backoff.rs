//! How long to wait before the next try.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait, before it is jittered.
const LONGEST: Duration = Duration::from_secs(30);
/// How much longer each wait is than the one before.
const FACTOR: f64 = 1.6;
/// A wait is changed by up to this share, either way, so that proxies that lost one server do not return at once.
const JITTER: f64 = 0.5;

/// Waits that grow until something was received.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

// === impl Backoff ===

impl Backoff {
    /// The wait before the next try. `random` is from 0 to 1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let wait = self.last.map_or(FIRST, |last| last.mul_f64(FACTOR).min(LONGEST));
        self.last = Some(wait);
        wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
    }

    /// A response was received.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew_after_a_response() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(0.5), FIRST);
        assert_eq!(backoff.next(0.5), FIRST.mul_f64(FACTOR));
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= LONGEST.mul_f64(1.0 + JITTER));
        }
        assert_eq!(backoff.next(0.5), LONGEST);
        assert_eq!(backoff.next(0.0), LONGEST.mul_f64(1.0 - JITTER));
        backoff.reset();
        assert_eq!(backoff.next(0.5), FIRST);
    }
}
