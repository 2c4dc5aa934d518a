//! What the runs with a report of their own leave (`attacks`, `control-load`): text, and JSON when asked for.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::host::{Machine, Versions};

/// The machine and every peer.
pub(crate) fn render_versions(versions: &Versions) -> Result<String> {
    let Versions { haproxy, nginx, envoy, hyper, pingora, wrk, h2load, .. } = versions;
    let mut text = render_spurline(versions)?;
    writeln!(text, "haproxy   {haproxy}\nnginx     {nginx}\nenvoy     {envoy}\nhyper     {hyper}")?;
    writeln!(text, "pingora   {pingora}\nwrk       {wrk}\nh2load    {h2load}")?;
    Ok(text)
}

/// The machine and our own binaries, for runs without peers.
pub(crate) fn render_spurline(versions: &Versions) -> Result<String> {
    let Machine { cpu, kernel, .. } = Machine::read();
    let (commit, _) = crate::host::commit();
    let mut text = String::new();
    writeln!(text, "cpu       {cpu}, kernel {kernel}")?;
    writeln!(text, "control   {} (work tree now at {commit})", versions.control)?;
    writeln!(text, "proxy     {}", versions.spurline)?;
    Ok(text)
}

/// Bytes as MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// To standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Writes `report` as JSON to `name` in `dir`.
pub(crate) fn save(report: &impl Serialize, dir: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(dir)?;
    let path = dir.join(name);
    fs::write(&path, serde_json::to_string_pretty(report)? + "\n")
        .with_context(|| format!("write {}", path.display()))?;
    eprintln!("saved {}", path.display());
    Ok(())
}
