use std::{fs, os::unix::fs::symlink, time::Instant};

use spurline_telemetry::metrics::Registry;
use tempfile::TempDir;

use super::*;

/// A routes file in a folder of its own, and who follows it.
struct Fixture {
    folder: TempDir,
    registry: Registry,
    follower: Follower,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (registry, _) = Registry::new(0, "test");
        let path = folder.path().join("routes.yaml");
        let follower =
            Follower::new(path, Arc::new(ArcSwap::from_pointee(RouteTable::empty())), registry.shared());
        Self { folder, registry, follower }
    }

    fn write(&self, text: &str) {
        fs::write(&self.follower.path, text).unwrap();
    }

    /// Steps until nothing changes, and says what the change led to.
    fn settle(&mut self) -> Step {
        assert_eq!(self.follower.step(), Step::Settling);
        self.follower.step()
    }

    fn knows(&self, key: &str) -> bool {
        self.follower.table.load().knows(&key.parse().unwrap())
    }

    fn generation(&self) -> u64 {
        self.follower.table.load().generation()
    }

    fn updates(&self, result: TableUpdate) -> u64 {
        self.registry.counter(Counter::TableUpdates(result))
    }
}

fn sandbox(key: &str) -> String {
    format!("sandboxes:\n  - {{ name: {key}, key: {key} }}\n")
}

#[test]
fn a_change_is_read_after_one_quiet_interval() {
    let mut fixture = Fixture::new();
    fixture.write(&sandbox("k1"));
    assert_eq!(fixture.follower.read_at_start(), Step::Applied);
    assert_eq!(fixture.follower.step(), Step::Unchanged);
    fixture.write(&sandbox("key-2"));
    assert_eq!(fixture.follower.step(), Step::Settling);
    assert!(fixture.knows("k1"));
    assert_eq!(fixture.follower.step(), Step::Applied);
    assert!(fixture.knows("key-2") && !fixture.knows("k1"));
    assert_eq!(fixture.generation(), 2);
    assert_eq!(fixture.registry.gauge(Gauge::TableGeneration), 2);
}

#[test]
fn a_file_that_grows_is_left_alone_until_it_stops() {
    let mut fixture = Fixture::new();
    fixture.write(&sandbox("k1"));
    fixture.follower.read_at_start();
    let mut text = String::from("sandboxes:\n");
    for key in ["k2", "k3", "k4"] {
        text.push_str(&format!("  - {{ name: {key}, key: {key} }}\n"));
        fixture.write(&text);
        assert_eq!(fixture.follower.step(), Step::Settling);
        assert!(fixture.knows("k1"));
    }
    assert_eq!(fixture.follower.step(), Step::Applied);
    assert!(fixture.knows("k4"));
}

#[test]
fn a_wrong_file_changes_nothing_and_is_counted_once() {
    let mut fixture = Fixture::new();
    fixture.write(&sandbox("k1"));
    fixture.follower.read_at_start();
    fixture.write("sandboxes: nonsense\n");
    assert_eq!(fixture.settle(), Step::Rejected);
    assert!(fixture.knows("k1"));
    assert_eq!(fixture.follower.step(), Step::Unchanged);
    let file = fs::File::options().write(true).open(&fixture.follower.path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(fixture.settle(), Step::SameContents);
    assert_eq!(fixture.updates(TableUpdate::Rejected), 1);
    fixture.write(&sandbox("k1"));
    assert_eq!(fixture.settle(), Step::Applied);
    assert_eq!((fixture.generation(), fixture.updates(TableUpdate::Applied)), (2, 2));
}

#[test]
fn a_missing_file_keeps_the_table_and_may_come_back() {
    let mut fixture = Fixture::new();
    fixture.write(&sandbox("k1"));
    fixture.follower.read_at_start();
    fs::remove_file(&fixture.follower.path).unwrap();
    assert_eq!(fixture.follower.step(), Step::Unreadable);
    assert_eq!(fixture.follower.step(), Step::Unreadable);
    assert!(fixture.knows("k1"));
    fixture.write(&sandbox("k2"));
    assert_eq!(fixture.settle(), Step::Applied);
    assert!(fixture.knows("k2"));
}

#[test]
fn a_proxy_starts_without_its_file() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.follower.read_at_start(), Step::Unreadable);
    assert_eq!(fixture.generation(), 0);
    fixture.write(&sandbox("k1"));
    assert_eq!(fixture.settle(), Step::Applied);
    assert_eq!(fixture.generation(), 1);
}

#[test]
fn an_emptied_file_is_not_a_table_without_routes() {
    let mut fixture = Fixture::new();
    fixture.write(&sandbox("k1"));
    fixture.follower.read_at_start();
    fixture.write("");
    assert_eq!(fixture.settle(), Step::Rejected);
    assert!(fixture.knows("k1"));
}

#[test]
fn a_renamed_file_of_the_same_size_is_seen() {
    let mut fixture = Fixture::new();
    fixture.write(&sandbox("k1"));
    fixture.follower.read_at_start();
    let next = fixture.folder.path().join("next.yaml");
    fs::write(&next, sandbox("k2")).unwrap();
    fs::rename(&next, &fixture.follower.path).unwrap();
    assert_eq!(fixture.settle(), Step::Applied);
    assert!(fixture.knows("k2"));
}

#[test]
fn a_swapped_symbolic_link_is_followed_as_config_maps_need() {
    let mut fixture = Fixture::new();
    let folder = fixture.folder.path().to_owned();
    for version in ["..v1", "..v2"] {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("routes.yaml"), sandbox(&version.replace("..", "k-"))).unwrap();
    }
    symlink("..v1", folder.join("..data")).unwrap();
    symlink("..data/routes.yaml", &fixture.follower.path).unwrap();
    assert_eq!(fixture.follower.read_at_start(), Step::Applied);
    symlink("..v2", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    fs::remove_dir_all(folder.join("..v1")).unwrap();
    assert_eq!(fixture.settle(), Step::Applied);
    assert!(fixture.knows("k-v2"));
}

#[test]
fn the_thread_applies_changes_and_stops_when_dropped() {
    let fixture = Fixture::new();
    fixture.write(&sandbox("k1"));
    let table = Arc::new(ArcSwap::from_pointee(RouteTable::empty()));
    let path = fixture.follower.path.clone();
    let interval = Duration::from_millis(5);
    let watch = Watch::start(path, interval, Arc::clone(&table), fixture.registry.shared()).unwrap();
    assert_eq!(table.load().generation(), 1);
    fixture.write(&sandbox("key-2"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while table.load().generation() < 2 {
        assert!(Instant::now() < deadline, "the change was not applied");
        thread::yield_now();
    }
    drop(watch);
    assert!(table.load().knows(&"key-2".parse().unwrap()));
}
