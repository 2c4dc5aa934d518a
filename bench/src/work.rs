//! The work every peer is given: the same requests, the same two backends, the same routing decision.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host::{LOAD_CORE, free_addresses};
use crate::peer::nginx;
use crate::probe;
use crate::process::Running;
use crate::steering::{Requests, Steering};

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

    /// Where all of it belongs.
    pub(crate) fn steering(self) -> Steering<'static> {
        match self {
            Self::Unkeyed => Steering::Baseline,
            Self::Keyed => Steering::Fork,
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

/// In what a backend answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Clear,
    Tls,
}

/// Both backends: an nginx with one worker each on the load core, bodies of the same length that tell who answered.
pub(crate) struct Backends {
    _running: [Running; 2],
    /// Where each counts.
    status: [SocketAddr; 2],
    pub(crate) baseline: SocketAddr,
    pub(crate) fork: SocketAddr,
    pub(crate) body_bytes: usize,
}

impl Backends {
    /// Starts them and waits until they answer.
    pub(crate) fn start(dir: &Path, body_bytes: usize, connections: u32) -> Result<Self> {
        Self::start_speaking(Speech::Clear, dir, body_bytes, connections)
    }

    /// The same in TLS, with the certificate that is in `dir`.
    pub(crate) fn start_in_tls(dir: &Path, body_bytes: usize, connections: u32) -> Result<Self> {
        Self::start_speaking(Speech::Tls, dir, body_bytes, connections)
    }

    fn start_speaking(speech: Speech, dir: &Path, body_bytes: usize, connections: u32) -> Result<Self> {
        let [baseline, fork, baseline_status, fork_status] = free_addresses()?;
        let start = |name: &str, traffic, listen, status| {
            let server = nginx::Server { name, speech, listen, status, body: &body(traffic, body_bytes) };
            let command = nginx::backend(dir, &server, connections)?;
            let mut running = Running::start(name, LOAD_CORE, &command, dir)?;
            let expected = body(traffic, body_bytes);
            await_answer(&mut running, status, traffic, expected.as_bytes())?;
            anyhow::Ok(running)
        };
        let running = [
            start("baseline", Traffic::Unkeyed, baseline, baseline_status)?,
            start("fork", Traffic::Keyed, fork, fork_status)?,
        ];
        Ok(Self { _running: running, status: [baseline_status, fork_status], baseline, fork, body_bytes })
    }

    /// What they have seen so far.
    pub(crate) fn counts(&self) -> Result<Counts> {
        let [baseline, fork] = self.status.map(status);
        let ((baseline_connections, baseline), (fork_connections, fork)) = (baseline?, fork?);
        let connections = baseline_connections + fork_connections;
        Ok(Counts { connections, requests: Requests { baseline, fork } })
    }

    /// What they have seen since `before`, without who asks.
    pub(crate) fn seen_since(&self, before: Counts) -> Result<Counts> {
        let now = self.counts()?;
        let mut requests = now.requests.since(before.requests);
        for own in [&mut requests.baseline, &mut requests.fork] {
            *own = own.saturating_sub(1);
        }
        let connections = now.connections.saturating_sub(before.connections + self.status.len() as u64);
        Ok(Counts { connections, requests })
    }

    /// The body with which `traffic` is answered when it was routed rightly.
    pub(crate) fn expected_body(&self, traffic: Traffic) -> String {
        body(traffic, self.body_bytes)
    }
}

/// What both backends have seen, what asked for it included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    pub(crate) requests: Requests,
}

/// Connections and requests of the backend that counts at `target`.
fn status(target: SocketAddr) -> Result<(u64, u64)> {
    let mut stream = probe::connect(target)?;
    let status = String::from_utf8(probe::exchange(&mut stream, nginx::STATUS_PATH, &[])?)?;
    // Third line: "<accepted> <handled> <requests>", counted over all servers of the process.
    let counts: Vec<u64> = status
        .lines()
        .nth(2)
        .into_iter()
        .flat_map(|line| line.split_ascii_whitespace().filter_map(|count| count.parse().ok()))
        .collect();
    let [accepted, _, requests] = counts[..] else { bail!("stub_status has an unknown form") };
    Ok((accepted, requests))
}

/// What is spoken on both sides of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS, by prior knowledge.
    Http2,
    /// HTTP/1.1 in TLS with the client, HTTP/1.1 with the upstream.
    Tls,
    /// HTTP/1.1 with the client, HTTP/1.1 in TLS with the upstream.
    TlsToUpstream,
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
