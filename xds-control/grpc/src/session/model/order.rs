//! Sandboxes that come, change and go, against what a strict request would meet at the client.
//!
//! A key owner and the overrides of its key are one change of the catalog. Whatever is under way, a client that knows the
//! key in one generation must have all of its overrides in that generation or a later one: it would serve a strict
//! request by the baseline otherwise.

use std::collections::HashMap;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Act {
    /// The sandbox of a key is there, in a new generation.
    Put(usize),
    Delete(usize),
    Do(Step),
}

/// What a client follows overrides by.
const FOLLOWED: [usize; 2] = [0, 1];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = 0..NAMES[1].len();
    let act = prop_oneof![
        4 => key.clone().prop_map(Act::Put),
        4 => key.prop_map(Act::Delete),
        2 => Just(Act::Do(Step::Publish)),
        5 => Just(Act::Do(Step::ToServer)),
        5 => Just(Act::Do(Step::ToClient)),
        5 => Just(Act::Do(Step::Send)),
        1 => Just(Act::Do(Step::Wait)),
        1 => Just(Act::Do(Step::Reconnect)),
    ];
    proptest::collection::vec(act, 0..120)
}

struct Sandboxes {
    world: World,
    generation: u64,
    /// The generation of each version.
    generations: HashMap<String, u64>,
}

/// The overrides of a key.
fn overrides(key: &str) -> impl Iterator<Item = &'static str> {
    NAMES[0].iter().copied().filter(move |name| name.ends_with(&format!("/{key}")))
}

impl Sandboxes {
    fn act(&mut self, act: Act) {
        match act {
            Act::Put(key) => self.put(NAMES[1][key]),
            Act::Delete(key) => self.change(NAMES[1][key], None),
            // Both first requests of a stream come within a second.
            Act::Do(Step::Wait) => {
                while !self.world.to_server.is_empty() {
                    self.world.step(Step::ToServer);
                }
                self.world.step(Step::Wait);
            }
            Act::Do(step) => self.world.step(step),
        }
        self.check();
    }

    fn put(&mut self, key: &'static str) {
        self.generation += 1;
        self.change(key, Some(&self.generation.to_string()));
        let entry = self.world.catalog.get(ResourceType::KeyOwner, key).expect("it was put");
        self.generations.insert(entry.version().to_owned(), self.generation);
    }

    fn change(&mut self, key: &'static str, body: Option<&str>) {
        let names = [(ResourceType::KeyOwner, key)];
        for (ty, name) in names.into_iter().chain(overrides(key).map(|name| (ResourceType::Override, name))) {
            self.world.catalog.apply([change(ty, name, body)]);
            self.world.unpublished.insert((ty, name));
        }
    }

    fn check(&self) {
        let [client, owners] = &self.world.client;
        for (key, version) in &owners.resources {
            for name in overrides(key).filter(|name| client.covers(name)) {
                let has = client.resources.get(name).map(|version| self.generations[version]);
                assert!(has >= Some(self.generations[version]), "{key} is known, {name} is {has:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_never_known_without_the_overrides_of_its_generation(
        acts in acts(),
        followed in 0..FOLLOWED.len(),
        bytes_max in prop_oneof![Just(1_usize), Just(150), Just(100_000)],
    ) {
        let mut world = World::new(Rejects::ByName);
        world.limits.response_bytes_max = bytes_max;
        world.session = Session::new(world.limits);
        world.subscribe(0, FOLLOWED[followed]);
        world.subscribe(1, 0);
        let mut sandboxes = Sandboxes { world, generation: 0, generations: HashMap::new() };
        for act in acts {
            sandboxes.act(act);
        }
        sandboxes.world.settle();
        sandboxes.check();
        sandboxes.world.check_equal();
    }
}
