//! The proxies that are measured, each at its documented production settings for this work, with one worker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::{PROXY_CORE, free_addresses};
use crate::process::Running;
use crate::work::{Backends, Job, Traffic, await_answer};

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
}

impl Peer {
    const ALL: [Self; 5] = [Self::Floor, Self::Spurline, Self::SpurlineOne, Self::Haproxy, Self::Nginx];

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Spurline => "spurline",
            Self::SpurlineOne => "spurline-1",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
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
            Self::Floor | Self::Spurline | Self::SpurlineOne => None,
            Self::Haproxy => Some("haproxy"),
            Self::Nginx => Some("nginx"),
        }
    }

    fn routes(self) -> bool {
        self != Self::Floor
    }

    fn command(self, job: &Job) -> Result<Command> {
        match self {
            Self::Floor => relay(job),
            Self::Spurline => spurline::command(job, MANY_OVERRIDES),
            Self::SpurlineOne => spurline::command(job, 1),
            Self::Haproxy => haproxy::command(job),
            Self::Nginx => nginx::proxy(job),
        }
    }
}

/// A peer that runs and has proven that it routes.
pub(crate) struct Started {
    pub(crate) running: Running,
    pub(crate) listen: SocketAddr,
}

/// Starts `peer` on the proxy core. It is ready when unkeyed requests are answered by the baseline and keyed
/// requests by the fork: a proxy that skips the decision would win unfairly.
pub(crate) fn start(peer: Peer, dir: &Path, backends: &Backends, connections: u32) -> Result<Started> {
    let [listen, admin] = free_addresses()?;
    let (baseline, fork) = (backends.baseline, backends.fork);
    let job = Job { dir: dir.to_owned(), listen, admin, baseline, fork, connections };
    let command = peer.command(&job)?;
    let mut running = Running::start(peer.name(), PROXY_CORE, &command, dir)?;
    for traffic in [Traffic::Unkeyed, Traffic::Keyed] {
        let answered_by = if peer.routes() { traffic } else { Traffic::Unkeyed };
        let expected = backends.expected_body(answered_by);
        await_answer(&mut running, listen, traffic, expected.as_bytes())
            .with_context(|| format!("{} does not do the work", peer.name()))?;
    }
    Ok(Started { running, listen })
}

fn relay(job: &Job) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["relay", "--listen", &job.listen.to_string(), "--upstream", &job.baseline.to_string()]);
    Ok(command)
}
