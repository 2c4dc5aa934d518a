//! Where Spurline wins and where it loses, peer by peer, in words made of the ratios of all figures that have a good side.

use std::fmt::Write as _;

use anyhow::Result;

use crate::record::{Column, Performed, Record};
use crate::scenario::Better;
use crate::stats::Summary;

/// What the yardstick and Spurline itself say stands in the tables.
const NOT_OTHERS: [&str; 3] = [FLOOR, "spurline", "spurline-1"];

/// The yardstick: nobody wins or loses beside it.
pub(super) const FLOOR: &str = "floor";

/// A smaller difference is none even where the spread does not show: a peer may have had one round.
const DIFFERENCE_MIN: f64 = 0.02;

/// The same where a side has too few samples to show a spread.
const SPARSE_DIFFERENCE_MIN: f64 = 0.1;

/// One comparison.
pub(super) struct Comparison<'a> {
    peer: &'a str,
    scenario: &'a str,
    metric: &'a str,
    /// `None` where a side does not stand out of its spread.
    pub(super) ratio: Option<f64>,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Wins,
    Loses,
    /// The difference is within the spread of both, or too small to mean anything.
    Even,
    /// Nothing can be said in a ratio; the tables have both figures.
    Unknown,
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
        ("Where there is no ratio", Verdict::Unknown),
    ] {
        let count = comparisons.iter().filter(|it| it.verdict == verdict).count();
        if count == 0 && verdict == Verdict::Unknown {
            continue;
        }
        let with = match verdict {
            Verdict::Unknown => {
                "where a side is not above zero and its own MAD, or where one round puts Spurline ahead of the floor"
            }
            _ => "each with Spurline ÷ the other",
        };
        writeln!(text, "\n## {heading}\n\nIn {count} of {} comparisons, {with}:\n", comparisons.len())?;
        for peer in peers(&comparisons) {
            list(text, &comparisons, peer, verdict)?;
        }
    }
    Ok(())
}

fn list(text: &mut String, comparisons: &[Comparison<'_>], peer: &str, verdict: Verdict) -> Result<()> {
    let mut its: Vec<&Comparison<'_>> =
        comparisons.iter().filter(|it| it.peer == peer && it.verdict == verdict).collect();
    its.sort_by(|a, b| b.distance().total_cmp(&a.distance()));
    let words: Vec<String> = its.iter().map(|it| it.words()).collect();
    if !words.is_empty() {
        writeln!(text, "* beside **{peer}** in {}: {}", words.len(), words.join(", "))?;
    }
    Ok(())
}

fn compare(scenario: &Performed) -> Vec<Comparison<'_>> {
    let others = scenario.peers.iter().filter(|column| !NOT_OTHERS.contains(&column.peer.as_str()));
    others.flat_map(|column| compare_with(scenario, column)).collect()
}

/// That of the first figure, the one that is plotted.
pub(super) fn main_comparison<'a>(scenario: &'a Performed, column: &'a Column) -> Option<Comparison<'a>> {
    let first = scenario.metrics.first()?;
    compare_with(scenario, column).into_iter().find(|comparison| comparison.metric == first.name)
}

fn compare_with<'a>(scenario: &'a Performed, column: &'a Column) -> Vec<Comparison<'a>> {
    let metrics = scenario.metrics.iter().enumerate().filter(|(_, metric)| metric.better != Better::Neither);
    let compared = metrics.filter_map(|(place, metric)| {
        let ours = scenario.ours()?;
        let (mine, its) = (scenario.column(ours)?.summary(place)?, column.summary(place)?);
        let ratio = scenario
            .ratio(ours, &column.peer, place)
            .filter(|_| !is_noise(scenario, place, mine, metric.better));
        let verdict = ratio.map_or(Verdict::Unknown, |ratio| verdict(mine, its, ratio, metric.better));
        Some(Comparison { peer: &column.peer, scenario: &scenario.id, metric: &metric.name, ratio, verdict })
    });
    compared.collect()
}

/// Whether one round puts Spurline ahead of the floor, which does less of the same: then the figure is the machine's.
fn is_noise(scenario: &Performed, place: usize, mine: Summary, better: Better) -> bool {
    let floor = scenario.column(FLOOR).and_then(|column| column.summary(place));
    floor
        .filter(|floor| mine.is_sparse() && floor.median > 0.0)
        .is_some_and(|floor| verdict(mine, floor, mine.median / floor.median, better) == Verdict::Wins)
}

fn verdict(mine: Summary, its: Summary, ratio: f64, better: Better) -> Verdict {
    let is_sparse = mine.is_sparse() || its.is_sparse();
    let least = if is_sparse { SPARSE_DIFFERENCE_MIN } else { DIFFERENCE_MIN };
    let is_within_spread = (mine.median - its.median).abs() <= mine.mad + its.mad;
    if is_within_spread || (ratio - 1.0).abs() < least {
        Verdict::Even
    } else if (ratio < 1.0) == (better == Better::Lower) {
        Verdict::Wins
    } else {
        Verdict::Loses
    }
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

// === impl Comparison ===

impl Comparison<'_> {
    /// How far the ratio is from none, either way.
    fn distance(&self) -> f64 {
        self.ratio.map_or(0.0, |ratio| ratio.ln().abs())
    }

    fn words(&self) -> String {
        let ratio = self.ratio.map(|ratio| format!(" {ratio:.2}×")).unwrap_or_default();
        format!("{}: {}{ratio}", self.scenario, self.metric)
    }
}
