//! What a watcher was told, and what it is to be told next, so that every client of the API can follow it.
//!
//! The clients that exist demand more than the schema says. Before SYNCED they take nothing but ADDs, and some end
//! otherwise. They look a REMOVE up by its sandbox. They keep rules by sandbox too and forget no old one on a REPLACE;
//! a rule that changes its sandbox is therefore removed and added.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use spurline_api::routes::{DestinationSandbox, WatchOp, WorkloadRoutingRule, WorkloadRoutingRuleOp};
use spurline_core::catalog::{Entry, Pattern};

use super::rule::Wanted;
use crate::feed::Sink;

pub(super) struct Told {
    wanted: Wanted,
    hasher: RandomState,
    /// The sandbox of each rule that the watcher has, by the hash of the rule's name.
    rules: HashMap<u64, Arc<str>>,
    sandboxes: Names,
    next: VecDeque<WorkloadRoutingRuleOp>,
    phase: Phase,
    room: usize,
}

enum Phase {
    /// With the rules that were told and have gone since, by the hash of their names.
    Starting(HashMap<u64, WorkloadRoutingRule>),
    Synced,
}

/// Names that many rules have, each kept once.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Told {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            hasher: RandomState::new(),
            rules: HashMap::new(),
            sandboxes: Names::default(),
            next: VecDeque::new(),
            phase: Phase::Starting(HashMap::new()),
            room: 0,
        }
    }

    pub(super) fn pattern(&self) -> Pattern {
        self.wanted.pattern()
    }

    /// Makes room for as many bytes of overrides.
    pub(super) fn make_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    pub(super) fn pop(&mut self) -> Option<WorkloadRoutingRuleOp> {
        self.next.pop_front()
    }

    /// Everything that exists was told. Says so the first time, then what could not be said before.
    pub(super) fn sync(&mut self) {
        if let Phase::Starting(gone) = std::mem::replace(&mut self.phase, Phase::Synced) {
            self.next.push_back(WorkloadRoutingRuleOp { op: WatchOp::Synced.into(), route: None });
            gone.into_values().for_each(|rule| self.tell(WatchOp::Remove, rule));
        }
    }

    /// How many rules and how many names of sandboxes it keeps.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.rules.len(), self.sandboxes.0.len())
    }

    fn tell(&mut self, op: WatchOp, rule: WorkloadRoutingRule) {
        self.next.push_back(WorkloadRoutingRuleOp { op: op.into(), route: Some(rule) });
    }

    fn take(&mut self, name: &str, rule: WorkloadRoutingRule) {
        let hash = self.hasher.hash_one(name);
        let sandbox = rule.destination_sandbox.as_ref().map_or("", |sandbox| &sandbox.name);
        let sandbox = self.sandboxes.share(sandbox);
        let was = self.rules.insert(hash, Arc::clone(&sandbox));
        if let Phase::Starting(gone) = &mut self.phase {
            gone.remove(&hash);
            self.tell(WatchOp::Add, rule);
        } else if let Some(was) = &was {
            if *was == sandbox {
                self.tell(WatchOp::Replace, rule);
            } else {
                self.tell(
                    WatchOp::Remove,
                    WorkloadRoutingRule { mappings: Vec::new(), ..of(was, rule.clone()) },
                );
                self.tell(WatchOp::Add, rule);
            }
        } else {
            self.tell(WatchOp::Add, rule);
        }
        if let Some(was) = was {
            drop(sandbox);
            self.sandboxes.release(&was);
        }
    }

    fn forget(&mut self, name: &str) {
        let hash = self.hasher.hash_one(name);
        let Some(sandbox) = self.rules.remove(&hash) else { return };
        if let Some(rule) = self.wanted.named(name) {
            let rule = of(&sandbox, rule);
            match &mut self.phase {
                Phase::Starting(gone) => drop(gone.insert(hash, rule)),
                Phase::Synced => self.tell(WatchOp::Remove, rule),
            }
        }
        self.sandboxes.release(&sandbox);
    }
}

impl Sink for Told {
    fn room(&self) -> usize {
        self.room
    }

    fn changed(&mut self, entry: &Entry) {
        self.room = self.room.saturating_sub(entry.resource().len());
        match self.wanted.rule(entry) {
            Some(rule) => self.take(entry.name(), rule),
            // It may have been one until its sandbox changed.
            None => self.forget(entry.name()),
        }
    }

    fn removed(&mut self, name: &Arc<str>) {
        self.room = self.room.saturating_sub(name.len());
        self.forget(name);
    }
}

// === impl Names ===

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.0.insert(Arc::clone(&new));
        new
    }

    /// Forgets it if only the caller has it still.
    fn release(&mut self, name: &Arc<str>) {
        if Arc::strong_count(name) == 2 {
            self.0.remove(name);
        }
    }
}

fn of(sandbox: &str, rule: WorkloadRoutingRule) -> WorkloadRoutingRule {
    WorkloadRoutingRule { destination_sandbox: Some(DestinationSandbox { name: sandbox.to_owned() }), ..rule }
}
