//! What the runs about the control service leave.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::host::Versions;
use crate::report::{mebibytes, print, render_spurline, save};
use crate::stats::percentile;

/// One run of `control-load`.
#[derive(Debug, Serialize)]
pub(crate) struct LoadReport {
    pub(crate) versions: Versions,
    pub(crate) sandboxes: u32,
    pub(crate) workloads: u32,
    /// Requests per second in each phase.
    pub(crate) rate: u32,
    /// Length of each phase, all rounds together.
    pub(crate) seconds: u32,
    pub(crate) loads: Vec<LoadFigures>,
    pub(crate) proxy: ProxyFigures,
    pub(crate) phases: Vec<PhaseFigures>,
}

/// The control service after it has loaded everything.
#[derive(Debug, Serialize)]
pub(crate) struct LoadFigures {
    pub(crate) from: &'static str,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) anonymous_bytes: u64,
}

/// A proxy without overrides and one with an override of each sandbox.
#[derive(Debug, Serialize)]
pub(crate) struct ProxyFigures {
    pub(crate) idle_ready_seconds: f64,
    pub(crate) ready_seconds: f64,
    pub(crate) idle_anonymous_bytes: u64,
    pub(crate) anonymous_bytes: u64,
    /// From the start of a PUT to the answer that the proxy has swapped its table.
    pub(crate) swap_millis: Vec<f64>,
}

/// Latencies of all rounds of one phase.
#[derive(Debug, Serialize)]
pub(crate) struct PhaseFigures {
    name: &'static str,
    swaps: u64,
    latency_micros: Vec<f64>,
    /// 99th percentile of each round.
    round_p99_micros: Vec<f64>,
}

// === impl LoadReport ===

impl LoadReport {
    /// Writes the tables to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        print(&self.render()?)
    }

    /// Writes `control-load.json` into `dir`, over an older one.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir, "control-load.json")
    }

    fn render(&self) -> Result<String> {
        let mut text = render_spurline(&self.versions)?;
        let overrides = self.sandboxes * self.workloads;
        writeln!(
            text,
            "\n{} sandboxes of {} forks each, {overrides} overrides, in the control service\n",
            self.sandboxes, self.workloads
        )?;
        writeln!(
            text,
            "loaded from              s   CPU s   resident MiB   anonymous MiB   bytes per override"
        )?;
        for LoadFigures { from, seconds, cpu_seconds, resident_bytes, anonymous_bytes } in &self.loads {
            writeln!(
                text,
                "{from:<18}{seconds:>8.2}{cpu_seconds:>8.2}{:>15.1}{:>16.1}{:>21.0}",
                mebibytes(*resident_bytes),
                mebibytes(*anonymous_bytes),
                *anonymous_bytes as f64 / f64::from(overrides)
            )?;
        }
        self.render_proxy(&mut text)?;
        self.render_phases(&mut text)?;
        Ok(text)
    }

    fn render_proxy(&self, text: &mut String) -> Result<()> {
        let proxy = &self.proxy;
        writeln!(text, "\na proxy              start to ready, ms   anonymous MiB")?;
        for (name, seconds, bytes) in [
            ("no overrides".to_owned(), proxy.idle_ready_seconds, proxy.idle_anonymous_bytes),
            (format!("{} overrides", self.sandboxes), proxy.ready_seconds, proxy.anonymous_bytes),
        ] {
            writeln!(text, "{name:<18}{:>21.0}{:>16.2}", seconds * 1e3, mebibytes(bytes))?;
        }
        let at = |percent| percentile(&proxy.swap_millis, percent).context("no samples");
        writeln!(
            text,
            "one override changed by PUT until the proxy has swapped its table: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} changes)",
            at(50.0)?,
            at(99.0)?,
            at(100.0)?,
            proxy.swap_millis.len()
        )?;
        Ok(())
    }

    fn render_phases(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\nlatency through that proxy, unkeyed, open loop at {} requests/s, {} s each, µs\n",
            self.rate, self.seconds
        )?;
        writeln!(text, "phase                  p50     p99   p99.9     max   p99 of the rounds   swaps/s")?;
        for phase in &self.phases {
            write!(text, "{:<18}", phase.name)?;
            for percent in [50.0, 99.0, 99.9, 100.0] {
                write!(text, "{:>8.0}", percentile(&phase.latency_micros, percent).context("no samples")?)?;
            }
            let bound = |percent| percentile(&phase.round_p99_micros, percent).context("no rounds");
            writeln!(
                text,
                "{:>20}{:>10.1}",
                format!("{:.0}..{:.0}", bound(0.0)?, bound(100.0)?),
                phase.swaps as f64 / f64::from(self.seconds)
            )?;
        }
        Ok(())
    }
}

// === impl PhaseFigures ===

impl PhaseFigures {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, swaps: 0, latency_micros: Vec::new(), round_p99_micros: Vec::new() }
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, latencies: &[Duration], swaps: u64) {
        let micros: Vec<f64> = latencies.iter().map(|latency| latency.as_secs_f64() * 1e6).collect();
        self.round_p99_micros.extend(percentile(&micros, 99.0));
        self.latency_micros.extend(micros);
        self.swaps += swaps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_a_phase_add_up() {
        let mut phase = PhaseFigures::new("quiet");
        phase.add(&[Duration::from_micros(10), Duration::from_micros(20)], 1);
        phase.add(&[Duration::from_micros(50)], 2);
        assert_eq!((phase.swaps, phase.latency_micros.len()), (3, 3));
        assert_eq!(phase.round_p99_micros, [20.0, 50.0]);
    }
}
