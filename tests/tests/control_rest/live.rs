//! Proxies, watches and lifetimes.

use super::*;
use spurline_tests::xds::Heard;

fn proxy(control: &TestControl, baseline: &Recorder) -> TestProxy {
    TestProxy::sidecar(CART, baseline.address()).flag("--control", &control.url()).start()
}

fn by(proxy: &TestProxy, key: &str) -> String {
    let answer = proxy.get("/x", &format!("sd-routing-key: {key}\r\n"));
    answer.field("x-backend").map_or_else(|| answer.status.to_string(), str::to_owned)
}

#[test]
fn what_is_programmed_steers_in_every_proxy_and_what_is_deleted_does_so_in_none() {
    let control = TestControl::start();
    let rest = control.rest();
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let proxies = [proxy(&control, &baseline), proxy(&control, &baseline)];
    let document = Document::sandbox("alice").key("alice").fork(CART, "cart-alice", &[fork.address()]);
    for _ in 0..10 {
        let started = Instant::now();
        let answer = rest.put_programmed(&document);
        let took = started.elapsed();
        assert_eq!(answer["status"]["programmed"]["proxies"], 2, "{answer}");
        for proxy in &proxies {
            assert_eq!(by(proxy, "alice"), "fork");
        }
        rest.delete_programmed(&document);
        for proxy in &proxies {
            assert_eq!(by(proxy, "alice"), "baseline");
        }
        println!("programmed 2 of 2 after {took:?}");
    }
}

#[test]
fn a_wait_ends_at_its_timeout_and_says_who_is_missing() {
    let control = TestControl::start();
    let rest = control.rest();
    let connection = control.connection();
    let mut mute = connection.stream("mute");
    mute.subscribe(spurline_tests::xds::OVERRIDE, &["*"], &[]);
    let first = mute.response();
    mute.ack(&first);
    let started = Instant::now();
    let answer =
        rest.send("PUT", "/v1/sandboxes/alice?wait=programmed&timeout=700ms", "", &cart("alice").text());
    assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    let text = answer.text();
    println!("{} {text}", answer.status);
    assert!(text.contains("\"acknowledged\":0") && text.contains("\"proxies\":1"), "{text}");
    // It is there all the same, and a later look can wait on.
    let second = mute.response();
    let answer = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rest.get("/v1/sandboxes/alice?wait=programmed&timeout=20s"));
        mute.ack(&second);
        waiting.join().expect("a wait")
    });
    assert_eq!(answer["status"]["programmed"]["acknowledged"], 1, "{answer}");
}

#[test]
fn without_proxies_a_wait_is_over_at_once() {
    let control = TestControl::start();
    let started = Instant::now();
    let answer = control.rest().put_with(&cart("alice"), "?wait=programmed&timeout=25s");
    assert_eq!(answer["status"]["programmed"]["proxies"], 0);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

#[test]
fn requests_are_served_while_others_wait() {
    let control = TestControl::start();
    let rest = control.rest();
    let connection = control.connection();
    let mut mute = connection.stream("mute");
    mute.subscribe(spurline_tests::xds::OVERRIDE, &["*"], &[]);
    let first = mute.response();
    mute.ack(&first);
    std::thread::scope(|scope| {
        let waits: Vec<_> = (0..20)
            .map(|number| {
                let rest = &rest;
                scope.spawn(move || {
                    let document = cart(&format!("s{number}"));
                    let target = format!("{}?wait=programmed&timeout=25s", document.target());
                    rest.send("PUT", &target, "", &document.text()).status
                })
            })
            .collect();
        eventually("all are stored", || (rest.sandboxes().len() == 20).then_some(()));
        rest.put(&cart("quick"));
        assert!(!waits.iter().any(|wait| wait.is_finished()), "it had to wait for others");
        eventually("the others are served when their wait is over", || {
            if let Heard::Response(response) = mute.heard(Duration::from_millis(10)) {
                mute.ack(&response);
            }
            waits.iter().all(|wait| wait.is_finished()).then_some(())
        });
    });
}

fn watch(rest: &Rest, fields: &str) -> Watch {
    Watch::open(rest.address(), "/v1/sandboxes?watch=true", fields).expect("a watch")
}

fn name_of(event: &Event) -> String {
    event.data["metadata"]["name"].as_str().unwrap_or_else(|| panic!("no name: {event:?}")).to_owned()
}

#[test]
fn a_watch_tells_what_there_is_and_then_every_change() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&cart("alice"));
    rest.put(&cart("bob"));
    let mut watch = watch(&rest, "");
    let there = watch.until_synced();
    let mut names: Vec<_> = there.iter().map(name_of).collect();
    names.sort_unstable();
    assert_eq!(names, ["alice", "bob"]);
    assert!(there.iter().all(|event| event.event == "put"));
    rest.put(&cart("carol"));
    let event = watch.event();
    assert_eq!((event.event.as_str(), name_of(&event).as_str()), ("put", "carol"));
    assert!(!event.id.is_empty());
    rest.delete(&cart("alice"));
    let event = watch.event();
    assert_eq!((event.event.as_str(), name_of(&event).as_str()), ("delete", "alice"));
}

#[test]
fn a_watch_that_resumes_misses_nothing_and_begins_anew_when_it_must() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&cart("alice"));
    let mut first = watch(&rest, "");
    first.until_synced();
    rest.put(&cart("bob"));
    let id = first.event().id;
    drop(first);
    rest.put(&cart("carol"));
    rest.delete(&cart("alice"));
    let mut second = watch(&rest, &format!("Last-Event-ID: {id}\r\n"));
    let missed: Vec<_> =
        second.until_synced().iter().map(|event| (event.event.clone(), name_of(event))).collect();
    assert_eq!(missed, [("put".to_owned(), "carol".to_owned()), ("delete".to_owned(), "alice".to_owned())]);
    // An id of another run, or of nobody, is no reason to fail: everything comes.
    for id in ["0", "nonsense", "99999999999"] {
        let mut watch = watch(&rest, &format!("Last-Event-ID: {id}\r\n"));
        let mut names: Vec<_> = watch.until_synced().iter().map(name_of).collect();
        names.sort_unstable();
        assert!(names.contains(&"bob".to_owned()) && names.contains(&"carol".to_owned()), "{id}: {names:?}");
    }
}

#[test]
fn a_watcher_that_does_not_read_disturbs_nobody() {
    let control = TestControl::start();
    let rest = control.rest();
    let before = control.resident_bytes();
    let watches: Vec<_> = (0..20).map(|_| watch(&rest, "")).collect();
    let big = (0..500).fold(Document::sandbox("big"), |document, number| {
        document.fork(&format!("shop/Deployment/w{number}"), "fork", &[free_address()])
    });
    for number in 0..100 {
        rest.put(&big.clone().label("n", &number.to_string()));
    }
    let grown = control.resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "{} MiB more", grown >> 20);
    drop(watches);
}

#[test]
fn a_sandbox_ends_at_its_time_and_a_heartbeat_keeps_an_idle_one() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&cart("brief").spec("ttl", json!({ "after": "1s" })));
    let idle = cart("idle").spec("ttl", json!({ "idle": "3s" }));
    let put = rest.put(&idle);
    assert!(!put["status"]["expiresAt"].is_null(), "{put}");
    rest.put(&cart("lasting"));
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) || rest.sandboxes().len() == 3 {
        assert!(started.elapsed() < DEADLINE, "the brief one does not end");
        let beat = rest.send("POST", "/v1/sandboxes/idle/heartbeat", "", "");
        assert!(matches!(beat.status, 200 | 204), "{}", beat.text());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(rest.sandboxes(), ["idle", "lasting"]);
    eventually("the idle one ends", || (rest.sandboxes() == ["lasting"]).then_some(()));
    assert_eq!(status_of(&rest, "POST", "/v1/sandboxes/idle/heartbeat", "", ""), 404);
}

#[test]
fn what_ends_by_itself_is_forgotten_by_every_proxy() {
    let control = TestControl::start();
    let rest = control.rest();
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let proxies = [proxy(&control, &baseline), proxy(&control, &baseline)];
    for ttl in [json!({ "after": "5s" }), json!({ "idle": "5s" })] {
        let document = Document::sandbox("brief").key("brief").fork(CART, "fork", &[fork.address()]);
        let answer = rest.put_programmed(&document.spec("ttl", ttl.clone()));
        assert_eq!(answer["status"]["programmed"]["acknowledged"], 2, "{ttl}: {answer}");
        for proxy in &proxies {
            assert_eq!(by(proxy, "brief"), "fork", "{ttl}");
        }
        eventually("it ends", || rest.sandboxes().is_empty().then_some(()));
        for proxy in &proxies {
            eventually("the proxy has forgotten it", || (by(proxy, "brief") == "baseline").then_some(()));
        }
    }
}

#[test]
fn a_lifetime_goes_on_while_the_service_is_away() {
    let control = TestControl::start();
    control.rest().put(&cart("brief").spec("ttl", json!({ "after": "1s" })));
    control.rest().put(&cart("long").spec("ttl", json!({ "after": "72h" })));
    let expires = control.rest().get("/v1/sandboxes/long")["status"]["expiresAt"].clone();
    let down = control.kill();
    std::thread::sleep(Duration::from_millis(1_100));
    let control = down.start();
    eventually("it has ended", || (control.rest().sandboxes() == ["long"]).then_some(()));
    assert_eq!(control.rest().get("/v1/sandboxes/long")["status"]["expiresAt"], expires);
}
