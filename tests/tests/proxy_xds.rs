//! The real proxy and a control service that misbehaves: nothing it sends stops baseline traffic, steers wrongly or
//! ends the proxy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "proxy_xds/hostile.rs"]
mod hostile;
#[path = "proxy_xds/mutated.rs"]
mod mutated;
#[path = "proxy_xds/rejected.rs"]
mod rejected;
#[path = "proxy_xds/strict.rs"]
mod strict;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prost::Message;
use spurline_tests::xds::{
    Ads, BASELINE, Honest, KEY_OWNER, OVERRIDE, Request, Response, Session, World, over_ride, routing,
};
use spurline_tests::{
    DEADLINE, Fault, Recorder, Relay, TestProxy, eventually, eventually_within, free_address,
};

const WORKLOAD: &str = "shop/Deployment/cart";
/// A key that steers from the beginning of each test to its end.
const ANCHOR: &str = "anchor";

/// A proxy with the control service at `url`, a baseline and a fork.
struct Case {
    baseline: Recorder,
    fork: Recorder,
    proxy: TestProxy,
}

impl Case {
    fn start(url: &str) -> Self {
        let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
        let proxy = TestProxy::sidecar(WORKLOAD, baseline.address())
            .flag("--control", url)
            .flag("--control-ready-timeout", "200ms")
            .start();
        Self { baseline, fork, proxy }
    }

    /// The override of the anchor and its key.
    fn world(&self) -> World {
        anchored(self.fork.address())
    }

    fn by(&self, key: &str) -> String {
        let answer = self.proxy.get("/x", &format!("sd-routing-key: {key}\r\n"));
        answer.field("x-backend").map_or_else(|| answer.status.to_string(), str::to_owned)
    }

    fn wait_by(&self, key: &str, who: &str) {
        eventually(&format!("{key} is answered by {who}"), || (self.by(key) == who).then_some(()));
    }

    /// What has to hold whatever the control service does.
    #[track_caller]
    fn assert_serves(&self) {
        assert_eq!(self.proxy.get("/x", "").field("x-backend"), Some("baseline"));
        assert_eq!(self.by(ANCHOR), "fork");
    }
}

fn anchored(fork: SocketAddr) -> World {
    let mut world = World::default();
    world.put_override(WORKLOAD, ANCHOR, "fork", &[fork]);
    world.put(KEY_OWNER, ANCHOR, &owner("sandbox-of-fork"));
    world
}

fn owner(name: &str) -> routing::KeyOwner {
    let kind = routing::key_owner::Kind::Sandbox.into();
    routing::KeyOwner { kind, name: name.to_owned(), expires_unix_s: 0 }
}

/// A response of one type.
fn update(type_url: &str) -> Response {
    Response { type_url: type_url.to_owned(), system_version_info: "2".to_owned(), ..Response::default() }
}

fn name(key: &str) -> String {
    format!("{WORKLOAD}/{key}")
}

#[test]
fn an_override_is_live_when_it_is_acknowledged_and_gone_when_its_removal_is() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    assert_eq!(case.by(ANCHOR), "baseline");
    let mut session = ads.accept();
    session.sync(&World::default());
    let world = case.world();
    session.accepted(Response { resources: vec![world.resource(KEY_OWNER, ANCHOR)], ..update(KEY_OWNER) });
    for _ in 0..20 {
        let resources = vec![world.resource(OVERRIDE, &name(ANCHOR))];
        session.accepted(Response { resources, ..update(OVERRIDE) });
        assert_eq!(case.by(ANCHOR), "fork", "an acknowledgement says that it steers");
        session.accepted(Response { removed_resources: vec![name(ANCHOR)], ..update(OVERRIDE) });
        assert_eq!(case.by(ANCHOR), "baseline", "an acknowledgement says that it is gone");
    }
}

#[test]
fn a_stream_begins_with_the_node_and_resumes_with_the_versions_that_are_known() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    let first = session.request();
    let node = first.node.clone().expect("a node on the first message");
    assert!(!node.id.is_empty());
    assert_eq!(node.user_agent_name, "spurline-proxy");
    assert!(first.initial_resource_versions.is_empty(), "{first:?}");
    session.end(tonic_status());
    let mut session = ads.accept();
    session.sync(&case.world());
    case.wait_by(ANCHOR, "fork");
    session.end(tonic_status());
    let mut session = ads.accept();
    let resumed = session.request_for(OVERRIDE);
    let world = case.world();
    let version = &world.resource(OVERRIDE, &name(ANCHOR)).version;
    assert_eq!(resumed.initial_resource_versions, BTreeMap::from([(name(ANCHOR), version.clone())]));
    assert_eq!(resumed.resource_names_subscribe, [format!("{WORKLOAD}/*")]);
    // What went while it was away goes now.
    session.send(&Response {
        removed_resources: vec![name(ANCHOR)],
        nonce: "n".to_owned(),
        ..update(OVERRIDE)
    });
    case.wait_by(ANCHOR, "baseline");
}

fn tonic_status() -> tonic::Status {
    tonic::Status::unavailable("begin anew")
}

#[test]
fn the_last_of_several_contents_counts_whatever_their_versions_look_like() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    session.sync(&case.world());
    for version in ["9", "1", "5", "zzz", "0"] {
        let mut there = case.world().resource(OVERRIDE, &name(ANCHOR));
        there.name = name("other");
        there.version = version.to_owned();
        session.accepted(Response { resources: vec![there.clone()], ..update(OVERRIDE) });
        assert_eq!(case.by("other"), "fork");
        let nowhere = over_ride("nowhere", &[]);
        there.version = format!("{version}-later");
        there.resource.as_mut().expect("a body").value = nowhere.encode_to_vec().into();
        session.accepted(Response { resources: vec![there], ..update(OVERRIDE) });
        assert_eq!(case.by("other"), "503");
    }
    case.assert_serves();
}

#[test]
fn responses_are_answered_in_the_order_they_came_even_when_many_are_sent_at_once() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = ads.accept();
    session.sync(&case.world());
    let mut world = case.world();
    let nonces: Vec<String> = (0..200)
        .map(|number| {
            let key = format!("key-{number}");
            world.put_override(WORKLOAD, &key, "fork", &[case.fork.address()]);
            let response = Response {
                resources: vec![world.resource(OVERRIDE, &name(&key))],
                nonce: session.nonce(),
                ..update(OVERRIDE)
            };
            session.send(&response);
            response.nonce
        })
        .collect();
    for nonce in &nonces {
        assert_eq!(&session.request().response_nonce, nonce);
    }
    assert_eq!(case.proxy.overrides().len(), 201);
}

#[test]
fn an_override_ends_at_its_time_without_a_word_of_the_control_service() {
    let honest = Honest::start(World::default());
    let case = Case::start(&honest.url());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    honest.edit(|world| {
        *world = case.world();
        let mut brief = over_ride("fork", &[case.fork.address()]);
        brief.expires_unix_s = now + 6;
        world.put(OVERRIDE, &name("brief"), &brief);
        brief.expires_unix_s = now - 10;
        world.put(OVERRIDE, &name("past"), &brief);
    });
    honest.wait_settled(1);
    assert_eq!(case.by("brief"), "fork");
    assert_eq!(case.by("past"), "baseline");
    drop(honest);
    eventually("it has ended", || (case.by("brief") == "baseline").then_some(()));
    case.assert_serves();
}

#[test]
fn a_control_service_that_never_answers_delays_readiness_by_the_timeout_and_no_more() {
    let ads = Ads::start();
    let started = Instant::now();
    let case = Case::start(&ads.url());
    // The timeout that is not set is longer.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(case.proxy.get("/x", "").field("x-backend"), Some("baseline"));
    let mut session = ads.accept();
    session.sync(&case.world());
    case.assert_serves();
}

#[test]
fn a_proxy_is_ready_when_the_last_part_of_its_first_update_has_come() {
    let ads = Ads::start();
    let baseline = Recorder::start("baseline");
    let proxy =
        TestProxy::sidecar(WORKLOAD, baseline.address()).flag("--control", &ads.url()).start_unready();
    let mut session = ads.accept();
    eventually("the admin server answers", || proxy.try_admin("GET", "/healthz", ""));
    assert!(!proxy.ready());
    let types: Vec<Request> = [session.request(), session.request()].into();
    let mut world = World::default();
    world.put_override(WORKLOAD, "k", "fork", &[baseline.address()]);
    for request in &types {
        let part = Response { system_version_info: String::new(), ..update(&request.type_url) };
        session.accepted(part);
    }
    assert!(!proxy.ready(), "more of the update follows");
    for request in &types {
        assert!(!proxy.ready());
        let resources = world.matching(&request.type_url, &request.resource_names_subscribe);
        session
            .accepted(Response { resources: resources.into_values().collect(), ..update(&request.type_url) });
    }
    eventually("the proxy is ready", || proxy.ready().then_some(()));
}

#[test]
fn of_several_control_services_those_that_are_away_are_passed_over() {
    let [first, second] = [free_address(), free_address()];
    let fork = Recorder::start("fork");
    let honest = Honest::at(second, anchored(fork.address()));
    let baseline = Recorder::start("baseline");
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address())
        .flag("--control", &format!("http://{first},http://{second}"))
        .flag("--control-ready-timeout", "200ms")
        .start();
    let case = Case { baseline, fork, proxy };
    case.wait_by(ANCHOR, "fork");
    // The second goes, the first comes with another world.
    drop(honest);
    let mut world = case.world();
    world.put_override(WORKLOAD, "more", "fork", &[case.fork.address()]);
    let _honest = Honest::at(first, world);
    eventually_within(DEADLINE * 2, "the first is found", || (case.by("more") == "fork").then_some(()));
    case.assert_serves();
}

#[test]
fn a_connection_that_is_slow_sliced_or_cut_makes_the_table_late_and_never_wrong() {
    let mut world = World::default();
    let case_fork = Recorder::start("fork");
    for number in 0..500 {
        world.put_override(WORKLOAD, &format!("key-{number}"), "fork", &[case_fork.address()]);
    }
    let honest = Honest::start(world);
    let relay = Relay::start(honest.address());
    relay.set(Fault::Slice(7));
    let case = Case::start(&format!("http://{}", relay.address()));
    eventually("all of it has come", || (case.proxy.overrides().len() == 500).then_some(()));
    for fault in
        [Fault::AcceptReset, Fault::ResetAfter(3_000), Fault::FinishAfter(9_000), Fault::StallAfter(500)]
    {
        relay.set(fault);
        assert_eq!(case.proxy.overrides().len(), 500, "{fault:?}");
        assert_eq!(case.by("key-499"), "fork", "{fault:?}");
    }
    honest.edit(|world| world.remove(OVERRIDE, &name("key-499")));
    relay.set(Fault::None);
    eventually_within(DEADLINE * 2, "the change has come", || {
        (case.by("key-499") == "baseline").then_some(())
    });
    assert_eq!(case.proxy.overrides().len(), 499);
}

#[test]
fn a_gateway_gets_the_baselines_it_names() {
    let baseline = Recorder::start("baseline");
    let mut world = World::default();
    let body = routing::Baseline { ports: over_ride("x", &[baseline.address()]).ports };
    world.put(BASELINE, WORKLOAD, &body);
    let honest = Honest::start(world);
    let proxy =
        TestProxy::build().gateway("edge", WORKLOAD, "all", &[]).flag("--control", &honest.url()).start();
    eventually("the baseline is known", || {
        (proxy.get("/x", "").field("x-backend") == Some("baseline")).then_some(())
    });
}

/// The next stream, brought up to date.
fn begin(ads: &Ads, world: &World) -> Session {
    let mut session = ads.accept_within(DEADLINE * 2).expect("the proxy comes back");
    session.sync(world);
    session
}
