//! Who may answer a key at which time, while the route table changes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

#[derive(Debug)]
struct Phase {
    /// `None` for the table that a run begins with.
    from: Option<Instant>,
    to: Option<Instant>,
    owners: HashMap<String, String>,
}

/// The tables of a run: each is possible from just before it is published until the next one is known to be in use.
#[derive(Debug)]
pub struct Timeline {
    baseline: Vec<String>,
    phases: Mutex<Vec<Phase>>,
}

impl Timeline {
    /// A run that begins with `owners` (key → upstream); everything else belongs to `baseline`.
    pub fn new(baseline: &str, owners: &[(&str, &str)]) -> Self {
        let phase = Phase { from: None, to: None, owners: map(owners) };
        Self { baseline: vec![baseline.to_owned()], phases: Mutex::new(vec![phase]) }
    }

    /// One more endpoint of the baseline.
    #[must_use]
    pub fn also(mut self, baseline: &str) -> Self {
        self.baseline.push(baseline.to_owned());
        self
    }

    /// Runs `publish`, which has to return only when the new table is in use everywhere, and notes both ends.
    pub fn change(&self, owners: &[(&str, &str)], publish: impl FnOnce()) {
        let phase = Phase { from: Some(Instant::now()), to: None, owners: map(owners) };
        self.phases.lock().expect("phases").push(phase);
        publish();
        let mut phases = self.phases.lock().expect("phases");
        let last = phases.len() - 1;
        phases[last - 1].to = Some(Instant::now());
    }

    /// Who may answer `key` for a request that lived from `began` to `ended`.
    pub fn allowed(&self, key: Option<&str>, began: Instant, ended: Instant) -> Vec<String> {
        let phases = self.phases.lock().expect("phases");
        let possible = phases.iter().filter(|phase| {
            phase.from.is_none_or(|from| from <= ended) && phase.to.is_none_or(|to| began <= to)
        });
        let owner = |phase: &Phase| match key.and_then(|key| phase.owners.get(key)) {
            Some(owner) => vec![owner.clone()],
            None => self.baseline.clone(),
        };
        let mut owners: Vec<_> = possible.flat_map(owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }
}

fn map(owners: &[(&str, &str)]) -> HashMap<String, String> {
    owners.iter().map(|(key, owner)| ((*key).to_owned(), (*owner).to_owned())).collect()
}
