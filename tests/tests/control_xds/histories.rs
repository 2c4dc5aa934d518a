//! Random histories of documents, subscriptions, answers and reconnections, with the end every client must come to.

use super::*;

const WORKLOADS: [&str; 4] = [CART, "shop/Deployment/web", "shop/StatefulSet/db", "other/Deployment/cart"];

/// One client and what it does next; its wishes are among the few below, so that they overlap.
fn act(follower: &mut Follower, connection: &Connection, random: &mut fastrand::Rng) {
    if !follower.is_connected() {
        follower.connect(connection);
    }
    let patterns = [
        "*",
        "shop/Deployment/cart/*",
        "shop/Deployment/web/*",
        "shop/Deployment/cart/s1",
        "shop/StatefulSet/db/s2",
    ];
    let pattern = *random.choice(&patterns).expect("a pattern");
    match random.u8(..14) {
        0..=3 => drop(follower.read(Duration::from_millis(random.u64(..30)))),
        4..=6 => drop(follower.ack()),
        7 => follower.subscribe(OVERRIDE, &[pattern], &[]),
        8 => follower.subscribe(OVERRIDE, &[], &[pattern]),
        9 => follower.subscribe(KEY_OWNER, &["*"], &[]),
        // As a first request of the type it would ask for everything.
        10 if follower.wants(OVERRIDE) => follower.stream().answer(OVERRIDE, "stale", None),
        11 => follower.connect(connection),
        12 => follower.disconnect(),
        _ => follower.settle(Duration::from_millis(10)),
    }
}

fn edit(rest: &Rest, random: &mut fastrand::Rng) {
    let document = Document::sandbox(&format!("s{}", random.u8(..12)));
    if random.u8(..4) == 0 {
        let answer = rest.send("DELETE", &document.target(), "", "");
        assert!(matches!(answer.status, 200 | 204 | 404), "{}", answer.text());
        return;
    }
    let key = document.name().to_owned();
    let mut document = document.key(&key);
    for workload in WORKLOADS {
        if random.bool() {
            document = document.fork(workload, "fork", &[endpoint(random.u16(1..4))]);
        }
    }
    rest.put(&document);
}

#[test]
fn after_quiescence_every_client_has_what_rest_says_whatever_happened_before() {
    let seed = std::env::var("SPURLINE_SEED").map_or(3, |seed| seed.parse().expect("a seed"));
    let mut random = fastrand::Rng::with_seed(seed);
    let control = TestControl::start();
    let (rest, connection) = (control.rest(), control.connection());
    let mut followers: Vec<_> =
        (0..6).map(|number| Follower::connected(&connection, &format!("client-{number}"))).collect();
    for round in 0..4 {
        for _ in 0..150 {
            if random.u8(..3) == 0 {
                edit(&rest, &mut random);
            }
            let which = random.usize(..followers.len());
            act(&mut followers[which], &connection, &mut random);
        }
        let (overrides, owners) = demanded(&rest);
        println!("seed {seed} round {round}: {} overrides, {} keys", overrides.len(), owners.len());
        for follower in &mut followers {
            if !follower.is_connected() {
                follower.connect(&connection);
            }
            // An end that all wishes lead to.
            follower.subscribe(
                OVERRIDE,
                &["*"],
                &[
                    "shop/Deployment/cart/*",
                    "shop/Deployment/web/*",
                    "shop/Deployment/cart/s1",
                    "shop/StatefulSet/db/s2",
                ],
            );
            follower.subscribe(KEY_OWNER, &["*"], &[]);
        }
        for follower in &mut followers {
            follower.follow(OVERRIDE, &overrides, DEADLINE);
            follower.follow(KEY_OWNER, &owners, DEADLINE);
            follower.settle(Duration::from_millis(300));
            follower.assert_conduct();
            for name in &overrides {
                let body: routing::Override = follower.body(OVERRIDE, name).expect("a body");
                let (workload, key) = name.rsplit_once('/').expect("a name");
                let document = rest.get(&format!("/v1/sandboxes/{key}"));
                let forks = document["spec"]["forks"].as_array().expect("forks").clone();
                let fork = forks.iter().find(|fork| fork["workload"] == workload).expect("the fork");
                let address = fork["ports"]["8080"][0].as_str().expect("an endpoint").to_owned();
                assert_eq!(format!("127.0.0.1:{}", body.ports[0].endpoints[0].port), address, "{name}");
            }
        }
    }
}

#[test]
fn a_long_first_update_comes_in_parts_that_lose_and_repeat_nothing_while_it_changes() {
    let directory = tempfile::tempdir().expect("make a directory");
    let count = 12_000;
    let documents: Vec<String> =
        (0..count).map(|number| sandbox(&format!("s{number:05}"), &[CART], 1).file()).collect();
    std::fs::write(directory.path().join("all.yaml"), documents.join("\n---\n")).expect("write");
    let started = Instant::now();
    let control = Control::new().documents(directory.path()).start();
    let mut follower = Follower::connected(&control.connection(), "slow");
    follower.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    let mut wanted: BTreeSet<String> = (0..count).map(|number| cart(&format!("s{number:05}"))).collect();
    eventually_within(Duration::from_secs(60), "the first part", || follower.read(DEADLINE).then_some(()));
    println!("{count} documents are served after {:?}", started.elapsed());
    let rest = control.rest();
    let mut parts = 1;
    loop {
        // Something changes before, in and after what has been sent.
        for prefix in ["a", "s05000x", "z"] {
            let name = format!("{prefix}{parts}");
            rest.put(&sandbox(&name, &[CART], 2));
            wanted.insert(cart(&name));
        }
        while follower.ack() {}
        assert!(follower.read(DEADLINE), "a part is missing after {parts}");
        parts += 1;
        assert!(parts < 60, "it does not end");
        if parts > 12 {
            break;
        }
    }
    assert!(parts > 2, "{parts} parts");
    follower.follow(OVERRIDE, &wanted, DEADLINE);
    follower.assert_conduct();
}
