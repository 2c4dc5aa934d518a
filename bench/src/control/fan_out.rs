//! How soon a sandbox that was created over REST is in every proxy, and what a stream costs the control service.
//!
//! Each change creates a sandbox that all proxies want, waits until REST says that all have it, and deletes it. Changes
//! start at moments that have nothing to do with the service's own timers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::document::{self, NOWHERE};
use super::fleet::Fleet;
use super::proxy::{Proxy, Stand};
use super::service::Service;
use crate::host::{self, LOAD_CORE, PROXY_CORE};
use crate::memory::stable_memory;
use crate::peer::Peer;
use crate::scenario::{Better, Measure, Metric, Pace, Rounds, Scenario, Setting};
use crate::start::millis;
use crate::stats::percentile;

const GROUP: &str = "Control";
const WORKLOAD: &str = "bench/Deployment/cart";
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Real proxies beside the simulated ones.
const REAL: u32 = 3;
/// Longer than the quiet after which the service sends a change at once, and not a multiple of anything.
const REST_MIN: Duration = Duration::from_millis(150);
const REST_JITTER_MILLIS: u64 = 50;
/// Creating the sandbox and deleting it.
const CHANGES_PER_SANDBOX: u32 = 2;

const METRICS: &[Metric] = &[
    lower("programmed_p99_millis", "acknowledged by all, p99", "ms"),
    lower("programmed_p50_millis", "p50", "ms"),
    lower("programmed_max_millis", "most", "ms"),
    lower("received_p99_millis", "received by the last client, p99", "ms"),
    lower("cpu_micros_per_stream_and_change", "CPU time of the service per stream and change", "µs"),
    Metric {
        name: "kib_per_stream",
        title: "anonymous memory of the service per stream",
        unit: "KiB",
        better: Better::Neither,
    },
];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "control-10",
        group: GROUP,
        title: "A change in 10 proxies",
        about: "From the start of a PUT of a sandbox until the answer that all proxies have acknowledged it: 10 simulated proxies \
                that all want it, each a delta ADS stream on a connection of its own, and 3 real ones. The service has a core to \
                itself; the proxies and the client share the other, and what they need is in the time.",
        peers: &[Peer::Spurline],
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 1 },
        begin: |setting| begin(setting, 10),
    },
    Scenario {
        id: "control-100",
        group: GROUP,
        title: "A change in 100 proxies",
        about: "The same with 100 simulated proxies.",
        peers: &[Peer::Spurline],
        metrics: METRICS,
        rounds: Rounds { quick: 1, full: 1 },
        begin: |setting| begin(setting, 100),
    },
    Scenario {
        id: "control-1000",
        group: GROUP,
        title: "A change in 1,000 proxies",
        about: "The same with 1,000 simulated proxies.",
        peers: &[Peer::Spurline],
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 1 },
        begin: |setting| begin(setting, 1000),
    },
];

struct FanOut {
    dir: PathBuf,
    /// Simulated ones.
    proxies: u32,
    /// Sandboxes that are created and deleted in a measurement.
    sandboxes: u32,
}

const fn lower(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { name, title, unit, better: Better::Lower }
}

fn begin(setting: &Setting, proxies: u32) -> Result<Box<dyn Measure>> {
    host::allow_descriptors(u64::from(proxies) + 512)?;
    let sandboxes = match setting.pace {
        Pace::Quick => 20,
        Pace::Full => 100,
    };
    Ok(Box::new(FanOut { dir: setting.dir.clone(), proxies, sandboxes }))
}

impl Measure for FanOut {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        ensure!(peer == Peer::Spurline, "{} has no control service", peer.name());
        let dir = tempfile::tempdir_in(&self.dir)?;
        let mut service = Service::start(PROXY_CORE, dir.path(), None)?;
        service.await_ready(None, START_TIMEOUT)?;
        let mut real = real_proxies(&service, dir.path())?;
        let without = stable_memory(&service.running)?;
        let fleet = Fleet::connect(service.grpc, self.proxies, WORKLOAD)?;
        let with = stable_memory(&service.running)?;
        let all = self.proxies + REAL;
        let cpu_before = service.running.cpu_time()?;
        let (mut received, mut programmed) = (Vec::new(), Vec::new());
        for number in 0..self.sandboxes {
            let (last_receipt, answered) =
                create(number, &service, &fleet, all).with_context(|| format!("sandbox {number}"))?;
            received.push(millis(last_receipt));
            programmed.push(millis(answered));
        }
        let cpu = service.running.cpu_time()?.saturating_sub(cpu_before);
        for proxy in &mut real {
            proxy.running.check_alive()?;
        }
        let changes = f64::from(self.sandboxes * CHANGES_PER_SANDBOX);
        let added = with.anonymous_bytes.saturating_sub(without.anonymous_bytes) as f64;
        let at = |samples: &[f64], percent| percentile(samples, percent).context("no samples");
        Ok(vec![
            at(&programmed, 99.0)?,
            at(&programmed, 50.0)?,
            at(&programmed, 100.0)?,
            at(&received, 99.0)?,
            cpu.as_secs_f64() * 1e6 / changes / f64::from(all),
            added / 1024.0 / f64::from(self.proxies),
        ])
    }
}

fn real_proxies(service: &Service, dir: &Path) -> Result<Vec<Proxy>> {
    let stand =
        Stand { core: LOAD_CORE, grpc: service.grpc, workload: WORKLOAD, baseline: NOWHERE, snapshot: None };
    (0..REAL).map(|number| Proxy::start(&format!("spurline-proxy-{number}"), &stand, dir)).collect()
}

/// One sandbox: from the start of the PUT to the last receipt, and to the answer that says programmed.
fn create(number: u32, service: &Service, fleet: &Fleet, proxies: u32) -> Result<(Duration, Duration)> {
    std::thread::sleep(REST_MIN + Duration::from_millis(fastrand::u64(..REST_JITTER_MILLIS)));
    let name = document::name(number);
    let document = document::json(&name, [(WORKLOAD.to_owned(), NOWHERE)]);
    let start = Instant::now();
    let programmed = service.rest.put_programmed(&name, &document)?;
    let answered = start.elapsed();
    programmed.demand(proxies)?;
    let received = fleet.last_receipt(start)?;
    service.rest.delete_programmed(&name)?.demand(proxies)?;
    Ok((received, answered))
}
