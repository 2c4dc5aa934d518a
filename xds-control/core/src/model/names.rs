//! Workloads' names, each kept once.

use std::collections::BTreeMap;

use spurline_route::Workload;

use crate::document::Document;

/// How many forks have each workload.
#[derive(Debug, Default)]
pub(super) struct Names {
    uses: BTreeMap<Workload, usize>,
}

// === impl Names ===

impl Names {
    /// Makes a sandbox share the names of the workloads that are known already.
    pub(super) fn share(&mut self, document: &mut Document) {
        let Document::Sandbox(sandbox) = document else { return };
        for fork in &mut sandbox.forks {
            match self.uses.get_key_value(&fork.workload) {
                Some((known, _)) => fork.workload = known.clone(),
                None => drop(self.uses.insert(fork.workload.clone(), 0)),
            }
            if let Some(uses) = self.uses.get_mut(&fork.workload) {
                *uses += 1;
            }
        }
    }

    /// Forgets the names that only this document had.
    pub(super) fn release(&mut self, document: &Document) {
        let Document::Sandbox(sandbox) = document else { return };
        for fork in &sandbox.forks {
            if let Some(uses) = self.uses.get_mut(&fork.workload) {
                *uses = uses.saturating_sub(1);
                if *uses == 0 {
                    self.uses.remove(&fork.workload);
                }
            }
        }
    }
}
