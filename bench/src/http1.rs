//! CPU time per HTTP/1.1 keep-alive request.
//!
//! Each round measures every peer once, in an order of its own, each time in a fresh process: drift of the machine
//! and the luck of one process's memory layout spread over all peers. CPU time is compared, not throughput: on a
//! shared machine the time a process was not running says nothing about the process.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cli::Http1Options;
use crate::host::{self, Versions};
use crate::peer::{self, Peer};
use crate::report::{Http1Report, PeerFigures};
use crate::work::Backends;
use crate::wrk::Load;

const WARM_UP_SECONDS: u32 = 1;

/// One measurement of one peer.
struct Sample {
    cpu_micros_per_request: f64,
    requests_per_second: f64,
    /// Share of the measured time the peer was on its core.
    busy_share: f64,
}

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &Http1Options) -> Result<()> {
    host::check(&options.peers)?;
    host::allow_descriptors(u64::from(options.connections) * 2 + 512)?;
    let dir = host::scratch_dir()?;
    let backends = Backends::start(dir.path(), options.body_bytes, options.connections)?;
    let mut samples: Vec<(Peer, Vec<Sample>)> =
        options.peers.iter().map(|peer| (*peer, Vec::new())).collect();
    for round in 0..options.rounds {
        let mut order: Vec<&mut (Peer, Vec<Sample>)> = samples.iter_mut().collect();
        // The same orders in every run: a surprising figure can be looked at again.
        fastrand::Rng::with_seed(u64::from(round)).shuffle(&mut order);
        for (peer, samples) in order {
            let sample = measure(*peer, dir.path(), &backends, options)
                .with_context(|| format!("round {}, {}", round + 1, peer.name()))?;
            eprintln!("round {} {:<11}{:>7.2} µs", round + 1, peer.name(), sample.cpu_micros_per_request);
            samples.push(sample);
        }
    }
    let report = Http1Report {
        versions: Versions::read(),
        traffic: options.traffic.label(),
        rounds: options.rounds,
        seconds: options.seconds,
        connections: options.connections,
        body_bytes: options.body_bytes,
        peers: samples.iter().map(|(peer, samples)| figures(*peer, samples)).collect(),
    };
    report.print()?;
    match &options.save {
        Some(dir) => report.save(dir),
        None => Ok(()),
    }
}

fn measure(peer: Peer, dir: &Path, backends: &Backends, options: &Http1Options) -> Result<Sample> {
    let started = peer::start(peer, dir, backends, options.connections)?;
    let headers = options.traffic.headers();
    let load = Load {
        scheme: "http",
        target: started.listen,
        connections: options.connections,
        seconds: WARM_UP_SECONDS,
        headers: &headers,
    };
    load.run()?;
    let accepted_before = backends.connections_accepted()?;
    let (cpu_before, time_before) = (started.running.cpu_time()?, Instant::now());
    let outcome = Load { seconds: options.seconds, ..load }.run()?;
    let (cpu, time) = (started.running.cpu_time()?.saturating_sub(cpu_before), time_before.elapsed());
    let opened = backends.connections_accepted()?.saturating_sub(accepted_before);
    let opened_max = 2 * u64::from(options.connections) + outcome.requests / 100;
    ensure!(
        opened <= opened_max,
        "{opened} upstream connections for {} requests: it does not reuse them, so the work is not the same",
        outcome.requests
    );
    Ok(Sample {
        cpu_micros_per_request: micros(cpu) / outcome.requests as f64,
        requests_per_second: outcome.requests_per_second,
        busy_share: micros(cpu) / micros(time),
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn figures(peer: Peer, samples: &[Sample]) -> PeerFigures {
    PeerFigures {
        name: peer.name(),
        cpu_micros_per_request: samples.iter().map(|sample| sample.cpu_micros_per_request).collect(),
        cpu_millis_per_gibibyte: Vec::new(),
        requests_per_second: samples.iter().map(|sample| sample.requests_per_second).collect(),
        busy_share: samples.iter().map(|sample| sample.busy_share).collect(),
    }
}
