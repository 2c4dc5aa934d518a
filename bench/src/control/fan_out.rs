//! How soon a sandbox that was created over REST is in every proxy, and what a stream costs the control service.
//!
//! Each round creates a sandbox that all proxies want, waits until REST says that all have it, and deletes it. Rounds
//! start at moments that have nothing to do with the service's own timers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::document::{self, NOWHERE};
use super::fleet::Fleet;
use super::proxy::{Proxy, Stand};
use super::report::{FanOutFigures, FanOutReport};
use super::service::Service;
use crate::cli::ControlOptions;
use crate::host::{self, LOAD_CORE, PROXY_CORE, Versions};
use crate::memory::stable_memory;

const WORKLOAD: &str = "bench/Deployment/cart";
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the quiet after which the service sends a change at once, and not a multiple of anything.
const REST_MIN: Duration = Duration::from_millis(150);
const REST_JITTER_MILLIS: u64 = 50;
/// Creating the sandbox and deleting it.
const CHANGES_PER_ROUND: u32 = 2;

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &ControlOptions) -> Result<()> {
    host::check_control()?;
    let most = options.proxies.iter().copied().max().unwrap_or_default();
    host::allow_descriptors(u64::from(most) + 512)?;
    host::pin_this_process(LOAD_CORE)?;
    let mut figures = Vec::new();
    for count in &options.proxies {
        eprintln!("{count} simulated proxies and {} real ones: {} rounds", options.real, options.rounds);
        figures.push(measure(*count, options).with_context(|| format!("{count} proxies"))?);
    }
    let report =
        FanOutReport { versions: Versions::read(), rounds: options.rounds, real: options.real, figures };
    report.print()?;
    match &options.save {
        Some(dir) => report.save(dir),
        None => Ok(()),
    }
}

fn measure(count: u32, options: &ControlOptions) -> Result<FanOutFigures> {
    let dir = host::scratch_dir()?;
    let mut service = Service::start(PROXY_CORE, dir.path(), None)?;
    service.await_ready(None, START_TIMEOUT)?;
    let mut real = real_proxies(&service, options.real, dir.path())?;
    let without = stable_memory(&service.running)?;
    let connecting = Instant::now();
    let fleet = Fleet::connect(service.grpc, count, WORKLOAD)?;
    let connected = connecting.elapsed();
    let with = stable_memory(&service.running)?;
    let cpu_before = service.running.cpu_time()?;
    let (mut received, mut programmed) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let (last_receipt, answered) = create(round, &service, &fleet, count + options.real)
            .with_context(|| format!("round {round}"))?;
        received.push(millis(last_receipt));
        programmed.push(millis(answered));
    }
    let cpu = service.running.cpu_time()?.saturating_sub(cpu_before);
    for proxy in &mut real {
        proxy.running.check_alive()?;
    }
    let added = with.anonymous_bytes.saturating_sub(without.anonymous_bytes);
    let changes = f64::from(options.rounds * CHANGES_PER_ROUND);
    Ok(FanOutFigures {
        proxies: count,
        connected_seconds: connected.as_secs_f64(),
        received_millis: received,
        programmed_millis: programmed,
        cpu_micros_per_stream_and_change: cpu.as_secs_f64() * 1e6 / changes / f64::from(count + options.real),
        idle_stream_bytes: added as f64 / f64::from(count),
    })
}

fn real_proxies(service: &Service, count: u32, dir: &Path) -> Result<Vec<Proxy>> {
    let stand = Stand { core: LOAD_CORE, grpc: service.grpc, workload: WORKLOAD, baseline: NOWHERE };
    (0..count).map(|number| Proxy::start(&format!("spurline-proxy-{number}"), &stand, dir)).collect()
}

/// One round: from the start of the PUT to the last receipt, and to the answer that says programmed.
fn create(round: u32, service: &Service, fleet: &Fleet, proxies: u32) -> Result<(Duration, Duration)> {
    std::thread::sleep(REST_MIN + Duration::from_millis(fastrand::u64(..REST_JITTER_MILLIS)));
    let name = document::name(round);
    let document = document::json(&name, [(WORKLOAD.to_owned(), NOWHERE)]);
    let start = Instant::now();
    let programmed = service.rest.put_programmed(&name, &document)?;
    let answered = start.elapsed();
    programmed.demand(proxies)?;
    let received = fleet.last_receipt(start)?;
    service.rest.delete_programmed(&name)?.demand(proxies)?;
    Ok((received, answered))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
