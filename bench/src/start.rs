//! How soon a process that starts routes rightly, and what a key costs it in memory.
//!
//! The time is from before the process is made until the fork has answered a request with the last key of the table: a listener that is
//! open before its table is loaded is not ready. `setpriv` and `taskset`, through which every peer is started, take their part.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::memory::stable_memory;
use crate::peer::{self, Peer};
use crate::probe;
use crate::process::Running;
use crate::report::mebibytes;
use crate::scenario::{Better, Measure, Metric, Rounds, Scenario, Setting};
use crate::work::{Backends, Job, PATH, Traffic};

pub(crate) const GROUP: &str = "Start";
const CONNECTIONS: u32 = 64;
const BODY_BYTES: usize = 13;
const MANY: u32 = 10_000;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

pub(crate) const READY: Metric =
    lower("ready_millis", "from the start to the first request that was routed by the table", "ms");
const CPU: Metric = lower("cpu_millis", "CPU time until then", "ms");
pub(crate) const BYTES_PER_OVERRIDE: Metric =
    lower("bytes_per_override", "anonymous memory per override", "B");

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "start-1",
        group: GROUP,
        title: "Cold start with 1 override",
        about: "A process that is started with its configuration in files. Ready is who has routed a request with the last key of \
                the table to the fork; the memory is what it holds then, standing still.",
        peers: &[Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora],
        metrics: &[READY, CPU, lower("anonymous_mib", "anonymous memory", "MiB")],
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| begin(setting, 1),
    },
    Scenario {
        id: "start-10k",
        group: GROUP,
        title: "Cold start with 10,000 overrides",
        about: "The same with 10,000 keys. The memory per override is what the process holds more than one with a single key. Spurline's \
                overrides have a name, a workload, a sandbox and an endpoint each; the peers map a key to one and the same upstream.",
        peers: &[Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::EnvoyMatcher, Peer::Pingora],
        metrics: &[READY, CPU, BYTES_PER_OVERRIDE],
        rounds: Rounds { quick: 0, full: 2 },
        begin: |setting| begin(setting, MANY),
    },
];

struct ColdStart {
    dir: PathBuf,
    backends: Backends,
    overrides: u32,
}

const fn lower(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { name, title, unit, better: Better::Lower }
}

fn begin(setting: &Setting, overrides: u32) -> Result<Box<dyn Measure>> {
    let backends = Backends::start(&setting.dir, BODY_BYTES, CONNECTIONS)?;
    Ok(Box::new(ColdStart { dir: setting.dir.clone(), backends, overrides }))
}

impl ColdStart {
    /// Starts `peer` with `overrides`; the time until it routed.
    fn start(&self, peer: Peer, overrides: u32) -> Result<(Running, Duration)> {
        let job = Job {
            dir: self.dir.clone(),
            baseline: self.backends.baseline,
            fork: self.backends.fork,
            connections: CONNECTIONS,
            overrides: Some(overrides),
            ..Job::on_free_ports()?
        };
        let begin = Instant::now();
        let mut running = peer::spawn(peer, &job)?;
        await_fork(&mut running, job.listen, &self.backends)?;
        Ok((running, begin.elapsed()))
    }
}

/// Asks with the last key until the fork has answered.
pub(crate) fn await_fork(running: &mut Running, listen: SocketAddr, backends: &Backends) -> Result<()> {
    let (headers, expected) = (Traffic::Keyed.headers(), backends.expected_body(Traffic::Keyed));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer =
            probe::connect(listen).and_then(|mut stream| probe::exchange(&mut stream, PATH, &headers));
        match answer {
            Ok(body) if body == expected.as_bytes() => return Ok(()),
            _ if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
            Ok(_) => anyhow::bail!("the table is not in force after {PATIENCE:?}"),
            Err(error) => return Err(error).context(format!("not ready after {PATIENCE:?}")),
        }
        running.check_alive()?;
    }
}

impl Measure for ColdStart {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let (running, ready) = self.start(peer, self.overrides)?;
        let cpu = running.cpu_time()?;
        let with = stable_memory(&running)?.anonymous_bytes;
        drop(running);
        let memory = if self.overrides == 1 {
            mebibytes(with)
        } else {
            let without = stable_memory(&self.start(peer, 1)?.0)?.anonymous_bytes;
            with.saturating_sub(without) as f64 / f64::from(self.overrides - 1)
        };
        Ok(vec![millis(ready), millis(cpu), memory])
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
