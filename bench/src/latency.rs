//! What a peer adds to the latency of a request, at rates that are held whatever becomes of the requests.
//!
//! Every figure is a quantile through the peer minus the same quantile without it, taken directly before with the same load.
//! The backend and the generator share a core, so rates are kept below what that core can do: a peer that is cheaper
//! than the load's own side cannot be driven to its limit here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use self::open_loop::{Load, Outcome};
use self::ramp::{Ramp, Step};
use crate::host;
use crate::peer::{self, Peer};
use crate::scenario::{Better, Measure, Metric, Pace, Rounds, Scenario, Setting};
use crate::stats::percentile;
use crate::work::{Backends, Traffic};

pub(crate) mod open_loop;
mod ramp;

const GROUP: &str = "Latency";
const CONNECTIONS: u32 = 64;
const BODY_BYTES: usize = 13;
const LOW_RATE: u32 = 1000;

const PEERS: &[Peer] =
    &[Peer::Floor, Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora, Peer::Hyper];

const METRICS: &[Metric] = &[
    added("added_p50_micros", "added, p50"),
    added("added_p99_micros", "added, p99"),
    added("added_p99_9_micros", "added, p99.9"),
    about("direct_p50_micros", "direct, p50", "µs"),
    about("direct_p99_micros", "direct, p99", "µs"),
    about("generator_late_p99_micros", "sent late, p99", "µs"),
    about("requests_per_second", "offered", "req/s"),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "latency-low",
        group: GROUP,
        title: "Added latency at 1,000 requests a second",
        about: "GET with an answer of 13 bytes, 1,000 a second over 64 connections that are kept, each when it is due, for 5 s in each \
                round: 20,000 samples in all. Quantiles through the peer minus the same without it, measured directly before.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 2, full: 4 },
        begin: |setting| Ok(Box::new(Latency::begin(setting, LOW_RATE, low_time(setting.pace))?)),
    },
    Scenario {
        id: "latency-half",
        group: GROUP,
        title: "Added latency at half of saturation",
        about: "The same, at half of the rate at which the slowest of the peers saturates: one rate for all, so that all do the \
                same work. A ramp finds it when the scenario begins.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 3 },
        begin: |setting| {
            let rate = half_of_the_lowest_saturation(setting)?;
            let time = Duration::from_secs(setting.pace.long_seconds().into());
            Ok(Box::new(Latency::begin(setting, rate, time)?))
        },
    },
    Scenario {
        id: "latency-ramp",
        group: GROUP,
        title: "Latency up to saturation",
        about: "The same at rates that rise from 5,000 to 40,000 a second. The highest rate held is the last at which half of the \
                requests took at most 1 ms. One core carries generator and backend: a peer that is as high as the floor shows \
                the limit of the load, not its own.",
        peers: PEERS,
        metrics: ramp::METRICS,
        rounds: Rounds { quick: 0, full: 1 },
        begin: |setting| Ok(Box::new(Saturation::begin(setting)?)),
    },
];

/// One rate, measured directly and through a peer.
struct Latency {
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
    requests_per_second: u32,
    time: Duration,
}

/// The ramp through a peer.
struct Saturation {
    dir: PathBuf,
    backends: Backends,
}

const fn added(name: &'static str, title: &'static str) -> Metric {
    Metric { name, title, unit: "µs", better: Better::Lower }
}

const fn about(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { name, title, unit, better: Better::Neither }
}

/// At a low rate a quantile such as p99.9 takes its time: five samples of a round are beyond it.
fn low_time(pace: Pace) -> Duration {
    Duration::from_secs(match pace {
        Pace::Quick => 1,
        Pace::Full => 5,
    })
}

/// Peers that cannot be started are left out: their own measurements will say why.
fn half_of_the_lowest_saturation(setting: &Setting) -> Result<u32> {
    let mut saturation = Saturation::begin(setting)?;
    let rates = PEERS.iter().filter_map(|&peer| match saturation.ramp(peer) {
        Ok(ramp) => Some(ramp.saturation()),
        Err(error) => {
            eprintln!("latency-half: {} is left out of the ramp: {error:#}", peer.name());
            None
        }
    });
    let lowest = rates.min().context("no peer could be driven")?;
    if lowest < ramp::LOWEST_RATE {
        eprintln!("latency-half: a peer does not hold the lowest rate of the ramp; half of that is sent");
    }
    Ok(lowest.max(ramp::LOWEST_RATE) / 2)
}

fn at(samples: &[f64], percent: f64) -> Result<f64> {
    percentile(samples, percent).context("no request was recorded")
}

// === impl Latency ===

impl Latency {
    fn begin(setting: &Setting, requests_per_second: u32, time: Duration) -> Result<Self> {
        let Setting { dir, pace } = setting;
        let backends = Backends::start(dir, BODY_BYTES, CONNECTIONS)?;
        Ok(Self { dir: dir.clone(), pace: *pace, backends, requests_per_second, time })
    }
}

impl Measure for Latency {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let started = peer::start(peer, &self.dir, &self.backends, CONNECTIONS)?;
        let expected = self.backends.expected_body(Traffic::Unkeyed);
        let load = Load {
            target: self.backends.baseline,
            connections: CONNECTIONS,
            requests_per_second: self.requests_per_second,
            warm_up: self.pace.warm_up(),
            time: self.time,
        };
        let direct = load.run(&expected).context("without a proxy")?;
        let through = Load { target: started.listen, ..load }.run(&expected)?;
        figures(&direct, &through, self.requests_per_second)
    }
}

fn figures(direct: &Outcome, through: &Outcome, requests_per_second: u32) -> Result<Vec<f64>> {
    let added = |percent| anyhow::Ok(at(&through.latencies, percent)? - at(&direct.latencies, percent)?);
    Ok(vec![
        added(50.0)?,
        added(99.0)?,
        added(99.9)?,
        at(&direct.latencies, 50.0)?,
        at(&direct.latencies, 99.0)?,
        at(&through.lateness, 99.0)?,
        f64::from(requests_per_second),
    ])
}

// === impl Saturation ===

impl Saturation {
    fn begin(setting: &Setting) -> Result<Self> {
        host::allow_descriptors(1024)?;
        let backends = Backends::start(&setting.dir, BODY_BYTES, CONNECTIONS)?;
        Ok(Self { dir: setting.dir.clone(), backends })
    }

    fn ramp(&mut self, peer: Peer) -> Result<Ramp> {
        let started = peer::start(peer, &self.dir, &self.backends, CONNECTIONS)?;
        let expected = self.backends.expected_body(Traffic::Unkeyed);
        Ramp::climb(|requests_per_second| {
            let load = Load {
                target: started.listen,
                connections: CONNECTIONS,
                requests_per_second,
                warm_up: Duration::from_millis(200),
                time: Duration::from_millis(500),
            };
            let latencies = load.run(&expected)?.latencies;
            Ok(Step { p50: at(&latencies, 50.0)?, p99: at(&latencies, 99.0)? })
        })
    }
}

impl Measure for Saturation {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        Ok(self.ramp(peer)?.figures())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_the_difference_of_the_same_quantiles() {
        let samples = |base: f64| (1..=1000).map(|n| base + f64::from(n)).collect::<Vec<_>>();
        let direct = Outcome { latencies: samples(0.0), lateness: samples(0.0) };
        let through = Outcome { latencies: samples(70.0), lateness: samples(3.0) };
        let figures = figures(&direct, &through, 1000).unwrap();
        assert_eq!(figures, [70.0, 70.0, 70.0, 500.0, 990.0, 993.0, 1000.0]);
        assert_eq!(figures.len(), METRICS.len());
    }
}
