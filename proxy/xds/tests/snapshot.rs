//! The file on disk: what was written is read, anything else is ignored, and nothing in between.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/resources.rs"]
mod resources;

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use resources::{key_owner, key_owner_until, rule, scope};
use spurline_route::RouteTable;
use spurline_xds::{
    Known, ResourceType, Scope,
    mirror::Mirror,
    snapshot::{self, SnapshotError},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const NOW: u64 = 1_800_000_000;

/// A mirror that took a few resources at [`NOW`].
fn mirror() -> Mirror {
    let mut mirror = Mirror::new(scope(), Arc::new(RouteTable::empty()));
    let mut batch = mirror.batch(NOW);
    batch.put(ResourceType::KeyOwner, &key_owner("k1", "alice")).unwrap();
    batch.put(ResourceType::Override, &rule("k1", 1, None)).unwrap();
    batch.put(ResourceType::KeyOwner, &key_owner_until("k2", "bob", NOW + 60)).unwrap();
    batch.put(ResourceType::Override, &rule("k2", 2, Some(NOW + 60))).unwrap();
    batch.finish();
    mirror
}

fn restored(bytes: &[u8], now: u64) -> Mirror {
    let snapshot = snapshot::decode(bytes, &scope(), now, DAY).unwrap();
    let mut mirror = Mirror::new(scope(), Arc::new(RouteTable::empty()));
    let mut batch = mirror.batch(now);
    for (ty, record) in &snapshot.records {
        batch.restore(*ty, record).unwrap();
    }
    batch.finish();
    mirror
}

fn contents(known: &Known) -> Vec<(String, String, Vec<u8>)> {
    let all = ResourceType::ALL.into_iter().flat_map(|ty| known.iter(ty));
    let mut all: Vec<_> = all
        .map(|record| (record.name().to_owned(), record.version().to_owned(), record.body().to_vec()))
        .collect();
    all.sort();
    all
}

#[test]
fn what_was_written_is_read() {
    let mirror = mirror();
    let read = restored(&snapshot::encode(mirror.known(), &scope(), NOW), NOW + 1);
    assert_eq!(contents(read.known()), contents(mirror.known()));
    assert_eq!(read.table().len(), 2);
    assert_eq!(read.next_expiry(), Some(NOW + 60));
    assert_eq!(read.table().owner(&"k1".parse().unwrap()).map(AsRef::as_ref), Some("alice"));
}

#[test]
fn what_has_ended_is_not_restored() {
    let bytes = snapshot::encode(mirror().known(), &scope(), NOW);
    let knows = |mirror: &Mirror, key: &str| mirror.table().knows(&key.parse().unwrap());
    let read = restored(&bytes, NOW + 59);
    assert!(knows(&read, "k1") && knows(&read, "k2"));
    let read = restored(&bytes, NOW + 60);
    assert_eq!((read.table().len(), read.known().len()), (1, 2));
    assert!(knows(&read, "k1") && !knows(&read, "k2"));
    assert_eq!(read.next_expiry(), None);
}

#[test]
fn damage_of_any_byte_is_noticed() {
    let good = snapshot::encode(mirror().known(), &scope(), NOW);
    for at in 0..good.len() {
        for damage in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= damage;
            let error = snapshot::decode(&bytes, &scope(), NOW, DAY).unwrap_err();
            assert!(matches!(error, SnapshotError::Corrupt(_)), "byte {at}: {error}");
        }
    }
}

#[test]
fn a_file_that_ends_too_early_or_too_late_is_ignored() {
    let good = snapshot::encode(mirror().known(), &scope(), NOW);
    for len in 0..good.len() {
        assert!(snapshot::decode(&good[..len], &scope(), NOW, DAY).is_err(), "{len} bytes");
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(snapshot::decode(&longer, &scope(), NOW, DAY).is_err());
}

#[test]
fn a_snapshot_of_other_workloads_or_of_long_ago_is_ignored() {
    let bytes = snapshot::encode(mirror().known(), &scope(), NOW);
    let other = Scope::new(["shop/Deployment/web".parse().unwrap()], []);
    let error = snapshot::decode(&bytes, &other, NOW, DAY).unwrap_err();
    assert!(matches!(error, SnapshotError::OtherScope));
    assert!(snapshot::decode(&bytes, &scope(), NOW + DAY.as_secs(), DAY).is_ok());
    let error = snapshot::decode(&bytes, &scope(), NOW + DAY.as_secs() + 1, DAY).unwrap_err();
    assert!(matches!(error, SnapshotError::TooOld(_)));
    // A clock that was set back does not make a snapshot old.
    assert!(snapshot::decode(&bytes, &scope(), NOW - DAY.as_secs(), DAY).is_ok());
}

#[test]
fn a_file_is_replaced_as_a_whole_and_read_by_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot");
    assert!(matches!(snapshot::load(&path, &scope(), NOW, DAY), Err(SnapshotError::Missing)));
    fs::write(folder.path().join("snapshot.new"), "left by a crash").unwrap();
    let bytes = snapshot::encode(mirror().known(), &scope(), NOW);
    snapshot::save(&path, &bytes).unwrap();
    snapshot::save(&path, &bytes).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let read = snapshot::load(&path, &scope(), NOW, DAY).unwrap();
    assert_eq!((read.records.len(), read.saved_at_unix_s), (4, NOW));
    assert!(snapshot::load(folder.path(), &scope(), NOW, DAY).is_err());
}

#[test]
fn what_cannot_be_written_leaves_the_file_before() {
    let folder = tempfile::tempdir().unwrap();
    assert!(snapshot::save(&folder.path().join("missing/snapshot"), b"x").is_err());
    let path = folder.path().join("snapshot");
    snapshot::save(&path, &snapshot::encode(mirror().known(), &scope(), NOW)).unwrap();
    fs::create_dir(folder.path().join("snapshot.new")).unwrap();
    assert!(snapshot::save(&path, b"x").is_err());
    assert!(snapshot::load(&path, &scope(), NOW, DAY).is_ok());
    assert!(path.is_file());
}
