//! The proxies that are measured, each at its documented production settings for this work, with one worker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::host::PROXY_CORE;
use crate::process::Running;
use crate::work::{Backends, Job, Protocol, START_TIMEOUT, Traffic, await_answer_until};

mod envoy;
mod haproxy;
pub(crate) mod nginx;
pub(crate) mod pingora;
mod spurline;

/// Overrides in the route table of the peer `spurline` where nothing else is asked for.
const MANY_OVERRIDES: u32 = 10_000;

/// One column of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The raw TCP relay of this crate. It cannot route: keyed traffic reaches the baseline as well.
    Floor,
    /// Spurline with a table of 10,000 overrides.
    Spurline,
    /// Spurline with a table of one override.
    SpurlineOne,
    Haproxy,
    Nginx,
    /// With one route for each key: what its control planes write by default.
    Envoy,
    /// Envoy with the key taken out of `baggage` once and looked up in a matcher tree.
    EnvoyMatcher,
    /// A relay of `bench/relays` on Pingora.
    Pingora,
    /// A relay of this crate on hyper and its client.
    Hyper,
}

impl Peer {
    const ALL: [Self; 9] = [
        Self::Floor,
        Self::Spurline,
        Self::SpurlineOne,
        Self::Haproxy,
        Self::Nginx,
        Self::Envoy,
        Self::EnvoyMatcher,
        Self::Pingora,
        Self::Hyper,
    ];

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Spurline => "spurline",
            Self::SpurlineOne => "spurline-1",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::EnvoyMatcher => "envoy-matcher",
            Self::Pingora => "pingora",
            Self::Hyper => "hyper",
        }
    }

    /// Reads [`Peer::name`] back.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|peer| peer.name() == name)
            .ok_or_else(|| format!("unknown peer; known: {}", Self::ALL.map(Self::name).join(", ")))
    }

    /// The installed program it needs, unless it is built here.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Self::Haproxy => Some("haproxy"),
            Self::Nginx => Some("nginx"),
            _ => None,
        }
    }

    /// Whether it chooses by the key.
    pub(crate) fn routes(self) -> bool {
        self != Self::Floor
    }

    /// How it is started for `job`; its files are written.
    ///
    /// # Errors
    /// It cannot do this work, is not installed, or its files cannot be written.
    fn command(self, job: &Job) -> Result<Command> {
        let usual = if self == Self::Spurline { MANY_OVERRIDES } else { 1 };
        let keys = if self == Self::SpurlineOne { 1 } else { job.overrides.unwrap_or(usual) };
        match self {
            Self::Floor => ours("relay", job, &[("--upstream", job.baseline)]),
            Self::Spurline | Self::SpurlineOne => spurline::command(job, keys),
            Self::Haproxy => haproxy::command(job, keys),
            Self::Nginx => nginx::proxy(job, keys),
            Self::Envoy => envoy::command(job, envoy::Routes::List(keys)),
            Self::EnvoyMatcher => envoy::command(job, envoy::Routes::Matcher(keys)),
            Self::Pingora => pingora::command(job, keys),
            Self::Hyper => {
                ensure!(
                    matches!(job.protocol, Protocol::Http1 | Protocol::Http2) && keys == 1,
                    "the relay on hyper has one key and speaks HTTP without TLS or upgrades"
                );
                ours("hyper-relay", job, &[("--baseline", job.baseline), ("--fork", job.fork)])
            }
        }
    }
}

/// A peer that runs and has proven that it routes.
pub(crate) struct Started {
    pub(crate) running: Running,
    pub(crate) listen: SocketAddr,
}

/// Starts `peer` on the proxy core for HTTP/1.1. It is ready when unkeyed requests are answered by the baseline and
/// keyed requests by the fork: a proxy that skips the decision would win unfairly.
pub(crate) fn start(peer: Peer, dir: &Path, backends: &Backends, connections: u32) -> Result<Started> {
    start_with(
        peer,
        backends,
        Job { dir: dir.to_owned(), connections, ..Job::on_free_ports()? },
        START_TIMEOUT,
    )
}

/// The same for a job that says more than its directory and its connections, within `patience`. The backends are put into it.
pub(crate) fn start_with(peer: Peer, backends: &Backends, job: Job, patience: Duration) -> Result<Started> {
    let job = Job { baseline: backends.baseline, fork: backends.fork, ..job };
    let mut running = spawn(peer, &job)?;
    let deadline = Instant::now() + patience;
    for traffic in [Traffic::Unkeyed, Traffic::Keyed] {
        let answered_by = if peer.routes() { traffic } else { Traffic::Unkeyed };
        let expected = backends.expected_body(answered_by);
        await_answer_until(deadline, &mut running, job.listen, (traffic, expected.as_bytes()))
            .with_context(|| format!("{} does not do the work", peer.name()))?;
    }
    Ok(Started { running, listen: job.listen })
}

/// Starts `peer` on the proxy core and waits for nothing.
pub(crate) fn spawn(peer: Peer, job: &Job) -> Result<Running> {
    Running::start(peer.name(), PROXY_CORE, &peer.command(job)?, &job.dir)
}

/// One of this program's own peers.
fn ours(subcommand: &str, job: &Job, upstreams: &[(&str, SocketAddr)]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([subcommand, "--listen", &job.listen.to_string()]);
    for (name, address) in upstreams {
        command.args([*name, &address.to_string()]);
    }
    Ok(command)
}
