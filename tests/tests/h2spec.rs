//! h2spec, strict: the proxy as a server before upstreams of either version and inside of TLS, and as a client.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "tls/certificates.rs"]
#[allow(dead_code, reason = "shared with the suite of TLS, which needs more")]
mod certificates;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use certificates::{Authority, VALID};
use spurline_tests::h2::Upstream;
use spurline_tests::{Override, Recorder, Routes, TestProxy, free_address, run, tool};

const WORKLOAD: &str = "shop/Deployment/cart";
const DEADLINE: Duration = Duration::from_secs(240);
/// h2specd gives each of its cases a port.
const CLIENT_CASES: u16 = 57;

/// Fails with the report of h2spec unless it ran all of its cases and the only ones that failed are `explained`.
fn assert_all_pass(command: Command, cases: usize, explained: &[&str]) {
    let finished = run(command, DEADLINE);
    let report: Vec<_> =
        finished.stdout.lines().filter(|line| !line.contains("use of closed network connection")).collect();
    let at = report.iter().position(|line| line.contains("Failures:")).unwrap_or(report.len());
    let mut failed: Vec<&str> = Vec::new();
    let mut closed = 0;
    for line in &report[at..] {
        if let Some((_, case)) = line.split_once("× ") {
            failed.push(case);
        }
        // A connection that is closed before all that came is read is reset, which is as good an end.
        if line.contains("Actual:") && line.contains("connection reset by peer") {
            failed.pop();
            closed += 1;
        }
    }
    let failures = explained.len() + closed;
    let summary = format!("{cases} tests, {} passed, 0 skipped, {failures} failed", cases - failures);
    let told = report.iter().any(|line| line.contains(&summary));
    let from = if at < report.len() { at } else { 0 };
    assert!(
        told && failed == explained,
        "not \"{summary}\":\n{}\n{}",
        report[from..].join("\n"),
        finished.stderr
    );
}

fn assert_server_conforms(address: SocketAddr, options: &[&str], explained: &[&str]) {
    let mut command = Command::new(tool("bin/h2spec"));
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["-S", "-o", "10", "-h", &host, "-p", &port]).args(options);
    assert_all_pass(command, 146, explained);
}

/// In the clear HTTP/1.1 is spoken at the same address, so what is no preface gets an answer in HTTP/1.1 before the
/// connection ends, which h2spec takes for a broken frame.
const NO_PREFACE: &str = "2: Sends invalid connection preface";

#[test]
fn a_server_before_an_upstream_of_http1() {
    let recorder = Recorder::start("one");
    let keys = format!(
        "workload={WORKLOAD},port=8080,protocol=http,baseline={},upstream_protocol=http1",
        recorder.address()
    );
    let proxy = TestProxy::build().listener("app", &keys).start();
    assert_server_conforms(proxy.address(), &[], &[NO_PREFACE]);
    assert_eq!(recorder.violations(), [""; 0]);
}

#[test]
fn a_server_before_an_upstream_of_http2() {
    let upstream = Upstream::start("one");
    let keys = format!(
        "workload={WORKLOAD},port=8080,protocol=http,baseline={},upstream_protocol=http2",
        upstream.address()
    );
    let proxy = TestProxy::build().listener("app", &keys).start();
    assert_server_conforms(proxy.address(), &[], &[NO_PREFACE]);
    assert_eq!(upstream.violations(), [""; 0]);
}

#[test]
fn a_server_inside_of_tls() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let keys = format!(
        "workload={WORKLOAD},port=8080,role=gateway,tls=terminate,baseline={},upstream_protocol=http1",
        recorder.address()
    );
    let certificate = authority.server("any", &["any.example"], VALID).setting("*");
    let proxy = TestProxy::build()
        .listener("app", &keys)
        .argument("--tls-certificate")
        .argument(&certificate)
        .start();
    assert_server_conforms(proxy.address(), &["-t", "-k"], &[]);
    assert_eq!(recorder.violations(), [""; 0]);
}

/// Each case is an upstream of its own, which a key leads to; what starts a case is a request with that key.
#[test]
fn a_client_of_an_upstream_of_http2() {
    let recorder = Recorder::start("baseline");
    let host = free_address().ip();
    let ports = 20_000..20_000 + CLIENT_CASES;
    let mut routes = Routes::new();
    for port in ports.clone() {
        let key = format!("case-{port}");
        let at = Override::new(WORKLOAD, &key, &key).port(8080, &[(host, port).into()]);
        routes = routes.sandbox(&key, &key).with(at);
    }
    let routes = routes.published();
    let keys =
        format!("workload={WORKLOAD},port=8080,baseline={},upstream_protocol=http2", recorder.address());
    let proxy = TestProxy::build().listener("app", &keys).flag("--retries-max", "0").routes(&routes).start();
    let script = routes.directory().join("ask");
    let ask = format!(
        "#!/bin/sh\nport=${{1##*:}}\nexec curl -s -m 3 -H \"sd-routing-key: case-${{port%/}}\" http://{}/\n",
        proxy.address()
    );
    std::fs::write(&script, ask).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(tool("bin/h2specd"));
    command
        .args(["-S", "-o", "1", "-h", &host.to_string(), "-f", &ports.start.to_string(), "-e"])
        .arg(&script);
    assert_all_pass(command, usize::from(CLIENT_CASES), &[]);
    assert_eq!(recorder.requests().len(), 0);
}
