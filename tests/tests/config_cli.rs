//! Settings through the real binary: sources, precedence, mistakes, exit codes, the access log.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use serde_json::Value;
use spurline_tests::{Recorder, Routes, TestProxy, eventually, free_address};

const WORKLOAD: &str = "shop/Deployment/cart";

fn listener() -> String {
    format!("name=a,listen={},workload={WORKLOAD},port=8080,baseline=127.0.0.1:9", free_address())
}

#[test]
fn help_and_version_are_printed() {
    let help = TestProxy::command(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("--listener") && help.stdout.contains("--drain-timeout"));
    let version = TestProxy::command(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", version.stdout);
    assert!(TestProxy::command(&["--print-settings-reference"]).stdout.contains("drain_timeout"));
}

#[test]
fn without_a_listener_it_does_not_start() {
    let done = TestProxy::command(&[]);
    assert_eq!(done.code, Some(64), "{}", done.stderr);
    assert!(done.stderr.contains("listener"), "{}", done.stderr);
}

#[test]
fn every_mistake_is_told_at_once_with_its_source_and_what_is_allowed() {
    let arguments = ["--listener", &listener(), "--head-timeout", "soon", "--fields-max", "0"];
    let done = TestProxy::command_with(&arguments, &[("SPURLINE_LOG_LEVEL", "loud")]);
    assert_eq!(done.code, Some(64));
    for part in ["--head-timeout", "soon", "--fields-max", "SPURLINE_LOG_LEVEL", "loud", "allowed"] {
        assert!(done.stderr.contains(part), "{part} is missing:\n{}", done.stderr);
    }
}

#[test]
fn unknown_flags_variables_and_keys_are_refused_with_a_suggestion() {
    let flag = TestProxy::command(&["--listner", &listener()]);
    assert_eq!(flag.code, Some(64));
    assert!(flag.stderr.contains("--listener"), "{}", flag.stderr);
    let variable = TestProxy::command_with(&["--listener", &listener()], &[("SPURLINE_LOG_LEVLE", "info")]);
    assert_eq!(variable.code, Some(64));
    assert!(variable.stderr.contains("SPURLINE_LOG_LEVEL"), "{}", variable.stderr);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("settings.yaml");
    std::fs::write(&path, "log_levle: info\n").expect("write");
    let key = TestProxy::command(&["--listener", &listener(), "--config", path.to_str().expect("a path")]);
    assert_eq!(key.code, Some(64));
    assert!(key.stderr.contains("log_level") && key.stderr.contains("settings.yaml:1"), "{}", key.stderr);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("settings.yaml");
    let recorder = Recorder::start("one");
    let listen = free_address();
    let text = format!(
        "head_timeout: 11s\nidle_timeout: 12s\nconnect_timeout: 13s\nlisteners:\n  - name: app\n    listen: {listen}\n    \
         workload: {WORKLOAD}\n    port: 8080\n    baseline: [{}]\n",
        recorder.address()
    );
    std::fs::write(&path, text).expect("write");
    let proxy = TestProxy::build()
        .flag("--config", path.to_str().expect("a path"))
        .environment("SPURLINE_HEAD_TIMEOUT", "21s")
        .environment("SPURLINE_IDLE_TIMEOUT", "22s")
        .flag("--head-timeout", "31s")
        .start();
    let dump = proxy.admin("GET", "/config_dump", "").text();
    for part in ["31s", "22s", "13s"] {
        assert!(dump.contains(part), "{part} is missing: {dump}");
    }
    assert!(!dump.contains("21s") && !dump.contains("12s"), "{dump}");
    let response = spurline_tests::RawClient::connect(listen).exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.status, 200);
}

#[test]
fn check_judges_settings_and_routes_and_starts_nothing() {
    let routes = Routes::new().sandbox("a", "k").published();
    let path = routes.path();
    let path = path.to_str().expect("a path");
    let good = TestProxy::command(&["--check", "--listener", &listener(), "--routes", path]);
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    routes.write("nonsense: 1\n");
    let wrong = TestProxy::command(&["--check", "--listener", &listener(), "--routes", path]);
    assert_ne!(wrong.code, Some(0));
    assert!(wrong.stderr.contains("routes.yaml:1"), "{}", wrong.stderr);
    let settings = TestProxy::command(&["--check", "--listener", "name=a"]);
    assert_eq!(settings.code, Some(64));
}

#[test]
fn an_address_in_use_is_told_with_the_address() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = taken.local_addr().expect("an address");
    let keys = format!("name=a,listen={address},workload={WORKLOAD},baseline=127.0.0.1:9");
    let done = TestProxy::command(&["--listener", &keys, "--admin-listen", "off"]);
    assert!(done.code.is_some_and(|code| code != 0), "{:?}", done.code);
    assert!(done.stderr.contains(&address.to_string()), "{}", done.stderr);
}

#[test]
fn admin_stays_on_loopback_unless_told_otherwise() {
    let done = TestProxy::command(&["--listener", &listener(), "--admin-listen", "0.0.0.0:0"]);
    assert_eq!(done.code, Some(64));
    assert!(
        done.stderr.contains("admin_allow_remote") || done.stderr.contains("--admin-allow-remote"),
        "{}",
        done.stderr
    );
}

#[test]
fn the_access_log_is_one_json_line_for_each_request() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--access-log", "stdout").start();
    proxy.get("/one?q=%22", "sd-routing-key: key-1\r\n");
    proxy.client().exchange("GET /bad HTTP/1.1\r\n\r\n");
    let lines = eventually("two lines are written", || {
        let text = proxy.stdout();
        (text.lines().count() >= 2).then_some(text)
    });
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let with =
        |status: u16| lines.iter().find(|line| line["status"] == status).expect("a line with the status");
    let served = with(200);
    assert_eq!(served["method"], "GET");
    assert!(served.to_string().contains("key-1"), "{served}");
    assert!(with(400)["reason"].is_string(), "{}", with(400));
}

#[test]
fn the_access_log_counts_the_bytes_of_each_request_alone() {
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--access-log", "stdout").start();
    let content = "x".repeat(1_000);
    let post = format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{content}");
    let gets = ["/1", "/22", "/333"].map(|target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut client = proxy.client();
    client.send([post.as_str(), &gets.concat()].concat());
    assert_eq!(client.response_to("POST").expect("a response").status, 200);
    for _ in &gets {
        assert_eq!(client.response().status, 200);
    }
    let text = eventually("four lines are written", || {
        let text = proxy.stdout();
        (text.lines().count() >= 4).then_some(text)
    });
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let counted: Vec<_> = lines.iter().map(|line| line["bytes_in"].as_u64().expect("a count")).collect();
    let sent: Vec<_> = std::iter::once(&post).chain(&gets).map(|request| request.len() as u64).collect();
    assert_eq!(counted, sent, "{text}");
}

#[test]
fn a_blocked_access_log_does_not_block_traffic() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    // A reader that never reads: the pipe fills and stays full.
    let keep = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("open the pipe");
    let recorder = Recorder::start("one");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address())
        .flag("--access-log", path.to_str().expect("a path"))
        .start();
    let mut client = proxy.client();
    for number in 0..20_000 {
        let response =
            client.exchange(format!("GET /{number} HTTP/1.1\r\nHost: a\r\nX-Id: {number}\r\n\r\n"));
        assert_eq!(response.status, 200);
    }
    assert!(proxy.metric("spurline_access_log_dropped_total", &[]) >= 1.0);
    drop(keep);
}
