//! CPU time per HTTP/2 request with many requests at once on each connection, and per GiB of large bodies.
//!
//! The method is that of `http1`. A request is a POST that the backend echoes: the bodies are as large both ways.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hyper::http::Method;
use tokio::runtime::Runtime;

use self::client::{Connection, Question};
use self::echo::{Counts, STATUS_PATH};
use self::h2load::Load;
use self::report::Http2Report;
use crate::cli::Http2Options;
use crate::host::{self, LOAD_CORE, Versions, free_addresses};
use crate::peer::{self, Peer};
use crate::process::Running;
use crate::report::PeerFigures;
use crate::work::{Job, Protocol, START_TIMEOUT, Traffic};

pub(crate) mod client;
pub(crate) mod echo;
mod h2load;
pub(crate) mod relay;
mod report;

const WARM_UP_SECONDS: u32 = 1;
const GIBIBYTE: f64 = (1024 * 1024 * 1024) as f64;

/// What a request is to the peers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    /// Ends with its body.
    Plain,
    /// A unary call: one message each way, a status in trailers.
    Grpc,
}

/// Both backends: one process on the load core.
pub(crate) struct Backends {
    _running: Running,
    pub(crate) baseline: SocketAddr,
    pub(crate) fork: SocketAddr,
}

/// A peer that speaks HTTP/2 and has proven that it routes.
pub(crate) struct Started {
    pub(crate) running: Running,
    pub(crate) listen: SocketAddr,
}

struct Sample {
    cpu_micros_per_request: f64,
    cpu_millis_per_gibibyte: f64,
    requests_per_second: f64,
    /// Share of the measured time the peer was on its core.
    busy_share: f64,
}

/// One run's unchanging parts.
struct Bench<'a> {
    options: &'a Http2Options,
    dir: &'a Path,
    runtime: Runtime,
    backends: Backends,
    headers: Vec<(&'static str, String)>,
    body: PathBuf,
}

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &Http2Options) -> Result<()> {
    host::check_peers(&options.peers, &["h2load"])?;
    let dir = host::scratch_dir()?;
    let bench = Bench::new(options, dir.path())?;
    let mut samples: Vec<(Peer, Vec<Sample>)> =
        options.peers.iter().map(|peer| (*peer, Vec::new())).collect();
    for round in 0..options.rounds {
        let mut order: Vec<&mut (Peer, Vec<Sample>)> = samples.iter_mut().collect();
        // The same orders in every run: a surprising figure can be looked at again.
        fastrand::Rng::with_seed(u64::from(round)).shuffle(&mut order);
        for (peer, samples) in order {
            let sample =
                bench.measure(*peer).with_context(|| format!("round {}, {}", round + 1, peer.name()))?;
            eprintln!("round {} {:<11}{:>9.2} µs", round + 1, peer.name(), sample.cpu_micros_per_request);
            samples.push(sample);
        }
    }
    let report = Http2Report {
        versions: Versions::read(),
        traffic: options.traffic.label(),
        call: options.call.label(),
        rounds: options.rounds,
        seconds: options.seconds,
        connections: options.connections,
        streams: options.streams,
        body_bytes: options.body_bytes,
        peers: samples.iter().map(|(peer, samples)| figures(*peer, samples)).collect(),
    };
    report.print()?;
    match &options.save {
        Some(dir) => report.save(dir),
        None => Ok(()),
    }
}

/// Starts `peer` on the proxy core for HTTP/2. It is ready when unkeyed requests are answered by the baseline and keyed
/// requests by the fork, and the trailers of gRPC come through.
pub(crate) fn start(
    peer: Peer,
    dir: &Path,
    runtime: &Runtime,
    backends: &Backends,
    connections: u32,
) -> Result<Started> {
    let job = Job {
        dir: dir.to_owned(),
        protocol: Protocol::Http2,
        baseline: backends.baseline,
        fork: backends.fork,
        connections,
        ..Job::on_free_ports()?
    };
    let mut running = peer::spawn(peer, &job)?;
    for (traffic, answered_by) in [(Traffic::Unkeyed, "baseline"), (Traffic::Keyed, "fork")] {
        let answered_by = if peer.routes() { answered_by } else { "baseline" };
        await_echo(runtime, &mut running, job.listen, (traffic, answered_by))
            .with_context(|| format!("{} does not do the work", peer.name()))?;
    }
    runtime.block_on(check_grpc(job.listen)).with_context(|| format!("{}: gRPC", peer.name()))?;
    Ok(Started { running, listen: job.listen })
}

fn await_echo(
    runtime: &Runtime,
    running: &mut Running,
    target: SocketAddr,
    (traffic, answered_by): (Traffic, &str),
) -> Result<()> {
    let body = Bytes::from_static(b"who answers?");
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        running.check_alive()?;
        let answered = runtime.block_on(async {
            Connection::open(target).await?.expect_echo(traffic, &body, answered_by).await
        });
        match answered {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("not ready; its log ends:\n{}", running.log_tail()));
            }
        }
    }
}

async fn check_grpc(target: SocketAddr) -> Result<()> {
    let (headers, body) = (Call::Grpc.headers(Traffic::Unkeyed), Bytes::from(Call::Grpc.body(64)));
    let question =
        Question { method: &Method::POST, path: crate::work::PATH, headers: &headers, body: &body };
    let answer = Connection::open(target).await?.ask(question).await?;
    let status = answer.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    ensure!(status.is_some_and(|status| status == "0"), "the status in the trailers is lost");
    ensure!(answer.body == body, "the message came back changed");
    Ok(())
}

// === impl Call ===

impl Call {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Grpc => "grpc",
        }
    }

    fn headers(self, traffic: Traffic) -> Vec<(&'static str, String)> {
        let mut headers = traffic.headers();
        if self == Self::Grpc {
            headers.push(("content-type", "application/grpc+proto".to_owned()));
            headers.push(("te", "trailers".to_owned()));
        }
        headers
    }

    /// A body of `bytes` in all; with gRPC that is one message and its prefix of five bytes.
    fn body(self, bytes: usize) -> Vec<u8> {
        let mut body = vec![b'e'; bytes];
        if self == Self::Grpc {
            let length = u32::try_from(bytes.saturating_sub(5)).unwrap_or(u32::MAX);
            let prefix = [&[0], length.to_be_bytes().as_slice()].concat();
            for (byte, prefix) in body.iter_mut().zip(prefix) {
                *byte = prefix;
            }
        }
        body
    }
}

// === impl Backends ===

impl Backends {
    /// Starts them and waits until they answer.
    pub(crate) fn start(dir: &Path, runtime: &Runtime) -> Result<Self> {
        let [baseline, fork] = free_addresses()?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["echo", "--baseline", &baseline.to_string(), "--fork", &fork.to_string()]);
        let mut running = Running::start("echo", LOAD_CORE, &command, dir)?;
        for (target, name) in [(baseline, "baseline"), (fork, "fork")] {
            await_echo(runtime, &mut running, target, (Traffic::Unkeyed, name))?;
        }
        Ok(Self { _running: running, baseline, fork })
    }

    /// What they have seen so far.
    pub(crate) async fn counts(&self) -> Result<Counts> {
        let nothing = Bytes::new();
        let question = Question { method: &Method::GET, path: STATUS_PATH, headers: &[], body: &nothing };
        let answer = Connection::open(self.baseline).await?.ask(question).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

// === impl Bench ===

impl<'a> Bench<'a> {
    fn new(options: &'a Http2Options, dir: &'a Path) -> Result<Self> {
        if options.call == Call::Grpc && options.body_bytes < 5 {
            bail!("a gRPC message has a prefix of five bytes: --body 5 at least");
        }
        let runtime = host::runtime()?;
        let backends = Backends::start(dir, &runtime)?;
        let body = dir.join("body");
        fs::write(&body, options.call.body(options.body_bytes))?;
        Ok(Self { options, dir, runtime, backends, headers: options.call.headers(options.traffic), body })
    }

    fn measure(&self, peer: Peer) -> Result<Sample> {
        let Http2Options { connections, streams, seconds, body_bytes, .. } = *self.options;
        let started = start(peer, self.dir, &self.runtime, &self.backends, connections * streams)?;
        let load = Load {
            target: started.listen,
            connections,
            streams,
            seconds: WARM_UP_SECONDS,
            headers: &self.headers,
            body: &self.body,
        };
        load.run()?;
        let before = self.runtime.block_on(self.backends.counts())?;
        let (cpu_before, time_before) = (started.running.cpu_time()?, Instant::now());
        let outcome = Load { seconds, ..load }.run()?;
        let (cpu, time) = (started.running.cpu_time()?.saturating_sub(cpu_before), time_before.elapsed());
        let opened = self.runtime.block_on(self.backends.counts())?.connections - before.connections;
        let opened_max = u64::from(2 * connections * streams) + outcome.requests / 100;
        ensure!(
            opened <= opened_max,
            "{opened} upstream connections for {} requests: it does not reuse them, so the work is not the same",
            outcome.requests
        );
        // As much as came back had been sent before; a body that was under way at the end counts with what had come.
        let carried = 2.0 * (outcome.body_bytes.max(body_bytes as u64)) as f64;
        Ok(Sample {
            cpu_micros_per_request: cpu.as_secs_f64() * 1e6 / outcome.requests as f64,
            cpu_millis_per_gibibyte: cpu.as_secs_f64() * 1e3 / (carried / GIBIBYTE),
            requests_per_second: outcome.requests_per_second,
            busy_share: cpu.as_secs_f64() / time.as_secs_f64(),
        })
    }
}

fn figures(peer: Peer, samples: &[Sample]) -> PeerFigures {
    let all = |of: fn(&Sample) -> f64| samples.iter().map(of).collect();
    PeerFigures {
        name: peer.name(),
        cpu_micros_per_request: all(|sample| sample.cpu_micros_per_request),
        cpu_millis_per_gibibyte: all(|sample| sample.cpu_millis_per_gibibyte),
        requests_per_second: all(|sample| sample.requests_per_second),
        busy_share: all(|sample| sample.busy_share),
    }
}
