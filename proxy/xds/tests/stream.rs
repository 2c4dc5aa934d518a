//! The whole client against a server that does as the script says, over loopback.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/case.rs"]
mod case;
#[path = "support/resources.rs"]
mod resources;
#[path = "support/server.rs"]
mod server;

use std::{
    fs,
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use case::{Case, complete, eventually, impatient, now_unix_s, settings};
use resources::{CART, baseline, cart, key_owner, resource, response, rule};
use server::TestServer;
use spurline_api::spurline::routing::v1 as wire;
use spurline_telemetry::metrics::{Counter, Gauge, ResourceUpdate, SnapshotEvent, StreamEnd, TableUpdate};
use spurline_xds::{ResourceType, Server, Settings, Source, Timing};

#[test]
fn what_the_server_says_is_in_force_and_acknowledged() {
    let server = TestServer::start();
    let case = Case::following(&server);
    let script = server.accept();
    let first = script.receive();
    assert_eq!(first.node.unwrap().id, "node-1");
    // Overrides are asked for before keys, so that they are told before them.
    assert_eq!(first.resource_names_subscribe, [format!("{CART}/*")]);
    assert_eq!(script.receive().resource_names_subscribe, [CART]);
    assert_eq!(script.receive().resource_names_subscribe, ["*"]);
    script.send(response(ResourceType::KeyOwner, "1", vec![key_owner("a", "alice")]));
    script.send(response(ResourceType::Baseline, "2", vec![baseline(9)]));
    assert!(!case.is_ready());
    script.send(response(ResourceType::Override, "3", vec![rule("a", 1, None)]));
    let mut nonces: Vec<_> = (0..3).map(|_| script.receive().response_nonce).collect();
    nonces.sort();
    assert_eq!(nonces, ["1", "2", "3"]);
    // It counted before it was acknowledged.
    assert_eq!(case.forks(), ["cart-a"]);
    assert!(case.table.load().baseline(&cart(), 80).is_some());
    eventually("ready", || case.is_ready());
    let status = case.status();
    assert_eq!((status.source, status.resources), (Source::Control, 3));
    assert_eq!(status.server, Some(server.address().to_string()));
    assert_eq!(case.registry.gauge(Gauge::ControlConnected), 1);
    let mut gone = response(ResourceType::Override, "4", vec![]);
    gone.removed_resources = vec![format!("{CART}/a")];
    script.send(gone);
    case.wait_for_forks(&[]);
    assert_eq!(case.registry.counter(Counter::ControlUpdates(ResourceUpdate::Removed)), 1);
}

#[test]
fn a_wrong_resource_is_rejected_by_name_and_offered_again_on_the_next_stream() {
    let server = TestServer::start();
    let case = Case::following(&server);
    let script = server.accept();
    script.skip(3);
    let wrong = resource(ResourceType::Override, &format!("{CART}/b"), &wire::Override::default());
    complete(&script, vec![rule("a", 1, None), wrong]);
    script.skip(2);
    let rejection = script.receive();
    assert_eq!(rejection.response_nonce, "overrides");
    assert!(rejection.error_detail.unwrap().message.starts_with("shop/Deployment/cart/b: "));
    assert_eq!(case.forks(), ["cart-a"]);
    assert_eq!(case.registry.counter(Counter::TableUpdates(TableUpdate::Rejected)), 1);
    let rejected = case.status().last_rejection.unwrap();
    assert_eq!(rejected.name, "shop/Deployment/cart/b");
    // A partly good answer is a complete one all the same.
    eventually("ready", || case.is_ready());
    drop(script);
    let script = server.accept();
    let again = script.receive();
    assert_eq!(again.initial_resource_versions.keys().collect::<Vec<_>>(), ["shop/Deployment/cart/a"]);
    // Who it is stands in the first message only, and nonces die with their stream.
    assert!(again.node.is_some() && again.response_nonce.is_empty());
    for _ in 0..2 {
        let next = script.receive();
        assert!(next.node.is_none() && next.response_nonce.is_empty());
    }
    assert_eq!(case.forks(), ["cart-a"]);
}

#[test]
fn the_last_table_stays_when_the_server_goes_and_the_next_one_is_tried() {
    let (one, two) = (TestServer::start(), TestServer::start());
    let gone = Server::Http(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string());
    let case = Case::start(settings(vec![gone, one.address(), two.address()]));
    let script = one.accept();
    complete(&script, vec![rule("a", 1, None)]);
    eventually("in step", || case.status().source == Source::Control);
    drop(script);
    drop(one);
    let script = two.accept();
    assert_eq!(case.forks(), ["cart-a"]);
    script.skip(3);
    complete(&script, vec![rule("b", 1, None)]);
    case.wait_for_forks(&["cart-a", "cart-b"]);
    // Whether the one that went is tried once more depends on how much of its end was heard.
    assert!(case.ended(StreamEnd::Connect) >= 1);
}

#[test]
fn a_server_that_never_answers_is_left() {
    let silent = TestServer::start();
    let talking = TestServer::start();
    let servers = vec![silent.address(), talking.address()];
    let case = Case::start_with(settings(servers), impatient());
    let _kept = silent.accept();
    complete(&talking.accept(), vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
    assert_eq!(case.ended(StreamEnd::Silent), 1);
}

#[test]
fn a_server_that_accepts_and_says_nothing_at_all_is_left_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = Server::Http(listener.local_addr().unwrap().to_string());
    let talking = TestServer::start();
    let case = Case::start_with(settings(vec![silent, talking.address()]), impatient());
    complete(&talking.accept(), vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
    drop(listener);
}

#[test]
fn a_server_that_falls_silent_in_mid_stream_is_left_and_its_table_stays() {
    let falling_silent = TestServer::start();
    let talking = TestServer::start();
    let servers = vec![falling_silent.address(), talking.address()];
    let timing = Timing {
        ping_interval: Duration::from_millis(100),
        ping_timeout: Duration::from_secs(2),
        ..impatient()
    };
    let case = Case::start_with(settings(servers), timing);
    let script = falling_silent.accept();
    complete(&script, vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
    assert_eq!(case.ended(StreamEnd::Error), 0);
    let frozen = falling_silent.freeze();
    // Its sockets stay open, and take what is sent to them.
    let script = talking.accept();
    assert!(case.ended(StreamEnd::Error) >= 1, "pings are not answered");
    assert_eq!(case.forks(), ["cart-a"]);
    complete(&script, vec![rule("b", 1, None)]);
    case.wait_for_forks(&["cart-a", "cart-b"]);
    drop(frozen);
}

#[test]
fn a_server_that_leaves_a_type_unanswered_holds_up_readiness_for_a_while_only() {
    let server = TestServer::start();
    let timing = Timing { exists_timeout: Duration::from_millis(300), ..Timing::default() };
    let case = Case::start_with(settings(vec![server.address()]), timing);
    let waiting = Case::following(&server);
    let scripts = [server.accept(), server.accept()];
    for script in &scripts {
        script.send(response(ResourceType::Override, "1", vec![rule("a", 1, None)]));
        script.send(response(ResourceType::Baseline, "2", vec![]));
    }
    for case in [&case, &waiting] {
        case.wait_for_forks(&["cart-a"]);
    }
    eventually("ready without an answer about keys", || case.is_ready());
    assert!(!waiting.is_ready(), "one with more patience waits");
    let source = || case.status().source;
    assert_eq!(source(), Source::None, "it is not in step all the same");
    scripts.iter().for_each(|script| script.send(response(ResourceType::KeyOwner, "3", vec![])));
    eventually("in step", || source() == Source::Control && waiting.is_ready());
}

#[test]
fn a_server_that_closes_at_once_is_not_stormed() {
    let server = TestServer::start();
    let case = Case::following(&server);
    for _ in 0..3 {
        drop(server.accept());
    }
    let script = server.accept();
    complete(&script, vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
    assert_eq!(case.ended(StreamEnd::Closed), 3);
    assert_eq!(case.registry.counter(Counter::ControlStreams), 4);
}

#[test]
fn a_giant_response_ends_the_stream_and_nothing_else() {
    let server = TestServer::start();
    let case = Case::following(&server);
    let script = server.accept();
    complete(&script, vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
    let mut giant = rule("b", 1, None);
    giant.version = "v".repeat(5 * 1024 * 1024);
    script.send(response(ResourceType::Override, "giant", vec![giant]));
    eventually("the stream ends", || case.ended(StreamEnd::Error) == 1);
    assert_eq!(case.forks(), ["cart-a"]);
    complete(&server.accept(), vec![rule("c", 1, None)]);
    case.wait_for_forks(&["cart-a", "cart-c"]);
}

#[test]
fn a_response_without_a_nonce_ends_the_stream_and_a_foreign_type_is_refused() {
    let server = TestServer::start();
    let case = Case::following(&server);
    let script = server.accept();
    script.skip(3);
    let mut foreign = response(ResourceType::Override, "f", vec![rule("a", 1, None)]);
    foreign.type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    script.send(foreign);
    let answer = script.receive();
    assert!(answer.error_detail.is_some() && answer.response_nonce == "f");
    // Nonces that come again, or in any order, are sent back as they came.
    for nonce in ["2", "1", "2"] {
        script.send(response(ResourceType::Override, nonce, vec![rule("b", 1, None)]));
        assert_eq!(script.receive().response_nonce, nonce);
    }
    script.send(response(ResourceType::Override, "", vec![rule("c", 1, None)]));
    eventually("given up", || case.ended(StreamEnd::Violation) == 1);
    assert_eq!(case.forks(), ["cart-b"]);
    complete(&server.accept(), vec![rule("d", 1, None)]);
    case.wait_for_forks(&["cart-b", "cart-d"]);
}

#[test]
fn an_override_ends_at_its_time_though_the_server_says_nothing() {
    let server = TestServer::start();
    let case = Case::following(&server);
    let script = server.accept();
    complete(&script, vec![rule("a", 1, Some(now_unix_s() + 5)), rule("b", 1, None)]);
    case.wait_for_forks(&["cart-a", "cart-b"]);
    case.wait_for_forks(&["cart-b"]);
    assert_eq!(case.registry.counter(Counter::ControlUpdates(ResourceUpdate::Expired)), 1);
}

#[test]
fn readiness_waits_for_an_answer_but_not_for_ever() {
    let refused = Server::Http(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string());
    let waiting = Case::start(settings(vec![refused.clone()]));
    let limited =
        Case::start(Settings { ready_timeout: Some(Duration::from_secs(2)), ..settings(vec![refused]) });
    assert!(!limited.is_ready());
    eventually("ready without an answer", || limited.is_ready());
    assert!(!waiting.is_ready());
    let status = limited.status();
    assert_eq!(status.source, Source::None);
    assert!(status.last_error.is_some());
}

#[test]
fn a_start_without_the_server_is_served_from_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot");
    let server = TestServer::start();
    let with_snapshot = |servers| Settings { snapshot: Some(path.clone()), ..settings(servers) };
    let case = Case::start(with_snapshot(vec![server.address()]));
    assert_eq!(case.snapshots(SnapshotEvent::Missing), 1);
    let script = server.accept();
    complete(&script, vec![rule("a", 1, None)]);
    script.send(response(ResourceType::KeyOwner, "key", vec![key_owner("a", "alice")]));
    eventually("saved", || case.snapshots(SnapshotEvent::Saved) >= 1);
    // Dropping the client keeps what the last second brought.
    script.send(response(ResourceType::Override, "more", vec![rule("b", 1, None)]));
    case.wait_for_forks(&["cart-a", "cart-b"]);
    drop(case);
    drop(script);

    let again = Case::start(with_snapshot(vec![server.address()]));
    // In force and ready before anything was heard.
    assert_eq!(again.forks(), ["cart-a", "cart-b"]);
    assert!(again.is_ready());
    assert_eq!(again.status().source, Source::Snapshot);
    // One table follows the empty one: no key was known without its overrides.
    let table = again.table.load_full();
    assert_eq!(table.generation(), 1);
    assert_eq!(table.owner(&"a".parse().unwrap()).map(|owner| owner.to_string()), Some("alice".to_owned()));
    let script = server.accept();
    assert_eq!(script.receive().initial_resource_versions.len(), 2);
    drop(again);

    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = Case::start(with_snapshot(vec![server.address()]));
    assert_eq!((damaged.forks(), damaged.is_ready()), (Vec::new(), false));
    assert_eq!(damaged.snapshots(SnapshotEvent::Corrupt), 1);
}

#[test]
fn responses_count_in_the_order_in_which_they_come() {
    let server = TestServer::start();
    let case = Case::following(&server);
    let script = server.accept();
    script.skip(3);
    let (stop, table) = (AtomicBool::new(false), &case.table);
    let key = "a".parse().unwrap();
    let look = || {
        let table = table.load();
        let (has_fork, is_known) = (table.find(&cart(), &key).is_some(), table.knows(&key));
        assert!(has_fork || !is_known, "the key is known and its override is not");
        is_known
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                look();
            }
        });
        let gone = |ty, name: &str| {
            let mut gone = response(ty, "gone", vec![]);
            gone.removed_resources = vec![name.to_owned()];
            gone
        };
        for _ in 0..100 {
            script.send(response(ResourceType::Override, "come", vec![rule("a", 1, None)]));
            script.send(response(ResourceType::KeyOwner, "come", vec![key_owner("a", "alice")]));
            script.skip(2);
            let came = look();
            script.send(gone(ResourceType::KeyOwner, "a"));
            script.send(gone(ResourceType::Override, &format!("{CART}/a")));
            script.skip(2);
            let stayed = look();
            if !came || stayed {
                stop.store(true, Ordering::Relaxed);
            }
            assert!(came && !stayed, "what was answered is in force");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_snapshot_only() {
    let server = TestServer::start();
    let missing = Some("/nonexistent/folder/snapshot".into());
    let case = Case::start(Settings { snapshot: missing, ..settings(vec![server.address()]) });
    complete(&server.accept(), vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
    eventually("counted", || case.snapshots(SnapshotEvent::SaveFailed) >= 1);
    assert!(case.is_ready());
}

#[test]
fn a_unix_socket_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_on_socket(&folder.path().join("control.sock"));
    let case = Case::following(&server);
    complete(&server.accept(), vec![rule("a", 1, None)]);
    case.wait_for_forks(&["cart-a"]);
}

#[test]
fn a_flood_of_small_responses_is_applied_whole_and_answered_one_by_one() {
    let server = TestServer::start();
    let case = Case::following(&server);
    let script = server.accept();
    script.skip(3);
    for at in 0..500_u16 {
        let nonce = at.to_string();
        script.send(response(
            ResourceType::Override,
            &nonce,
            vec![rule(&format!("k{}", at % 7), at + 1, None)],
        ));
    }
    for at in 0..500 {
        assert_eq!(script.receive().response_nonce, at.to_string());
    }
    assert_eq!(case.forks().len(), 7);
    let found = case.table.load();
    let rule = found.find(&cart(), &format!("k{}", 499 % 7).parse().unwrap()).unwrap();
    assert_eq!(rule.endpoints(80).unwrap()[0].addr.port(), 500);
    // Several responses made one table.
    assert!(found.generation() <= 500, "{}", found.generation());
}
