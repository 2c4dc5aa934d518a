//! The proxies that are measured, each at its documented production settings for this work, with one worker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::PROXY_CORE;
use crate::process::Running;
use crate::work::{Backends, Job, Protocol, Traffic, await_answer};

mod envoy;
mod haproxy;
pub(crate) mod nginx;
mod spurline;

/// Overrides in the route table of the peer `spurline`.
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
    Envoy,
    /// A relay on hyper and its client of this crate, HTTP/2 only.
    Hyper,
}

impl Peer {
    const ALL: [Self; 7] = [
        Self::Floor,
        Self::Spurline,
        Self::SpurlineOne,
        Self::Haproxy,
        Self::Nginx,
        Self::Envoy,
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
            Self::Floor | Self::Spurline | Self::SpurlineOne | Self::Envoy | Self::Hyper => None,
            Self::Haproxy => Some("haproxy"),
            Self::Nginx => Some("nginx"),
        }
    }

    /// Whether it chooses by the key.
    pub(crate) fn routes(self) -> bool {
        self != Self::Floor
    }

    fn command(self, job: &Job) -> Result<Command> {
        match self {
            Self::Floor => ours("relay", job, &[("--upstream", job.baseline)]),
            Self::Spurline => spurline::command(job, MANY_OVERRIDES),
            Self::SpurlineOne => spurline::command(job, 1),
            Self::Haproxy => haproxy::command(job),
            Self::Nginx => nginx::proxy(job),
            Self::Envoy => envoy::command(job),
            Self::Hyper => {
                ensure!(job.protocol == Protocol::Http2, "the hyper relay speaks HTTP/2 only");
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
    let job = Job {
        dir: dir.to_owned(),
        protocol: Protocol::Http1,
        baseline: backends.baseline,
        fork: backends.fork,
        connections,
        ..Job::on_free_ports()?
    };
    let mut running = spawn(peer, &job)?;
    for traffic in [Traffic::Unkeyed, Traffic::Keyed] {
        let answered_by = if peer.routes() { traffic } else { Traffic::Unkeyed };
        let expected = backends.expected_body(answered_by);
        await_answer(&mut running, job.listen, traffic, expected.as_bytes())
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
