//! The time of a sandbox passes while the control service is away: a strict request is refused, not served by the baseline.

use super::*;
use serde_json::json;
use spurline_tests::Recorder;

/// Who answers, or why nobody does.
fn by(proxy: &TestProxy, key: &str, fields: &str) -> String {
    let answer = proxy.get("/x", &format!("sd-routing-key: {key}\r\n{fields}"));
    answer.field("x-backend").or_else(|| answer.field("x-spurline-reason")).unwrap_or_default().to_owned()
}

#[test]
fn a_sandbox_that_ends_while_control_is_away_ends_for_strict_requests_too() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("snapshot");
    let control = TestControl::start();
    let start = |url: &str| {
        builder(url, baseline.address()).flag("--control-snapshot", &path.to_string_lossy()).start()
    };
    let proxy = start(&control.url());
    let strict = |proxy: &TestProxy, key: &str| by(proxy, key, "x-spurline-strict: 1\r\n");
    control.rest().put_programmed(&sandbox(BOB, fork.address()));
    let brief = sandbox(ALICE, fork.address()).spec("ttl", json!({ "after": "10s" }));
    control.rest().put_programmed(&brief);
    drop(control.kill());
    assert_eq!(strict(&proxy, ALICE), "fork", "it ends after the control service is gone");
    eventually_within(DEADLINE * 2, "alice's time is over", || {
        let answered = strict(&proxy, ALICE);
        assert!(["fork", "unknown-routing-key"].contains(&answered.as_str()), "by {answered}");
        (answered == "unknown-routing-key").then_some(())
    });
    assert_eq!(by(&proxy, ALICE, ""), "baseline");
    assert_eq!(strict(&proxy, BOB), "fork");
    // Nor does a snapshot bring it back: it holds the end of what it holds.
    drop(proxy);
    let proxy = start("http://127.0.0.1:1");
    assert!(steers(&proxy, BOB), "from the snapshot");
    assert_eq!(strict(&proxy, ALICE), "unknown-routing-key");
    assert_eq!(by(&proxy, ALICE, ""), "baseline");
    assert_eq!(strict(&proxy, BOB), "fork");
}
