//! Routing keys through the real binary: where they are read, where requests go, and what is written.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use spurline_tests::wire::Response;
use spurline_tests::{End, Override, RawClient, Recorder, Routes, TestProxy, eventually, free_address};

const WORKLOAD: &str = "shop/Deployment/cart";
const ALICE: &str = "k3v9m2x7q4ab";
const BOB: &str = "bob.key_2-x";

struct Shop {
    proxy: TestProxy,
    baseline: Recorder,
    alice: Recorder,
    bob: Recorder,
    _routes: Routes,
}

/// A cart with two forks, behind a listener with these keys and settings.
fn shop(keys: &str, flags: &[(&str, &str)]) -> Shop {
    let [baseline, alice, bob] = ["baseline", "alice", "bob"].map(Recorder::start);
    let routes = Routes::new()
        .sandbox("alice", ALICE)
        .sandbox("bob", BOB)
        .sandbox("carol", "carol-key")
        .with(Override::new(WORKLOAD, ALICE, "cart-alice").port(8080, &[alice.address()]))
        .with(Override::new(WORKLOAD, BOB, "cart-bob").any_port(&[bob.address()]))
        .with(Override::new("shop/Deployment/other", "carol-key", "other-carol").any_port(&[bob.address()]))
        .published();
    let keys = format!("workload={WORKLOAD},port=8080,baseline={}{keys}", baseline.address());
    let mut builder = TestProxy::build().listener("app", &keys).routes(&routes);
    for (name, value) in flags {
        builder = builder.flag(name, value);
    }
    Shop { proxy: builder.start(), baseline, alice, bob, _routes: routes }
}

impl Shop {
    fn get(&self, fields: &str) -> Response {
        self.proxy.get("/s", fields)
    }

    /// Who answers a GET with these fields.
    fn by(&self, fields: &str) -> String {
        let response = self.get(fields);
        response.field("x-backend").unwrap_or_else(|| panic!("{fields:?}: {:?}", response.head)).to_owned()
    }

    fn assert_clean(&self) {
        for recorder in [&self.baseline, &self.alice, &self.bob] {
            assert!(recorder.violations().is_empty(), "{:?}", recorder.violations());
        }
    }
}

fn reason(response: &Response) -> (u16, Option<&str>) {
    (response.status, response.field("x-spurline-reason"))
}

#[test]
fn every_carrier_is_read() {
    let shop = shop("", &[]);
    for fields in [
        "sd-routing-key: KEY\r\n",
        "SD-Routing-Key: KEY\r\n",
        "baggage: sd-routing-key=KEY\r\n",
        "baggage: a=1 , sd-routing-key = KEY ;p=2, b=3\r\n",
        "baggage: a=1\r\nbaggage: sd-routing-key=KEY\r\n",
        "tracestate: vendor=1,sd-routing-key=KEY\r\n",
        "ot-baggage-sd-routing-key: KEY\r\n",
        "uberctx-sd-routing-key: KEY\r\n",
        "baggage-sd-routing-key: KEY\r\n",
        "baggage: sd-sandbox=KEY\r\n",
        "baggage: sd-workspace=KEY\r\n",
        "ot-baggage-sd-sandbox: KEY\r\n",
    ] {
        assert_eq!(shop.by(&fields.replace("KEY", ALICE)), "alice", "{fields:?}");
        assert_eq!(shop.by(&fields.replace("KEY", BOB)), "bob", "{fields:?}");
        assert_eq!(shop.by(&fields.replace("KEY", "unknown")), "baseline", "{fields:?}");
    }
    assert_eq!(shop.by("baggage: sd-routing-key=k3v9m2x7q4%61b\r\n"), "alice", "percent-decoded");
    assert_eq!(shop.by(""), "baseline");
    shop.assert_clean();
}

#[test]
fn malformed_carriers_go_to_the_baseline_unmodified() {
    let shop = shop("", &[]);
    let long = format!("baggage: sd-routing-key={}\r\n", "k".repeat(65));
    for fields in [
        "sd-routing-key: two words\r\n",
        "sd-routing-key: \r\n",
        "baggage: sd-routing-key=%zz\r\n",
        "baggage: SD-ROUTING-KEY=k3v9m2x7q4ab\r\n",
        &long,
    ] {
        let before = shop.baseline.requests().len();
        assert_eq!(shop.by(fields), "baseline", "{fields:?}");
        let raw = shop.baseline.raw().concat();
        let raw = String::from_utf8_lossy(&raw).into_owned();
        assert!(raw.contains(fields), "{fields:?} was changed");
        assert_eq!(shop.baseline.requests().len(), before + 1);
    }
    assert!(shop.proxy.metric("spurline_key_malformed_total", &[]) >= 3.0);
}

#[test]
fn the_order_decides_between_carriers_and_the_conflict_is_counted() {
    let shop = shop("", &[]);
    let both = format!("baggage: sd-routing-key={BOB}\r\nsd-routing-key: {ALICE}\r\n");
    assert_eq!(shop.by(&both), "alice");
    let members = format!("tracestate: sd-routing-key={ALICE}\r\nbaggage: sd-routing-key={BOB}\r\n");
    assert_eq!(shop.by(&members), "bob");
    let legacy = format!("baggage: sd-sandbox={ALICE},sd-routing-key={BOB}\r\n");
    assert_eq!(shop.by(&legacy), "bob");
    assert!(shop.proxy.metric("spurline_key_conflicts_total", &[]) >= 2.0);
}

#[test]
fn conflicting_keys_are_refused_where_that_is_wanted() {
    let shop = shop("", &[("--on-conflict", "reject")]);
    let response = shop.get(&format!("baggage: sd-routing-key={BOB}\r\nsd-routing-key: {ALICE}\r\n"));
    assert_eq!(reason(&response), (400, Some("conflicting-routing-key")));
    assert_eq!(shop.by(&format!("baggage: sd-routing-key={ALICE}\r\nsd-routing-key: {ALICE}\r\n")), "alice");
}

#[test]
fn a_strict_request_is_refused_rather_than_served_by_the_wrong_code() {
    let shop = shop("", &[]);
    let strict = "x-spurline-strict: 1\r\n";
    let unknown = shop.get(&format!("sd-routing-key: nobody\r\n{strict}"));
    assert_eq!(reason(&unknown), (503, Some("unknown-routing-key")));
    assert_eq!(shop.by(&format!("sd-routing-key: {ALICE}\r\n{strict}")), "alice");
    assert_eq!(
        shop.by(&format!("sd-routing-key: carol-key\r\n{strict}")),
        "baseline",
        "known, but not of this workload"
    );
    assert_eq!(shop.by(strict), "baseline", "no key at all");
}

#[test]
fn explain_names_the_decision_to_who_asks() {
    let shop = shop("", &[]);
    let response = shop.get(&format!("sd-routing-key: {ALICE}\r\nx-spurline-explain: 1\r\n"));
    let line = response.field("x-spurline-explain").expect("an explanation");
    for part in [WORKLOAD, ALICE, "header", "cart-alice", &shop.alice.address().to_string()] {
        assert!(line.contains(part), "{part} not in {line}");
    }
    let baseline = shop.get("x-spurline-explain: 1\r\n");
    assert!(baseline.field("x-spurline-explain").is_some_and(|line| line.contains("baseline")));
    assert_eq!(shop.get("").field("x-spurline-explain"), None);
}

#[test]
fn explain_names_the_decision_on_refusals_too() {
    let shop = shop("", &[]);
    let refused = shop.get("sd-routing-key: nobody\r\nx-spurline-strict: 1\r\nx-spurline-explain: 1\r\n");
    assert_eq!(reason(&refused), (503, Some("unknown-routing-key")));
    assert!(refused.field("x-spurline-explain").is_some_and(|line| line.contains("key=nobody")));
    let baseline = Recorder::start("baseline");
    let routes = Routes::new()
        .sandbox("a", ALICE)
        .sandbox("b", BOB)
        .with(Override::new(WORKLOAD, ALICE, "cart-a").port(8080, &[free_address()]))
        .with(Override::new(WORKLOAD, BOB, "cart-b").port(8080, &[]))
        .published();
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    for (key, fork) in [(ALICE, "cart-a"), (BOB, "cart-b")] {
        let asked = proxy.get("/x", &format!("sd-routing-key: {key}\r\nx-spurline-explain: 1\r\n"));
        assert_eq!(reason(&asked), (503, Some("fork-unavailable")));
        let line = asked.field("x-spurline-explain").expect("an explanation");
        assert!(line.contains(WORKLOAD) && line.contains(key), "{fork}: {line}");
        let not_asked = proxy.get("/x", &format!("sd-routing-key: {key}\r\n"));
        assert_eq!(not_asked.field("x-spurline-explain"), None);
    }
}

#[test]
fn a_strict_request_whose_key_cannot_be_read_is_refused() {
    let shop = shop("", &[]);
    let long = "k".repeat(65);
    let large = format!("baggage: a={},sd-routing-key={ALICE}\r\n", "x".repeat(8_200));
    let many: String = (0..70).map(|number| format!("m{number}=1,")).collect();
    for fields in [
        "sd-routing-key: two words\r\n",
        "sd-routing-key: a/b\r\n",
        "baggage: sd-routing-key=%zz\r\n",
        &format!("sd-routing-key: {long}\r\n"),
        &large,
        &format!("baggage: {many}sd-routing-key={ALICE}\r\n"),
    ] {
        let forks = shop.alice.accepted() + shop.bob.accepted();
        let shown = &fields[..fields.len().min(60)];
        assert_eq!(shop.by(fields), "baseline", "{shown:?}");
        let seen = shop.baseline.requests().len();
        let strict = shop.get(&format!("{fields}x-spurline-strict: 1\r\n"));
        assert_eq!(reason(&strict), (503, Some("unknown-routing-key")), "{shown:?}");
        assert_eq!(shop.baseline.requests().len(), seen, "{shown:?}");
        assert_eq!(shop.alice.accepted() + shop.bob.accepted(), forks, "{shown:?}");
    }
    shop.assert_clean();
}

#[test]
fn the_key_is_written_into_the_baggage_and_nothing_else_changes() {
    let shop = shop("", &[]);
    let cases = [
        (format!("sd-routing-key: {ALICE}\r\n"), vec![format!("sd-routing-key={ALICE}")]),
        (
            format!("baggage: a=1,b=2;x=y\r\nsd-routing-key: {ALICE}\r\n"),
            vec![format!("a=1,b=2;x=y,sd-routing-key={ALICE}")],
        ),
        (
            format!("baggage: a=1\r\nbaggage: b=2\r\nsd-routing-key: {ALICE}\r\n"),
            vec!["a=1".to_owned(), format!("b=2,sd-routing-key={ALICE}")],
        ),
        (
            format!("baggage: a=1,sd-routing-key={ALICE},b=2\r\n"),
            vec![format!("a=1,sd-routing-key={ALICE},b=2")],
        ),
    ];
    for (fields, wanted) in cases {
        assert_eq!(shop.by(&fields), "alice");
        let request = shop.alice.requests().pop().expect("a request").request;
        let found: Vec<_> =
            request.head.values("baggage").iter().map(|line| line.replace(", ", ",")).collect();
        assert_eq!(found, wanted, "{fields:?}");
        let sent = fields.contains("sd-routing-key: ");
        assert_eq!(request.head.values("sd-routing-key").len(), usize::from(sent), "{fields:?}");
    }
}

#[test]
fn a_losing_key_is_not_sent_on() {
    let shop = shop("", &[]);
    assert_eq!(
        shop.by(&format!("baggage: u=1,sd-routing-key={BOB}\r\nsd-routing-key: {ALICE}\r\n")),
        "alice"
    );
    let raw = shop.alice.raw().concat();
    let raw = String::from_utf8_lossy(&raw).into_owned();
    assert!(!raw.contains(BOB), "{raw}");
    assert!(raw.contains("u=1"), "{raw}");
}

#[test]
fn selection_is_made_for_each_request_of_a_connection() {
    let shop = shop("", &[]);
    let mut client = shop.proxy.client();
    for round in 0..30 {
        let (key, wanted) = [(ALICE, "alice"), (BOB, "bob"), ("none", "baseline")][round % 3];
        let response =
            client.exchange(format!("GET /s HTTP/1.1\r\nHost: a\r\nsd-routing-key: {key}\r\n\r\n"));
        assert_eq!(response.field("x-backend"), Some(wanted));
    }
    let selected = |selection| shop.proxy.metric("spurline_requests_total", &[("selection", selection)]);
    // The last request is counted just after its response.
    eventually("every request is counted", || {
        ((selected("override"), selected("baseline")) == (20.0, 10.0)).then_some(())
    });
}

#[test]
fn a_fork_that_is_gone_is_a_refusal_unless_the_override_says_otherwise() {
    let baseline = Recorder::start("baseline");
    let dead = free_address();
    let routes = Routes::new()
        .sandbox("a", ALICE)
        .sandbox("b", BOB)
        .with(Override::new(WORKLOAD, ALICE, "a").port(8080, &[dead]))
        .with(Override::new(WORKLOAD, BOB, "b").port(8080, &[dead]).or_baseline())
        .published();
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    let refused = proxy.get("/a", &format!("sd-routing-key: {ALICE}\r\n"));
    assert_eq!(reason(&refused), (503, Some("fork-unavailable")));
    let fallen = proxy.get("/b", &format!("sd-routing-key: {BOB}\r\n"));
    assert_eq!(fallen.field("x-backend"), Some("baseline"));
    let strict = proxy.get("/c", &format!("sd-routing-key: {BOB}\r\nx-spurline-strict: 1\r\n"));
    assert_eq!(reason(&strict), (503, Some("fork-unavailable")));
}

#[test]
fn an_override_of_another_port_leaves_this_one_alone_unless_strict() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let routes = Routes::new()
        .sandbox("a", ALICE)
        .with(Override::new(WORKLOAD, ALICE, "a").port(9999, &[fork.address()]))
        .published();
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    let keyed = format!("sd-routing-key: {ALICE}\r\n");
    assert_eq!(proxy.get("/p", &keyed).field("x-backend"), Some("baseline"));
    let strict = proxy.get("/p", &format!("{keyed}x-spurline-strict: 1\r\n"));
    assert_eq!(reason(&strict), (503, Some("port-not-mapped")));
}

#[test]
fn an_untrusted_client_steers_nothing_and_learns_nothing() {
    let shop = shop(",role=gateway,trust=none", &[]);
    let fields = format!(
        "sd-routing-key: {ALICE}\r\nbaggage: user=7,sd-routing-key={ALICE}\r\ntracestate: v=1,sd-routing-key={ALICE}\r\n\
         ot-baggage-sd-routing-key: {ALICE}\r\nx-spurline-strict: 1\r\nx-spurline-explain: 1\r\n"
    );
    let response = shop.get(&fields);
    assert_eq!((response.field("x-backend"), response.field("x-spurline-explain")), (Some("baseline"), None));
    let raw = shop.baseline.raw().concat();
    let raw = String::from_utf8_lossy(&raw).into_owned();
    assert!(!raw.contains(ALICE) && !raw.contains("x-spurline"), "{raw}");
    assert!(raw.contains("user=7") && raw.contains("v=1"), "{raw}");
    assert!(shop.proxy.metric("spurline_keys_stripped_total", &[]) >= 1.0);
}

#[test]
fn a_gateway_reads_keys_from_host_query_and_cookie() {
    let flags = [
        ("--gateway-query", "sd"),
        ("--gateway-cookie", "sandbox"),
        ("--gateway-host-pattern", "{key}--*.preview.test"),
    ];
    let shop = shop(",role=gateway,trust=all", &flags);
    let by = |request: String| {
        let response = shop.proxy.client().exchange(&request);
        response.field("x-backend").unwrap_or_else(|| panic!("{request:?}: {:?}", response.head)).to_owned()
    };
    assert_eq!(by(format!("GET /?sd={ALICE} HTTP/1.1\r\nHost: a.test\r\n\r\n")), "alice");
    assert_eq!(
        by(format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: x=1; sandbox={ALICE}\r\n\r\n")),
        "alice"
    );
    assert_eq!(by(format!("GET / HTTP/1.1\r\nHost: {ALICE}--cart.preview.test\r\n\r\n")), "alice");
    assert_eq!(by("GET / HTTP/1.1\r\nHost: cart.preview.test\r\n\r\n".to_owned()), "baseline");
    for one in shop.alice.requests() {
        assert_eq!(one.request.field("baggage"), Some(format!("sd-routing-key={ALICE}").as_str()));
    }
}

#[test]
fn a_gateway_admits_signed_keys_and_never_forwards_the_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys.yaml");
    std::fs::write(&path, "- kid: one\n  hmac: c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=\n")
        .expect("write");
    let flags =
        [("--signed-keys-file", path.to_str().expect("a path")), ("--signed-keys-audience", "staging")];
    let shop = shop(",role=gateway,trust=signed", &flags);
    let token = sign(ALICE, 4_102_444_800, b"secret-secret-secret-secret-1234");
    assert_eq!(shop.by(&format!("sd-routing-key: {token}\r\n")), "alice");
    let raw = String::from_utf8_lossy(&shop.alice.raw().concat()).into_owned();
    assert!(!raw.contains(&token), "the token was forwarded: {raw}");
    for wrong in [
        ALICE.to_owned(),
        sign(ALICE, 1_000_000_000, b"secret-secret-secret-secret-1234"),
        sign(ALICE, 4_102_444_800, b"another-secret-another-secret-12"),
        token.replace(".one.", ".two."),
    ] {
        assert_eq!(shop.by(&format!("sd-routing-key: {wrong}\r\n")), "baseline", "{wrong}");
    }
}

#[test]
fn two_proxies_that_point_at_each_other_end_the_loop() {
    let (first, second) = (free_address(), free_address());
    let keys = |to: SocketAddr| format!("workload={WORKLOAD},port=8080,role=gateway,trust=all,baseline={to}");
    let proxy = TestProxy::build()
        .listener_at("first", first, &keys(second))
        .listener_at("second", second, &keys(first))
        .start();
    let response = RawClient::connect(proxy.address()).exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.status, 508, "{:?}", response.head);
}

#[test]
fn what_would_come_back_to_the_proxy_is_refused_without_a_connection() {
    let (http, tcp, detect) = (free_address(), free_address(), free_address());
    let routes = Routes::new()
        .sandbox("a", ALICE)
        .with(Override::new(WORKLOAD, ALICE, "a").port(8080, &[http]))
        .published();
    let baseline = Recorder::start("baseline");
    let proxy = TestProxy::build()
        .listener_at("http", http, &format!("workload={WORKLOAD},port=8080,baseline={http}"))
        .listener_at("tcp", tcp, &format!("protocol=tcp,baseline={tcp}"))
        .listener_at("detect", detect, &format!("workload={WORKLOAD},port=8080,baseline={detect}"))
        .sidecar("good", WORKLOAD, &[baseline.address()])
        .routes(&routes)
        .start();
    let refused = RawClient::connect(http).exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reason(&refused), (508, Some("loop-detected")));
    let keyed = format!("GET / HTTP/1.1\r\nHost: a\r\nsd-routing-key: {ALICE}\r\n\r\n");
    let refused = RawClient::connect(proxy.listener("good")).exchange(keyed);
    assert_eq!(reason(&refused), (508, Some("loop-detected")));
    for address in [tcp, detect] {
        let mut client = RawClient::connect(address);
        let _ = client.try_send(b"\0\x01\x02\x03");
        let transcript = client.to_end();
        assert!(transcript.bytes.is_empty() && transcript.end != End::Timeout, "{transcript:?}");
    }
    let metrics = proxy.metrics();
    let refusals = metrics.sum("spurline_connections_refused_total", &[("reason", "loop")]);
    assert!(refusals == 2.0, "{}", metrics.text());
    assert!(metrics.sum("spurline_connections_accepted_total", &[]) == 4.0, "{}", metrics.text());
    assert!(metrics.sum("spurline_upstream_connects_total", &[]) == 0.0, "{}", metrics.text());
}

#[test]
fn no_key_is_ever_a_metric_label() {
    let shop = shop("", &[]);
    shop.by(&format!("sd-routing-key: {ALICE}\r\n"));
    shop.by("sd-routing-key: unknown-1234\r\n");
    let text = shop.proxy.metrics().text().to_owned();
    assert!(!text.contains(ALICE) && !text.contains("unknown-1234"));
}

/// A token as the signing side makes it: HMAC-SHA256 over domain, audience and the token's first three parts.
fn sign(key: &str, expires: u64, secret: &[u8]) -> String {
    let signed = format!("{key}.{expires}.one");
    let message = format!("spurline-routing-key/1\nstaging\n{signed}");
    let mut block = [0_u8; 64];
    block[..secret.len()].copy_from_slice(secret);
    let pad = |byte: u8| block.map(|one| one ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    let tag = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    format!("{signed}.{}", base64url(&tag))
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            let index = (number >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}
