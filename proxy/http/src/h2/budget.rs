//! Budgets for what a peer may do, but not without end: buckets that refill with time and with work.

use std::time::Duration;

use super::{Flood, Settings, Violation};

/// How often something may happen: `burst` times at once, and `per_second` times in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub per_second: u32,
}

/// What is left of a [`Rate`], and what it is when nothing is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    flood: Flood,
    rate: Rate,
    /// In thousandths, so that a millisecond refills a whole number of them.
    level: u64,
    /// Milliseconds, on the clock of whoever passes time in.
    refilled_at: u64,
}

const UNIT: u64 = 1000;

impl Bucket {
    fn new(flood: Flood, rate: Rate) -> Self {
        Self { flood, rate, level: u64::from(rate.burst) * UNIT, refilled_at: 0 }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`Violation::Flood`] when there is none left.
    pub(super) fn charge(&mut self, now: Duration) -> Result<(), Violation> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let elapsed = now.saturating_sub(self.refilled_at);
        if elapsed > 0 {
            self.refilled_at = now;
            self.add(elapsed.saturating_mul(u64::from(self.rate.per_second)));
        }
        self.level = self.level.checked_sub(UNIT).ok_or(Violation::Flood(self.flood))?;
        Ok(())
    }

    /// Work was done for the peer which lets it do this `count` times more.
    pub(super) fn earn(&mut self, count: u32) {
        self.add(u64::from(count) * UNIT);
    }

    fn add(&mut self, thousandths: u64) {
        self.level = self.level.saturating_add(thousandths).min(u64::from(self.rate.burst) * UNIT);
    }
}

/// The budgets of one connection that are rates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    pub(super) empty_frames: Bucket,
    pub(super) forced_resets: Bucket,
    pub(super) ignored: Bucket,
    pub(super) pings: Bucket,
    pub(super) resets: Bucket,
    pub(super) settings: Bucket,
    pub(super) window_updates: Bucket,
}

impl Budgets {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            empty_frames: Bucket::new(Flood::EmptyFrames, settings.empty_frames),
            forced_resets: Bucket::new(Flood::ForcedResets, settings.forced_resets),
            ignored: Bucket::new(Flood::Ignored, settings.ignored_frames),
            pings: Bucket::new(Flood::Pings, settings.pings),
            resets: Bucket::new(Flood::Resets, settings.resets),
            settings: Bucket::new(Flood::Settings, settings.settings_frames),
            window_updates: Bucket::new(Flood::WindowUpdates, settings.window_updates),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, per_second: 2 };

    fn takes(bucket: &mut Bucket, millis: u64) -> usize {
        (0..100).take_while(|_| bucket.charge(Duration::from_millis(millis)).is_ok()).count()
    }

    #[test]
    fn a_burst_is_let_through_and_then_what_time_refills() {
        let mut bucket = Bucket::new(Flood::Pings, RATE);
        assert_eq!(takes(&mut bucket, 0), 3);
        assert_eq!(takes(&mut bucket, 499), 0);
        assert_eq!(takes(&mut bucket, 500), 1);
        assert_eq!(takes(&mut bucket, 60_000), 3);
    }

    #[test]
    fn time_that_stands_still_or_runs_backwards_refills_nothing() {
        let mut bucket = Bucket::new(Flood::Pings, RATE);
        assert_eq!(takes(&mut bucket, 1000), 3);
        assert_eq!(takes(&mut bucket, 1000), 0);
        assert_eq!(takes(&mut bucket, 0), 0);
        assert_eq!(bucket.charge(Duration::MAX), Ok(()));
    }

    #[test]
    fn work_refills_it_up_to_the_burst() {
        let mut bucket = Bucket::new(Flood::Pings, RATE);
        assert_eq!(takes(&mut bucket, 0), 3);
        bucket.earn(1);
        assert_eq!(takes(&mut bucket, 0), 1);
        bucket.earn(100);
        assert_eq!(takes(&mut bucket, 0), 3);
    }
}
