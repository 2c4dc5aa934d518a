//! What TLS costs: CPU time per handshake, full and resumed, and per GiB.
//!
//! Every peer terminates with the same certificate and relays to the same backend without TLS; what TLS with the backend costs stands in
//! [`upstream`].

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::handshakes::{Client, Handshakes, Resumption};
use self::upstream::Upstream;
use crate::host;
use crate::http1::{BUSY, CPU_PER_GIBIBYTE, CPU_PER_REQUEST, REQUESTS_PER_SECOND};
use crate::peer::{self, Peer, Started};
use crate::scenario::{Better, Measure, Metric, Pace, Rounds, Scenario, Setting};
use crate::steering::Steering;
use crate::work::{Backends, Job, Protocol, START_TIMEOUT, Traffic, Tuning};
use crate::wrk;

pub(crate) mod certificate;
mod handshakes;
mod upstream;

const GROUP: &str = "TLS";
/// With fewer resumed the figure would be one of full handshakes.
const RESUMED_PERCENT_MIN: f64 = 95.0;
/// Being opened at once, or kept.
const CONNECTIONS: u32 = 16;
const LARGE_BYTES: usize = 1024 * 1024;
const SMALL_BYTES: usize = 13;
const GIBIBYTE: f64 = (1024 * 1024 * 1024) as f64;

const PEERS: &[Peer] = &[Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy];

const CPU_PER_CONNECTION: Metric = Metric {
    name: "cpu_micros_per_connection",
    title: "CPU time per connection",
    unit: "µs",
    better: Better::Lower,
};
/// One core of load; its own handshakes are the limit.
const CONNECTIONS_PER_SECOND: Metric = Metric {
    name: "connections_per_second",
    title: "connections per second",
    unit: "conn/s",
    better: Better::Neither,
};
const RESUMED: Metric =
    Metric { name: "resumed_percent", title: "took up a session", unit: "%", better: Better::Neither };

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "tls-full",
        group: GROUP,
        title: "New connections with a full handshake",
        about: "A connection is opened, does a full handshake of TLS 1.3 with a certificate on P-256, has one request and is \
                closed; 16 at once.",
        peers: PEERS,
        metrics: &[CPU_PER_CONNECTION, CONNECTIONS_PER_SECOND, RESUMED],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, Load::Handshakes(Resumption::Never)),
    },
    Scenario {
        id: "tls-resumed",
        group: GROUP,
        title: "New connections that take up a session",
        about: "The same with the session of an earlier connection taken up again.",
        peers: PEERS,
        metrics: &[CPU_PER_CONNECTION, CONNECTIONS_PER_SECOND, RESUMED],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, Load::Handshakes(Resumption::Always)),
    },
    Scenario {
        id: "tls-1MiB",
        group: GROUP,
        title: "Bodies of 1 MiB in TLS",
        about: "Answers of 1 MiB over 16 connections that are kept, TLS 1.3 with the client, none with the backend; CPU time per \
                GiB of bodies.",
        peers: PEERS,
        metrics: &[CPU_PER_GIBIBYTE, REQUESTS_PER_SECOND],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, Load::Bytes),
    },
    Scenario {
        id: "tls-upstream",
        group: GROUP,
        title: "TLS with the upstream",
        about: "As http1-13B, in the clear with the client, but TLS 1.3 with the backend, whose certificate has to be verified; upstream \
                connections are kept, so that no handshakes are in the figure.",
        peers: PEERS,
        metrics: &[CPU_PER_REQUEST, REQUESTS_PER_SECOND, BUSY],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| Ok(Box::new(Upstream::begin(setting)?)),
    },
];

/// What is sent.
#[derive(Clone, Copy)]
enum Load {
    /// New connections.
    Handshakes(Resumption),
    /// Large bodies on connections that are kept.
    Bytes,
}

struct Tls {
    load: Load,
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
    client: Client,
}

fn begin(setting: &Setting, load: Load) -> Result<Box<dyn Measure>> {
    host::allow_descriptors(4096)?;
    let body_bytes = if matches!(load, Load::Bytes) { LARGE_BYTES } else { SMALL_BYTES };
    Ok(Box::new(Tls {
        load,
        dir: setting.dir.clone(),
        pace: setting.pace,
        backends: Backends::start(&setting.dir, body_bytes, 4 * CONNECTIONS)?,
        client: Client::new(certificate::write(&setting.dir)?)?,
    }))
}

// === impl Tls ===

impl Measure for Tls {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let started = self.start(peer)?;
        match self.load {
            Load::Handshakes(resumption) => self.connections(&started, resumption),
            Load::Bytes => self.bytes(&started),
        }
    }
}

impl Tls {
    fn connections(&self, peer: &Started, resumption: Resumption) -> Result<Vec<f64>> {
        let load = Handshakes { target: peer.listen, concurrency: CONNECTIONS, resumption };
        self.client.run(load, self.pace.warm_up())?;
        let before = peer.running.cpu_time()?;
        let seconds = Pace::SECONDS;
        let opened = self.client.run(load, Duration::from_secs(seconds.into()))?;
        let cpu = peer.running.cpu_time()?.saturating_sub(before);
        let answered = opened.answered as f64;
        let resumed = 100.0 * opened.resumed as f64 / answered;
        ensure!(
            resumption == Resumption::Never || resumed >= RESUMED_PERCENT_MIN,
            "only {} of {} connections took up a session",
            opened.resumed,
            opened.answered
        );
        Ok(vec![cpu.as_secs_f64() * 1e6 / answered, answered / f64::from(seconds), resumed])
    }

    fn bytes(&self, peer: &Started) -> Result<Vec<f64>> {
        let headers = Traffic::Unkeyed.headers();
        let load = wrk::Load {
            scheme: "https",
            target: peer.listen,
            connections: CONNECTIONS,
            seconds: Pace::SECONDS,
            headers: &headers,
            steering: Steering::Baseline,
        };
        load.warm_up(self.pace.warm_up())?;
        let (seen_before, before) = (self.backends.counts()?, peer.running.cpu_time()?);
        let outcome = load.run()?;
        let cpu = peer.running.cpu_time()?.saturating_sub(before);
        let seen = self.backends.seen_since(seen_before)?;
        seen.requests.ensure_are(outcome.sent, u64::from(CONNECTIONS))?;
        let carried = outcome.requests as f64 * LARGE_BYTES as f64;
        Ok(vec![cpu.as_secs_f64() * 1e3 / (carried / GIBIBYTE), outcome.requests_per_second])
    }

    /// As for HTTP/1.1, but asked in TLS.
    fn start(&self, peer: Peer) -> Result<Started> {
        let job = Job {
            dir: self.dir.clone(),
            protocol: Protocol::Tls,
            tuning: if matches!(self.load, Load::Bytes) { Tuning::Bytes } else { Tuning::Requests },
            baseline: self.backends.baseline,
            fork: self.backends.fork,
            connections: 4 * CONNECTIONS,
            ..Job::on_free_ports()?
        };
        let mut running = peer::spawn(peer, &job)?;
        let deadline = Instant::now() + START_TIMEOUT;
        for traffic in [Traffic::Unkeyed, Traffic::Keyed] {
            let expected = self.backends.expected_body(traffic);
            loop {
                running.check_alive()?;
                match self.client.ask(job.listen, traffic) {
                    Ok(body) if body == expected.as_bytes() => break,
                    _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                    Ok(_) => anyhow::bail!("{} traffic is answered by the wrong backend", traffic.label()),
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("not ready; its log ends:\n{}", running.log_tail()));
                    }
                }
            }
        }
        Ok(Started { running, listen: job.listen })
    }
}
