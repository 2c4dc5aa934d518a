//! Notices documents of files that changed, so that watchers hear of them as well.
//!
//! Files reach the hub without the writer. It sees that something was applied that was not its own doing, and compares
//! fingerprints of the documents of files then; what it writes itself costs no comparison.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    mem::discriminant,
};

use spurline_core::{
    document::{Document, Id, Kind, Ports},
    model::{Origin, Record},
};
use spurline_hub::Hub;
use tokio::sync::watch;
use xxhash_rust::xxh3::Xxh3Default;

use crate::feed::Happened;

/// Documents that are looked at in one hold of the model's lock.
const LOOK_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Files {
    applied: watch::Receiver<u64>,
    /// How many applications there were, and how many of them were not the writer's, when files were last compared.
    compared: u64,
    own: u64,
    fingerprints: BTreeMap<Id, u64>,
}

// === impl Files ===

impl Files {
    pub(super) fn new(hub: &Hub) -> Self {
        // What was there before the writer is found by the first comparison.
        Self { applied: hub.model_changes(), compared: 0, own: 0, fingerprints: BTreeMap::new() }
    }

    /// The writer is about to apply something itself.
    pub(super) fn applying(&mut self) {
        self.own += 1;
    }

    /// Documents of files that are not as at the last call.
    pub(super) fn changed(&mut self, hub: &Hub) -> Vec<(Id, Happened)> {
        let foreign = self.applied.borrow().saturating_sub(self.own);
        if foreign == self.compared {
            return Vec::new();
        }
        self.compared = foreign;
        let now = fingerprints(hub);
        let mut changed: Vec<(Id, Happened)> = now
            .iter()
            .filter(|(id, fingerprint)| self.fingerprints.get(*id) != Some(*fingerprint))
            .map(|(id, _)| (id.clone(), Happened::Put))
            .collect();
        for id in self.fingerprints.keys().filter(|id| !now.contains_key(*id)) {
            // A stored document may show again that the file hid.
            let is_there = hub.model(|model| model.get(id).is_some());
            changed.push((id.clone(), if is_there { Happened::Put } else { Happened::Deleted }));
        }
        self.fingerprints = now;
        changed
    }
}

fn fingerprints(hub: &Hub) -> BTreeMap<Id, u64> {
    let mut found = BTreeMap::new();
    for kind in Kind::ALL {
        let mut after = Id::new(kind, "");
        loop {
            let look =
                hub.model(|model| model.list_after(&after).take(LOOK_MAX).map(of_file).collect::<Vec<_>>());
            let Some((last, _)) = look.last() else { break };
            after = last.clone();
            found.extend(look.into_iter().filter_map(|(id, fingerprint)| Some((id, fingerprint?))));
        }
    }
    found
}

fn of_file(record: &Record) -> (Id, Option<u64>) {
    (record.document.id(), (record.origin == Origin::File).then(|| fingerprint(&record.document)))
}

/// The same number for equal documents, and most likely another one for others.
pub(crate) fn fingerprint(document: &Document) -> u64 {
    let mut hasher = Xxh3Default::new();
    match document {
        Document::Sandbox(sandbox) => {
            (0, &sandbox.name, &sandbox.labels, sandbox.routing_key.map(|key| key.as_str().to_owned()))
                .hash(&mut hasher);
            for fork in &sandbox.forks {
                (&fork.workload, &fork.name, discriminant(&fork.on_unavailable)).hash(&mut hasher);
                hash_ports(&fork.ports, &mut hasher);
            }
        }
        Document::RouteGroup(group) => {
            (1, &group.name, &group.labels, group.routing_key.map(|key| key.as_str().to_owned()))
                .hash(&mut hasher);
            (&group.names, &group.match_labels, discriminant(&group.conflict)).hash(&mut hasher);
        }
        Document::Workload(baseline) => {
            (2, &baseline.workload, &baseline.labels).hash(&mut hasher);
            (&baseline.hostname, &baseline.app_protocol).hash(&mut hasher);
            hash_ports(&baseline.ports, &mut hasher);
        }
    }
    hasher.finish()
}

fn hash_ports(ports: &Ports, hasher: &mut Xxh3Default) {
    ports.len().hash(hasher);
    for (port, endpoints) in ports {
        (port, endpoints).hash(hasher);
    }
}
