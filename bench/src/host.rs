//! This machine: which cores do what, free ports, descriptor limit, and the versions a figure belongs to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::peer::Peer;

/// What is measured has this core to itself, apart from what the machine does besides.
pub(crate) const PROXY_CORE: usize = 0;
/// The load generator and the backends share this one.
pub(crate) const LOAD_CORE: usize = 1;

/// Ports below the usual ephemeral range, so that no outgoing connection can take one first.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

const NOT_FOUND: &str = "not found";

/// Where `bench/setup.sh` puts Envoy, from the root of the repository.
const ENVOY: &str = "target/tools/envoy/envoy/_bin/envoy";

/// The machine that figures were measured on.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mebibytes: u64,
    pub(crate) kernel: String,
    /// What sets the clock of the measured core, or that it cannot be seen.
    pub(crate) governor: String,
    pub(crate) is_virtual: bool,
    pub(crate) proxy_core: usize,
    pub(crate) load_core: usize,
    /// The mean number of processes that wanted to run in the minute before: what else went on.
    pub(crate) load_before: f64,
}

/// What figures were measured with; what is not installed is named so.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Versions {
    pub(crate) spurline: String,
    pub(crate) control: String,
    pub(crate) haproxy: String,
    pub(crate) nginx: String,
    pub(crate) envoy: String,
    /// The crates of our own relay.
    pub(crate) hyper: String,
    pub(crate) pingora: String,
    pub(crate) wrk: String,
    pub(crate) h2load: String,
}

impl Machine {
    /// As it is now.
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu_info = text("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpu_info.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value)
        };
        let kibibytes =
            text("/proc/meminfo").split_ascii_whitespace().nth(1).and_then(|size| size.parse().ok());
        let governor = text(&format!("/sys/devices/system/cpu/cpu{PROXY_CORE}/cpufreq/scaling_governor"));
        Self {
            cpu: field("model name").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_mebibytes: kibibytes.unwrap_or(0_u64) / 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            governor: if governor.is_empty() { "not visible".to_owned() } else { governor.trim().to_owned() },
            is_virtual: field("flags").split(' ').any(|flag| flag == "hypervisor"),
            proxy_core: PROXY_CORE,
            load_core: LOAD_CORE,
            load_before: text("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
        }
    }
}

impl Versions {
    /// Reads what is there.
    pub(crate) fn read() -> Self {
        Self {
            spurline: spurline_proxy().map_or_else(|_| NOT_FOUND.to_owned(), |path| describe(&path)),
            control: spurline_control().map_or_else(|_| NOT_FOUND.to_owned(), |path| describe(&path)),
            haproxy: first_line("haproxy", &["-v"]),
            nginx: first_line("nginx", &["-v"]),
            envoy: envoy().map_or_else(|_| NOT_FOUND.to_owned(), |path| envoy_version(&path)),
            hyper: ["hyper", "h2"].map(locked_version).join(", "),
            pingora: pingora_version(),
            wrk: first_line("wrk", &["--version"]),
            h2load: first_line("h2load", &["--version"]),
        }
    }
}

/// The commit of the work tree, and whether it holds changes besides. Not proof of what was built.
pub(crate) fn commit() -> (String, bool) {
    let described = first_line("git", &["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]);
    match described.strip_suffix("-dirty") {
        Some(commit) => (commit.to_owned(), true),
        None => (described, false),
    }
}

/// In UTC: `2026-01-31T23:59:59Z`.
pub(crate) fn now() -> String {
    first_line("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
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

/// Refuses what no run can do without: the programs that send load and answer it, two cores.
pub(crate) fn check() -> Result<()> {
    let programs = ["setpriv", "taskset", "chrt", "nginx", "wrk", "h2load"];
    if let Some(missing) = programs.into_iter().find(|program| !is_installed(program)) {
        bail!("{missing} is not on PATH: run bench/setup.sh");
    }
    if std::thread::available_parallelism()?.get() <= LOAD_CORE {
        bail!("two cores are needed: one for what is measured, one for the load");
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build; for figures: cargo run --release -p spurline-bench");
    }
    Ok(())
}

/// Refuses a peer that is not installed or not built.
pub(crate) fn check_peer(peer: Peer) -> Result<()> {
    if let Some(program) = peer.program().filter(|program| !is_installed(program)) {
        bail!("{program} is not on PATH: run bench/setup.sh, or leave it out of --peers");
    }
    match peer {
        Peer::Spurline | Peer::SpurlineOne => spurline_proxy().map(drop),
        Peer::Envoy | Peer::EnvoyMatcher => envoy().map(drop),
        _ => Ok(()),
    }
}

/// The same for what is measured of the control service.
pub(crate) fn check_control() -> Result<()> {
    check()?;
    spurline_control()?;
    spurline_proxy()?;
    Ok(())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
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
    // From anywhere on: between this and the start of what listens there nobody else is to find the same.
    let first = fastrand::u16(PORTS);
    let listeners: Vec<TcpListener> = (first..PORTS.end)
        .chain(PORTS.start..first)
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(COUNT)
        .collect();
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().ok().context("no free port on loopback")
}

/// The version of one of our binaries and when it was built: an older build than the commit shows.
fn describe(binary: &Path) -> String {
    let version = first_line(&binary.display().to_string(), &["--version"]);
    let built = first_line("date", &["-u", "-r", &binary.display().to_string(), "+%Y-%m-%dT%H:%MZ"]);
    format!("{version}, built {built}")
}

fn envoy_version(envoy: &Path) -> String {
    let text = command_text(&envoy.display().to_string(), &["--version"]);
    let line = text.lines().find(|line| line.contains("version:")).unwrap_or("unknown");
    line.rsplit("version:").next().unwrap_or_default().trim().to_owned()
}

/// A crate this program was built with.
fn locked_version(name: &str) -> String {
    version_in(include_str!("../../Cargo.lock"), name)
}

/// The crate of the relay on Pingora, which is a package of its own.
fn pingora_version() -> String {
    version_in(include_str!("../relays/pingora/Cargo.lock"), "pingora")
}

fn version_in(lock: &str, name: &str) -> String {
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
        return NOT_FOUND.to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
