//! The committed counts, and what has become of them.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Instructions per operation, by case.
pub(crate) type Counts = BTreeMap<String, f64>;

/// More than this fails; that much less is to be written down, so that it is not lost again unseen.
const CHANGE_MAX_PERCENT: f64 = 5.0;

/// What the counts were when they were last accepted.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    counts: Counts,
    versions: String,
}

/// Counts beside a baseline.
pub(crate) struct Comparison {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    before: Option<f64>,
    now: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
    /// On one side only.
    Unpaired,
}

// === impl Baseline ===

impl Baseline {
    pub(crate) fn new(counts: Counts, versions: String) -> Self {
        Self { counts, versions }
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no baseline", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(text)?;
        let counts = document.get("instructions").and_then(Value::as_object).context("no `instructions`")?;
        let counts = counts.iter().map(|(name, count)| {
            let count = count.as_f64().with_context(|| format!("{name} is not a number"))?;
            Ok((name.clone(), count))
        });
        let versions = document.get("counted_with").and_then(Value::as_str).unwrap_or("unknown versions");
        Ok(Self { counts: counts.collect::<Result<_>>()?, versions: versions.to_owned() })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = self.document()?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn document(&self) -> Result<String> {
        let tenths = |count: &f64| (count * 10.0).round() / 10.0;
        let counts: Counts = self.counts.iter().map(|(name, count)| (name.clone(), tenths(count))).collect();
        let document = json!({ "counted_with": self.versions, "instructions": counts });
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// What the baseline was counted with.
    pub(crate) fn versions(&self) -> &String {
        &self.versions
    }

    pub(crate) fn compare(&self, counts: &Counts) -> Comparison {
        let mut names: Vec<_> = self.counts.keys().chain(counts.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let row = |name: &String| Row {
            name: name.clone(),
            before: self.counts.get(name).copied(),
            now: counts.get(name).copied(),
        };
        Comparison { rows: names.into_iter().map(row).collect() }
    }
}

// === impl Comparison ===

impl Comparison {
    pub(crate) fn fails(&self) -> bool {
        self.count(Verdict::Worse) + self.count(Verdict::Unpaired) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict() == verdict).count()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>12}{:>12}{:>10}", "instructions per operation", "baseline", "now", "change")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        let (worse, better) = (self.count(Verdict::Worse), self.count(Verdict::Better));
        let unpaired = self.count(Verdict::Unpaired);
        if worse > 0 {
            writeln!(f, "{worse} cost over {CHANGE_MAX_PERCENT} % more than the baseline says.")?;
        }
        if better > 0 {
            writeln!(
                f,
                "{better} cost over {CHANGE_MAX_PERCENT} % less: keep that by updating the baseline."
            )?;
        }
        if unpaired > 0 {
            writeln!(f, "{unpaired} are in one of code and baseline only.")?;
        }
        if worse + better + unpaired > 0 {
            writeln!(f, "`make micro UPDATE=1` accepts the counts as the new baseline.")?;
        }
        Ok(())
    }
}

// === impl Row ===

impl Row {
    fn change_percent(&self) -> Option<f64> {
        let (before, now) = self.before.zip(self.now)?;
        Some((now - before) / before * 100.0)
    }

    fn verdict(&self) -> Verdict {
        match self.change_percent() {
            None => Verdict::Unpaired,
            Some(change) if change > CHANGE_MAX_PERCENT => Verdict::Worse,
            Some(change) if change < -CHANGE_MAX_PERCENT => Verdict::Better,
            Some(_) => Verdict::Same,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: Option<f64>| count.map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"));
        write!(f, "{:<28}{:>12}{:>12}", self.name, count(self.before), count(self.now))?;
        if let Some(change) = self.change_percent() {
            write!(f, "{change:>+8.1} %")?;
        }
        match self.verdict() {
            Verdict::Same => Ok(()),
            Verdict::Better => f.write_str("  better"),
            Verdict::Worse => f.write_str("  WORSE"),
            Verdict::Unpaired => f.write_str("  UNPAIRED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, f64)]) -> Counts {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn comparison(now: &[(&str, f64)]) -> Comparison {
        Baseline::new(counts(&[("a/b", 100.0)]), "x".to_owned()).compare(&counts(now))
    }

    #[test]
    fn what_costs_five_percent_more_passes_and_what_costs_six_fails() {
        assert!(!comparison(&[("a/b", 105.0)]).fails());
        assert!(comparison(&[("a/b", 106.0)]).fails());
        assert!(comparison(&[("a/b", 106.0)]).to_string().contains("UPDATE=1"));
    }

    #[test]
    fn what_costs_less_passes_and_asks_for_a_new_baseline() {
        let better = comparison(&[("a/b", 94.0)]);
        assert!(!better.fails());
        assert!(better.to_string().contains("UPDATE=1"));
        assert!(!comparison(&[("a/b", 96.0)]).to_string().contains("UPDATE=1"));
    }

    #[test]
    fn a_case_on_one_side_only_fails() {
        assert!(comparison(&[]).fails());
        assert!(comparison(&[("a/b", 100.0), ("a/c", 1.0)]).fails());
    }

    #[test]
    fn a_baseline_reads_back_as_it_was_written() {
        let written = Baseline::new(counts(&[("a/b", 12.34)]), "rustc 1".to_owned());
        let read = Baseline::parse(&written.document().unwrap()).unwrap();
        assert_eq!((read.counts, read.versions), (counts(&[("a/b", 12.3)]), "rustc 1".to_owned()));
    }
}
