//! All scenarios in one table: Spurline's main figure beside each peer's, before the words and the tables that say more.

use std::fmt::Write as _;

use anyhow::Result;

use super::words::{self, FLOOR, Verdict};
use crate::record::{Performed, Record};

/// Spurline beside itself says nothing of others.
const OURS: &str = "spurline";

pub(super) fn render(text: &mut String, record: &Record) -> Result<()> {
    let mut peers: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for scenario in &record.scenarios {
        let cells: Vec<(&str, String)> = cells(scenario);
        for (peer, _) in &cells {
            if !peers.contains(peer) {
                peers.push(peer);
            }
        }
        if !cells.is_empty() {
            rows.push((scenario, cells));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\n## At a glance\n\nThe first figure of each scenario, Spurline ÷ the other. **Bold**: Spurline loses. ≈: no difference that could \
         be told from the spread. Empty: no part in it, or no ratio.\n"
    )?;
    writeln!(text, "| | {} |\n|---|{}", peers.join(" | "), "---:|".repeat(peers.len()))?;
    for (scenario, cells) in rows {
        let title = scenario.metrics.first().map(|metric| metric.title.as_str()).unwrap_or_default();
        write!(text, "| `{}`: {} |", scenario.id, super::cell(title))?;
        for peer in &peers {
            let cell = cells.iter().find(|(name, _)| name == peer).map_or("", |(_, cell)| cell.as_str());
            write!(text, " {cell} |")?;
        }
        text.push('\n');
    }
    Ok(())
}

/// One for each peer with a ratio.
fn cells(scenario: &Performed) -> Vec<(&str, String)> {
    let others = scenario.peers.iter().filter(|column| !column.peer.starts_with(OURS));
    others
        .filter_map(|column| {
            let comparison = words::main_comparison(scenario, column)?;
            let ratio = comparison.ratio?;
            let cell = match comparison.verdict {
                Verdict::Even => format!("≈ {ratio:.2}"),
                Verdict::Loses if column.peer != FLOOR => format!("**{ratio:.2}**"),
                Verdict::Wins | Verdict::Loses | Verdict::Unknown => format!("{ratio:.2}"),
            };
            Some((column.peer.as_str(), cell))
        })
        .collect()
}
