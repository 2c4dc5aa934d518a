//! What a request costs on HTTP/2 with many at once on each connection, and what a GiB of large bodies does.
//!
//! A request is a POST that the backend echoes: the bodies are as large both ways.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hyper::http::Method;
use tokio::runtime::Runtime;

use self::client::{Connection, Question};
use self::echo::{Counts, STATUS_PATH};
use self::h2load::Load;
use crate::host::{self, LOAD_CORE, free_addresses};
use crate::http1::{BUSY, CPU_PER_GIBIBYTE, CPU_PER_REQUEST, REQUESTS_PER_SECOND, ensure_reuse};
use crate::peer::{self, Peer};
use crate::process::Running;
use crate::scenario::{Measure, Pace, Rounds, Scenario, Setting};
use crate::work::{Job, Protocol, START_TIMEOUT, Traffic, Tuning};

pub(crate) mod client;
pub(crate) mod echo;
mod h2load;
pub(crate) mod relay;

const GROUP: &str = "HTTP/2 and gRPC";
const CONNECTIONS: u32 = 8;
/// From here on the bytes are the work, not the requests.
const LARGE_BYTES: usize = 64 * 1024;
const GIBIBYTE: f64 = (1024 * 1024 * 1024) as f64;

const PEERS: &[Peer] =
    &[Peer::Floor, Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora, Peer::Hyper];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "http2-64B",
        group: GROUP,
        title: "HTTP/2, 8 connections with 16 streams each",
        about: "POST of 64 bytes that the backend sends back, without TLS on both sides. nginx speaks HTTP/2 to upstreams only \
                through its module for gRPC, which has one request at a time on a connection.",
        peers: PEERS,
        metrics: &[CPU_PER_REQUEST, REQUESTS_PER_SECOND, BUSY],
        rounds: Rounds { quick: 1, full: 5 },
        begin: |setting| begin(setting, Shape { call: Call::Plain, body_bytes: 64, streams: 16 }),
    },
    Scenario {
        id: "grpc-unary",
        group: GROUP,
        title: "gRPC unary calls, 8 connections with 16 streams each",
        about: "One message of 59 bytes each way, te: trailers, the status in trailers.",
        peers: PEERS,
        metrics: &[CPU_PER_REQUEST, REQUESTS_PER_SECOND, BUSY],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, Shape { call: Call::Grpc, body_bytes: 64, streams: 16 }),
    },
    Scenario {
        id: "http2-1MiB",
        group: GROUP,
        title: "HTTP/2, bodies of 1 MiB both ways",
        about: "POST of 1 MiB that the backend sends back, 8 connections with two streams each; CPU time per GiB, both ways \
                counted.",
        peers: PEERS,
        metrics: &[CPU_PER_GIBIBYTE, REQUESTS_PER_SECOND, BUSY],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, Shape { call: Call::Plain, body_bytes: 1024 * 1024, streams: 2 }),
    },
];

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

/// What is asked for.
#[derive(Clone, Copy)]
struct Shape {
    call: Call,
    body_bytes: usize,
    /// Requests at once on each connection.
    streams: u32,
}

struct Http2 {
    shape: Shape,
    dir: PathBuf,
    pace: Pace,
    runtime: Runtime,
    backends: Backends,
    headers: Vec<(&'static str, String)>,
    body: PathBuf,
}

fn begin(setting: &Setting, shape: Shape) -> Result<Box<dyn Measure>> {
    host::allow_descriptors(2048)?;
    let runtime = host::runtime()?;
    let backends = Backends::start(&setting.dir, &runtime)?;
    let body = setting.dir.join("body");
    fs::write(&body, shape.call.body(shape.body_bytes))?;
    Ok(Box::new(Http2 {
        shape,
        dir: setting.dir.clone(),
        pace: setting.pace,
        runtime,
        backends,
        headers: shape.call.headers(Traffic::Unkeyed),
        body,
    }))
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
    let job = Job { dir: dir.to_owned(), connections, ..Job::on_free_ports()? };
    start_with(peer, runtime, backends, job)
}

/// The same for a job that says more than its directory and its connections. Protocol and backends are put into it.
pub(crate) fn start_with(peer: Peer, runtime: &Runtime, backends: &Backends, job: Job) -> Result<Started> {
    let job = Job { protocol: Protocol::Http2, baseline: backends.baseline, fork: backends.fork, ..job };
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
    pub(crate) fn headers(self, traffic: Traffic) -> Vec<(&'static str, String)> {
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

// === impl Http2 ===

impl Measure for Http2 {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let Shape { call, streams, body_bytes } = self.shape;
        let at_once = CONNECTIONS * streams;
        let is_large = body_bytes >= LARGE_BYTES;
        let job = Job {
            dir: self.dir.clone(),
            connections: at_once,
            tuning: if is_large { Tuning::Bytes } else { Tuning::Requests },
            ..Job::on_free_ports()?
        };
        let started = start_with(peer, &self.runtime, &self.backends, job)?;
        let is_headline = !is_large && call == Call::Plain;
        let load = Load {
            target: started.listen,
            connections: CONNECTIONS,
            streams,
            seconds: if is_headline { self.pace.long_seconds() } else { Pace::SECONDS },
            headers: &self.headers,
            body: &self.body,
        };
        load.warm_up(self.pace.warm_up())?;
        let before = self.runtime.block_on(self.backends.counts())?;
        let (cpu_before, time_before) = (started.running.cpu_time()?, Instant::now());
        let outcome = load.run()?;
        let (cpu, time) = (started.running.cpu_time()?.saturating_sub(cpu_before), time_before.elapsed());
        let after = self.runtime.block_on(self.backends.counts())?;
        let steered = after.fork_requests - before.fork_requests;
        ensure!(steered == 0, "{steered} requests without a key came to the fork");
        ensure_reuse(after.connections - before.connections, u64::from(at_once), outcome.requests)?;
        let cpu = cpu.as_secs_f64();
        // As much as came back had been sent before; a body that was under way at the end counts with what had come.
        let carried = 2.0 * (outcome.body_bytes.max(body_bytes as u64)) as f64;
        Ok(vec![
            if is_large { cpu * 1e3 / (carried / GIBIBYTE) } else { cpu * 1e6 / outcome.requests as f64 },
            outcome.requests_per_second,
            100.0 * cpu / time.as_secs_f64(),
        ])
    }
}
