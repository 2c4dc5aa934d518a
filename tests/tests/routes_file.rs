//! The routes file while the proxy runs: reload, mistakes, absence, swaps.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::time::{Duration, Instant};

use spurline_tests::{Override, Recorder, Routes, TestProxy, eventually};

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";
const KEYED: &str = "sd-routing-key: k3v9m2x7q4ab\r\n";

struct Case {
    _baseline: Recorder,
    fork: Recorder,
    routes: Routes,
    proxy: TestProxy,
}

fn case(routes: Routes) -> Case {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    Case { _baseline: baseline, fork, routes, proxy }
}

impl Case {
    fn rule(&self) -> Override {
        Override::new(WORKLOAD, KEY, "cart-fork").port(8080, &[self.fork.address()])
    }

    fn by(&self) -> String {
        self.proxy.get("/r", KEYED).field("x-backend").unwrap_or("nobody").to_owned()
    }

    fn publish_fork(&mut self) {
        let rule = self.rule();
        self.routes.set(rule);
        let generation = self.proxy.generation();
        self.routes.publish();
        self.proxy.wait_newer_than(generation);
        assert_eq!(self.by(), "fork");
    }

    fn rejected(&self) -> f64 {
        self.proxy.metric("spurline_table_updates_total", &[("result", "rejected")])
    }
}

#[test]
fn an_override_is_live_soon_after_its_file_is_and_gone_as_soon() {
    let mut case = case(Routes::new().sandbox("a", KEY).published());
    eventually("it is soon", || {
        assert_eq!(case.by(), "baseline");
        let started = Instant::now();
        case.publish_fork();
        let took = started.elapsed();
        case.routes.remove(WORKLOAD, KEY);
        let generation = case.proxy.generation();
        case.routes.publish();
        case.proxy.wait_newer_than(generation);
        assert_eq!(case.by(), "baseline");
        (took < Duration::from_secs(2)).then_some(())
    });
}

#[test]
fn a_wrong_file_changes_nothing_and_is_named_with_its_line() {
    let mut case = case(Routes::new().sandbox("a", KEY).published());
    case.publish_fork();
    for (number, text) in [
        "overrides: [",
        "sandboxes:\n  - name: a\n    key: 'not a key!'\n",
        "nonsense: 1\n",
        "overrides:\n  - workload: shop/Deployment/cart\n    sandbox: nobody\n    ports: { 8080: [127.0.0.1:1] }\n",
        "overrides:\n  - workload: shop\n    key: k\n    ports: { 8080: [127.0.0.1:1] }\n",
        "overrides:\n  - workload: a/B/c\n    key: k\n    ports: { 8080: [localhost] }\n",
        "\u{0}\u{1}",
    ]
    .iter()
    .enumerate()
    {
        let before = case.rejected();
        case.routes.write(text);
        eventually(&format!("{text:?} is rejected"), || (case.rejected() > before).then_some(()));
        assert_eq!(case.by(), "fork", "{number}");
    }
    let log = case.proxy.log();
    assert!(log.contains("routes.yaml:"), "no file and line in the log:\n{log}");
    case.publish_fork();
}

#[test]
fn a_wrong_file_is_told_once_and_not_every_interval() {
    let mut case = case(Routes::new().sandbox("a", KEY).published());
    case.publish_fork();
    case.routes.write("nonsense: 1\n");
    eventually("the rejection is counted", || (case.rejected() > 0.0).then_some(()));
    let lines = || case.proxy.log().matches("nonsense").count();
    let told = lines();
    // Many poll intervals pass while the proxy serves these.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        case.by();
    }
    assert_eq!(lines(), told);
    assert!(case.rejected() < 2.0);
}

#[test]
fn a_deleted_file_leaves_the_last_good_table() {
    let mut case = case(Routes::new().sandbox("a", KEY).published());
    case.publish_fork();
    std::fs::remove_file(case.routes.path()).expect("remove");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(300) {
        assert_eq!(case.by(), "fork");
    }
    case.routes.remove(WORKLOAD, KEY);
    case.routes.publish();
    eventually("the new file counts", || (case.by() == "baseline").then_some(()));
}

#[test]
fn a_file_that_is_written_in_pieces_is_never_half_applied() {
    let mut case = case(Routes::new().sandbox("a", KEY).published());
    case.publish_fork();
    case.routes.set(case.rule());
    for number in 0..200 {
        let other = format!("shop/Deployment/w{number}");
        case.routes.set(Override::new(&other, KEY, "f").port(8080, &[case.fork.address()]));
    }
    let text = case.routes.text();
    let mut file = std::fs::File::create(case.routes.path()).expect("truncate in place");
    for piece in text.as_bytes().chunks(200) {
        std::io::Write::write_all(&mut file, piece).expect("write");
        assert_eq!(case.by(), "fork", "a prefix of the file was applied");
    }
    drop(file);
    eventually("the whole file counts", || {
        let text = case.proxy.admin("GET", "/routes?limit=1", "").text();
        let page: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        (page["total"] == 201).then_some(())
    });
}

#[test]
fn a_swapped_symbolic_link_is_a_new_file() {
    let mut routes = Routes::new().sandbox("a", KEY);
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    // The layout of a mounted ConfigMap: file → ..data/file, ..data → a directory for each version.
    let directory = routes.directory().to_owned();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(directory.join(name)).expect("make a directory");
        std::fs::write(directory.join(name).join("routes.yaml"), text).expect("write");
        std::os::unix::fs::symlink(name, directory.join("..new")).expect("link");
        std::fs::rename(directory.join("..new"), directory.join("..data")).expect("swap");
    };
    version("..1", &routes.text());
    std::os::unix::fs::symlink("..data/routes.yaml", directory.join("routes.yaml")).expect("link");
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    assert_eq!(proxy.get("/r", KEYED).field("x-backend"), Some("baseline"));
    routes.set(Override::new(WORKLOAD, KEY, "cart-fork").port(8080, &[fork.address()]));
    version("..2", &routes.text());
    eventually("the new version counts", || {
        (proxy.get("/r", KEYED).field("x-backend") == Some("fork")).then_some(())
    });
}

#[test]
fn without_a_file_at_boot_the_baseline_is_served_and_the_file_counts_when_it_comes() {
    let mut case = case(Routes::new().sandbox("a", KEY));
    assert_eq!(case.by(), "baseline");
    let rule = case.rule();
    case.routes.set(rule);
    case.routes.publish();
    eventually("the file counts", || (case.by() == "fork").then_some(()));
}

#[test]
fn with_a_wrong_file_at_boot_the_baseline_is_served() {
    let routes = Routes::new().sandbox("a", KEY);
    routes.write("nonsense: 1\n");
    let case = case(routes);
    assert_eq!(case.by(), "baseline");
}

#[test]
fn ten_thousand_overrides_load_and_the_last_one_counts() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let mut routes = Routes::new();
    for number in 0..10_000 {
        let key = format!("key-{number}");
        routes = routes.sandbox(&format!("s{number}"), &key);
        routes = routes.with(Override::new(WORKLOAD, &key, "f").port(8080, &[fork.address()]));
    }
    let proxy = TestProxy::sidecar(WORKLOAD, baseline.address()).routes(&routes).start();
    routes.publish();
    let started = Instant::now();
    eventually("the table is in use", || {
        (proxy.get("/r", "sd-routing-key: key-9999\r\n").field("x-backend") == Some("fork")).then_some(())
    });
    println!("10,000 overrides live after {:?}", started.elapsed());
    assert_eq!(proxy.get("/r", "sd-routing-key: key-10000\r\n").field("x-backend"), Some("baseline"));
}
