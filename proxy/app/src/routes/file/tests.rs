use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"
workloads:
  - name: shop/Deployment/cart
    ports: { 8080: [127.0.0.1:9101] }
sandboxes:
  - name: alice-cart
    key: k3v9m2x7q4ab
  - { name: bob, key: 12e4 }
overrides:
  - workload: shop/Deployment/cart
    sandbox: alice-cart
    fork: cart-alice
    onUnavailable: Baseline
    ports: { 8080: [127.0.0.1:9102, "[::1]:9102"], "*": [] }
  - workload: shop/Deployment/cart
    key: 12e4
    ports:
      8080:
        - 127.0.0.1:9103
"#;

fn table(text: &str) -> RouteTable {
    parse(Path::new("routes.yaml"), text.as_bytes(), 3).unwrap()
}

fn faults(text: &str) -> String {
    parse(Path::new("routes.yaml"), text.as_bytes(), 3).unwrap_err().to_string()
}

fn cart() -> Workload {
    "shop/Deployment/cart".parse().unwrap()
}

fn addrs(endpoints: Option<&Arc<[Endpoint]>>) -> Vec<String> {
    endpoints.unwrap().iter().map(|endpoint| endpoint.addr.to_string()).collect()
}

#[test]
fn a_file_becomes_a_table() {
    let table = table(GOOD);
    assert_eq!((table.generation(), table.len()), (3, 2));
    assert_eq!(addrs(table.baseline(&cart(), 8080)), ["127.0.0.1:9101"]);
    let rule = table.find(&cart(), &"k3v9m2x7q4ab".parse().unwrap()).unwrap();
    assert_eq!((&*rule.fork, &*rule.sandbox), ("cart-alice", "alice-cart"));
    assert_eq!(rule.on_unavailable, OnUnavailable::Baseline);
    assert_eq!(addrs(rule.endpoints(8080)), ["127.0.0.1:9102", "[::1]:9102"]);
    assert!(rule.endpoints(1).unwrap().is_empty());
}

#[test]
fn what_is_left_out_has_a_default() {
    let table = table(GOOD);
    // A key that YAML could take for a number is the text that was typed.
    let rule = table.find(&cart(), &"12e4".parse().unwrap()).unwrap();
    assert_eq!((&*rule.fork, &*rule.sandbox), ("shop/Deployment/cart@bob", "bob"));
    assert_eq!(rule.on_unavailable, OnUnavailable::Reject);
    assert!(rule.endpoints(9090).is_none());
}

#[test]
fn no_routes_at_all_are_said_in_so_many_words() {
    assert!(table("{}").is_empty());
    assert!(table("overrides: []").is_empty());
}

#[test]
fn every_wrong_value_is_reported_at_once_with_its_line() {
    let text = r#"workloads:
  - name: cart
    ports: { 8080: [localhost:9101] }
sandboxes:
  - { name: alice, key: "not a key" }
  - { name: "b ob", key: k2 }
overrides:
  - workload: shop/Deployment/cart
    sandbox: carol
    onUnavailable: Shrug
    ports: { 0: [127.0.0.1:1], http: [127.0.0.1:0] }
  - { workload: shop/Deployment/web, sandbox: alice, key: k, ports: { 80: [] } }
  - { workload: shop/Deployment/web, sandbox: alice, ports: { 80: [] } }
"#;
    let faults = faults(text);
    let starts = [
        "routes.yaml:2: workload \"cart\"; allowed: a workload is written namespace/Kind/name",
        "routes.yaml:5: key \"not a key\"; allowed: ",
        "routes.yaml:6: sandbox \"b ob\"; allowed: ",
        "routes.yaml:9: unknown sandbox \"carol\"; allowed: a name under sandboxes",
        "routes.yaml:10: onUnavailable \"Shrug\"; allowed: Reject or Baseline",
        "routes.yaml:11: port \"0\"; allowed: 1 to 65535, or \"*\" for the rest",
        "routes.yaml:11: endpoint \"127.0.0.1:0\"; allowed: an IP address and a port",
        "routes.yaml:11: port \"http\"; allowed: ",
        "routes.yaml:12: an override needs its sandbox; allowed: either sandbox or key",
    ];
    let lines: Vec<_> = faults.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{faults}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nshould start with\n{start}");
    }
}

#[test]
fn contradictions_name_both_sides() {
    let text = r#"sandboxes:
  - { name: alice, key: k1 }
  - { name: bob, key: k1 }
overrides:
  - { workload: shop/Deployment/cart, sandbox: alice, fork: one, ports: { 80: [] } }
  - { workload: shop/Deployment/cart, key: k1, fork: two, ports: { 80: [], "80": [] } }
  - { workload: shop/Deployment/cart, key: k1, fork: two, ports: { 81: [] } }
"#;
    let faults = faults(text);
    for part in [
        "routes.yaml:3: routing key k1 belongs to sandbox alice and to sandbox bob",
        "routes.yaml:6: two maps port 80 twice",
        "routes.yaml:7: shop/Deployment/cart with routing key k1 goes to fork one and to fork two",
    ] {
        assert!(faults.contains(part), "{faults}\nshould have\n{part}");
    }
}

#[test]
fn a_wrong_shape_says_where_and_what_is_allowed() {
    for (text, expected) in [
        ("overides: []\n", "routes.yaml:1: unknown field `overides`"),
        ("sandboxes:\n  - name: a\n    key: k\n    ttl: 5\n", "routes.yaml:4: unknown field `ttl`"),
        ("sandboxes:\n  - name: a\n", "missing field `key`"),
        ("sandboxes: alice\n", "routes.yaml:1: something else; allowed: a list"),
        ("sandboxes:\n  - alice\n", "routes.yaml:2: something else; allowed: a map"),
        ("workloads:\n  - name: a/B/c\n    ports: {}\n", "at least one port"),
        ("sandboxes: [\n", "routes.yaml:1: unclosed bracket '['"),
        ("sandboxes: []\n---\nsandboxes: []\n", "a second document; allowed: one in a file"),
        ("", "routes.yaml:1: "),
        ("# nothing yet\n", "routes.yaml:1: "),
    ] {
        let faults = faults(text);
        assert!(faults.contains(expected) && faults.starts_with("routes.yaml:"), "{text:?} gave {faults}");
        assert!(!faults.contains(" at line "), "{faults}");
    }
    let error = parse(Path::new("r"), b"sandboxes: []\n\n\xff", 1).unwrap_err();
    assert_eq!(error.to_string(), "r:3: bytes that are not text; allowed: UTF-8");
}

#[test]
fn no_more_faults_are_listed_than_somebody_would_read() {
    let text: String = (0..60).map(|n| format!("  - {{ name: s{n}, key: '?' }}\n")).collect();
    let faults = faults(&format!("sandboxes:\n{text}"));
    assert_eq!(faults.lines().count(), super::super::FAULTS_MAX + 1);
    assert!(faults.ends_with("routes.yaml: and 10 more"));
}

#[test]
fn aliases_do_not_blow_up_a_small_file() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let before = format!("*a{}", n - 1);
        writeln!(text, "a{n}: &a{n} [{}]", vec![before; 10].join(", ")).unwrap();
    }
    assert!(faults(&text).starts_with("routes.yaml:"));
    let deep = format!("sandboxes: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(faults(&deep).starts_with("routes.yaml:1: "));
}

#[test]
fn ten_thousand_overrides_fit_every_limit() {
    let mut text = String::from("sandboxes:\n");
    for n in 0..10_000 {
        writeln!(text, "  - {{ name: s{n}, key: k{n} }}").unwrap();
    }
    text.push_str("overrides:\n");
    for n in 0..10_000 {
        writeln!(text, "  - workload: shop/Deployment/w{}\n    key: k{n}", n % 100).unwrap();
        writeln!(text, "    ports: {{ 8080: [127.0.0.1:9102, 127.0.0.2:9102] }}").unwrap();
    }
    assert_eq!(table(&text).len(), 10_000);
}

#[test]
fn only_regular_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    assert!(matches!(read(&missing, 1), Err(RoutesError::Unreadable { .. })));
    let error = read(folder.path(), 1).unwrap_err();
    assert!(error.to_string().ends_with("not a regular file"), "{error}");
}

#[test]
fn a_file_over_the_limit_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.yaml");
    File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(matches!(read(&path, 1), Err(RoutesError::TooLong { .. })));
}

proptest! {
    #[test]
    fn any_text_gives_a_table_or_faults(
        cuts in prop::collection::vec((0usize..500, "[a-z0-9:,{}\\[\\]&*!|>'\"#\n -]{0,6}"), 0..4),
    ) {
        let mut text = GOOD.to_owned();
        for (at, insert) in cuts {
            let at = at.min(text.len());
            text.insert_str(at, &insert);
        }
        if let Err(faults) = parse(Path::new("r"), text.as_bytes(), 1) {
            prop_assert!(faults.to_string().starts_with("r:"));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(Path::new("r"), &bytes, 1);
    }
}
