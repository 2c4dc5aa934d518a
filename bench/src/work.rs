//! The work every peer is given: the same requests, the same two backends, the same routing decision.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host::{LOAD_CORE, free_addresses};
use crate::peer::nginx;
use crate::probe;
use crate::process::Running;

/// The routing key that selects the fork; in a table of many it is the last.
pub(crate) const ROUTING_KEY: &str = "bench9999999";

/// What is asked for.
pub(crate) const PATH: &str = "/cart/items?page=2";

pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Which requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Traffic {
    /// A baggage header with somebody else's member only: goes to the baseline. Most traffic is this.
    Unkeyed,
    /// The same and the routing key: goes to the fork.
    Keyed,
}

impl Traffic {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unkeyed => "unkeyed",
            Self::Keyed => "keyed",
        }
    }

    /// What an ordinary service-to-service call carries, besides `Host`.
    pub(crate) fn headers(self) -> Vec<(&'static str, String)> {
        let baggage = match self {
            Self::Unkeyed => "tenant=acme".to_owned(),
            Self::Keyed => format!("tenant=acme,sd-routing-key={ROUTING_KEY}"),
        };
        vec![
            ("user-agent", "shop-frontend/1.4".to_owned()),
            ("accept", "application/json".to_owned()),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            ("baggage", baggage),
        ]
    }
}

/// Both backends: one nginx worker on the load core, two ports, bodies of the same length that tell who answered.
pub(crate) struct Backends {
    _running: Running,
    pub(crate) baseline: SocketAddr,
    pub(crate) fork: SocketAddr,
    pub(crate) body_bytes: usize,
}

impl Backends {
    /// Starts them and waits until they answer.
    pub(crate) fn start(dir: &Path, body_bytes: usize, connections: u32) -> Result<Self> {
        let [baseline, fork] = free_addresses()?;
        let bodies = [Traffic::Unkeyed, Traffic::Keyed].map(|traffic| body(traffic, body_bytes));
        let command = nginx::backend(dir, [(baseline, &bodies[0]), (fork, &bodies[1])], connections)?;
        let mut running = Running::start("backend", LOAD_CORE, &command, dir)?;
        for (target, traffic) in [(baseline, Traffic::Unkeyed), (fork, Traffic::Keyed)] {
            await_answer(&mut running, target, traffic, body(traffic, body_bytes).as_bytes())?;
        }
        Ok(Self { _running: running, baseline, fork, body_bytes })
    }

    /// Connections both backends have accepted so far, this call's own included.
    pub(crate) fn connections_accepted(&self) -> Result<u64> {
        let mut stream = probe::connect(self.baseline)?;
        let status = String::from_utf8(probe::exchange(&mut stream, nginx::STATUS_PATH, &[])?)?;
        // Third line: "<accepted> <handled> <requests>", counted over all servers of the process.
        let counts = status.lines().nth(2).and_then(|line| line.split_ascii_whitespace().next());
        counts.context("nginx has no stub_status")?.parse().context("stub_status has an unknown form")
    }

    /// The body with which `traffic` is answered when it was routed rightly.
    pub(crate) fn expected_body(&self, traffic: Traffic) -> String {
        body(traffic, self.body_bytes)
    }
}

/// What is spoken on both sides of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS, by prior knowledge.
    Http2,
    /// HTTP/1.1 in TLS with the client, HTTP/1.1 with the upstream.
    Tls,
    /// HTTP/1.1 whose connections may become WebSockets.
    WebSocket,
    /// Bytes that nobody reads: there is no key, and everything goes to the baseline.
    Tcp,
}

/// For what a peer is set up, where its documentation has settings for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tuning {
    /// Many requests, from anybody.
    Requests,
    /// Large bodies and messages: what is counted is the cost of a GiB.
    Bytes,
}

/// What a peer needs to know to be configured.
pub(crate) struct Job {
    /// Where its files go; with [`Protocol::Tls`] the certificate is there.
    pub(crate) dir: PathBuf,
    pub(crate) protocol: Protocol,
    pub(crate) tuning: Tuning,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) baseline: SocketAddr,
    pub(crate) fork: SocketAddr,
    /// The most downstream connections at once.
    pub(crate) connections: u32,
    /// Keys to decide among, [`ROUTING_KEY`] the last of them. `None`: as many as the peer usually has.
    pub(crate) overrides: Option<u32>,
}

impl Job {
    /// A job with addresses of its own and everything else still to be said.
    pub(crate) fn on_free_ports() -> Result<Self> {
        let [listen, admin] = free_addresses()?;
        Ok(Self {
            dir: PathBuf::new(),
            protocol: Protocol::Http1,
            tuning: Tuning::Requests,
            listen,
            admin,
            baseline: listen,
            fork: listen,
            connections: 0,
            overrides: None,
        })
    }
}

/// `count` routing keys in the order of the table; the last is [`ROUTING_KEY`].
pub(crate) fn keys(count: u32) -> impl Iterator<Item = String> {
    (1..count).map(|n| format!("bench{n:07}")).chain([ROUTING_KEY.to_owned()])
}

/// Waits until `target` answers `traffic` with exactly `expected`.
pub(crate) fn await_answer(
    running: &mut Running,
    target: SocketAddr,
    traffic: Traffic,
    expected: &[u8],
) -> Result<()> {
    await_answer_until(Instant::now() + START_TIMEOUT, running, target, (traffic, expected))
}

/// The same with another end to the patience.
pub(crate) fn await_answer_until(
    deadline: Instant,
    running: &mut Running,
    target: SocketAddr,
    (traffic, expected): (Traffic, &[u8]),
) -> Result<()> {
    loop {
        running.check_alive()?;
        let answer = probe::connect(target)
            .and_then(|mut stream| probe::exchange(&mut stream, PATH, &traffic.headers()));
        match answer {
            Ok(body) if body == expected => return Ok(()),
            _ if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
            Ok(_) => bail!("{} traffic is answered by the wrong backend", traffic.label()),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("not ready; its log ends:\n{}", running.log_tail()));
            }
        }
    }
}

fn body(traffic: Traffic, bytes: usize) -> String {
    match traffic {
        Traffic::Unkeyed => "b".repeat(bytes),
        Traffic::Keyed => "f".repeat(bytes),
    }
}
