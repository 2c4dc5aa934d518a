//! The commands that a person or a script uses.

use super::*;

fn run(control: &TestControl, words: &[&str]) -> spurline_tests::Finished {
    let server = format!("http://{}", control.rest().address());
    let mut all = words.to_vec();
    all.extend(["--server", &server]);
    TestControl::command(&all)
}

#[test]
fn a_sandbox_is_applied_waited_for_listed_and_deleted_by_command() {
    let control = TestControl::start();
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let proxy = TestProxy::sidecar(CART, baseline.address()).flag("--control", &control.url()).start();
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("alice.yaml");
    let document = Document::sandbox("alice").key("alice").fork(CART, "cart-alice", &[fork.address()]);
    std::fs::write(&file, document.file()).expect("write");
    let file = file.to_string_lossy().into_owned();
    let done = run(&control, &["sandbox", "apply", "-f", &file]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = run(&control, &["sandbox", "wait", "alice"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(proxy.get("/x", "sd-routing-key: alice\r\n").field("x-backend"), Some("fork"));
    let done = run(&control, &["sandbox", "get", "alice"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("alice") && done.stdout.contains(CART), "{}", done.stdout);
    let done = run(&control, &["sandbox", "list"]);
    assert!(done.stdout.contains("alice"), "{done:?}");
    let done = run(&control, &["sandbox", "delete", "alice"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(control.rest().sandboxes().is_empty());
}

#[test]
fn a_wait_that_is_not_over_in_time_says_how_many_have_it_and_is_2() {
    let control = TestControl::start();
    let connection = control.connection();
    let mut mute = connection.stream("mute");
    mute.subscribe(spurline_tests::xds::OVERRIDE, &["*"], &[]);
    let first = mute.response();
    mute.ack(&first);
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("alice.yaml");
    std::fs::write(&file, cart("alice").file()).expect("write");
    let file = file.to_string_lossy().into_owned();
    let done = run(&control, &["sandbox", "apply", "-f", &file, "--wait", "--timeout", "500ms"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stdout.contains("sandbox/alice created"), "it is written all the same: {done:?}");
    assert!(done.stderr.contains("only 0/1 proxies in time"), "{}", done.stderr);
    let done = run(&control, &["sandbox", "delete", "alice", "--wait", "--timeout", "500ms"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stdout.contains("sandbox/alice deleted"), "{done:?}");
}

#[test]
fn a_command_that_fails_says_why_on_standard_error_and_in_its_exit_code() {
    let control = TestControl::start();
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("bad.yaml");
    std::fs::write(&file, "kind: Sandbox\nmetadata: { name: bad }\nspec: { forks: [], nonsense: 1 }\n")
        .expect("write");
    let file = file.to_string_lossy().into_owned();
    for words in [
        vec!["sandbox", "apply", "-f", file.as_str()],
        vec!["sandbox", "get", "nobody"],
        vec!["sandbox", "delete", "nobody"],
        vec!["sandbox", "apply", "-f", "/nowhere.yaml"],
        vec!["sandbox", "nonsense"],
    ] {
        let done = run(&control, &words);
        assert!(done.code.is_some_and(|code| code != 0), "{words:?}: {done:?}");
        assert!(!done.stderr.trim().is_empty(), "{words:?}: {done:?}");
        assert!(done.stdout.is_empty(), "{words:?}: {done:?}");
    }
    let done = run(&control, &["sandbox", "apply", "-f", &file]);
    assert!(done.stderr.contains("nonsense") && done.stderr.contains("forks"), "{}", done.stderr);
    let away = TestControl::command(&["sandbox", "list", "--server", &format!("http://{}", free_address())]);
    assert!(away.code.is_some_and(|code| code != 0) && !away.stderr.is_empty(), "{away:?}");
}

#[test]
fn a_setting_that_does_not_exist_or_makes_no_sense_is_refused_with_what_is_allowed() {
    for (flag, value) in
        [("--nonsense", "1"), ("--grpc-listen", "nowhere"), ("--rest-listen", "127.0.0.1:99999")]
    {
        let done = Control::new().flag(flag, value).run();
        assert!(done.code.is_some_and(|code| code != 0), "{flag}: {done:?}");
        assert!(
            done.stderr.contains(flag.trim_start_matches('-')) || done.stderr.contains(value),
            "{}",
            done.stderr
        );
    }
    let done = TestControl::command(&["--help"]);
    assert_eq!(done.code, Some(0));
    assert!(done.stdout.contains("serve") && done.stdout.contains("sandbox"), "{}", done.stdout);
}

#[test]
fn a_port_that_is_taken_is_named_and_ends_the_service() {
    let control = TestControl::start();
    let done = Control::new().flag("--grpc-listen", &control.grpc().to_string()).run();
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.stderr.contains(&control.grpc().port().to_string()), "{}", done.stderr);
}

#[test]
fn two_services_do_not_share_a_store() {
    let directory = tempfile::tempdir().expect("make a directory");
    let _first = Control::in_directory(directory.path()).start();
    let done = Control::in_directory(directory.path()).run();
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.stderr.contains("control.store"), "{}", done.stderr);
}
