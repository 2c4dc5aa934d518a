//! Peers of different versions: what one side does not know, it skips or reads as the safest, as the `.proto` files say.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use spurline_tests::xds::{
    Ads, Any, Connection, Honest, KEY_OWNER, OVERRIDE, Request, Resource, Response, Status, World, over_ride,
    routing,
};
use spurline_tests::{DEADLINE, Document, Recorder, TestControl, TestProxy, eventually, tool};

const CART: &str = "shop/Deployment/cart";

/// Fields of every wire type that no version of ours has.
fn unknown_fields() -> Vec<u8> {
    let mut bytes = Vec::new();
    let key = |field: u32, wire: u32, bytes: &mut Vec<u8>| {
        prost::encoding::encode_varint(u64::from(field << 3 | wire), bytes);
    };
    key(1_000, 0, &mut bytes);
    prost::encoding::encode_varint(u64::MAX, &mut bytes);
    key(1_001, 1, &mut bytes);
    bytes.extend([7; 8]);
    key(1_002, 2, &mut bytes);
    bytes.extend(b"\x03new");
    key(1_003, 5, &mut bytes);
    bytes.extend([7; 4]);
    bytes
}

fn with_unknown(message: &impl Message) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    bytes.extend(unknown_fields());
    bytes
}

/// A field of a message, length-delimited, by number.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

/// An override as a later version might write it: with fields we do not know at every level.
fn later_override(fork: &str, recorder: &Recorder) -> Vec<u8> {
    let body = over_ride(fork, &[recorder.address()]);
    let endpoint = with_unknown(&body.ports[0].endpoints[0]);
    let mut port = with_unknown(&routing::Port { port: 8080, endpoints: Vec::new() });
    port.extend(field(2, &endpoint));
    let mut bytes = with_unknown(&routing::Override { ports: Vec::new(), ..body });
    bytes.extend(field(4, &port));
    bytes
}

fn proxy(url: &str, baseline: &Recorder) -> TestProxy {
    TestProxy::sidecar(CART, baseline.address())
        .flag("--control", url)
        .flag("--control-ready-timeout", "300ms")
        .start()
}

fn by(proxy: &TestProxy, key: &str) -> String {
    let answer = proxy.get("/x", &format!("sd-routing-key: {key}\r\n"));
    answer.field("x-backend").map_or_else(|| answer.status.to_string(), str::to_owned)
}

fn name(key: &str) -> String {
    format!("{CART}/{key}")
}

#[test]
fn a_proxy_takes_what_a_later_control_service_says_and_skips_what_it_does_not_know() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let ads = Ads::start();
    let proxy = proxy(&ads.url(), &baseline);
    let mut session = ads.accept();
    session.sync(&World::default());
    let any =
        with_unknown(&Any { type_url: OVERRIDE.to_owned(), value: later_override("fork", &fork).into() });
    let mut resource =
        with_unknown(&Resource { name: name("k"), version: "later".to_owned(), ..Resource::default() });
    resource.extend(field(2, &any));
    let nonce = session.nonce();
    let mut response = with_unknown(&Response {
        type_url: OVERRIDE.to_owned(),
        nonce: nonce.clone(),
        ..Response::default()
    });
    response.extend(field(2, &resource));
    session.send_bytes(response);
    let answer = session.answer_to(&nonce);
    assert!(answer.error_detail.is_none(), "{answer:?}");
    assert_eq!(by(&proxy, "k"), "fork");
}

#[test]
fn values_that_a_proxy_does_not_know_are_read_as_the_safest() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let mut world = World::default();
    // A later way to be unavailable, of a fork that is: refused, never the baseline.
    let mut later = over_ride("fork", &[]);
    later.on_unavailable = 77;
    world.put(OVERRIDE, &name("unavailable"), &later);
    later.ports = over_ride("fork", &[fork.address()]).ports;
    world.put(OVERRIDE, &name("available"), &later);
    // A later kind of owner is an owner.
    let tenant = routing::KeyOwner { kind: 99, name: "a-tenant".to_owned(), expires_unix_s: 0 };
    world.put(KEY_OWNER, "owned", &tenant);
    let honest = Honest::start(world);
    let proxy = proxy(&honest.url(), &baseline);
    honest.wait_settled(1);
    assert_eq!(honest.rejected(), []);
    assert_eq!(by(&proxy, "unavailable"), "503");
    assert_eq!(by(&proxy, "available"), "fork");
    let strict = |key: &str| {
        proxy
            .get("/x", &format!("sd-routing-key: {key}\r\nx-spurline-strict: 1\r\n"))
            .field("x-spurline-reason")
            .map(str::to_owned)
    };
    assert_ne!(strict("owned"), strict("nobodys"), "the key is known");
}

#[test]
fn a_type_that_a_proxy_does_not_know_costs_it_nothing_but_the_answer() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let ads = Ads::start();
    let proxy = proxy(&ads.url(), &baseline);
    let mut world = World::default();
    world.put_override(CART, "k", "fork", &[fork.address()]);
    let mut session = ads.accept();
    session.sync(&world);
    let later = "type.googleapis.com/spurline.routing.v2.Teleport";
    let resource = Resource {
        name: "x".to_owned(),
        version: "1".to_owned(),
        resource: Some(Any { type_url: later.to_owned(), value: vec![1, 2, 3].into() }),
        ..Resource::default()
    };
    let nonce = session.nonce();
    session.send(&Response {
        type_url: later.to_owned(),
        nonce,
        resources: vec![resource],
        ..Response::default()
    });
    session.asked(Duration::from_millis(300));
    assert_eq!(by(&proxy, "k"), "fork");
    ads.take_faults();
}

#[test]
fn a_control_service_that_never_says_that_an_update_is_complete_is_followed_all_the_same() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let ads = Ads::start();
    let proxy = proxy(&ads.url(), &baseline);
    let mut world = World::default();
    world.put_override(CART, "k", "fork", &[fork.address()]);
    let mut session = ads.accept();
    let resource = world.resource(OVERRIDE, &name("k"));
    session.request_for(OVERRIDE);
    session.accepted(Response {
        type_url: OVERRIDE.to_owned(),
        resources: vec![resource],
        ..Response::default()
    });
    assert_eq!(by(&proxy, "k"), "fork");
    assert!(proxy.ready());
}

#[test]
fn a_control_service_that_resends_everything_after_each_reconnection_changes_nothing() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let ads = Ads::start();
    let proxy = proxy(&ads.url(), &baseline);
    let mut world = World::default();
    world.put_override(CART, "k", "fork", &[fork.address()]);
    for _ in 0..3 {
        let mut session = ads.accept_within(DEADLINE).expect("it comes back");
        session.sync(&world);
        assert_eq!(by(&proxy, "k"), "fork");
        assert_eq!(proxy.overrides().len(), 1);
        session.end(tonic::Status::unavailable("again"));
    }
}

#[test]
fn what_a_proxy_did_not_understand_is_in_its_snapshot_for_the_version_that_will() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let directory = tempfile::tempdir().expect("make a directory");
    let snapshot = directory.path().join("snapshot");
    let mut world = World::default();
    let body = later_override("fork", &fork);
    world.put_bytes(OVERRIDE, &name("k"), body.clone().into());
    let honest = Honest::start(world);
    let start = |url: &str| {
        TestProxy::sidecar(CART, baseline.address())
            .flag("--control", url)
            .flag("--control-ready-timeout", "300ms")
            .flag("--control-snapshot", &snapshot.to_string_lossy())
            .start()
    };
    let first = start(&honest.url());
    honest.wait_settled(1);
    eventually("the snapshot holds it", || {
        let bytes = std::fs::read(&snapshot).ok()?;
        bytes.windows(body.len()).any(|window| window == body).then_some(())
    });
    drop(first);
    drop(honest);
    let second = start("http://127.0.0.1:1");
    assert_eq!(by(&second, "k"), "fork");
}

/// An earlier binary: `SPURLINE_PROXY_EARLIER`, or what `tests/setup.sh` has built. `None` only when
/// `SPURLINE_SKIP_EARLIER_PROXY=1` says so.
fn earlier_proxy() -> Option<PathBuf> {
    if std::env::var("SPURLINE_SKIP_EARLIER_PROXY").is_ok_and(|value| value == "1") {
        println!("SKIPPED two proxies of different versions: SPURLINE_SKIP_EARLIER_PROXY=1");
        return None;
    }
    let given = std::env::var_os("SPURLINE_PROXY_EARLIER").map(PathBuf::from);
    Some(given.unwrap_or_else(|| tool("earlier/spurline-proxy")))
}

#[test]
fn two_proxies_of_different_versions_end_up_with_the_same_table() {
    let Some(earlier) = earlier_proxy() else { return };
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let control = TestControl::start();
    let rest = control.rest();
    let builder = || TestProxy::sidecar(CART, baseline.address()).flag("--control", &control.url());
    let new = builder().start();
    let old = builder().program(earlier).start();
    for number in 0..20 {
        let document = Document::sandbox(&format!("s{number}")).key(&format!("s{number}")).fork(
            CART,
            "fork",
            &[fork.address()],
        );
        let answer = rest.put_programmed(&document);
        assert_eq!(answer["status"]["programmed"]["proxies"], 2, "{answer}");
        if number % 3 == 0 {
            rest.delete_programmed(&document);
        }
    }
    assert_eq!(new.overrides(), old.overrides());
    assert_eq!(new.overrides().len(), 13);
}

#[test]
fn a_control_service_skips_what_a_later_client_says_and_takes_an_older_ones_word() {
    let control = TestControl::start();
    let rest = control.rest();
    let connection: Connection = control.connection();
    let mut stream = connection.stream("later");
    let node = with_unknown(&spurline_tests::xds::Node {
        id: "later".to_owned(),
        client_features: vec!["teleport".to_owned()],
        ..Default::default()
    });
    let mut request = with_unknown(&Request {
        type_url: OVERRIDE.to_owned(),
        resource_names_subscribe: vec![format!("{CART}/*")],
        ..Request::default()
    });
    request.extend(field(1, &node));
    stream.send_bytes(request);
    let first = stream.response();
    stream.ack(&first);
    let document =
        Document::sandbox("a").key("a").fork(CART, "fork", &["127.0.0.1:1".parse().expect("an address")]);
    rest.put(&document);
    let second = stream.response();
    // Details of a later kind beside no detail that we know: a rejection of the whole.
    let detail = Any { type_url: "type.googleapis.com/later.Why".to_owned(), value: vec![1].into() };
    let status = Status { code: 3, message: "a later reason".to_owned(), details: vec![detail] };
    stream.answer(OVERRIDE, &second.nonce, Some(status));
    eventually("the rejection is shown", || {
        let shown = rest.get("/v1/sandboxes/a").to_string();
        shown.contains("a later reason").then_some(())
    });
    // An answer with fields we do not know is an answer.
    rest.put(&document.label("n", "1").fork("shop/Deployment/web", "fork", &[]).key("b"));
    let third = stream.response();
    stream.send_bytes(with_unknown(&Request {
        type_url: OVERRIDE.to_owned(),
        response_nonce: third.nonce,
        ..Request::default()
    }));
    eventually("it counts as accepted", || {
        (rest.get("/v1/sandboxes/a")["status"]["programmed"]["acknowledged"] == 1).then_some(())
    });
}
