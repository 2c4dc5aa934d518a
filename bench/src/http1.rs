//! What a request costs on HTTP/1.1 connections that are kept, and what a GiB of large bodies does.
//!
//! CPU time is compared, not throughput: on a shared machine the time a process was not running says nothing about the
//! process.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::host;
use crate::peer::{self, Peer};
use crate::scenario::{Better, Measure, Metric, Pace, Rounds, Scenario, Setting};
use crate::work::{Backends, Job, START_TIMEOUT, Traffic, Tuning};
use crate::wrk::Load;

const GROUP: &str = "HTTP/1.1";
const SMALL_BYTES: usize = 13;
/// From here on the bytes are the work, not the requests.
const LARGE_BYTES: usize = 1024 * 1024;
const GIBIBYTE: f64 = (1024 * 1024 * 1024) as f64;

const PEERS: &[Peer] =
    &[Peer::Floor, Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora, Peer::Hyper];
/// Those that can choose by the key.
const ROUTING_PEERS: &[Peer] =
    &[Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora, Peer::Hyper];

pub(crate) const CPU_PER_REQUEST: Metric = Metric {
    name: "cpu_micros_per_request",
    title: "CPU time per request",
    unit: "µs",
    better: Better::Lower,
};
pub(crate) const CPU_PER_GIBIBYTE: Metric = Metric {
    name: "cpu_millis_per_gibibyte",
    title: "CPU time per GiB of bodies",
    unit: "ms",
    better: Better::Lower,
};
/// One core of load; well below what the peer could do where the load was the limit.
pub(crate) const REQUESTS_PER_SECOND: Metric = Metric {
    name: "requests_per_second",
    title: "requests per second",
    unit: "req/s",
    better: Better::Neither,
};
/// Well below all of it the load was the limit; a proxy that sleeps often pays for its waking.
pub(crate) const BUSY: Metric =
    Metric { name: "busy_percent", title: "core busy", unit: "%", better: Better::Neither };

const REQUESTS: &[Metric] = &[CPU_PER_REQUEST, REQUESTS_PER_SECOND, BUSY];
const BYTES: &[Metric] = &[CPU_PER_GIBIBYTE, REQUESTS_PER_SECOND, BUSY];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "http1-13B",
        group: GROUP,
        title: "Keep-alive, bodies of 13 bytes",
        about: "GET over 64 connections that are kept, as fast as one core of load can; the baggage carries no routing key, so \
                all goes to the baseline.",
        peers: PEERS,
        metrics: REQUESTS,
        rounds: Rounds { quick: 1, full: 5 },
        begin: |setting| begin(setting, Shape::of(SMALL_BYTES)),
    },
    Scenario {
        id: "http1-1KiB",
        group: GROUP,
        title: "Keep-alive, bodies of 1 KiB",
        about: "The same with answers of 1 KiB.",
        peers: PEERS,
        metrics: REQUESTS,
        rounds: Rounds { quick: 0, full: 2 },
        begin: |setting| begin(setting, Shape::of(1024)),
    },
    Scenario {
        id: "http1-64KiB",
        group: GROUP,
        title: "Keep-alive, bodies of 64 KiB",
        about: "The same with answers of 64 KiB, which the backend sends from a file.",
        peers: PEERS,
        metrics: REQUESTS,
        rounds: Rounds { quick: 0, full: 2 },
        begin: |setting| begin(setting, Shape::of(64 * 1024)),
    },
    Scenario {
        id: "http1-1MiB",
        group: GROUP,
        title: "Keep-alive, bodies of 1 MiB",
        about: "Answers of 1 MiB over 16 connections that are kept; CPU time per GiB of bodies.",
        peers: PEERS,
        metrics: BYTES,
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, Shape { connections: 16, ..Shape::of(LARGE_BYTES) }),
    },
    Scenario {
        id: "http1-keyed",
        group: GROUP,
        title: "Keep-alive, bodies of 13 bytes, to the fork",
        about: "As http1-13B, but every request carries the routing key of a fork and has to be answered by it. For Spurline it \
                is the last of 10,000 keys, the others have one.",
        peers: ROUTING_PEERS,
        metrics: REQUESTS,
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, Shape { traffic: Traffic::Keyed, ..Shape::of(SMALL_BYTES) }),
    },
];

/// What is asked for.
#[derive(Clone, Copy)]
struct Shape {
    body_bytes: usize,
    connections: u32,
    traffic: Traffic,
}

struct Http1 {
    shape: Shape,
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
    headers: Vec<(&'static str, String)>,
}

fn begin(setting: &Setting, shape: Shape) -> Result<Box<dyn Measure>> {
    host::allow_descriptors(u64::from(shape.connections) * 2 + 512)?;
    Ok(Box::new(Http1 {
        shape,
        dir: setting.dir.clone(),
        pace: setting.pace,
        backends: Backends::start(&setting.dir, shape.body_bytes, shape.connections)?,
        headers: shape.traffic.headers(),
    }))
}

// === impl Shape ===

impl Shape {
    fn of(body_bytes: usize) -> Self {
        Self { body_bytes, connections: 64, traffic: Traffic::Unkeyed }
    }
}

// === impl Http1 ===

impl Measure for Http1 {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let Shape { connections, body_bytes, .. } = self.shape;
        let is_large = body_bytes >= LARGE_BYTES;
        let job = Job {
            dir: self.dir.clone(),
            connections,
            tuning: if is_large { Tuning::Bytes } else { Tuning::Requests },
            ..Job::on_free_ports()?
        };
        let started = peer::start_with(peer, &self.backends, job, START_TIMEOUT)?;
        let seconds = if body_bytes <= SMALL_BYTES { self.pace.long_seconds() } else { Pace::SECONDS };
        let load = Load {
            scheme: "http",
            target: started.listen,
            connections,
            seconds,
            headers: &self.headers,
            steering: self.shape.traffic.steering(),
        };
        load.warm_up(self.pace.warm_up())?;
        let before = self.backends.counts()?;
        let (cpu_before, time_before) = (started.running.cpu_time()?, Instant::now());
        let outcome = load.run()?;
        let (cpu, time) = (started.running.cpu_time()?.saturating_sub(cpu_before), time_before.elapsed());
        let seen = self.backends.seen_since(before)?;
        seen.requests.ensure_are(outcome.sent, u64::from(connections))?;
        ensure_reuse(seen.connections, u64::from(connections), outcome.requests)?;
        let cpu = cpu.as_secs_f64();
        let (requests, bytes) = (outcome.requests as f64, body_bytes as f64);
        Ok(vec![
            if is_large { cpu * 1e3 / (requests * bytes / GIBIBYTE) } else { cpu * 1e6 / requests },
            outcome.requests_per_second,
            100.0 * cpu / time.as_secs_f64(),
        ])
    }
}

/// Refuses a peer that opened upstream connections all the time: that is other work. It happened: HAProxy gives up
/// pooling when `maxconn` is close to the load, and then costs more than twice as much.
pub(crate) fn ensure_reuse(opened: u64, at_once: u64, requests: u64) -> Result<()> {
    ensure!(
        opened <= 2 * at_once + requests / 100,
        "{opened} upstream connections for {requests} requests: it does not reuse them, so the work is not the same"
    );
    Ok(())
}
