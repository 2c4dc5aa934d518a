//! Where Spurline wins and where it loses, peer by peer, in words made of the ratios of each scenario's first figure.

use std::fmt::Write as _;

use anyhow::Result;

use crate::record::{Performed, Record};
use crate::scenario::Better;

/// What the yardstick and Spurline itself say stands in the tables.
const NOT_OTHERS: [&str; 3] = ["floor", "spurline", "spurline-1"];

/// A smaller difference is none even where the spread does not show: a peer may have had one round.
const DIFFERENCE_MIN: f64 = 0.02;

/// One comparison.
struct Comparison<'a> {
    peer: &'a str,
    scenario: &'a Performed,
    ratio: f64,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Wins,
    Loses,
    /// The difference is within the spread of both, or too small to mean anything.
    Even,
}

pub(super) fn render(text: &mut String, record: &Record) -> Result<()> {
    let comparisons: Vec<Comparison<'_>> = record.scenarios.iter().flat_map(compare).collect();
    if comparisons.is_empty() {
        return Ok(());
    }
    for (heading, verdict) in [
        ("Where Spurline wins", Verdict::Wins),
        ("Where Spurline loses", Verdict::Loses),
        ("Where there is no difference", Verdict::Even),
    ] {
        let count = comparisons.iter().filter(|it| it.verdict == verdict).count();
        writeln!(
            text,
            "\n## {heading}\n\nIn {count} of {} comparisons, each with Spurline ÷ the other:\n",
            comparisons.len()
        )?;
        for peer in peers(&comparisons) {
            list(text, &comparisons, peer, verdict)?;
        }
    }
    Ok(())
}

fn list(text: &mut String, comparisons: &[Comparison<'_>], peer: &str, verdict: Verdict) -> Result<()> {
    let mut its: Vec<&Comparison<'_>> =
        comparisons.iter().filter(|it| it.peer == peer && it.verdict == verdict).collect();
    its.sort_by(|a, b| distance(b.ratio).total_cmp(&distance(a.ratio)));
    let words: Vec<String> = its.iter().map(|it| format!("{} {:.2}×", it.scenario.id, it.ratio)).collect();
    if !words.is_empty() {
        writeln!(text, "* beside **{peer}** in {}: {}", words.len(), words.join(", "))?;
    }
    Ok(())
}

/// How far a ratio is from none, either way.
fn distance(ratio: f64) -> f64 {
    ratio.ln().abs()
}

fn compare(scenario: &Performed) -> Vec<Comparison<'_>> {
    let others = scenario.peers.iter().filter(|column| !NOT_OTHERS.contains(&column.peer.as_str()));
    let compared = others.filter_map(|column| {
        let ours = scenario.ours()?;
        let (mine, its) = (scenario.column(ours)?.summary(0)?, column.summary(0)?);
        let ratio = scenario.ratio(ours, &column.peer, 0)?;
        let is_less = match scenario.metrics.first()?.better {
            Better::Lower => ratio < 1.0,
            Better::Higher => ratio > 1.0,
            Better::Neither => return None,
        };
        // A difference of two small differences has no ratio that says anything.
        if mine.median <= 0.0 || its.median <= 0.0 || ratio <= 0.0 {
            return None;
        }
        let verdict = match is_less {
            _ if (mine.median - its.median).abs() <= mine.mad + its.mad => Verdict::Even,
            _ if (ratio - 1.0).abs() < DIFFERENCE_MIN => Verdict::Even,
            true => Verdict::Wins,
            false => Verdict::Loses,
        };
        Some(Comparison { peer: &column.peer, scenario, ratio, verdict })
    });
    compared.collect()
}

/// In the order in which they appear.
fn peers<'a>(comparisons: &[Comparison<'a>]) -> Vec<&'a str> {
    let mut peers = Vec::new();
    for comparison in comparisons {
        if !peers.contains(&comparison.peer) {
            peers.push(comparison.peer);
        }
    }
    peers
}
