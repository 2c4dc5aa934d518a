//! How one edit changes the model, and what it may change in the resources.
//!
//! A document goes out whole and comes in whole: out of its key, its groups and the indices with what it was, into
//! them with what it is. What may differ is noted on the way, and derived once all edits are in.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use spurline_route::RoutingKey;

use crate::document::{Document, Id, Kind, RouteGroup, Sandbox};

use super::{
    Age, Dirty, Edit, Label, Model,
    group::{Group, Turn},
};

// === impl Model ===

impl Model {
    pub(super) fn edit(&mut self, edit: Edit, dirty: &mut Dirty) {
        let (id, origin, record) = match edit {
            Edit::Put(record) => (record.document.id(), record.origin, Some(Box::new(record))),
            Edit::Delete { id, origin } => (id, origin, None),
        };
        if self.documents.get(&id).is_none_or(|slot| slot.is_empty()) && record.is_none() {
            return;
        }
        self.take_out(&id, dirty);
        let record = record.map(|mut record| {
            self.names.share(&mut record.document);
            record
        });
        let slot = self.documents.entry(id.clone()).or_default();
        let old = std::mem::replace(slot.of(origin), record);
        if slot.is_empty() {
            self.documents.remove(&id);
        }
        if let Some(old) = old {
            self.names.release(&old.document);
        }
        self.bring_in(&id, dirty);
    }

    /// Undoes what the visible document of this name does.
    fn take_out(&mut self, id: &Id, dirty: &mut Dirty) {
        let Some(record) = self.get(id) else { return };
        let (age, key) = (record.age(), record.document.routing_key());
        match key {
            None => drop(dirty.baselines.insert(id.clone())),
            Some(key) => self.give_up(&key, &age, dirty),
        }
        if id.kind == Kind::RouteGroup {
            self.dissolve(&id.name);
        }
    }

    /// Does what the visible document of this name does.
    fn bring_in(&mut self, id: &Id, dirty: &mut Dirty) {
        let Some(record) = self.get(id) else { return };
        let (age, key) = (record.age(), record.document.routing_key());
        let Some(key) = key else {
            dirty.baselines.insert(id.clone());
            return;
        };
        if let Document::RouteGroup(group) = &record.document {
            let group = group.clone();
            self.found(group, key);
        }
        self.claim(key, &age, dirty);
    }

    fn claim(&mut self, key: RoutingKey, age: &Age, dirty: &mut Dirty) {
        let claims = self.claims.entry(key).or_default();
        let before = claims.first().cloned();
        claims.insert(age.clone());
        if before.as_ref().is_some_and(|before| before < age) {
            return;
        }
        if let Some(before) = before {
            self.withdraw(&key, &before, dirty);
        }
        self.accept(&key, age, dirty);
    }

    fn give_up(&mut self, key: &RoutingKey, age: &Age, dirty: &mut Dirty) {
        let Some(claims) = self.claims.get_mut(key) else { return };
        let had_it = claims.first() == Some(age);
        claims.remove(age);
        let next = claims.first().cloned();
        if claims.is_empty() {
            self.claims.remove(key);
        }
        if had_it {
            self.withdraw(key, age, dirty);
            if let Some(next) = next {
                self.accept(key, &next, dirty);
            }
        }
    }

    /// A document has its key now.
    fn accept(&mut self, key: &RoutingKey, age: &Age, dirty: &mut Dirty) {
        self.touch(key, &age.id, dirty);
        let Some((sandbox, _)) = self.sandbox(&age.id.name).filter(|_| age.id.kind == Kind::Sandbox) else {
            return;
        };
        let (name, labels) = (Arc::clone(&sandbox.name), sandbox.labels.clone());
        for group in self.groups_with(&name, &labels) {
            let turns = self.groups.get_mut(&group).map(|group| group.join(age.clone()));
            self.turn(&group, turns.unwrap_or_default(), dirty);
        }
        for label in labels {
            self.sandboxes_by_label.entry(label).or_default().insert(Arc::clone(&name));
        }
    }

    /// A document has its key no longer.
    fn withdraw(&mut self, key: &RoutingKey, age: &Age, dirty: &mut Dirty) {
        self.touch(key, &age.id, dirty);
        let Some((sandbox, _)) = self.sandbox(&age.id.name).filter(|_| age.id.kind == Kind::Sandbox) else {
            return;
        };
        let (name, labels) = (Arc::clone(&sandbox.name), sandbox.labels.clone());
        for group in self.groups_with(&name, &labels) {
            let turns = self.groups.get_mut(&group).map(|group| group.leave(age));
            self.turn(&group, turns.unwrap_or_default(), dirty);
        }
        for label in &labels {
            remove(&mut self.sandboxes_by_label, label, &name);
        }
    }

    /// Everything that a document gives for its key may differ.
    fn touch(&self, key: &RoutingKey, id: &Id, dirty: &mut Dirty) {
        dirty.owner(*key);
        for workload in self.workloads_of(id) {
            dirty.workload(*key, workload);
        }
    }

    /// Counts the forks of those who came to count in a group, and no longer those of who went.
    fn turn(&mut self, group: &Arc<str>, turns: Vec<Turn>, dirty: &mut Dirty) {
        for turn in turns {
            let (Turn::In(age) | Turn::Out(age)) = &turn;
            let Some(Document::Sandbox(sandbox)) =
                self.documents.get(&age.id).and_then(|slot| slot.visible()).map(|record| &record.document)
            else {
                continue;
            };
            let Some(group) = self.groups.get_mut(group) else { continue };
            match turn {
                Turn::In(_) => group.count(age, sandbox),
                Turn::Out(_) => group.discount(age, sandbox),
            }
            sandbox.forks.iter().for_each(|fork| dirty.workload(group.key, &fork.workload));
        }
    }

    /// Sets a group up with the sandboxes that it has from the start.
    fn found(&mut self, document: RouteGroup, key: RoutingKey) {
        let name = Arc::clone(&document.name);
        for sandbox in &document.names {
            self.groups_by_name.entry(Arc::clone(sandbox)).or_default().insert(Arc::clone(&name));
        }
        if let Some(label) = document.match_labels.first() {
            self.groups_by_label.entry(label.clone()).or_default().insert(Arc::clone(&name));
        }
        let members = self.members_of(&document);
        self.groups.insert(Arc::clone(&name), Group::new(document, key));
        // Nobody knows the group yet: what it gives is touched when it gets its key.
        let mut unseen = Dirty::default();
        for age in members {
            let turns = self.groups.get_mut(&name).map(|group| group.join(age));
            self.turn(&name, turns.unwrap_or_default(), &mut unseen);
        }
    }

    fn dissolve(&mut self, name: &Arc<str>) {
        let Some(Group { document, .. }) = self.groups.remove(name) else { return };
        for sandbox in &document.names {
            remove(&mut self.groups_by_name, sandbox, name);
        }
        if let Some(label) = document.match_labels.first() {
            remove(&mut self.groups_by_label, label, name);
        }
    }

    /// The accepted sandboxes that a group names or selects.
    fn members_of(&self, group: &RouteGroup) -> BTreeSet<Age> {
        let named = group.names.iter().filter_map(|name| self.accepted(name));
        // Who has all labels has the rarest.
        let sets = group.match_labels.iter().map(|label| self.sandboxes_by_label.get(label));
        let rarest = sets.min_by_key(|set| set.map_or(0, BTreeSet::len)).flatten();
        let selected = rarest.into_iter().flatten().filter_map(|name| self.accepted(name));
        let selected = selected.filter(|(sandbox, _)| selects(group, &sandbox.labels));
        named.chain(selected).map(|(_, age)| age).collect()
    }

    /// The groups that name or select a sandbox.
    fn groups_with(&self, name: &Arc<str>, labels: &[Label]) -> BTreeSet<Arc<str>> {
        let naming = self.groups_by_name.get(name).into_iter().flatten();
        let selecting = labels.iter().filter_map(|label| self.groups_by_label.get(label)).flatten();
        let selecting = selecting
            .filter(|name| self.groups.get(*name).is_some_and(|group| selects(&group.document, labels)));
        naming.chain(selecting).cloned().collect()
    }

    /// A sandbox that has its key.
    pub(super) fn accepted(&self, name: &Arc<str>) -> Option<(&Sandbox, Age)> {
        let (sandbox, record) = self.sandbox(name)?;
        let age = record.age();
        let owner = self.owner(&record.document.routing_key()?)?;
        (*owner == age.id).then_some((sandbox, age))
    }
}

/// Whether the labels have all that a group selects. A group without a selector selects nobody.
fn selects(group: &RouteGroup, labels: &[Label]) -> bool {
    !group.match_labels.is_empty()
        && group.match_labels.iter().all(|label| labels.binary_search(label).is_ok())
}

/// Removes a value, and the set with its last one.
fn remove<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(
    sets: &mut BTreeMap<K, BTreeSet<Arc<str>>>,
    key: &Q,
    value: &Arc<str>,
) {
    let Some(set) = sets.get_mut(key) else { return };
    set.remove(value);
    if set.is_empty() {
        sets.remove(key);
    }
}
