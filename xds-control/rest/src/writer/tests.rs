use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::json;
use spurline_core::document::{self, Kind};
use spurline_hub::Debounce;

use super::*;

const START_MS: u64 = 1_800_000_000_000;

struct Run {
    writer: Writer,
    hub: Hub,
    clock: Arc<AtomicU64>,
}

impl Run {
    fn start(path: &Path, now_unix_ms: u64) -> Self {
        let (hub, _publisher) = Hub::new(Debounce::default());
        let clock = Arc::new(AtomicU64::new(now_unix_ms));
        let now = Arc::clone(&clock);
        let clock_fn: Clock = Arc::new(move || now.load(Ordering::Relaxed));
        let store = Store::open(path).unwrap();
        let writer = Writer::start(store, &hub, clock_fn, &mut Registry::default()).unwrap();
        Self { writer, hub, clock }
    }

    async fn put(&self, name: &str, content: u64) -> Result<Written, Refusal> {
        let json = json!({
            "metadata": {"name": name, "labels": {"content": content.to_string()}}, "spec": {"forks": []}
        });
        self.put_json(&json).await
    }

    async fn put_json(&self, json: &Value) -> Result<Written, Refusal> {
        let document = Box::new(document::read(json, Some(Kind::Sandbox)).unwrap());
        let condition = Condition::default();
        self.writer.handle().write("test", Work::Put { document, condition }, Mode::Commit).await
    }

    async fn delete(&self, name: &str) -> Result<Written, Refusal> {
        let work = Work::Delete { id: Id::new(Kind::Sandbox, name), condition: Condition::default() };
        self.writer.handle().write("test", work, Mode::Commit).await
    }

    fn names(&self) -> Vec<String> {
        self.hub.model(|model| {
            model.list(Kind::Sandbox).map(|record| record.document.id().name.to_string()).collect()
        })
    }

    async fn until_empty(&self) {
        for _ in 0..2000 {
            if self.names().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{:?} never ended", self.names());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_write_at_once_all_find_it_after_a_restart_with_their_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let run = Run::start(&path, START_MS);
    let writes = (0..300_u64).map(|number| {
        let run = &run;
        async move { (number, run.put(&format!("s{}", number % 60), number).await.unwrap().meta.version) }
    });
    let done = futures_util::future::join_all(writes).await;
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (number, version) in done {
        let newest = last.entry(number % 60).or_default();
        *newest = version.max(*newest);
    }
    drop(run);
    let run = Run::start(&path, START_MS);
    assert_eq!(run.names().len(), 60);
    for (number, version) in last {
        let id = Id::new(Kind::Sandbox, format!("s{number}"));
        assert_eq!(run.writer.handle().index.read(|entries| entries.get(&id).unwrap().version), version);
    }
    let next = run.put("later", 0).await.unwrap().meta.version;
    assert!(next > 300, "versions go on: {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_writes_changes_nothing_and_is_used_again_when_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let run = Run::start(&path, START_MS);
    run.put("a", 1).await.unwrap();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    assert!(matches!(run.put("b", 1).await, Err(Refusal::Store(_))));
    assert!(matches!(run.delete("a").await, Err(Refusal::Store(_))), "refused without asking the disk again");
    assert_eq!(run.names(), ["a"]);
    assert_eq!(run.writer.handle().health.json()["writable"], false);
    std::fs::rename(&elsewhere, &path).unwrap();
    run.clock.fetch_add(1_000, Ordering::Relaxed);
    run.put("b", 1).await.unwrap();
    assert_eq!(run.names(), ["a", "b"]);
    assert_eq!(run.writer.handle().health.json()["writable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_the_service_was_away_is_gone_and_idle_ones_get_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let run = Run::start(&path, START_MS);
    for (name, ttl) in [("after", json!({"after": "1h"})), ("idle", json!({"idle": "1h"}))] {
        let json = json!({"metadata": {"name": name}, "spec": {"ttl": ttl, "forks": []}});
        run.put_json(&json).await.unwrap();
    }
    drop(run);
    let later = START_MS + 24 * 60 * 60 * 1000;
    let run = Run::start(&path, later);
    assert_eq!(run.names(), ["idle"], "nobody could say that it was in use");
    run.clock.store(later + index::RESTART_GRACE_MS, Ordering::Relaxed);
    run.until_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_ends_nothing_and_one_that_is_set_on_ends_what_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(&folder.path().join("store.redb"), START_MS);
    for (name, ttl) in [("after", json!({"after": "1h"})), ("idle", json!({"idle": "2h"}))] {
        let json = json!({"metadata": {"name": name}, "spec": {"ttl": ttl, "forks": []}});
        run.put_json(&json).await.unwrap();
    }
    const HOUR_MS: u64 = 60 * 60 * 1000;
    run.clock.store(START_MS - 24 * HOUR_MS, Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(run.names(), ["after", "idle"]);
    let work = Work::Heartbeat { id: Id::new(Kind::Sandbox, "idle") };
    let beaten = run.writer.handle().write("test", work, Mode::Commit).await.unwrap();
    assert!(beaten.meta.ends_unix_ms().unwrap() >= START_MS - 22 * HOUR_MS);
    run.clock.store(START_MS + HOUR_MS, Ordering::Relaxed);
    run.until_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_stays_until_the_store_takes_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let run = Run::start(&path, START_MS);
    let json = json!({"metadata": {"name": "brief"}, "spec": {"ttl": {"after": "1h"}, "forks": []}});
    run.put_json(&json).await.unwrap();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    run.clock.store(START_MS + 2 * 60 * 60 * 1000, Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(run.names(), ["brief"], "here and on the disk are the same");
    assert_eq!(run.writer.handle().health.json()["writable"], false);
    std::fs::rename(&elsewhere, &path).unwrap();
    run.clock.fetch_add(1_000, Ordering::Relaxed);
    run.until_empty().await;
}

#[tokio::test]
async fn a_record_that_is_no_document_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = Store::open(&path).unwrap();
    let document =
        json!({"kind": "Sandbox", "metadata": {"name": "a"}, "spec": {"forks": [], "of-the-future": 1}});
    let record = crate::store::StoredRecord {
        version: 1,
        created_unix_ms: 0,
        updated_unix_ms: 0,
        seen_unix_ms: 0,
        document: &document,
    };
    store.commit(&[crate::store::Op::Put { key: "Sandbox/a".into(), record }], 1).unwrap();
    drop(store);
    let (hub, _publisher) = Hub::new(Debounce::default());
    let store = Store::open(&path).unwrap();
    let error = Writer::start(store, &hub, Arc::new(|| START_MS), &mut Registry::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("Sandbox/a") && text.contains("of-the-future"), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
}

#[tokio::test]
async fn after_the_end_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(&folder.path().join("store.redb"), START_MS);
    let handle = run.writer.handle().clone();
    drop(run);
    let work = Work::Heartbeat { id: Id::new(Kind::Sandbox, "a") };
    assert!(matches!(handle.write("test", work, Mode::Commit).await, Err(Refusal::Stopped)));
}

#[tokio::test]
async fn the_end_counts_behind_requests_that_wait() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(&folder.path().join("store.redb"), START_MS);
    let handle = run.writer.handle().clone();
    let waiting = tokio::spawn(async move {
        let work = || Work::Heartbeat { id: Id::new(Kind::Sandbox, "a") };
        futures_util::future::join_all((0..100).map(|_| handle.write("test", work(), Mode::Commit))).await
    });
    // Lets them queue.
    tokio::task::yield_now().await;
    drop(run);
    let answers = waiting.await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Err(Refusal::NotFound))), "{answers:?}");
}

#[test]
fn conditions_hold_as_rfc_9110_says() {
    let of = |matches: Option<Tags>, none_matches: Option<Tags>| Condition { matches, none_matches };
    let versions = |list: &[u64]| Some(Tags::Versions(list.to_vec()));
    for (condition, current, holds) in [
        (of(None, None), None, true),
        (of(Some(Tags::Any), None), None, false),
        (of(Some(Tags::Any), None), Some(1), true),
        (of(versions(&[1, 2]), None), Some(2), true),
        (of(versions(&[]), None), Some(2), false),
        (of(None, Some(Tags::Any)), Some(1), false),
        (of(None, Some(Tags::Any)), None, true),
        (of(None, versions(&[1])), Some(1), false),
        (of(None, versions(&[1])), Some(2), true),
    ] {
        assert_eq!(condition.holds_for(current), holds, "{condition:?} {current:?}");
    }
}

#[tokio::test]
async fn what_is_written_is_logged_though_nobody_waits_for_the_answer() {
    let log = log();
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(&folder.path().join("store.redb"), START_MS);
    let json = json!({"metadata": {"name": "logged"}, "spec": {"ttl": {"idle": "1h"}, "forks": []}});
    let document = || Box::new(document::read(&json, Some(Kind::Sandbox)).unwrap());
    let id = || Id::new(Kind::Sandbox, "logged");
    let condition = Condition::default;
    for (mode, work) in [
        (Mode::DryRun, Work::Put { document: document(), condition: condition() }),
        (Mode::Commit, Work::Put { document: document(), condition: condition() }),
        (Mode::Commit, Work::Heartbeat { id: id() }),
        (Mode::Commit, Work::Delete { id: id(), condition: condition() }),
    ] {
        // Asks, and goes away.
        let answer = run.writer.handle().write("ci", work, mode);
        let _ = tokio::time::timeout(std::time::Duration::ZERO, answer).await;
    }
    drop(run);
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("name=\"logged\"")).collect();
    let wanted = [("PUT", "created"), ("heartbeat", "unchanged"), ("DELETE", "deleted")];
    assert_eq!(lines.len(), wanted.len(), "{log}");
    for (line, (method, effect)) in lines.iter().zip(wanted) {
        for part in ["Written by=\"ci\"", method, "kind=Sandbox", effect] {
            assert!(line.contains(part), "{line}");
        }
    }
}

/// What this process logs from now on.
fn log() -> Arc<std::sync::Mutex<Vec<u8>>> {
    struct Sink(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Arc::<std::sync::Mutex<Vec<u8>>>::default();
    let sink = Arc::clone(&log);
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || Sink(Arc::clone(&sink))).init();
    log
}

#[tokio::test]
async fn a_panic_of_the_thread_is_its_end() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let turns = AtomicU64::new(0);
    let clock: Clock = Arc::new(move || {
        // It starts, and falls over at a look at the time later.
        assert!(turns.fetch_add(1, Ordering::Relaxed) < 5, "meant to happen");
        START_MS
    });
    let writer = Writer::start(Store::in_memory(), &hub, clock, &mut Registry::default()).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), writer.ended());
    ended.await.expect("the end is noticed");
    let work = Work::Heartbeat { id: Id::new(Kind::Sandbox, "a") };
    assert!(matches!(writer.handle().write("test", work, Mode::Commit).await, Err(Refusal::Stopped)));
}

#[tokio::test]
async fn of_two_that_are_created_within_one_tick_of_the_clock_the_first_is_the_older() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(&folder.path().join("store.redb"), START_MS);
    let first = run.put("z", 1).await.unwrap().meta.created_unix_ms;
    let second = run.put("a", 1).await.unwrap().meta.created_unix_ms;
    assert_eq!((first, second), (START_MS, START_MS + 1));
    assert_eq!(run.put("z", 2).await.unwrap().meta.created_unix_ms, first);
    // A clock that was set back is believed.
    run.clock.store(START_MS - 3_600_000, Ordering::Relaxed);
    assert_eq!(run.put("b", 1).await.unwrap().meta.created_unix_ms, START_MS - 3_600_000);
}
