//! This machine: which cores do what, free ports, descriptor limit, and the versions a figure belongs to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::peer::Peer;

/// What is measured has this core to itself, apart from what the machine does besides.
pub(crate) const PROXY_CORE: usize = 0;
/// The load generator and the backends share this one.
pub(crate) const LOAD_CORE: usize = 1;

/// Ports below the usual ephemeral range, so that no outgoing connection can take one first.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Where `bench/setup.sh` puts Envoy, from the root of the repository.
const ENVOY: &str = "target/tools/envoy/envoy/_bin/envoy";

/// What a figure was measured on and with.
#[derive(Debug, Serialize)]
pub(crate) struct Versions {
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    /// The commit of the work tree when the run ended; `-dirty` when it held changes. Not proof of what was built.
    pub(crate) commit: String,
    pub(crate) spurline: String,
    pub(crate) control: String,
    pub(crate) haproxy: String,
    pub(crate) nginx: String,
    pub(crate) envoy: String,
    /// The crates of our own relay.
    pub(crate) hyper: String,
    pub(crate) wrk: String,
    pub(crate) h2load: String,
}

impl Versions {
    /// Reads what is there; what is not installed is named so.
    pub(crate) fn read() -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu_info.lines().find(|line| line.starts_with("model name"));
        Self {
            cpu: model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name).to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            commit: first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
            spurline: spurline_proxy().map_or_else(|_| "not found".to_owned(), |path| describe(&path)),
            control: spurline_control().map_or_else(|_| "not found".to_owned(), |path| describe(&path)),
            haproxy: first_line("haproxy", &["-v"]),
            nginx: first_line("nginx", &["-v"]),
            envoy: envoy().map_or_else(|_| "not found".to_owned(), |path| envoy_version(&path)),
            hyper: ["hyper", "h2"].map(locked_version).join(", "),
            wrk: first_line("wrk", &["--version"]),
            h2load: first_line("h2load", &["--version"]),
        }
    }
}

/// The proxy to measure: `SPURLINE_PROXY`, or the one built beside this program.
pub(crate) fn spurline_proxy() -> Result<PathBuf> {
    binary("spurline-proxy", "SPURLINE_PROXY")
}

/// The control service to measure: `SPURLINE_CONTROL`, or the one built beside this program.
pub(crate) fn spurline_control() -> Result<PathBuf> {
    binary("spurline-control", "SPURLINE_CONTROL")
}

/// The Envoy to compare with: `SPURLINE_BENCH_ENVOY`, or what `bench/setup.sh` installed, or the one on the PATH.
pub(crate) fn envoy() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SPURLINE_BENCH_ENVOY") {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    [PathBuf::from(ENVOY)]
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join("envoy")))
        .find(|path| path.is_file())
        .context("no Envoy: run bench/setup.sh, or name one in SPURLINE_BENCH_ENVOY")
}

fn binary(name: &str, variable: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name(name),
    };
    if !path.is_file() {
        bail!("{} is missing; build it: cargo build --release -p {name}", path.display());
    }
    Ok(path)
}

/// Refuses what cannot be measured, or would say nothing: a missing program, a debug build, one core for everything.
pub(crate) fn check(peers: &[Peer]) -> Result<()> {
    check_peers(peers, &["wrk", "nginx"])
}

/// The same where `programs` send the load.
pub(crate) fn check_peers(peers: &[Peer], programs: &[&'static str]) -> Result<()> {
    check_machine(programs.iter().copied().chain(peers.iter().filter_map(|peer| peer.program())))?;
    if peers.iter().any(|peer| matches!(peer, Peer::Spurline | Peer::SpurlineOne)) {
        spurline_proxy()?;
    }
    if peers.contains(&Peer::Envoy) {
        envoy()?;
    }
    Ok(())
}

/// The same for what is measured of the control service.
pub(crate) fn check_control() -> Result<()> {
    check_machine(["nginx"])?;
    spurline_control()?;
    spurline_proxy()?;
    Ok(())
}

fn check_machine(programs: impl IntoIterator<Item = &'static str>) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["setpriv", "taskset", "chrt"].into_iter().chain(programs) {
        if !std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
            bail!("{program} is not on PATH (run bench/setup.sh; haproxy and nginx are in /usr/sbin)");
        }
    }
    if cfg!(debug_assertions) {
        bail!("this is a debug build; measure with: cargo run --release -p spurline-bench");
    }
    if std::thread::available_parallelism()?.get() <= LOAD_CORE {
        bail!("two cores are needed: one for what is measured, one for the load");
    }
    Ok(())
}

/// Keeps this process, and threads that it starts from now on, on one core.
pub(crate) fn pin_this_process(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).context("cannot stay on one core")
}

/// A runtime on the calling thread, for clients of the bench's own.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A directory for configurations and logs, removed when dropped.
pub(crate) fn scratch_dir() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("spurline-bench-").tempdir()?)
}

/// Raises this process's descriptor limit, which the peers inherit.
pub(crate) fn allow_descriptors(needed: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    if limit.current.is_some_and(|current| current < needed) {
        // Only root may raise the hard limit.
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).with_context(|| {
            format!("{needed} descriptors are needed; raise the hard limit: ulimit -Hn {needed}")
        })?;
    }
    Ok(())
}

/// `COUNT` different loopback addresses nobody listens on.
pub(crate) fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT]> {
    let listeners: Vec<TcpListener> =
        PORTS.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).take(COUNT).collect();
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().ok().context("no free port on loopback")
}

/// Version and age of the measured binary: a build older than the work tree's last change shows.
fn describe(proxy: &Path) -> String {
    let version = first_line(&proxy.display().to_string(), &["--version"]);
    let built = fs::metadata(proxy).and_then(|metadata| metadata.modified()).ok();
    match built.and_then(|time| time.elapsed().ok()) {
        Some(age) => format!("{version}, built {} min before the end of this run", age.as_secs() / 60),
        None => version,
    }
}

fn envoy_version(envoy: &Path) -> String {
    let text = command_text(&envoy.display().to_string(), &["--version"]);
    let line = text.lines().find(|line| line.contains("version:")).unwrap_or("unknown");
    line.rsplit("version:").next().unwrap_or_default().trim().to_owned()
}

/// A crate this program was built with.
fn locked_version(name: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
    let version = entry.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("unknown");
    format!("{name} {version}")
}

/// The first line a command prints, on either stream; some print their version on the second.
fn first_line(program: &str, args: &[&str]) -> String {
    command_text(program, args).lines().next().unwrap_or_default().trim().to_owned()
}

fn command_text(program: &str, args: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(args).output() else {
        return "not found".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
