use std::{fs, os::unix::fs::symlink, path::Path, time::Instant};

use spurline_core::document::Kind;
use spurline_hub::Debounce;

use super::*;

const LOOK: Duration = Duration::from_millis(20);

struct Scene {
    folder: tempfile::TempDir,
    hub: Hub,
}

impl Scene {
    fn new() -> Self {
        let (hub, _publisher) = Hub::new(Debounce::default());
        Self { folder: tempfile::tempdir().unwrap(), hub }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn follower(&self) -> Follower {
        self.hub.expect_source(SOURCE);
        Follower::new(self.path().to_owned(), self.hub.clone(), Arc::default())
    }

    fn names(&self) -> Vec<String> {
        self.hub.model(|model| {
            model.list(Kind::Sandbox).map(|record| record.document.id().name.to_string()).collect()
        })
    }
}

fn sandbox(name: &str, port: u16) -> String {
    format!(
        "---\nkind: Sandbox\nmetadata: {{ name: {name} }}\nspec:\n  forks:\n  - workload: shop/Deployment/cart\n    \
         ports: {{ 8080: [127.0.0.1:{port}] }}\n"
    )
}

fn faults(scene: &Scene) -> String {
    crate::read(scene.path()).unwrap_err().to_string().replace(&format!("{}/", scene.path().display()), "")
}

/// Steps until the files have settled and been read.
fn settle(follower: &mut Follower) -> Step {
    for _ in 0..3 {
        match follower.step() {
            Step::Settling => {}
            step => return step,
        }
    }
    Step::Settling
}

#[test]
fn documents_of_all_files_are_applied_together() {
    let scene = Scene::new();
    scene.write("a.yaml", &(sandbox("alice", 1) + &sandbox("bob", 2)));
    scene.write("b.yml", &sandbox("carol", 3));
    scene.write("c.json", r#"{"kind": "Sandbox", "metadata": {"name": "dave"}, "spec": {"forks": []}}"#);
    scene.write("notes.txt", "not ours");
    scene.write(".hidden.yaml", "not: ours");
    fs::create_dir(scene.path().join("folder.yaml")).unwrap();
    let mut follower = scene.follower();
    assert!(!*scene.hub.ready().borrow());
    assert_eq!(follower.read_now(), Step::Applied);
    assert_eq!(scene.names(), ["alice", "bob", "carol", "dave"]);
    assert!(*scene.hub.ready().borrow());
    assert_eq!((follower.counters.files(), follower.counters.documents()), (3, 4));
    assert_eq!(follower.step(), Step::Unchanged);
}

#[test]
fn only_what_changed_is_touched() {
    let scene = Scene::new();
    scene.write("a.yaml", &sandbox("alice", 1));
    scene.write("b.yaml", &sandbox("bob", 2));
    let mut follower = scene.follower();
    follower.read_now();
    let revision = scene.hub.catalog(|catalog| catalog.revision());
    scene.write("a.yaml", &(String::from("# a remark\n") + &sandbox("alice", 1)));
    assert_eq!(settle(&mut follower), Step::Applied);
    assert_eq!(
        scene.hub.catalog(|catalog| catalog.revision()),
        revision,
        "the same documents change nothing"
    );
    // A document that moves to another file stays.
    scene.write("a.yaml", &(sandbox("alice", 1) + &sandbox("bob", 2)));
    fs::remove_file(scene.path().join("b.yaml")).unwrap();
    assert_eq!(settle(&mut follower), Step::Applied);
    assert_eq!(scene.hub.catalog(|catalog| catalog.revision()), revision);
    scene.write("a.yaml", &sandbox("bob", 7));
    assert_eq!(settle(&mut follower), Step::Applied);
    assert_eq!(scene.names(), ["bob"]);
}

#[test]
fn one_bad_file_changes_nothing_and_is_forgiven_when_it_is_good_again() {
    let scene = Scene::new();
    scene.write("a.yaml", &sandbox("alice", 1));
    let mut follower = scene.follower();
    follower.read_now();
    scene.write("a.yaml", &sandbox("anna", 1));
    scene.write("b.yaml", "kind: Sandbox\nmetadata: { name: Not A Label }\nspec: {}\n");
    assert_eq!(settle(&mut follower), Step::Rejected);
    assert_eq!(scene.names(), ["alice"]);
    assert_eq!(follower.step(), Step::Unchanged, "what is wrong is not read again and again");
    assert_eq!(follower.read_now(), Step::Rejected, "but it is told again to whoever asks");
    fs::remove_file(scene.path().join("b.yaml")).unwrap();
    assert_eq!(settle(&mut follower), Step::Applied);
    assert_eq!(scene.names(), ["anna"]);
}

#[test]
fn a_bad_start_waits_for_something_good() {
    let scene = Scene::new();
    scene.write("a.yaml", "kind: [\n");
    let mut follower = scene.follower();
    assert_eq!(follower.read_now(), Step::Rejected);
    assert!(!*scene.hub.ready().borrow());
    fs::remove_file(scene.path().join("a.yaml")).unwrap();
    assert_eq!(settle(&mut follower), Step::Applied, "an empty directory says that there is nothing");
    assert!(*scene.hub.ready().borrow());
}

#[test]
fn a_directory_that_goes_away_takes_nothing_with_it() {
    let scene = Scene::new();
    let path = scene.path().join("routes");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), sandbox("alice", 1)).unwrap();
    scene.hub.expect_source(SOURCE);
    let mut follower = Follower::new(path.clone(), scene.hub.clone(), Arc::default());
    follower.read_now();
    fs::rename(&path, scene.path().join("gone")).unwrap();
    assert_eq!(settle(&mut follower), Step::Unreadable);
    assert_eq!(scene.names(), ["alice"]);
    fs::rename(scene.path().join("gone"), &path).unwrap();
    assert_eq!(settle(&mut follower), Step::Unchanged);
}

#[test]
fn a_file_that_grows_is_left_alone() {
    let scene = Scene::new();
    let mut follower = scene.follower();
    follower.read_now();
    let mut text = String::new();
    for n in 0..5 {
        text += &sandbox(&format!("s{n}"), 1);
        scene.write("a.yaml", &text);
        assert_eq!(follower.step(), Step::Settling);
    }
    assert_eq!(follower.step(), Step::Applied);
    assert_eq!(scene.names().len(), 5);
}

#[test]
fn a_mounted_config_map_is_swapped_as_a_whole() {
    let scene = Scene::new();
    let version = |name: &str, files: &[(&str, String)]| {
        let version = scene.path().join(name);
        fs::create_dir(&version).unwrap();
        for (file, text) in files {
            fs::write(version.join(file), text).unwrap();
        }
    };
    version("..1", &[("a.yaml", sandbox("alice", 1)), ("b.yaml", sandbox("bob", 2))]);
    version("..2", &[("a.yaml", sandbox("anna", 1)), ("b.yaml", sandbox("bert", 2))]);
    symlink("..1", scene.path().join("..data")).unwrap();
    symlink("..data/a.yaml", scene.path().join("a.yaml")).unwrap();
    symlink("..data/b.yaml", scene.path().join("b.yaml")).unwrap();
    let mut follower = scene.follower();
    follower.read_now();
    assert_eq!(scene.names(), ["alice", "bob"]);
    symlink("..2", scene.path().join("..next")).unwrap();
    fs::rename(scene.path().join("..next"), scene.path().join("..data")).unwrap();
    assert_eq!(settle(&mut follower), Step::Applied);
    assert_eq!(scene.names(), ["anna", "bert"]);
}

#[test]
fn every_fault_of_every_file_is_told_at_once() {
    let scene = Scene::new();
    scene.write("a.yaml", &sandbox("alice", 1));
    scene.write(
        "b.yaml",
        "kind: Sandbox\nmetadata:\n  name: Bad Name\nspec:\n  ttl: { after: 1h }\n  fork: []\n  forks:\n  - workload: cart\n    ports: {}\n",
    );
    scene.write("c.yaml", &(String::from("\n") + &sandbox("alice", 2)));
    scene.write("d.yaml", "a: 1\na: 2\n");
    scene.write("e.json", "");
    scene.write("f.yaml", "kind: Sandbocks\n");
    symlink("missing", scene.path().join("..missing.txt")).unwrap();
    let found = faults(&scene);
    for part in [
        "b.yaml:3: /metadata/name: is \"Bad Name\"; allowed: ",
        "b.yaml:5: /spec/ttl: stands in a file; allowed: ",
        "b.yaml:6: /spec/fork: is not a field; is forks meant?; allowed: ",
        "b.yaml:8: /spec/forks/0/workload: is \"cart\"; allowed: ",
        "b.yaml:9: /spec/forks/0/ports: ",
        "c.yaml:3: Sandbox alice stands in ",
        "a.yaml:2 too; allowed: one of them",
        "d.yaml:2: ",
        "e.json:1: no document; allowed: ",
        "f.yaml:1: /kind: is \"Sandbocks\"; allowed: ",
    ] {
        assert!(found.contains(part), "{found}\nshould have\n{part}");
    }
    assert!(found.lines().all(|line| line.contains(':')), "{found}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let scene = Scene::new();
    symlink("nowhere", scene.path().join("a.yaml")).unwrap();
    assert!(faults(&scene).starts_with("a.yaml: "), "{}", faults(&scene));
    assert_eq!(scene.follower().read_now(), Step::Unreadable);
    fs::remove_file(scene.path().join("a.yaml")).unwrap();
    fs::File::create(scene.path().join("b.yaml")).unwrap().set_len(crate::FILE_BYTES_MAX + 1).unwrap();
    symlink("/dev/zero", scene.path().join("c.yaml")).unwrap();
    let found = faults(&scene);
    assert!(
        found.contains("b.yaml:1: a longer file than is read") && found.contains("c.yaml:1: not a regular")
    );
}

#[test]
fn the_thread_follows_reloads_and_stops() {
    let scene = Scene::new();
    scene.write("a.yaml", &sandbox("alice", 1));
    let directory = Directory::start(scene.path().to_owned(), LOOK, scene.hub.clone()).unwrap();
    let until = |what: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(20), "took too long");
            thread::sleep(Duration::from_millis(2));
        }
    };
    until(&|| scene.names() == ["alice"]);
    scene.write("a.yaml", &sandbox("bob", 1));
    until(&|| scene.names() == ["bob"]);
    let place = directory.places().of(&Id::new(Kind::Sandbox, "bob")).unwrap();
    assert!(place.ends_with("a.yaml:2"), "{place}");
    assert_eq!(directory.places().of(&Id::new(Kind::Sandbox, "alice")), None);
    let before = directory.counters().applied();
    directory.reload();
    until(&|| directory.counters().applied() > before);
}

#[test]
fn the_first_set_is_applied_in_parts_and_a_later_change_as_one() {
    let scene = Scene::new();
    let text = |count: usize| {
        let one = |number| format!("kind: Sandbox\nmetadata: {{ name: s{number} }}\nspec: {{ forks: [] }}\n");
        (0..count).map(one).collect::<Vec<_>>().join("---\n")
    };
    scene.write("a.yaml", &text(600));
    let applied = scene.hub.model_changes();
    let mut follower = scene.follower();
    assert_eq!(follower.read_now(), Step::Applied);
    assert_eq!((*applied.borrow(), scene.names().len()), (3, 600));
    fs::remove_file(scene.path().join("a.yaml")).unwrap();
    assert_eq!(follower.read_now(), Step::Applied);
    assert_eq!((*applied.borrow(), scene.names().len()), (4, 0));
}
