//! Retry budget: retries stay a small share of the load, however many requests fail.
//!
//! A fixed number of tries per request multiplies the load on a destination that is already failing. The budget
//! allows a percentage of the requests of the last ten seconds, plus a floor per second so that a quiet destination
//! can be retried at all. It does not decide whether a request is safe to repeat.

use std::time::{Duration, Instant};

/// Seconds the budget looks back.
const WINDOW_SECONDS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);

/// What one second held.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    requests: u64,
    retries: u64,
}

/// The budget of one destination.
///
/// The ten seconds slide in steps of one: between nine and ten seconds are seen at any time.
#[derive(Clone, Debug)]
pub(crate) struct RetryBudget {
    percent: u32,
    floor: u64,
    slots: [Slot; WINDOW_SECONDS],
    current: usize,
    /// When the current slot ends.
    turns_at: Instant,
    requests: u64,
    retries: u64,
}

impl RetryBudget {
    /// Allows `percent` retries per hundred requests, and `min_per_second` retries per second in any case. Both are
    /// counted over the window: a floor of 10 per second allows 100 retries at once after ten quiet seconds.
    pub(crate) fn new(percent: u32, min_per_second: u32, now: Instant) -> Self {
        Self {
            percent,
            floor: u64::from(min_per_second) * WINDOW_SECONDS as u64,
            slots: [Slot::default(); WINDOW_SECONDS],
            current: 0,
            turns_at: now + SLOT,
            requests: 0,
            retries: 0,
        }
    }

    /// Counts a first try.
    pub(crate) fn request(&mut self, now: Instant) {
        self.turn(now);
        if let Some(slot) = self.slots.get_mut(self.current) {
            slot.requests += 1;
            self.requests += 1;
        }
    }

    /// Counts a retry if the budget allows it; false means that the failure goes to the client.
    pub(crate) fn try_retry(&mut self, now: Instant) -> bool {
        self.turn(now);
        let allowed = self.requests * u64::from(self.percent) / 100 + self.floor;
        if self.retries >= allowed {
            return false;
        }
        if let Some(slot) = self.slots.get_mut(self.current) {
            slot.retries += 1;
            self.retries += 1;
        }
        true
    }

    /// Forgets the slots that have left the window. One comparison within a second.
    fn turn(&mut self, now: Instant) {
        if now < self.turns_at {
            return;
        }
        let turns = (now - self.turns_at).as_secs().saturating_add(1);
        for _ in 0..turns.min(WINDOW_SECONDS as u64) {
            self.current = (self.current + 1) % WINDOW_SECONDS;
            if let Some(slot) = self.slots.get_mut(self.current) {
                self.requests -= slot.requests;
                self.retries -= slot.retries;
                *slot = Slot::default();
            }
        }
        self.turns_at += Duration::from_secs(turns);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retries_allowed(budget: &mut RetryBudget, now: Instant) -> u32 {
        (0..10_000).take_while(|_| budget.try_retry(now)).count() as u32
    }

    #[test]
    fn a_share_of_the_requests_may_be_retried() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(20, 0, start);
        for _ in 0..100 {
            budget.request(start);
        }
        assert_eq!(retries_allowed(&mut budget, start), 20);
    }

    #[test]
    fn a_quiet_destination_has_the_floor() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(20, 1, start);
        assert_eq!(retries_allowed(&mut budget, start), 10);
        assert_eq!(retries_allowed(&mut budget, start + Duration::from_secs(9)), 0);
        assert_eq!(retries_allowed(&mut budget, start + Duration::from_secs(10)), 10);
    }

    #[test]
    fn requests_older_than_the_window_earn_nothing() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(100, 0, start);
        budget.request(start);
        budget.request(start + Duration::from_secs(5));
        assert_eq!(retries_allowed(&mut budget.clone(), start + Duration::from_millis(9_999)), 2);
        assert_eq!(retries_allowed(&mut budget.clone(), start + Duration::from_secs(10)), 1);
        assert_eq!(retries_allowed(&mut budget, start + Duration::from_secs(3600)), 0);
    }

    #[test]
    fn nothing_is_retried_with_a_budget_of_nothing() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(0, 0, start);
        budget.request(start);
        assert!(!budget.try_retry(start));
    }

    proptest! {
        #[test]
        fn the_window_counts_exactly_the_last_ten_seconds(
            percent in 0u32..=200,
            floor in 0u32..3,
            steps in prop::collection::vec((0u64..4_000, any::<bool>()), 1..300),
        ) {
            let start = Instant::now();
            let mut budget = RetryBudget::new(percent, floor, start);
            let mut now = start;
            let (mut requests, mut retries) = (Vec::new(), Vec::new());
            for (millis, retry) in steps {
                now += Duration::from_millis(millis);
                if !retry {
                    budget.request(now);
                    requests.push(now);
                } else if budget.try_retry(now) {
                    retries.push(now);
                }
                // The model: whole seconds since the start, the last ten of them.
                let second = |at: Instant| (at - start).as_secs();
                let seen = |at: &&Instant| second(**at) + 10 > second(now);
                let requests = requests.iter().filter(seen).count() as u64;
                let retries = retries.iter().filter(seen).count() as u64;
                prop_assert_eq!((budget.requests, budget.retries), (requests, retries));
            }
        }
    }
}
