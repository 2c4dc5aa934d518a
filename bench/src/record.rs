//! What one run leaves: everything that a page is made of, and every sample, as one JSON document.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::host::{Machine, Versions};
use crate::scenario::{Better, Metric, Scenario};
use crate::stats::{Summary, median};

/// Of this form of the document.
const SCHEMA: u32 = 1;

/// The end of a run that has none: it was interrupted, or still goes on.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// One run.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) schema: u32,
    /// UTC.
    pub(crate) begin: String,
    /// UTC, or [`INTERRUPTED`].
    pub(crate) end: String,
    /// What was typed.
    pub(crate) command: String,
    /// `full` or `quick`.
    pub(crate) pace: String,
    /// `release`; figures of a `debug` build of the bench say little.
    pub(crate) build: String,
    pub(crate) commit: String,
    /// Whether the work tree held changes that are not in the commit.
    pub(crate) is_dirty: bool,
    pub(crate) machine: Machine,
    pub(crate) versions: Versions,
    pub(crate) scenarios: Vec<Performed>,
}

/// One scenario of a run.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Performed {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) rounds: u32,
    /// Why it could not begin; then there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// In the order of the values.
    pub(crate) metrics: Vec<Figure>,
    pub(crate) peers: Vec<Column>,
}

/// A metric, as it is recorded.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
}

/// What one peer did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Column {
    pub(crate) peer: String,
    /// By round, counted from 1; one value per metric.
    pub(crate) samples: BTreeMap<u32, Vec<f64>>,
    /// By round; a peer that fails twice is not tried again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) errors: BTreeMap<u32, String>,
    /// By round, of Spurline only: why the first try failed where a second one did not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) retried: BTreeMap<u32, String>,
}

// === impl Record ===

impl Record {
    /// A run that begins with this.
    pub(crate) fn begin(command: String, pace: &str) -> Self {
        let (commit, is_dirty) = crate::host::commit();
        Self {
            schema: SCHEMA,
            begin: crate::host::now(),
            end: INTERRUPTED.to_owned(),
            command,
            pace: pace.to_owned(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            commit,
            is_dirty,
            machine: Machine::read(),
            versions: Versions::read(),
            scenarios: Vec::new(),
        }
    }

    /// Reads what [`Record::save`] wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let record: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no record of `spurline-bench run`", path.display()))?;
        ensure!(
            record.schema == SCHEMA,
            "{} has the form {}; this program reads {SCHEMA}",
            path.display(),
            record.schema
        );
        Ok(record)
    }

    /// Writes it into `dir` under its time and commit, whole or not at all.
    pub(crate) fn save(&self, dir: &Path) -> Result<PathBuf> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let path = dir.join(self.file_name());
        let part = path.with_extension("json.part");
        fs::write(&part, self.to_json()?)
            .and_then(|()| fs::rename(&part, &path))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// `<date>T<time>-<commit>.json`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.json", self.begin.replace([':', 'Z'], ""), self.commit)
    }

    fn to_json(&self) -> Result<String> {
        Ok(numbers_in_line(&serde_json::to_string_pretty(self)?))
    }
}

/// One line for a list of numbers: a sample, not its digits, is what a difference between two records shows.
fn numbers_in_line(pretty: &str) -> String {
    let is_number = |line: &str| line.trim().trim_end_matches(',').parse::<f64>().is_ok();
    let mut text = String::with_capacity(pretty.len());
    let mut after_number = false;
    for line in pretty.lines() {
        let in_line = is_number(line) || (after_number && line.trim().starts_with(']'));
        if in_line {
            let space = if text.ends_with(',') { " " } else { "" };
            text.push_str(space);
            text.push_str(line.trim());
        } else {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(line);
        }
        after_number = is_number(line);
    }
    text + "\n"
}

// === impl Performed ===

impl Performed {
    /// Without figures yet.
    pub(crate) fn of(scenario: &Scenario, rounds: u32) -> Self {
        Self {
            id: scenario.id.to_owned(),
            group: scenario.group.to_owned(),
            title: scenario.title.to_owned(),
            about: scenario.about.to_owned(),
            rounds,
            error: None,
            metrics: scenario.metrics.iter().map(Figure::of).collect(),
            peers: Vec::new(),
        }
    }

    /// The place of a metric among the values of a sample.
    pub(crate) fn metric(&self, name: &str) -> Option<usize> {
        self.metrics.iter().position(|metric| metric.name == name)
    }

    /// The peer that is put in ratio to the others: Spurline as it is deployed, else the other Spurline.
    pub(crate) fn ours(&self) -> Option<&str> {
        ["spurline", "spurline-1"].into_iter().find(|name| self.column(name).is_some())
    }

    pub(crate) fn column(&self, peer: &str) -> Option<&Column> {
        self.peers.iter().find(|column| column.peer == peer)
    }

    /// The median of the rounds' own ratios, over rounds in which both were measured: a slow phase of the machine
    /// touches both sides of a ratio. Of what is a difference itself, the ratio of the two medians: a single round may
    /// be below zero. `None` where a side was not measured or does not stand out of its spread.
    pub(crate) fn ratio(&self, peer: &str, base: &str, metric: usize) -> Option<f64> {
        let (peer, base) = (self.column(peer)?, self.column(base)?);
        let (mine, its) = (peer.summary(metric)?, base.summary(metric)?);
        if !mine.is_measurable() || !its.is_measurable() {
            return None;
        }
        if self.metrics.get(metric).is_some_and(Figure::is_difference) {
            return Some(mine.median / its.median);
        }
        let ratios: Vec<f64> = peer
            .samples
            .iter()
            .filter_map(|(round, values)| Some(values.get(metric)? / base.samples.get(round)?.get(metric)?))
            .filter(|ratio| ratio.is_finite())
            .collect();
        median(&ratios)
    }
}

// === impl Figure ===

impl Figure {
    fn of(metric: &Metric) -> Self {
        let Metric { name, title, unit, better } = *metric;
        Self { name: name.to_owned(), title: title.to_owned(), unit: unit.to_owned(), better }
    }

    /// Whether a sample is what was measured with a peer minus what was measured without it.
    fn is_difference(&self) -> bool {
        self.name.starts_with("added_")
    }
}

// === impl Column ===

impl Column {
    /// Median and spread over the rounds; `None` where nothing was measured.
    pub(crate) fn summary(&self, metric: usize) -> Option<Summary> {
        let values: Vec<f64> =
            self.samples.values().filter_map(|values| values.get(metric)).copied().collect();
        Summary::of(&values)
    }

    /// Why there are no figures, in a line.
    pub(crate) fn reason(&self) -> Option<String> {
        let error = self.errors.values().next()?;
        Some(error.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_sample_stand_in_one_line() {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "a": [1.5, 2.0], "b": ["x"], "c": 3 }));
        let text = numbers_in_line(&text.unwrap());
        assert_eq!(text, "{\n  \"a\": [1.5, 2.0],\n  \"b\": [\n    \"x\"\n  ],\n  \"c\": 3\n}\n");
    }

    fn performed(name: &str, columns: &[(&str, &[(u32, f64)])]) -> Performed {
        let column = |(peer, samples): &(&str, &[(u32, f64)])| Column {
            peer: (*peer).to_owned(),
            samples: samples.iter().map(|(round, value)| (*round, vec![*value])).collect(),
            ..Column::default()
        };
        Performed {
            id: String::new(),
            group: String::new(),
            title: String::new(),
            about: String::new(),
            rounds: 3,
            error: None,
            metrics: vec![Figure {
                name: name.to_owned(),
                title: String::new(),
                unit: String::new(),
                better: Better::Lower,
            }],
            peers: columns.iter().map(column).collect(),
        }
    }

    #[test]
    fn a_ratio_pairs_the_rounds_that_both_have() {
        let columns: [(&str, &[_]); 2] =
            [("a", &[(1, 5.0), (2, 50.0), (3, 1.0)]), ("b", &[(1, 10.0), (2, 100.0)])];
        let performed = performed("cpu", &columns);
        assert_eq!(performed.ratio("a", "b", 0), Some(0.5));
        assert_eq!(performed.ratio("a", "c", 0), None);
    }

    #[test]
    fn nothing_is_a_ratio_of_what_does_not_stand_out_of_its_spread() {
        let columns: [(&str, &[_]); 4] = [
            ("below", &[(1, -5.0), (2, -4.0), (3, -6.0)]),
            ("zero", &[(1, 0.0), (2, 0.0), (3, 0.0)]),
            ("noise", &[(1, 1.0), (2, -20.0), (3, 30.0)]),
            ("more", &[(1, 10.0), (2, 11.0), (3, 12.0)]),
        ];
        for name in ["cpu", "added_p99_micros"] {
            let performed = performed(name, &columns);
            for small in ["below", "zero", "noise"] {
                assert_eq!(performed.ratio(small, "more", 0), None, "{small}");
                assert_eq!(performed.ratio("more", small, 0), None, "{small}");
            }
        }
    }

    #[test]
    fn the_ratio_of_differences_is_that_of_their_medians() {
        let columns: [(&str, &[_]); 2] =
            [("a", &[(1, -1.0), (2, 10.0), (3, 12.0)]), ("b", &[(1, 20.0), (2, 20.0), (3, -3.0)])];
        assert_eq!(performed("added_p99_micros", &columns).ratio("a", "b", 0), Some(0.5));
    }
}
