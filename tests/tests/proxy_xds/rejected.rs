//! Resources that are wrong: named with a reason, without effect, and no burden to their neighbours.

use super::*;
use spurline_tests::xds::{Any, REJECTIONS, Resource, Status};

struct Bad {
    what: &'static str,
    resource: Resource,
    /// A word that a person would look for in the reason.
    says: &'static str,
}

fn rejections(status: &Status) -> Vec<(String, String)> {
    let details = status.details.iter().filter(|detail| detail.type_url == REJECTIONS);
    details
        .flat_map(|detail| routing::Rejections::decode(detail.value.clone()).expect("rejections").rejections)
        .map(|one| (one.name, one.reason))
        .collect()
}

fn bad_resources() -> Vec<Bad> {
    let good = over_ride("fork", &["127.0.0.1:1".parse().expect("an address")]);
    let resource = |name: &str, body: &routing::Override| {
        let mut world = World::default();
        world.put(OVERRIDE, name, body);
        world.resource(OVERRIDE, name)
    };
    let with = |change: fn(&mut routing::Override)| {
        let mut body = good.clone();
        change(&mut body);
        resource(&name("bad"), &body)
    };
    let mut bytes = resource(&name("bad"), &good);
    bytes.resource.as_mut().expect("a body").value = vec![0x0a, 0xff, 0xff].into();
    let mut other_type = resource(&name("bad"), &good);
    other_type.resource.as_mut().expect("a body").type_url = KEY_OWNER.to_owned();
    let mut no_body = resource(&name("bad"), &good);
    no_body.resource = None;
    let mut no_version = resource(&name("bad"), &good);
    no_version.version = String::new();
    let bad = |what, resource, says| Bad { what, resource, says };
    vec![
        bad("no message", bytes, "message"),
        bad("another type", other_type, "type"),
        bad("no body", no_body, "body"),
        bad("no version", no_version, "version"),
        bad("no sandbox", with(|body| body.sandbox.clear()), "sandbox"),
        bad("no fork", with(|body| body.fork.clear()), "fork"),
        bad("a fork with a line break", with(|body| body.fork = "a\r\nb".to_owned()), "fork"),
        bad("a fork of 801 bytes", with(|body| body.fork = "f".repeat(801)), "fork"),
        bad("port 65536", with(|body| body.ports[0].port = 65_536), "65536"),
        bad("a port twice", with(|body| body.ports.push(body.ports[0].clone())), "twice"),
        bad("an address of 5 bytes", with(|b| b.ports[0].endpoints[0].ip = vec![1; 5].into()), "address"),
        bad("no address", with(|body| body.ports[0].endpoints[0].ip.clear()), "address"),
        bad("endpoint port 0", with(|body| body.ports[0].endpoints[0].port = 0), "port"),
        bad("endpoint port 70000", with(|body| body.ports[0].endpoints[0].port = 70_000), "70000"),
        bad(
            "1025 endpoints",
            with(|b| b.ports[0].endpoints = vec![b.ports[0].endpoints[0].clone(); 1025]),
            "1025",
        ),
        bad("a key with a blank", resource(&name("no key"), &good), "byte"),
        bad("a key of 65 bytes", resource(&name(&"k".repeat(65)), &good), "key"),
        bad("a name without a workload", resource("bad", &good), "name"),
        bad("another workload", resource("shop/Deployment/other/bad", &good), "subscribed"),
    ]
}

#[test]
fn a_wrong_resource_is_named_with_its_reason_and_its_neighbours_count() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    session.sync(&case.world());
    let mut failures = Vec::new();
    for (number, bad) in bad_resources().into_iter().enumerate() {
        let mut world = World::default();
        let neighbour = name(&format!("neighbour-{number}"));
        world.put(OVERRIDE, &neighbour, &over_ride("fork", &[case.fork.address()]));
        let resources = vec![bad.resource.clone(), world.resource(OVERRIDE, &neighbour)];
        let answer = session.exchange(Response { resources, ..update(OVERRIDE) });
        let status = answer.error_detail.unwrap_or_default();
        let named = rejections(&status);
        let [(name, reason)] = named.as_slice() else {
            failures.push(format!("{}: {named:?} {}", bad.what, status.message));
            continue;
        };
        if *name != bad.resource.name || !reason.to_lowercase().contains(bad.says) {
            failures.push(format!("{}: {name:?} because {reason:?}", bad.what));
        }
        assert_eq!(case.by(&format!("neighbour-{number}")), "fork", "{}", bad.what);
        assert_eq!(case.proxy.overrides().len(), number + 2, "{}", bad.what);
    }
    assert!(failures.is_empty(), "{failures:#?}");
    case.assert_serves();
}

#[test]
fn what_was_good_stays_when_its_next_version_is_wrong_and_is_what_the_proxy_claims_to_have() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    session.sync(&case.world());
    let good = case.world().resource(OVERRIDE, &name(ANCHOR));
    let bad = Resource {
        version: "bad".to_owned(),
        resource: Some(Any { type_url: OVERRIDE.to_owned(), value: vec![0xff].into() }),
        ..good.clone()
    };
    let never = Resource { name: name("never"), ..bad.clone() };
    let answer = session.exchange(Response { resources: vec![bad, never], ..update(OVERRIDE) });
    let named = rejections(&answer.error_detail.expect("a rejection"));
    assert_eq!(named.len(), 2, "{named:?}");
    case.assert_serves();
    session.end(tonic_status());
    let resumed = ads.accept().request_for(OVERRIDE);
    assert_eq!(resumed.initial_resource_versions, BTreeMap::from([(good.name, good.version)]));
}

#[test]
fn removals_beside_a_wrong_resource_count() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    let mut world = case.world();
    world.put_override(WORKLOAD, "gone", "fork", &[case.fork.address()]);
    session.sync(&world);
    assert_eq!(case.by("gone"), "fork");
    let bad = bad_resources().remove(0).resource;
    let response =
        Response { resources: vec![bad], removed_resources: vec![name("gone")], ..update(OVERRIDE) };
    assert!(session.exchange(response).error_detail.is_some());
    assert_eq!(case.by("gone"), "baseline");
    case.assert_serves();
}

#[test]
fn rejections_are_counted_and_logged_with_name_and_reason() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    session.sync(&case.world());
    let bad = bad_resources().remove(8);
    session.exchange(Response { resources: vec![bad.resource.clone()], ..update(OVERRIDE) });
    assert!(case.proxy.metric("spurline_control_rejections_total", &[]) >= 1.0);
    assert!(case.proxy.metric("spurline_control_updates_total", &[("result", "rejected")]) >= 1.0);
    eventually("it is logged", || {
        let log = case.proxy.log();
        (log.contains(&bad.resource.name) && log.contains(bad.says)).then_some(())
    });
}

#[test]
fn thousands_of_wrong_resources_give_a_bounded_rejection() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    session.sync(&case.world());
    let mut world = World::default();
    for number in 0..20_000 {
        world.put_bytes(OVERRIDE, &name(&format!("bad-{number}")), vec![0xff; 16].into());
    }
    let resources = world.matching(OVERRIDE, &["*".to_owned()]).into_values().collect();
    let answer = session.exchange(Response { resources, ..update(OVERRIDE) });
    let status = answer.error_detail.expect("a rejection");
    assert!(status.encoded_len() < 4 << 20, "a rejection of {} bytes", status.encoded_len());
    case.assert_serves();
}
