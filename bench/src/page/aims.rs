//! What Spurline is meant to cost at most, beside each peer and by itself, and what a run says of it.

use std::fmt::Write as _;

use anyhow::Result;

use crate::record::Record;
use crate::stats::Summary;
use crate::table::figure;

/// The columns after the work itself; the first is an aim in the figure's own unit.
const AGAINST: [(&str, &str); 7] = [
    ("itself", ""),
    ("floor", "floor"),
    ("HAProxy", "haproxy"),
    ("nginx", "nginx"),
    ("hyper", "hyper"),
    ("Pingora", "pingora"),
    ("Envoy", "envoy"),
];

/// One row: a metric of a scenario, and the most it may be.
struct Row {
    work: &'static str,
    scenario: &'static str,
    metric: &'static str,
    /// Of the figure itself.
    unit: &'static str,
    ours: &'static str,
    /// In the order of [`AGAINST`]; 0 where there is no aim.
    most: [f64; AGAINST.len()],
}

const CPU: &str = "cpu_micros_per_request";
const BYTES: &str = "cpu_millis_per_gibibyte";
const CONNECTION: &str = "kib_per_connection_of_10000";
const IDLE: &str = "idle_resident_mib";

const SMALL: [f64; 7] = [0.0, 1.15, 0.80, 0.75, 0.75, 0.75, 0.25];
const STREAMS: [f64; 7] = [0.0, 2.5, 0.80, 0.15, 0.30, 0.30, 0.10];
const LARGE: [f64; 7] = [0.0, 1.3, 1.0, 1.0, 0.8, 0.8, 0.6];
const LATENCY: [f64; 7] = [0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 0.5];

const ROWS: &[Row] = &[
    row("HTTP/1.1, bodies of 13 bytes, CPU per request", ("http1-13B", CPU), "µs", SMALL),
    row("HTTP/1.1, bodies of 1 KiB, CPU per request", ("http1-1KiB", CPU), "µs", SMALL),
    row("HTTP/2, 8×16 streams, CPU per request", ("http2-64B", CPU), "µs", STREAMS),
    row("gRPC unary, 8×16 streams, CPU per request", ("grpc-unary", CPU), "µs", STREAMS),
    row("HTTP/1.1, bodies of 1 MiB, CPU per GiB", ("http1-1MiB", BYTES), "ms", LARGE),
    row("HTTP/2, bodies of 1 MiB, CPU per GiB", ("http2-1MiB", BYTES), "ms", LARGE),
    row("gRPC streaming, CPU per GiB", ("grpc-streaming-16kB", BYTES), "ms", LARGE),
    row("added latency at a low rate, p50", ("latency-low", "added_p50_micros"), "µs", LATENCY),
    row("added latency at a low rate, p99", ("latency-low", "added_p99_micros"), "µs", LATENCY),
    row("idle connection of HTTP/1.1", ("memory-http1", CONNECTION), "KiB", memory(1.5)),
    row("idle connection of HTTP/2", ("memory-http2", CONNECTION), "KiB", memory(6.0)),
    Row {
        ours: "spurline-1",
        ..row(
            "idle process with one override, resident",
            ("memory-http1", IDLE),
            "MiB",
            [8.0, 0.0, 1.2, 0.0, 0.0, 0.0, 0.1],
        )
    },
    row(
        "override in force in 1,000 proxies, p99",
        ("control-1000", "programmed_p99_millis"),
        "ms",
        [250.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ),
];

/// Aims beside a peer that has no column: (work, scenario, metric, other, most).
const BESIDES: &[(&str, &str, &str, &str, f64)] = &[
    (
        "the last of 10,000 keys costs as much as the only one",
        "table-last-of-10k",
        "keyed_cpu_micros_per_request",
        "spurline-1",
        1.03,
    ),
    (
        "10,000 keys beside Envoy's matcher tree, which gets the key through Lua",
        "table-10k",
        "keyed_cpu_micros_per_request",
        "envoy-matcher",
        1.0,
    ),
];

const fn row(
    work: &'static str,
    (scenario, metric): (&'static str, &'static str),
    unit: &'static str,
    most: [f64; AGAINST.len()],
) -> Row {
    Row { work, scenario, metric, unit, ours: "spurline", most }
}

const fn memory(itself: f64) -> [f64; AGAINST.len()] {
    [itself, 0.0, 1.2, 0.0, 0.1, 0.1, 0.1]
}

/// How many aims there were, and how many are met.
#[derive(Default)]
struct Tally {
    met: u32,
    missed: u32,
    unknown: u32,
}

pub(super) fn render(text: &mut String, record: &Record) -> Result<()> {
    let mut tally = Tally::default();
    let mut lines = String::new();
    let was_run = |id: &str| record.scenarios.iter().any(|performed| performed.id == id);
    for row in ROWS.iter().filter(|row| was_run(row.scenario)) {
        row.render(&mut lines, record, &mut tally)?;
    }
    let mut besides = String::new();
    for &(work, scenario, metric, other, most) in BESIDES.iter().filter(|(_, id, ..)| was_run(id)) {
        let value = value(record, (scenario, metric), "spurline", other);
        let verdict = tally.verdict(value.map(|value| (value, times(value))), most);
        writeln!(besides, "* {work}: {verdict}")?;
    }
    if lines.is_empty() && besides.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n## The aims\n")?;
    write!(text, "{} of {} aims are met", tally.met, tally.met + tally.missed)?;
    if tally.unknown > 0 {
        write!(text, ", {} have no figure: not measured, or no measurable difference", tally.unknown)?;
    }
    writeln!(text, ". A figure is Spurline ÷ the other; what it may be at most stands beside it.")?;
    if !lines.is_empty() {
        let names: Vec<&str> = AGAINST.iter().map(|(name, _)| *name).collect();
        writeln!(text, "\n| work | {} |\n|---|{}", names.join(" | "), "---:|".repeat(names.len()))?;
        text.push_str(&lines);
    }
    if !besides.is_empty() {
        write!(text, "\n{besides}")?;
    }
    Ok(())
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// The ratio to `other`, or the figure itself where there is no other; `None` for what cannot be told from nothing.
fn value(record: &Record, (scenario, metric): (&str, &str), ours: &str, other: &str) -> Option<f64> {
    let performed = record.scenarios.iter().find(|performed| performed.id == scenario)?;
    let metric = performed.metric(metric)?;
    if other.is_empty() {
        return performed.column(ours)?.summary(metric).filter(Summary::is_measurable).map(|it| it.median);
    }
    performed.ratio(ours, other, metric)
}

// === impl Row ===

impl Row {
    fn render(&self, text: &mut String, record: &Record, tally: &mut Tally) -> Result<()> {
        write!(text, "| {} |", self.work)?;
        for ((_, other), most) in AGAINST.iter().zip(self.most) {
            let value = value(record, (self.scenario, self.metric), self.ours, other);
            let value = value.map(|value| {
                (
                    value,
                    if other.is_empty() { format!("{} {}", figure(value), self.unit) } else { times(value) },
                )
            });
            let verdict = if most > 0.0 {
                tally.verdict(value, most)
            } else {
                value.map(|(_, text)| text).unwrap_or_default()
            };
            write!(text, " {verdict} |")?;
        }
        text.push('\n');
        Ok(())
    }
}

// === impl Tally ===

impl Tally {
    /// Of a value, which has been written already.
    fn verdict(&mut self, value: Option<(f64, String)>, most: f64) -> String {
        match value {
            Some((value, text)) if value <= most => {
                self.met += 1;
                format!("{text} ✓ (≤ {})", bound(most))
            }
            Some((value, text)) => {
                self.missed += 1;
                // As many digits as it takes to see that it is more.
                let text = if text == bound(most) { format!("{value:.3}") } else { text };
                format!("**{text} ✗** (≤ {})", bound(most))
            }
            None => {
                self.unknown += 1;
                format!("? (≤ {})", bound(most))
            }
        }
    }
}

fn bound(most: f64) -> String {
    if most >= 100.0 { format!("{most:.0}") } else { format!("{most:.2}") }
}
