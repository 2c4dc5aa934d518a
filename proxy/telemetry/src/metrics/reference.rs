//! The reference page of all metrics, generated from the table.

use std::fmt::Write as _;

use prometheus_client::metrics::MetricType;

use super::{
    defs::{BOUNDS_MICROS, Counter, Family, Gauge, Histogram},
    process::{BUILD_INFO, ROWS},
};

const HEAD: &str = "\
# Metrics

Generated from the table of series; do not edit. Regenerate it with
`SPURLINE_UPDATE_REFERENCE=1 cargo test -p spurline-telemetry`.

Served at `/metrics` on the admin listener in the OpenMetrics text format. Every series exists from the start with the
value 0, so a missing series means a missing proxy. No routing key, workload, host or path is ever a label.

";

/// The page in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "Counters", "_total", Counter::FAMILIES);
    section(&mut page, "Gauges", "", Gauge::FAMILIES);
    section(&mut page, "Histograms", "", Histogram::FAMILIES);
    let bounds: Vec<_> =
        BOUNDS_MICROS.iter().map(|micros| std::time::Duration::from_micros(*micros)).collect();
    let _ = writeln!(page, "Buckets end at {bounds:?}.\n");
    page.push_str("## Process\n\n| name | meaning |\n|---|---|\n");
    for row in ROWS {
        let suffix = if matches!(row.kind, MetricType::Counter) { "_total" } else { "" };
        let _ = writeln!(page, "| `{}{suffix}` | {} |", row.name, row.help);
    }
    let (name, help) = BUILD_INFO;
    let _ = writeln!(page, "| `{name}{{version}}` | {help} |");
    page
}

fn section(page: &mut String, title: &str, suffix: &str, families: &[Family]) {
    let _ = writeln!(page, "## {title}\n");
    for family in families {
        let _ = writeln!(page, "### `{}{suffix}`\n\n{}\n", family.name, family.help.trim());
        for label in family.labels {
            let _ = writeln!(page, "| {} | meaning |\n|---|---|", label.name);
            for (value, help) in label.values {
                let _ = writeln!(page, "| `{value}` | {} |", help.trim());
            }
            page.push('\n');
        }
    }
}
