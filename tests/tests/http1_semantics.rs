//! HTTP/1.1 as ordinary peers use it: connections, content, trailers, expectations, 1xx, upgrades, aborts.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use spurline_tests::wire::{self, Length};
use spurline_tests::{End, Gate, RawClient, ReadError, Recorder, Step, TestProxy, eventually};

const WORKLOAD: &str = "shop/Deployment/cart";

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nX-Id: {target}\r\n\r\n")
}

fn respond(bytes: &'static str) -> Vec<Step> {
    vec![Step::Body, Step::Send(bytes.as_bytes().to_vec())]
}

#[test]
fn one_connection_serves_many_requests_over_few_upstream_connections() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    for number in 0..100 {
        let target = format!("/{number}");
        assert_eq!(client.exchange(get(&target)).field("x-id"), Some(target.as_str()));
    }
    assert_eq!(recorder.accepted(), 1, "keep-alive towards the upstream");
    assert!(recorder.violations().is_empty(), "{:?}", recorder.violations());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    let all: String = (0..50).map(|number| get(&format!("/{number}"))).collect();
    client.send(all);
    for number in 0..50 {
        assert_eq!(client.response().field("x-id"), Some(format!("/{number}").as_str()));
    }
}

#[test]
fn pipelined_requests_before_a_half_close_are_all_answered() {
    let recorder = Recorder::start("one");
    for protocol in ["http", "detect"] {
        let keys =
            format!("workload={WORKLOAD},port=8080,protocol={protocol},baseline={}", recorder.address());
        let proxy = TestProxy::build().listener("app", &keys).start();
        let mut client = proxy.client();
        let all: String = (0..4).map(|number| get(&format!("/{number}"))).collect();
        client.send(all).finish();
        for number in 0..4 {
            assert_eq!(client.response().field("x-id"), Some(format!("/{number}").as_str()), "{protocol}");
        }
        assert_eq!(client.to_end().end, End::Fin, "{protocol}");
    }
}

#[test]
fn a_request_split_anywhere_is_the_same_request() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let bytes = "POST /split HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    for size in [1, 2, 3, 7, 16, 40] {
        let mut client = proxy.client();
        client.send_split(bytes, size);
        assert_eq!(client.response_to("POST").expect("a response").status, 200);
    }
    let bodies: Vec<_> = recorder.requests().into_iter().map(|one| one.request.body).collect();
    assert_eq!(bodies, vec![b"hello world".to_vec(); 6]);
}

#[test]
fn large_content_passes_unchanged_both_ways() {
    let content: Vec<u8> =
        (0..3_000_000_u32).flat_map(|number| number.to_le_bytes()).take(3_000_000).collect();
    let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).into_bytes();
    reply.extend_from_slice(&content);
    let recorder = Recorder::scripted("large", move |_| vec![Step::Body, Step::Send(reply.clone())]);
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send(format!("POST /large HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", content.len()));
    client.send(&content);
    let response = client.response_to("POST").expect("a response");
    assert!(response.body == content, "the response content changed");
    assert!(recorder.request("/large").body == content, "the request content changed");
}

#[test]
fn chunked_content_and_trailers_pass_both_ways() {
    let recorder = Recorder::scripted("trailers", |_| {
        respond(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 9\r\nX-Other: 1\r\n\r\n",
        )
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    let response = client.exchange(
        "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n",
    );
    assert_eq!((response.text().as_str(), response.length), ("hello", Length::Chunked));
    assert_eq!(wire::get(&response.trailers, "x-sum"), Some("9"));
    assert_eq!(wire::get(&response.trailers, "x-other"), Some("1"));
    let request = recorder.request("/t");
    assert_eq!(request.body, b"abc");
    assert_eq!(wire::get(&request.trailers, "x-up"), Some("1"));
}

#[test]
fn an_expectation_is_passed_on_and_the_continue_comes_back() {
    let recorder = Recorder::scripted("expect", |_| {
        vec![Step::Send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()), Step::Echo]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("POST /e HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let interim = client.read_exact(25).expect("an interim response");
    assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    let response = client.response_to("POST").expect("a response");
    assert_eq!((response.status, response.informational.len()), (200, 0));
    assert_eq!(recorder.request("/e").body, b"hello");
}

#[test]
fn an_expectation_that_the_upstream_does_not_answer_is_the_fault_of_the_upstream() {
    let recorder = Recorder::scripted("silent", |_| vec![Step::Stall]);
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--body-idle-timeout", "200ms")
        .flag("--response-timeout", "600ms")
        .start();
    let mut client = proxy.client();
    client.send("POST /e HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let response = client.response_to("POST").expect("a response");
    assert_eq!((response.status, response.field("x-spurline-reason")), (504, Some("response-timeout")));
    eventually("the upstream connection is not kept", || (recorder.open_connections() == 0).then_some(()));
}

#[test]
fn a_final_answer_to_an_expectation_needs_no_content() {
    let recorder = Recorder::scripted("refuse", |_| {
        vec![Step::Send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec()), Step::Stall]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("POST /e HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.response_to("POST").expect("a response").status, 401);
    eventually("the upstream connection is not kept", || (recorder.open_connections() == 0).then_some(()));
}

#[test]
fn informational_responses_are_forwarded_in_order() {
    let recorder = Recorder::scripted("hints", |_| {
        respond(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n\
             HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let response = proxy.client().exchange(get("/h"));
    let links: Vec<_> = response.informational.iter().filter_map(|head| head.field("link")).collect();
    assert_eq!((links, response.informational.len(), response.status), (vec!["</a>", "</b>"], 3, 200));
}

#[test]
fn informational_responses_are_kept_from_http_1_0_clients() {
    let recorder = Recorder::scripted("hints", |_| {
        respond(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let transcript = client.to_end();
    let text = String::from_utf8_lossy(&transcript.bytes).into_owned();
    assert!(!text.contains("103") && text.contains("200") && text.ends_with("ok"), "{text}");
    assert_eq!(transcript.end, End::Fin, "HTTP/1.0 without keep-alive ends");
}

#[test]
fn chunked_answers_are_given_to_http_1_0_clients_without_chunks() {
    let recorder = Recorder::scripted("chunked", |_| {
        respond("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let text = String::from_utf8_lossy(&client.to_end().bytes).to_lowercase();
    assert!(text.ends_with("\r\n\r\nhello"), "{text}");
    assert!(!text.contains("transfer-encoding"), "{text}");
}

#[test]
fn head_204_and_304_have_no_content_and_keep_the_connection() {
    let recorder = Recorder::scripted("empty", |head| match head.target() {
        "/head" => respond("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        "/204" => respond("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => respond("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n"),
        _ => vec![Step::Echo],
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    let head = client.exchange("HEAD /head HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("1000"), 0));
    assert_eq!(client.exchange(get("/204")).status, 204);
    assert_eq!(client.exchange(get("/304")).status, 304);
    assert_eq!(client.exchange(get("/after")).field("x-id"), Some("/after"));
    assert_eq!(recorder.accepted(), 1);
}

#[test]
fn content_that_ends_with_the_connection_reaches_the_client_whole() {
    let recorder = Recorder::scripted("close", |_| {
        vec![Step::Body, Step::Send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()), Step::Finish]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let response = proxy.client().exchange(get("/c"));
    assert_eq!((response.status, response.text().as_str()), (200, "until the end"));
}

#[test]
fn close_is_obeyed_from_either_side_and_stays_on_its_side() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    let response = client.exchange("GET /bye HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert!(response.closes());
    assert_eq!(client.to_end().end, End::Fin);
    assert_eq!(recorder.request("/bye").field("connection"), None, "close is not for the upstream");
    proxy.get("/again", "");
    assert!(recorder.accepted() <= 2);

    let closing = Recorder::scripted("closing", |_| {
        let mut steps = respond("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        steps.push(Step::Finish);
        steps
    });
    let proxy = TestProxy::sidecar(WORKLOAD, closing.address()).start();
    let mut client = proxy.client();
    for _ in 0..5 {
        let response = client.exchange(get("/x"));
        assert_eq!((response.status, response.closes()), (200, false), "close is not for the client");
    }
}

#[test]
fn http_1_0_clients_keep_their_connection_when_they_ask() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    for target in ["/1", "/2"] {
        let request = format!(
            "GET {target} HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nX-Id: {target}\r\n\r\n"
        );
        let response = client.exchange(request);
        assert_eq!(response.field("x-id"), Some(target));
        let kept = response.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"));
        assert!(kept, "{:?}", response.head);
    }
}

#[test]
fn an_upgrade_becomes_a_tunnel_after_the_101_and_loses_nothing() {
    let recorder = Recorder::scripted("tunnel", |_| {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello";
        vec![Step::Body, Step::Send(switch.as_bytes().to_vec()), Step::Tunnel]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("GET /up HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    let response = client.response_to("GET").expect("a switch");
    assert_eq!((response.status, response.field("upgrade")), (101, Some("echo")));
    assert_eq!(client.read_exact(5).expect("the bytes after the switch"), b"hello");
    client.send(b"ping\x00\xff");
    assert_eq!(client.read_exact(6).expect("an echo"), b"ping\x00\xff");
    client.finish();
    assert_eq!(client.to_end().end, End::Fin, "the half-close comes through and comes back");
}

#[test]
fn bytes_sent_before_the_101_wait_for_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let recorder = Recorder::scripted("tunnel", move |_| {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        vec![Step::Body, Step::Hold(held.clone()), Step::Send(switch.as_bytes().to_vec()), Step::Tunnel]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("GET /up HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    eventually("the request is seen", || (recorder.requests().len() == 1).then_some(()));
    assert!(!String::from_utf8_lossy(&recorder.raw()[0]).contains("early"), "tunnelled before the 101");
    gate.open();
    assert_eq!(client.response_to("GET").expect("a switch").status, 101);
    assert_eq!(client.read_exact(5).expect("the early bytes"), b"early");
}

#[test]
fn a_refused_upgrade_leaves_an_ordinary_connection() {
    let recorder = Recorder::start("plain");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("GET /up HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert!(recorder.violations().is_empty());
}

#[test]
fn an_answer_that_comes_before_the_content_is_relayed_and_ends_the_upstream_connection() {
    let recorder = Recorder::scripted("early", |_| {
        vec![
            Step::Send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig".to_vec()),
            Step::Stall,
        ]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send("POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nstart");
    let response = client.response_to("POST").expect("the early answer");
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
    eventually("the upstream connection is ended", || (recorder.open_connections() == 0).then_some(()));
}

#[test]
fn a_client_that_goes_away_takes_its_upstream_request_with_it() {
    let recorder = Recorder::scripted("slow", |_| vec![Step::Body, Step::Stall]);
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send(get("/slow"));
    eventually("the request arrives", || (recorder.requests().len() == 1).then_some(()));
    client.reset();
    eventually("the upstream is told", || (recorder.open_connections() == 0).then_some(()));
}

#[test]
fn a_client_that_half_closes_still_gets_its_answer() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    client.send(get("/half")).finish();
    assert_eq!(client.response().field("x-id"), Some("/half"));
    assert_eq!(client.to_end().end, End::Fin);
}

#[test]
fn connection_options_of_an_answer_stay_on_their_hop() {
    let recorder = Recorder::scripted("hop", |_| {
        respond(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nX-Keep: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok",
        )
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let response = proxy.client().exchange(get("/hop"));
    assert_eq!((response.field("x-hop"), response.field("keep-alive")), (None, None));
    assert_eq!(response.field("x-keep"), Some("2"));
    assert_eq!(response.head.values("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn field_names_and_order_are_left_alone() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    proxy
        .client()
        .exchange("GET /f HTTP/1.1\r\nHOST: a.test\r\nx-B: 1\r\nX-a: 2\r\nX-B: 3\r\naccept:  */* \r\n\r\n");
    let raw = String::from_utf8_lossy(&recorder.raw()[0]).into_owned();
    assert!(raw.contains("x-B: 1\r\nX-a: 2\r\nX-B: 3\r\n"), "{raw}");
}

#[test]
fn a_pooled_connection_that_the_upstream_closed_costs_no_error() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    for round in 0..20 {
        assert_eq!(client.exchange(get(&format!("/{round}"))).status, 200);
        recorder.close_connections();
        let body = "POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";
        eventually("the close is known", || (recorder.open_connections() == 0).then_some(()));
        assert_eq!(client.exchange(body).status, 200, "round {round}");
    }
}

#[test]
fn a_dead_upstream_is_a_refusal_with_a_reason() {
    let proxy = TestProxy::sidecar(WORKLOAD, spurline_tests::free_address()).start();
    let mut client = proxy.client();
    let response = client.exchange(get("/dead"));
    assert!(matches!(response.status, 502 | 503), "{:?}", response.head);
    assert!(response.field("x-spurline-reason").is_some(), "{:?}", response.head);
    let again = RawClient::connect(proxy.address()).exchange(get("/dead"));
    assert!(matches!(again.status, 502 | 503));
}

#[test]
fn content_cut_by_the_client_never_looks_whole_to_the_upstream() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    for head in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = proxy.client();
        client.send(format!("POST /cut HTTP/1.1\r\nHost: a.test\r\n{head}"));
        eventually("the head arrives", || {
            recorder
                .raw()
                .iter()
                .any(|raw| raw.ends_with(b"hello") || raw.ends_with(b"hello\r\n"))
                .then_some(())
        });
        client.reset();
    }
    eventually("both are aborted", || (recorder.aborted().len() == 2).then_some(()));
    assert!(recorder.requests().is_empty());
}

#[test]
fn content_cut_by_the_upstream_never_looks_whole_to_the_client() {
    for (reply, step) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", Step::Finish),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", Step::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Step::Finish),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Step::Reset),
        ("HTTP/1.1 200 OK\r\n\r\nhello", Step::Reset),
    ] {
        let recorder = Recorder::scripted("cut", move |_| {
            vec![Step::Body, Step::Send(reply.as_bytes().to_vec()), step.clone()]
        });
        let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
        let mut client = proxy.client();
        client.send(get("/cut"));
        match client.response_to("GET") {
            Err(ReadError::Ended(End::Fin | End::Reset, _)) => {}
            Ok(response) if response.status == 502 => {}
            other => panic!("{reply:?}: {other:?}"),
        }
    }
}
