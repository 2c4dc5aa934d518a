//! What a choice among many keys costs a request: tables of 1 to 100,000 keys, and Spurline with 10,000 right beside itself with one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http1::{BUSY, CPU_PER_REQUEST, REQUESTS_PER_SECOND};
use crate::keep_alive::{self, BODY_BYTES, CONNECTIONS};
use crate::peer::{self, Peer};
use crate::scenario::{Better, Measure, Metric, Pace, Rounds, Scenario, Setting};
use crate::steering::Steering;
use crate::work::{Backends, Job, Traffic, keys};

const GROUP: &str = "Route tables";

const PEERS: &[Peer] = &[Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::EnvoyMatcher];

/// A table that takes longer to load is no answer for a platform that changes it all day.
const PATIENCE: Duration = Duration::from_secs(60);

const METRICS: &[Metric] = &[
    Metric {
        name: "keyed_cpu_micros_per_request",
        title: "CPU time per request with the last key",
        unit: "µs",
        better: Better::Lower,
    },
    Metric {
        name: "unkeyed_cpu_micros_per_request",
        title: "CPU time per request without a key",
        unit: "µs",
        better: Better::Lower,
    },
    REQUESTS_PER_SECOND,
    BUSY,
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "table-1",
        group: GROUP,
        title: "A table of 1 key",
        about: "GET of 13 bytes over 64 connections that are kept: first every request carries the last key of the table and has \
                to be answered by the fork, then none carries one. Every peer takes the key out of the baggage.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 2 },
        begin: |setting| begin(setting, 1),
    },
    Scenario {
        id: "table-100",
        group: GROUP,
        title: "A table of 100 keys",
        about: "The same with 100 keys.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 1 },
        begin: |setting| begin(setting, 100),
    },
    Scenario {
        id: "table-10k",
        group: GROUP,
        title: "A table of 10,000 keys",
        about: "The same with 10,000 keys.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, 10_000),
    },
    Scenario {
        id: "table-100k",
        group: GROUP,
        title: "A table of 100,000 keys",
        about: "The same with 100,000 keys. A peer that does not route within a minute of its start is not measured; one that takes \
                10 ms for a single request has 4 connections.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 1 },
        begin: |setting| begin(setting, 100_000),
    },
    Scenario {
        id: "table-last-of-10k",
        group: GROUP,
        title: "The last of 10,000 keys beside the only one",
        about: "Spurline with 10,000 keys and Spurline with one, turn about: the difference is what the table's size costs.",
        peers: &[Peer::Spurline, Peer::SpurlineOne],
        metrics: METRICS,
        rounds: Rounds { quick: 2, full: 7 },
        begin: |setting| begin(setting, 10_000),
    },
    Scenario {
        id: "table-varied",
        group: GROUP,
        title: "Other keys with every request",
        about: "GET of 13 bytes over 64 connections that are kept. Of four requests in turn three carry a key, each another of the \
                10,000 of the table, in no order, and one carries none; the backends count what came to whom, and all of it has to \
                be right. Envoy's list of routes is left out: table-10k says what it costs.",
        peers: VARIED_PEERS,
        metrics: &[CPU_PER_REQUEST, REQUESTS_PER_SECOND, BUSY],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| Ok(Box::new(Varied::begin(setting)?)),
    },
];

/// In `table-varied`: that of `table-10k`, without those that cannot route as much in the time.
const VARIED_PEERS: &[Peer] =
    &[Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::EnvoyMatcher, Peer::Pingora];
const VARIED_OVERRIDES: u32 = 10_000;

struct Table {
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
    overrides: u32,
}

fn begin(setting: &Setting, overrides: u32) -> Result<Box<dyn Measure>> {
    let backends = Backends::start(&setting.dir, BODY_BYTES, CONNECTIONS)?;
    Ok(Box::new(Table { dir: setting.dir.clone(), pace: setting.pace, backends, overrides }))
}

impl Measure for Table {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let job = Job {
            dir: self.dir.clone(),
            connections: CONNECTIONS,
            overrides: Some(self.overrides),
            ..Job::on_free_ports()?
        };
        let started = peer::start_with(peer, &self.backends, job, PATIENCE)?;
        let cost = |traffic: Traffic| {
            let headers = traffic.headers();
            let requests = (headers.as_slice(), traffic.steering());
            keep_alive::measure(&started, &self.backends, requests, self.pace)
        };
        let (keyed, unkeyed) = (cost(Traffic::Keyed)?, cost(Traffic::Unkeyed)?);
        Ok(vec![
            keyed.cpu_micros_per_request,
            unkeyed.cpu_micros_per_request,
            keyed.requests_per_second,
            keyed.busy_percent,
        ])
    }
}

/// Requests with many keys.
struct Varied {
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
    /// One key in a line.
    keys: PathBuf,
}

impl Varied {
    fn begin(setting: &Setting) -> Result<Self> {
        let Setting { dir, pace } = setting;
        let backends = Backends::start(dir, BODY_BYTES, CONNECTIONS)?;
        let mut lines: Vec<String> = keys(VARIED_OVERRIDES).map(|key| key + "\n").collect();
        // The same order in every run, and not that of the tables.
        fastrand::Rng::with_seed(u64::from(VARIED_OVERRIDES)).shuffle(&mut lines);
        let keys = dir.join("varied.keys");
        std::fs::write(&keys, lines.concat()).with_context(|| format!("write {}", keys.display()))?;
        Ok(Self { dir: dir.clone(), pace: *pace, backends, keys })
    }
}

impl Measure for Varied {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let job = Job {
            dir: self.dir.clone(),
            connections: CONNECTIONS,
            overrides: Some(VARIED_OVERRIDES),
            ..Job::on_free_ports()?
        };
        let started = peer::start_with(peer, &self.backends, job, PATIENCE)?;
        let headers = Traffic::Unkeyed.headers();
        let requests = (headers.as_slice(), Steering::Varied(&self.keys));
        let cost = keep_alive::measure(&started, &self.backends, requests, self.pace)?;
        Ok(vec![cost.cpu_micros_per_request, cost.requests_per_second, cost.busy_percent])
    }
}
