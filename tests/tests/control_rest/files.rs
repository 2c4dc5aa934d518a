//! Documents in files, beside those of REST.

use super::*;

fn directory(files: &[(&str, String)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("make a directory");
    for (name, text) in files {
        write(&directory, name, text);
    }
    directory
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) {
    let beside = directory.path().join(".new");
    std::fs::write(&beside, text).expect("write");
    std::fs::rename(&beside, directory.path().join(name)).expect("rename");
}

#[test]
fn files_are_served_followed_and_read_only() {
    let files = directory(&[("a.yaml", format!("{}\n---\n{}", cart("alice").file(), cart("bob").file()))]);
    let control = Control::new().documents(files.path()).start();
    let rest = control.rest();
    assert_eq!(rest.sandboxes(), ["alice", "bob"]);
    let answer = rest.send("PUT", "/v1/sandboxes/alice", "", &cart("alice").text());
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("a.yaml"), "the file is named: {}", answer.text());
    assert_eq!(status_of(&rest, "DELETE", "/v1/sandboxes/alice", "", ""), 409);
    rest.put(&cart("carol"));
    write(&files, "a.yaml", &cart("bob").file());
    eventually("the change counts", || (rest.sandboxes() == ["bob", "carol"]).then_some(()));
    assert_eq!(status_of(&rest, "GET", "/v1/sandboxes/alice", "", ""), 404);
}

#[test]
fn one_wrong_file_changes_nothing_and_is_named_with_its_line() {
    let files = directory(&[("a.yaml", cart("alice").file()), ("b.yaml", cart("bob").file())]);
    let control = Control::new().documents(files.path()).start();
    let rest = control.rest();
    write(&files, "b.yaml", "kind: Sandbox\nmetadata: { name: bob }\nspec:\n  forks: []\n  nonsense: 1\n");
    write(&files, "a.yaml", &cart("carol").file());
    eventually("the fault is told", || control.log().contains("b.yaml:5").then_some(()));
    let told = "b.yaml:5: /spec/nonsense: is not a field; allowed: ";
    assert!(control.log().contains(told), "{}", control.log());
    assert_eq!(rest.sandboxes(), ["alice", "bob"], "the last good set stays as a whole");
    write(&files, "b.yaml", &cart("dave").file());
    eventually("all of it counts", || (rest.sandboxes() == ["carol", "dave"]).then_some(()));
}

#[test]
fn a_file_hides_what_rest_put_under_its_name_until_it_goes() {
    let files = directory(&[]);
    let control = Control::new().documents(files.path()).start();
    let rest = control.rest();
    rest.put(&cart("alice").key("by-rest"));
    write(&files, "a.yaml", &cart("alice").key("by-file").file());
    let key = || rest.get("/v1/sandboxes/alice")["status"]["routingKey"].as_str().expect("a key").to_owned();
    eventually("the file counts", || (key() == "by-file").then_some(()));
    std::fs::remove_file(files.path().join("a.yaml")).expect("remove");
    eventually("what was put counts again", || (key() == "by-rest").then_some(()));
}

#[test]
fn wrong_files_at_the_start_are_told_and_do_not_pass_for_an_empty_set() {
    let files = directory(&[("a.yaml", "kind: Sandbox\nspec: [\n".to_owned())]);
    let mut control = Control::new().documents(files.path()).start_unready();
    eventually("it is told", || {
        let ended = !control.running();
        (ended || control.log().contains("a.yaml")).then_some(())
    });
    assert!(control.log().contains("a.yaml"), "{}", control.log());
}
