//! Sums the shards when somebody scrapes and encodes the sums in the OpenMetrics text format.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry as Encoding,
};

use super::{
    defs::{BOUNDS_MICROS, Counter, Family, Gauge, Histogram},
    process::{self, Process},
    shard::{Cells, Shard, Shared},
};

/// The `Content-Type` of what [`Registry::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The reader's side of all shards.
#[derive(Debug)]
pub struct Registry {
    cells: Vec<Arc<Cells>>,
    shared: Shared,
    version: &'static str,
}

impl Registry {
    /// A registry and one shard for each of `workers`. `version` is served as `spurline_build_info`.
    #[must_use]
    pub fn new(workers: usize, version: &'static str) -> (Self, Vec<Shard>) {
        let mut cells: Vec<_> = (0..workers).map(|_| Arc::new(Cells::new())).collect();
        let shards = cells.iter().cloned().map(Shard::new).collect();
        let shared = Arc::new(Cells::new());
        cells.push(Arc::clone(&shared));
        (Self { cells, shared: Shared::new(shared), version }, shards)
    }

    /// The handle for writers that are not workers.
    #[must_use]
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// The value of one counter, summed over all writers.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.sum(|cells| cells.counters.get(counter.index()).map_or(0, |cell| cell.load(Relaxed)))
    }

    /// The value of one gauge, summed over all writers.
    #[must_use]
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.sum(|cells| cells.gauges.get(gauge.index()).map_or(0, |cell| cell.load(Relaxed)))
    }

    /// All metrics in the OpenMetrics text format, [`CONTENT_TYPE`].
    ///
    /// Sums are taken series by series while workers go on counting, so two series of one scrape may differ by the
    /// requests that ended in between. No series ever goes backwards.
    #[must_use]
    pub fn render(&self) -> String {
        let mut encoding = Encoding::default();
        encoding.register_collector(Box::new(self.snapshot()));
        let mut out = String::new();
        // Writing to a String cannot fail; the encoder's signature only says that writing in general can.
        let _ = text::encode(&mut out, &encoding);
        out
    }

    fn snapshot(&self) -> Snapshot {
        let counters = (0..Counter::SERIES)
            .map(|at| self.sum(|cells| cells.counters.get(at).map_or(0, |cell| cell.load(Relaxed))))
            .collect();
        let gauges = (0..Gauge::SERIES)
            .map(|at| self.sum(|cells| cells.gauges.get(at).map_or(0, |cell| cell.load(Relaxed))))
            .collect();
        let histograms = (0..Histogram::SERIES).map(|at| self.distribution(at)).collect();
        Snapshot { counters, gauges, histograms, process: Process::read(), version: self.version }
    }

    fn distribution(&self, at: usize) -> Distribution {
        let buckets = || self.cells.iter().filter_map(|cells| cells.histograms.get(at));
        Distribution {
            counts: (0..=BOUNDS_MICROS.len())
                .map(|bound| {
                    buckets().filter_map(|b| b.counts.get(bound)).map(|cell| cell.load(Relaxed)).sum()
                })
                .collect(),
            sum_micros: buckets().map(|b| b.sum_micros.load(Relaxed)).sum(),
        }
    }

    fn sum(&self, read: impl Fn(&Cells) -> u64) -> u64 {
        self.cells.iter().fold(0, |sum: u64, cells| sum.wrapping_add(read(cells)))
    }
}

/// The sums of one scrape, in the order of the table.
#[derive(Debug)]
struct Snapshot {
    counters: Vec<u64>,
    gauges: Vec<u64>,
    histograms: Vec<Distribution>,
    process: Process,
    version: &'static str,
}

#[derive(Debug)]
struct Distribution {
    counts: Vec<u64>,
    sum_micros: u64,
}

/// The encoder wants to know the types of exemplars even where there are none.
const NO_EXEMPLAR: Option<&NoExemplar> = None;
const NO_EXEMPLARS: Option<&HashMap<usize, NoExemplar>> = None;
type NoExemplar = Exemplar<[(&'static str, &'static str); 0], f64>;

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        encode(encoder, MetricType::Counter, Counter::FAMILIES, &self.counters, |metric, value| {
            metric.encode_counter(value, NO_EXEMPLAR)
        })?;
        encode(encoder, MetricType::Gauge, Gauge::FAMILIES, &self.gauges, |metric, value| {
            metric.encode_gauge(value)
        })?;
        encode(encoder, MetricType::Histogram, Histogram::FAMILIES, &self.histograms, |metric, value| {
            let (sum, count, buckets) = value.in_seconds();
            metric.encode_histogram(sum, count, &buckets, NO_EXEMPLARS)
        })?;
        process::encode(&self.process, self.version, encoder)
    }
}

/// Encodes families of one type; `values` are in the order of the indices.
fn encode<T>(
    encoder: &mut DescriptorEncoder<'_>,
    kind: MetricType,
    families: &'static [Family],
    values: &[T],
    encode_value: impl Fn(&mut MetricEncoder<'_>, &T) -> Result<(), fmt::Error>,
) -> Result<(), fmt::Error> {
    let mut values = values.iter();
    for family in families {
        let mut metric = encoder.encode_descriptor(family.name, family.help.trim(), None, kind)?;
        for (labels, value) in series(family).zip(values.by_ref().take(family.width())) {
            if labels.is_empty() {
                encode_value(&mut metric, value)?;
            } else {
                encode_value(&mut metric.encode_family(&labels)?, value)?;
            }
        }
    }
    Ok(())
}

impl Distribution {
    /// Sum, count and the non-cumulative buckets; the encoder accumulates them.
    #[expect(clippy::cast_precision_loss, reason = "microseconds beyond 2^53 are 285 years")]
    fn in_seconds(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = BOUNDS_MICROS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        (
            self.sum_micros as f64 / 1e6,
            self.counts.iter().sum(),
            bounds.zip(self.counts.iter().copied()).collect(),
        )
    }
}

/// The label sets of a family in the order of the indices: the last label varies fastest.
fn series(family: &'static Family) -> impl Iterator<Item = Vec<(&'static str, &'static str)>> {
    (0..family.width()).map(|at| {
        let mut rest = at;
        let mut labels: Vec<_> = family
            .labels
            .iter()
            .rev()
            .filter_map(|label| {
                let value = label.values.get(rest % label.values.len());
                rest /= label.values.len();
                value.map(|(text, _)| (label.name, *text))
            })
            .collect();
        labels.reverse();
        labels
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::labels::{Breaker, SelectionLabel, StatusClass},
        *,
    };

    #[test]
    fn a_scrape_sums_the_shards_of_all_workers() {
        let (registry, shards) = Registry::new(2, "1.2.3");
        for shard in &shards {
            shard.inc(Counter::Requests(SelectionLabel::Override, StatusClass::Success));
            shard.gauge_add(Gauge::ConnectionsActive, 3);
            shard.gauge_sub(Gauge::ConnectionsActive, 1);
        }
        registry.shared().inc(Counter::BreakerOpen(Breaker::Pending));
        let text = registry.render();
        for line in [
            "spurline_requests_total{selection=\"override\",class=\"2xx\"} 2\n",
            "spurline_requests_total{selection=\"baseline\",class=\"2xx\"} 0\n",
            "spurline_connections_active 4\n",
            "spurline_breaker_open_total{breaker=\"pending\"} 1\n",
            "# TYPE spurline_requests counter\n",
            "spurline_build_info{version=\"1.2.3\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_duration_is_counted_in_the_bucket_whose_bound_it_does_not_exceed() {
        let (registry, shards) = Registry::new(1, "0");
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            shards[0].observe_micros(Histogram::RequestDuration, micros);
        }
        let text = registry.render();
        for line in [
            "spurline_request_duration_seconds_bucket{le=\"0.0001\"} 2\n",
            "spurline_request_duration_seconds_bucket{le=\"0.00025\"} 3\n",
            "spurline_request_duration_seconds_bucket{le=\"60.0\"} 4\n",
            "spurline_request_duration_seconds_bucket{le=\"+Inf\"} 5\n",
            "spurline_request_duration_seconds_count 5\n",
            "spurline_request_duration_seconds_sum 120.000202\n",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn every_series_is_there_before_anything_happened_and_none_is_added_by_use() {
        let (registry, shards) = Registry::new(1, "0");
        let names = |text: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name.to_owned())).collect()
        };
        let before = names(&registry.render());
        for class in StatusClass::ALL {
            shards[0].inc(Counter::Requests(SelectionLabel::Local, *class));
        }
        assert_eq!(before, names(&registry.render()));
    }

    #[test]
    fn a_sum_does_not_lose_counts_of_threads_that_write_at_the_same_time() {
        let (registry, shards) = Registry::new(2, "0");
        let shared = registry.shared();
        std::thread::scope(|scope| {
            for shard in shards {
                let shared = shared.clone();
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        shard.inc(Counter::KeyConflicts);
                        shared.inc(Counter::KeyConflicts);
                    }
                });
            }
        });
        assert_eq!(registry.counter(Counter::KeyConflicts), 40_000);
    }
}
