//! What very many sandboxes cost: loading them, keeping them, and a proxy that needs one override of each.
//!
//! The proxy's latencies are taken in three phases that alternate: nothing changes; sandboxes change, but not in the
//! workload of the proxy; the same number of changes in its own table. The control service works the same in the second
//! and third, so what the third has over the second is the proxy's own. There the proxy has a core to itself, and the
//! control service runs beside the load.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::document::{self, NOWHERE};
use super::open_loop::Load;
use super::proxy::{Proxy, Stand};
use super::report::{LoadFigures, LoadReport, PhaseFigures, ProxyFigures};
use super::service::{Rest, Service};
use crate::cli::ControlLoadOptions;
use crate::host::{self, LOAD_CORE, PROXY_CORE, Versions};
use crate::memory::stable_memory;
use crate::work::{Backends, Traffic};

const SANDBOXES_PER_FILE: u32 = 100;
const WRITERS: u32 = 8;
const LOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Between two changes: longer than the quiet that the service waits for, so that each is a swap of its own.
const CHANGE_INTERVAL: Duration = Duration::from_millis(60);
/// Longer than the quiet after which a change is sent at once.
const QUIET: Duration = Duration::from_millis(150);
const CONNECTIONS: u32 = 16;
const BODY_BYTES: usize = 13;

/// What happens to the sandboxes while the load runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Quiet,
    /// Workload 1 of the sandboxes changes, which the proxy does not need.
    Elsewhere,
    /// Workload 0 of the sandboxes changes, which is the proxy's.
    Own,
}

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &ControlLoadOptions) -> Result<()> {
    host::check_control()?;
    ensure!(options.workloads >= 2, "two workloads are needed: the proxy's own and another");
    ensure!(options.sandboxes.is_multiple_of(2), "an even number of sandboxes is needed");
    host::allow_descriptors(1024)?;
    host::pin_this_process(LOAD_CORE)?;
    eprintln!("{} sandboxes of {} forks from a directory", options.sandboxes, options.workloads);
    let from_directory = load_directory(options)?;
    eprintln!("the same through REST, {WRITERS} writers");
    let dir = host::scratch_dir()?;
    let (service, from_rest) = load_rest(options, dir.path())?;
    drop(service);
    eprintln!("the same from the store, after kill -9");
    let (service, from_store) = measured(options, dir.path(), None)?;
    eprintln!("a proxy that needs {} overrides", options.sandboxes);
    let backends = Backends::start(dir.path(), BODY_BYTES, CONNECTIONS)?;
    let (proxy, figures) = proxy_figures(options, &service, backends.baseline, dir.path())?;
    let phases = phases(options, &service.rest, &proxy, &backends)?;
    let report = LoadReport {
        versions: Versions::read(),
        sandboxes: options.sandboxes,
        workloads: options.workloads,
        rate: options.rate,
        seconds: options.seconds * options.rounds,
        loads: vec![from_directory, from_rest, from_store],
        proxy: figures,
        phases,
    };
    report.print()?;
    match &options.save {
        Some(dir) => report.save(dir),
        None => Ok(()),
    }
}

/// The forks of a sandbox, with workload `moved` (if any) at another endpoint than nowhere.
fn forks(workloads: u32, moved: Option<(u32, u16)>) -> impl Iterator<Item = (String, SocketAddr)> {
    (0..workloads).map(move |number| {
        let endpoint = match moved {
            Some((workload, port)) if workload == number => SocketAddr::new(NOWHERE.ip(), port),
            _ => NOWHERE,
        };
        (document::workload(number), endpoint)
    })
}

fn load_directory(options: &ControlLoadOptions) -> Result<LoadFigures> {
    let dir = host::scratch_dir()?;
    let files = dir.path().join("sandboxes");
    fs::create_dir(&files)?;
    for first in (0..options.sandboxes).step_by(SANDBOXES_PER_FILE as usize) {
        let mut file = BufWriter::new(File::create(files.join(format!("from-{first:06}.yaml")))?);
        for number in first..options.sandboxes.min(first + SANDBOXES_PER_FILE) {
            let text = document::yaml(&document::name(number), forks(options.workloads, None));
            file.write_all(text.as_bytes())?;
        }
        file.flush()?;
    }
    let (_, figures) = measured(options, dir.path(), Some(&files))?;
    Ok(figures)
}

/// Starts a control service that finds all sandboxes already there; the figures until it has them.
fn measured(
    options: &ControlLoadOptions,
    dir: &Path,
    files: Option<&Path>,
) -> Result<(Service, LoadFigures)> {
    let start = Instant::now();
    let (core, from) = match files {
        Some(_) => (PROXY_CORE, "directory of YAML"),
        // It stays for the latencies, in which the proxy has its core to itself.
        None => (LOAD_CORE, "store, restart"),
    };
    let mut service = Service::start(core, dir, files)?;
    service.await_ready(Some(&document::name(options.sandboxes - 1)), LOAD_TIMEOUT)?;
    let took = start.elapsed();
    let figures = figures(from, &service, took)?;
    Ok((service, figures))
}

fn load_rest(options: &ControlLoadOptions, dir: &Path) -> Result<(Service, LoadFigures)> {
    let mut service = Service::start(PROXY_CORE, dir, None)?;
    service.await_ready(None, LOAD_TIMEOUT)?;
    let start = Instant::now();
    let next = AtomicU32::new(0);
    let write = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= options.sandboxes {
                return Ok(());
            }
            let name = document::name(number);
            service.rest.put(&name, &document::json(&name, forks(options.workloads, None)))?;
        }
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        writers.into_iter().try_for_each(|writer| {
            writer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a writer panicked")))
        })
    })?;
    let took = start.elapsed();
    let figures = figures("REST, 8 writers", &service, took)?;
    Ok((service, figures))
}

fn figures(from: &'static str, service: &Service, took: Duration) -> Result<LoadFigures> {
    let cpu = service.running.cpu_time()?;
    let memory = stable_memory(&service.running)?;
    Ok(LoadFigures {
        from,
        seconds: took.as_secs_f64(),
        cpu_seconds: cpu.as_secs_f64(),
        resident_bytes: memory.resident_bytes,
        anonymous_bytes: memory.anonymous_bytes,
    })
}

/// Starts a proxy that needs nothing and one that needs one override of each sandbox; the second stays.
fn proxy_figures(
    options: &ControlLoadOptions,
    service: &Service,
    baseline: SocketAddr,
    dir: &Path,
) -> Result<(Proxy, ProxyFigures)> {
    let start = |name, workload: &str| -> Result<(Proxy, Duration, u64)> {
        let began = Instant::now();
        let stand = Stand { core: PROXY_CORE, grpc: service.grpc, workload, baseline, snapshot: None };
        let proxy = Proxy::start(name, &stand, dir)?;
        let ready = began.elapsed();
        let memory = stable_memory(&proxy.running)?;
        Ok((proxy, ready, memory.anonymous_bytes))
    };
    let (idle, idle_ready, idle_bytes) = start("spurline-proxy-unforked", "bench/Deployment/unforked")?;
    drop(idle);
    let (proxy, ready, anonymous_bytes) = start("spurline-proxy", &document::workload(0))?;
    let mut swap_millis = Vec::new();
    for change in 0..options.changes {
        std::thread::sleep(QUIET);
        let began = Instant::now();
        let (name, document) = changed(options, change, 0);
        let programmed = service.rest.put_programmed(&name, &document)?;
        swap_millis.push(began.elapsed().as_secs_f64() * 1e3);
        programmed.demand(1)?;
    }
    let figures = ProxyFigures {
        idle_ready_seconds: idle_ready.as_secs_f64(),
        ready_seconds: ready.as_secs_f64(),
        idle_anonymous_bytes: idle_bytes,
        anonymous_bytes,
        swap_millis,
    };
    Ok((proxy, figures))
}

/// A sandbox that has its fork of workload 0 or 1 where it was not before. The two never touch the same sandbox, or one
/// would put back what the other moved.
fn changed(options: &ControlLoadOptions, change: u32, workload: u32) -> (String, Value) {
    let turn = 2 * change + workload;
    let name = document::name(turn % options.sandboxes);
    // Where the loaded documents have none, and another one each time a sandbox has its turn again.
    let port = u16::try_from(10_000 + turn / options.sandboxes % 50_000).unwrap_or(u16::MAX);
    let document = document::json(&name, forks(options.workloads, Some((workload, port))));
    (name, document)
}

fn phases(
    options: &ControlLoadOptions,
    rest: &Rest,
    proxy: &Proxy,
    backends: &Backends,
) -> Result<Vec<PhaseFigures>> {
    let expected = backends.expected_body(Traffic::Unkeyed);
    let load = |seconds: u32| Load {
        target: proxy.listen,
        connections: CONNECTIONS,
        requests_per_second: options.rate,
        time: Duration::from_secs(u64::from(seconds)),
    };
    load(1).run(&expected).context("warm-up")?;
    let mut all = Phase::ALL.map(|phase| PhaseFigures::new(phase.label()));
    let changes = AtomicU32::new(options.changes);
    for round in 0..options.rounds {
        for (phase, figures) in Phase::ALL.into_iter().zip(&mut all) {
            std::thread::sleep(QUIET * 4);
            eprintln!("round {}, {}", round + 1, phase.label());
            let swaps_before = proxy.generation()?;
            let stop = AtomicBool::new(false);
            let latencies = std::thread::scope(|scope| {
                let changer = scope.spawn(|| keep_changing(options, rest, phase, (&changes, &stop)));
                let latencies = load(options.seconds).run(&expected);
                stop.store(true, Ordering::Relaxed);
                changer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the changes panicked")))?;
                latencies
            })?;
            figures.add(&latencies, proxy.generation()? - swaps_before);
        }
    }
    Ok(all.into())
}

/// Changes one sandbox after the other, at a fixed pace, until told to stop.
fn keep_changing(
    options: &ControlLoadOptions,
    rest: &Rest,
    phase: Phase,
    (changes, stop): (&AtomicU32, &AtomicBool),
) -> Result<()> {
    let Some(workload) = phase.workload() else { return Ok(()) };
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let change = changes.fetch_add(1, Ordering::Relaxed);
        let (name, document) = changed(options, change, workload);
        rest.put(&name, &document)?;
        due += CHANGE_INTERVAL;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

// === impl Phase ===

impl Phase {
    const ALL: [Self; 3] = [Self::Quiet, Self::Elsewhere, Self::Own];

    fn label(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Elsewhere => "changes elsewhere",
            Self::Own => "its table changes",
        }
    }

    /// The workload that changes.
    fn workload(self) -> Option<u32> {
        match self {
            Self::Quiet => None,
            Self::Elsewhere => Some(1),
            Self::Own => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_moves_one_workload_only() {
        let before: Vec<_> = forks(3, None).collect();
        let after: Vec<_> = forks(3, Some((1, 4711))).collect();
        let moved: Vec<usize> = (0..3).filter(|at| before.get(*at) != after.get(*at)).collect();
        assert_eq!(moved, [1]);
    }
}
