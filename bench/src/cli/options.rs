//! What the command line can ask for.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::attacks::script::Attack;
use crate::attacks::sink::Appetite;
use crate::peer::Peer;
use crate::scenario::Pace;

/// What this process was asked to do.
pub(crate) enum Task {
    Run(RunOptions),
    List,
    /// The page of a record once more, beside it.
    Report(PathBuf),
    Attacks(AttacksOptions),
    ControlLoad(ControlLoadOptions),
    /// The measured floor; started by the other tasks as a process of its own so that it can be pinned.
    Relay {
        listen: SocketAddr,
        upstream: SocketAddr,
    },
    /// The relay on hyper; started like the floor.
    HyperRelay {
        listen: SocketAddr,
        baseline: SocketAddr,
        fork: SocketAddr,
    },
    /// What attacks; started like the floor.
    Attacker {
        attack: String,
        target: SocketAddr,
        connections: u32,
        seconds: u32,
    },
    /// What is attacked in place of a proxy; started like the floor.
    Sink {
        listen: SocketAddr,
        appetite: Appetite,
    },
    /// The backends that speak HTTP/2; started like the floor.
    Echo {
        baseline: SocketAddr,
        fork: SocketAddr,
    },
}

/// Scenarios, measured.
pub(crate) struct RunOptions {
    /// Ids or beginnings of ids; empty for all.
    pub(crate) scenarios: Vec<String>,
    pub(crate) pace: Pace,
    /// In place of what each scenario says.
    pub(crate) rounds: Option<u32>,
    /// Those that take part; `None` for all that can do the work.
    pub(crate) peers: Option<Vec<Peer>>,
    /// Where record and page go.
    pub(crate) save: PathBuf,
}

/// Attacks on HTTP/2 beside a victim.
pub(crate) struct AttacksOptions {
    pub(crate) peer: Peer,
    /// Ids or names; empty for all.
    pub(crate) attacks: Vec<String>,
    /// Numbers of connections to attack from, one run each.
    pub(crate) connections: Vec<u32>,
    pub(crate) seconds: u32,
    /// The victim's requests per second.
    pub(crate) rate: u32,
    pub(crate) control: Control,
    pub(crate) save: Option<PathBuf>,
}

/// Whether each attack is measured a second time, on a sink beside the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Sink,
    None,
}

impl AttacksOptions {
    /// Whether `attack` was asked for.
    pub(crate) fn wants(&self, attack: &Attack) -> bool {
        self.attacks.is_empty() || self.attacks.iter().any(|name| name == attack.id || name == attack.name)
    }
}

/// Very many sandboxes, and a proxy that needs one override of each.
pub(crate) struct ControlLoadOptions {
    pub(crate) sandboxes: u32,
    /// Forks in each sandbox.
    pub(crate) workloads: u32,
    /// Changes whose time to the swap is measured one by one.
    pub(crate) changes: u32,
    /// Requests per second.
    pub(crate) rate: u32,
    /// Length of a phase in a round.
    pub(crate) seconds: u32,
    pub(crate) rounds: u32,
    pub(crate) save: Option<PathBuf>,
}
