//! Overrides in terms of the model, for whoever wants more than their encoding.

use std::{ops::Bound, sync::Arc};

use spurline_route::{OnUnavailable, RoutingKey, Workload};

use crate::document::{Fork, Id, Kind, Ports, Sandbox};

use super::Model;

/// Where requests with a key go that come for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The key, of a sandbox or a route group.
    pub key: RoutingKey,
    /// What they come for.
    pub workload: &'a Workload,
    /// The sandbox whose fork it is; for the key of a group, the member.
    pub sandbox: &'a Arc<str>,
    /// What they get that no endpoint can take.
    pub on_unavailable: OnUnavailable,
    /// Where they go.
    pub ports: &'a Ports,
    /// When the rule ends by itself, in seconds since 1970-01-01T00:00:00Z.
    pub expires_unix_s: Option<u64>,
    document: &'a Sandbox,
    fork: &'a Fork,
}

/// Which rules; every field that is set narrows the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleFilter {
    /// This key only.
    pub routing_key: Option<RoutingKey>,
    /// This sandbox's forks only, by the keys of groups too.
    pub sandbox: Option<String>,
    /// Workloads of this namespace only.
    pub namespace: Option<String>,
    /// Workloads of this kind only.
    pub kind: Option<String>,
    /// Workloads of this name only.
    pub name: Option<String>,
}

// === impl Rule ===

impl Rule<'_> {
    /// The name of the fork.
    #[must_use]
    pub fn fork_name(&self) -> Arc<str> {
        self.document.fork_name(self.fork)
    }
}

// === impl Model ===

impl Model {
    /// The rule for a workload and a key.
    #[must_use]
    pub fn rule(&self, workload: &Workload, key: &RoutingKey) -> Option<Rule<'_>> {
        let owner = self.owner(key)?;
        match owner.kind {
            Kind::Sandbox => self.fork_rule(&owner.name, workload, *key),
            Kind::RouteGroup => self.member_rule(owner, workload, *key),
            Kind::Workload => None,
        }
    }

    /// Rules by key, then by workload.
    pub fn rules<'a>(&'a self, filter: &'a RuleFilter) -> impl Iterator<Item = Rule<'a>> {
        self.rules_after(filter, None)
    }

    /// Those of them that come after the rule for a key and a workload, whether or not there is one. Keys and workloads
    /// before cost nothing.
    pub fn rules_after<'a>(
        &'a self,
        filter: &'a RuleFilter,
        after: Option<(RoutingKey, &'a Workload)>,
    ) -> impl Iterator<Item = Rule<'a>> {
        let named = filter.workload();
        let (first, last) = match filter.routing_key {
            Some(key) => (Bound::Included(key), Bound::Included(key)),
            None => (after.map_or(Bound::Unbounded, |(key, _)| Bound::Included(key)), Bound::Unbounded),
        };
        let keys =
            self.claims.range((first, last)).filter_map(|(key, claims)| Some((*key, &claims.first()?.id)));
        let keys = keys.filter(move |(key, owner)| {
            after.is_none_or(|(after, _)| after <= *key) && self.may_have(owner, filter)
        });
        keys.flat_map(move |(key, owner)| {
            let after = after.filter(|(after, _)| *after == key).map(|(_, workload)| workload);
            let one = named.as_ref().filter(|named| after.is_none_or(|after| after < *named));
            let one = one.and_then(|named| self.rule(named, &key));
            let all = named.is_none().then(|| self.workloads_after(owner, after));
            let all = all.into_iter().flatten().filter(|workload| filter.admits(workload));
            let all = all.filter_map(move |workload| self.rule(workload, &key));
            let rules = one.into_iter().chain(all);
            rules.filter(|rule| filter.sandbox.as_ref().is_none_or(|name| **name == **rule.sandbox))
        })
    }

    fn fork_rule(&self, sandbox: &Arc<str>, workload: &Workload, key: RoutingKey) -> Option<Rule<'_>> {
        let (document, record) = self.sandbox(sandbox)?;
        let fork = document.fork(workload)?;
        Some(Rule {
            key,
            workload: &fork.workload,
            sandbox: &document.name,
            on_unavailable: fork.on_unavailable,
            ports: &fork.ports,
            expires_unix_s: record.expires_unix_s,
            document,
            fork,
        })
    }

    fn member_rule(&self, id: &Id, workload: &Workload, key: RoutingKey) -> Option<Rule<'_>> {
        let winner = self.groups.get(&id.name)?.winner(workload)?;
        let (Ok(age) | Err(age)) = winner;
        let mut rule = self.fork_rule(&age.id.name, workload, key)?;
        let ends = [rule.expires_unix_s, self.get(id)?.expires_unix_s];
        rule.expires_unix_s = ends.into_iter().flatten().min();
        if winner.is_err() {
            (rule.ports, rule.on_unavailable) = (&self.refused, OnUnavailable::Reject);
        }
        Some(rule)
    }

    /// Whether a rule of this document can pass a filter by sandbox.
    fn may_have(&self, owner: &Id, filter: &RuleFilter) -> bool {
        let Some(sandbox) = filter.sandbox.as_deref() else { return true };
        match owner.kind {
            Kind::Sandbox => *owner.name == *sandbox,
            Kind::RouteGroup | Kind::Workload => self
                .groups
                .get(&owner.name)
                .is_some_and(|group| group.members().any(|member| *member.id.name == *sandbox)),
        }
    }
}

// === impl RuleFilter ===

impl RuleFilter {
    /// The only workload that passes, if it is fully named.
    fn workload(&self) -> Option<Workload> {
        let (namespace, kind, name) = (self.namespace.as_ref()?, self.kind.as_ref()?, self.name.as_ref()?);
        Workload::parse(&format!("{namespace}/{kind}/{name}")).ok()
    }

    fn admits(&self, workload: &Workload) -> bool {
        let admits = |field: &Option<String>, part: &str| field.as_ref().is_none_or(|field| field == part);
        admits(&self.namespace, workload.namespace())
            && admits(&self.kind, workload.kind())
            && admits(&self.name, workload.name())
    }
}
