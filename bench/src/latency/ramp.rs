//! Rates that rise until a peer can no longer hold them, and on: beyond saturation the latencies say how it fails.

use anyhow::Result;

use crate::scenario::{Better, Metric};

pub(super) const LOWEST_RATE: u32 = 5_000;
/// Each about √2 times the one before.
const RATES: [u32; 7] = [LOWEST_RATE, 7_000, 10_000, 14_000, 20_000, 28_000, 40_000];

/// A median above this is saturation: requests come faster than they are answered, and all of them wait. The p99 would take a
/// busy machine for a saturated peer.
const BOUND_MICROS: f64 = 1_000.0;
const TRIES: u32 = 3;

/// The values of [`Ramp::figures`].
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "saturation_requests_per_second",
        title: "highest rate held",
        unit: "req/s",
        better: Better::Higher,
    },
    p99("p99_at_5000_micros", "p99 at 5,000/s"),
    p99("p99_at_7000_micros", "p99 at 7,000/s"),
    p99("p99_at_10000_micros", "p99 at 10,000/s"),
    p99("p99_at_14000_micros", "p99 at 14,000/s"),
    p99("p99_at_20000_micros", "p99 at 20,000/s"),
    p99("p99_at_28000_micros", "p99 at 28,000/s"),
    p99("p99_at_40000_micros", "p99 at 40,000/s"),
];

const fn p99(name: &'static str, title: &'static str) -> Metric {
    Metric { name, title, unit: "µs", better: Better::Lower }
}

/// Quantiles in µs at one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// One at each of [`RATES`].
#[derive(Debug, PartialEq)]
pub(super) struct Ramp([Step; RATES.len()]);

impl Ramp {
    /// Asks `step` for the quantiles at each rate, again at the first that is not held: a pause of the machine is not saturation.
    pub(super) fn climb(mut step: impl FnMut(u32) -> Result<Step>) -> Result<Self> {
        let mut steps = [Step::default(); RATES.len()];
        let mut has_saturated = false;
        for (at, rate) in steps.iter_mut().zip(RATES) {
            *at = step(rate)?;
            for _ in 1..TRIES {
                if !has_saturated && !at.is_held() {
                    *at = step(rate)?;
                }
            }
            has_saturated |= !at.is_held();
        }
        Ok(Self(steps))
    }

    /// The highest rate up to which all were held; 0 if the first was not.
    pub(super) fn saturation(&self) -> u32 {
        let held = RATES.into_iter().zip(self.0).take_while(|(_, step)| step.is_held());
        held.last().map_or(0, |(rate, _)| rate)
    }

    pub(super) fn figures(&self) -> Vec<f64> {
        [f64::from(self.saturation())].into_iter().chain(self.0.map(|step| step.p99)).collect()
    }
}

impl Step {
    fn is_held(self) -> bool {
        self.p50 <= BOUND_MICROS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(p50: f64) -> Result<Step> {
        Ok(Step { p50, p99: 2.0 * p50 })
    }

    #[test]
    fn saturation_is_the_last_rate_before_the_first_that_was_not_held() {
        let ramp = Ramp::climb(|rate| step(if rate == 14_000 { 9_000.0 } else { 100.0 })).unwrap();
        assert_eq!(ramp.saturation(), 10_000);
        assert_eq!(ramp.figures(), [10_000.0, 200.0, 200.0, 200.0, 18_000.0, 200.0, 200.0, 200.0]);
        assert_eq!(ramp.figures().len(), METRICS.len());
    }

    #[test]
    fn one_pause_of_the_machine_is_not_saturation() {
        let mut pause = Some(9_000.0);
        let ramp = Ramp::climb(|_| step(pause.take().unwrap_or(100.0))).unwrap();
        assert_eq!(ramp.saturation(), 40_000);
    }

    #[test]
    fn the_metrics_are_those_of_the_rates() {
        for (metric, rate) in METRICS.iter().skip(1).zip(RATES) {
            assert_eq!(metric.name, format!("p99_at_{rate}_micros"));
        }
    }
}
