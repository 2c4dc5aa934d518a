//! Everything a control service should not do, one after another, to one proxy.

use super::*;
use spurline_tests::xds::{Any, Resource};

/// What a session does, and whether the client may stay on the stream.
type Mischief = (&'static str, fn(&mut Session, &World));

fn anchor(world: &World) -> Resource {
    world.resource(OVERRIDE, &name(ANCHOR))
}

fn mischief() -> Vec<Mischief> {
    vec![
        ("bytes that are no message", |session, _| session.send_bytes(vec![0xff; 100])),
        ("an empty message", |session, _| session.send_bytes(Vec::new())),
        ("a response without a nonce", |session, world| {
            session.send(&Response { resources: vec![anchor(world)], ..update(OVERRIDE) });
        }),
        ("a type that was not asked for", |session, _| {
            let nonce = session.nonce();
            session
                .send(&Response { nonce, ..update("type.googleapis.com/envoy.config.cluster.v3.Cluster") });
        }),
        ("a type without a name", |session, _| {
            let nonce = session.nonce();
            session.send(&Response { nonce, ..update("") });
        }),
        ("one nonce many times", |session, world| {
            for _ in 0..5 {
                let nonce = "again".to_owned();
                session.send(&Response { resources: vec![anchor(world)], nonce, ..update(OVERRIDE) });
            }
        }),
        ("one name many times", |session, world| {
            let nonce = session.nonce();
            session.send(&Response { resources: vec![anchor(world); 1000], nonce, ..update(OVERRIDE) });
        }),
        ("a response of 64 MiB", |session, _| {
            let any = Any { type_url: OVERRIDE.to_owned(), value: vec![0; 64 << 20].into() };
            let giant = Resource {
                name: name("giant"),
                version: "1".to_owned(),
                resource: Some(any),
                ..Default::default()
            };
            let nonce = session.nonce();
            session.send(&Response { resources: vec![giant], nonce, ..update(OVERRIDE) });
        }),
        ("a name of a megabyte", |session, world| {
            let nonce = session.nonce();
            let giant = Resource { name: "n".repeat(1 << 20), ..anchor(world) };
            session.send(&Response { resources: vec![giant], nonce, ..update(OVERRIDE) });
        }),
        ("a hundred thousand removals of what nobody has", |session, _| {
            let nonce = session.nonce();
            let removed_resources = (0..100_000).map(|number| name(&format!("nobody-{number}"))).collect();
            session.send(&Response { removed_resources, nonce, ..update(OVERRIDE) });
        }),
        ("twenty thousand empty responses", |session, _| {
            for _ in 0..20_000 {
                let nonce = session.nonce();
                session.send(&Response { nonce, ..update(OVERRIDE) });
            }
        }),
        ("a heartbeat without a body", |session, world| {
            let nonce = session.nonce();
            let beat = Resource { resource: None, ..anchor(world) };
            session.send(&Response { resources: vec![beat], nonce, ..update(OVERRIDE) });
        }),
        ("a response deep in groups", |session, _| session.send_bytes(vec![0x53; 100_000])),
        ("silence", |_, _| {}),
    ]
}

#[test]
fn nothing_a_control_service_says_stops_the_proxy_or_its_table() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let world = case.world();
    let before = case.proxy.overrides();
    assert!(before.is_empty());
    for (what, act) in mischief() {
        let mut session = begin(&ads, &world);
        case.assert_serves();
        session.admit(OVERRIDE, "");
        act(&mut session, &world);
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(150) {
            // Answers are judged as they come; the stream may end.
            session.asked(Duration::from_millis(10));
            case.assert_serves();
        }
        assert_eq!(case.proxy.overrides().len(), 1, "{what}");
        println!("survived: {what}");
        // The judge of conduct cannot know what the client makes of nonsense; it must not leave the table for it.
        ads.take_faults();
        session.end(tonic::Status::unavailable("the next"));
    }
    begin(&ads, &world);
    case.assert_serves();
    assert!(case.proxy.resident_bytes() < 300 << 20, "{} bytes", case.proxy.resident_bytes());
}

#[test]
fn streams_that_end_at_once_with_any_status_are_tried_again_and_never_in_a_storm() {
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let mut session = begin(&ads, &case.world());
    case.assert_serves();
    session.asked(Duration::from_millis(1));
    let mut last = Some(session);
    let (started, mut streams) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(3) || streams == 0 {
        assert!(started.elapsed() < DEADLINE, "it is not tried again");
        let code = [
            tonic::Code::Unavailable,
            tonic::Code::Unimplemented,
            tonic::Code::PermissionDenied,
            tonic::Code::Internal,
            tonic::Code::Ok,
        ][streams % 5];
        if let Some(session) = last.take() {
            session.end(tonic::Status::new(code, "go away"));
        }
        last = ads.accept_within(Duration::from_millis(100));
        streams += usize::from(last.is_some());
        case.assert_serves();
    }
    let took = started.elapsed();
    assert!(streams as u128 <= 7 * took.as_millis() / 1000, "{streams} streams in {took:?}");
    drop(last);
    let _session = begin(&ads, &case.world());
    case.assert_serves();
}

#[test]
fn what_stands_in_the_way_of_grpc_is_survived() {
    // Not gRPC at all: an HTTP/1 server, then one that closes at once.
    let web = Recorder::start("web");
    let case = Case::start(&format!("http://{}", web.address()));
    assert_eq!(case.proxy.get("/x", "").field("x-backend"), Some("baseline"));
    eventually("it is tried", || (web.accepted() > 0).then_some(()));
    web.close_connections();
    assert_eq!(case.proxy.get("/x", "").field("x-backend"), Some("baseline"));
    assert!(case.baseline.violations().is_empty());
}

#[test]
fn a_proxy_that_drains_leaves_its_stream() {
    let ads = Ads::start();
    let mut case = Case::start(&ads.url());
    let mut session = begin(&ads, &case.world());
    case.proxy.terminate();
    assert!(case.proxy.wait(DEADLINE).success());
    assert_eq!(session.asked(DEADLINE), spurline_tests::xds::Asked::Ended);
}
