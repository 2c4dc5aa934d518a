//! Random histories against a model without an index and without limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::{collection::vec, prelude::*};
use spurline_core::catalog::{Catalog, ResourceName};

use super::*;

const KEY_OWNER: ResourceType = ResourceType::KeyOwner;
const SANDBOXES: [&str; 3] = ["a", "b", "c"];
const PATTERNS: [(ResourceType, &str); 7] = [
    (OVERRIDE, "*"),
    (OVERRIDE, "shop/Deployment/cart/*"),
    (OVERRIDE, "shop/Deployment/web/*"),
    (OVERRIDE, "shop/Deployment/cart/a"),
    (OVERRIDE, "shop/Deployment/web/b"),
    (KEY_OWNER, "*"),
    (KEY_OWNER, "a"),
];

#[derive(Debug, Clone)]
enum Step {
    Put {
        sandbox: usize,
        forks: usize,
        port: u16,
    },
    Delete(usize),
    Open,
    Close(usize),
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Take {
        stream: usize,
        ty: ResourceType,
        rejects: Vec<bool>,
    },
    RejectWhole(usize, ResourceType),
    /// Rejects so many that no more are kept.
    Flood(usize),
}

/// What a client did, all of it.
#[derive(Debug)]
struct Peer {
    guard: StreamGuard,
    node: String,
    /// Whether each was acknowledged since.
    subscriptions: BTreeMap<(ResourceType, &'static str), bool>,
    acknowledged: HashMap<ResourceType, Revision>,
    rejected: HashMap<(ResourceType, String), Revision>,
    rejected_whole: HashMap<ResourceType, Revision>,
}

/// What follows for one client.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    acknowledged: bool,
    rejects: bool,
    /// There is a pattern of which it has neither everything nor an objection.
    waits: bool,
}

#[derive(Debug)]
struct World {
    hub: Hub,
    peers: Vec<Option<Peer>>,
    has_flood: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let ty = || prop_oneof![3 => Just(OVERRIDE), 1 => Just(KEY_OWNER)];
    let stream = || 0..3_usize;
    prop_oneof![
        4 => (0..3_usize, 0..4_usize, 1..4_u16)
            .prop_map(|(sandbox, forks, port)| Step::Put { sandbox, forks, port }),
        1 => (0..3_usize).prop_map(Step::Delete),
        2 => Just(Step::Open),
        1 => stream().prop_map(Step::Close),
        4 => (stream(), 0..PATTERNS.len()).prop_map(|(stream, pattern)| Step::Subscribe(stream, pattern)),
        1 => (stream(), 0..PATTERNS.len()).prop_map(|(stream, pattern)| Step::Unsubscribe(stream, pattern)),
        6 => (stream(), ty(), vec(prop::bool::weighted(0.3), 9))
            .prop_map(|(stream, ty, rejects)| Step::Take { stream, ty, rejects }),
        1 => (stream(), ty()).prop_map(|(stream, ty)| Step::RejectWhole(stream, ty)),
    ]
}

fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

impl Peer {
    /// Whether it may be told a resource: it has changed, or may have been forgotten.
    fn is_told(&self, ty: ResourceType, revision: Revision) -> bool {
        let is_anew = self.subscriptions.iter().any(|((of, _), is_settled)| *of == ty && !is_settled);
        is_anew || self.acknowledged.get(&ty).is_none_or(|acknowledged| revision > *acknowledged)
    }

    /// `None` if it needs none of the names.
    fn verdict(&self, names: &[(ResourceName, Revision)]) -> Option<Verdict> {
        let mut verdict = None;
        for ((ty, pattern), is_settled) in &self.subscriptions {
            let (mut needs, mut has, mut rejects) = (false, true, false);
            for (name, revision) in
                names.iter().filter(|(name, _)| name.ty == *ty && covers(pattern, &name.name))
            {
                needs = true;
                let taken = *is_settled && self.acknowledged.get(ty).is_some_and(|at| at >= revision);
                let named = self.rejected.get(&(*ty, name.name.to_string())).is_some_and(|at| at >= revision);
                let whole = self.rejected_whole.get(ty).is_some_and(|at| at >= revision) && !taken;
                has &= taken;
                rejects |= named || whole;
            }
            if needs {
                let Verdict { acknowledged, rejects: rejected, waits } =
                    verdict.unwrap_or(Verdict { acknowledged: true, rejects: false, waits: false });
                verdict = Some(Verdict {
                    acknowledged: acknowledged && has && !rejects,
                    rejects: rejected || rejects,
                    waits: waits || !(has || rejects),
                });
            }
        }
        verdict
    }
}

impl World {
    fn new() -> Self {
        Self { hub: Hub::new(Debounce::default()).0, peers: (0..3).map(|_| None).collect(), has_flood: false }
    }

    fn take(&mut self, step: Step) {
        let revision = self.hub.catalog(Catalog::revision);
        match step {
            Step::Put { sandbox, forks, port } => {
                let all = [("cart", 1), ("web", port), ("cart", port)];
                self.hub.apply(vec![put(
                    SANDBOXES[sandbox],
                    [&all[..0], &all[..2], &all[1..2], &all[2..]][forks],
                )]);
            }
            Step::Delete(sandbox) => drop(self.hub.apply(vec![delete(SANDBOXES[sandbox])])),
            Step::Open => self.open(),
            Step::Close(stream) => self.peers[stream] = None,
            Step::Subscribe(stream, at) => {
                let Some(peer) = &mut self.peers[stream] else { return };
                let (ty, pattern) = PATTERNS[at];
                peer.guard.subscribe(ty, &Pattern::parse(pattern).unwrap());
                peer.subscriptions.insert((ty, pattern), false);
            }
            Step::Unsubscribe(stream, at) => {
                let Some(peer) = &mut self.peers[stream] else { return };
                let (ty, pattern) = PATTERNS[at];
                peer.guard.unsubscribe(ty, &Pattern::parse(pattern).unwrap());
                peer.subscriptions.remove(&(ty, pattern));
            }
            Step::Take { stream, ty, rejects } => self.answer((stream, ty), &rejects, revision),
            Step::RejectWhole(stream, ty) => {
                let Some(peer) = &mut self.peers[stream] else { return };
                peer.guard.rejected(ty, rejection(None, revision));
                peer.rejected_whole.insert(ty, revision);
            }
            Step::Flood(stream) => {
                let Some(peer) = &mut self.peers[stream] else { return };
                self.has_flood = true;
                for number in 0..REJECTIONS_MAX {
                    peer.guard.rejected(OVERRIDE, rejection(Some(&format!("x/y/z/{number}")), revision));
                }
            }
        }
    }

    fn open(&mut self) {
        let Some((at, place)) = self.peers.iter_mut().enumerate().find(|(_, peer)| peer.is_none()) else {
            return;
        };
        let (guard, node) = (self.hub.open_stream(), format!("n{at}"));
        guard.describe(Node { id: node.clone(), ..Node::default() });
        *place = Some(Peer {
            guard,
            node,
            subscriptions: BTreeMap::new(),
            acknowledged: HashMap::new(),
            rejected: HashMap::new(),
            rejected_whole: HashMap::new(),
        });
    }

    /// Takes everything but what it rejects of what it is told.
    fn answer(&mut self, (stream, ty): (usize, ResourceType), rejects: &[bool], revision: Revision) {
        let names = self.names(&SANDBOXES);
        let Some(peer) = &mut self.peers[stream] else { return };
        let of_type = names.iter().filter(|(name, _)| name.ty == ty);
        for ((name, changed), rejected) in of_type.zip(rejects.iter().cycle()) {
            if *rejected && peer.is_told(ty, *changed) {
                peer.guard.rejected(ty, rejection(Some(&name.name), revision));
                peer.rejected.insert((ty, name.name.to_string()), revision);
            }
        }
        peer.guard.acknowledged(ty, revision);
        peer.acknowledged.insert(ty, revision);
        peer.rejected_whole.remove(&ty);
        let of_type = peer.subscriptions.iter_mut().filter(|((of, _), _)| *of == ty);
        of_type.for_each(|(_, is_settled)| *is_settled = true);
    }

    /// What sandboxes give, and when it changed.
    fn names(&self, sandboxes: &[&str]) -> Vec<(ResourceName, Revision)> {
        let names = sandboxes.iter().flat_map(|name| self.hub.model(|model| model.resources_of(&id(name))));
        let names: BTreeMap<String, ResourceName> =
            names.map(|name| (format!("{:?} {}", name.ty, name.name), name)).collect();
        names
            .into_values()
            .map(|name| {
                let entry = |catalog: &Catalog| catalog.get(name.ty, &name.name).unwrap().revision();
                let revision = self.hub.catalog(entry);
                (name, revision)
            })
            .collect()
    }

    fn check(&self) {
        for sandbox in SANDBOXES {
            let names = self.names(&[sandbox]);
            let verdicts: Vec<_> = self
                .peers
                .iter()
                .flatten()
                .filter_map(|peer| Some((&*peer.node, peer.verdict(&names)?)))
                .collect();
            let has = verdicts.iter().filter(|(_, verdict)| verdict.acknowledged).count();
            let given = self.hub.model(|model| model.resources_of(&id(sandbox)));
            let programmed = self.hub.programmed_names(&given, Revision(u64::MAX));
            assert_eq!(programmed.proxies, verdicts.len(), "{sandbox}: {self:#?}");
            if self.has_flood {
                assert!(programmed.acknowledged <= has, "{sandbox}: {programmed:?} for {has} of {self:#?}");
                continue;
            }
            assert_eq!(programmed.acknowledged, has, "{sandbox}: {programmed:?} of {self:#?}");
            let rejecting: BTreeSet<&str> =
                verdicts.iter().filter(|(_, verdict)| verdict.rejects).map(|(node, _)| *node).collect();
            let reported: BTreeSet<&str> =
                programmed.rejected.iter().map(|rejected| &*rejected.node).collect();
            assert_eq!(reported, rejecting, "{sandbox}");
            let waits = verdicts.iter().any(|(_, verdict)| verdict.waits);
            assert_eq!(programmed.is_settled(), !waits, "{sandbox}: {programmed:?} of {self:#?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_counted_is_what_clients_said(steps in vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
    }

    #[test]
    fn nothing_counts_as_taken_that_was_not_however_much_was_rejected(
        steps in vec(prop_oneof![12 => step(), 1 => (0..3_usize).prop_map(Step::Flood)], 1..40),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
    }
}
