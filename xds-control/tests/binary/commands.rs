//! The commands against a service.

use super::*;

#[test]
fn apply_tells_what_it_did_and_does_nothing_twice() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let file =
        folder.write("a.yaml", &format!("{}---\n{}", sandbox("alice", "a", 1), sandbox("bob", "12e4", 2)));
    let apply = |more: &[&str]| {
        let (code, stdout, stderr) = ask(&server, &[&["sandbox", "apply", "-f", &file], more].concat());
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    let dry = "sandbox/alice created (dry run)\nsandbox/bob created (dry run)\n";
    assert_eq!(apply(&["--dry-run"]), dry);
    assert_eq!(apply(&[]), "sandbox/alice created\nsandbox/bob created\n");
    assert_eq!(apply(&["--dry-run"]).matches("unchanged (dry run)").count(), 2);
    let (_, _, noted) = ask(&server, &["sandbox", "wait", "alice"]);
    assert!(noted.contains("no proxy is connected that needs it"), "{noted}");
    assert_eq!(
        apply(&["--wait"]),
        "sandbox/alice unchanged\nsandbox/bob unchanged\nsandbox/alice programmed 0/0\nsandbox/bob programmed 0/0\n"
    );
    folder.write("a.yaml", &sandbox("alice", "a", 9));
    assert_eq!(apply(&["--dry-run"]), "sandbox/alice changed (dry run)\n");
    assert_eq!(apply(&[]), "sandbox/alice changed\n");
    // What is shown can be applied again.
    let (_, shown, _) = ask(&server, &["sandbox", "get", "bob"]);
    let file = folder.write("again.yaml", &shown);
    assert_eq!(ask(&server, &["sandbox", "apply", "-f", &file]).1, "sandbox/bob unchanged\n");
    let (_, table, _) = ask(&server, &["sandbox", "list"]);
    assert!(table.starts_with("NAME ") && table.lines().count() == 3 && table.contains("12e4"), "{table}");
    let (code, stdout, _) = ask(&server, &["sandbox", "delete", "-f", &file, "--wait"]);
    assert_eq!((code, stdout.as_str()), (0, "sandbox/bob deleted\n"));
    assert_eq!(ask(&server, &["sandbox", "delete", "bob"]).0, 1);
    assert_eq!(ask(&server, &["sandbox", "delete", "bob", "--ignore-not-found"]).0, 0);
}

#[test]
fn a_directory_is_applied_like_its_files_and_stdin_like_a_file() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    fs::create_dir(folder.path().join("some")).unwrap();
    folder.write("some/b.yaml", &sandbox("bob", "b", 2));
    folder.write("some/a.yaml", &sandbox("alice", "a", 1));
    folder.write("some/notes.txt", "none of ours");
    let some = folder.path().join("some").display().to_string();
    let more = folder.write("more.yaml", &sandbox("carol", "c", 3));
    let (code, stdout, stderr) = ask(&server, &["apply", "-f", &some, "-f", &more]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "sandbox/alice created\nsandbox/bob created\nsandbox/carol created\n");
    fs::create_dir(folder.path().join("none")).unwrap();
    let (code, _, stderr) = ask(&server, &["apply", "-f", &folder.path().join("none").display().to_string()]);
    assert!(code == 1 && stderr.contains("allowed: .yaml"), "{stderr}");
    let mut child = control()
        .args(["apply", "-f", "-", "--server", &server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(sandbox("dave", "d", 4).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "sandbox/dave created\n");
}

#[test]
fn whom_nobody_listens_to_any_more_ends_without_a_panic() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let many: Vec<String> = (0..300).map(|n| sandbox(&format!("s{n}"), &format!("k{n}"), 1)).collect();
    let file = folder.write("many.yaml", &many.join("---\n"));
    assert_eq!(ask(&server, &["apply", "-f", &file]).0, 0);
    for arguments in [&["sandbox", "list", "-o", "json"][..], &["--help"], &["sandbox", "list", "--help"]] {
        let mut command = control();
        command.args(arguments).env("SPURLINECTL_SERVER", &server);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.code() == Some(0) && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn faults_name_the_line_and_what_is_allowed() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let good = sandbox("good", "g", 1);
    let file = folder
        .write("a.yaml", &format!("{good}---\nkind: Sandbox\nmetadata: {{ name: bad }}\nspec:\n  ttl: 5\n"));
    let (code, stdout, stderr) = ask(&server, &["sandbox", "apply", "-f", &file]);
    assert_eq!(
        (code, stdout.as_str()),
        (1, "sandbox/good created\n"),
        "what is good is applied all the same"
    );
    assert!(stderr.contains(&format!("{file}:12: /spec/ttl: ")) && stderr.contains("allowed: "), "{stderr}");
    for (text, line, part) in [
        ("kind: [\n", 1, ""),
        ("kind: Workload\nmetadata: { name: a/B/c }\n", 1, "allowed: Sandbox"),
        ("kind: Sandbox\nmetadata: {}\n", 2, "/metadata/name: is missing; allowed: "),
    ] {
        let file = folder.write("b.yaml", text);
        let (code, stdout, stderr) = ask(&server, &["sandbox", "apply", "-f", &file]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains(&format!("{file}:{line}: ")) && stderr.contains(part), "{stderr}");
    }
}

#[test]
fn the_documents_of_the_guide_are_good() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let guide = include_str!("../../../docs/guide/control.md");
    let (_, rest) = guide.split_once("```yaml\n").unwrap();
    let file = folder.write("guide.yaml", rest.split_once("```").unwrap().0);
    let (code, stdout, stderr) = ask(&service.rest("http"), &["apply", "-f", &file]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        stdout,
        "sandbox/alice-cart created\nroutegroup/checkout created\nworkload/shop/Deployment/cart created\n"
    );
    let (_, table, _) = ask(&service.rest("http"), &["workload", "list"]);
    assert!(table.contains("shop/Deployment/cart"), "{table}");
}

#[test]
fn what_is_not_in_force_is_not_programmed() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let file =
        folder.write("a.yaml", &format!("{}---\n{}", sandbox("first", "k", 1), sandbox("second", "k", 2)));
    let (code, stdout, stderr) = ask(&server, &["apply", "-f", &file, "--wait", "--timeout", "5s"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stdout.contains("sandbox/first programmed 0/0") && !stdout.contains("second programmed"),
        "{stdout}"
    );
    assert!(
        stderr.contains("sandbox/second: not in force: ") && stderr.contains("Sandbox first"),
        "{stderr}"
    );
}
