//! One scenario: all peers side by side, and how to have its figures again.

use std::fmt::Write as _;

use anyhow::Result;

use super::cell;
use crate::record::{Column, Performed};
use crate::stats::Summary;
use crate::table::figure;

/// The end of a log may follow the reason; the record has all of it.
const REASON_CHARS_MAX: usize = 200;

pub(super) fn render(text: &mut String, performed: &Performed) -> Result<()> {
    let Performed { id, title, about, rounds, metrics, peers, .. } = performed;
    writeln!(text, "\n### {title}\n\n{about}\n")?;
    let times = if *rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
    writeln!(text, "{times}; again: `target/release/spurline-bench run {id}`\n")?;
    if let Some(error) = &performed.error {
        writeln!(text, "Not measured: {}", short(error))?;
        return Ok(());
    }
    let Some((first, others)) = metrics.split_first() else { return Ok(()) };
    let ours = performed.ours().unwrap_or_default();
    writeln!(
        text,
        "| {} ({}{}) | median | MAD | min..max | {ours} ÷ it |",
        first.title,
        first.unit,
        first.better.words()
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|")?;
    for column in peers {
        first_row(text, performed, column, ours)?;
    }
    if !others.is_empty() {
        write!(text, "\n| median ± MAD |")?;
        for metric in others {
            write!(text, " {} ({}) |", cell(&metric.title), metric.unit)?;
        }
        writeln!(text, "\n|---|{}", "---:|".repeat(others.len()))?;
        for column in peers.iter().filter(|column| !column.samples.is_empty()) {
            write!(text, "| {} |", column.peer)?;
            for metric in 1..metrics.len() {
                write!(text, " {} |", column.summary(metric).map_or_else(String::new, with_spread))?;
            }
            text.push('\n');
        }
    }
    failures(text, peers)
}

fn first_row(text: &mut String, performed: &Performed, column: &Column, ours: &str) -> Result<()> {
    let name = if column.peer == ours { format!("**{ours}**") } else { column.peer.clone() };
    let Some(summary) = column.summary(0) else {
        writeln!(text, "| {name} | not measured | | | |")?;
        return Ok(());
    };
    let ratio = if column.peer == ours { None } else { performed.ratio(ours, &column.peer, 0) };
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let Summary { median, min, max, .. } = summary;
    let (median, mad, min, max) = (figure(median), summary.spread(figure), figure(min), figure(max));
    writeln!(text, "| {name} | {median} | {mad} | {min}..{max} | {ratio} |")?;
    Ok(())
}

/// Why something is missing.
fn failures(text: &mut String, peers: &[Column]) -> Result<()> {
    for column in peers {
        if let Some(reason) = column.retried.values().next() {
            let count = column.retried.len();
            writeln!(
                text,
                "\n{}: {count} of its rounds needed a second try: {}",
                column.peer,
                short(reason)
            )?;
        }
        let Some(reason) = column.reason() else { continue };
        let rounds = if column.samples.is_empty() {
            "not measured".to_owned()
        } else {
            format!("{} of its rounds failed", column.errors.len())
        };
        writeln!(text, "\n{}: {rounds}: {}", column.peer, short(&reason))?;
    }
    Ok(())
}

fn with_spread(summary: Summary) -> String {
    let (median, spread) = (figure(summary.median), summary.spread(figure));
    if summary.is_sparse() { format!("{median} ({spread})") } else { format!("{median} ± {spread}") }
}

fn short(reason: &str) -> String {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", cell(line.get(..end).unwrap_or_default())),
        None => cell(&line),
    }
}
