//! The adversarial peers themselves: an honest server with a correct client, and judges that catch what they must.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use spurline_tests::xds::{
    Ads, Asked, Connection, Follower, Heard, Honest, KEY_OWNER, OVERRIDE, Request, Response, World, covers,
    over_ride, reading,
};
use spurline_tests::{DEADLINE, free_address};

const CART: &str = "shop/Deployment/cart";

fn world(keys: &[&str]) -> World {
    let mut world = World::default();
    for key in keys {
        world.put_override(CART, key, "fork", &[free_address()]);
    }
    world
}

fn names(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| format!("{CART}/{key}")).collect()
}

/// A stream whose client is a script and whose server is one, too.
fn scripts(ads: &Ads) -> (spurline_tests::xds::Stream, spurline_tests::xds::Session) {
    let stream = Connection::open(ads.address()).stream("script");
    (stream, ads.accept())
}

#[test]
fn a_follower_of_an_honest_server_has_what_there_is() {
    let honest = Honest::start(world(&["a", "b"]));
    let connection = Connection::open(honest.address());
    let mut follower = Follower::connected(&connection, "one");
    follower.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    follower.follow(OVERRIDE, &names(&["a", "b"]), DEADLINE);
    honest.edit(|world| world.put_override(CART, "c", "fork", &[]));
    honest.edit(|world| world.remove(OVERRIDE, &format!("{CART}/a")));
    follower.follow(OVERRIDE, &names(&["b", "c"]), DEADLINE);
    follower.disconnect();
    honest.edit(|world| world.remove(OVERRIDE, &format!("{CART}/b")));
    follower.connect(&connection);
    follower.follow(OVERRIDE, &names(&["c"]), DEADLINE);
    follower.subscribe(OVERRIDE, &[&format!("{CART}/nobody")], &[&format!("{CART}/*")]);
    follower.settle(Duration::from_millis(100));
    assert!(follower.is_absent(OVERRIDE, &format!("{CART}/nobody")));
    follower.assert_conduct();
}

#[test]
fn a_client_that_breaks_the_protocol_is_caught() {
    let ads = Ads::start();
    let (mut stream, mut session) = scripts(&ads);
    let ask = |nonce: &str| Request {
        type_url: OVERRIDE.to_owned(),
        response_nonce: nonce.to_owned(),
        ..Request::default()
    };
    stream.send(ask(""));
    session.request();
    ads.assert_conduct();
    // A nonce that was not sent, a second node, an answer given twice, a version told too late.
    stream.send(ask("nobody"));
    stream.send(Request { node: Some(Default::default()), ..ask("") });
    session.send(&Response { type_url: OVERRIDE.to_owned(), nonce: "n".to_owned(), ..Response::default() });
    stream.send(ask("n"));
    stream.send(ask("n"));
    let versions = [("x".to_owned(), "1".to_owned())].into();
    stream.send(Request { initial_resource_versions: versions, ..ask("") });
    for _ in 0..5 {
        session.request();
    }
    let faults = ads.take_faults();
    assert_eq!(faults.len(), 4, "{faults:#?}");
}

#[test]
fn a_server_that_breaks_the_protocol_is_caught() {
    let ads = Ads::start();
    let connection = Connection::open(ads.address());
    let mut follower = Follower::connected(&connection, "one");
    follower.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    let mut session = ads.accept();
    session.request();
    let world = world(&["a"]);
    let resource = world.resource(OVERRIDE, &format!("{CART}/a"));
    let response = Response {
        type_url: OVERRIDE.to_owned(),
        nonce: "n".to_owned(),
        resources: vec![resource.clone(), resource],
        ..Response::default()
    };
    session.send(&response);
    session.send(&Response { resources: Vec::new(), ..response });
    assert!(follower.read(DEADLINE) && follower.read(DEADLINE));
    // A name twice, a nonce twice, a second response before the first has its answer.
    let faults = follower.take_faults();
    assert_eq!(faults.len(), 3, "{faults:#?}");
}

#[test]
fn bytes_that_are_no_message_reach_the_other_side() {
    let ads = Ads::start();
    let (mut stream, mut session) = scripts(&ads);
    session.send_bytes(vec![0xff; 7]);
    assert!(matches!(stream.heard(DEADLINE), Heard::Ended(..)));
    let (mut stream, mut session) = scripts(&ads);
    stream.send_bytes(vec![0xff; 7]);
    assert_eq!(session.asked(DEADLINE), Asked::Ended);
}

#[test]
fn a_subscription_covers_what_it_says() {
    assert!(covers("*", "anything"));
    assert!(covers("a/B/c/*", "a/B/c/key"));
    assert!(!covers("a/B/c/*", "a/B/cc/key"));
    assert!(covers("a/B/c/key", "a/B/c/key"));
    assert!(!covers("a/B/c*", "a/B/c/key"), "a star counts after a slash only");
}

#[test]
fn the_second_reading_takes_what_is_right_and_nothing_else() {
    let mut world = world(&["a"]);
    let good = over_ride("fork", &[free_address()]);
    world.put(OVERRIDE, &format!("{CART}/no key"), &good);
    world.put(OVERRIDE, "cart/key", &good);
    world.put(OVERRIDE, &format!("{CART}/twice"), &{
        let mut twice = good.clone();
        twice.ports.push(good.ports[0].clone());
        twice
    });
    world.put(OVERRIDE, &format!("{CART}/nameless"), &over_ride("", &[]));
    world.put_bytes(OVERRIDE, &format!("{CART}/bytes"), vec![0xff].into());
    world.put_bytes(KEY_OWNER, "a", vec![0xff].into());
    let resources: Vec<_> = world.matching(OVERRIDE, &["*".to_owned()]).into_values().collect();
    let response = Response { type_url: OVERRIDE.to_owned(), resources, ..Response::default() };
    for resource in &response.resources {
        let wanted = if resource.name == format!("{CART}/a") {
            reading::Verdict::Take
        } else {
            reading::Verdict::Reject
        };
        assert_eq!(reading::judge(&response, resource), wanted, "{}", resource.name);
    }
}
