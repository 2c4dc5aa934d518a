//! The admin server: what it shows, what it changes, and what it refuses.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use serde_json::Value;
use spurline_tests::wire::Response;
use spurline_tests::{DEADLINE, Override, RawClient, Recorder, Routes, TestProxy, eventually};

const WORKLOAD: &str = "shop/Deployment/cart";

fn start() -> (TestProxy, Recorder, Routes) {
    let recorder = Recorder::start("one");
    let routes = Routes::new()
        .sandbox("a", "key-a")
        .sandbox("b", "key-b")
        .with(Override::new(WORKLOAD, "key-a", "cart-a").port(8080, &[recorder.address()]))
        .with(Override::new(WORKLOAD, "key-b", "cart-b").port(8080, &[recorder.address()]))
        .published();
    (TestProxy::sidecar(WORKLOAD, recorder.address()).routes(&routes).start(), recorder, routes)
}

fn json(response: &Response) -> Value {
    serde_json::from_str(&response.text()).unwrap_or_else(|error| panic!("{error}: {:?}", response.text()))
}

fn raw(proxy: &TestProxy, request: &str) -> Response {
    RawClient::connect(proxy.admin_address()).exchange(request)
}

#[test]
fn health_and_readiness_answer() {
    let (proxy, _recorder, _routes) = start();
    assert_eq!(proxy.admin("GET", "/healthz", "").status, 200);
    assert_eq!(proxy.admin("GET", "/readyz", "").status, 200);
    assert!(proxy.admin("GET", "/", "").text().contains("/metrics"));
}

#[test]
fn metrics_count_what_happened() {
    let (proxy, _recorder, _routes) = start();
    for key in ["key-a", "nobody"] {
        proxy.get("/x", &format!("sd-routing-key: {key}\r\n"));
    }
    proxy.get("/x", "");
    let requests = |labels: &[(&str, &str)]| proxy.metric("spurline_requests_total", labels);
    eventually("three requests are counted", || (requests(&[("class", "2xx")]) >= 3.0).then_some(()));
    assert_eq!(requests(&[("selection", "override")]), 1.0);
    assert_eq!(proxy.metric("spurline_keys_read_total", &[("carrier", "header")]), 2.0);
    assert_eq!(proxy.metric("spurline_key_unknown_total", &[]), 1.0);
    assert!(proxy.metric("spurline_table_overrides", &[]) >= 2.0);
    assert!(proxy.metric("spurline_request_duration_seconds_count", &[]) >= 3.0);
    let first = proxy.metrics().count();
    for number in 0..200 {
        proxy.get(&format!("/{number}"), &format!("sd-routing-key: k{number}\r\n"));
    }
    assert_eq!(proxy.metrics().count(), first, "series do not grow with keys and paths");
}

#[test]
fn routes_are_listed_filtered_and_paged() {
    let (proxy, _recorder, _routes) = start();
    eventually("the table is in use", || {
        (json(&proxy.admin("GET", "/routes", ""))["total"] == 2).then_some(())
    });
    let one = json(&proxy.admin("GET", "/routes?key=key-a", ""));
    assert_eq!(one["overrides"][0]["fork"], "cart-a");
    assert_eq!(one["overrides"].as_array().map(Vec::len), Some(1));
    let page = json(&proxy.admin("GET", "/routes?limit=1", ""));
    let after = page["next"].as_str().expect("more to see");
    let rest = json(&proxy.admin("GET", &format!("/routes?limit=1&after={after}"), ""));
    assert_ne!(page["overrides"][0]["key"], rest["overrides"][0]["key"]);
    assert_eq!(proxy.admin("GET", "/routes?limit=0", "").status, 400);
}

#[test]
fn the_settings_in_force_are_shown_with_their_source() {
    let (proxy, _recorder, _routes) = start();
    let text = proxy.admin("GET", "/config_dump", "").text();
    let dump: Value = serde_json::from_str(&text).expect("JSON");
    assert!(text.contains("routes_poll_interval") && text.contains("20ms"), "{dump}");
}

#[test]
fn the_log_level_can_be_changed_and_a_wrong_one_is_refused() {
    let (proxy, _recorder, _routes) = start();
    assert!(proxy.admin("GET", "/log_level", "").text().contains("info"));
    assert_eq!(proxy.admin("PUT", "/log_level", "debug").status, 200);
    assert!(proxy.admin("GET", "/log_level", "").text().contains("debug"));
    assert_eq!(proxy.admin("PUT", "/log_level", "loud").status, 400);
    assert!(proxy.admin("GET", "/log_level", "").text().contains("debug"));
}

#[test]
fn unknown_paths_and_methods_are_refused_in_json() {
    let (proxy, _recorder, _routes) = start();
    let unknown = proxy.admin("GET", "/nonsense", "");
    assert_eq!(unknown.status, 404);
    json(&unknown);
    let method = proxy.admin("POST", "/metrics", "");
    assert_eq!(method.status, 405);
    json(&method);
    assert_eq!(proxy.admin("GET", "/drain", "").status, 405);
}

#[test]
fn what_a_web_page_could_send_is_refused() {
    let (proxy, _recorder, _routes) = start();
    let rebound = raw(&proxy, "GET /routes HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.status, 403);
    let address = proxy.admin_address();
    let foreign = raw(
        &proxy,
        &format!(
            "POST /drain HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        ),
    );
    assert_eq!(foreign.status, 403);
    assert!(proxy.ready());
}

#[test]
fn a_large_body_and_a_slow_client_do_not_hold_the_admin_server() {
    let (proxy, _recorder, _routes) = start();
    let slow: Vec<_> = (0..32)
        .map(|_| {
            let mut client = RawClient::connect(proxy.admin_address());
            client.send("GET /metrics HT");
            client
        })
        .collect();
    assert_eq!(proxy.admin("GET", "/healthz", "").status, 200);
    let large = "x".repeat(100_000);
    let response = proxy.try_admin("PUT", "/log_level", &large);
    assert!(response.is_none_or(|response| response.status >= 400));
    drop(slow);
}

#[test]
fn drain_is_started_by_a_post() {
    let recorder = Recorder::start("one");
    let mut proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--drain-delay", "300ms").start();
    assert!(matches!(proxy.admin("POST", "/drain", "").status, 200 | 202));
    eventually("readiness is off", || (!proxy.ready()).then_some(()));
    assert_eq!(proxy.wait(DEADLINE).code(), Some(0));
}
