//! Order statistics of a handful of samples. No means: one descheduled round must not move a figure.

use serde::Serialize;

/// Fewer are shown as what they are.
const SAMPLES_MIN: usize = 3;

/// Median and spread of a set of samples, in the samples' own unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// Median absolute deviation from the median.
    pub(crate) mad: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// How many samples.
    pub(crate) count: usize,
}

impl Summary {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let median = median(samples)?;
        let deviations: Vec<f64> = samples.iter().map(|sample| (sample - median).abs()).collect();
        Some(Self {
            median,
            mad: self::median(&deviations)?,
            min: samples.iter().copied().reduce(f64::min)?,
            max: samples.iter().copied().reduce(f64::max)?,
            count: samples.len(),
        })
    }

    /// The samples' number where there are too few for a spread, else what `figure` makes of the MAD.
    pub(crate) fn spread(&self, figure: fn(f64) -> String) -> String {
        match self.count {
            1 => "1 sample".to_owned(),
            count if self.is_sparse() => format!("{count} samples"),
            _ => figure(self.mad),
        }
    }

    /// Whether there are too few samples for a median that withstands an outlier, and for a spread.
    pub(crate) fn is_sparse(&self) -> bool {
        self.count < SAMPLES_MIN
    }

    /// Whether the median stands out of its own spread, on the side of more: a difference that does not is none, and
    /// nothing can be divided by it.
    pub(crate) fn is_measurable(&self) -> bool {
        self.median > 0.0 && self.median >= self.mad
    }
}

/// The middle sample, or the mean of the two middle ones; `None` without samples.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Some((lower + upper) / 2.0)
}

/// The smallest sample that `percent` of all samples are not above (nearest rank; 100: the largest); `None` without
/// samples.
pub(crate) fn percentile(samples: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_count_is_between_the_two_middle_samples() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_a_sample_that_was_taken() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(
            [0.0, 50.0, 99.0, 100.0].map(|at| percentile(&samples, at).unwrap()),
            [1.0, 100.0, 198.0, 200.0]
        );
        assert_eq!(percentile(&[7.0], 99.0), Some(7.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn one_outlier_moves_the_maximum_and_nothing_else() {
        let summary = Summary::of(&[10.0, 11.0, 10.0, 9.0, 90.0]).unwrap();
        assert_eq!(summary, Summary { median: 10.0, mad: 1.0, min: 9.0, max: 90.0, count: 5 });
        assert!(!summary.is_sparse() && Summary::of(&[1.0, 2.0]).unwrap().is_sparse());
    }
}
