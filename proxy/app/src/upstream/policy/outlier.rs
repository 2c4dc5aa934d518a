//! Passive outlier ejection: an endpoint that keeps failing gets no requests for a while.
//!
//! ```text
//!              failures in a row reach the threshold
//!   Healthy ──────────────────────────────────────────▶ Ejected
//!      ▲        (and the set can spare the endpoint)        │
//!      └────────────────────────────────────────────────────┘
//!                base time × ejections have passed
//! ```
//!
//! It sends no probes of its own: the first requests after the time of an ejection are the probe. Failures are
//! counted in a row, so one success clears them, and the time grows with each ejection that follows soon after
//! another and shrinks again while the endpoint behaves.

use std::time::{Duration, Instant};

/// The longest ejection is this many times the base time.
const EJECTIONS_MAX: u32 = 10;

/// When an endpoint is ejected, and when ejection stops being trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ejection {
    /// Failures in a row that eject. 0 never ejects.
    pub(crate) failures: u32,
    /// How long the first ejection lasts; the second in a row lasts twice as long, up to ten times.
    pub(crate) base: Duration,
    /// The share of the endpoints that may be ejected at a time. One may be whatever its share is, unless this is 0;
    /// the last healthy endpoint never is.
    pub(crate) max_percent: u32,
    /// With a smaller share of healthy endpoints ejection is ignored and all are used: when most of a set fails, the
    /// cause is rarely the endpoints, and the few that are left would drown. 0 never ignores it.
    pub(crate) panic_percent: u32,
}

/// What is remembered of one endpoint. Kept when the endpoint appears in the next set as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    failures: u32,
    ejections: u32,
    /// The end of the current ejection, or of the last one.
    until: Option<Instant>,
    ejected: bool,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Counted,
    /// The endpoint gets no requests for this long.
    Ejected(Duration),
}

/// The health of a set of endpoints, by index.
#[derive(Clone, Debug)]
pub(crate) struct Outliers {
    ejection: Ejection,
    endpoints: Vec<Health>,
    ejected: usize,
    /// No ejection ends before this.
    next_return: Option<Instant>,
}

// === impl Ejection ===

impl Ejection {
    /// How many of `endpoints` may be ejected at a time.
    fn ejected_max(&self, endpoints: usize) -> usize {
        if self.max_percent == 0 {
            return 0;
        }
        let share = endpoints.saturating_mul(self.max_percent as usize) / 100;
        share.max(1).min(endpoints.saturating_sub(1))
    }

    fn panics(&self, ejected: usize, endpoints: usize) -> bool {
        let healthy = endpoints.saturating_sub(ejected);
        ejected > 0 && healthy.saturating_mul(100) < endpoints.saturating_mul(self.panic_percent as usize)
    }
}

// === impl Health ===

impl Health {
    /// Starts an ejection. Each base time of good behaviour since the last one takes one off the multiplier.
    fn eject(&mut self, base: Duration, now: Instant) -> Duration {
        let behaved = self.until.map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
        let decay = behaved.as_nanos().checked_div(base.as_nanos()).unwrap_or(u128::MAX);
        let decay = u32::try_from(decay).unwrap_or(u32::MAX);
        self.ejections = self.ejections.saturating_sub(decay).saturating_add(1).min(EJECTIONS_MAX);
        let duration = base.saturating_mul(self.ejections);
        self.until = now.checked_add(duration);
        self.ejected = true;
        self.failures = 0;
        duration
    }
}

// === impl Outliers ===

impl Outliers {
    /// Endpoints with a history: `Health::default()` for a new one, [`Self::health`] of the previous set for one
    /// that stays.
    pub(crate) fn new(ejection: Ejection, endpoints: impl IntoIterator<Item = Health>) -> Self {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        let ejected = endpoints.iter().filter(|health| health.ejected).count();
        let next_return =
            endpoints.iter().filter(|health| health.ejected).filter_map(|health| health.until).min();
        let mut outliers = Self { ejection, endpoints, ejected, next_return };
        outliers.reinstate_what_the_set_cannot_spare();
        outliers
    }

    /// The endpoint answered well.
    pub(crate) fn success(&mut self, endpoint: usize) {
        if let Some(health) = self.endpoints.get_mut(endpoint) {
            health.failures = 0;
        }
    }

    /// The endpoint failed: no connection, a reset, or an answer that counts as a failure.
    ///
    /// A failure of an endpoint that is ejected already (a request that was under way) changes nothing.
    pub(crate) fn failure(&mut self, endpoint: usize, now: Instant) -> Verdict {
        let spare = self.ejected < self.ejection.ejected_max(self.endpoints.len());
        let Some(health) = self.endpoints.get_mut(endpoint).filter(|health| !health.ejected) else {
            return Verdict::Counted;
        };
        health.failures = health.failures.saturating_add(1);
        if self.ejection.failures == 0 || health.failures < self.ejection.failures || !spare {
            return Verdict::Counted;
        }
        let duration = health.eject(self.ejection.base, now);
        let until = health.until;
        self.ejected += 1;
        self.next_return = [self.next_return, until].into_iter().flatten().min();
        Verdict::Ejected(duration)
    }

    /// Takes back the endpoints whose time is over; returns how many. Call before a choice: it costs one comparison
    /// while nothing is due.
    pub(crate) fn refresh(&mut self, now: Instant) -> usize {
        if self.next_return.is_none_or(|next| now < next) {
            return 0;
        }
        let mut returned = 0;
        self.next_return = None;
        for health in self.endpoints.iter_mut().filter(|health| health.ejected) {
            match health.until {
                Some(until) if until <= now => {
                    health.ejected = false;
                    returned += 1;
                }
                until => self.next_return = [self.next_return, until].into_iter().flatten().min(),
            }
        }
        self.ejected -= returned;
        returned
    }

    /// May the endpoint be used: it is not ejected, or so many are that ejection is ignored.
    pub(crate) fn available(&self, endpoint: usize) -> bool {
        self.endpoints.get(endpoint).is_some_and(|health| !health.ejected) || self.in_panic()
    }

    /// Is ejection ignored because too few endpoints are healthy?
    pub(crate) fn in_panic(&self) -> bool {
        self.ejection.panics(self.ejected, self.endpoints.len())
    }

    /// How many endpoints are ejected.
    pub(crate) fn ejected(&self) -> usize {
        self.ejected
    }

    /// What is remembered of an endpoint, to carry it over into the next set.
    pub(crate) fn health(&self, endpoint: usize) -> Option<Health> {
        self.endpoints.get(endpoint).copied()
    }

    /// A set that has shrunk to its ejected endpoints uses the first to return again.
    fn reinstate_what_the_set_cannot_spare(&mut self) {
        let max = self.ejection.ejected_max(self.endpoints.len());
        while self.ejected > max {
            let next =
                self.endpoints.iter_mut().filter(|health| health.ejected).min_by_key(|health| health.until);
            let Some(health) = next else { return };
            health.ejected = false;
            self.ejected -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_secs(30);
    const EJECTION: Ejection = Ejection { failures: 3, base: BASE, max_percent: 50, panic_percent: 50 };

    fn healthy(ejection: Ejection, endpoints: usize) -> Outliers {
        Outliers::new(ejection, vec![Health::default(); endpoints])
    }

    /// Fails until the verdict of the threshold.
    fn fail(outliers: &mut Outliers, endpoint: usize, now: Instant) -> Verdict {
        for _ in 1..outliers.ejection.failures {
            assert_eq!(outliers.failure(endpoint, now), Verdict::Counted);
        }
        outliers.failure(endpoint, now)
    }

    #[test]
    fn failures_in_a_row_eject_for_the_base_time() {
        let now = Instant::now();
        let mut outliers = healthy(EJECTION, 4);
        assert_eq!(fail(&mut outliers, 1, now), Verdict::Ejected(BASE));
        assert!(!outliers.available(1));
        assert_eq!(outliers.refresh(now + BASE - Duration::from_nanos(1)), 0);
        assert_eq!(outliers.refresh(now + BASE), 1);
        assert!(outliers.available(1));
    }

    #[test]
    fn one_success_clears_the_failures() {
        let now = Instant::now();
        let mut outliers = healthy(EJECTION, 4);
        outliers.failure(0, now);
        outliers.failure(0, now);
        outliers.success(0);
        assert_eq!(outliers.failure(0, now), Verdict::Counted);
        assert_eq!(outliers.ejected(), 0);
    }

    #[test]
    fn ejections_in_a_row_last_longer_up_to_ten_times() {
        let mut now = Instant::now();
        let mut outliers = healthy(EJECTION, 2);
        for ejection in 1..=12 {
            let duration = BASE * ejection.min(10);
            assert_eq!(fail(&mut outliers, 0, now), Verdict::Ejected(duration));
            now += duration;
            assert_eq!(outliers.refresh(now), 1);
        }
    }

    #[test]
    fn good_behaviour_shortens_the_next_ejection() {
        let mut now = Instant::now();
        let mut outliers = healthy(EJECTION, 2);
        for ejection in 1..=3 {
            assert_eq!(fail(&mut outliers, 0, now), Verdict::Ejected(BASE * ejection));
            now += BASE * ejection;
            outliers.refresh(now);
        }
        now += BASE * 2;
        assert_eq!(fail(&mut outliers, 0, now), Verdict::Ejected(BASE * 2));
    }

    #[test]
    fn the_last_endpoint_is_never_ejected() {
        let now = Instant::now();
        let all = Ejection { max_percent: 100, panic_percent: 0, ..EJECTION };
        assert_eq!(fail(&mut healthy(all, 1), 0, now), Verdict::Counted);
        let mut outliers = healthy(all, 3);
        assert_eq!(fail(&mut outliers, 0, now), Verdict::Ejected(BASE));
        assert_eq!(fail(&mut outliers, 1, now), Verdict::Ejected(BASE));
        assert_eq!(fail(&mut outliers, 2, now), Verdict::Counted);
        assert!(outliers.available(2));
    }

    #[test]
    fn the_share_is_a_limit_but_one_may_always_go() {
        let now = Instant::now();
        let tenth = Ejection { max_percent: 10, ..EJECTION };
        let mut outliers = healthy(tenth, 3);
        assert_eq!(fail(&mut outliers, 0, now), Verdict::Ejected(BASE));
        assert_eq!(fail(&mut outliers, 1, now), Verdict::Counted);
        let off = Ejection { max_percent: 0, ..EJECTION };
        assert_eq!(fail(&mut healthy(off, 3), 0, now), Verdict::Counted);
    }

    #[test]
    fn an_endpoint_that_could_not_be_spared_goes_with_its_next_failure() {
        let now = Instant::now();
        let mut outliers = healthy(EJECTION, 2);
        fail(&mut outliers, 0, now);
        assert_eq!(fail(&mut outliers, 1, now), Verdict::Counted);
        assert_eq!(outliers.refresh(now + BASE), 1);
        assert_eq!(outliers.failure(1, now + BASE), Verdict::Ejected(BASE));
    }

    #[test]
    fn with_too_few_healthy_endpoints_all_are_used() {
        let now = Instant::now();
        let most = Ejection { max_percent: 90, ..EJECTION };
        let mut outliers = healthy(most, 4);
        for endpoint in 0..2 {
            fail(&mut outliers, endpoint, now);
        }
        assert!(!outliers.in_panic() && !outliers.available(0));
        fail(&mut outliers, 2, now);
        assert!(outliers.in_panic());
        assert!((0..4).all(|endpoint| outliers.available(endpoint)));
    }

    #[test]
    fn a_threshold_of_zero_never_ejects() {
        let mut outliers = healthy(Ejection { failures: 0, ..EJECTION }, 4);
        for _ in 0..100 {
            assert_eq!(outliers.failure(0, Instant::now()), Verdict::Counted);
        }
    }

    #[test]
    fn health_outlives_a_change_of_the_set() {
        let now = Instant::now();
        let mut outliers = healthy(EJECTION, 4);
        fail(&mut outliers, 3, now);
        let kept = outliers.health(3).unwrap();
        let grown = Outliers::new(EJECTION, [kept, Health::default(), Health::default()]);
        assert!(!grown.available(0));
        let alone = Outliers::new(EJECTION, [kept]);
        assert!(alone.available(0));
        assert_eq!(alone.ejected(), 0);
    }

    proptest! {
        #[test]
        fn the_books_balance_whatever_happens(
            endpoints in 1usize..8,
            failures in 0u32..4,
            (max_percent, panic_percent) in (0u32..=120, 0u32..=100),
            steps in prop::collection::vec((0usize..9, any::<bool>(), 0u64..20), 0..300),
        ) {
            let mut now = Instant::now();
            let ejection = Ejection { failures, base: BASE, max_percent, panic_percent };
            let mut outliers = healthy(ejection, endpoints);
            for (endpoint, success, seconds) in steps {
                now += Duration::from_secs(seconds);
                outliers.refresh(now);
                if success {
                    outliers.success(endpoint);
                } else {
                    outliers.failure(endpoint, now);
                }
                let ejected: Vec<_> = outliers.endpoints.iter().filter(|health| health.ejected).collect();
                prop_assert_eq!(ejected.len(), outliers.ejected());
                prop_assert!(outliers.ejected() < endpoints);
                prop_assert_eq!(ejected.iter().filter_map(|health| health.until).min(), outliers.next_return);
                prop_assert!((0..endpoints).any(|endpoint| outliers.available(endpoint)));
            }
        }
    }
}
