//! What the runs about the control service leave.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::host::Versions;
use crate::report::{mebibytes, print, render_spurline, save};
use crate::stats::percentile;

/// The most that p99 of `programmed` may be with 1,000 proxies.
const TARGET_PROXIES: u32 = 1000;
const TARGET_MILLIS: f64 = 250.0;
/// With fewer streams what one adds is lost among what the process allocates anyway.
const STREAMS_WITH_A_MEMORY_FIGURE: u32 = 100;

/// One run of `control`.
#[derive(Debug, Serialize)]
pub(crate) struct FanOutReport {
    pub(crate) versions: Versions,
    pub(crate) rounds: u32,
    /// Real proxies beside the simulated ones.
    pub(crate) real: u32,
    pub(crate) figures: Vec<FanOutFigures>,
}

/// Every sample with one number of simulated proxies.
#[derive(Debug, Serialize)]
pub(crate) struct FanOutFigures {
    pub(crate) proxies: u32,
    pub(crate) connected_seconds: f64,
    pub(crate) received_millis: Vec<f64>,
    pub(crate) programmed_millis: Vec<f64>,
    pub(crate) cpu_micros_per_stream_and_change: f64,
    pub(crate) idle_stream_bytes: f64,
}

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

// === impl FanOutReport ===

impl FanOutReport {
    /// Writes the table to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        print(&self.render()?)
    }

    /// Writes `control.json` into `dir`, over an older one.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir, "control.json")
    }

    fn render(&self) -> Result<String> {
        let mut text = render_spurline(&self.versions)?;
        writeln!(
            text,
            "\nsandbox created by PUT, wanted by all; {} real proxies among them; {} rounds; ms from the start of the PUT\n",
            self.real, self.rounds
        )?;
        writeln!(
            text,
            "            last client received       programmed n==m           all in   µs CPU per   KiB per"
        )?;
        writeln!(
            text,
            "simulated     p50     p99     max     p50     p99     max         s   stream+change  stream"
        )?;
        for figures in &self.figures {
            figures.render(&mut text)?;
        }
        if let Some(figures) = self.figures.iter().find(|figures| figures.proxies == TARGET_PROXIES) {
            let p99 = percentile(&figures.programmed_millis, 99.0).context("no samples")?;
            let verdict = if p99 <= TARGET_MILLIS { "met" } else { "MISSED" };
            writeln!(
                text,
                "target programmed by {TARGET_PROXIES}, p99 <= {TARGET_MILLIS} ms: {p99:.1} {verdict}"
            )?;
        }
        Ok(text)
    }
}

// === impl FanOutFigures ===

impl FanOutFigures {
    fn render(&self, text: &mut String) -> Result<()> {
        write!(text, "{:<10}", self.proxies)?;
        for samples in [&self.received_millis, &self.programmed_millis] {
            for percent in [50.0, 99.0, 100.0] {
                write!(text, "{:>8.2}", percentile(samples, percent).context("no samples")?)?;
            }
        }
        let kibibytes = if self.proxies < STREAMS_WITH_A_MEMORY_FIGURE {
            "-".to_owned()
        } else {
            format!("{:.1}", self.idle_stream_bytes / 1024.0)
        };
        writeln!(
            text,
            "{:>10.2}{:>16.1}{kibibytes:>8}",
            self.connected_seconds, self.cpu_micros_per_stream_and_change
        )?;
        Ok(())
    }
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
