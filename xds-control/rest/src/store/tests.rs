use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use prometheus_client::registry::Registry;
use proptest::prelude::*;
use redb::{BackendError, StorageBackend, backends::FileBackend};
use serde_json::json;
use spurline_core::document::{self, Kind};
use spurline_hub::{Debounce, Hub};
use tempfile::TempDir;

use super::*;
use crate::{
    Writer,
    writer::{Condition, Mode, Refusal, Work},
};

#[test]
fn a_full_disk_changes_nothing_and_is_got_over() {
    let disk = Disk::default();
    let (_folder, path) = folder();
    let mut store = Store::open_with(&path, disk.opener()).unwrap();
    put(&mut store, "Sandbox/a", 1).unwrap();
    // Whichever write or flush it is that finds no space.
    let mut failures = 0;
    for nth in 0..100 {
        disk.fail_after(nth);
        let Err(failed) = put(&mut store, "Sandbox/b", 100 + nth as u64) else { break };
        assert!(matches!(cause(&failed), StoreError::Full { .. }), "{nth}: {failed}");
        let failed = put(&mut store, "Sandbox/c", 100).unwrap_err();
        assert!(matches!(failed, StoreError::Full { .. }), "{nth}: still full: {failed}");
        disk.heal();
        put(&mut store, "Sandbox/a", 2 + nth as u64).unwrap();
        failures += 1;
    }
    assert!((3..99).contains(&failures), "{failures}");
    disk.heal();
    store.commit(&[Op::Delete { key: "Sandbox/b".into() }], 200).unwrap();
    drop(store);
    let mut store = Store::open(&path).unwrap();
    let keys: Vec<String> = records(&mut store).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["Sandbox/a"], "nobody was told that the others were written");
}

#[test]
fn a_store_that_cannot_be_made_leaves_nothing_behind() {
    let disk = Disk::default();
    let (folder, path) = folder();
    disk.fail_after(0);
    let error = Store::open_with(&path, disk.opener()).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_a_failed_commit_left_on_the_disk_is_taken_back() {
    // All is written and a flush fails: the file may then have what nobody was told of.
    for flushes in 0..2 {
        let disk = Disk::default();
        let (_folder, path) = folder();
        let mut store = Store::open_with(&path, disk.opener()).unwrap();
        put(&mut store, "Sandbox/a", 1).unwrap();
        put(&mut store, "Sandbox/b", 2).unwrap();
        disk.fail_flushes(flushes);
        let document = json!({"new": true});
        let ops = [
            Op::Put { key: "Sandbox/a".into(), record: record(&document, 3) },
            Op::Delete { key: "Sandbox/b".into() },
            Op::Put { key: "Sandbox/c".into(), record: record(&document, 4) },
        ];
        let failed = store.commit(&ops, 4).unwrap_err();
        assert!(matches!(failed, StoreError::Unsure(_)), "{failed}");
        disk.heal();
        if flushes == 0 {
            put(&mut store, "Sandbox/d", 5).unwrap();
        } else {
            store.take_back().unwrap();
        }
        drop(store);
        let mut store = Store::open(&path).unwrap();
        let versions: Vec<(String, u64)> =
            records(&mut store).into_iter().map(|(key, record)| (key, record.version)).collect();
        let wanted = [("Sandbox/a", 1), ("Sandbox/b", 2), ("Sandbox/d", 5)];
        let wanted = wanted.iter().take(if flushes == 0 { 3 } else { 2 });
        let wanted: Vec<_> = wanted.map(|(key, version)| ((*key).to_owned(), *version)).collect();
        assert_eq!(versions, wanted, "flush {flushes}");
    }
}

#[test]
fn a_flush_that_fails_once_is_taken_back_before_the_answer() {
    for flushes in 0..2 {
        let disk = Disk::default();
        let (_folder, path) = folder();
        let mut store = Store::open_with(&path, disk.opener()).unwrap();
        put(&mut store, "Sandbox/a", 1).unwrap();
        disk.fail_flushes(flushes);
        disk.heal_after_a_failure();
        let failed = put(&mut store, "Sandbox/b", 2).unwrap_err();
        assert!(matches!(failed, StoreError::Full { .. }), "{failed}");
        drop(store);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(records(&mut store).len(), 1, "flush {flushes}");
    }
}

#[tokio::test]
async fn a_write_that_was_refused_does_not_come_true_with_a_restart() {
    for (flushes, waits) in [(0, false), (1, false), (0, true), (1, true)] {
        let disk = Disk::default();
        let (_folder, path) = folder();
        let (hub, _publisher) = Hub::new(Debounce::default());
        let store = Store::open_with(&path, disk.opener()).unwrap();
        let writer = Writer::start(store, &hub, Arc::new(|| 1), &mut Registry::default()).unwrap();
        disk.fail_flushes(flushes);
        let document =
            document::read(&json!({"metadata": {"name": "a"}, "spec": {"forks": []}}), Some(Kind::Sandbox));
        let work = Work::Put { document: Box::new(document.unwrap()), condition: Condition::default() };
        let refused = writer.handle().write("test", work, Mode::Commit).await.unwrap_err();
        assert!(
            matches!(&refused, Refusal::Store(error) if matches!(**error, StoreError::Unsure(_))),
            "{refused:?}"
        );
        disk.heal();
        let before = fs::read(&path).unwrap();
        if waits {
            // Without another write, and without an end that could be waited for.
            for _ in 0..2000 {
                if fs::read(&path).unwrap() != before {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_ne!(fs::read(&path).unwrap(), before, "never opened again");
        }
        drop(writer);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(records(&mut store).len(), 0, "flush {flushes}");
    }
}

#[test]
fn a_file_that_is_none_of_ours_is_named_and_left_alone() {
    for content in [&b""[..], b"hello", &[0; 4096], &[0xff; 100_000], b"redb\x1A\x0A\xA9\x0D\x0A and so on"] {
        let (_folder, path) = folder();
        fs::write(&path, content).unwrap();
        let error = Store::open(&path).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::Damaged { .. }), "{text}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains("backup"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_database_of_something_else_is_no_store() {
    let (_folder, path) = folder();
    drop(redb::Database::create(&path).unwrap());
    let text = Store::open(&path).unwrap_err().to_string();
    assert!(text.contains("something else"), "{text}");
}

#[test]
fn a_store_of_a_later_version_is_not_touched() {
    let (_folder, path) = folder();
    drop(Store::open(&path).unwrap());
    raw(&path, "about", "manifest", br#"{"format":2,"what":"ever"}"#);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { format: 2, known: 1, .. }), "{error}");
}

#[test]
fn every_reason_not_to_open_names_the_file_and_what_to_do() {
    let backup = "nothing was changed. Restore the file from a backup, or move it away to start empty";
    let seen = |prepare: &dyn Fn(&Path), wanted: &[&str]| {
        let (_folder, path) = folder();
        let mut store = Store::open(&path).unwrap();
        for number in 0..50 {
            put(&mut store, &format!("Sandbox/s{number}"), 1 + number).unwrap();
        }
        drop(store);
        prepare(&path);
        let text = Store::open(&path).unwrap_err().to_string();
        for part in wanted.iter().chain([&path.to_str().unwrap()]) {
            assert!(text.contains(part), "{text}\nshould have\n{part}");
        }
        assert!(!text.contains('\n'), "{text}");
    };
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, bytes.get(..bytes.len() / 2).unwrap()).unwrap();
    };
    seen(&cut, &[backup]);
    seen(&|path| fs::write(path, "").unwrap(), &["the file is empty", backup]);
    seen(&|path| fs::write(path, "kind: Sandbox").unwrap(), &["this is no store", backup]);
    let later = |path: &Path| raw(path, "about", "manifest", br#"{"format":2}"#);
    seen(&later, &["written in format 2, and this version reads format 1; start the later version"]);
    let altered = |path: &Path| raw(path, "records", "Sandbox/s7", b"12345678{}");
    seen(&altered, &["record Sandbox/s7: its checksum does not match its text", "backup"]);
    let away = |path: &Path| fs::remove_dir_all(path.parent().unwrap()).unwrap();
    seen(&away, &["the folder does not exist, and is not made"]);
}

#[test]
fn a_store_is_open_once() {
    let (_folder, path) = folder();
    let _store = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}

#[test]
fn a_record_that_was_altered_is_named() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    put(&mut store, "Sandbox/a", 1).unwrap();
    drop(store);
    raw(&path, "records", "Sandbox/a", b"01234567{}");
    let text = Store::open(&path).unwrap_err().to_string();
    assert!(text.contains("record Sandbox/a") && text.contains("checksum"), "{text}");
}

#[test]
fn a_record_that_is_missing_is_noticed() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    put(&mut store, "Sandbox/a", 1).unwrap();
    put(&mut store, "Sandbox/b", 2).unwrap();
    drop(store);
    let database = redb::Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<&str, &[u8]>::new("records"))
        .unwrap()
        .remove("Sandbox/a")
        .unwrap();
    txn.commit().unwrap();
    drop(database);
    let text = Store::open(&path).unwrap_err().to_string();
    assert!(text.contains("1 records") && text.contains("2 records"), "{text}");
}

#[test]
fn a_file_that_was_moved_away_takes_no_writes() {
    let (folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    put(&mut store, "Sandbox/a", 1).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    assert!(matches!(put(&mut store, "Sandbox/b", 2).unwrap_err(), StoreError::Replaced { .. }));
    drop(Store::open(&path).unwrap());
    assert!(matches!(put(&mut store, "Sandbox/b", 2).unwrap_err(), StoreError::Replaced { .. }));
    fs::rename(&elsewhere, &path).unwrap();
    put(&mut store, "Sandbox/b", 2).unwrap();
}

#[test]
fn only_its_owner_can_read_a_store() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = folder();
    drop(Store::open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_unfinished_new_store_is_no_obstacle() {
    let (_folder, path) = folder();
    fs::write(path.with_extension("redb.new"), b"half").unwrap();
    drop(Store::open(&path).unwrap());
    drop(Store::open(&path).unwrap());
}

/// Stores that end without being closed, as with kill -9, have bytes damaged anywhere.
#[test]
fn damage_is_told_or_harmless_but_never_a_panic_or_a_missing_record() {
    let (folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    for number in 0..50 {
        put(&mut store, &format!("Sandbox/s{number:02}"), number + 1).unwrap();
    }
    let unclean = fs::read(&path).unwrap();
    drop(store);
    let clean = fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged");
    let (mut told, mut harmless, mut lost) = (0, 0, Vec::new());
    for (content, at) in [(&clean, 0), (&unclean, 1)].into_iter().flat_map(|(content, first)| {
        // The header byte by byte, then samples. One bit of byte 9 says which of two commits is the newest one; turned
        // over it is the state of a crash in the middle of a commit, which nothing in the file can tell from it.
        let header = (0..512).filter(|at| *at != 9);
        let rest = (512 + first * 7..content.len()).step_by(content.len() / 300 + 1);
        header.chain(rest).map(move |at| (content, at))
    }) {
        let mut bytes = content.clone();
        bytes[at] ^= 0x41;
        fs::write(&damaged, &bytes).unwrap();
        match Store::open(&damaged) {
            Ok(mut store) => {
                let count = store.take_found().len();
                if count != 50 {
                    lost.push((at, count));
                }
                harmless += 1;
            }
            Err(error) => {
                assert!(error.to_string().starts_with(damaged.to_str().unwrap()), "{error}");
                told += 1;
            }
        }
    }
    for length in (1..clean.len()).step_by(clean.len() / 60 + 1) {
        fs::write(&damaged, &clean[..length]).unwrap();
        Store::open(&damaged).unwrap_err();
    }
    println!("told {told}, harmless {harmless}");
    assert!(lost.is_empty(), "bytes whose damage lost records: {lost:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_store_is_a_map_that_outlives_its_process(steps in prop::collection::vec(step(), 1..40)) {
        let disk = Disk::default();
        let (_folder, path) = folder();
        let mut model: BTreeMap<String, (u64, Value)> = BTreeMap::new();
        let mut store = Store::open_with(&path, disk.opener()).unwrap();
        let (mut sequence, mut committed) = (0, 0);
        for step in steps {
            match step {
                Step::Commit(writes, fails_after) => {
                    let mut next = model.clone();
                    let mut documents = Vec::new();
                    for (key, write) in &writes {
                        sequence += 1;
                        documents.push((format!("Sandbox/{key}"), write.map(|content| (sequence, json!({"content": content})))));
                    }
                    let ops: Vec<Op<'_>> = documents.iter().map(|(key, write)| match write {
                        Some((version, document)) => {
                            next.insert(key.clone(), (*version, document.clone()));
                            Op::Put { key: key.clone(), record: record(document, *version) }
                        }
                        None => {
                            next.remove(key);
                            Op::Delete { key: key.clone() }
                        }
                    }).collect();
                    match fails_after {
                        Some(nth) => disk.fail_after(nth),
                        None => disk.heal(),
                    }
                    if store.commit(&ops, sequence).is_ok() {
                        (model, committed) = (next, sequence);
                    } else {
                        prop_assert!(fails_after.is_some());
                    }
                    disk.heal();
                }
                Step::Reopen => {
                    // A failed commit that reached the disk is only taken back by the process that knows of it.
                    store.take_back().unwrap();
                    drop(store);
                    store = Store::open_with(&path, disk.opener()).unwrap();
                    prop_assert_eq!(store.sequence(), committed);
                    let found: BTreeMap<String, (u64, Value)> =
                        records(&mut store).into_iter().map(|(key, r)| (key, (r.version, r.document))).collect();
                    prop_assert_eq!(&found, &model);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, Option<u16>)>, Option<i64>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let writes = prop::collection::vec((0..8_u8, prop::option::weighted(0.7, any::<u16>())), 0..6);
    prop_oneof![
        4 => (writes, prop::option::weighted(0.2, 0..12_i64)).prop_map(|(writes, fails)| Step::Commit(writes, fails)),
        1 => Just(Step::Reopen),
    ]
}

/// A disk that fails on demand.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Faults>);

#[derive(Debug)]
struct Faults {
    /// Writes that still succeed; negative: all.
    writes_left: AtomicI64,
    flushes_left: AtomicI64,
    heals: AtomicBool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            writes_left: AtomicI64::new(-1),
            flushes_left: AtomicI64::new(-1),
            heals: AtomicBool::new(false),
        }
    }
}

impl std::ops::Deref for Disk {
    type Target = Faults;
    fn deref(&self) -> &Faults {
        &self.0
    }
}

impl Disk {
    fn opener(&self) -> Opener {
        let disk = self.clone();
        Opener::new(move |file| {
            redb::Builder::new()
                .set_check_integrity_on_open(true)
                .create_with_backend(FaultyBackend { inner: FileBackend::new(file)?, disk: disk.clone() })
        })
    }

    fn fail_after(&self, writes: i64) {
        self.writes_left.store(writes, Ordering::Relaxed);
    }

    fn fail_flushes(&self, after: i64) {
        self.flushes_left.store(after, Ordering::Relaxed);
    }

    fn heal(&self) {
        self.writes_left.store(-1, Ordering::Relaxed);
        self.flushes_left.store(-1, Ordering::Relaxed);
    }

    fn heal_after_a_failure(&self) {
        self.heals.store(true, Ordering::Relaxed);
    }

    fn spend(&self, left: &AtomicI64) -> io::Result<()> {
        match left.load(Ordering::Relaxed) {
            0 => {
                if self.heals.load(Ordering::Relaxed) {
                    self.heal();
                }
                Err(ErrorKind::StorageFull.into())
            }
            some if some > 0 => {
                left.fetch_sub(1, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct FaultyBackend {
    inner: FileBackend,
    disk: Disk,
}

impl StorageBackend for FaultyBackend {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.spend(&self.disk.writes_left)?;
        self.disk.spend(&self.disk.flushes_left)?;
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.spend(&self.disk.writes_left)?;
        self.inner.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

fn cause(error: &StoreError) -> &StoreError {
    match error {
        StoreError::Unsure(cause) => cause,
        error => error,
    }
}

fn folder() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    (folder, path)
}

fn record(document: &Value, version: u64) -> StoredRecord<&Value> {
    StoredRecord { version, created_unix_ms: 1, updated_unix_ms: 2, seen_unix_ms: 3, document }
}

fn put(store: &mut Store, key: &str, version: u64) -> Result<(), StoreError> {
    let document = json!({"metadata": {"name": key}, "filler": "x".repeat(500)});
    store.commit(&[Op::Put { key: key.to_owned(), record: record(&document, version) }], version)
}

fn records(store: &mut Store) -> Vec<(String, StoredRecord)> {
    store.take_found().into_iter().map(|found| (found.key.clone(), found.read().unwrap())).collect()
}

/// Writes behind the store's back.
fn raw(path: &Path, table: &str, key: &str, value: &[u8]) {
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<&str, &[u8]>::new(table)).unwrap().insert(key, value).unwrap();
    txn.commit().unwrap();
}
