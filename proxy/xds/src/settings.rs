//! What a client is told at its start.

use std::{path::PathBuf, time::Duration};

use spurline_route::Workload;

use crate::ResourceType;

/// Everything about one client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Tried in turn; at least one.
    pub servers: Vec<Server>,
    /// Files for [`Server::Https`], read anew for each connection.
    pub tls: Tls,
    /// Who this proxy says it is.
    pub node: Node,
    /// What it wants to know.
    pub scope: Scope,
    /// Where what was received is kept; `None`: nowhere.
    pub snapshot: Option<PathBuf>,
    /// A snapshot older than this is ignored. Its age counts from about the last contact, and not from the last change.
    pub snapshot_age_max: Duration,
    /// How long readiness waits for a first complete answer; `None`: until it comes.
    pub ready_timeout: Option<Duration>,
}

/// How long a server is waited for. Not for operators to set: what follows from it is documented with these values.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long the first response of a stream may take.
    pub silence_max: Duration,
    /// How often a server is asked whether it is still there.
    pub ping_interval: Duration,
    /// How long it may take to say so.
    pub ping_timeout: Duration,
    /// How long a connected server may leave a type unanswered before what it has not named counts as not existing.
    pub exists_timeout: Duration,
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Without TLS, at `HOST:PORT`.
    Http(String),
    /// With TLS, at `HOST:PORT`; the certificate must be for this host.
    Https(String),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// PEM files for TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Authorities that may have signed the server's certificate. Without it no server is trusted.
    pub ca_file: Option<PathBuf>,
    /// What this proxy shows of itself.
    pub identity: Option<Identity>,
}

/// A certificate with its chain, and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM.
    pub cert_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
}

/// Who a proxy says it is. The server shows it to operators.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Unique among the proxies of a control service, by convention.
    pub id: String,
    /// What the proxy stands beside.
    pub cluster: String,
    /// The version of the program.
    pub version: String,
}

/// What a proxy wants to know. Sorted and without repetition, so that equal scopes compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    forked: Vec<Workload>,
    baselines: Vec<Workload>,
}

// === impl Timing ===

impl Default for Timing {
    fn default() -> Self {
        Self {
            silence_max: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
            exists_timeout: Duration::from_secs(15),
        }
    }
}

// === impl Server ===

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Https(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Scope ===

impl Scope {
    /// All overrides of the workloads `forked`, and the baseline endpoints of `baselines`; what keys stand for is always
    /// wanted.
    #[must_use]
    pub fn new(
        forked: impl IntoIterator<Item = Workload>,
        baselines: impl IntoIterator<Item = Workload>,
    ) -> Self {
        Self { forked: sorted(forked), baselines: sorted(baselines) }
    }

    /// The names of a type that are subscribed to; empty: the type is not.
    #[must_use]
    pub fn names(&self, ty: ResourceType) -> Vec<String> {
        match ty {
            ResourceType::KeyOwner => vec!["*".to_owned()],
            ResourceType::Baseline => self.baselines.iter().map(ToString::to_string).collect(),
            ResourceType::Override => self.forked.iter().map(|workload| format!("{workload}/*")).collect(),
        }
    }

    /// Whether overrides of the workload are wanted.
    #[must_use]
    pub fn forks(&self, workload: &Workload) -> bool {
        self.forked.binary_search(workload).is_ok()
    }

    /// Whether baseline endpoints of the workload are wanted.
    #[must_use]
    pub fn has_baseline(&self, workload: &Workload) -> bool {
        self.baselines.binary_search(workload).is_ok()
    }
}

fn sorted(workloads: impl IntoIterator<Item = Workload>) -> Vec<Workload> {
    let mut workloads: Vec<_> = workloads.into_iter().collect();
    workloads.sort_unstable();
    workloads.dedup();
    workloads
}
