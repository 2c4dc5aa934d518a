//! The harness itself, against plain upstreams: what it reports has to be true before it judges a proxy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use spurline_tests::ledger::{Backend, Directory, Load, Outcome, Timeline, Tolerance, reconcile};
use spurline_tests::servers::{Kind, Server};
use spurline_tests::{End, Fault, Pod, RawClient, Recorder, Redirect, Relay, Step, eventually, skip_netns};

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\nX-Id: 7\r\n\r\n";

#[test]
fn a_recorder_keeps_every_byte_and_echoes() {
    let recorder = Recorder::start("one");
    let response = RawClient::connect(recorder.address()).exchange(GET);
    assert_eq!((response.status, response.field("x-id")), (200, Some("7")));
    assert_eq!(recorder.raw(), vec![GET.as_bytes().to_vec()]);
    assert_eq!(recorder.request("/x").field("x-id"), Some("7"));
    assert!(recorder.violations().is_empty());
}

#[test]
fn a_recorder_objects_to_what_only_lenient_peers_accept() {
    let recorder = Recorder::start("one");
    let mut client = RawClient::connect(recorder.address());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert_eq!(client.to_end().bytes, b"");
    assert_eq!(recorder.violations().len(), 1, "{:?}", recorder.violations());
}

#[test]
fn a_recorder_tells_aborted_requests_from_whole_ones() {
    let recorder = Recorder::start("one");
    let mut client = RawClient::connect(recorder.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").finish();
    eventually("the abort is seen", || (recorder.aborted().len() == 1).then_some(()));
    assert!(recorder.requests().is_empty());
}

#[test]
fn a_scripted_recorder_resets_when_told_to() {
    let recorder =
        Recorder::scripted("one", |_| vec![Step::Body, Step::Send(b"HTTP/1.1 2".to_vec()), Step::Reset]);
    let mut client = RawClient::connect(recorder.address());
    client.send(GET);
    assert_eq!(client.to_end().end, End::Reset);
}

#[test]
fn a_relay_does_what_its_fault_says() {
    let recorder = Recorder::start("one");
    let relay = Relay::start(recorder.address());
    assert_eq!(RawClient::connect(relay.address()).exchange(GET).status, 200);
    relay.set(Fault::Refuse);
    eventually("the relay refuses", || RawClient::try_connect(relay.address()).err());
    for (fault, end) in [
        (Fault::AcceptReset, End::Reset),
        (Fault::AcceptFinish, End::Fin),
        (Fault::ResetAfter(9), End::Reset),
        (Fault::FinishAfter(9), End::Fin),
        (Fault::StallAfter(9), End::Timeout),
        (Fault::Blackhole, End::Timeout),
    ] {
        relay.set(fault);
        let mut client = RawClient::connect(relay.address());
        if end == End::Timeout {
            client = client.read_timeout(Duration::from_millis(300));
        }
        let _ = client.try_send(GET);
        let transcript = client.to_end();
        assert_eq!(transcript.end, end, "{fault:?}");
        assert!(transcript.bytes.len() <= 9, "{fault:?}");
    }
    relay.set(Fault::Slice(1));
    assert_eq!(RawClient::connect(relay.address()).exchange(GET).status, 200);
}

#[test]
fn the_ledger_balances_without_a_proxy() {
    let backend = Backend::start("baseline");
    let timeline = Timeline::new("baseline", &[]);
    let load = Load::new(8, 2_000, 1);
    let sent = load.run(&Directory::new(&[backend.address()]), &AtomicBool::new(false));
    let report = reconcile(&sent, &[&backend], &timeline, Tolerance::default());
    report.assert_clean();
    assert_eq!((report.sent, report.answered), (2_000, 2_000));
}

#[test]
fn the_ledger_finds_what_is_wrong() {
    let (backend, other) = (Backend::start("baseline"), Backend::start("fork"));
    let load = Load::new(1, 40, 2).keys(&["k1"]);
    let directory = Directory::new(&[backend.address()]);
    let mut sent = load.run(&directory, &AtomicBool::new(false));
    let again = load.run(&directory, &AtomicBool::new(false));
    assert_eq!(again.len(), sent.len());
    sent[0].outcome = Outcome::Cut;
    sent[1].outcome = Outcome::Refused { status: 503, reason: None };
    let forgotten = sent.pop().expect("an entry").id;
    let timeline = Timeline::new("baseline", &[("k1", "fork")]);
    let report = reconcile(&sent, &[&backend, &other], &timeline, Tolerance::default());
    for kind in ["lost", "badly refused", "duplicated", "misrouted", "smuggled"] {
        assert!(report.wrong.contains_key(kind), "{kind} not found: {:?}", report.wrong.keys());
    }
    assert!(report.wrong["smuggled"][0].contains(&forgotten));
}

#[test]
fn real_servers_answer_with_the_id_of_the_request() {
    for kind in [Kind::Nginx, Kind::Haproxy, Kind::Node, Kind::Python] {
        let server = Server::start(kind);
        let response = RawClient::connect(server.address()).exchange(GET);
        assert_eq!((response.status, response.field("x-id")), (200, Some("7")), "{kind:?} {}", server.log());
    }
}

#[test]
fn a_pod_redirects_what_comes_from_outside() {
    if skip_netns("harness") {
        return;
    }
    for how in [Redirect::Nft, Redirect::Iptables] {
        let pod = Pod::new();
        let listener = pod.enter(|| std::net::TcpListener::bind(("0.0.0.0", 0)).expect("bind"));
        let port = listener.local_addr().expect("an address").port();
        let recorder = Recorder::on(listener, "inside", |_| vec![Step::Echo]);
        pod.redirect(how, &[8080], port);
        let response = RawClient::connect(pod.address(8080)).exchange(GET);
        assert_eq!(response.status, 200, "{how:?}");
        assert_eq!(recorder.accepted(), 1);
    }
}
