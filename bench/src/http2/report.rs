//! What a run of `http2` leaves.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::host::Versions;
use crate::report::{Comparison, Cost, PeerFigures, print, render_versions, save};

/// The most one peer's CPU time may be of another's: (peer, other, ratio).
const TARGETS: [(&str, &str, f64); 5] = [
    ("spurline", "floor", 2.5),
    ("spurline", "haproxy", 0.80),
    ("spurline", "nginx", 0.15),
    ("spurline", "hyper", 0.30),
    ("spurline", "envoy", 0.10),
];

/// The same with large bodies.
const LARGE_TARGETS: [(&str, &str, f64); 5] = [
    ("spurline", "floor", 1.3),
    ("spurline", "haproxy", 1.0),
    ("spurline", "nginx", 1.0),
    ("spurline", "hyper", 0.8),
    ("spurline", "envoy", 0.6),
];

/// From here on the bytes are the work, not the requests.
const LARGE_BODY_BYTES: usize = 64 * 1024;

/// One run of `http2`.
#[derive(Debug, Serialize)]
pub(crate) struct Http2Report {
    pub(crate) versions: Versions,
    pub(crate) traffic: &'static str,
    pub(crate) call: &'static str,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) connections: u32,
    pub(crate) streams: u32,
    pub(crate) body_bytes: usize,
    pub(crate) peers: Vec<PeerFigures>,
}

impl Http2Report {
    /// Writes the table to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = render_versions(&self.versions)?;
        let Self { call, connections, streams, body_bytes, traffic, rounds, seconds, .. } = self;
        writeln!(
            text,
            "\nHTTP/2 (h2c), {call} POST, {connections} connections x {streams} streams, {body_bytes} B bodies both ways, \
             {traffic} traffic,\n{rounds} rounds of {seconds} s, one core per proxy\n"
        )?;
        let is_large = self.body_bytes >= LARGE_BODY_BYTES;
        let comparison = Comparison {
            peers: &self.peers,
            cost: if is_large { Cost::PerGibibyte } else { Cost::PerRequest },
            bases: &["haproxy", "nginx", "hyper", "envoy", "floor"],
            targets: if is_large { &LARGE_TARGETS } else { &TARGETS },
        };
        comparison.render(&mut text)?;
        print(&text)
    }

    /// Writes `http2-<call>-<traffic>-<body>B.json` into `dir`, over an older one.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir, &format!("http2-{}-{}-{}B.json", self.call, self.traffic, self.body_bytes))
    }
}
