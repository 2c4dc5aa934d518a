//! The rules of delta discovery, one by one.

use super::*;
use prost::Message;
use spurline_tests::xds::{Any, REJECTIONS, Status};

/// A stream that has said nothing yet.
fn stream(control: &TestControl) -> Stream {
    control.connection().stream("script")
}

/// The next response, accepted.
fn accepted(stream: &mut Stream) -> Response {
    let response = stream.response();
    stream.ack(&response);
    response
}

fn names(response: &Response) -> BTreeSet<String> {
    response.resources.iter().map(|resource| resource.name.clone()).collect()
}

#[test]
fn headers_come_before_the_first_request() {
    let control = TestControl::start();
    // Opening waits for them.
    stream(&control).assert_quiet(Duration::from_millis(100));
}

#[test]
fn the_first_subscription_is_answered_even_when_there_is_nothing() {
    let control = TestControl::start();
    let mut stream = stream(&control);
    stream.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    let response = accepted(&mut stream);
    assert!(response.resources.is_empty() && response.removed_resources.is_empty(), "{response:?}");
    assert!(!response.system_version_info.is_empty(), "it says that this is all");
    stream.subscribe(KEY_OWNER, &["*"], &[]);
    assert_eq!(accepted(&mut stream).type_url, KEY_OWNER);
    stream.assert_quiet(QUIET);
}

#[test]
fn a_name_that_does_not_exist_is_said_to_be_absent_at_once_and_sent_when_it_is_born() {
    let control = TestControl::start();
    let mut stream = stream(&control);
    stream.subscribe(OVERRIDE, &[&cart("unborn")], &[]);
    assert_eq!(accepted(&mut stream).removed_resources, [cart("unborn")]);
    control.rest().put(&sandbox("unborn", &[CART], 1));
    assert_eq!(names(&accepted(&mut stream)), carts(&["unborn"]));
    control.rest().delete(&sandbox("unborn", &[CART], 1));
    assert_eq!(accepted(&mut stream).removed_resources, [cart("unborn")]);
}

#[test]
fn what_is_subscribed_to_again_is_sent_again() {
    let control = TestControl::start();
    control.rest().put(&sandbox("a", &[CART], 1));
    let mut stream = stream(&control);
    for _ in 0..3 {
        stream.subscribe(OVERRIDE, &[&cart("a")], &[]);
        assert_eq!(names(&accepted(&mut stream)), carts(&["a"]));
    }
    stream.subscribe(OVERRIDE, &[], &[&cart("a")]);
    stream.subscribe(OVERRIDE, &[&cart("a")], &[]);
    assert_eq!(names(&accepted(&mut stream)), carts(&["a"]));
}

#[test]
fn a_subscription_that_overlaps_another_sends_each_name_once_and_outlives_it() {
    let control = TestControl::start();
    control.rest().put(&sandbox("a", &[CART], 1));
    let mut follower = follower(&control, "one");
    follower.subscribe(OVERRIDE, &[&cart("a")], &[]);
    follower.subscribe(OVERRIDE, &["*"], &[]);
    follower.settle(QUIET);
    follower.assert_conduct();
    follower.subscribe(OVERRIDE, &[], &[&cart("a")]);
    follower.subscribe(OVERRIDE, &[], &["*"]);
    asked(&mut follower, "shop/Deployment/web/one");
    control.rest().put(&sandbox("b", &[CART], 1));
    follower.follow(OVERRIDE, &carts(&["a", "b"]), DEADLINE);
    follower.assert_conduct();
}

#[test]
fn what_is_unsubscribed_from_is_sent_no_more() {
    let control = TestControl::start();
    let mut follower = follower(&control, "one");
    follower.settle(QUIET);
    follower.subscribe(OVERRIDE, &[], &[&format!("{CART}/*")]);
    asked(&mut follower, "shop/Deployment/web/one");
    let before = follower.responses(OVERRIDE);
    control.rest().put(&sandbox("a", &[CART], 1));
    asked(&mut follower, "shop/Deployment/web/another");
    follower.settle(QUIET);
    assert_eq!(follower.responses(OVERRIDE), before + 1);
    follower.assert_conduct();
}

#[test]
fn changes_of_a_subscription_count_whatever_nonce_they_carry() {
    let control = TestControl::start();
    control.rest().put(&sandbox("a", &[CART], 1));
    control.rest().put(&sandbox("b", &[CART], 1));
    let mut stream = stream(&control);
    stream.subscribe(OVERRIDE, &[&cart("a")], &[]);
    assert_eq!(names(&accepted(&mut stream)), carts(&["a"]));
    stream.send(Request {
        type_url: OVERRIDE.to_owned(),
        resource_names_subscribe: vec![cart("b")],
        response_nonce: "of another stream".to_owned(),
        ..Request::default()
    });
    assert_eq!(names(&accepted(&mut stream)), carts(&["b"]));
    for nonce in ["stale", "staler", ""] {
        stream.answer(OVERRIDE, nonce, None);
    }
    stream.assert_quiet(QUIET);
}

#[test]
fn a_stream_that_resumes_gets_what_changed_and_what_is_gone_and_nothing_else() {
    let control = TestControl::start();
    let rest = control.rest();
    for name in ["same", "changed", "gone"] {
        rest.put(&sandbox(name, &[CART], 1));
    }
    let mut follower = follower(&control, "one");
    follower.follow(OVERRIDE, &carts(&["same", "changed", "gone"]), DEADLINE);
    let versions = follower.versions(OVERRIDE);
    follower.disconnect();
    rest.put(&sandbox("changed", &[CART], 2));
    rest.put(&sandbox("new", &[CART], 1));
    rest.delete(&sandbox("gone", &[CART], 1));
    let mut stream = stream(&control);
    stream.send(Request {
        type_url: OVERRIDE.to_owned(),
        resource_names_subscribe: vec![format!("{CART}/*")],
        initial_resource_versions: versions,
        ..Request::default()
    });
    let response = accepted(&mut stream);
    assert_eq!(names(&response), carts(&["changed", "new"]));
    assert_eq!(response.removed_resources, [cart("gone")]);
    stream.assert_quiet(QUIET);
}

#[test]
fn versions_are_of_the_content_and_outlive_a_restart() {
    let control = TestControl::start();
    control.rest().put(&sandbox("a", &[CART], 1));
    control.rest().put(&sandbox("b", &[CART], 7));
    let mut follower = follower(&control, "one");
    follower.follow(OVERRIDE, &carts(&["a", "b"]), DEADLINE);
    let versions = follower.versions(OVERRIDE);
    let control = control.restarted();
    // There and back again is the same content.
    control.rest().put(&sandbox("b", &[CART], 8));
    control.rest().put(&sandbox("b", &[CART], 7));
    let mut stream = stream(&control);
    stream.send(Request {
        type_url: OVERRIDE.to_owned(),
        resource_names_subscribe: vec![format!("{CART}/*")],
        initial_resource_versions: versions,
        ..Request::default()
    });
    let response = accepted(&mut stream);
    assert!(response.resources.is_empty() && response.removed_resources.is_empty(), "{response:?}");
}

#[test]
fn one_response_waits_for_its_answer_and_what_happened_meanwhile_comes_as_one() {
    let control = TestControl::start();
    let rest = control.rest();
    let mut stream = stream(&control);
    stream.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    accepted(&mut stream);
    rest.put(&sandbox("a", &[CART], 1));
    let first = stream.response();
    for port in 2..30 {
        rest.put(&sandbox("a", &[CART], port));
    }
    rest.put(&sandbox("brief", &[CART], 1));
    rest.delete(&sandbox("brief", &[CART], 1));
    stream.assert_quiet(QUIET);
    stream.ack(&first);
    let second = accepted(&mut stream);
    assert_eq!(names(&second), carts(&["a"]), "what came and went is not news");
    let body = second.resources[0].resource.clone().expect("a body").value;
    let body = routing::Override::decode(body).expect("an override");
    assert_eq!(body.ports[0].endpoints[0].port, 29, "the last content");
    stream.assert_quiet(QUIET);
}

#[test]
fn a_put_that_changes_nothing_is_no_news() {
    let control = TestControl::start();
    control.rest().put(&sandbox("a", &[CART], 1));
    let mut stream = stream(&control);
    stream.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    accepted(&mut stream);
    for _ in 0..5 {
        control.rest().put(&sandbox("a", &[CART], 1));
        // A label says nothing to proxies.
        control.rest().put(&sandbox("a", &[CART], 1).label("team", "checkout"));
    }
    stream.assert_quiet(QUIET);
}

#[test]
fn a_rejection_is_shown_at_the_sandbox_and_not_answered_by_sending_it_again() {
    let control = TestControl::start();
    let rest = control.rest();
    let mut stream = stream(&control);
    stream.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    accepted(&mut stream);
    rest.put(&sandbox("good", &[CART], 1));
    accepted(&mut stream);
    rest.put(&sandbox("bad", &[CART], 1));
    let response = stream.response();
    let rejections = routing::Rejections {
        rejections: vec![routing::Rejection { name: cart("bad"), reason: "it smells".to_owned() }],
    };
    let detail = Any { type_url: REJECTIONS.to_owned(), value: rejections.encode_to_vec().into() };
    let status = Status { code: 3, message: "one is bad".to_owned(), details: vec![detail] };
    stream.answer(OVERRIDE, &response.nonce, Some(status));
    eventually("the rejection is shown", || {
        let shown = rest.get("/v1/sandboxes/bad")["status"]["programmed"]["rejected"].to_string();
        (shown.contains("it smells") && shown.contains("script")).then_some(())
    });
    assert_eq!(programmed(&rest.get("/v1/sandboxes/bad")), (0, 1));
    assert_eq!(programmed(&rest.get("/v1/sandboxes/good")), (1, 1));
    stream.assert_quiet(QUIET);
    // Another content is another chance.
    rest.put(&sandbox("bad", &[CART], 2));
    assert_eq!(names(&accepted(&mut stream)), carts(&["bad"]));
    eventually("it counts", || (programmed(&rest.get("/v1/sandboxes/bad")) == (1, 1)).then_some(()));
}

#[test]
fn a_rejection_without_names_is_of_the_whole_response() {
    let control = TestControl::start();
    let rest = control.rest();
    let mut stream = stream(&control);
    stream.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    accepted(&mut stream);
    rest.put(&sandbox("a", &[CART], 1));
    let response = stream.response();
    stream.nack(&response, "no reason to like it");
    eventually("the rejection is shown", || {
        let shown = rest.get("/v1/sandboxes/a")["status"]["programmed"].clone();
        (shown["rejected"].to_string().contains("no reason to like it")).then_some(())
    });
    assert_eq!(programmed(&rest.get("/v1/sandboxes/a")), (0, 1));
    // Rejections do not make it give up on this client.
    for port in 2..6 {
        rest.put(&sandbox("a", &[CART], port));
        let response = stream.response();
        stream.nack(&response, "still not");
    }
    stream.assert_quiet(QUIET);
}

#[test]
fn programmed_counts_the_proxies_that_need_it_and_no_others() {
    let control = TestControl::start();
    let rest = control.rest();
    let mut of_cart = [follower(&control, "one"), follower(&control, "two")];
    let mut of_web = Follower::connected(&control.connection(), "three");
    of_web.subscribe(OVERRIDE, &["shop/Deployment/web/*"], &[]);
    assert!(of_web.read(DEADLINE), "no first answer");
    for follower in of_cart.iter_mut().chain([&mut of_web]) {
        follower.settle(QUIET);
    }
    rest.put(&sandbox("a", &[CART], 1));
    eventually("two need it", || (programmed(&rest.get("/v1/sandboxes/a")).1 == 2).then_some(()));
    assert_eq!(programmed(&rest.get("/v1/sandboxes/a")), (0, 2));
    let [one, two] = &mut of_cart;
    one.follow(OVERRIDE, &carts(&["a"]), DEADLINE);
    eventually("one has it", || (programmed(&rest.get("/v1/sandboxes/a")) == (1, 2)).then_some(()));
    two.disconnect();
    eventually("who left is not counted", || {
        (programmed(&rest.get("/v1/sandboxes/a")) == (1, 1)).then_some(())
    });
}

#[test]
fn types_of_others_are_passed_over_and_state_of_the_world_is_refused_with_a_word() {
    let control = TestControl::start();
    let mut script = stream(&control);
    script.subscribe("type.googleapis.com/envoy.config.cluster.v3.Cluster", &["*"], &[]);
    script.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    match script.heard(DEADLINE) {
        Heard::Response(response) => assert_eq!(response.type_url, OVERRIDE),
        Heard::Ended(code, message) => {
            assert_eq!(code, tonic::Code::InvalidArgument);
            assert!(message.contains("Cluster"), "{message}");
        }
        Heard::Nothing => panic!("neither an answer nor an end"),
    }
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
    let status = match control.connection().try_stream_of(path, "sotw") {
        Err(status) => (status.code(), status.message().to_owned()),
        Ok(mut stream) => stream.end(),
    };
    assert_eq!(status.0, tonic::Code::Unimplemented);
    assert!(!status.1.is_empty());
}

#[test]
fn requests_that_make_no_sense_end_their_stream_with_a_reason_and_disturb_nobody() {
    let control = TestControl::start();
    control.rest().put(&sandbox("a", &[CART], 1));
    let mut bystander = follower(&control, "bystander");
    bystander.follow(OVERRIDE, &carts(&["a"]), DEADLINE);
    let subscription = |names: Vec<String>| Request {
        type_url: OVERRIDE.to_owned(),
        resource_names_subscribe: names,
        ..Request::default()
    };
    let many = (0..200_000).map(|number| cart(&format!("k{number}"))).collect();
    let bytes = [
        ("no message", vec![0xff; 50]),
        ("an empty message", Vec::new()),
        ("no type", Request::default().encode_to_vec()),
        ("an empty name", subscription(vec![String::new()]).encode_to_vec()),
        ("a name of a megabyte", subscription(vec!["n".repeat(1 << 20)]).encode_to_vec()),
        ("a bad pattern", subscription(vec!["shop/*".to_owned()]).encode_to_vec()),
        ("two hundred thousand names", subscription(many).encode_to_vec()),
        ("five megabytes", vec![0x0a; 5 << 20]),
    ];
    for (number, (what, bytes)) in bytes.into_iter().enumerate() {
        let mut script = stream(&control);
        script.send_bytes(bytes);
        loop {
            match script.heard(Duration::from_secs(2)) {
                Heard::Response(response) => script.ack(&response),
                Heard::Nothing => {
                    println!("{what}: passed over");
                    break;
                }
                Heard::Ended(code, message) => {
                    println!("{what}: {code:?} {message}");
                    assert!(
                        code != tonic::Code::Unknown && !message.is_empty(),
                        "{what}: {code:?} {message:?}"
                    );
                    break;
                }
            }
        }
        let port = u16::try_from(number + 2).expect("a port");
        control.rest().put(&sandbox("a", &[CART], port));
        let before = bystander.versions(OVERRIDE);
        eventually(what, || {
            bystander.settle(Duration::from_millis(20));
            (bystander.versions(OVERRIDE) != before).then_some(())
        });
    }
    bystander.assert_conduct();
}

#[test]
fn streams_on_which_nothing_is_said_hold_up_nobody() {
    let control = TestControl::start();
    let connections: Vec<Connection> = (0..3).map(|_| control.connection()).collect();
    let silent: Vec<Stream> =
        (0..300).map(|number| connections[number % 3].stream(&format!("silent-{number}"))).collect();
    // They are answered by now, and so open.
    assert_eq!(control.metrics().sum("spurline_control_ads_initial_syncs_waiting", &[]), 0.0);
    let mut prompt = follower(&control, "prompt");
    prompt.settle(QUIET);
    drop(silent);
}
