//! What a run leaves: a table on standard output and, when asked for, JSON with every sample.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::host::Versions;
use crate::stats::{Summary, median, paired_ratio};

/// The most one peer's CPU time may be of another's: (peer, other, ratio).
const TARGETS: [(&str, &str, f64); 4] = [
    ("spurline", "floor", 1.15),
    ("spurline", "haproxy", 0.80),
    ("spurline", "nginx", 0.75),
    ("spurline", "spurline-1", 1.03),
];

/// One run of `http1`.
#[derive(Debug, Serialize)]
pub(crate) struct Http1Report {
    pub(crate) versions: Versions,
    pub(crate) traffic: &'static str,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) connections: u32,
    pub(crate) body_bytes: usize,
    pub(crate) peers: Vec<PeerFigures>,
}

/// Every sample of one peer, in the order of the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct PeerFigures {
    pub(crate) name: &'static str,
    pub(crate) cpu_micros_per_request: Vec<f64>,
    /// Of bodies, both ways together; empty where bodies are not the work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cpu_millis_per_gibibyte: Vec<f64>,
    pub(crate) requests_per_second: Vec<f64>,
    pub(crate) busy_share: Vec<f64>,
}

/// What CPU time is counted per.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost {
    PerRequest,
    PerGibibyte,
}

/// Peers side by side.
pub(crate) struct Comparison<'a> {
    pub(crate) peers: &'a [PeerFigures],
    pub(crate) cost: Cost,
    /// Peers that all are put in ratio to, where they were measured.
    pub(crate) bases: &'a [&'static str],
    /// (peer, other, the most the ratio may be).
    pub(crate) targets: &'a [(&'static str, &'static str, f64)],
}

/// One run of `memory`.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryReport {
    pub(crate) versions: Versions,
    pub(crate) protocol: &'static str,
    pub(crate) connections: u32,
    pub(crate) peers: Vec<MemoryFigures>,
}

#[derive(Debug, Serialize)]
pub(crate) struct MemoryFigures {
    pub(crate) name: &'static str,
    pub(crate) idle_resident_bytes: u64,
    pub(crate) idle_anonymous_bytes: u64,
    /// Anonymous bytes one idle connection added.
    pub(crate) connection_bytes: f64,
}

// === impl Http1Report ===

impl Http1Report {
    /// Writes the table to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        print(&self.render()?)
    }

    /// Writes `http1-<traffic>-<body>B.json` into `dir`, over an older one.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir, &format!("http1-{}-{}B.json", self.traffic, self.body_bytes))
    }

    fn render(&self) -> Result<String> {
        let mut text = render_versions(&self.versions)?;
        writeln!(
            text,
            "\nHTTP/1.1 keep-alive, {} connections, {} B body, {} traffic, {} rounds of {} s, one core per proxy\n",
            self.connections, self.body_bytes, self.traffic, self.rounds, self.seconds
        )?;
        let comparison = Comparison {
            peers: &self.peers,
            cost: Cost::PerRequest,
            bases: &["haproxy", "floor"],
            targets: &TARGETS,
        };
        comparison.render(&mut text)?;
        Ok(text)
    }
}

// === impl Comparison ===

impl Comparison<'_> {
    /// Appends a line for each peer, and one for each target that was measured.
    pub(crate) fn render(&self, text: &mut String) -> Result<()> {
        let (unit, digits) = match self.cost {
            Cost::PerRequest => ("µs CPU per request", 2),
            Cost::PerGibibyte => ("ms CPU per GiB", 0),
        };
        let bases: String = self.bases.iter().map(|base| format!("{base:>9}")).collect();
        let width = bases.len();
        writeln!(text, "            {unit:<33}{:>width$}    median   core", "ratio of CPU to")?;
        writeln!(text, "peer        median     MAD  min..max       {bases}     req/s   busy")?;
        for peer in self.peers {
            let Summary { median: middle, mad, min, max } =
                Summary::of(self.cost.of(peer)).context("no samples")?;
            let ratios: String =
                self.bases.iter().map(|base| format!("{:>9}", self.ratio_text(peer, base))).collect();
            writeln!(
                text,
                "{:<11}{middle:>7.digits$}{mad:>8.digits$}  {:<15}{ratios}{:>10.0}{:>6.0}%",
                peer.name,
                format!("{min:.digits$}..{max:.digits$}"),
                median(&peer.requests_per_second).context("no samples")?,
                100.0 * median(&peer.busy_share).context("no samples")?,
            )?;
        }
        self.render_targets(text)
    }

    fn render_targets(&self, text: &mut String) -> Result<()> {
        for (name, other, limit) in self.targets {
            let Some(ratio) = self.figures(name).and_then(|peer| self.ratio(peer, other)) else { continue };
            let verdict = if ratio <= *limit { "met" } else { "MISSED" };
            writeln!(text, "target {name} / {other} <= {limit:.2}: {ratio:.3} {verdict}")?;
        }
        Ok(())
    }

    fn figures(&self, name: &str) -> Option<&PeerFigures> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    fn ratio(&self, peer: &PeerFigures, other: &str) -> Option<f64> {
        paired_ratio(self.cost.of(peer), self.cost.of(self.figures(other)?))
    }

    fn ratio_text(&self, peer: &PeerFigures, other: &str) -> String {
        self.ratio(peer, other).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
    }
}

// === impl Cost ===

impl Cost {
    fn of(self, peer: &PeerFigures) -> &[f64] {
        match self {
            Self::PerRequest => &peer.cpu_micros_per_request,
            Self::PerGibibyte => &peer.cpu_millis_per_gibibyte,
        }
    }
}

// === impl MemoryReport ===

impl MemoryReport {
    /// Writes the table to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = render_versions(&self.versions)?;
        writeln!(text, "\n{} idle {} connections, one request on each\n", self.connections, self.protocol)?;
        writeln!(text, "             idle process, MiB      per idle connection")?;
        writeln!(text, "peer        resident  anonymous     KiB anonymous")?;
        for peer in &self.peers {
            writeln!(
                text,
                "{:<11}{:>9.2}{:>11.2}{:>18.2}",
                peer.name,
                mebibytes(peer.idle_resident_bytes),
                mebibytes(peer.idle_anonymous_bytes),
                peer.connection_bytes / 1024.0
            )?;
        }
        print(&text)
    }

    /// Writes `memory-<protocol>.json` into `dir`, over an older one.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir, &format!("memory-{}.json", self.protocol.replace('/', "")))
    }
}

/// The machine and every peer.
pub(crate) fn render_versions(versions: &Versions) -> Result<String> {
    let Versions { cpu, kernel, commit, spurline, haproxy, nginx, envoy, hyper, wrk, h2load, control: _ } =
        versions;
    let mut text = String::new();
    writeln!(text, "cpu       {cpu}, kernel {kernel}")?;
    writeln!(text, "spurline  {spurline} (work tree now at {commit})")?;
    writeln!(text, "haproxy   {haproxy}\nnginx     {nginx}\nenvoy     {envoy}\nhyper     {hyper}")?;
    writeln!(text, "wrk       {wrk}\nh2load    {h2load}")?;
    Ok(text)
}

/// The machine and our own binaries, for runs without peers.
pub(crate) fn render_spurline(versions: &Versions) -> Result<String> {
    let Versions { cpu, kernel, commit, spurline, control, .. } = versions;
    let mut text = String::new();
    writeln!(text, "cpu       {cpu}, kernel {kernel}")?;
    writeln!(text, "control   {control} (work tree now at {commit})")?;
    writeln!(text, "proxy     {spurline}")?;
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
