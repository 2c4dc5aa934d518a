//! Rates that rise until a peer can no longer hold them, and on: beyond saturation the latencies say how it fails.

use anyhow::Result;

use crate::scenario::{Better, Metric};

/// Each about √2 times the one before.
const RATES: [u32; 7] = [5_000, 7_000, 10_000, 14_000, 20_000, 28_000, 40_000];

/// A p99 above this is saturation.
const BOUND_MICROS: f64 = 5_000.0;
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

/// The p99 in µs at each of [`RATES`].
#[derive(Debug, PartialEq)]
pub(super) struct Ramp([f64; RATES.len()]);

impl Ramp {
    /// Asks `p99_at` for the p99 at each rate, again where it is above the bound: a hiccup of the machine is not saturation.
    pub(super) fn climb(mut p99_at: impl FnMut(u32) -> Result<f64>) -> Result<Self> {
        let mut micros = [0.0; RATES.len()];
        for (micros, rate) in micros.iter_mut().zip(RATES) {
            *micros = p99_at(rate)?;
            for _ in 1..TRIES {
                if *micros > BOUND_MICROS {
                    *micros = micros.min(p99_at(rate)?);
                }
            }
        }
        Ok(Self(micros))
    }

    /// The highest rate up to which all were held; 0 if the first was not.
    pub(super) fn saturation(&self) -> u32 {
        let held = RATES.into_iter().zip(self.0).take_while(|(_, micros)| *micros <= BOUND_MICROS);
        held.last().map_or(0, |(rate, _)| rate)
    }

    pub(super) fn figures(&self) -> Vec<f64> {
        [f64::from(self.saturation())].into_iter().chain(self.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_is_the_last_rate_before_the_first_that_was_not_held() {
        let ramp = Ramp::climb(|rate| Ok(if rate == 14_000 { 9_000.0 } else { 100.0 })).unwrap();
        assert_eq!(ramp.saturation(), 10_000);
        assert_eq!(ramp.figures().len(), METRICS.len());
    }

    #[test]
    fn one_hiccup_is_not_saturation() {
        let mut hiccup = Some(9_000.0);
        let ramp = Ramp::climb(|_| Ok(hiccup.take().unwrap_or(100.0))).unwrap();
        assert_eq!(ramp.saturation(), 40_000);
    }

    #[test]
    fn the_metrics_are_those_of_the_rates() {
        for (metric, rate) in METRICS.iter().skip(1).zip(RATES) {
            assert_eq!(metric.name, format!("p99_at_{rate}_micros"));
        }
    }
}
