//! What a run of `tls` leaves.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::host::Versions;
use crate::report::{print, render_versions, save};
use crate::stats::{Summary, median, paired_ratio};

const BASES: [&str; 2] = ["haproxy", "nginx"];

type Samples = fn(&TlsFigures) -> &[f64];

/// What is measured, and its unit.
const COLUMNS: [(&str, Samples); 5] = [
    ("new connection, plain, µs CPU", |figures| &figures.plain_connection_micros),
    ("new connection, full handshake, µs CPU", |figures| &figures.full_handshake_micros),
    ("new connection, resumed, µs CPU", |figures| &figures.resumed_handshake_micros),
    ("1 MiB bodies, plain, ms CPU per GiB", |figures| &figures.plain_gibibyte_millis),
    ("1 MiB bodies, TLS, ms CPU per GiB", |figures| &figures.tls_gibibyte_millis),
];

/// One run of `tls`.
#[derive(Debug, Serialize)]
pub(crate) struct TlsReport {
    pub(crate) versions: Versions,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) connections: u32,
    pub(crate) peers: Vec<TlsFigures>,
}

/// Every sample of one peer, in the order of the rounds. A connection is opened, has one request and is closed.
#[derive(Debug, Serialize)]
pub(crate) struct TlsFigures {
    pub(crate) name: &'static str,
    pub(crate) plain_connection_micros: Vec<f64>,
    pub(crate) full_handshake_micros: Vec<f64>,
    pub(crate) resumed_handshake_micros: Vec<f64>,
    /// Share of those that took up an earlier session.
    pub(crate) resumed_share: Vec<f64>,
    pub(crate) plain_gibibyte_millis: Vec<f64>,
    pub(crate) tls_gibibyte_millis: Vec<f64>,
}

impl TlsFigures {
    /// No samples yet.
    pub(crate) fn of(name: &'static str) -> Self {
        Self {
            name,
            plain_connection_micros: Vec::new(),
            full_handshake_micros: Vec::new(),
            resumed_handshake_micros: Vec::new(),
            resumed_share: Vec::new(),
            plain_gibibyte_millis: Vec::new(),
            tls_gibibyte_millis: Vec::new(),
        }
    }
}

impl TlsReport {
    /// Writes the tables to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = render_versions(&self.versions)?;
        writeln!(
            text,
            "\nHTTP/1.1 in TLS 1.3 with the client, plain with the backend; ECDSA P-256, {} connections at once, \
             {} rounds of {} s",
            self.connections, self.rounds, self.seconds
        )?;
        for (title, samples) in COLUMNS {
            writeln!(text, "\n{title}")?;
            writeln!(text, "peer        median     MAD  min..max         haproxy    nginx  per core and s")?;
            for peer in &self.peers {
                let Summary { median: middle, mad, min, max } =
                    Summary::of(samples(peer)).context("no samples")?;
                let spread = format!("{min:.1}..{max:.1}");
                let ratios: String = BASES.iter().map(|base| self.ratio(peer, base, samples)).collect();
                let rate = if title.contains("µs") {
                    format!("{:.0} connections", 1e6 / middle)
                } else {
                    format!("{:.2} GiB", 1e3 / middle)
                };
                writeln!(text, "{:<11}{middle:>7.1}{mad:>8.1}  {spread:<15}{ratios}  {rate}", peer.name)?;
            }
        }
        writeln!(text, "\nresumed of the connections that could be")?;
        for peer in &self.peers {
            let share = median(&peer.resumed_share).context("no samples")?;
            writeln!(text, "{:<11}{:>6.1}%", peer.name, 100.0 * share)?;
        }
        print(&text)
    }

    /// Writes `tls.json` into `dir`, over an older one.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir, "tls.json")
    }

    fn ratio(&self, peer: &TlsFigures, base: &str, samples: Samples) -> String {
        let base = self.peers.iter().find(|other| other.name == base);
        let ratio = base.and_then(|base| paired_ratio(samples(peer), samples(base)));
        ratio.map_or_else(|| format!("{:>9}", "-"), |ratio| format!("{ratio:>9.2}"))
    }
}
