//! Clients that people really use: curl and wrk.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::process::Command;
use std::time::Duration;

use spurline_tests::servers::{Kind, Server};
use spurline_tests::{Finished, Override, Recorder, Routes, TestProxy, run};

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";

fn curl(arguments: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20"]).args(arguments);
    run(command, Duration::from_secs(60))
}

#[test]
fn curl_gets_posts_and_uploads() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let url = format!("http://{}/curl", proxy.address());
    assert!(curl(&[&url]).stdout.starts_with("one GET /curl"), "{:?}", curl(&[&url]));
    assert!(curl(&["-d", "a=1", &url]).stdout.ends_with(" 3\n"));
    assert!(curl(&["-I", &url]).stdout.starts_with("HTTP/1.1 200"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("upload");
    std::fs::write(&path, vec![b'u'; 5_000_000]).expect("write");
    let path = path.to_str().expect("a path");
    let sized = curl(&["-T", path, &url]);
    assert!(sized.stdout.ends_with(" 5000000\n"), "{sized:?}");
    let chunked = curl(&["-T", path, "-H", "Transfer-Encoding: chunked", &url]);
    assert!(chunked.stdout.ends_with(" 5000000\n"), "{chunked:?}");
    let old = curl(&["--http1.0", &url]);
    assert!(old.stdout.starts_with("one GET"), "{old:?}");
    assert!(recorder.violations().is_empty(), "{:?}", recorder.violations());
}

#[test]
fn curl_is_steered_by_its_key() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let routes = Routes::new()
        .sandbox("a", KEY)
        .with(Override::new(WORKLOAD, KEY, "cart-a").port(8080, &[fork.address()]))
        .published();
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    let url = format!("http://{}/curl", proxy.address());
    assert!(curl(&["-H", &format!("baggage: sd-routing-key={KEY}"), &url]).stdout.starts_with("fork"));
    assert!(curl(&[&url]).stdout.starts_with("baseline"));
}

#[test]
fn curl_finds_an_http_2_upgrade_and_a_proxy_request_harmless() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let url = format!("http://{}/curl", proxy.address());
    let upgrade = curl(&["--http2", &url]);
    assert!(upgrade.stdout.starts_with("one GET"), "{upgrade:?}");
    let connect = curl(&["-p", "-x", &format!("http://{}", proxy.address()), "http://127.0.0.1:1/"]);
    assert_ne!(connect.code, Some(0), "CONNECT is refused");
    assert!(recorder.violations().is_empty(), "{:?}", recorder.violations());
}

#[test]
fn wrk_sees_no_error_at_full_speed() {
    let nginx = Server::start(Kind::Nginx);
    let proxy = TestProxy::sidecar(WORKLOAD, nginx.address()).start();
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "-d3s", "--timeout", "20s", &format!("http://{}/", proxy.address())]);
    let done = run(command, Duration::from_secs(60));
    println!("{}", done.stdout);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(!done.stdout.contains("Socket errors") && !done.stdout.contains("Non-2xx"), "{}", done.stdout);
    assert!(proxy.metric("spurline_requests_total", &[("class", "2xx")]) > 100.0);
}
