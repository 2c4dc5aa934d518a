//! How soon a proxy steers that starts from its snapshot while the control service is away, and how soon that service itself is there.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::document;
use super::proxy::{Proxy, Stand};
use super::service::Service;
use crate::host::{LOAD_CORE, PROXY_CORE, free_addresses};
use crate::memory::stable_memory;
use crate::peer::Peer;
use crate::scenario::{Better, Measure, Metric, Rounds, Scenario, Setting};
use crate::start::{BYTES_PER_OVERRIDE, GROUP, await_fork, millis};
use crate::work::{Backends, ROUTING_KEY, keys};

const SANDBOXES: u32 = 10_000;
/// The folder they are in.
const FILES: &str = "sandboxes";
const CONNECTIONS: u32 = 64;
const BODY_BYTES: usize = 13;
const PATIENCE: Duration = Duration::from_secs(60);
/// What a snapshot does not grow for is all of it.
const SETTLED: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "start-snapshot",
        group: GROUP,
        title: "Start without the control service",
        about: "A proxy of a workload that 10,000 sandboxes fork, started from the snapshot it kept while nothing listens where the                 control service was; ready is who has routed a request with the last key to the fork. Beside it the same with                 the service there and no snapshot.",
        peers: &[Peer::Spurline],
        metrics: &[
            lower("snapshot_ready_millis", "ready from the snapshot", "ms"),
            lower("control_ready_millis", "ready from the control service", "ms"),
        ],
        rounds: Rounds { quick: 0, full: 3 },
        begin: |setting| Ok(Box::new(Snapshot::begin(setting)?)),
    },
    Scenario {
        id: "start-control",
        group: GROUP,
        title: "The control service with 10,000 sandboxes",
        about: "Started with a directory of YAML files, one override in each of 10,000 sandboxes: the time until REST answers for \
                the last. The memory is what the service holds more than an empty one, per override.",
        peers: &[Peer::Spurline],
        metrics: &[
            lower("ready_millis", "from the start until it knows all sandboxes", "ms"),
            BYTES_PER_OVERRIDE,
        ],
        rounds: Rounds { quick: 0, full: 2 },
        begin: |setting| {
            let dir = setting.dir.clone();
            write_sandboxes(&dir, "127.0.0.1:9")?;
            Ok(Box::new(Control { dir }))
        },
    },
];

/// A control service that knows all sandboxes, and the snapshot of a proxy that has had them.
struct Snapshot {
    dir: PathBuf,
    backends: Backends,
    service: Service,
    path: PathBuf,
}

struct Control {
    dir: PathBuf,
}

const fn lower(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { name, title, unit, better: Better::Lower }
}

/// Sandboxes that each fork the same workload to `endpoint`; the key of the last is [`ROUTING_KEY`].
fn write_sandboxes(dir: &Path, endpoint: &str) -> Result<()> {
    let endpoint = endpoint.parse()?;
    let files = dir.join(FILES);
    fs::create_dir_all(&files)?;
    let text: String =
        keys(SANDBOXES).map(|key| document::yaml(&key, [(document::workload(0), endpoint)])).collect();
    fs::write(files.join("sandboxes.yaml"), text)?;
    Ok(())
}

// === impl Snapshot ===

impl Snapshot {
    fn begin(setting: &Setting) -> Result<Self> {
        let dir = setting.dir.clone();
        let backends = Backends::start(&dir, BODY_BYTES, CONNECTIONS)?;
        write_sandboxes(&dir, &backends.fork.to_string())?;
        let mut service = Service::start(LOAD_CORE, &dir, Some(&dir.join(FILES)))?;
        service.await_ready(Some(ROUTING_KEY), PATIENCE)?;
        let snapshot = Self { path: dir.join("snapshot"), dir, backends, service };
        let (mut proxy, _) = snapshot.start(snapshot.service.grpc, Some(&snapshot.path))?;
        let deadline = Instant::now() + PATIENCE;
        let mut size = (0, Instant::now());
        while size.0 == 0 || size.1.elapsed() < SETTLED {
            proxy.running.check_alive()?;
            ensure!(Instant::now() < deadline, "the proxy has kept no snapshot after {PATIENCE:?}");
            std::thread::sleep(POLL_INTERVAL);
            let now = fs::metadata(&snapshot.path).map_or(0, |file| file.len());
            if now != size.0 {
                size = (now, Instant::now());
            }
        }
        Ok(snapshot)
    }

    /// Starts a proxy; the time until it has routed by its table.
    fn start(&self, grpc: SocketAddr, snapshot: Option<&Path>) -> Result<(Proxy, Duration)> {
        let workload = document::workload(0);
        let baseline = self.backends.baseline;
        let stand = Stand { core: PROXY_CORE, grpc, workload: &workload, baseline, snapshot };
        let begin = Instant::now();
        let mut proxy = Proxy::spawn("spurline-proxy", &stand, &self.dir)?;
        await_fork(&mut proxy.running, proxy.listen, &self.backends)?;
        Ok((proxy, begin.elapsed()))
    }
}

impl Measure for Snapshot {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        ensure!(peer == Peer::Spurline, "{} has no control service", peer.name());
        let [nobody] = free_addresses()?;
        let (_, from_snapshot) = self.start(nobody, Some(&self.path))?;
        let (_, from_control) = self.start(self.service.grpc, None)?;
        Ok(vec![millis(from_snapshot), millis(from_control)])
    }
}

// === impl Control ===

impl Measure for Control {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        ensure!(peer == Peer::Spurline, "{} has no control service", peer.name());
        let (service, ready) = self.start(Some(&self.dir.join(FILES)))?;
        let with = stable_memory(&service.running)?.anonymous_bytes;
        drop(service);
        let (service, _) = self.start(None)?;
        let without = stable_memory(&service.running)?.anonymous_bytes;
        Ok(vec![millis(ready), with.saturating_sub(without) as f64 / f64::from(SANDBOXES)])
    }
}

impl Control {
    /// Starts a service with an empty store; the time until it knows the last sandbox, if there is any.
    fn start(&self, files: Option<&Path>) -> Result<(Service, Duration)> {
        let scratch = self.dir.join("store-of-one");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).context("the store of the one before")?;
        }
        fs::create_dir_all(&scratch)?;
        let begin = Instant::now();
        let mut service = Service::start(PROXY_CORE, &scratch, files)?;
        service.await_ready(files.map(|_| ROUTING_KEY), PATIENCE)?;
        Ok((service, begin.elapsed()))
    }
}
