//! What a peer costs that carries bytes it does not understand: WebSockets after their upgrade, and TCP that is not HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use self::websocket::Socket;
use crate::closed_loop;
use crate::echoes::{self, LARGE_METRICS, SMALL_METRICS, Shape};
use crate::host;
use crate::peer::{self, Peer};
use crate::process::Running;
use crate::scenario::{Measure, Pace, Rounds, Scenario, Setting};
use crate::work::{Job, Protocol, START_TIMEOUT, Traffic};

mod opaque;
mod websocket;

const GROUP: &str = "Tunnels";

const WEBSOCKET_PEERS: &[Peer] =
    &[Peer::Floor, Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora];
const TCP_PEERS: &[Peer] = &[Peer::Floor, Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "websocket-64B",
        group: GROUP,
        title: "WebSocket, messages of 64 B",
        about: "64 WebSockets (RFC 6455), each with one message under way: 64 bytes to the backend and back.",
        peers: WEBSOCKET_PEERS,
        metrics: SMALL_METRICS,
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| Ok(Box::new(Tunnels::begin(setting, Kind::WebSocket, Shape::SMALL)?)),
    },
    Scenario {
        id: "websocket-16KiB",
        group: GROUP,
        title: "WebSocket, messages of 16 KiB",
        about: "16 WebSockets, each with four messages of 16 KiB under way to the backend and back.",
        peers: WEBSOCKET_PEERS,
        metrics: LARGE_METRICS,
        rounds: Rounds { quick: 0, full: 2 },
        begin: |setting| Ok(Box::new(Tunnels::begin(setting, Kind::WebSocket, Shape::LARGE)?)),
    },
    Scenario {
        id: "tcp-64B",
        group: GROUP,
        title: "Opaque TCP, messages of 64 B",
        about: "64 connections of a protocol that is not HTTP, each with one message under way: 64 bytes to the backend and back. \
                Nobody reads them: Spurline has the listener declared as TCP, the others use their TCP proxies.",
        peers: TCP_PEERS,
        metrics: SMALL_METRICS,
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| Ok(Box::new(Tunnels::begin(setting, Kind::Opaque, Shape::SMALL)?)),
    },
    Scenario {
        id: "tcp-16KiB",
        group: GROUP,
        title: "Opaque TCP, messages of 16 KiB",
        about: "16 such connections, each with four messages of 16 KiB under way to the backend and back.",
        peers: TCP_PEERS,
        metrics: LARGE_METRICS,
        rounds: Rounds { quick: 0, full: 2 },
        begin: |setting| Ok(Box::new(Tunnels::begin(setting, Kind::Opaque, Shape::LARGE)?)),
    },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    WebSocket,
    Opaque,
}

/// Tunnels of one kind and shape through one peer after the other.
struct Tunnels {
    kind: Kind,
    shape: Shape,
    dir: PathBuf,
    pace: Pace,
    /// Of the probes.
    runtime: Runtime,
    backends: Backends,
}

/// Both backends, on a thread of this process, until they are dropped.
struct Backends {
    _runtime: Runtime,
    baseline: SocketAddr,
    fork: SocketAddr,
}

// === impl Tunnels ===

impl Tunnels {
    fn begin(setting: &Setting, kind: Kind, shape: Shape) -> Result<Self> {
        let Setting { dir, pace } = setting;
        let (runtime, backends) = (host::runtime()?, Backends::start(kind)?);
        Ok(Self { kind, shape, dir: dir.clone(), pace: *pace, runtime, backends })
    }

    /// Starts `peer`. It is ready when a message comes back through it; keyed WebSockets have to reach the fork.
    fn start(&self, peer: Peer, dir: &Path) -> Result<(Running, SocketAddr)> {
        let protocol = match self.kind {
            Kind::WebSocket => Protocol::WebSocket,
            Kind::Opaque => Protocol::Tcp,
        };
        let Backends { baseline, fork, .. } = self.backends;
        let connections = 2 * self.shape.count;
        let dir = dir.to_owned();
        let tuning = self.shape.tuning();
        let job = Job { dir, protocol, tuning, baseline, fork, connections, ..Job::on_free_ports()? };
        let mut running = peer::spawn(peer, &job)?;
        let deadline = Instant::now() + START_TIMEOUT;
        for traffic in [Traffic::Unkeyed, Traffic::Keyed] {
            let keyed_reach_fork = peer.routes() && self.kind == Kind::WebSocket;
            let answered_by = if traffic == Traffic::Keyed && keyed_reach_fork { "fork" } else { "baseline" };
            while let Err(error) = self.probe(job.listen, traffic, answered_by) {
                running.check_alive()?;
                if Instant::now() >= deadline {
                    return Err(error)
                        .with_context(|| format!("not ready; its log ends:\n{}", running.log_tail()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok((running, job.listen))
    }

    /// One message through a tunnel of its own.
    fn probe(&self, target: SocketAddr, traffic: Traffic, answered_by: &str) -> Result<()> {
        let exchange = async {
            match self.kind {
                Kind::WebSocket => echoes::once(&mut Socket::open(target, traffic, answered_by).await?).await,
                Kind::Opaque => echoes::once(&mut opaque::Connection::open(target).await?).await,
            }
        };
        self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(1), exchange).await.context("no echo in time")?
        })
    }
}

impl Measure for Tunnels {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let (running, target) = self.start(peer, &self.dir)?;
        let (kind, shape) = (self.kind, self.shape);
        let cost = closed_loop::measure(&running, self.pace, shape.count, async |meter| match kind {
            Kind::WebSocket => {
                let mut socket = Socket::open(target, Traffic::Unkeyed, "baseline").await?;
                echoes::run(&mut socket, shape, &meter).await
            }
            Kind::Opaque => {
                let mut connection = opaque::Connection::open(target).await?;
                echoes::run(&mut connection, shape, &meter).await
            }
        })?;
        Ok(shape.figures(cost))
    }
}

// === impl Backends ===

impl Backends {
    fn start(kind: Kind) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let [baseline, fork] = host::free_addresses()?;
        for (address, name) in [(baseline, "baseline"), (fork, "fork")] {
            let listener = runtime.block_on(TcpListener::bind(address))?;
            match kind {
                Kind::WebSocket => runtime.spawn(websocket::serve(listener, name)),
                Kind::Opaque => runtime.spawn(opaque::serve(listener)),
            };
        }
        Ok(Self { _runtime: runtime, baseline, fork })
    }
}
